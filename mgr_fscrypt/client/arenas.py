"""How glibc shares memory out among the threads of a process (mallopt(3))."""

import ctypes

ARENAS = 2
_M_ARENA_MAX = -8


def share_memory() -> None:
    """Have all threads take their memory from a few places together; to be called before there are threads.

    glibc gives a process eight places for each core, and each keeps what large reads and writes left free in it: a
    mount, whose kernel asks from a dozen threads, had 308 MiB at its peak in place of 206, and was no faster
    (`qa/run bench engine`). Other C libraries have no such places, and are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)
