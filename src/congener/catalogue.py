"""Catalogue: the images of a gallery in SQLite, and their pooled features in a raw matrix beside it.

See `congener.store` for how the files hang together.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.disk import DTYPE, explained, locked, map_matrix, sync, sync_folder
from congener.errors import GalleryError

FORMAT_VERSION = 2
"""Of what this module writes; raise it with a migration."""

_CATALOGUE = "catalogue.sqlite"
_FITTED = "CREATE TABLE fitted (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"  # arrays, as .npy
_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL UNIQUE,  -- relative to the folder, as os.fsencode gives it
        size INTEGER NOT NULL,      -- bytes
        mtime_ns INTEGER NOT NULL,
        content BLOB NOT NULL,      -- SHA-256 of the file
        slot INTEGER NOT NULL,      -- row of the matrix; images of equal content share one
        checksum INTEGER NOT NULL   -- CRC-32 of that row
    )""",
    "CREATE INDEX images_slot ON images (slot)",
    _FITTED,
)
_MIGRATIONS = {1: (_FITTED, "INSERT INTO meta VALUES ('changed', '1')")}
"""From a format to the next: the statements."""
_COLUMNS = "id, path, size, mtime_ns, content, slot, checksum"


@dataclass(frozen=True, slots=True)
class Row:
    """An image of the catalogue."""

    id: int
    path: str
    size: int
    mtime_ns: int
    content: bytes
    slot: int
    checksum: int


class Catalogue:
    """The images and their features; see `congener.store.Store`."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection
        self.dimension = int(self.get("encoder")["dimension"])
        """Length of a pooled feature."""

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Tell whether there is a gallery to open."""
        return (folder / _CATALOGUE).is_file()

    @classmethod
    def create(cls, folder: Path, encoder: dict[str, Any]) -> Self:
        """Make an empty gallery for features of this encoder (its identity as plain values).

        Two processes may do so at once: the first one's stands.
        """
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if not cls.exists(folder):
                with locked(folder, timeout=30):
                    if not cls.exists(folder):
                        _write_empty(folder, encoder)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a gallery. Raises GalleryError with what is wrong and what to do."""
        with explained(folder):
            db = _connect(folder)
            row = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
            version = _migrate(db, json.loads(row[0])) if row else None
            if version != FORMAT_VERSION:
                raise GalleryError(
                    f"the gallery {folder} has format {version}, this congener knows "
                    f"{FORMAT_VERSION}: update congener, or delete that folder and index again"
                )
            return cls(folder, db)

    def close(self) -> None:
        """Close the catalogue, its log drawn in."""
        with suppress(sqlite3.Error):  # a reader may not, and need not
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    # what the whole gallery has

    def get(self, key: str, *default: Any) -> Any:
        """Return a fact about the gallery: encoder, exclude, format, matrix, changed, generation, index, graph."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None and default:
            return default[0]
        if row is None:
            raise GalleryError(f"the gallery {self.folder} lacks its {key}: delete it, index again")
        return json.loads(row[0])

    def set(self, key: str, value: Any) -> None:
        """Keep a fact about the gallery, a plain value."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def changed(self) -> int:
        """Return how many images were added, removed or replaced since the generation was fitted."""
        return int(self.get("changed"))

    def version(self) -> tuple[int, int]:
        """Return a value that changes whenever this or another process has committed changes."""
        (seen,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(seen), self._db.total_changes

    def size_on_disk(self) -> int:
        """Return the bytes that the gallery's files take."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    # images

    def __len__(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM images").fetchone()
        return int(count)

    def rows(self) -> Iterator[Row]:
        """Yield every image in order of id."""
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM images ORDER BY id"):
            yield _row(row)

    def slots(self) -> dict[bytes, tuple[int, int]]:
        """Return slot and checksum by content."""
        rows = self._db.execute("SELECT content, slot, checksum FROM images ORDER BY id")
        return {content: (slot, checksum) for content, slot, checksum in rows}

    def find(self, *, id: int | None = None, path: str | None = None) -> Row | None:
        """Return the image with this id or this path, or None."""
        column, value = ("id", id) if path is None else ("path", os.fsencode(path))
        query = f"SELECT {_COLUMNS} FROM images WHERE {column} = ?"
        row = self._db.execute(query, (value,)).fetchone()
        return _row(row) if row else None

    def features(self) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Return all ids, rising, and their pooled features (n, d), mapped where that is possible.

        Raises GalleryError when the file of features is missing or too short.
        """
        with explained(self.folder):
            try:
                return self._features()
            except FileNotFoundError:  # a writer may just have moved to a new matrix
                return self._features()

    def _features(self) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        with self._reading():
            ids, slots = self._slots()
            matrix = self._matrix(int(slots.max(initial=-1)) + 1)
        in_order = bool((slots == np.arange(len(slots))).all())
        return ids, matrix[: len(slots)] if in_order else matrix[slots]

    def _slots(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return id and slot of every image (n,), ids rising."""
        count, least, most, first, last = self._db.execute(
            "SELECT count(*), min(id - slot), max(id - slot), min(slot), max(slot) FROM images"
        ).fetchone()
        if count and least == most and last - first + 1 == count:  # as in a gallery that nothing was removed from
            slots = np.arange(first, last + 1)
            return slots + least, slots
        rows = self._db.execute("SELECT id, slot FROM images ORDER BY id").fetchall()
        table = np.array(rows, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def feature(self, row: Row) -> NDArray[np.float16]:
        """Return an image's pooled feature (d,). Raises GalleryError unless it is what was written."""
        feature: NDArray[np.float16] = self._matrix(row.slot + 1)[row.slot]
        if zlib.crc32(feature.tobytes()) != row.checksum:
            raise GalleryError(
                f"the gallery {self.folder} is damaged: the feature of {row.path} is not the one "
                "that was written; delete that folder and index again"
            )
        return feature

    # changes: inside `writing`, in one or more `transaction`s

    @contextmanager
    def transaction(self) -> Iterator["Changes"]:
        """Make changes together: all are kept, or none.

        Appended features are synced before the rows that point to them are committed.
        """
        with explained(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                with Changes(self._db, self._matrix_path()) as changes:
                    yield changes
                if changes.count:
                    self.set("changed", self.get("changed") + changes.count)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has SQLite roll back by itself
                    self._db.execute("ROLLBACK")
                raise

    @property
    def _row_bytes(self) -> int:
        return self.dimension * DTYPE.itemsize

    def _matrix_path(self, number: int | None = None) -> Path:
        return self.folder / f"features-{number or self.get('matrix')}.f16"

    def _matrix(self, slots: int) -> NDArray[np.float16]:
        """Map the matrix, of which at least this many slots are in use."""
        if not slots:
            return np.empty((0, self.dimension), DTYPE)
        return map_matrix(self._matrix_path(), slots, self.dimension)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """See one state of the catalogue throughout."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")


class Changes:
    """What can be done in a transaction."""

    def __init__(self, db: sqlite3.Connection, matrix: Path) -> None:
        self._db = db
        self._matrix = matrix
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

    def append(self, feature: NDArray[np.float32]) -> tuple[int, int]:
        """Append a pooled feature (d,); return its slot and checksum."""
        row = feature.astype(DTYPE).tobytes()
        if self._file is None:
            is_new = not self._matrix.exists()
            self._file = self._matrix.open("ab")
            if is_new:
                sync_folder(self._matrix.parent)
            # an interrupted run may have left a torn row: begin behind it
            torn = self._file.tell() % len(row)
            self._file.write(b"\0" * (-torn % len(row)))
        slot = self._file.tell() // len(row)
        self._file.write(row)
        self.count += 1
        return slot, zlib.crc32(row)

    def put(self, row: Row) -> None:
        """Insert an image (id 0: the next free one), or replace the one with its id."""
        # by name: dataclasses.astuple copies each value deeply, and took longer than SQLite
        path = os.fsencode(row.path)
        values = (row.id or None, path, row.size, row.mtime_ns, row.content, row.slot, row.checksum)
        self._db.execute(f"INSERT OR REPLACE INTO images ({_COLUMNS}) VALUES (?,?,?,?,?,?,?)", values)

    def delete(self, ids: Iterable[int]) -> None:
        """Drop images."""
        dropped = [(id,) for id in ids]
        self._db.executemany("DELETE FROM images WHERE id = ?", dropped)
        self.count += len(dropped)


def _write_empty(folder: Path, encoder: dict[str, Any]) -> None:
    """Write a catalogue of no images beside its place, then give it its name: nobody sees half of one."""
    fresh = folder / f"{_CATALOGUE}.new"
    fresh.unlink(missing_ok=True)
    meta = {"format": FORMAT_VERSION, "encoder": encoder, "matrix": 1, "exclude": [], "changed": 0}
    with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            db.execute(statement)
        db.executemany("INSERT INTO meta VALUES (?, ?)", [(key, json.dumps(value)) for key, value in meta.items()])
        db.execute("COMMIT")
    fresh.replace(folder / _CATALOGUE)
    sync_folder(folder)


def _migrate(db: sqlite3.Connection, version: int) -> int:
    """Bring an older catalogue to this format, step by step; return the format it has then."""
    while version in _MIGRATIONS and not db.execute("PRAGMA query_only").fetchone()[0]:
        db.execute("BEGIN IMMEDIATE")
        (stored,) = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        if json.loads(stored) == version:  # else another process was faster
            for statement in _MIGRATIONS[version]:
                db.execute(statement)
            db.execute("UPDATE meta SET value = ? WHERE key = 'format'", (json.dumps(version + 1),))
        db.execute("COMMIT")
        version += 1
    return version


def _row(values: Sequence[Any]) -> Row:
    return Row(values[0], os.fsdecode(values[1]), *values[2:])


def _connect(folder: Path) -> sqlite3.Connection:
    uri = (folder / _CATALOGUE).absolute().as_uri()
    if not os.access(folder, os.W_OK):
        # SQLite can't make the files of its log there: read the catalogue as it lies
        uri += "?mode=ro&immutable=1"
    db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db
