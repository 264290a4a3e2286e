"""Backup: a sound copy of a gallery, taken at any moment, while it is written too.

SQLite copies one committed state of the catalogue. What that points to is never written over, so it is copied
afterwards, as far as that state reaches; where a writer has just moved to other files, all of it begins anew.
"""

import errno
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from congener.connection import CATALOGUE
from congener.disk import damaged, explained, make_folder, sync, sync_folder
from congener.errors import GalleryError
from congener.examination import Examination
from congener.owned import NEW, is_file
from congener.store import Store

_TRIES = 20
_BLOCK = 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_FOR_SQLITE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was copied. It was held against its checksums afterwards."""

    gallery: str
    to: str
    images: int
    files: tuple[str, ...]
    bytes: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def back_up(store: str | os.PathLike[str], to: str | os.PathLike[str]) -> BackupReport:
    """Copy a gallery as it is now, others may write it meanwhile, into a folder that is new or empty.

    store: where it is kept. What is there afterwards is a gallery, whole and lasting, or nothing. Raises GalleryError
    when there is none, when it is damaged, or when the copy can't be written.
    """
    started, place, target = time.perf_counter(), Path(store), Path(to)
    _check_target(place, target)
    is_new = not target.exists()
    if not Store.exists(place):
        raise GalleryError(f"there is no gallery at {place}: congener index FOLDER makes one")
    try:
        with _explained(target):
            make_folder(target)
        _copy_settled(place, target)
        images = _verified(place, target)
    except BaseException:
        _clear(target, is_new)
        raise
    files = [path for path in sorted(target.iterdir()) if is_file(path)]
    total = sum(path.stat().st_size for path in files)
    names = tuple(path.name for path in files)
    return BackupReport(str(place), str(target), images, names, total, time.perf_counter() - started)


def _check_target(place: Path, target: Path) -> None:
    """Raise GalleryError where no backup may be written."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if target.is_dir() and is_file(target / NEW) and not is_file(target / CATALOGUE):
            raise GalleryError(f"{target} holds a backup that was broken off: delete it, or choose another place")
        raise GalleryError(f"{target} is there already: a backup goes into a folder that is new, or empty")
    if place.resolve() in target.resolve().parents:
        raise GalleryError(f"{target} lies in the gallery itself, and would be lost with it: choose another place")


def _copy_settled(place: Path, target: Path) -> None:
    """Copy all of one state; again where a writer has moved on before its files were copied."""
    for left in reversed(range(_TRIES)):
        with closing(Store.open(place, trusting=True)) as store:
            before = store.version()
            try:
                with store.one_state():
                    _copy_state(store, target)
                if store.is_current:
                    break
            except (GalleryError, FileNotFoundError):
                if not left or (store.version() == before and store.is_current):
                    raise
        _clear(target, is_new=False)
    else:
        raise GalleryError(f"the gallery {place} changes too fast to be copied: try again")
    with _explained(target):
        (target / NEW).replace(target / CATALOGUE)
        sync_folder(target)


def _copy_state(store: Store, target: Path) -> None:
    """Copy the catalogue and what it points to, under the name of one that isn't complete."""
    sizes = store.sizes()  # the first look at it: what follows is of the same state
    with closing(sqlite3.connect(target / NEW)) as copy, _explained(target):
        store.connection.backup(copy)
    with _explained(target), (target / NEW).open("rb+") as file:
        sync(file)
    for name, size in sizes.items():
        _copy_file(store.folder / name, target / name, size)
    facts = store.get("graph", None)
    if facts and facts["file"] in store.kept_names() and is_file(store.folder / facts["file"]):
        total = _copy_file(store.folder / facts["file"], target / facts["file"], None)
        if facts.get("sum", 0) not in {0, total}:  # another has taken its place: it can be built again
            (target / facts["file"]).unlink()


def _copy_file(source: Path, target: Path, size: int | None) -> int:
    """Copy a file's first bytes, all by default; return their CRC-32."""
    left, total = size, 0
    with explained(source.parent), source.open("rb") as file, _explained(target.parent), target.open("xb") as copy:
        while block := file.read(_BLOCK if left is None else min(left, _BLOCK)):
            copy.write(block)
            total = zlib.crc32(block, total)
            left = None if left is None else left - len(block)
        sync(copy)
    return total


def _verified(place: Path, target: Path) -> int:
    """Return the number of images of a copy that is as it was written."""
    with closing(Store.open(target)) as store:
        report = Examination(store, None, None, afresh=False).report()
    if report.findings:
        raise damaged(place, f"there is no backup of it: {report.findings[0].problem}")
    return report.images


def _clear(target: Path, is_new: bool) -> None:
    """Delete what was copied into a folder that was empty."""
    with suppress(OSError):
        for path in target.iterdir():
            if is_file(path):
                path.unlink()
        if is_new:
            target.rmdir()


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Turn what goes wrong with the copy into a GalleryError that says so."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        is_full = (
            getattr(error, "errno", 0) in _FULL or getattr(error, "sqlite_errorcode", 0) & 0xFF in _FULL_FOR_SQLITE
        )
        advice = "make room, or choose another place" if is_full else "choose another place"
        raise GalleryError(f"can't write the backup {target}: {reason}; {advice}") from error
