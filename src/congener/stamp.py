"""Stamp: by what a file is known again without being read: its size, its times and its inode."""

import os
from typing import NamedTuple, Protocol, Self

_LEAST, _MOST = -(2**63), 2**63 - 1
_HAS_CHANGE_TIME = os.name == "posix"  # elsewhere st_ctime is when a file was made


class Stamped(Protocol):
    """What carries a stamp's values."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def mtime_ns(self) -> int:
        """When its contents changed, as far as it is told."""

    @property
    def ctime_ns(self) -> int:
        """When its contents, name, rights or times changed, which no program can set; 0: unknown."""

    @property
    def inode(self) -> int:
        """The file's number on its file system; 0: unknown."""


class Stamp(NamedTuple):
    """What the system tells of a file, as it is kept: each value a signed integer of 64 bits."""

    size: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the stamp of a file by its status."""
        changed = _within(status.st_ctime_ns) if _HAS_CHANGE_TIME else 0
        return cls(status.st_size, _within(status.st_mtime_ns), changed, status.st_ino & _MOST)


def stamp_of(stamped: Stamped) -> Stamp:
    """Return the stamp alone."""
    return Stamp(stamped.size, stamped.mtime_ns, stamped.ctime_ns, stamped.inode)


def is_same(one: Stamped, other: Stamped) -> bool:
    """Tell whether two stamps may be of one file with the same contents; what is unknown of either tells nothing."""
    return (
        one.size == other.size
        and one.mtime_ns == other.mtime_ns
        and (one.ctime_ns == other.ctime_ns or not (one.ctime_ns and other.ctime_ns))
        and (one.inode == other.inode or not (one.inode and other.inode))
    )


def _within(value: int) -> int:
    """Return the nearest value of 64 bits: a time before 1677 or after 2262 is none."""
    return min(max(value, _LEAST), _MOST)
