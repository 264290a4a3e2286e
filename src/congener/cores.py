"""How many cores there are to use, and threads for them."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache


def cores() -> int:
    """Return the number of cores that this thread may use."""
    return len(core_numbers()) or os.cpu_count() or 1


def core_numbers() -> list[int]:
    """Return the cores that this thread may use; none where the system doesn't tell (macOS, Windows)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def keep_on(core: int, process: int = 0) -> None:
    """Have a process, or this thread alone, run on one core from now on, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # it has ended, or the core is no longer ours
            os.sched_setaffinity(process, {core})


@cache
def threads() -> ThreadPoolExecutor:
    """Return threads, one a core, for short work that doesn't wait for other work of theirs."""
    return ThreadPoolExecutor(cores(), "congener-core")


if hasattr(os, "register_at_fork"):  # a forked process has none of them
    os.register_at_fork(after_in_child=threads.cache_clear)
