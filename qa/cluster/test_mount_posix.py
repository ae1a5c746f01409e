"""What POSIX has beside names and contents, through ``cephfs-fscrypt mount`` and the real kernel."""

import errno
import fcntl
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

import pytest

from mgr_fscrypt.ceph.interface import RangeLock
from mgr_fscrypt.engine import FileSystem
from mgr_fscrypt.engine.acls import ACCESS_ACL, DEFAULT_ACL
from mgr_fscrypt.format import AUTH_XATTR
from qa.fakes.acls import GROUP, MASK, OTHERS, OWNER, USER, encode
from qa.fakes.engine_cases import refused
from qa.load.mounted import mounted

ACL = encode((OWNER, 6), (USER, 6, 1000), (GROUP, 4), (MASK, 6), (OTHERS, 0))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "mount"
    made.mkdir()
    return made


def test_extended_attributes(subtree: str, place: Path, key: Path, files: FileSystem):
    with mounted(subtree, place, key):
        (place / "f").write_bytes(b"data")
        os.setxattr(place / "f", "user.a", b"\0one\xff", os.XATTR_CREATE)
        os.setxattr(place / "f", "user.empty", b"")
        os.setxattr(place / "f", "trusted.large", b"x" * 60_000)
        with refused(errno.EEXIST):
            os.setxattr(place / "f", "user.a", b"two", os.XATTR_CREATE)
        with refused(errno.ENODATA):
            os.setxattr(place / "f", "user.b", b"two", os.XATTR_REPLACE)
        assert sorted(os.listxattr(place / "f")) == ["trusted.large", "user.a", "user.empty"]
        assert os.getxattr(place / "f", "user.a") == b"\0one\xff"
        assert os.getxattr(place / "f", "user.empty") == b""
        assert os.getxattr(place / "f", "trusted.large") == b"x" * 60_000
        shutil.copy2(place / "f", place / "copy")
        assert files.getxattr(f"{subtree}/copy", "user.a") == b"\0one\xff"
        os.removexattr(place / "f", "user.a")
        with refused(errno.ENODATA):
            os.getxattr(place / "f", "user.a")
        for path in (place, place / "f"):
            assert len(os.getxattr(path, AUTH_XATTR)) == 48
            for name in (AUTH_XATTR, "trusted.fscrypt.engine", "trusted.fscrypt.mode"):
                with refused(errno.EPERM):
                    os.setxattr(path, name, b"x")
                with refused(errno.EPERM):
                    os.removexattr(path, name)
        assert os.listxattr(place) == []
        assert (place / "f").read_bytes() == b"data"


def test_a_program_that_is_changed_has_no_rights_of_its_own_any_more(subtree: str, place: Path, key: Path):
    rights = b"\x01\x00\x00\x02\x00\x04" + bytes(14)
    with mounted(subtree, place, key):
        (place / "f").write_bytes(b"program")
        for change in ("r+b", "ab", "wb"):
            os.setxattr(place / "f", "security.capability", rights)
            with (place / "f").open(change) as file:
                file.write(b"x")
            assert os.listxattr(place / "f") == [], change
        (place / "f").chmod(0o6755)
        os.chown(place / "f", 7, 8)
        assert (place / "f").stat().st_mode & 0o7777 == 0o755


def test_acls(subtree: str, place: Path, key: Path, files: FileSystem):
    with mounted(subtree, place, key):
        (place / "d").mkdir()
        os.setxattr(place / "d", DEFAULT_ACL, ACL)
        (place / "d" / "f").write_bytes(b"data")
        assert (place / "d" / "f").stat().st_mode & 0o777 == 0o660, "the default ACL, not the umask"
        (place / "d" / "sub").mkdir(0o750)
        assert os.getxattr(place / "d" / "sub", DEFAULT_ACL) == ACL
        assert (place / "d" / "sub").stat().st_mode & 0o777 == 0o640
        os.setxattr(place / "d" / "f", ACCESS_ACL, ACL)
        assert files.getxattr(f"{subtree}/d/f", ACCESS_ACL) == ACL
        (place / "d" / "f").chmod(0o600)
        assert dict(_entries(os.getxattr(place / "d" / "f", ACCESS_ACL)))[MASK] == 0
        (place / "f").touch()
        assert (place / "f").stat().st_mode & 0o777 == 0o644, "the umask, where there is no default ACL"
        os.mkfifo(place / "fifo", 0o666)
        assert (place / "fifo").stat().st_mode & 0o777 == 0o644
        (place / "e").mkdir()
        assert (place / "e").stat().st_mode & 0o777 == 0o755


def test_special_files(subtree: str, place: Path, key: Path, files: FileSystem):
    with mounted(subtree, place, key):
        os.mkfifo(place / "fifo", 0o600)
        os.mknod(place / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(place / "regular", stat.S_IFREG | 0o600)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(place / "socket"))
            server.listen()
            client.connect(str(place / "socket"))
        assert (place / "fifo").is_fifo()
        assert (place / "socket").is_socket()
        assert (place / "null").stat().st_rdev == os.makedev(1, 3)
        assert (place / "null").is_char_device()
        reader = threading.Thread(target=(place / "fifo").read_bytes)
        reader.start()
        (place / "fifo").write_bytes(b"through the kernel, not through the cluster")
        reader.join()
        with os.scandir(place) as entries:
            kinds = {entry.name: (entry.is_file(), entry.is_dir()) for entry in entries}
        assert kinds == {
            "fifo": (False, False),
            "socket": (False, False),
            "null": (False, False),
            "regular": (True, False),
        }
        assert stat.S_ISSOCK(files.stat(f"{subtree}/socket").kind_bits)


def test_room(subtree: str, place: Path, key: Path):
    with mounted(subtree, place, key):
        found = os.statvfs(place)
        assert 0 < found.f_bavail <= found.f_blocks
        assert found.f_namemax == 128
        usage = shutil.disk_usage(place)
        assert usage.total == found.f_blocks * found.f_frsize > 0


def test_locks_against_other_clients(subtree: str, place: Path, key: Path, files: FileSystem):
    with mounted(subtree, place, key):
        (place / "f").write_bytes(b"data")
        with (
            (place / "f").open("rb") as one,
            (place / "f").open("rb") as two,
            files.open(f"{subtree}/f") as far,
        ):
            fcntl.flock(one, fcntl.LOCK_EX)
            with pytest.raises(BlockingIOError):
                fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with pytest.raises(BlockingIOError):
                far.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(one, fcntl.LOCK_UN)
            far.flock(fcntl.LOCK_EX | fcntl.LOCK_NB)
            with pytest.raises(BlockingIOError):
                fcntl.flock(one, fcntl.LOCK_SH | fcntl.LOCK_NB)
            freed = threading.Timer(0.5, far.flock, (fcntl.LOCK_UN,))
            freed.start()
            begun = time.monotonic()
            fcntl.flock(two, fcntl.LOCK_EX)
            assert time.monotonic() - begun > 0.3, "it waited"
            freed.join()
            two.close()
            far.flock(fcntl.LOCK_EX, timeout=10)


def test_ranges_are_locked_against_other_clients(subtree: str, place: Path, key: Path, files: FileSystem):
    with mounted(subtree, place, key):
        (place / "f").write_bytes(b"data" * 100)
        with (place / "f").open("r+b") as near, files.open(f"{subtree}/f") as far:
            fcntl.lockf(near, fcntl.LOCK_EX, 10, 5)
            for taken in (RangeLock(fcntl.F_RDLCK, 14, 1), RangeLock(fcntl.F_WRLCK, 0, 0)):
                with pytest.raises(BlockingIOError):
                    far.lock_range(taken, 1)
            assert far.range_blocker(RangeLock(fcntl.F_WRLCK, 0, 0), 1) is not None
            far.lock_range(RangeLock(fcntl.F_WRLCK, 15, 0), 1)
            with pytest.raises(BlockingIOError):
                fcntl.lockf(near, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 20)
            # another process of the mount is told who it is
            done = subprocess.run(
                [sys.executable, "-c", _LOOK, place / "f"], capture_output=True, text=True, check=True
            )
            assert done.stdout.split() == [str(fcntl.F_WRLCK), "5", "10", str(os.getpid())]
            freed = threading.Timer(0.5, far.lock_range, (RangeLock(fcntl.F_UNLCK, 0, 0), 1))
            freed.start()
            begun = time.monotonic()
            fcntl.lockf(near, fcntl.LOCK_EX, 1, 20)
            assert time.monotonic() - begun > 0.3, "it waited"
            freed.join()
            # closing any descriptor of the file gives back what its process has
            (place / "f").open("rb").close()
            far.lock_range(RangeLock(fcntl.F_WRLCK, 0, 0), 1, timeout=10)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    made = tmp_path / "second"
    made.mkdir()
    return made


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_whoever_gets_a_lock_sees_what_was_written_under_it(
    subtree: str, place: Path, second: Path, key: Path, lock: Callable[[BinaryIO, int], None]
):
    with mounted(subtree, place, key), mounted(subtree, second, key):
        (place / "f").write_bytes(b"0" * 5000)
        with (place / "f").open("r+b", buffering=0) as one, (second / "f").open("r+b", buffering=0) as two:
            for turn in range(1, 11):
                file = (one, two)[turn % 2]
                lock(file, fcntl.LOCK_EX)
                file.seek(0)
                assert file.read() == b"%d" % (turn - 1) * 5000
                file.seek(0)
                file.write(b"%d" % (turn % 10) * 5000)
                lock(file, fcntl.LOCK_UN)


def test_a_database_of_two_mounts(subtree: str, place: Path, second: Path, key: Path):
    with ExitStack() as stack:
        for directory in (place, second):
            stack.enter_context(mounted(subtree, directory, key))
        one, two = (
            stack.enter_context(closing(sqlite3.connect(directory / "db", timeout=0)))
            for directory in (place, second)
        )
        one.execute("create table t (n integer)")
        one.commit()
        one.execute("begin immediate")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            two.execute("begin immediate")
        one.rollback()
        for number in range(10):
            connection = (one, two)[number % 2]
            connection.execute("insert into t select count(*) from t")
            connection.commit()
        for connection in (one, two):
            assert connection.execute("select n from t order by n").fetchall() == [(n,) for n in range(10)]
            assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]


# what F_GETLK answers for the whole file
_LOOK = """
import fcntl, os, struct, sys
with open(sys.argv[1], "r+b") as file:
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, start, length, process = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, asked))
    print(kind, start, length, process)
"""


def _entries(acl: bytes) -> list[tuple[int, int]]:
    return [(int.from_bytes(acl[at : at + 2], "little"), acl[at + 2]) for at in range(4, len(acl), 8)]
