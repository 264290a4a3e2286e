"""Catalogue: the images of a gallery in SQLite, and their pooled features in a raw matrix beside it.

See `congener.store` for how the files hang together.
"""

import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from congener.changes import Changes
from congener.connection import CATALOGUE, LOG, PATIENCE, SHARED_MEMORY, Connection, connect, is_writable
from congener.disk import (
    DTYPE,
    damaged,
    explained,
    is_there,
    locked,
    make_folder,
    map_matrix,
    no_catalogue,
    row_sums,
    sync_folder,
)
from congener.errors import DamagedGalleryError, GalleryError
from congener.owned import FIRST, NEW, PAGE, Owned, check_place, is_file
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

SEEN_WHOLE = 2**20
"""Bytes of a catalogue up to which opening it looks at all of them: some 5,000 images, 5 ms."""

_BLOCK = 4096  # rows that are looked at at once
_FIRST = -(2**63)  # no id is below
_ASKED = 500  # ids in one question to SQLite
_opened = count(1)
_T = TypeVar("_T")


class Catalogue:
    """The images and their features; see `congener.store.Store`.

    Each row that is read is held against its checksum. Methods raise GalleryError where one doesn't match.
    """

    def __init__(self, folder: Path, connection: Connection) -> None:
        self.folder = folder
        self._connection, self._db = connection, connection.db
        self._number = next(_opened)
        self.owned = Owned(folder, self._db)
        """Its files."""
        encoder = self.get("encoder")
        dimension = encoder.get("dimension") if isinstance(encoder, dict) else None
        if not isinstance(dimension, int) or not 0 < dimension < 2**20:
            raise self._damaged("its encoder gives features of no possible length")
        self.dimension = dimension
        """Length of a pooled feature."""

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Tell whether there is a gallery to open."""
        with explained(folder):
            return is_there(folder / CATALOGUE)

    @classmethod
    def create(cls, folder: Path, encoder: dict[str, Any]) -> Self:
        """Make an empty gallery for features of this encoder (its identity as plain values).

        Two processes may do so at once: the first one's stands.
        """
        with explained(folder):
            if not cls.exists(folder):
                check_place(folder)
                make_folder(folder)
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
            connection = connect(folder)
            try:
                _bring_up_to_date(connection.db, folder)
                if not trusting and (folder / CATALOGUE).stat().st_size <= SEEN_WHOLE:
                    (problem,) = connection.db.execute("PRAGMA integrity_check(1)").fetchone()
                    if problem != "ok":
                        raise damaged(folder, f"in its catalogue, {' '.join(problem.split())}")
                return cls(folder, connection)
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        """Close the catalogue, its log drawn in."""
        self._draw_in_log()
        self._connection.close()

    @property
    def is_current(self) -> bool:
        """Whether what was read so far is of the catalogue as it is; else it must be opened again."""
        return self._connection.is_current

    def _draw_in_log(self) -> None:
        """Write what the log holds into the catalogue, and empty it."""
        with suppress(sqlite3.Error):  # a reader may not, and need not
            self._db.execute("PRAGMA busy_timeout = 1000")  # it waits for readers, who have their reasons
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000}")

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

    def version(self) -> tuple[int, int, int]:
        """Return a value that changes whenever this or another process has committed changes, or it is opened anew."""
        (seen,) = self._only("PRAGMA data_version")
        return self._number, int(seen), self._db.total_changes

    def size_on_disk(self) -> int:
        """Return the bytes that the gallery's files take."""
        total = 0
        for path in self.own_files():
            with suppress(OSError):  # a log, drawn in meanwhile
                total += path.stat().st_size
        return total

    def own_files(self) -> list[Path]:
        """Return the files that are there and that the gallery wrote; the catalogue last, which knows the others."""
        with explained(self.folder):
            names = sorted(self.owned.names() | self.kept_names())
            names += [*sorted(PAGE | FIRST), SHARED_MEMORY, LOG, CATALOGUE]
            return [path for path in (self.folder / name for name in names) if is_file(path)]

    def kept_names(self) -> frozenset[str]:
        """Return the names of the files that the catalogue counts on."""
        return frozenset({self._matrix_path().name})

    # images

    def __len__(self) -> int:
        (count,) = self._only("SELECT count(*) FROM images")
        return int(count)

    def rows(self) -> Iterator[Row]:
        """Yield every image in order of id."""
        rows: list[Row] = []
        while rows := self.rows_after(rows[-1].id if rows else None):
            yield from rows

    def rows_after(self, id: int | None) -> list[Row]:
        """Return the next few thousand images behind an id, or the first ones; none: that was the last."""
        query = f"SELECT {COLUMNS}, sum FROM images WHERE id > ? ORDER BY id LIMIT {_BLOCK}"
        return [self._row(values) for values in self._all(query, (_FIRST if id is None else id,))]

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

    def having_inode(self, inode: int) -> list[Row]:
        """Return the images whose files had this number on their file system, in order of id; none for 0, unknown."""
        found = self._all(f"SELECT {COLUMNS}, sum FROM images WHERE inode = ? ORDER BY id", (inode,)) if inode else ()
        return [self._row(values) for values in found]

    def stamps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids, rising (n,), of images whose ctime and inode are known, and their stamps (n, 4).

        Not held against their checksums.
        """
        rows = self._all(
            "SELECT id, size, mtime_ns, ctime_ns, inode FROM images WHERE ctime_ns != 0 AND inode != 0 ORDER BY id"
        )
        try:
            table = np.array(rows, np.int64).reshape(-1, 5)
        except (TypeError, ValueError, OverflowError):
            raise self._damaged("an image's size, time or inode is no number") from None
        return table[:, 0], table[:, 1:]

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
        return self.settled(self._features)

    def _features(self) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        with self.one_state():
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
        return self.settled(lambda: self._feature(row))

    def _feature(self, row: Row) -> NDArray[np.float16]:
        with self.one_state():
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
    def one_state(self) -> Iterator[None]:
        """See one state of the catalogue throughout."""
        if self._db.in_transaction:  # as seen by it already
            yield
            return
        with explained(self.folder):
            self._db.execute("BEGIN")
        try:
            yield  # a file that is missing is not explained: see `settled`
        finally:
            with explained(self.folder):
                self._db.execute("COMMIT")

    def settled(self, read: Callable[[], _T]) -> _T:
        """Read files, inside no `one_state`; again as long as a writer moves to others meanwhile."""
        deadline = time.monotonic() + PATIENCE
        with explained(self.folder):
            while True:
                before = self.version()
                try:
                    return read()
                except FileNotFoundError:
                    if self.version() == before or time.monotonic() > deadline:
                        raise

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

    def _damaged(self, what: str) -> DamagedGalleryError:
        return damaged(self.folder, what)


def _write_empty(folder: Path, encoder: dict[str, Any]) -> None:
    """Write a catalogue of no images beside its place, then give it its name: nobody sees half of one."""
    fresh = folder / NEW
    for name in FIRST:
        if name.startswith(NEW) and is_file(folder / name):
            (folder / name).unlink()
    write_catalogue(fresh, encoder)
    fresh.replace(folder / CATALOGUE)
    sync_folder(folder)


def _bring_up_to_date(db: sqlite3.Connection, folder: Path) -> None:
    """Migrate a catalogue of an older format. Raises GalleryError for one that isn't ours, or is newer."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
        raise no_catalogue(folder, "its catalogue is that of something else, or empty")
    version = stored_format(db)
    if is_older(version):
        if not is_writable(folder):
            raise GalleryError(
                f"the gallery {folder} has format {version} and can't be written: give rights, so that it can be "
                f"brought to format {FORMAT_VERSION}, or index into another place with --gallery PATH"
            )
        migrate(db)
        version = stored_format(db)
    if version != FORMAT_VERSION:
        if version is None:
            raise damaged(folder, "it lacks its format")
        raise GalleryError(
            f"the gallery {folder} has format {version}, this congener knows {FORMAT_VERSION}: update congener, or "
            "keep another gallery with --gallery PATH"
        )
    if not is_ours(db):
        raise damaged(folder, "the tables of its catalogue are not those that were made")
