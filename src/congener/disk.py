"""A gallery's files: what makes them lasting, keeps other writers out, and says what went wrong with them."""

import mmap
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from congener.errors import GalleryBusyError, GalleryError

DTYPE = np.dtype("<f2")
"""Of the matrices."""

SUMS = np.dtype("<u4")
"""Of the checksums that lie beside a matrix."""

_LOCK = "lock"
_SHARED = 2**17  # bytes: four times SQLite's shared memory


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
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                raise GalleryError(f"{folder / _LOCK} is no lock of a gallery: delete that file") from None
            if "locked" not in str(error):
                raise
            raise GalleryBusyError(f"another process is indexing into {folder}: try again when it has ended") from None
        yield
    finally:
        lock.close()


def map_matrix(path: Path, slots: int, columns: int, dtype: np.dtype[Any] = DTYPE) -> NDArray[Any]:
    """Map the first rows of a matrix: those that are committed, which no writer touches.

    What lies behind them may be cut off while it is mapped.
    """
    row = columns * dtype.itemsize
    with path.open("rb") as file:
        present = os.fstat(file.fileno()).st_size // row
        if present < slots:
            raise damaged(path.parent, f"{path.name} holds {present} rows, the catalogue counts on {slots}")
        mapped = mmap.mmap(file.fileno(), slots * row, access=mmap.ACCESS_READ)
    # not by np.memmap, which takes several times as long
    return np.frombuffer(mapped, dtype, slots * columns).reshape(slots, columns)


def row_sums(rows: NDArray[Any]) -> NDArray[np.uint32]:
    """Return the CRC-32 of each row (n,)."""
    return np.fromiter(map(zlib.crc32, np.ascontiguousarray(rows)), SUMS, len(rows))


def file_sum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    total = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            total = zlib.crc32(block, total)
    return total


def damaged(folder: Path, what: str) -> GalleryError:
    """Return the error for a gallery that isn't as it was written."""
    return GalleryError(f"the gallery {folder} is damaged: {what}; congener check tells more, and --repair mends it")


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


def make_folder(folder: Path) -> None:
    """Make a folder and those that it lies in, lasting."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(new):
        sync_folder(each.parent)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the system say of a gallery's files into a GalleryError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise GalleryError(_explain(folder, str(error))) from error
    except UnicodeDecodeError as error:  # the message itself quotes what is damaged
        raise GalleryError(_explain(folder, "malformed text")) from error
    except OSError as error:
        raise GalleryError(
            f"can't use the gallery {folder}: {error.strerror or error}; "
            "make room or give rights, or choose another place with --gallery PATH"
        ) from error


def _is_full(folder: Path) -> bool:
    """Tell whether there is no room for SQLite's shared memory, for want of which it speaks of an I/O error."""
    try:
        return shutil.disk_usage(folder).free < _SHARED
    except OSError:
        return False


def _explain(folder: Path, message: str) -> str:
    if "readonly" in message or "unable to open" in message:
        return f"can't write the gallery {folder}: choose another place with --gallery PATH"
    if "full" in message or ("I/O" in message and _is_full(folder)):
        return f"no room left on the disk of the gallery {folder}: make room and run again"
    if "locked" in message or "busy" in message:
        return f"another process is writing to the gallery {folder}: try again"
    return (
        f"{folder} holds no sound gallery ({message}): congener check --repair may mend it, else delete that folder "
        "and index again"
    )
