"""The border to libfuse 3, which the package mfusepy binds: one call that serves a directory until it is unmounted.

Importing this raises `ImportError` where mfusepy is missing and `OSError` where libfuse 3 is.
"""

import errno
import os
from pathlib import Path

# mfusepy would take libfuse 2 first, where both are
os.environ.setdefault("FUSE_LIBRARY_NAME", "fuse3")

import mfusepy

_LOOP_ENDED = 7
"""From this answer of `fuse_main` on, the mount had been served; a signal ends it so, too."""


class MountRefusedError(Exception):
    """libfuse could not mount; it has told why on standard error."""


class _Served(mfusepy.FUSE):  # type: ignore[misc] # mfusepy has no types
    """mfusepy drops two arguments: without the flags of renameat2 a file would be replaced that was not to be, and
    without the handle of ftruncate a file be cut that has got the path of the open one."""

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
        if flags:
            raise OSError(errno.EINVAL, "renameat2 with flags, as kernel CephFS answers")
        return int(self.rename_fuse_2(old, new) or 0)

    def truncate_fuse_3(self, path: bytes | None, length: int, handle: object) -> int:
        return int(self.ftruncate(path, length, handle) or 0)


def serve(operations: object, directory: Path, *, read_only: bool) -> None:
    """Mount `operations` at `directory` and serve it in this thread, one request after the other.

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
            nothreads=True,
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
