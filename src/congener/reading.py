"""Read a few files: their contents' hashes, and the pixels that a network sees. Done in a worker's process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from typing import TYPE_CHECKING, Any

from congener.errors import ImageError, PassingError, UnreadableError
from congener.images import open_file, open_image
from congener.marks import pass_over
from congener.preprocessing import Preprocess
from congener.stamp import Stamp, is_same

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = Image.Image | NDArray[np.uint8]

Outcome = tuple[bytes, bool, "str | None", str]
"""SHA-256, empty where unknown; whether it was decoded; the problem if any; what that comes of: `CAUSES`."""

CONTENTS, CHANCE, ACCESS, STATUS = CAUSES = ("contents", "chance", "access", "status")
"""Of a problem: what the file holds; memory, time or a change meanwhile; want of access, so that it is unknown; what
it is by its status, which needs no reading."""

File = tuple[str, Stamp]
"""A path, and the file's stamp as it was when it was found."""


def read_files(
    files: Sequence[File],
    target: int,
    preprocess: Preprocess,
    *,
    ask: Callable[[list[bytes]], list[bool]],
    lay: Callable[[Pixels], Any],
) -> tuple[list[Outcome], list[Any]]:
    """Return what became of each file, and what `lay` gave for the pixels of those that were decoded, in order.

    target: see `open_image`. ask: tells which contents, by their hashes, are known and need no decoding. lay: takes
    the pixels of a picture, as `preprocess` made them.
    """
    outcomes: list[Outcome] = [(b"", False, None, "")] * len(files)
    pixels: list[Any] = []
    with ExitStack() as stack:
        opened: dict[int, tuple[BufferedReader, bytes]] = {}
        for number, (path, _) in enumerate(files):
            with _noted(outcomes, number):
                file = stack.enter_context(open_file(path))
                opened[number] = file, hashlib.file_digest(file, "sha256").digest()
        known = ask([content for _, content in opened.values()])
        for (number, (file, content)), is_known in zip(opened.items(), known, strict=True):
            with _noted(outcomes, number, content):
                if not is_known:
                    pixels.append(lay(_pixels(file, files[number][1], target, preprocess)))
                outcomes[number] = content, not is_known, None, ""
    return outcomes, pixels


def _pixels(file: BufferedReader, stamp: Stamp, target: int, preprocess: Preprocess) -> Pixels:
    """Return a file's pixels. Raises ImageError unless it is still the one that was found."""
    file.seek(0)
    pixels = preprocess(open_image(file, target, judge=pass_over))
    if not is_same(Stamp.of(os.fstat(file.fileno())), stamp):
        raise PassingError("changed while it was read: run again")
    return pixels


@contextmanager
def _noted(outcomes: list[Outcome], number: int, content: bytes = b"") -> Iterator[None]:
    """Make what goes wrong with a file its outcome."""
    try:
        yield
    except ImageError as error:
        outcomes[number] = content, False, str(error), _cause(error)
    except MemoryError:
        outcomes[number] = content, False, "not enough memory to read it", CHANCE
    except OSError as error:
        outcomes[number] = content, False, f"can't be read: {error.strerror}", ACCESS


def _cause(error: ImageError) -> str:
    if isinstance(error, UnreadableError):
        return ACCESS
    return CHANCE if isinstance(error, PassingError) else CONTENTS
