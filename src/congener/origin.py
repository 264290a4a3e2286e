"""Origin: which folder a gallery was made from, wherever it is kept, so that it isn't taken for another's."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from congener.errors import GalleryError
from congener.store import Store

_FACT = "folder"


def check_origin(store: Store, folder: Path) -> None:
    """Raise GalleryError for a folder that isn't the one that a gallery was made from.

    It is where that one is the same by device and inode, whatever it is called, or lies where that one would if it
    had moved together with the gallery. A gallery that doesn't know is believed.
    """
    origin = store.get(_FACT, None)
    if origin is not None and not any(_is_same(place, folder) for place in _places(origin, store)):
        raise GalleryError(
            f"the gallery {store.folder} was made from {origin['path']}, not from {folder}: if that has moved here, "
            "say --moved; else keep another gallery with --gallery PATH"
        )


def note_origin(store: Store, folder: Path) -> None:
    """Keep which folder a gallery is made from, unless it is where it was; inside the store's `writing`."""
    origin = store.get(_FACT, None)
    if origin is None or not _is_same(Path(origin["path"]), folder):
        path, place = os.path.realpath(folder), os.path.realpath(store.folder)
        relative = None
        with suppress(ValueError):  # on another drive
            relative = os.path.relpath(path, place)
        store.set(_FACT, {"path": path, "relative": relative})


def _places(origin: dict[str, Any], store: Store) -> list[Path]:
    """Return where the folder was, and where it would be if it had moved together with its gallery."""
    relative = origin["relative"]
    together = [] if relative is None else [Path(os.path.realpath(store.folder), relative)]
    return [Path(origin["path"]), *together]


def _is_same(place: Path, folder: Path) -> bool:
    if os.path.realpath(place) == os.path.realpath(folder):
        return True
    with suppress(OSError):  # one of them isn't there
        return place.samefile(folder)
    return False
