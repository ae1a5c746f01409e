"""F16: what clients meet in a pool that is full."""

import contextlib
import errno
import os
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

import cephfs
import pytest
import rados

from qa.facts.tree import BLOCK, content, create
from qa.load.full_pool import full_pool

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

KEEP_SIZE, PUNCH_HOLE = 1, 2
FULL_FORCE = 128
"""LIBRADOS_OPERATION_FULL_FORCE: the binding takes the number, and does not name it."""


def refusal(act: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(cephfs.Error) as refused:
        act(*arguments)
    return int(refused.value.errno)


def begun(act: Callable[..., object], *arguments: object) -> Thread:
    """A call that is given a second to return."""
    thread = Thread(target=act, args=arguments)
    thread.start()
    thread.join(1)
    return thread


def test_f16_a_full_pool(
    fs: cephfs.LibCephFS, cluster: "Cluster", place: str, mount: Callable[..., cephfs.LibCephFS]
) -> None:
    path = f"{place}/file"
    create(fs, path, b"1" * 2 * BLOCK)
    create(fs, f"{place}/other", b"0")
    handle = fs.open(path, os.O_RDWR)
    with (
        full_pool(cluster) as pool,
        rados.Rados(conffile=str(cluster.directory / "ceph.conf")) as client,
        client.open_ioctx("cephfs_data") as data,
    ):

        def accepted() -> None:
            with contextlib.suppress(cephfs.Error):
                fs.write(handle, b"2" * BLOCK, 0)

        pool.fill(accepted)
        # what was accepted before is dropped, and that is said once
        assert refusal(fs.fsync, handle, 0) == errno.ENOSPC
        fs.fsync(handle, 0)
        assert fs.read(handle, 0, BLOCK) == b"1" * BLOCK
        # once the client knows, writes are refused at once; what an MDS does goes on
        assert refusal(fs.write, handle, b"3" * BLOCK, 0) == errno.ENOSPC
        fs.truncate(path, 4 * BLOCK)
        fs.truncate(path, 2 * BLOCK)
        fs.setxattr(path, "user.x", b"y", 0)
        create(fs, f"{place}/empty")
        # reserving is refused; punching waits, and is dropped with the next OSD map
        assert refusal(fs.fallocate, handle, 0, BLOCK, KEEP_SIZE) == errno.ENOSPC
        punching = begun(fs.fallocate, handle, BLOCK, BLOCK, KEEP_SIZE | PUNCH_HOLE)
        # a client that tries first whether it may write waits, too, even to read
        late, hopeful = mount(), mount(client_check_pool_perm="false")
        assert content(hopeful, f"{place}/other") == b"0"
        answers: list[int] = []
        reading = begun(lambda: answers.append(refusal(content, late, f"{place}/other")))
        # so does librados, unless it insists
        writing = begun(data.write_full, "waits", b"1")
        with rados.WriteOpCtx() as step:
            step.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
            data.operate_write_op(step, "insists", flags=FULL_FORCE)
        waiting = (punching, reading, writing)
        assert all(thread.is_alive() for thread in waiting)
        pool.free()
        for thread in waiting:
            thread.join(30)
            assert not thread.is_alive()
        assert answers == [errno.EIO]
        for name in ("waits", "insists"):
            data.remove_object(name)
    fs.close(handle)
    # the punch was answered with success, and nothing was punched
    assert content(fs, path) == b"1" * 2 * BLOCK


def test_f16_reserving_without_a_size_changes_nothing(fs: cephfs.LibCephFS, place: str) -> None:
    path = f"{place}/file"
    create(fs, path, b"1" * BLOCK)
    handle = fs.open(path, os.O_RDWR)
    fs.fallocate(handle, 0, 1 << 30, KEEP_SIZE)
    fs.close(handle)
    assert content(fs, path) == b"1" * BLOCK
    assert fs.stat(path).st_size == BLOCK
