"""Addresses of Python buffers, read-only ones included, without copying."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from .errors import ContentsError

Buffer: TypeAlias = bytes | bytearray | memoryview

_SIMPLE = 0
_WRITABLE = 1


class _PyBuffer(ctypes.Structure):
    """``Py_buffer``, part of CPython's stable ABI since 3.11."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


@contextmanager
def address_of(buffer: Buffer, *, writable: bool = False) -> Iterator[tuple[int, int]]:
    """The buffer's address and its bytes; it cannot move or be resized meanwhile.

    Raises:
        ContentsError: it is not contiguous, or read-only where it must be writable.
    """
    view = _PyBuffer()
    try:
        ctypes.pythonapi.PyObject_GetBuffer(
            ctypes.py_object(buffer), ctypes.byref(view), _WRITABLE if writable else _SIMPLE
        )
    except BufferError as error:
        raise ContentsError(f"this buffer cannot be used: {error}") from None
    try:
        yield view.buf or 0, view.len
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
