"""Owned: which files of a gallery's folder are the gallery's own. Nothing else there is deleted or written over.

A gallery may be kept among other things, and whatever their names are, they are somebody else's. Its own are those
with exactly the names that are written here, which its catalogue has noted before it wrote them.
"""

import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from congener.connection import CATALOGUE, LOG, SHARED_MEMORY
from congener.disk import LOCK, sync_folder
from congener.errors import GalleryError
from congener.schema import file_name_sum, is_own_name, sound_file_name

NEW = f"{CATALOGUE}.new"
"""The catalogue while it is first written."""

FIRST = frozenset({LOCK, f"{LOCK}-journal", *(NEW + end for end in ("", "-journal", "-wal", "-shm"))})
"""What the making of a gallery may leave when it is interrupted."""

_PAGE = "web.sqlite"
PAGE = frozenset(_PAGE + end for end in ("", "-journal", "-wal", "-shm"))
"""What the page keeps."""

_MAGIC = b"SQLite format 3\0"


def is_file(path: Path) -> bool:
    """Tell whether a name is that of a regular file; a link to one is none."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def is_free(path: Path) -> bool:
    """Tell whether nothing has a name. Raises OSError where that can't be told."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def holds_other_tables(folder: Path) -> bool:
    """Tell whether a file of the page's name is something else than what the page keeps."""
    path = folder / _PAGE
    if not is_file(path):
        return False
    try:
        return not _tables(path) <= {"kept", "sqlite_sequence"}
    except sqlite3.Error:  # a damaged one begins like any
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) != _MAGIC


def is_another_catalogue(folder: Path) -> bool:
    """Tell whether a database of the catalogue's name is another program's, not a damaged catalogue."""
    try:
        tables = _tables(folder / CATALOGUE)
    except sqlite3.Error:
        return False
    return bool(tables) and not {"meta", "images"} & tables


def _tables(path: Path) -> set[str]:
    """Return the names of a database's tables, as its file says without its log. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def in_the_way(path: Path) -> GalleryError:
    """Return the error for what lies where a gallery would write."""
    return GalleryError(
        f"{path} is not this gallery's own, and lies where it would write: move it away, or keep the gallery elsewhere "
        "with --gallery PATH"
    )


def check_place(folder: Path) -> None:
    """Raise GalleryError where no new gallery may be made: among other things."""
    try:
        others = sorted(path.name for path in folder.iterdir() if not _is_first(path))
        others += [_PAGE] if holds_other_tables(folder) else []
    except (FileNotFoundError, NotADirectoryError):
        return  # whoever makes it says what is wrong
    if others and not (folder / CATALOGUE).exists():  # else another process has just made one
        raise GalleryError(
            f"{folder} holds other things ({others[0]}) and no gallery: give it a folder of its own, such as "
            f"--gallery {folder / 'congener'}"
        )


def others_in(folder: Path) -> list[str]:
    """Return the names of what lies in a folder and can't be a gallery's own, whose catalogue can't be asked."""
    own = FIRST | PAGE | {CATALOGUE, LOG, SHARED_MEMORY}
    return sorted(
        path.name for path in folder.iterdir() if not ((path.name in own or is_own_name(path.name)) and is_file(path))
    )


def _is_first(path: Path) -> bool:
    """Tell whether it may be what the making of a gallery leaves, or what another process makes and removes."""
    return path.name in FIRST | PAGE and (is_file(path) or is_free(path))


class Owned:
    """The files that a gallery wrote."""

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        self._folder, self._db = folder, db

    def names(self) -> set[str]:
        """Return the names that are noted; some may not be there any more, or yet."""
        rows = self._db.execute("SELECT name, sum FROM files").fetchall()
        return {name for row in rows if (name := sound_file_name(*row))}

    def claim(self, names: Iterable[str]) -> None:
        """Note files before they are written: from then on they may be written over, and deleted.

        Raises GalleryError where something that isn't ours has such a name.
        """
        names, known = set(names), self.names()
        for name in names:
            path = self._folder / name
            if not is_free(path) and not (name in known and is_file(path)):
                raise in_the_way(path)
        self.note(names - known)

    def note(self, names: Iterable[str]) -> None:
        """Note files that are ours."""
        rows = [(name, file_name_sum(name)) for name in sorted(names) if is_own_name(name)]
        if rows:
            with _together(self._db):
                self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", rows)

    def are_free(self, names: Iterable[str]) -> bool:
        """Tell whether nothing lies under these names that isn't ours."""
        known = self.names()
        return all(name in known or is_free(self._folder / name) for name in names)

    def delete(self, names: Iterable[str]) -> None:
        """Delete those of these files that are ours, and forget all."""
        gone = set(names) & self.names()
        for name in list(gone):
            path = self._folder / name
            if is_file(path):
                try:
                    path.unlink()
                except OSError:  # a reader's map may hold it on some systems: later
                    gone.discard(name)
        if gone:
            sync_folder(self._folder)  # else a file may come back that nobody knows
            with _together(self._db):
                self._db.executemany("DELETE FROM files WHERE name = ?", [(name,) for name in sorted(gone)])


@contextmanager
def _together(db: sqlite3.Connection) -> Iterator[None]:
    """Do all of it in one transaction; in the one that there is already."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
