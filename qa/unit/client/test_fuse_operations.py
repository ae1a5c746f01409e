"""What the kernel asks, without a kernel: the operations of the mount on the fake cluster."""

import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.client.fuse_operations import FuseOperations, Listing
from mgr_fscrypt.engine import DirEntry, FileSystem, Keyring, NameKind
from mgr_fscrypt.format import MasterKey
from qa.fakes import acls
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.engine_cases import refused
from qa.load.promptness import prompt

KEY = MasterKey(bytes(range(64)))
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2


def client(cluster: FakeCluster) -> FileSystem:
    keyring = Keyring()
    keyring.add(KEY)
    return FileSystem(FakeMount(cluster), keyring)


def read(mount: FuseOperations, handle: int) -> bytes:
    target = bytearray(100)
    return bytes(target[: mount.read("/f", memoryview(target), 0, handle)])


@pytest.fixture
def files() -> FileSystem:
    found = client(FakeCluster())
    found.mkdir("/s")
    found.create_subtree("/s", KEY.identifier)
    return found


@pytest.fixture
def mount(files: FileSystem) -> FuseOperations:
    return FuseOperations(files, b"/s", lambda: None)


def write(mount: FuseOperations, path: str, data: bytes) -> None:
    handle = mount.create(path, 0o100644, os.O_WRONLY)
    mount.write(path, data, 0, handle)
    mount.flush(path, handle)
    mount.release(path, handle)


def test_a_new_file_is_there_for_others_before_it_is_closed(mount: FuseOperations, files: FileSystem):
    handle = mount.create("/f", 0o100640, os.O_RDWR)
    assert files.stat("/s/f").permissions == 0o640
    mount.write("/f", b"x" * 5000, 0, handle)
    assert mount.getattr("/f")["st_size"] == 5000
    mount.truncate("/f", 10)
    assert read(mount, handle) == b"x" * 10
    mount.release("/f", handle)
    assert files.stat("/s/f").size == 10


def test_a_file_that_another_client_made_first_is_opened(mount: FuseOperations):
    write(mount, "/f", b"theirs")
    handle = mount.create("/f", 0o100644, os.O_RDWR)
    assert read(mount, handle) == b"theirs"
    with pytest.raises(FileExistsError):
        mount.create("/f", 0o100644, os.O_RDWR | os.O_EXCL)
    mount.release("/f", handle)


def test_handles_share_one_open_file(mount: FuseOperations):
    write(mount, "/f", b"old")
    reader, writer, appender = (
        mount.open("/f", flags) for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND)
    )
    mount.write("/f", b"n", 0, writer)
    # whatever the kernel takes for the end
    mount.write("/f", b"!", 0, appender)
    assert read(mount, reader) == b"nld!"
    mount.release("/f", writer)
    assert read(mount, reader) == b"nld!"
    mount.release("/f", appender)
    mount.release("/f", reader)
    truncated = mount.open("/f", os.O_WRONLY | os.O_TRUNC)
    assert mount.getattr("/f")["st_size"] == 0
    mount.release("/f", truncated)


def test_the_last_handle_gives_the_lease_back(mount: FuseOperations, files: FileSystem):
    handle = mount.create("/f", 0o100644, os.O_RDWR)
    mount.release("/f", handle)
    with files.open("/s/f", os.O_RDWR) as other:
        other.pwrite(b"x", 0)


def test_what_is_open_at_the_end_is_closed(mount: FuseOperations, files: FileSystem):
    handle = mount.create("/f", 0o100644, os.O_RDWR)
    mount.write("/f", b"kept", 0, handle)
    mount.close()
    with files.open("/s/f", os.O_RDWR) as other:
        assert other.pread(100, 0) == b"kept"


def test_a_handle_is_of_its_file_whoever_has_the_path_now(mount: FuseOperations, files: FileSystem):
    write(mount, "/f", b"open")
    write(mount, "/g", b"new")
    handle = mount.open("/f", os.O_RDWR)
    files.rename("/s/g", "/s/f")
    mount.truncate("/f", 1, handle)
    assert read(mount, handle) == b"o"
    assert mount.getattr("/f")["st_size"] == 3
    assert mount.getattr("/f", handle)["st_size"] == 1
    files.unlink("/s/f")
    assert mount.getattr("/f", handle)["st_nlink"] == 0
    mount.release("/f", handle)


def test_a_shared_page_has_its_place_in_a_file_that_is_open_for_appending(mount: FuseOperations):
    write(mount, "/f", b"x" * 50)
    handle = mount.open("/f", os.O_RDWR | os.O_APPEND)
    mount.write_page(b"page", 0, handle)
    mount.write("/f", b"end", 0, handle)
    assert read(mount, handle) == b"page" + b"x" * 46 + b"end"
    mount.release("/f", handle)


def test_attributes_of_a_handle_and_of_a_path(mount: FuseOperations, files: FileSystem):
    write(mount, "/f", b"open")
    handle = mount.open("/f", os.O_RDWR)
    files.rename("/s/f", "/s/moved")
    assert mount.getattr("/f", handle)["st_size"] == 4
    mount.release("/f", handle)


def test_extended_attributes(mount: FuseOperations):
    write(mount, "/f", b"")
    mount.setxattr("/f", "user.a", b"1", os.XATTR_CREATE)
    with pytest.raises(FileExistsError):
        mount.setxattr("/f", "user.a", b"2", os.XATTR_CREATE)
    assert (mount.listxattr("/f"), mount.getxattr("/f", "user.a")) == (["user.a"], b"1")
    mount.removexattr("/f", "user.a")
    with refused(errno.ENODATA):
        mount.getxattr("/f", "user.a")
    with refused(errno.EPERM):
        mount.setxattr("/f", "trusted.fscrypt.engine", b"", 0)


def test_the_umask_counts_where_there_is_no_default_acl(mount: FuseOperations):
    for path in ("/plain", "/acl"):
        mount.mkdir(path, 0o40777, 0o022)
    assert mount.getattr("/plain")["st_mode"] == stat.S_IFDIR | 0o755
    allowed = acls.encode((acls.OWNER, 7), (acls.GROUP, 7), (acls.OTHERS, 4))
    mount.setxattr("/acl", "system.posix_acl_default", allowed, 0)
    for path, permissions in (("/plain/f", 0o644), ("/acl/f", 0o664)):
        mount.release(path, mount.create(path, 0o100666, os.O_RDWR, 0o022))
        assert mount.getattr(path)["st_mode"] == stat.S_IFREG | permissions


def test_special_files(mount: FuseOperations):
    mount.mknod("/null", stat.S_IFCHR | 0o666, os.makedev(1, 3), 0o022)
    mount.mknod("/empty", stat.S_IFREG | 0o640, 0, 0o022)
    found = mount.getattr("/null")
    assert (found["st_mode"], found["st_rdev"]) == (stat.S_IFCHR | 0o644, os.makedev(1, 3))
    assert mount.getattr("/empty")["st_mode"] == stat.S_IFREG | 0o640
    handle = mount.opendir("/")
    listed = {name: known["st_mode"] for name, known, _ in mount.readdir_with_offset("/", 0, handle)}
    assert (listed["null"], listed["empty"]) == (0, stat.S_IFREG), "only its inode tells which kind it is"
    mount.releasedir("/", handle)


def test_room(mount: FuseOperations):
    found = mount.statfs("/")
    assert found["f_bavail"] <= found["f_bfree"] <= found["f_blocks"]
    assert (found["f_namemax"], found["f_bsize"]) == (128, found["f_frsize"])


def test_locks(mount: FuseOperations, monkeypatch: pytest.MonkeyPatch):
    write(mount, "/f", b"")
    one, two = (mount.open("/f", os.O_RDONLY) for _ in range(2))
    mount.flock("/f", one, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        mount.flock("/f", two, fcntl.LOCK_SH | fcntl.LOCK_NB)
    monkeypatch.setattr("mgr_fscrypt.client.fuse_operations._LOCK_TIMEOUT", 0.1)
    with pytest.raises(BlockingIOError):
        mount.flock("/f", two, fcntl.LOCK_SH)
    # one that waits gets it once it is free
    monkeypatch.setattr("mgr_fscrypt.client.fuse_operations._LOCK_TIMEOUT", 30.0)
    freed = threading.Timer(0.1, mount.flock, ("/f", one, fcntl.LOCK_UN))
    freed.start()
    mount.flock("/f", two, fcntl.LOCK_EX)
    freed.join()
    with pytest.raises(BlockingIOError):
        mount.flock("/f", one, fcntl.LOCK_SH | fcntl.LOCK_NB)
    mount.release("/f", two)
    mount.flock("/f", one, fcntl.LOCK_SH | fcntl.LOCK_NB)
    mount.release("/f", one)


def test_not_all_requests_wait_for_locks(files: FileSystem, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mgr_fscrypt.client.fuse_operations._WAITERS", 0)
    mount = FuseOperations(files, b"/s", lambda: None)
    write(mount, "/f", b"")
    one, two = (mount.open("/f", os.O_RDONLY) for _ in range(2))
    mount.flock("/f", one, fcntl.LOCK_EX)
    begun = time.monotonic()
    with pytest.raises(BlockingIOError):
        mount.flock("/f", two, fcntl.LOCK_SH)
    prompt(time.monotonic() - begun, 5)
    mount.close()


def test_times(mount: FuseOperations):
    write(mount, "/f", b"")
    mount.utimens("/f", (7 * 10**9, 8 * 10**9))
    mount.utimens("/f", (OMIT, 9 * 10**9))
    found = mount.getattr("/f")
    assert (found["st_atime"], found["st_mtime"]) == (7 * 10**9, 9 * 10**9)
    mount.utimens("/f", (NOW, OMIT))
    found = mount.getattr("/f")
    assert found["st_atime"] > 10**18
    assert found["st_mtime"] == 9 * 10**9


def test_names(mount: FuseOperations):
    mount.mkdir("/d", 0o40755)
    write(mount, "/d/f", b"x")
    mount.link("/d/g", "/d/f")
    mount.symlink("/l", "d/\udcff")
    mount.rename("/d/f", "/h")
    assert mount.readlink("/l") == "d/\udcff"
    assert mount.getattr("/h")["st_nlink"] == 2
    assert mount.getattr("/h")["st_ino"] == mount.getattr("/d/g")["st_ino"]
    mount.unlink("/d/g")
    mount.rmdir("/d")
    mount.chmod("/h", 0o100600)
    assert mount.getattr("/h")["st_mode"] == stat.S_IFREG | 0o600
    with refused(errno.ENOENT):
        mount.getattr("/d")


def test_a_listing_through_the_operations(mount: FuseOperations):
    write(mount, "/f", b"")
    handle = mount.opendir("/")
    assert [name for name, _, _ in mount.readdir_with_offset("/", 0, handle)] == [".", "..", "f"]
    mount.releasedir("/", handle)


class Directory:
    """A thousand entries, and how often and how far it was read."""

    def __init__(self) -> None:
        self.starts = 0
        self.given = 0

    def entries(self) -> Iterator[DirEntry]:
        self.starts += 1
        for number in range(1000):
            self.given += 1
            name = b"%d" % number
            yield DirEntry(name, name, Kind.FILE, number + 1, NameKind.DECRYPTED)


@pytest.mark.parametrize("room", [1, 2, 7, 64, 2000])
def test_a_listing_in_pieces_gives_each_entry_once(room: int):
    directory = Directory()
    listing, names, offset = Listing(directory.entries), [], 0
    while True:
        piece = 0
        for name, _, following in listing.after(offset):
            # what has no room any more is asked for again
            if piece == room:
                break
            names.append(name)
            piece, offset = piece + 1, following
        if not piece:
            break
    assert names == [".", "..", *(str(number) for number in range(1000))]
    assert (directory.starts, directory.given) == (1, 1000)


def test_a_listing_is_a_stream():
    directory = Directory()
    piece = Listing(directory.entries).after(0)
    for _ in range(10):
        next(piece)
    assert directory.given == 8


@pytest.mark.parametrize("offset", [0, 1, 5, 999])
def test_a_listing_begins_again_where_it_is_asked_to(offset: int):
    listing = Listing(Directory().entries)
    everything = [name for name, _, _ in listing.after(0)]
    assert [name for name, _, _ in listing.after(offset)] == everything[offset:]
