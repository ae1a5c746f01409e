"""The few acts on files that every fact needs, on a mount of the raw binding."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cephfs

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

BLOCK = 4096


@contextmanager
def mounted(cluster: "Cluster", **options: str) -> Iterator[cephfs.LibCephFS]:
    """A mount in this process for as long as the block runs."""
    fs = cephfs.LibCephFS(conffile=str(cluster.directory / "ceph.conf"))
    for option, value in options.items():
        fs.conf_set(option, value)
    fs.mount()
    try:
        yield fs
    finally:
        fs.shutdown()


def create(fs: Any, path: str, data: bytes = b"") -> None:
    """Write a new file with `data`, durable; `fs` is a mount here or a `Client`."""
    handle = fs.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    if data:
        fs.write(handle, data, 0)
    fs.fsync(handle, 0)
    fs.close(handle)


def content(fs: Any, path: str) -> bytes:
    """All bytes of a file as `fs` sees them now."""
    handle = fs.open(path, os.O_RDONLY)
    data: bytes = fs.read(handle, 0, fs.fstat(handle).st_size)
    fs.close(handle)
    return data


def names(fs: cephfs.LibCephFS, path: str) -> list[str]:
    """The entries of a directory, sorted, without . and .. ."""
    directory = fs.opendir(path)
    found = []
    while entry := fs.readdir(directory):
        found.append(os.fsdecode(entry.d_name))
    fs.closedir(directory)
    return sorted(set(found) - {".", ".."})


def remove_tree(fs: cephfs.LibCephFS, path: str) -> None:
    """Remove a directory, all below it, and their snapshots."""
    for snapshot in names(fs, f"{path}/.snap"):
        if not snapshot.startswith("_"):
            fs.rmdir(f"{path}/.snap/{snapshot}")
    for name in names(fs, path):
        entry = f"{path}/{name}"
        if stat.S_ISDIR(fs.lstat(entry).st_mode):
            remove_tree(fs, entry)
        else:
            fs.unlink(entry)
    fs.rmdir(path)


def until(holds: Callable[[], bool], what: str, seconds: float = 30.0) -> float:
    """Wait until `holds()`; answers the seconds it took, or fails naming `what`."""
    start = time.monotonic()
    while not holds():
        waited = time.monotonic() - start
        assert waited < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - start
