"""Symbolic links, which the engine never follows, followed as the kernel does: never out of what is mounted."""

import errno
import os
from collections.abc import Callable
from typing import TypeVar

from ..ceph.errors import NotFoundError
from ..ceph.interface import Kind
from ..engine import FileSystem, RefusedError

_MOST = 40
"""Links on one way, as in Linux (path_resolution(7))."""
_Answer = TypeVar("_Answer")


def real_path(files: FileSystem, path: str, *, last: bool = True) -> str:
    """`path` without links on the way, and with `last` at its end. The last name need not be there.

    Raises:
        RefusedError: ELOOP: too many links.
        NotFoundError: something on the way is not there.
    """
    done, ahead, links = "/", _names(path), 0
    while ahead:
        name = ahead.pop(0)
        if name == "..":
            done = done.rpartition("/")[0] or "/"
            continue
        here = done.rstrip("/") + "/" + name
        if _is_link(files, here, needed=bool(ahead)) if ahead or last else False:
            links += 1
            if links > _MOST:
                raise RefusedError(
                    errno.ELOOP,
                    "too many symbolic links",
                    os.fsencode(path),
                    remedy="Look at the links on it.",
                )
            target = os.fsdecode(files.readlink(here))
            ahead = _names(target) + ahead
            done = "/" if target.startswith("/") else done
        else:
            done = here
    return done


def following(files: FileSystem, path: str, act: Callable[[str], _Answer], *, last: bool = True) -> _Answer:
    """Do something with a path, and where there are links on it, with what they lead to. Where there is none, nothing
    is asked for it."""
    try:
        return act(path)
    except RefusedError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        real = real_path(files, path, last=last)
        if real == path:
            raise
    return act(real)


def _is_link(files: FileSystem, path: str, *, needed: bool) -> bool:
    try:
        return files.stat(path).kind is Kind.SYMLINK
    except NotFoundError:
        if needed:
            raise
        return False


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]
