"""Changes: what one transaction does to a catalogue and its matrix of features."""

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from congener.disk import DTYPE, damaged, is_there, sync, sync_folder
from congener.owned import in_the_way, is_file, is_free
from congener.schema import COLUMNS, UNREAD_COLUMNS, Row, Unread, image_sum, unread_sum


class Changes:
    """What can be done in a transaction."""

    def __init__(self, db: sqlite3.Connection, matrix: Path, counted_on: Callable[[], int]) -> None:
        """counted_on: tells how many rows the matrix must have."""
        self._db = db
        self._matrix = matrix
        self._counted_on = counted_on
        self._file: IO[bytes] | None = None
        self.count = 0
        """Images added, removed or replaced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file is not None:
            with self._file:
                if kind is None:
                    sync(self._file)

    def append(self, feature: NDArray[np.floating]) -> tuple[int, int]:
        """Append a pooled feature (d,); return its slot and checksum."""
        row = feature.astype(DTYPE, copy=False).tobytes()
        if self._file is None:
            self._file = self._opened(len(row))
        slot = self._file.tell() // len(row)
        self._file.write(row)
        self.count += 1
        return slot, zlib.crc32(row)

    def _opened(self, row_bytes: int) -> IO[bytes]:
        is_new = not is_there(self._matrix)
        present = 0 if is_new else self._matrix.stat().st_size // row_bytes
        if present < (needed := self._counted_on()):  # what follows would stand where others are looked for
            raise damaged(self._matrix.parent, f"{self._matrix.name} holds {present} rows of {needed}")
        if not is_free(self._matrix) and not is_file(self._matrix):  # a link leads elsewhere
            raise in_the_way(self._matrix)
        file = self._matrix.open("ab")
        if is_new:
            sync_folder(self._matrix.parent)
        # an interrupted run may have left a torn row: begin behind it
        file.write(b"\0" * (-file.tell() % row_bytes))
        return file

    def put(self, row: Row) -> None:
        """Insert an image (id 0: the next free one), or replace the one with its id."""
        # by name: dataclasses.astuple copies each value deeply, and took longer than SQLite
        path, stored = os.fsencode(row.path), (row.slot, row.checksum)
        values = (path, row.size, row.mtime_ns, row.content, *stored, row.ctime_ns, row.inode)
        total = image_sum(row.id, *values) if row.id else 0
        put = f"INSERT OR REPLACE INTO images ({COLUMNS}, sum) VALUES (?,?,?,?,?,?,?,?,?,?)"
        id = self._db.execute(put, (row.id or None, *values, total)).lastrowid
        if not row.id and id is not None:  # known only now
            self._db.execute("UPDATE images SET sum = ? WHERE id = ?", (image_sum(id, *values), id))

    def note_unread(self, unread: Unread) -> None:
        """Remember a file that can't be read, or what is new of it."""
        # a reason may quote a name that is no text
        reason = unread.reason.encode(errors="replace").decode()
        stamp = (unread.size, unread.mtime_ns, unread.ctime_ns, unread.inode)
        values = (os.fsencode(unread.path), *stamp, int(unread.lasting), reason)
        put = f"INSERT OR REPLACE INTO unread ({UNREAD_COLUMNS}, sum) VALUES (?,?,?,?,?,?,?,?)"
        self._db.execute(put, (*values, unread_sum(*values)))

    def forget_unread(self, paths: Iterable[str]) -> None:
        """Drop files from those that can't be read."""
        self._db.executemany("DELETE FROM unread WHERE path = ?", [(os.fsencode(path),) for path in paths])

    def delete(self, ids: Iterable[int]) -> None:
        """Drop images."""
        dropped = [(id,) for id in ids]
        self._db.executemany("DELETE FROM images WHERE id = ?", dropped)
        self.count += len(dropped)
