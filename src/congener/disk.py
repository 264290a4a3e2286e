"""A gallery's files: what makes them lasting, keeps other writers out, and says what went wrong with them."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from congener.errors import GalleryBusyError, GalleryError

DTYPE = np.dtype("<f2")
"""Of the matrices."""

_LOCK = "lock"


@contextmanager
def locked(folder: Path, timeout: float = 0) -> Iterator[None]:
    """Keep other writers out of a gallery, in this and other processes; readers go on.

    A lock of the system's, taken through SQLite: it ends with the process. timeout: seconds to wait for
    another writer's end. Raises GalleryBusyError after that.
    """
    lock = sqlite3.connect(folder / _LOCK, timeout=timeout, isolation_level=None)
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise GalleryBusyError(f"another process is indexing into {folder}: try again when it has ended") from None
        yield
    finally:
        lock.close()


def map_matrix(path: Path, slots: int, columns: int, dtype: np.dtype[Any] = DTYPE) -> NDArray[Any]:
    """Map a matrix of which at least this many slots are in use."""
    present = path.stat().st_size // (columns * dtype.itemsize)
    if present < slots:
        raise GalleryError(
            f"the gallery {path.parent} is damaged: {path.name} holds {present} rows, the "
            f"catalogue counts on {slots}; delete that folder and index again"
        )
    return np.memmap(path, dtype, "r", shape=(present, columns))


def sync(file: IO[bytes]) -> None:
    """Make what was written to a file lasting."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a folder's new names lasting."""
    if os.name == "posix":  # elsewhere a folder can't be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the system say of a gallery's files into a GalleryError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise GalleryError(_explain(folder, str(error))) from error
    except OSError as error:
        raise GalleryError(
            f"can't use the gallery {folder}: {error.strerror or error}; "
            "make room or give rights, or choose another place with --gallery PATH"
        ) from error


def _explain(folder: Path, message: str) -> str:
    if "readonly" in message or "unable to open" in message:
        return f"can't write the gallery {folder}: choose another place with --gallery PATH"
    if "full" in message:
        return f"no room left on the disk of the gallery {folder}: make room and run again"
    if "locked" in message or "busy" in message:
        return f"another process is writing to the gallery {folder}: try again"
    return f"{folder} holds no sound gallery ({message}): delete that folder and index again"
