"""A secret in memory of its own: not swapped out, in no core dump, in no child, and wiped at its end.

What that is worth, and what it is not: doc/threat-model.md.
"""

import ctypes
import mmap
import os

from ..format.buffers import address_of


class SecretMemoryError(Exception):
    """The kernel does not lock memory for us: RLIMIT_MEMLOCK is used up."""


class SecretMemory:
    """One secret of at most a page. Not for several threads at a time."""

    __slots__ = ("_length", "_page")

    def __init__(self, secret: bytes) -> None:
        """Take a copy of it.

        Raises:
            SecretMemoryError: there is no more memory that may be locked.
        """
        self._length = len(secret)
        self._page: mmap.mmap | None = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            _mlock(self._page)
        except OSError as error:
            self._page.close()
            self._page = None
            raise SecretMemoryError(f"memory for a key cannot be locked: {error.strerror}") from error
        self._page.madvise(mmap.MADV_DONTDUMP)
        self._page.madvise(mmap.MADV_DONTFORK)
        self._page[: self._length] = secret

    def __repr__(self) -> str:
        return f"SecretMemory({'wiped' if self._page is None else f'{self._length} bytes'})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("what holds a key is not pickled")

    @property
    def wiped(self) -> bool:
        """Is nothing there any more?"""
        return self._page is None

    def expose(self) -> bytes:
        """A copy. Raises ``ValueError`` once it was wiped."""
        return self._whole()[: self._length]

    def wipe(self) -> None:
        """Overwrite it with zeros, and give the memory back; a second time does nothing."""
        if self._page is not None:
            self._page[:] = bytes(mmap.PAGESIZE)
            # unmapping unlocks
            self._page.close()
            self._page = None

    def _whole(self) -> mmap.mmap:
        if self._page is None:
            raise ValueError("this secret was wiped")
        return self._page


def _mlock(page: mmap.mmap) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with memoryview(page) as view, address_of(view) as (address, length):
        if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(length)) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
