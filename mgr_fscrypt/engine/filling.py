"""Bytes that are written where they will stay.

Readers and libcephfs's binding take `bytes`, ciphers write into memory. To fill a `bytearray` and copy it costs a tenth
of what a large read takes. Python's C interface allows the contents of `bytes` that were just made to be written
(`PyBytes_FromStringAndSize` without a string, `PyBytes_AsString`), until anybody else has them.
"""

import ctypes
from collections.abc import Callable

_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)
_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyBytes_AsString", ctypes.pythonapi))
_view = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)
_WRITABLE = 0x200
"""PyBUF_WRITE."""


def filled(length: int, fill: Callable[[memoryview], object]) -> bytes:
    """So many bytes, which `fill` writes, all of them: what it leaves out is whatever was in that memory before. It
    keeps nothing of what it is given."""
    made: bytes = _new(None, length)
    with _view(_address(made), length, _WRITABLE) as memory:
        fill(memory)
    return made
