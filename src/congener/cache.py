"""Cache: bytes by name on disk, bounded: what came first goes first. It can be lost at any time and made again.

The page keeps thumbnails and uploaded pictures in one, in the gallery's folder. Thumbnails are named after the contents
that they were made from, so that those of pictures which are gone can be told, and dropped.
"""

import json
import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

NAME = "web.sqlite"
"""Of its file, in a gallery's folder."""

FORMAT = 2
"""Of what is kept; one of an older format, whose thumbnails may be of other pictures, is made anew."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    facts TEXT NOT NULL,
    content BLOB NOT NULL
)"""

_COLUMNS = ["number", "name", "facts", "content"]
_IN_MEMORY = 64 * 2**20  # bytes at most where there is no file
_WAIT_SECONDS = 1.0  # for another process that writes
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_MOVED = sqlite3.SQLITE_READONLY_DBMOVED

_ANEW = "%s, which keeps the page's thumbnails and uploads, was damaged: it is made anew"
_log = logging.getLogger(__name__)

T = TypeVar("T")


def thumbnail_name(content: str, side: int) -> str:
    """Return what a thumbnail is kept under; content: the hash, in hex, of what it was made from."""
    return f"thumbnail-{FORMAT}-{content}-{side}"


class Cache:
    """Safe to use from several threads. Nothing that is wrong with its file is raised, but what is wrong is told."""

    def __init__(self, path: Path | None, most: int) -> None:
        """path: of its file, None to keep it in memory; most: bytes of content that it may hold."""
        self._path, self._most = path, most
        self._lock = threading.Lock()
        self._db = self._open()
        self._held = 0
        with self._lock:
            self._held = self._do(self._count, 0)

    def get(self, name: str) -> tuple[dict[str, Any], bytes] | None:
        """Return the facts and the bytes kept under a name, or None."""

        def read() -> tuple[dict[str, Any], bytes] | None:
            row = self._db.execute("SELECT facts, content FROM kept WHERE name = ?", (name,)).fetchone()
            if row is None:
                return None
            facts, total = _facts(row[0])
            if not isinstance(row[1], bytes) or zlib.crc32(row[1]) != total:
                raise _DamagedError
            return facts, row[1]

        with self._lock:
            return self._do(read, None)

    def facts(self, name: str) -> dict[str, Any] | None:
        """Return the facts kept under a name, or None."""

        def read() -> dict[str, Any] | None:
            row = self._db.execute("SELECT facts FROM kept WHERE name = ?", (name,)).fetchone()
            return None if row is None else _facts(row[0])[0]

        with self._lock:
            return self._do(read, None)

    def put(self, name: str, facts: dict[str, Any], content: bytes) -> bool:
        """Keep bytes under a name, as the newest; return whether they are kept: not on a full disk, or if too large."""
        if len(content) > self._most:
            return False

        def write() -> bool:
            told = json.dumps([facts, zlib.crc32(content)])
            self._drop("name = ?", name)
            self._db.execute("INSERT INTO kept (name, facts, content) VALUES (?, ?, ?)", (name, told, content))
            self._held += len(content)
            while self._held > self._most and self._drop("number = (SELECT min(number) FROM kept)"):
                pass
            if self._held > self._most:  # another process has dropped what this one counts
                self._held = self._count()
            return True

        with self._lock:
            return self._do(write, False)

    def drop(self, contents: Iterable[str]) -> None:
        """Drop the thumbnails made from contents, named by their hashes in hex, wholly: no byte of them stays."""

        def write() -> None:
            for content in contents:
                self._drop("name LIKE ?", thumbnail_name(content, 0)[:-1] + "%")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        with self._lock:
            self._do(write, None)

    def contents(self) -> set[str]:
        """Return the hashes, in hex, of the images of the gallery that there are thumbnails of."""
        whole = 64  # an upload's has half as many digits

        def read() -> set[str]:
            names = self._db.execute("SELECT name FROM kept WHERE name LIKE 'thumbnail-%'")
            return {parts[2] for (name,) in names if len(parts := name.split("-")) == 4 and len(parts[2]) == whole}

        with self._lock:
            return self._do(read, set())

    def close(self) -> None:
        """Close its file."""
        with self._lock:
            self._db.close()

    def _do(self, work: Callable[[], T], otherwise: T) -> T:
        """Return what is read or written; of a damaged file once more, after it is made anew."""
        for again in (True, False):
            try:
                return work()
            except (sqlite3.Error, _DamagedError) as error:
                if not (again and self._path and _is_damage(error)):
                    break
                self._renew()
        return otherwise

    def _renew(self) -> None:
        _log.warning(_ANEW, self._path)
        with suppress(sqlite3.Error):
            self._db.close()
        assert self._path is not None
        _remove(self._path)
        self._db, self._held = self._open(), 0

    def _count(self) -> int:
        (held,) = self._db.execute("SELECT coalesce(sum(length(content)), 0) FROM kept").fetchone()
        return int(held)

    def _drop(self, which: str, *values: str) -> int:
        """Drop some; return how many."""
        rows = self._db.execute(f"DELETE FROM kept WHERE {which} RETURNING length(content)", values).fetchall()
        self._held -= sum(length for (length,) in rows)
        return len(rows)

    def _open(self) -> sqlite3.Connection:
        """Open the file; a damaged or older one is made anew, and where none can be written there is one in memory."""
        for _ in range(2 if self._path else 0):
            try:
                return _connect(str(self._path))
            except (sqlite3.Error, _DamagedError) as error:
                assert self._path is not None
                if not _is_damage(error) or not _remove(self._path):
                    _log.warning("%s can't be used (%s): thumbnails and uploads are kept in memory", self._path, error)
                    break
                if not isinstance(error, _OlderError):
                    _log.warning(_ANEW, self._path)
        self._path, self._most = None, min(self._most, _IN_MEMORY)
        return _connect(":memory:")


def forget_others(folder: Path, held: Callable[[], Iterable[bytes]]) -> None:
    """Drop what a gallery's cache, if there is one, has of contents that no image has.

    held: gives the contents, by their hash, of all images; asked only where something is kept.
    """
    path = folder / NAME
    if not path.is_file() or not os.access(path, os.W_OK):
        return
    cache = Cache(path, 2**63)
    try:
        kept = cache.contents()
        if kept:
            kept.difference_update(content.hex() for content in held())
            cache.drop(sorted(kept))
    finally:
        cache.close()


class _DamagedError(Exception):
    """What is kept is not what was written."""


class _OlderError(_DamagedError):
    """It is of an older format."""


def _facts(text: Any) -> tuple[dict[str, Any], int]:
    """Return the facts, and the checksum of the content."""
    try:
        facts, total = json.loads(text)
    except (ValueError, TypeError):
        raise _DamagedError from None
    return facts, total


def _is_damage(error: Exception) -> bool:
    if isinstance(error, _DamagedError):
        return True
    code = getattr(error, "sqlite_errorcode", 0)  # the primary one is its last byte
    return code & 0xFF in _DAMAGE or code == _MOVED


def _remove(path: Path) -> bool:
    """Delete its files, which may be links or folders of somebody else's; return whether none is there any more."""
    if path.is_symlink() or not path.is_file():
        return False
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(OSError):
            each.unlink(missing_ok=True)
    return not path.exists()


def _connect(place: str) -> sqlite3.Connection:
    db = sqlite3.connect(place, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and (tables != {"kept", "sqlite_sequence"} or _columns(db) != _COLUMNS):
            raise sqlite3.NotSupportedError("it has tables of something else")  # which aren't ours to delete
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if tables and version != FORMAT:
            raise _OlderError
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")  # a cache may be lost
        db.execute("PRAGMA secure_delete = ON")  # what is dropped of somebody's pictures is gone
        db.execute(_SCHEMA)
        db.execute(f"PRAGMA user_version = {FORMAT}")
    except BaseException:
        db.close()
        raise
    return db


def _columns(db: sqlite3.Connection) -> list[str]:
    return [column for _, column, *_ in db.execute("PRAGMA table_info(kept)")]
