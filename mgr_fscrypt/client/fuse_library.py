"""The border to libfuse 3, which the package mfusepy binds: one call that serves a directory until it is unmounted.

Importing this raises `ImportError` where mfusepy is missing and `OSError` where libfuse 3 is.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread, local
from typing import Any

# mfusepy would take libfuse 2 first, where both are
os.environ.setdefault("FUSE_LIBRARY_NAME", "fuse3")

import mfusepy

from ..ceph.interface import RangeLock

_LOOP_ENDED = 7
"""From this answer of `fuse_main` on, the mount had been served; a signal ends it so, too."""


class MountRefusedError(Exception):
    """libfuse could not mount; it has told why on standard error."""


_CAP_DONT_MASK = 1 << 6
"""FUSE_CAP_DONT_MASK of libfuse: modes come without umask(2) applied, which does not count under a default ACL."""
_CAP_HANDLE_KILLPRIV_V2 = 1 << 21
"""FUSE_CAP_HANDLE_KILLPRIV_V2: the engine takes rights away from programs that are changed. Else the kernel asks for
`security.capability` before each write, which makes writes of 4 KiB three times slower (run on Linux 6.18)."""


_FORGETTING = 1.0
"""Seconds within which the kernel has long forgotten a file's contents, unless it waits for us."""


class _Served(mfusepy.FUSE):  # type: ignore[misc] # mfusepy has no types
    """mfusepy drops some arguments: without the flags of renameat2 a file would be replaced that was not to be,
    without the handle of ftruncate a file be cut that has got the path of the open one; without the umask no default
    ACL would count, without their owners no locks; and without the mark of what comes from shared memory (`writepage`)
    pages would be appended to files that are open for that. And it copies all contents once more, where ours can be
    deciphered right into libfuse's memory, and enciphered right out of it."""

    _known = local()

    def _wrapper(self, operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if not hasattr(self._known, "kept"):
            # else Python makes all that it has for a thread anew with each request, and forgets it afterwards, since
            # libfuse's threads are not its own: a read of a small file takes half as long again (measured)
            ctypes.pythonapi.PyGILState_Ensure()
            self._known.kept = True
        return super()._wrapper(operation, *arguments, **named)

    def init_fuse_3(self, connection: Any, config: object) -> None:
        connection.contents.want |= connection.contents.capable & (_CAP_DONT_MASK | _CAP_HANDLE_KILLPRIV_V2)
        super().init_fuse_3(connection, config)

    def create(self, path: bytes, mode: int, info: Any) -> int:
        info.contents.fh = self.operations.create(self._decoded(path), mode, info.contents.flags, _umask())
        return 0

    def mkdir(self, path: bytes, mode: int) -> int:
        return int(self.operations.mkdir(self._decoded(path), mode, _umask()) or 0)

    def mknod(self, path: bytes, mode: int, device: int) -> int:
        return int(self.operations.mknod(self._decoded(path), mode, device, _umask()) or 0)

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
        if flags:
            raise OSError(errno.EINVAL, "renameat2 with flags, as kernel CephFS answers")
        return int(self.rename_fuse_2(old, new) or 0)

    def truncate_fuse_3(self, path: bytes | None, length: int, handle: object) -> int:
        return int(self.ftruncate(path, length, handle) or 0)

    def read(self, path: bytes, memory: Any, size: int, offset: int, handle: Any) -> int:
        return int(self.operations.read(self._decoded(path), _view(memory, size), offset, handle.contents.fh))

    def write(self, path: bytes, memory: Any, size: int, offset: int, handle: Any) -> int:
        info, data = handle.contents, _view(memory, size)
        if info.writepage:
            return int(self.operations.write_page(data, offset, info.fh))
        return int(self.operations.write(self._decoded(path), data, offset, info.fh))

    def flock(self, path: bytes, info: Any, operation: int) -> int:
        self.operations.flock(self._decoded(path), info.contents.fh, operation)
        if not operation & fcntl.LOCK_UN:
            _read_anew(path)
        return 0

    def lock(self, path: bytes, info: Any, command: int, range_: Any) -> int:
        asked, handle, owner = range_.contents, info.contents.fh, info.contents.lock_owner
        lock = RangeLock(asked.l_type, asked.l_start, asked.l_len, asked.l_pid)
        if command == fcntl.F_GETLK:
            found = self.operations.range_blocker(handle, lock, owner)
            asked.l_type = fcntl.F_UNLCK if found is None else found.kind
            if found is not None:
                asked.l_start, asked.l_len, asked.l_pid = found.start, found.length, found.process
        else:
            self.operations.lock(handle, lock, owner, waits=command == fcntl.F_SETLKW)
            if lock.kind != fcntl.F_UNLCK:
                _read_anew(path)
        return 0

    def _decoded(self, path: bytes) -> str:
        return path.decode(self.encoding, self.errors)


def _view(memory: Any, size: int) -> memoryview:
    """Libfuse's memory, for as long as it answers this request."""
    return memoryview((ctypes.c_char * size).from_address(ctypes.addressof(memory.contents))).cast("B")


def _umask() -> int:
    """Of the process whose request is being served; mfusepy's own function leaves it out."""
    return int(mfusepy._libfuse.fuse_get_context().contents.umask)


def _read_anew(path: bytes) -> None:
    """Have the kernel forget a file's contents: whoever got a lock sees what others wrote while they had it.

    The kernel waits for reads that are under way, which this thread may have to serve: so it is not waited for long.
    """
    context = mfusepy._libfuse.fuse_get_context().contents
    forgetting = Thread(
        target=mfusepy._libfuse.fuse_invalidate_path, args=(ctypes.c_void_p(context.fuse), path), daemon=True
    )
    forgetting.start()
    forgetting.join(_FORGETTING)


def serve(operations: object, directory: Path, *, read_only: bool) -> None:
    """Mount `operations` at `directory` and serve it, in this thread and some of libfuse's own.

    Returns when it was unmounted, or on SIGTERM, SIGINT or SIGHUP, which unmount it.

    Nothing that the kernel asked before is believed later (both timeouts are 0): other clients change what is there.

    Raises:
        MountRefusedError: it was not mounted.
    """
    try:
        _Served(
            operations,
            os.fspath(directory),
            foreground=True,
            nothreads=False,
            fsname="cephfs-fscrypt",
            subtype="cephfs-fscrypt",
            attr_timeout=0,
            entry_timeout=0,
            use_ino=True,
            ro=read_only,
        )
    except RuntimeError as error:
        answer = error.args[0]
        if answer < _LOOP_ENDED:
            raise MountRefusedError(f"libfuse answered {answer}") from error
