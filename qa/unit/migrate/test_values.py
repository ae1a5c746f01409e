"""Marks, records and what counts as a hole."""

from dataclasses import replace

import pytest

from mgr_fscrypt.migrate import Direction, Record, State
from mgr_fscrypt.migrate.files import written
from mgr_fscrypt.migrate.marks import Mark
from mgr_fscrypt.migrate.record import hidden_of

RECORD = Record("fsid/1", "/a/\udcff", Direction.REENCRYPT, 5, "ab" * 16, "plan")


def test_a_mark_keeps_its_bytes() -> None:
    mark = Mark(0x10000000001, 7)
    assert mark.encode().hex() == "0100000001000000000100000700000000000000"
    assert Mark.decode(mark.encode()) == mark


@pytest.mark.parametrize("stored", [b"", b"x" * 20, Mark(1, 2).encode()[:-1], Mark(1, 2).encode() + b"x"])
def test_what_is_no_mark_is_none(stored: bytes) -> None:
    assert Mark.decode(stored) is None


@pytest.mark.parametrize("state", State)
def test_a_record_comes_back_as_it_went(state: State) -> None:
    record = replace(RECORD, state=state, new=9, gap=0.25)
    assert Record.decode(record.encode()) == record


@pytest.mark.parametrize("stored", [b"[]", b"{}", b"\xff", RECORD.encode().replace(b"source", b"sauce")])
def test_what_is_no_record_is_told(stored: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whose words they are does not matter
        Record.decode(stored)


def test_a_hidden_directory_lies_beside_whatever_the_name() -> None:
    long = b"/a/b/" + b"n" * 255
    assert hidden_of(long).rpartition(b"/")[0] == b"/a/b"
    assert len(hidden_of(long).rpartition(b"/")[2]) < 64
    assert hidden_of(b"/top").rpartition(b"/")[0] == b""
    assert hidden_of(b"/a") != hidden_of(b"/b")


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", []),
        (bytes(4096), []),
        (bytes(5000), []),
        (b"x", [(0, 1)]),
        (b"x" * 4097, [(0, 4097)]),
        (bytes(4096) + b"x" + bytes(8192), [(4096, 8192)]),
        (b"x" + bytes(8191) + b"y" + bytes(9), [(0, 4096), (8192, 8202)]),
    ],
)
def test_whole_blocks_of_zeros_are_holes(data: bytes, parts: list[tuple[int, int]]) -> None:
    assert written(memoryview(data)) == parts
