"""Cache: bytes by name on disk, bounded: what came first goes first. It can be lost at any time and made again."""

import json
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    facts TEXT NOT NULL,
    content BLOB NOT NULL
)"""

_COLUMNS = ["number", "name", "facts", "content"]


class Cache:
    """Safe to use from several threads."""

    def __init__(self, path: Path | None, most: int) -> None:
        """path: of its file, None to keep it in memory; most: bytes of content that it may hold."""
        self._most = most
        self._lock = threading.Lock()
        self._db = _open(path)
        self._held = self._count()

    def get(self, name: str) -> tuple[dict[str, Any], bytes] | None:
        """Return the facts and the bytes kept under a name, or None."""
        with self._lock, suppress(sqlite3.Error):
            row = self._db.execute("SELECT facts, content FROM kept WHERE name = ?", (name,)).fetchone()
            return None if row is None else (json.loads(row[0]), row[1])
        return None

    def facts(self, name: str) -> dict[str, Any] | None:
        """Return the facts kept under a name, or None."""
        with self._lock, suppress(sqlite3.Error):
            row = self._db.execute("SELECT facts FROM kept WHERE name = ?", (name,)).fetchone()
            return None if row is None else json.loads(row[0])
        return None

    def put(self, name: str, facts: dict[str, Any], content: bytes) -> None:
        """Keep bytes under a name, as the newest; nothing is kept on a full disk, or of what is too large."""
        if len(content) > self._most:
            return
        with self._lock, suppress(sqlite3.Error):
            self._drop("name = ?", name)
            self._db.execute(
                "INSERT INTO kept (name, facts, content) VALUES (?, ?, ?)", (name, json.dumps(facts), content)
            )
            self._held += len(content)
            while self._held > self._most and self._drop("number = (SELECT min(number) FROM kept)"):
                pass
            if self._held > self._most:  # another process has dropped what this one counts
                self._held = self._count()

    def _count(self) -> int:
        (held,) = self._db.execute("SELECT coalesce(sum(length(content)), 0) FROM kept").fetchone()
        return int(held)

    def _drop(self, which: str, *values: str) -> int:
        """Drop some; return how many."""
        rows = self._db.execute(f"DELETE FROM kept WHERE {which} RETURNING length(content)", values).fetchall()
        self._held -= sum(length for (length,) in rows)
        return len(rows)

    def close(self) -> None:
        """Close its file."""
        with self._lock:
            self._db.close()


def _open(path: Path | None) -> sqlite3.Connection:
    """Open the file; a damaged one is made anew, and where none can be written there is one in memory."""
    if path is not None:
        for _ in range(2):
            try:
                return _connect(str(path))
            except sqlite3.OperationalError:
                break
            except sqlite3.DatabaseError:
                for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
                    each.unlink(missing_ok=True)
    return _connect(":memory:")


def _connect(place: str) -> sqlite3.Connection:
    db = sqlite3.connect(place, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")  # a cache may be lost
        db.execute(_SCHEMA)
        if [column for _, column, *_ in db.execute("PRAGMA table_info(kept)")] != _COLUMNS:
            raise sqlite3.DatabaseError("tables of something else")
    except BaseException:
        db.close()
        raise
    return db
