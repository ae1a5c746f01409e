"""R1 to R7: the objects of files through librados, beside CephFS."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import cephfs
import pytest
import rados

from mgr_fscrypt.ceph.locks import NEW_OR_OURS, Lock
from qa.facts.tree import BLOCK, content, create, until

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

Mount = Callable[..., cephfs.LibCephFS]
OBJECT = 4 << 20
"""Bytes of a file in one object, by default."""
EOVERFLOW_OF_ASSERT = 75
MISMATCH = 4095
"""cmpext: this errno and above tell at which byte it differs."""


@pytest.fixture
def connect(cluster: "Cluster") -> Iterator[Callable[[], rados.Ioctx]]:
    """Open the data pool as a new librados client."""
    opened: list[tuple[rados.Rados, rados.Ioctx]] = []

    def make() -> rados.Ioctx:
        client = rados.Rados(conffile=str(cluster.directory / "ceph.conf"))
        client.connect()
        pool = client.open_ioctx("cephfs_data")
        opened.append((client, pool))
        return pool

    yield make
    for client, pool in opened:
        pool.close()
        client.shutdown()


@pytest.fixture
def data(connect: Callable[[], rados.Ioctx]) -> rados.Ioctx:
    return connect()


def object_name(fs: cephfs.LibCephFS, path: str, index: int = 0) -> str:
    return f"{fs.stat(path).st_ino:x}.{index:08x}"


def size_of(data: rados.Ioctx, name: str) -> int | None:
    """The object's size; None if there is no such object."""
    try:
        size: int = data.stat(name)[0]
    except rados.ObjectNotFound:
        return None
    return size


def write(data: rados.Ioctx, name: str, content: bytes, offset: int = 0, version: int | None = None) -> None:
    """Write into an object; with `version` only if that is its version."""
    with rados.WriteOpCtx() as operation:
        if version is not None:
            operation.assert_version(version)
        operation.write(content, offset)
        data.operate_write_op(operation, name)


def fresh(mount: Mount, path: str) -> bytes:
    """A file's content as a client sees it that never saw it before."""
    return content(mount(), path)


def test_r1_names_of_objects(fs: cephfs.LibCephFS, data: rados.Ioctx, place: str) -> None:
    path = f"{place}/file"
    handle = fs.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    fs.write(handle, b"0" * BLOCK, 0)
    fs.write(handle, b"2" * BLOCK, 2 * OBJECT + BLOCK)
    fs.fsync(handle, 0)
    fs.close(handle)
    assert data.read(object_name(fs, path, 0), BLOCK) == b"0" * BLOCK
    assert size_of(data, object_name(fs, path, 1)) is None
    assert data.read(object_name(fs, path, 2), BLOCK, BLOCK) == b"2" * BLOCK


def test_r1_names_of_objects_in_a_namespace(fs: cephfs.LibCephFS, data: rados.Ioctx, place: str) -> None:
    fs.setxattr(place, "ceph.dir.layout.pool_namespace", b"facts-r1", 0)
    create(fs, f"{place}/file", b"n" * BLOCK)
    name = object_name(fs, f"{place}/file")
    assert size_of(data, name) is None
    data.set_namespace("facts-r1")
    assert data.read(name, BLOCK) == b"n" * BLOCK


def test_r1_asserted_versions(fs: cephfs.LibCephFS, data: rados.Ioctx, mount: Mount, place: str) -> None:
    create(fs, f"{place}/file", b"1" * BLOCK)
    name = object_name(fs, f"{place}/file")
    data.read(name, BLOCK)
    version = data.get_last_version()
    write(data, name, b"2" * BLOCK, version=version)
    for wrong, number in ((version, errno.ERANGE), (version + 1000, EOVERFLOW_OF_ASSERT)):
        with pytest.raises(rados.Error) as refusal:
            write(data, name, b"3" * BLOCK, version=wrong)
        assert refusal.value.errno == number
    assert fresh(mount, f"{place}/file") == b"2" * BLOCK


def test_r1_compare_and_exclusive_create(fs: cephfs.LibCephFS, data: rados.Ioctx, place: str) -> None:
    create(fs, f"{place}/file", b"1" * BLOCK)
    name = object_name(fs, f"{place}/file")
    with rados.WriteOpCtx() as operation:
        operation.cmpext(b"x", 0)
        operation.write(b"3" * BLOCK, 0)
        with pytest.raises(rados.Error) as refusal:
            data.operate_write_op(operation, name)
    assert refusal.value.errno == MISMATCH
    with rados.WriteOpCtx() as operation:
        operation.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
        operation.write(b"3" * BLOCK, 0)
        with pytest.raises(rados.ObjectExists):
            data.operate_write_op(operation, name)
    assert data.read(name, BLOCK) == b"1" * BLOCK


def test_r1_a_lock_ends_by_itself_after_its_duration(connect: Callable[[], rados.Ioctx], place: str) -> None:
    one, two = connect(), connect()
    name = place.strip("/")

    def take(pool: rados.Ioctx, cookie: str) -> bool:
        # not `lock_exclusive`: its binding adds what happens to be in memory to the duration (doc/spikes.md, 3)
        with rados.WriteOpCtx() as operation:
            Lock("lease", cookie).take(operation, "", 2, NEW_OR_OURS)
            try:
                pool.operate_write_op(operation, name)
            except rados.ObjectBusy:
                return False
        return True

    start = time.monotonic()
    assert take(one, "one")
    assert not take(two, "two")
    until(lambda: take(two, "two"), "the lock of the holder that went away", 10)
    assert 1.9 < time.monotonic() - start < 5
    with pytest.raises(rados.ObjectNotFound):
        one.unlock(name, "lease", "one")
    two.remove_object(name)


def test_r2_a_write_past_the_end_of_a_truncated_object_is_dropped(
    fs: cephfs.LibCephFS, data: rados.Ioctx, mount: Mount, place: str
) -> None:
    path = f"{place}/file"
    create(fs, path, b"1" * 4 * BLOCK)
    name = object_name(fs, path)
    fs.truncate(path, BLOCK)
    until(lambda: size_of(data, name) == BLOCK, "the truncation of the object")
    write(data, name, b"2" * BLOCK, 2 * BLOCK)
    assert size_of(data, name) == BLOCK
    data.read(name, BLOCK)
    write(data, name, b"3" * BLOCK, version=data.get_last_version())
    assert fresh(mount, path) == b"3" * BLOCK


@pytest.mark.parametrize("truncated", [True, False])
def test_r3_a_new_object_in_a_file_once_truncated_is_invisible(
    fs: cephfs.LibCephFS, data: rados.Ioctx, mount: Mount, place: str, truncated: bool
) -> None:
    path = f"{place}/file"
    create(fs, path, b"1" * BLOCK)
    second = object_name(fs, path, 1)
    if truncated:
        fs.truncate(path, OBJECT + BLOCK)
        fs.truncate(path, BLOCK)
    fs.truncate(path, OBJECT + BLOCK)
    data.write_full(second, b"2" * BLOCK)
    seen = fresh(mount, path)[OBJECT:]
    assert seen == (bytes(BLOCK) if truncated else b"2" * BLOCK)


def test_r4_cached_contents_stay_stale_unless_a_writer_is_there(
    fs: cephfs.LibCephFS, data: rados.Ioctx, mount: Mount, place: str
) -> None:
    path = f"{place}/file"
    create(fs, path, b"1" * BLOCK)
    name = object_name(fs, path)
    caching, direct = mount(), mount(client_oc="false")
    assert content(caching, path) == content(direct, path) == b"1" * BLOCK
    write(data, name, b"2" * BLOCK)
    assert content(caching, path) == b"1" * BLOCK
    assert content(direct, path) == b"2" * BLOCK
    handle = direct.open(path, os.O_RDWR)
    direct.write(handle, b"3" * BLOCK, 0)
    direct.fsync(handle, 0)
    assert content(caching, path) == b"3" * BLOCK
    write(data, name, b"4" * BLOCK)
    assert content(caching, path) == b"4" * BLOCK
    direct.close(handle)


def test_r5_a_write_without_the_newest_snapshot_damages_it(
    fs: cephfs.LibCephFS, data: rados.Ioctx, mount: Mount, place: str
) -> None:
    """With the right context a snapshot is kept; `assert_version` does not notice one that was taken meanwhile."""
    path = f"{place}/file"
    create(fs, path, b"1" * BLOCK)
    name = object_name(fs, path)
    data.read(name, BLOCK)
    version = data.get_last_version()
    fs.mkdir(f"{place}/.snap/early", 0o755)
    early = fs.snap_info(f"{place}/.snap/early")["id"]
    data.set_self_managed_snap_write([early])
    write(data, name, b"2" * BLOCK, version=version)
    assert fresh(mount, f"{place}/.snap/early/file") == b"1" * BLOCK

    data.read(name, BLOCK)
    version = data.get_last_version()
    fs.mkdir(f"{place}/.snap/late", 0o755)
    write(data, name, b"3" * BLOCK, version=version)
    assert fresh(mount, f"{place}/.snap/late/file") == b"3" * BLOCK
    assert fresh(mount, f"{place}/.snap/early/file") == b"1" * BLOCK
    assert fresh(mount, path) == b"3" * BLOCK


def test_r5_inherited_snapshots_stand_beside_a_directorys_own(fs: cephfs.LibCephFS, place: str) -> None:
    fs.mkdir(f"{place}/below", 0o755)
    fs.mkdir(f"{place}/.snap/above", 0o755)
    fs.mkdir(f"{place}/below/.snap/own", 0o755)
    directory = fs.opendir(f"{place}/below/.snap")
    entries = set()
    while entry := fs.readdir(directory):
        entries.add(os.fsdecode(entry.d_name))
    fs.closedir(directory)
    inherited = f"_above_{fs.stat(place).st_ino}"
    assert entries - {".", ".."} == {"own", inherited}
    above = fs.snap_info(f"{place}/.snap/above")["id"]
    assert fs.snap_info(f"{place}/below/.snap/{inherited}")["id"] == above
    assert fs.snap_info(f"{place}/below/.snap/own")["id"] > above


def test_r6_holes_of_all_kinds_read_as_zeros(
    fs: cephfs.LibCephFS, data: rados.Ioctx, mount: Mount, place: str
) -> None:
    path = f"{place}/file"
    handle = fs.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    for index in range(4):
        fs.write(handle, b"6" * 2 * BLOCK, index * OBJECT)
    fs.fallocate(handle, 0, BLOCK, 3)
    fs.fallocate(handle, OBJECT, OBJECT, 3)
    fs.fsync(handle, 0)
    fs.close(handle)
    data.write_full(object_name(fs, path, 2), b"")
    data.remove_object(object_name(fs, path, 3))
    seen = fresh(mount, path)
    assert len(seen) == 3 * OBJECT + 2 * BLOCK
    assert seen[: 2 * BLOCK] == bytes(BLOCK) + b"6" * BLOCK
    assert not any(seen[2 * BLOCK :])
    assert size_of(data, object_name(fs, path, 1)) in (None, 0)


def test_r7_asserted_writes_inside_the_extent_lose_no_increment(
    fs: cephfs.LibCephFS, connect: Callable[[], rados.Ioctx], mount: Mount, place: str
) -> None:
    writers, increments = 3, 60
    path = f"{place}/file"
    create(fs, path, bytes(BLOCK))
    name = object_name(fs, path)
    conflicts = []

    def increment(data: rados.Ioctx) -> None:
        done = 0
        while done < increments:
            block = data.read(name, BLOCK)
            version = data.get_last_version()
            counter = int.from_bytes(block[:8], "little") + 1
            try:
                write(data, name, counter.to_bytes(8, "little") + block[8:], version=version)
            except rados.Error as error:
                if error.errno != errno.ERANGE:
                    raise
                conflicts.append(version)
            else:
                done += 1

    threads = [threading.Thread(target=increment, args=(connect(),)) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"sampled: R7 {writers} writers, {increments} increments each, {len(conflicts)} conflicts")
    assert conflicts
    assert int.from_bytes(fresh(mount, path)[:8], "little") == writers * increments
