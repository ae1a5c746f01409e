"""Manifests that are not what a verification wrote, and verifications that come to none."""

import errno
import os
from dataclasses import replace
from hashlib import sha256

import pytest

from mgr_fscrypt.ceph.errors import error_of
from mgr_fscrypt.engine import BusyError, DamagedError
from mgr_fscrypt.migrate import Direction, Verdict
from mgr_fscrypt.migrate.manifest import Manifest
from mgr_fscrypt.migrate.record import RECORD, hidden_of
from mgr_fscrypt.migrate.trees import PlainTree
from qa.fakes.ceph import FakeMount
from qa.fakes.migration_cases import Subject, file_system, make_source

PATH = b"/above/tree"
MANIFEST = hidden_of(PATH) + b"/manifest"


@pytest.fixture
def one(mount: FakeMount) -> Subject:
    found = Subject(mount, file_system(mount), make_source(mount, Direction.ENCRYPT, PATH))
    found.copy()
    return found


def put(one: Subject, data: bytes) -> None:
    """As the manifest of the record."""
    with PlainTree(one.mount).open(MANIFEST, os.O_RDWR | os.O_TRUNC) as file:
        file.pwrite(data, 0)
    record = replace(one.migration.required_record(), manifest=sha256(data).hexdigest())
    one.mount.setxattr(hidden_of(PATH), RECORD, record.encode())


@pytest.mark.parametrize(
    "data",
    [b"1\n", b"[]\n", b'["/one"]\n', b'{"/one": 1}\n', b"[1, 2, 3, 4, 5]\n", b"\xff\n", b"x" * (3 << 20)],
    ids=lambda each: repr(each[:12]),
)
def test_what_is_no_manifest_is_damaged(one: Subject, data: bytes) -> None:
    one.cut_over()
    put(one, data)
    with pytest.raises(DamagedError, match="it is damaged"):
        one.migration.compare_without_key(Verdict())


def test_an_entry_that_a_listing_told_twice_is_one(one: Subject) -> None:
    one.cut_over()
    whole = one.migration.compare_without_key(Verdict()).same
    with PlainTree(one.mount).open(MANIFEST) as file:
        lines = file.pread(file.size, 0)
    put(one, lines + lines)
    found = one.migration.compare_without_key(Verdict())
    assert (found.same, found.equal) == (whole, True)


def test_what_cannot_be_read_as_it_is_stored_is_told_with_all_others(
    one: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, read = Manifest.line, list[bytes]()

    def fails(self: Manifest, below: bytes) -> bytes:
        read.append(below)
        if len(read) == 3:
            raise error_of(errno.EIO, "read", below)
        return line(self, below)

    monkeypatch.setattr(Manifest, "line", fails)
    with pytest.raises(BusyError, match="1 not comparable"):
        one.cut_over()
    assert len(read) > 3
    assert one.migration.required_record().manifest == ""
    assert one.cut_over().verdict.equal


def test_a_tree_that_is_not_the_same_gets_none(one: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    top = one.migration.sides(one.migration.required_record()).new_top
    one.new.chmod(top + b"/one", 0o600)

    def unwanted(_: Manifest, below: bytes) -> bytes:
        raise AssertionError(below)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Manifest, "line", unwanted)
        verdict = one.verify(one.migration.required_record())
    assert (verdict.differ, verdict.manifest) == (1, "")
