"""A process that holds a master key leaves no core dump: libcephfs can abort it at any time (doc/facts.md F4)."""

import ctypes
import os

_PR_SET_DUMPABLE = 4


def keep_out_of_core_dumps() -> None:
    """Have the kernel write no core dump of this process, and let none but root look into its memory.

    Not RLIMIT_CORE: where dumps are piped to a program, as systemd has it, that limit does not count (core(5)).

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
