"""The catalogue's tables: format, checksums, and how an older format becomes this one.

Every row carries a checksum, since SQLite has none of its own: its integrity check passes a flipped letter.
"""

import json
import os
import re
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

FORMAT_VERSION = 4
"""Of what this module writes; raise it with a migration."""

COLUMNS = "id, path, size, mtime_ns, content, slot, checksum, ctime_ns, inode"
"""Of an image, without the checksum of the row itself."""

UNREAD_COLUMNS = "path, size, mtime_ns, ctime_ns, inode, lasting, reason"
"""Of a file that can't be read, likewise."""

FACTS: dict[str, Any] = {
    "format": FORMAT_VERSION,
    "encoder": None,
    "matrix": 1,
    "exclude": [],
    "default_exclude": True,
    "decoders": None,
    "folder": None,
    "changed": 0,
    "generation": None,
    "index": None,
    "graph": None,
}
"""What the table meta holds from the first on: one that isn't there is lost."""

_META = """CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL,        -- JSON
        sum INTEGER NOT NULL        -- CRC-32 of key and value
    ) WITHOUT ROWID"""
_IMAGES = """CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL UNIQUE,  -- relative to the folder, as os.fsencode gives it
        size INTEGER NOT NULL,      -- bytes
        mtime_ns INTEGER NOT NULL,
        content BLOB NOT NULL,      -- SHA-256 of the file
        slot INTEGER NOT NULL,      -- row of the matrix; images of equal content share one
        checksum INTEGER NOT NULL,  -- CRC-32 of that row
        ctime_ns INTEGER NOT NULL,  -- 0: unknown
        inode INTEGER NOT NULL,     -- 0: unknown
        sum INTEGER NOT NULL        -- CRC-32 of all of this
    )"""
_BY_SLOT = "CREATE INDEX images_slot ON images (slot)"
_BY_INODE = "CREATE INDEX images_inode ON images (inode)"
# arrays, as .npy; their checksum is a fact of the generation
_FITTED = "CREATE TABLE fitted (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
# files that can't be read, the lasting ones by the decoders that the fact of this name tells
_UNREAD = """CREATE TABLE unread (
        path BLOB PRIMARY KEY,      -- as in images
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        lasting INTEGER NOT NULL,   -- 1: its contents cause it; 0: it is tried each time
        reason TEXT NOT NULL,
        sum INTEGER NOT NULL        -- CRC-32 of all of this
    ) WITHOUT ROWID"""
# matrices and graphs that this gallery wrote
_FILES = """CREATE TABLE files (
        name TEXT PRIMARY KEY,
        sum INTEGER NOT NULL        -- CRC-32 of the name
    ) WITHOUT ROWID"""
_SCHEMA = {
    "meta": _META,
    "images": _IMAGES,
    "images_slot": _BY_SLOT,
    "images_inode": _BY_INODE,
    "fitted": _FITTED,
    "unread": _UNREAD,
    "files": _FILES,
}

_FILE_NAME = re.compile(
    r"features-[0-9]+\.f16|embeddings-[0-9]+-[a-z]+\.(f16|i8)(\.crc)?|graph-[0-9]+-[a-z]+(\.part)?", re.ASCII
)
_NUMBERS = struct.Struct("<qqqqII")
_STAMPED = struct.Struct("<qqqqIIqq")


class Row(NamedTuple):
    """An image of the catalogue. A tuple: a frozen dataclass takes several times as long to make."""

    id: int
    path: str
    size: int
    mtime_ns: int
    content: bytes
    slot: int
    checksum: int
    """Of its feature."""
    ctime_ns: int = 0
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that can't be read."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    lasting: bool
    """Whether its contents cause it: it isn't tried again until it or the decoders change."""
    reason: str


def image_sum(
    id: int,
    path: bytes,
    size: int,
    mtime_ns: int,
    content: bytes,
    slot: int,
    checksum: int,
    ctime_ns: int = 0,
    inode: int = 0,
) -> int:
    """Return the checksum of an image's row. Raises TypeError or struct.error for what can't be such a row.

    Where neither ctime nor inode is known it is that of format 3, which had neither.
    """
    if ctime_ns or inode:
        numbers = _STAMPED.pack(id, size, mtime_ns, slot, checksum, len(path), ctime_ns, inode)
    else:
        numbers = _NUMBERS.pack(id, size, mtime_ns, slot, checksum, len(path))
    return zlib.crc32(content, zlib.crc32(path, zlib.crc32(numbers)))


def unread_sum(path: bytes, size: int, mtime_ns: int, ctime_ns: int, inode: int, lasting: int, reason: str) -> int:
    """Return the checksum of a row of unread. Raises TypeError or struct.error for what can't be such a row."""
    numbers = struct.pack("<qqqqqq", size, mtime_ns, ctime_ns, inode, lasting, len(path))
    return zlib.crc32(reason.encode(), zlib.crc32(path, zlib.crc32(numbers)))


def file_name_sum(name: str) -> int:
    """Return the checksum of a row of files."""
    return zlib.crc32(name.encode())


def fact_sum(key: str, value: str) -> int:
    """Return the checksum of a row of meta."""
    return zlib.crc32(f"{key}\0{value}".encode())


def fitted_sum(arrays: Iterable[tuple[str, bytes]]) -> int:
    """Return the checksum of all that was fitted, in order of name."""
    total = 0
    for name, value in arrays:
        total = zlib.crc32(value, zlib.crc32(f"{name}\0{len(value)}\0".encode(), total))
    return total


def sound_row(values: Sequence[Any]) -> Row | None:
    """Return an image of its columns and their checksum, or None unless it is what was written.

    A path that leads out of the folder wasn't: whoever prepares a gallery may not have other files shown.
    """
    id, path, size, mtime_ns, content, slot, checksum, ctime_ns, inode, total = values
    try:
        if image_sum(id, path, size, mtime_ns, content, slot, checksum, ctime_ns, inode) != total:
            return None
    except (struct.error, TypeError):  # of a type that no such row has
        return None
    if path[:1] == b"/" or (b".." in path and b".." in path.split(b"/")):
        return None
    return Row(id, os.fsdecode(path), size, mtime_ns, content, slot, checksum, ctime_ns, inode)


def sound_unread(values: Sequence[Any]) -> Unread | None:
    """Return a row of unread of its columns and their checksum, or None unless it is what was written."""
    path, size, mtime_ns, ctime_ns, inode, lasting, reason, total = values
    try:
        if unread_sum(path, size, mtime_ns, ctime_ns, inode, lasting, reason) != total:
            return None
    except (struct.error, TypeError, AttributeError):
        return None
    return Unread(os.fsdecode(path), size, mtime_ns, ctime_ns, inode, bool(lasting), reason)


def is_own_name(name: Any) -> bool:
    """Tell whether a name is one that a matrix, its checksums or a graph get."""
    return isinstance(name, str) and _FILE_NAME.fullmatch(name) is not None


def sound_file_name(name: Any, total: Any) -> str | None:
    """Return a name of files, or None unless it is what was written: one of a file in the gallery's own folder."""
    return name if is_own_name(name) and file_name_sum(name) == total else None


def sound_fact(key: str, value: Any, total: Any) -> Any:
    """Return what is kept under a key. Raises ValueError unless it is what was written."""
    if not isinstance(value, str) or fact_sum(key, value) != total:
        raise ValueError(key)
    return json.loads(value)


def put_fact(db: sqlite3.Connection, key: str, value: Any) -> None:
    """Keep a fact, a plain value."""
    text = json.dumps(value)
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (key, text, fact_sum(key, text)))


def write_catalogue(path: Path, encoder: dict[str, Any]) -> None:
    """Write a catalogue of no images."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.values():
            db.execute(statement)
        for key, value in (FACTS | {"encoder": encoder}).items():
            put_fact(db, key, value)
        first = f"features-{FACTS['matrix']}.f16"
        db.execute("INSERT INTO files VALUES (?, ?)", (first, file_name_sum(first)))
        db.execute("COMMIT")
        # to close it would write the log's contents into it, too, but say nothing where that fails
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def is_ours(db: sqlite3.Connection) -> bool:
    """Tell whether the tables are exactly those of this format."""
    found = db.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite#_%' ESCAPE '#'")
    return dict(found.fetchall()) == _SCHEMA


def stored_format(db: sqlite3.Connection) -> int | None:
    """Return the format that a catalogue says it has, or None where it says none."""
    row = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    try:
        version = json.loads(row[0]) if row else None
    except (ValueError, TypeError):
        return None
    return version if isinstance(version, int) else None


def is_older(version: int | None) -> bool:
    """Tell whether `migrate` knows a format."""
    return version in _MIGRATIONS


def migrate(db: sqlite3.Connection) -> None:
    """Bring an older catalogue to this format, in one transaction."""
    version = None
    db.execute("BEGIN IMMEDIATE")
    try:
        while (version := stored_format(db)) in _MIGRATIONS:  # another process may have been faster
            assert version is not None
            _MIGRATIONS[version](db)
        db.execute("COMMIT")
    except BaseException as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if isinstance(error, ValueError | TypeError | KeyError):
            raise sqlite3.DatabaseError(f"what it holds is not of format {version}") from error
        raise


def _to_2(db: sqlite3.Connection) -> None:
    """Format 2 keeps what was fitted on the gallery."""
    db.execute(_FITTED)
    db.execute("INSERT INTO meta VALUES ('changed', '1')")
    db.execute("UPDATE meta SET value = '2' WHERE key = 'format'")


def _to_3(db: sqlite3.Connection) -> None:
    """Format 3 has checksums of everything. Embeddings have none yet, and are made again from the features."""
    facts = FACTS | {key: json.loads(value) for key, value in db.execute("SELECT key, value FROM meta")}
    if facts["generation"] is not None:
        arrays = db.execute("SELECT name, value FROM fitted ORDER BY name")
        facts["generation"] |= {"slots": 0, "fitted": fitted_sum(arrays)}
    db.execute("DROP TABLE meta")
    db.execute(_META)
    for key, value in (facts | {"format": 3}).items():
        put_fact(db, key, value)
    rewrite_images(db, _COLUMNS_3, lambda values: (*values, 0, 0, image_sum(*values)))


def _to_4(db: sqlite3.Connection) -> None:
    """Format 4 knows ctime and inode, files that can't be read, and the names of its own files."""
    for statement in (_UNREAD, _FILES):
        db.execute(statement)
    facts: dict[str, Any] = {}
    for key, value, total in db.execute("SELECT key, value, sum FROM meta"):
        with suppress(ValueError):  # check tells, and mends, what is damaged
            facts[key] = sound_fact(key, value, total)
    for key in ("default_exclude", "decoders", "folder"):
        put_fact(db, key, FACTS[key])
    put_fact(db, "format", 4)
    for name in filter(is_own_name, sorted(_files_of_3(facts))):
        db.execute("INSERT INTO files VALUES (?, ?)", (name, file_name_sum(name)))
    # with the checksum that it has, so that what is damaged stays known as such
    rewrite_images(db, f"{_COLUMNS_3}, sum", lambda values: (*values[:-1], 0, 0, values[-1]))


def _files_of_3(facts: dict[str, Any]) -> set[str]:
    """Return the names of the files that facts of format 3 point to."""
    names = {f"features-{facts['matrix']}.f16"} if "matrix" in facts else set()
    generation = facts.get("generation")
    if isinstance(generation, dict):
        for name in map(str, generation.get("spaces", ())):
            space = name.removesuffix(".packed")
            embeddings = f"embeddings-{generation.get('number')}-{space}.{'f16' if space == name else 'i8'}"
            names |= {embeddings, f"{embeddings}.crc"}
    if isinstance(graph := facts.get("graph"), dict):
        names.add(str(graph.get("file")))
    return names


_COLUMNS_3 = "id, path, size, mtime_ns, content, slot, checksum"


def replace_table(db: sqlite3.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Put a table with these rows in the place of one whose pages may be damaged; these stay, unused, until VACUUM."""
    db.execute("BEGIN IMMEDIATE")
    db.execute("PRAGMA writable_schema = ON")  # to drop a table, SQLite would read it
    db.execute("DELETE FROM sqlite_master WHERE name = ?", (name,))
    db.execute("PRAGMA writable_schema = RESET")
    db.execute(_SCHEMA[name])
    for row in rows:
        db.execute(f"INSERT OR REPLACE INTO {name} VALUES ({','.join('?' * len(row))})", row)
    db.execute("COMMIT")


def rewrite_images(
    db: sqlite3.Connection, columns: str, made: Callable[[tuple[Any, ...]], tuple[Any, ...] | None]
) -> int:
    """Write the images and their indexes anew, inside a transaction; return how many were left out.

    columns: that the old table has; made: what becomes of a row, None for one to leave out. No index is read.
    """
    count = 0
    db.execute("DROP INDEX images_slot")
    db.execute("DROP INDEX IF EXISTS images_inode")
    db.execute("ALTER TABLE images RENAME TO images_before")
    db.execute(_IMAGES)
    db.execute(_BY_SLOT)
    db.execute(_BY_INODE)
    for values in db.execute(f"SELECT {columns} FROM images_before NOT INDEXED ORDER BY id"):
        row = made(values)
        if row is None:
            count += 1
        else:
            db.execute(f"INSERT INTO images ({COLUMNS}, sum) VALUES (?,?,?,?,?,?,?,?,?,?)", row)
    # ids of images that are gone aren't given again
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'images'")
    db.execute("UPDATE sqlite_sequence SET name = 'images' WHERE name = 'images_before'")
    db.execute("DROP TABLE images_before")
    return count


_MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _to_2, 2: _to_3, 3: _to_4}
"""From a format to the next."""
