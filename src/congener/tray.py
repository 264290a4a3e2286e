"""A tray: memory that a worker's process shares with the one that started it, for the pixels of its answers.

The system moves none of it. Through a pipe it copies each byte twice, the second time into memory that it has to
provide first. And what is laid on the tray at once is still in the core's cache.
"""

import mmap
import os
import struct
from typing import Self

_STATE = struct.Struct("<QQ")  # at the beginning: where the next thing goes, how many were ever laid


class Tray:
    """Bytes that two processes see; what is laid there lies behind what was laid before, until it is cleared."""

    def __init__(self, descriptor: int) -> None:
        """descriptor: of the memory, as `create` made it."""
        self.descriptor = descriptor
        self._memory = memoryview(mmap.mmap(descriptor, 0))

    @classmethod
    def create(cls, size: int) -> Self | None:
        """Return a new one for so many bytes; None where the system shares no memory without a name: all but Linux."""
        if size <= 0 or not hasattr(os, "memfd_create"):
            return None
        import fcntl

        descriptor = -1
        try:
            descriptor = os.memfd_create("congener", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(descriptor, _STATE.size + size)
            # a process that hostile data has taken over may change pixels, but not take their memory from under us
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            tray = cls(descriptor)
            tray.clear()
            return tray
        except OSError:  # the system may allow none
            if descriptor >= 0:
                os.close(descriptor)
            return None

    @property
    def laid(self) -> int:
        """How many things were laid here, ever."""
        _, count = _STATE.unpack_from(self._memory)
        return int(count)

    def lay(self, *parts: bytes | memoryview) -> int | None:
        """Put parts here, without a gap between them; return where the first begins, None without room for all."""
        start, count = _STATE.unpack_from(self._memory)
        end = start
        if start + sum(map(len, parts)) > len(self._memory):
            return None
        for part in parts:
            end += len(part)
            self._memory[end - len(part) : end] = part
        # aligned, so that numbers of any kind may lie there
        _STATE.pack_into(self._memory, 0, end + -end % 8, count + 1)
        return int(start)

    def part(self, start: int, size: int) -> memoryview:
        """Return what the other process laid there. Raises ValueError beyond the tray."""
        if not _STATE.size <= start <= start + size <= len(self._memory):
            raise ValueError("a place beyond the tray")
        return self._memory[start : start + size]

    def clear(self) -> None:
        """Have the memory used anew."""
        _STATE.pack_into(self._memory, 0, _STATE.size, self.laid)

    def close(self) -> None:
        """Let no more processes share it; its bytes stay as long as somebody has some of them."""
        os.close(self.descriptor)
