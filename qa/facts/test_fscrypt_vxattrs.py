"""F1, F2, F6, F6a, F6b, F6c: the two fscrypt vxattrs through libcephfs, on files that nobody truncates."""

import errno
import os
import signal
import threading
from collections.abc import Callable

import cephfs
import pytest

from qa.facts.blobs import AUTH, FILE, LIMIT, POLICY, size_field
from qa.facts.client import Clients, DeathError
from qa.facts.tree import BLOCK, create

Mount = Callable[..., cephfs.LibCephFS]
BINARY = bytes(reversed(range(LIMIT)))


def make(fs: cephfs.LibCephFS, kind: str, path: str) -> None:
    match kind:
        case "file":
            create(fs, path)
        case "directory":
            fs.mkdir(path, 0o755)
        case "symlink":
            fs.symlink("target", path)


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
@pytest.mark.parametrize("blob", [AUTH, FILE])
def test_f1_any_bytes_are_kept_and_changed_on_every_kind_of_inode(
    fs: cephfs.LibCephFS, mount: Mount, place: str, kind: str, blob: str
) -> None:
    path = f"{place}/inode"
    make(fs, kind, path)
    for value in (BINARY, b"x", POLICY, b"\0"):
        fs.lsetxattr(path, blob, value, 0)
        fs.sync_fs()
        assert fs.lgetxattr(path, blob, LIMIT) == value
        assert mount().lgetxattr(path, blob, LIMIT) == value


@pytest.mark.parametrize("blob", [AUTH, FILE])
def test_f1_blobs_are_unlisted_and_cannot_be_removed(fs: cephfs.LibCephFS, place: str, blob: str) -> None:
    create(fs, f"{place}/file")
    fs.setxattr(f"{place}/file", blob, POLICY, 0)
    assert fs.listxattr(f"{place}/file") == (0, b"")
    with pytest.raises(cephfs.Error) as refusal:
        fs.removexattr(f"{place}/file", blob)
    assert refusal.value.errno == errno.EINVAL
    assert fs.getxattr(f"{place}/file", blob, LIMIT) == POLICY


@pytest.mark.parametrize("blob", [AUTH, FILE])
def test_f1_the_empty_value_unsets(fs: cephfs.LibCephFS, mount: Mount, place: str, blob: str) -> None:
    fs.mkdir(f"{place}/directory", 0o755)
    fs.setxattr(f"{place}/directory", blob, POLICY, 0)
    fs.sync_fs()
    other = mount()
    other.setxattr(f"{place}/directory", blob, b"", 0)
    with pytest.raises(cephfs.NoData):
        mount().getxattr(f"{place}/directory", blob, LIMIT)


def test_f1_children_do_not_inherit(fs: cephfs.LibCephFS, place: str) -> None:
    fs.mkdir(f"{place}/directory", 0o755)
    for blob in (AUTH, FILE):
        fs.setxattr(f"{place}/directory", blob, POLICY, 0)
    for kind in ("file", "directory", "symlink"):
        path = f"{place}/directory/{kind}"
        make(fs, kind, path)
        for blob in (AUTH, FILE):
            with pytest.raises(cephfs.NoData):
                fs.lgetxattr(path, blob, LIMIT)


def test_f2_more_than_256_bytes_can_be_set_but_reading_gives_stack_bytes_or_kills(
    clients: Clients, place: str
) -> None:
    setter, reader = clients.open(), clients.open()
    for size in (LIMIT, LIMIT + 1, 70_000):
        create(setter, f"{place}/{size}")
        setter.setxattr(f"{place}/{size}", AUTH, b"A" * size, 0)
        setter.sync_fs()
    assert reader.getxattr(f"{place}/{LIMIT}", AUTH, 1000) == b"A" * LIMIT
    beyond = reader.getxattr(f"{place}/{LIMIT + 1}", AUTH, 1000)
    assert len(beyond) == LIMIT + 1
    assert beyond != b"A" * (LIMIT + 1)
    with pytest.raises(DeathError) as death:
        reader.getxattr(f"{place}/70000", AUTH, 70_000)
    assert death.value.signal == signal.SIGSEGV


def test_f6_a_value_is_seen_by_others_once_its_setter_has_flushed(
    fs: cephfs.LibCephFS, mount: Mount, place: str
) -> None:
    other = mount()
    create(fs, f"{place}/file")
    for turn in range(20):
        fs.setxattr(f"{place}/file", FILE, size_field(turn), 0)
        fs.sync_fs()
        assert other.getxattr(f"{place}/file", FILE, LIMIT) == size_field(turn)


def test_f6a_a_flush_by_a_writer_brings_its_old_size_field_back(clients: Clients, place: str) -> None:
    writer, setter = clients.open(), clients.open()
    path = f"{place}/file"
    create(writer, path, bytes(BLOCK))
    writer.setxattr(path, FILE, size_field(1), 0)
    writer.sync_fs()
    handle = writer.open(path, os.O_RDWR)
    writer.write(handle, b"a", 0)
    writer.fsync(handle, 0)

    setter.setxattr(path, FILE, size_field(2), 0)
    setter.sync_fs()
    assert clients.open().getxattr(path, FILE, LIMIT) == size_field(2)

    writer.write(handle, bytes(BLOCK), BLOCK)
    writer.fsync(handle, 0)
    writer.sync_fs()
    assert clients.open().getxattr(path, FILE, LIMIT) == size_field(1)


def test_f6a_an_inode_reply_overwrites_an_unflushed_size_field(clients: Clients, place: str) -> None:
    client = clients.open()
    path = f"{place}/file"
    create(client, path, bytes(BLOCK))
    client.setxattr(path, FILE, size_field(1), 0)
    client.sync_fs()
    handle = client.open(path, os.O_RDWR)
    client.write(handle, b"a", 0)
    client.fsetxattr(handle, FILE, size_field(2), 0)
    client.rename(path, f"{path}.renamed")
    client.link(f"{path}.renamed", path)
    client.fsync(handle, 0)
    client.sync_fs()
    assert clients.open().getxattr(path, FILE, LIMIT) == size_field(1)


def test_f6b_trusted_xattrs_are_seen_by_others_before_they_are_flushed(
    fs: cephfs.LibCephFS, mount: Mount, place: str
) -> None:
    name, path = "trusted.fscrypt.engine", f"{place}/file"
    create(fs, path)
    handle = fs.open(path, os.O_RDWR)
    other = mount()
    for turn in range(20):
        fs.fsetxattr(handle, name, size_field(turn), 0)
        assert other.getxattr(path, name, LIMIT) == size_field(turn)
    assert other.listxattr(path) == (len(name) + 1, f"{name}\0".encode())
    fs.close(handle)


@pytest.mark.parametrize("name", [FILE, "trusted.fscrypt.engine"])
def test_f6c_no_size_field_is_atomic_with_the_size(clients: Clients, place: str, name: str) -> None:
    """A file without auth, truncated without pause; an observer looks at the size and then at the field."""
    looks, path = 150, f"{place}/file"
    writer, observer = clients.open(), clients.open()
    create(writer, path, bytes(BLOCK))
    handle = writer.open(path, os.O_RDWR)
    writer.fsetxattr(handle, name, size_field(BLOCK), 0)
    enough = threading.Event()

    def change() -> None:
        turn = 0
        while not enough.is_set():
            turn += 1
            size = BLOCK * (1 + turn % 16)
            writer.ftruncate(handle, size)
            writer.fsetxattr(handle, name, size_field(size), 0)

    def torn() -> bool:
        size: int = observer.stat(path).st_size
        return size != int.from_bytes(observer.getxattr(path, name, LIMIT), "little")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        seen = sum(torn() for _ in range(looks))
    finally:
        enough.set()
        changing.join()
    print(f"sampled: F6c {seen} of {looks} looks at {name} torn")
    assert seen > 0
    assert not torn()
