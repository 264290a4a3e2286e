"""Connection: how a gallery's catalogue is opened, by what may be written there.

Who may write opens it as usual. Who may not reads through SQLite's log and its shared memory where both are there.
Where a log has no shared memory that can be used, as a killed run or a copy leaves it, both files are copied and the
copy is read. Where there is no log, the file is read as it lies, which SQLite calls immutable. The last two see no
change by themselves: `Connection.is_current` tells.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from congener.errors import GalleryBusyError, GalleryError

CATALOGUE = "catalogue.sqlite"
LOG, SHARED_MEMORY = f"{CATALOGUE}-wal", f"{CATALOGUE}-shm"

PATIENCE = 30
"""Seconds to wait for another process."""

_SETTLED = 50_000_000  # nanoseconds: a file that was written later may be again, without another time of change
_PAUSE = 0.02

_Stamp = tuple[int, int, int] | None
"""Of a file: inode, size and time of change in nanoseconds; None where there is none."""


class Connection:
    """SQLite's connection to a catalogue, and whether it shows it as it is now."""

    def __init__(
        self, db: sqlite3.Connection, folder: Path, seen: object = None, copy: "TemporaryDirectory[str] | None" = None
    ) -> None:
        """seen: of `_look` at what is shown, None where SQLite looks by itself; copy: what is read in its place."""
        self.db = db
        self._folder, self._seen, self._copy = folder, seen, copy

    @property
    def is_current(self) -> bool:
        """Whether what was read so far is what the catalogue holds, and no half of a change."""
        return self._seen is None or self._seen == _look(self._folder)

    def close(self) -> None:
        """Close it, and remove the copy where there is one."""
        self.db.close()
        if self._copy is not None:
            self._copy.cleanup()


def is_writable(folder: Path) -> bool:
    """Tell whether a gallery's folder and the files of its catalogue may be written."""
    files = (folder / name for name in (CATALOGUE, LOG, SHARED_MEMORY))
    return os.access(folder, os.W_OK) and all(os.access(file, os.W_OK) for file in files if file.exists())


def connect(folder: Path) -> Connection:
    """Open a catalogue that is there. Raises sqlite3.Error, OSError, or GalleryBusyError while it changes too often."""
    if is_writable(folder):
        return Connection(_open(folder, "mode=rw"), folder)
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = _look(folder)
        try:
            for made in _attempts(folder, seen):
                if made.is_current:
                    return made
                made.close()
        except (sqlite3.Error, OSError):
            if seen == _look(folder):  # else a writer has just begun, or ended
                raise
        if time.monotonic() > deadline:
            raise GalleryBusyError(f"another process is writing to the gallery {folder} all the time: try again")
        time.sleep(_PAUSE)


def _look(folder: Path) -> tuple[_Stamp, ...]:
    """Return what tells one state of the catalogue's files from another."""
    shared = _stamp(folder / SHARED_MEMORY)
    return _stamp(folder / CATALOGUE), _stamp(folder / LOG), shared and (shared[0], 0, 0)


def _stamp(file: Path) -> _Stamp:
    with suppress(FileNotFoundError):
        status = file.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _attempts(folder: Path, seen: tuple[_Stamp, ...]) -> Iterator[Connection]:
    """Yield the ways to read a catalogue of which `_look` has given this, as far as they can be gone."""
    _, log, shared = seen
    if log and shared:
        with suppress(sqlite3.OperationalError):  # shared memory that can't be used: SQLite can't open, or would write
            yield Connection(_open(folder, "mode=ro"), folder)
            return
    if not all(stamp is None or abs(time.time_ns() - stamp[2]) > _SETTLED for stamp in seen[:2]):
        return
    if log and log[1]:
        yield _copied(folder, seen)
    else:
        yield Connection(_open(folder, "mode=ro&immutable=1"), folder, seen)


def _copied(folder: Path, seen: object) -> Connection:
    """Read a copy of the catalogue and its log."""
    copy = TemporaryDirectory(prefix="congener-")
    try:
        for name in (CATALOGUE, LOG):
            with (folder / name).open("rb") as source:
                _copy(source, Path(copy.name) / name, folder)
        return Connection(_open(Path(copy.name), "mode=rw"), folder, seen, copy)
    except BaseException:
        copy.cleanup()
        raise


def _copy(source: IO[bytes], to: Path, folder: Path) -> None:
    try:
        with to.open("wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        raise GalleryError(
            f"can't copy the catalogue of {folder} to a temporary folder ({error.strerror}): set TMPDIR to another, "
            "or give rights to write the gallery"
        ) from error


def _open(folder: Path, how: str) -> sqlite3.Connection:
    uri = f"{(folder / CATALOGUE).absolute().as_uri()}?{how}"  # none of these makes a catalogue
    db = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # only now its files are opened
    except BaseException:
        db.close()
        raise
    return db
