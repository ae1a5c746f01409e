"""Long names that are given through a kernel's mount of the same directories, where there is one.

libcephfs cannot store what such a name needs (long_names.py); a kernel can. So what is to have one is made here under a
short name beside, and the kernel gives it the long one before it is used. So is all that is made below a long name. The
name itself is taken first, by something empty that the kernel makes where nothing may be, since a rename takes the
place of whatever is there.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from ..ceph.errors import CephError, ExistsError
from ..ceph.interface import Mount
from ..format import Context
from .directories import Directory, Place, exists, inconsistent
from .errors import RefusedError
from .paths import joined

_BELIEF = 10.0
"""Seconds. A kernel goes on believing in names of its own that others removed for some 5 s (doc/kernel-witness.md)."""
_PAUSE = 0.2


class KernelNames(Protocol):
    """What a kernel's mount does to names in an encrypted directory: the one at a plain path from this mount's root,
    which has this context and no other. All raise `OSError`; ESTALE: another directory is there."""

    def make_empty(self, path: bytes, context: Context, name: bytes, *, directory: bool) -> int:
        """A new empty file, or directory; its inode number. Raises FileExistsError where something is there."""

    def rename(self, path: bytes, context: Context, old: bytes, new: bytes) -> None:
        """As rename(2)."""


class LongNaming:
    """Gives long names, through a kernel."""

    def __init__(self, mount: Mount, kernel: KernelNames) -> None:
        self._mount = mount
        self._kernel = kernel

    @contextmanager
    def making(self, place: Place, *, directory: bool = False) -> Iterator[bytes]:
        """The stored path under which to make, in a `with` block, what has the name of `place` after it.

        Whatever fails, nothing is left.

        Raises:
            ExistsError: something has this name.
            RefusedError: the kernel's own errno: it has not got this directory, or not its key.
        """
        parent = place.parent
        short = b".fscrypt-" + os.urandom(8).hex().encode()
        made = joined(parent.stored, parent.lookup_name(short))
        taken = self._take(place, directory=directory)
        try:
            yield made
            self._rename(parent, short, place)
        except BaseException:
            remove = self._mount.rmdir if directory else self._mount.unlink
            with suppress(CephError):
                remove(made)
            with suppress(CephError):
                if self._mount.stat(place.existing).ino == taken:
                    remove(place.existing)
            raise

    def rename(self, old: Place, new: Place) -> None:
        """Within one directory. Raises `RefusedError`."""
        self._rename(old.parent, old.name, new)

    def _rename(self, parent: Directory, old: bytes, new: Place) -> None:
        try:
            self._kernel.rename(parent.plain, _context(parent), old, new.name)
        except OSError as error:
            raise _refusal(error, new.plain) from error

    def _take(self, place: Place, *, directory: bool) -> int:
        """Have the name, by something empty, whose inode number it is."""
        parent, end = place.parent, time.monotonic() + _BELIEF
        while True:
            try:
                return self._kernel.make_empty(
                    parent.plain, _context(parent), place.name, directory=directory
                )
            except FileExistsError as error:
                if exists(self._mount, place.existing) or time.monotonic() > end:
                    raise ExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place.plain) from error
            except OSError as error:
                raise _refusal(error, place.plain) from error
            time.sleep(_PAUSE)


def renames_by_kernel(old: Place, new: Place) -> bool:
    """Is it a rename that only a kernel can do, and that it does at once, within one directory?"""
    if old.as_stored or old.parent.stored != new.parent.stored:
        return False
    return any(each.parent.needs_kernel(each.name) for each in (old, new))


def _context(directory: Directory) -> Context:
    if directory.context is None:
        raise inconsistent(directory.plain)
    return directory.context


def _refusal(error: OSError, plain: bytes) -> RefusedError:
    return RefusedError(
        error.errno or errno.EIO,
        f"the kernel's mount, through which long names are given, says: {error.strerror}",
        plain,
        remedy="See that the kernel has the same directory there, and its key. Nothing was changed.",
    )
