"""Memory: what was freed goes back to the system, which glibc else keeps for each of the many threads of a server."""

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_ARENAS = 2
_LARGE = 2**20  # bytes


def give_back() -> None:
    """Have this process keep little of what is freed; nothing happens where malloc isn't glibc's.

    Uploads of some megabytes come and go in many threads. By default each has an arena of its own, up to eight times as
    many as cores, and once a large block was freed its like no longer come from the system but from arenas, up to
    32 MiB each, where whatever outlives them keeps all below it.
    """
    with suppress(OSError, AttributeError, TypeError):  # no C library to be asked, or another
        mallopt = ctypes.CDLL(None).mallopt
        for what, value in ((_ARENA_MAX, _ARENAS), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
            mallopt(what, value)
