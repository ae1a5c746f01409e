import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgr_fscrypt.client.key_files import read_key, require_full_size, write_new_key
from mgr_fscrypt.client.outcome import Exit, Failure

SECRET = bytes(range(64))
ROOT = Path(__file__).resolve().parents[3]


def written(folder: Path, data: bytes, mode: int = 0o600) -> str:
    file = folder / "key"
    file.write_bytes(data)
    file.chmod(mode)
    return str(file)


def refused(source: str) -> Failure:
    with pytest.raises(Failure) as caught:
        read_key(source)
    assert caught.value.left == "nothing was changed"
    return caught.value


@pytest.mark.parametrize(
    ("data", "secret"),
    [
        (SECRET, SECRET),
        (SECRET[:32], SECRET[:32]),
        (SECRET[:47], SECRET[:47]),
        (SECRET.hex().encode(), SECRET),
        (SECRET.hex().upper().encode() + b"\n", SECRET),
        (SECRET[:32].hex().encode() + b"\r\n", SECRET[:32]),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_raw_and_hexadecimal_keys(tmp_path: Path, data: bytes, secret: bytes, mode: int):
    assert read_key(written(tmp_path, data, mode)).expose() == secret


@pytest.mark.parametrize(
    "data",
    [b"", SECRET[:31], SECRET + b"\n", SECRET * 2, SECRET.hex().encode() + b"0", b"0" * 62, SECRET * 1000],
)
def test_a_wrong_length(tmp_path: Path, data: bytes):
    failure = refused(written(tmp_path, data))
    assert failure.code is Exit.USAGE
    assert "must be 64 raw bytes or 128 hexadecimal digits" in failure.happened
    assert "key generate" in failure.remedy


def test_new_subtrees_take_only_whole_keys(tmp_path: Path):
    require_full_size(read_key(written(tmp_path, SECRET)))
    with pytest.raises(Failure, match="the key has 32 bytes"):
        require_full_size(read_key(written(tmp_path, SECRET[:32])))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o666, 0o700 | 0o001])
def test_a_file_that_others_may_use(tmp_path: Path, mode: int):
    failure = refused(written(tmp_path, SECRET, mode))
    assert failure.code is Exit.REFUSED
    assert f"{mode:04o}" in failure.happened
    assert failure.remedy.startswith(f"run `chmod 600 {tmp_path}/key`")


def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = written(tmp_path, SECRET)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    failure = refused(source)
    assert failure.code is Exit.REFUSED
    assert f"belongs to user {owner}, not to you" in failure.happened


def test_an_absent_file(tmp_path: Path):
    failure = refused(str(tmp_path / "none"))
    assert failure.code is Exit.NOT_FOUND
    assert "key generate" in failure.remedy


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    failure = refused(written(tmp_path, SECRET))
    assert failure.code is Exit.REFUSED
    assert "Permission denied" in failure.happened


def test_what_is_no_regular_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert refused(str(tmp_path / "pipe")).code is Exit.REFUSED
    assert "not a regular file" in refused(str(tmp_path)).happened


def test_standard_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SECRET.hex().encode() + b"\n")))
    assert read_key("-").expose() == SECRET
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "standard input holds 0 bytes" in refused("-").happened


def test_an_error_shows_no_byte_of_the_key(tmp_path: Path):
    data = b"0123456789abcdef" * 8 + b"g"
    failure = refused(written(tmp_path, data))
    assert "0123" not in failure.happened + failure.remedy + failure.left


def test_a_key_in_place_of_a_files_name_is_not_repeated():
    assert SECRET.hex() not in str(vars(refused(SECRET.hex())))


def test_who_holds_a_key_leaves_no_core_dump(tmp_path: Path):
    """libcephfs can abort at any time (doc/facts.md F4); in a child, as it cannot be taken back."""
    script = (
        "import ctypes, os, sys\n"
        "from mgr_fscrypt.client.key_files import read_key\n"
        "before = ctypes.CDLL(None).prctl(3)\n"
        "read_key(sys.argv[1])\n"
        "print(before, ctypes.CDLL(None).prctl(3))\n"
    )
    command = [sys.executable, "-c", script, written(tmp_path, SECRET)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.split() == ["1", "0"]


def test_a_new_key(tmp_path: Path):
    file = tmp_path / "new"
    key = write_new_key(file)
    assert file.stat().st_mode & 0o7777 == 0o600
    assert len(file.read_bytes()) == 64
    assert read_key(str(file)) == key
    assert write_new_key(tmp_path / "other") != key


def test_a_new_key_never_replaces_anything(tmp_path: Path):
    source = written(tmp_path, b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for taken in (Path(source), tmp_path / "link"):
        with pytest.raises(Failure, match="never overwritten") as caught:
            write_new_key(taken)
        assert caught.value.code is Exit.REFUSED
    assert Path(source).read_bytes() == b"precious"
    assert not (tmp_path / "elsewhere").exists()


def test_a_new_key_where_nothing_can_be_made(tmp_path: Path):
    with pytest.raises(Failure, match="No such file or directory"):
        write_new_key(tmp_path / "none" / "key")


def test_half_a_new_key_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match="No space left"):
        write_new_key(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []
