"""What the kernel asks, without a kernel: the operations of the mount on the fake cluster."""

import errno
import os
import stat
from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.client.fuse_operations import FuseOperations, Listing
from mgr_fscrypt.engine import DirEntry, FileSystem, Keyring, NameKind
from mgr_fscrypt.format import MasterKey
from qa.fakes.ceph import FakeCluster, FakeMount

KEY = MasterKey(bytes(range(64)))
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2


def client(cluster: FakeCluster) -> FileSystem:
    keyring = Keyring()
    keyring.add(KEY)
    return FileSystem(FakeMount(cluster), keyring)


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
    assert mount.read("/f", 100, 0, handle) == b"x" * 10
    mount.release("/f", handle)
    assert files.stat("/s/f").size == 10


def test_a_file_that_another_client_made_first_is_opened(mount: FuseOperations):
    write(mount, "/f", b"theirs")
    handle = mount.create("/f", 0o100644, os.O_RDWR)
    assert mount.read("/f", 100, 0, handle) == b"theirs"
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
    assert mount.read("/f", 100, 0, reader) == b"nld!"
    mount.release("/f", writer)
    assert mount.read("/f", 100, 0, reader) == b"nld!"
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
    assert mount.read("/f", 100, 0, handle) == b"o"
    assert mount.getattr("/f")["st_size"] == 3
    mount.release("/f", handle)


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
    with pytest.raises(OSError, check=lambda error: error.errno == errno.ENOENT):
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
