"""The gallery on disk: a catalogue in SQLite and the pooled features beside it.

FOLDER/.congener/
    catalogue.sqlite    one row an image; WAL; the rows that are committed are the truth
    features-N.f16      a raw matrix (slots, d) of little-endian float16, only ever appended to
    embeddings-G-*.f16  the same for what was fitted on the gallery, its generation G; made from the features

New features are appended and synced before the rows that point to them are committed. What lies behind
the last committed slot is the rest of an interrupted run: a hole, like those that removed rows leave.
When holes are the greater part, the matrix is written anew under the next N, and the catalogue switches
to it in one transaction. A new generation is written beside the old one and switched to likewise; slots that
its matrices don't reach yet are embedded from their features when they are asked for.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from io import BufferedWriter, BytesIO
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.errors import GalleryBusyError, GalleryError

FORMAT_VERSION = 2
"""Of what this module writes; raise it with a migration."""

Embed = Callable[[NDArray[np.float16]], dict[str, NDArray[np.float32]]]
"""Pooled features (n, d) to embeddings (n, d'), L2-normalised, by the name of their space."""

_BLOCK = 4096  # features embedded at once
_CATALOGUE = "catalogue.sqlite"
_LOCK = "lock"
_DTYPE = np.dtype("<f2")
_COMPACT_BYTES = 2**20  # below this, holes aren't worth the work
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


class Store:
    """One gallery's files. Open it with `Store.open` or `Store.create`; one thread at a time."""

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
            db = _connect(folder)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in _SCHEMA:
                    db.execute(statement)
                meta = {
                    "format": FORMAT_VERSION,
                    "encoder": encoder,
                    "matrix": 1,
                    "exclude": [],
                    "changed": 0,
                }
                values = [(key, json.dumps(value)) for key, value in meta.items()]
                db.executemany("INSERT INTO meta VALUES (?, ?)", values)
            db.execute("COMMIT")
            db.close()
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

    def get(self, key: str) -> Any:
        """Return a fact about the gallery: encoder, exclude, format, matrix, changed."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
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
            table = self._slots()
            matrix = self._matrix(int(table[:, 1].max(initial=-1)) + 1)
        ids, slots = table[:, 0], table[:, 1]
        in_order = bool((slots == np.arange(len(slots))).all())
        return ids, matrix[: len(slots)] if in_order else matrix[slots]

    def _slots(self) -> NDArray[np.int64]:
        """Return id and slot of every image (n, 2), ids rising."""
        rows = self._db.execute("SELECT id, slot FROM images ORDER BY id").fetchall()
        return np.array(rows, np.int64).reshape(-1, 2)

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
    def writing(self) -> Iterator[None]:
        """Keep other writers out, in this and other processes; readers go on.

        Held through a lock of the system's, which ends with the process. Raises GalleryBusyError
        when another writer is at work.
        """
        with explained(self.folder):
            lock = sqlite3.connect(self.folder / _LOCK, timeout=0, isolation_level=None)
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                lock.close()
                if "locked" not in str(error):
                    raise
                raise GalleryBusyError(
                    f"another process is indexing into {self.folder}: try again when it has ended"
                ) from None
            try:
                self._sweep()
                yield
            finally:
                lock.close()

    def _sweep(self) -> None:
        """Delete matrices that a compaction, interrupted or not, has left behind."""
        generation = self.generation()
        kept = {self._matrix_path()}
        if generation:
            kept |= {self._embeddings_path(generation, space) for space in generation["spaces"]}
        for path in {*self.folder.glob("features-*.f16"), *self.folder.glob("embeddings-*.f16")} - kept:
            with suppress(OSError):  # a reader's map may hold it on some systems
                path.unlink()

    @contextmanager
    def transaction(self) -> Iterator["Changes"]:
        """Make changes together: all are kept, or none.

        Appended features are synced before the rows that point to them are committed.
        """
        with explained(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                with Changes(self._db, self._matrix_path(), self.dimension) as changes:
                    yield changes
                if changes.count:
                    self.set("changed", self.get("changed") + changes.count)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has SQLite roll back by itself
                    self._db.execute("ROLLBACK")
                raise

    # what is fitted on the gallery

    def generation(self) -> dict[str, Any] | None:
        """Return the facts of what was fitted last, or None: number, slots, spaces (name -> dimension), …"""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        return json.loads(row[0]) if row else None

    def fitted(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that were fitted, by name."""
        rows = self._db.execute("SELECT name, value FROM fitted ORDER BY name")
        return {name: np.load(BytesIO(value), allow_pickle=False) for name, value in rows}

    def sample(self, count: int) -> tuple[list[int], NDArray[np.float16]]:
        """Return ids and features (n, d) of up to `count` different images, chosen by content alone."""
        with explained(self.folder), self._reading():
            rows = self._db.execute(
                "SELECT min(id), slot FROM images GROUP BY content ORDER BY content LIMIT ?", (count,)
            ).fetchall()
            matrix = self._matrix(max((slot for _, slot in rows), default=-1) + 1)
        return [id for id, _ in rows], matrix[[slot for _, slot in rows]]

    def new_generation(
        self,
        facts: dict[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        dimensions: dict[str, int],
        embed: Embed,
    ) -> None:
        """Write what was fitted and all images' embeddings, and switch to it; inside `writing`.

        dimensions: of each space of embeddings; embed: see `Embed`.
        """
        with explained(self.folder):
            last = self.generation() or {"number": 0}
            generation = facts | {"number": last["number"] + 1, "spaces": dimensions, "slots": 0}
            generation["slots"] = self._append_embeddings(generation, embed)
            with self.transaction():
                self._db.execute("DELETE FROM fitted")
                rows = [(name, _as_bytes(array)) for name, array in arrays.items()]
                self._db.executemany("INSERT INTO fitted VALUES (?, ?)", rows)
                self.set("generation", generation)
                self.set("changed", 0)
            self._sweep()

    def extend_generation(self, embed: Embed) -> None:
        """Embed the slots that the generation's matrices don't reach yet; inside `writing`."""
        with explained(self.folder):
            generation = self.generation()
            if generation is None:
                return
            if not generation["slots"]:  # the slots have moved: write anew, under a new number
                generation["number"] += 1
            slots = self._append_embeddings(generation, embed)
            if slots != generation["slots"]:
                with self.transaction():
                    self.set("generation", generation | {"slots": slots})
                self._sweep()

    def _append_embeddings(self, generation: dict[str, Any], embed: Embed) -> int:
        """Append the embeddings of all slots from generation["slots"] on; return how many slots there are."""
        (highest,) = self._db.execute("SELECT max(slot) FROM images").fetchone()
        total = 0 if highest is None else highest + 1
        matrix = self._matrix(total)
        with ExitStack() as stack:
            files: dict[str, BufferedWriter] = {}
            for space, dimension in generation["spaces"].items():
                file = stack.enter_context(self._embeddings_path(generation, space).open("ab"))
                file.truncate(generation["slots"] * dimension * _DTYPE.itemsize)
                files[space] = file
            for start in range(generation["slots"], total, _BLOCK):
                for space, block in embed(matrix[start : min(start + _BLOCK, total)]).items():
                    files[space].write(block.astype(_DTYPE).tobytes())
            for file in files.values():
                _sync(file)
        _sync_folder(self.folder)
        return total

    def embeddings(self, space: str, embed: Embed) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Return all ids, rising, and their embeddings (n, d) in a space of the generation.

        embed: for the slots that an interrupted run has left without. Raises GalleryError as `features` does.
        """
        with explained(self.folder):
            try:
                return self._embeddings(space, embed)
            except FileNotFoundError:  # a writer may just have moved to a new generation
                return self._embeddings(space, embed)

    def _embeddings(self, space: str, embed: Embed) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        with self._reading():
            generation = self.generation()
            assert generation is not None
            table = self._slots()
            path, slots = self._embeddings_path(generation, space), generation["slots"]
            dimension = generation["spaces"][space]
            embedded = _map(path, slots, dimension) if slots else np.empty((0, dimension), _DTYPE)
            fresh = np.unique(table[table[:, 1] >= slots, 1])
            features = self._matrix(int(fresh[-1]) + 1)[fresh] if len(fresh) else None
        ids, wanted = table[:, 0], table[:, 1]
        if features is None:
            in_order = bool((wanted == np.arange(len(wanted))).all())
            return ids, embedded[: len(wanted)] if in_order else embedded[wanted]
        result = np.empty((len(wanted), dimension), _DTYPE)
        old = wanted < slots
        result[old] = embedded[wanted[old]]
        result[~old] = embed(features)[space].astype(_DTYPE)[np.searchsorted(fresh, wanted[~old])]
        return ids, result

    def _embeddings_path(self, generation: dict[str, Any], space: str) -> Path:
        return self.folder / f"embeddings-{generation['number']}-{space}.f16"

    def compact(self) -> bool:
        """Write the matrix anew without its holes, when they are the greater part of it."""
        with explained(self.folder):
            slots = [s for (s,) in self._db.execute("SELECT DISTINCT slot FROM images ORDER BY slot")]
            taken = self._matrix_path().stat().st_size if self._matrix_path().exists() else 0
            if taken <= 2 * len(slots) * self._row_bytes or taken < _COMPACT_BYTES:
                return False
            number = self.get("matrix") + 1
            fresh = self._matrix_path(number)
            matrix = self._matrix(slots[-1] + 1 if slots else 0)
            with fresh.open("wb") as file:
                for start in range(0, len(slots), 4096):
                    file.write(matrix[slots[start : start + 4096]].tobytes())
                _sync(file)
            _sync_folder(self.folder)
            with self.transaction():
                moved = [(new, slot) for new, slot in enumerate(slots)]
                # slots only fall, in rising order: none is overwritten before it has moved
                self._db.executemany("UPDATE images SET slot = ? WHERE slot = ?", moved)
                self.set("matrix", number)
                if generation := self.generation():  # its matrices go by the old slots
                    self.set("generation", generation | {"slots": 0})
            self._sweep()
            return True

    @property
    def _row_bytes(self) -> int:
        return self.dimension * _DTYPE.itemsize

    def _matrix_path(self, number: int | None = None) -> Path:
        return self.folder / f"features-{number or self.get('matrix')}.f16"

    def _matrix(self, slots: int) -> NDArray[np.float16]:
        """Map the matrix, of which at least this many slots are in use."""
        if not slots:
            return np.empty((0, self.dimension), _DTYPE)
        return _map(self._matrix_path(), slots, self.dimension)

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

    def __init__(self, db: sqlite3.Connection, matrix: Path, dimension: int) -> None:
        self._db = db
        self._matrix = matrix
        self._dimension = dimension
        self._file: IO[bytes] | None = None
        self.count = 0
        """Images added, removed or replaced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file is not None:
            with self._file:
                if kind is None:
                    _sync(self._file)

    def append(self, feature: NDArray[np.float32]) -> tuple[int, int]:
        """Append a pooled feature (d,); return its slot and checksum."""
        row = feature.astype(_DTYPE).tobytes()
        if self._file is None:
            is_new = not self._matrix.exists()
            self._file = self._matrix.open("ab")
            if is_new:
                _sync_folder(self._matrix.parent)
            # an interrupted run may have left a torn row: begin behind it
            torn = self._file.tell() % len(row)
            self._file.write(b"\0" * (-torn % len(row)))
        slot = self._file.tell() // len(row)
        self._file.write(row)
        self.count += 1
        return slot, zlib.crc32(row)

    def put(self, row: Row) -> None:
        """Insert an image (id 0: the next free one), or replace the one with its id."""
        values = (row.id or None, os.fsencode(row.path), *astuple(row)[2:])
        self._db.execute(f"INSERT OR REPLACE INTO images ({_COLUMNS}) VALUES (?,?,?,?,?,?,?)", values)

    def delete(self, ids: Iterable[int]) -> None:
        """Drop images."""
        dropped = [(id,) for id in ids]
        self._db.executemany("DELETE FROM images WHERE id = ?", dropped)
        self.count += len(dropped)


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


def _map(path: Path, slots: int, dimension: int) -> NDArray[np.float16]:
    """Map a matrix of which at least this many slots are in use."""
    present = path.stat().st_size // (dimension * _DTYPE.itemsize)
    if present < slots:
        raise GalleryError(
            f"the gallery {path.parent} is damaged: {path.name} holds {present} rows, the "
            f"catalogue counts on {slots}; delete that folder and index again"
        )
    return np.memmap(path, _DTYPE, "r", shape=(present, dimension))


def _as_bytes(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


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


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
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
