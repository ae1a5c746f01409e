"""Streams are held against Python's own files, act by act."""

import io
import os
import random
from pathlib import Path
from typing import IO, Any

import pytest

from mgr_fscrypt.cephfscrypt import Client
from mgr_fscrypt.cephfscrypt.streams import flags_of

MODES = ("rb", "r+b", "wb", "w+b", "xb", "x+b", "ab", "a+b")


def act(chance: random.Random, stream: IO[bytes]) -> object:
    """Do something, and tell what came of it."""
    kind = chance.choice(("read", "readline", "write", "seek", "back", "truncate", "tell", "flush", "peek"))
    try:
        match kind:
            case "read":
                return kind, stream.read(chance.choice((1, 5, 4096, 10_000, -1)))
            case "readline":
                return kind, stream.readline()
            case "write":
                return kind, stream.write(chance.randbytes(chance.choice((1, 7, 4095, 9000))))
            case "seek":
                return kind, stream.seek(chance.randrange(30_000))
            case "back":
                return kind, stream.seek(-chance.randrange(5), os.SEEK_END)
            case "truncate":
                return kind, stream.truncate(chance.randrange(20_000))
            case "flush":
                return kind, stream.flush()
            case _:
                return kind, stream.tell()
    except (io.UnsupportedOperation, OSError, ValueError) as error:
        # of one that is not open for it; and before the start, which is EINVAL or ValueError
        return kind, "refused", isinstance(error, io.UnsupportedOperation)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(12))
def test_a_stream_does_as_a_file_of_pythons(files: Client, tmp_path: Path, mode: str, seed: int):
    begin = random.Random(seed).randbytes(10_000)
    path, local = "/vault/file", tmp_path / "file"
    if "x" not in mode:
        local.write_bytes(begin)
        with files.stream(path, "wb") as stream:
            stream.write(begin)
    buffering = random.Random(seed).choice((16, 4096, 100_000))
    ours, theirs = random.Random(seed), random.Random(seed)
    with files.stream(path, mode, buffering=buffering) as one, local.open(mode, buffering=buffering) as other:
        for number in range(60):
            assert act(ours, one) == act(theirs, other), number
    with files.stream(path) as stream:
        assert stream.read() == local.read_bytes()


@pytest.mark.parametrize("mode", ["", "b", "+", "rw", "rwb", "ww", "r++", "rbb", "U", "tr"])
def test_what_is_no_mode(files: Client, mode: str):
    with pytest.raises(ValueError, match="there is no mode"):
        files.stream("/vault/file", mode)
    assert not files.exists("/vault/file")


def test_flags():
    assert flags_of("r") == os.O_RDONLY
    assert flags_of("r+b") == flags_of("rb+") == os.O_RDWR
    assert flags_of("wb") == os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    assert flags_of("x+") == os.O_RDWR | os.O_CREAT | os.O_EXCL
    assert flags_of("a") == os.O_WRONLY | os.O_CREAT | os.O_APPEND


def test_a_client_closes_what_is_open(files: Client):
    streams: list[Any] = [
        files.stream("/vault/a", "wb"),
        files.text("/vault/b", "w"),
        files.stream("/vault/c", "x+b"),
    ]
    streams[0].write(b"a")
    streams[1].write("b")
    streams[2].write(b"c")
    mount, keys = files._mount, files._keys
    files.close()
    files.close()
    assert all(stream.closed for stream in streams)
    again = type(files)(mount, keys, files._held)
    assert [again.stream(f"/vault/{name}").read() for name in "abc"] == [b"a", b"b", b"c"]
    with pytest.raises(ValueError, match="closed"):
        streams[0].write(b"late")
    again.close()


def test_a_closed_stream_does_nothing(files: Client):
    raw = files.raw("/vault/file", "w+b")
    raw.close()
    raw.close()
    for late in (
        lambda: raw.write(b"x"),
        lambda: raw.readinto(bytearray(1)),
        raw.tell,
        lambda: raw.seek(0),
        lambda: raw.truncate(0),
        raw.fsync,
        raw.size,
    ):
        with pytest.raises(ValueError, match="closed"):
            late()


def test_any_contiguous_buffer_is_written(files: Client):
    import array

    with files.stream("/vault/file", "wb") as stream:
        stream.write(array.array("d", [1.0, 2.0]))
        stream.write(memoryview(bytes(10_000_000))[5:])
    assert files.stat("/vault/file").size == 16 + 9_999_995
