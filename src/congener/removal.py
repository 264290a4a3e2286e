"""Removal: all that is kept of a folder is deleted, and only that. Its images are not touched."""

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from congener.connection import CATALOGUE, LOG, SHARED_MEMORY
from congener.disk import LOCK, explained, locked, sync_folder
from congener.errors import DamagedGalleryError, GalleryError
from congener.owned import PAGE, holds_other_tables, is_another_catalogue, is_file, others_in
from congener.store import Store

_JOURNAL = f"{LOCK}-journal"
_LAST = (SHARED_MEMORY, LOG, CATALOGUE, LOCK)
"""The catalogue knows the others, and the lock keeps others out: so what is interrupted can be done again."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What a gallery is on disk."""

    gallery: str
    files: tuple[str, ...]
    """That it wrote, and that are deleted."""
    bytes: int
    images: int
    """That it holds; 0 where its catalogue can't be read."""
    left: tuple[str, ...]
    """Other things in its folder: they stay."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def holdings(store: str | os.PathLike[str]) -> Removal:
    """Return what `remove_gallery` would delete. Raises GalleryError when there is no gallery, or as that does."""
    place = Path(store)
    with explained(place):
        entries = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    if not entries:
        raise GalleryError(f"there is no gallery at {place}: nothing is kept")
    images, own = _own(place, entries)
    own = [name for name in own if name != _JOURNAL and is_file(place / name)]  # which come and go with who looks
    if holds_other_tables(place):
        own = [name for name in own if name not in PAGE]
    files = tuple(name for name in own if name not in _LAST) + tuple(name for name in _LAST if name in own)
    sizes = 0
    for name in files:
        with suppress(OSError):
            sizes += (place / name).stat().st_size
    left = tuple(name for name in entries if name not in {*own, _JOURNAL} and os.path.lexists(place / name))
    return Removal(str(place), files, sizes, images, left)


def _own(place: Path, entries: Sequence[str]) -> tuple[int, list[str]]:
    """Return the number of images, and the names of the gallery's files."""
    if Store.exists(place):
        try:
            with closing(Store.open(place, trusting=True)) as store:
                return len(store), [path.name for path in store.own_files()]
        except DamagedGalleryError:
            if is_another_catalogue(place):
                raise GalleryError(
                    f"{place / CATALOGUE} is another program's database, not a gallery: nothing is deleted"
                ) from None
    if others := others_in(place):
        raise GalleryError(
            f"the catalogue in {place} is missing or damaged, and other things lie there ({others[0]}): congener can't "
            "tell what is its own, so nothing is deleted"
        )
    return 0, list(entries)


def remove_gallery(store: str | os.PathLike[str]) -> Removal:
    """Delete all that a gallery wrote, and its folder where nothing else is in it; return what that was.

    Raises GalleryError when there is none, or its own files can't be told from others; GalleryBusyError while another
    process writes to it.
    """
    place = Path(store)
    holdings(place)  # which says that there is one, before a lock is made
    with explained(place), locked(place):
        removed = holdings(place)
        for name in removed.files:
            if name == CATALOGUE:
                sync_folder(place)  # what it alone knows is gone for good
            if name != LOCK or os.name == "posix":
                (place / name).unlink(missing_ok=True)
    with suppress(OSError):  # where other things are left
        for name in (LOCK, _JOURNAL) if not Store.exists(place) else ():  # else another process has made a new one
            (place / name).unlink(missing_ok=True)
        place.rmdir()
    return removed
