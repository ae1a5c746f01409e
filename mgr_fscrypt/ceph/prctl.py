"""What a process may ask of the kernel about its own end (prctl(2))."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def keep_out_of_core_dumps() -> None:
    """Have the kernel write no core dump of this process, and let none but root look into its memory.

    For a process that holds a master key, or that libcephfs can abort at any time (doc/facts.md F4). Not RLIMIT_CORE:
    where dumps are piped to a program, as systemd has it, that limit does not count (core(5)).

    Raises:
        OSError: the kernel refuses.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Be killed when the thread that started this process ends (doc/facts.md M11).

    Raises:
        OSError: the kernel refuses.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
