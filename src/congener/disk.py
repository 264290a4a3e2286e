"""A gallery's files: what makes them lasting, keeps other writers out, and says what went wrong with them."""

import errno
import mmap
import os
import shutil
import sqlite3
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from congener.errors import DamagedGalleryError, GalleryBusyError, GalleryError

DTYPE = np.dtype("<f2")
"""Of the matrices."""

SUMS = np.dtype("<u4")
"""Of the checksums that lie beside a matrix."""

LOCK = "lock"
"""The file whose lock keeps other writers out."""

_SHARED = 2**17  # bytes: four times SQLite's shared memory


@contextmanager
def locked(folder: Path, timeout: float = 0) -> Iterator[None]:
    """Keep other writers out of a gallery, in this and other processes; readers go on.

    A lock of the system's, taken through SQLite: it ends with the process. timeout: seconds to wait for
    another writer's end. Raises GalleryBusyError after that.
    """
    lock = sqlite3.connect(folder / LOCK, timeout=timeout, isolation_level=None)
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_NOTADB:
                raise GalleryError(f"{folder / LOCK} is no lock of a gallery: move that file away") from None
            if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
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
            raise incomplete(path.parent, f"{path.name} holds {present} rows, the catalogue counts on {slots}")
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


def is_there(path: Path) -> bool:
    """Tell whether there is a file. Raises OSError where that can't be told: what a disk doesn't give isn't absent."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def damaged(folder: Path, what: str) -> DamagedGalleryError:
    """Return the error for a gallery that isn't as it was written."""
    return DamagedGalleryError(
        f"the gallery {folder} is damaged: {what}; congener check tells more, and --repair mends it"
    )


def incomplete(folder: Path, what: str) -> DamagedGalleryError:
    """Return the error for a gallery whose files don't reach as far as its catalogue says."""
    return damaged(
        folder, f"{what}, as in a copy that was taken while it was written (congener backup takes sound ones)"
    )


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
    """Turn what SQLite and the system say of a gallery's files into a GalleryError.

    Only what SQLite calls damage is called so: a gallery that is busy, closed or interrupted is sound for all we know.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise explain(folder, error) from error
    except UnicodeDecodeError as error:  # the message itself quotes what is damaged
        raise no_catalogue(folder, "malformed text") from error
    except OSError as error:
        raise _explain_system(folder, error) from error
    except MemoryError as error:
        raise GalleryError(f"there is not enough memory to use the gallery {folder}: end other programs") from error


def no_catalogue(folder: Path, why: str) -> DamagedGalleryError:
    """Return the error for a catalogue that can't be read as one."""
    return DamagedGalleryError(
        f"{folder} holds no sound gallery ({why}): congener check tells what is wrong, and --repair mends what can be"
    )


def explain(folder: Path, error: sqlite3.Error) -> GalleryError:
    """Return what an error of SQLite means; its codes: https://sqlite.org/rescode.html."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # 0: of Python's module itself, as for what is closed
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such " in str(error):
        return no_catalogue(folder, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return GalleryBusyError(f"another process is writing to the gallery {folder}: try again")
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(folder)):
        return GalleryError(_no_room(folder))
    refused = code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
    if refused and not _is_allowed(folder):
        return GalleryError(
            f"can't write the gallery {folder}: give rights, or choose another place with --gallery PATH"
        )
    return GalleryError(f"can't use the gallery {folder}: {error}")


def _explain_system(folder: Path, error: OSError) -> GalleryError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return GalleryError(_no_room(folder))
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return GalleryError(
            f"can't use the gallery {folder}: {reason}; give rights, or choose another place with --gallery PATH"
        )
    if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EEXIST):
        return GalleryError(f"can't use the gallery {folder}: {reason}; choose another place with --gallery PATH")
    name = Path(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes | os.PathLike) else ""
    if error.errno == errno.ENOENT and name and folder.is_dir():
        return incomplete(folder, f"{name} is missing")
    return GalleryError(f"can't use the gallery {folder}: {f'{name}: ' if name else ''}{reason}")


def _no_room(folder: Path) -> str:
    return f"no room left on the disk of the gallery {folder}: make room and run again"


def _is_allowed(folder: Path) -> bool:
    """Tell whether a gallery's folder and databases may be read and written, so that something else is in the way."""
    everything = os.R_OK | os.W_OK
    return os.access(folder, everything) and all(os.access(each, everything) for each in folder.glob("*.sqlite*"))


def _is_full(folder: Path) -> bool:
    """Tell whether there is no room for SQLite's shared memory, for want of which it speaks of an I/O error."""
    try:
        return shutil.disk_usage(folder).free < _SHARED
    except OSError:
        return False
