"""How many cores there are to use, and threads for them."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def threads() -> ThreadPoolExecutor:
    """Return threads, one a core, for short work that doesn't wait for other work of theirs."""
    return ThreadPoolExecutor(cores(), "congener-core")


if hasattr(os, "register_at_fork"):  # a forked process has none of them
    os.register_at_fork(after_in_child=threads.cache_clear)
