"""Original: the file that an image of the gallery was indexed from, to be read only while it holds the same bytes."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import TYPE_CHECKING, NamedTuple

from congener.errors import ChangedError
from congener.images import open_file, open_image, size_of

if TYPE_CHECKING:
    from PIL import Image

    from congener.results import Hit

_TICK = 2 * 10**9  # ns: the coarsest clock of a file system in use, FAT's
_REMEMBERED = 4096  # files


class Original(NamedTuple):
    """A path, and what the file there must hold."""

    path: str
    content: bytes
    """The SHA-256 of the file."""

    @contextmanager
    def opened(self) -> Iterator[BufferedReader]:
        """Yield the file, at its beginning.

        Raises ChangedError unless it holds what was indexed, before and after it is read; ImageError where it can't be
        opened. A path may hold another picture by now: pictures that were renamed, a camera that counts from 1 again.
        """
        with open_file(self.path) as file:
            before = state(file)
            _check(file, self.content)
            yield file
            if state(file) != before:
                raise ChangedError


def _check(file: BufferedReader, content: bytes) -> None:
    """Raise ChangedError unless a file holds what has this hash; then it is at its beginning."""
    if hashlib.file_digest(file, "sha256").digest() != content:
        raise ChangedError
    file.seek(0)


class Verified:
    """Opens originals, and remembers which files it has looked through: those asked for again are opened at once."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, original: Original) -> BufferedReader:
        """Return the file, open. Raises ChangedError unless it holds what was indexed, ImageError as `open_file`."""
        file = open_file(original.path)
        try:
            before = state(file)
            with self._lock:
                known = self._known.get(before)
            if known != original.content:
                _check(file, original.content)
                self._remember(before, file, original.content)
        except BaseException:
            file.close()
            raise
        return file

    def _remember(self, before: tuple[int, ...], file: BufferedReader, content: bytes) -> None:
        if state(file) != before:
            raise ChangedError
        if time.time_ns() - before[-1] < _TICK:  # it may be written to within the same tick of the file system's clock
            return
        with self._lock:
            self._known[before] = content
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def state(file: BufferedReader) -> tuple[int, ...]:
    """Return what changes when something writes to an open file: device and inode, size, and both of its times."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


Source = str | os.PathLike[str] | bytes | Original
"""Where a picture comes from: a file as it is now, a file's contents, an image of the gallery as it was indexed."""


def of_hit(hit: Hit) -> Source:
    """Return the picture of a hit: as it was indexed, where that is known."""
    return Original(os.path.abspath(hit.file), hit.content) if hit.content else hit.file


def open_source(source: Source, target: int | None = None) -> Image.Image:
    """Return a picture as `open_image` does. Raises ImageError."""
    if isinstance(source, Original):
        with source.opened() as file:
            return open_image(file, target)
    return open_image(source, target)


def size_of_source(source: Source) -> tuple[int, int]:
    """Return width and height of a picture as `size_of` does. Raises ImageError."""
    if isinstance(source, Original):
        with source.opened() as file:
            return size_of(file)
    return size_of(source)
