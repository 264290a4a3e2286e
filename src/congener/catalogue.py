"""Catalogue: the images of a gallery in SQLite, and their pooled features in a raw matrix beside it.

See `congener.store` for how the files hang together.
"""

import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.changes import Changes
from congener.disk import DTYPE, damaged, explained, locked, make_folder, map_matrix, row_sums, sync_folder
from congener.errors import GalleryError
from congener.schema import (
    COLUMNS,
    FACTS,
    FORMAT_VERSION,
    UNREAD_COLUMNS,
    Row,
    Unread,
    is_older,
    is_ours,
    migrate,
    put_fact,
    sound_fact,
    sound_row,
    sound_unread,
    stored_format,
    write_catalogue,
)

CATALOGUE = "catalogue.sqlite"
SEEN_WHOLE = 2**20
"""Bytes of a catalogue up to which opening it looks at all of them: some 5,000 images, 5 ms."""

_BLOCK = 4096  # rows that are looked at at once
_PATIENCE = 30  # seconds to wait for another writer's transaction
_ASKED = 500  # ids in one question to SQLite


class Catalogue:
    """The images and their features; see `congener.store.Store`.

    Each row that is read is held against its checksum. Methods raise GalleryError where one doesn't match.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection
        encoder = self.get("encoder")
        dimension = encoder.get("dimension") if isinstance(encoder, dict) else None
        if not isinstance(dimension, int) or not 0 < dimension < 2**20:
            raise self._damaged("its encoder gives features of no possible length")
        self.dimension = dimension
        """Length of a pooled feature."""

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Tell whether there is a gallery to open."""
        return (folder / CATALOGUE).is_file()

    @classmethod
    def create(cls, folder: Path, encoder: dict[str, Any]) -> Self:
        """Make an empty gallery for features of this encoder (its identity as plain values).

        Two processes may do so at once: the first one's stands.
        """
        with explained(folder):
            make_folder(folder)
            if not cls.exists(folder):
                with locked(folder, timeout=30):
                    if not cls.exists(folder):
                        _write_empty(folder, encoder)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path, *, trusting: bool = False) -> Self:
        """Open a gallery. Raises GalleryError with what is wrong and what to do.

        A catalogue of up to `SEEN_WHOLE` bytes is looked at as a whole, unless trusting; of a larger one, what is
        read is.
        """
        if not cls.exists(folder):
            raise GalleryError(f"there is no gallery at {folder}: congener index FOLDER makes one")
        with explained(folder):
            db = _connect(folder)
            try:
                _bring_up_to_date(db, folder)
                if not trusting and (folder / CATALOGUE).stat().st_size <= SEEN_WHOLE:
                    (problem,) = db.execute("PRAGMA integrity_check(1)").fetchone()
                    if problem != "ok":
                        raise damaged(folder, f"in its catalogue, {' '.join(problem.split())}")
                return cls(folder, db)
            except BaseException:
                db.close()
                raise

    def close(self) -> None:
        """Close the catalogue, its log drawn in."""
        self._draw_in_log()
        self._db.close()

    def _draw_in_log(self) -> None:
        """Write what the log holds into the catalogue, and empty it."""
        with suppress(sqlite3.Error):  # a reader may not, and need not
            self._db.execute("PRAGMA busy_timeout = 1000")  # it waits for readers, who have their reasons
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.execute(f"PRAGMA busy_timeout = {_PATIENCE * 1000}")

    @property
    def connection(self) -> sqlite3.Connection:
        """The catalogue's, for `congener.check`."""
        return self._db

    # what the whole gallery has

    def get(self, key: str, *default: Any) -> Any:
        """Return a fact about the gallery: see `congener.schema.FACTS`."""
        row = self._one("SELECT value, sum FROM meta WHERE key = ?", (key,))
        if row is None:
            if default and key not in FACTS:
                return default[0]
            raise self._damaged(f"it lacks its {key}")
        try:
            value = sound_fact(key, *row)
        except ValueError:
            raise self._damaged(f"its {key} is not what was written") from None
        return default[0] if value is None and default else value

    def set(self, key: str, value: Any) -> None:
        """Keep a fact about the gallery, a plain value."""
        put_fact(self._db, key, value)

    def changed(self) -> int:
        """Return how many images were added, removed or replaced since the generation was fitted."""
        return int(self.get("changed"))

    def version(self) -> tuple[int, int]:
        """Return a value that changes whenever this or another process has committed changes."""
        (seen,) = self._only("PRAGMA data_version")
        return int(seen), self._db.total_changes

    def size_on_disk(self) -> int:
        """Return the bytes that the gallery's files take."""
        total = 0
        with explained(self.folder):
            for path in self.folder.iterdir():
                with suppress(FileNotFoundError):  # a log, drawn in meanwhile
                    total += path.stat().st_size if path.is_file() else 0
        return total

    # images

    def __len__(self) -> int:
        (count,) = self._only("SELECT count(*) FROM images")
        return int(count)

    def rows(self) -> Iterator[Row]:
        """Yield every image in order of id."""
        with explained(self.folder):
            for values in self._db.execute(f"SELECT {COLUMNS}, sum FROM images ORDER BY id"):
                row = sound_row(values)
                if row is None:
                    raise self._unsound(values)
                yield row

    def unread(self) -> Iterator[Unread]:
        """Yield the files that can't be read, in order of path; one whose row is damaged is none of them."""
        with explained(self.folder):
            for values in self._db.execute(f"SELECT {UNREAD_COLUMNS}, sum FROM unread ORDER BY path"):
                if unread := sound_unread(values):
                    yield unread

    def slots(self) -> dict[bytes, tuple[int, int]]:
        """Return slot and checksum by content."""
        return {row.content: (row.slot, row.checksum) for row in self.rows()}

    def find(self, *, id: int | None = None, path: str | None = None) -> Row | None:
        """Return the image with this id or this path, or None."""
        column, value = ("id", id) if path is None else ("path", os.fsencode(path))
        row = self._one(f"SELECT {COLUMNS}, sum FROM images WHERE {column} = ?", (value,))
        return self._row(row) if row else None

    def find_all(self, ids: Sequence[int]) -> list[Row]:
        """Return those of these images that are there, in no order."""
        rows: list[Row] = []
        for start in range(0, len(ids), _ASKED):
            some = ids[start : start + _ASKED]
            places = ",".join("?" * len(some))
            found = self._all(f"SELECT {COLUMNS}, sum FROM images WHERE id IN ({places})", some)
            rows += map(self._row, found)
        return rows

    def features(self) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Return all ids, rising, and their pooled features (n, d), mapped where that is possible.

        Only of a small gallery are they held against their checksums. Raises GalleryError when the file of features
        is missing or too short.
        """
        with explained(self.folder):
            try:
                return self._features()
            except FileNotFoundError:  # a writer may just have moved to a new matrix
                return self._features()

    def _features(self) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        with self._reading():
            ids, slots = self._slots()
            total = int(slots.max(initial=-1)) + 1
            matrix = self._sound_features(0, total) if len(ids) <= _BLOCK else self.matrix(total)
        in_order = bool((slots == np.arange(len(slots))).all())
        return ids, matrix[: len(slots)] if in_order else matrix[slots]

    def _slots(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return id and slot of every image (n,), ids rising."""
        count, least, most, first, last = self._only(
            "SELECT count(*), min(id - slot), max(id - slot), min(slot), max(slot) FROM images"
        )
        try:
            if count and least == most and last - first + 1 == count:  # as in a gallery that nothing was removed from
                slots = np.arange(first, last + 1)
                return slots + least, slots
            rows = self._all("SELECT id, slot FROM images ORDER BY id")
            table = np.array(rows, np.int64).reshape(-1, 2)
        except (TypeError, ValueError, OverflowError):
            raise self._damaged("an image's slot is no number") from None
        if len(rows) and table[:, 1].min() < 0:
            raise self._damaged("an image's slot is below 0")
        return table[:, 0], table[:, 1]

    def feature(self, row: Row) -> NDArray[np.float16]:
        """Return an image's pooled feature (d,). Raises GalleryError unless it is what was written."""
        with explained(self.folder), self._reading():
            row = self.find(id=row.id) or row  # it may have moved
            return self._sound(self.matrix(row.slot + 1), row)

    def _sound(self, features: NDArray[np.float16], row: Row) -> NDArray[np.float16]:
        feature: NDArray[np.float16] = features[row.slot]
        if zlib.crc32(feature.tobytes()) != row.checksum:
            raise self._damaged(f"the feature of {row.path} is not the one that was written")
        return feature

    def _sound_features(self, start: int, stop: int) -> NDArray[np.float16]:
        """Return the features (n, d) of the slots from start to stop, as they were written; zeros in holes."""
        matrix = self.matrix(stop)  # which is there, or there would be no room for so many either
        features = np.zeros((stop - start, self.dimension), DTYPE)
        for first in range(start, stop, _BLOCK):
            last = min(first + _BLOCK, stop)
            rows = self._all(
                "SELECT DISTINCT slot, checksum FROM images WHERE slot >= ? AND slot < ? ORDER BY slot", (first, last)
            )
            slots, sums = np.array(rows, np.int64).reshape(-1, 2).T
            here = matrix[slots]
            wrong = np.flatnonzero(row_sums(here) != sums)
            if len(wrong):
                (path,) = self._only("SELECT path FROM images WHERE slot = ?", (int(slots[wrong[0]]),))
                raise self._damaged(f"the feature of {os.fsdecode(path)} is not the one that was written")
            features[slots - start] = here
        return features

    def _row(self, values: Sequence[Any]) -> Row:
        """Return an image as it was written, of its columns and their checksum."""
        row = sound_row(values)
        if row is None:
            raise self._unsound(values)
        return row

    def _unsound(self, values: Sequence[Any]) -> GalleryError:
        return self._damaged(f"the catalogue's row {values[0]} is not the one that was written")

    # changes: inside `writing`, in one or more `transaction`s

    @contextmanager
    def transaction(self) -> Iterator["Changes"]:
        """Make changes together: all are kept, or none.

        Appended features are synced before the rows that point to them are committed.
        """
        with explained(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                with Changes(self._db, self._matrix_path(), self.counted_on) as changes:
                    yield changes
                if changes.count:
                    self.set("changed", self.get("changed") + changes.count)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has SQLite roll back by itself
                    self._db.execute("ROLLBACK")
                raise

    def counted_on(self) -> int:
        """Return how many rows of the matrix something counts on, and so must not be written over."""
        return max(self._slots_in_use(), self._embedded_slots())

    def _slots_in_use(self) -> int:
        """Return the number of slots up to the last one in use."""
        (highest,) = self._only("SELECT max(slot) FROM images")
        if highest is not None and not isinstance(highest, int):
            raise self._damaged("an image's slot is no number")
        return 0 if highest is None else highest + 1

    def _embedded_slots(self) -> int:
        """Return how many slots have an embedding."""
        return 0

    @property
    def _row_bytes(self) -> int:
        return self.dimension * DTYPE.itemsize

    def _matrix_path(self, number: int | None = None) -> Path:
        return self.folder / f"features-{int(number or self.get('matrix'))}.f16"

    def matrix(self, slots: int) -> NDArray[np.float16]:
        """Map the matrix, of which this many slots are in use."""
        if not slots:
            return np.empty((0, self.dimension), DTYPE)
        return map_matrix(self._matrix_path(), slots, self.dimension)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """See one state of the catalogue throughout."""
        if self._db.in_transaction:  # as seen by it already
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    # what SQLite says of a damaged catalogue is explained wherever it is asked

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with explained(self.folder):
            return self._db.execute(query, values).fetchall()

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        with explained(self.folder):
            return self._db.execute(query, values).fetchone()

    def _only(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Return the row of a query that has exactly one."""
        row = self._one(query, values)
        if row is None:
            raise self._damaged("the catalogue doesn't answer")
        return row

    def _damaged(self, what: str) -> GalleryError:
        return damaged(self.folder, what)


def _write_empty(folder: Path, encoder: dict[str, Any]) -> None:
    """Write a catalogue of no images beside its place, then give it its name: nobody sees half of one."""
    fresh = folder / f"{CATALOGUE}.new"
    fresh.unlink(missing_ok=True)
    write_catalogue(fresh, encoder)
    fresh.replace(folder / CATALOGUE)
    sync_folder(folder)


def _bring_up_to_date(db: sqlite3.Connection, folder: Path) -> None:
    """Migrate a catalogue of an older format. Raises GalleryError for one that isn't ours, or is newer."""
    version = stored_format(db)
    if is_older(version):
        if not os.access(folder, os.W_OK):
            raise GalleryError(
                f"the gallery {folder} has format {version} and can't be written: give rights, so that it can be "
                f"brought to format {FORMAT_VERSION}, or index into another place with --gallery PATH"
            )
        migrate(db)
        version = stored_format(db)
    if version != FORMAT_VERSION:
        raise GalleryError(
            f"the gallery {folder} has format {version}, this congener knows {FORMAT_VERSION}: update congener, or "
            "delete that folder and index again"
        )
    if not is_ours(db):
        raise damaged(folder, "the tables of its catalogue are not those that were made")


def _connect(folder: Path) -> sqlite3.Connection:
    uri = (folder / CATALOGUE).absolute().as_uri()
    if not os.access(folder, os.W_OK):
        # SQLite can't make the files of its log there: read the catalogue as it lies
        uri += "?mode=ro&immutable=1"
    else:
        uri += "?mode=rw"  # and make none
    db = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db
