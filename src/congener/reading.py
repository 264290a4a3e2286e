"""Read one file: its contents' hash, and the pixels that a network sees. Done in a worker's process."""

import hashlib
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from congener.encoders.base import Preprocess
from congener.errors import ImageError, UnreadableError
from congener.images import open_file, open_image


def read_file(
    path: str, status: tuple[int, int], target: int, preprocess: Preprocess, *, ask: Callable[[bytes], bool]
) -> tuple[bytes, NDArray[np.uint8] | None]:
    """Return a file's SHA-256, and what `preprocess` makes of its picture; None where `ask` says that it is known.

    status: its size in bytes and its time of change in ns, as they were when it was found. target: see `open_image`.
    Raises ImageError with the reason, UnreadableError where the system gives it.
    """
    try:
        with open_file(path) as file:
            content = hashlib.file_digest(file, "sha256").digest()
            if ask(content):
                return content, None
            file.seek(0)
            pixels = preprocess(open_image(file, target))
            now = os.fstat(file.fileno())
    except OSError as error:
        raise UnreadableError(f"can't be read: {error.strerror}") from None
    if (now.st_size, now.st_mtime_ns) != status:
        raise ImageError("changed while it was read: run again")
    return content, pixels
