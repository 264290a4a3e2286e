"""The work that is recorded: `python -m tests.faults.workload STORE PICTURES [STEP]`.

PICTURES holds a folder for each step of `STEPS`; all are done, or with STEP the gallery is completed from its folder.
After each commit the catalogue's contents are marked in the recording.
"""

import ctypes
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from congener import Gallery
from congener import store as store_module
from congener import update as update_module
from congener.catalogue import Catalogue
from tests.conftest import MeanColour

APPROXIMATE = "approximate" if find_spec("usearch") else "auto"
"""The index that is built, where it can be."""

Work = Callable[[Gallery], object]

STEPS: dict[str, Work] = {
    "first": lambda gallery: gallery.update(exclude=["*.gif"]),  # a commit before the first feature
    "changed": lambda gallery: gallery.update(),
    "adapted": lambda gallery: gallery.adapt(force=True),
    "approximate": lambda gallery: gallery.update(index=APPROXIMATE),
    "grown": lambda gallery: gallery.update(),
    "refitted": lambda gallery: gallery.update(refit=True),
    "shrunk": lambda gallery: gallery.update(prune=True),
    "forgotten": lambda gallery: gallery.forget(),
}
"""What is done, each with the folder of its name."""


def contents(db: sqlite3.Connection) -> dict[str, Any]:
    """Return all that a catalogue holds, as plain values."""
    rows = db.execute("SELECT path, hex(content), slot FROM images ORDER BY id").fetchall()
    fitted = hashlib.sha256()
    for name, value in db.execute("SELECT name, value FROM fitted ORDER BY name"):
        fitted.update(f"{name}\0{len(value)}\0".encode() + value)
    return {
        "images": {os.fsdecode(path): [content, slot] for path, content, slot in rows},
        "meta": dict(db.execute("SELECT key, value FROM meta").fetchall()),
        "fitted": fitted.hexdigest(),
    }


def tell_commits(tell: Callable[[str], object]) -> None:
    """Call `tell` with the catalogue's contents after each commit."""

    def told(store: Catalogue) -> None:
        if not store.connection.in_transaction:
            tell(json.dumps(contents(store.connection)))

    transaction, set_fact, create = Catalogue.transaction, Catalogue.set, Catalogue.create.__func__  # type: ignore[attr-defined]

    @contextmanager
    def telling(self: Catalogue) -> Iterator[Any]:
        with transaction(self) as changes:
            yield changes
        told(self)

    def telling_fact(self: Catalogue, key: str, value: Any) -> None:
        set_fact(self, key, value)
        told(self)

    def telling_create(cls: type[Catalogue], folder: Path, encoder: dict[str, Any]) -> Catalogue:
        store: Catalogue = create(cls, folder, encoder)
        told(store)
        return store

    Catalogue.transaction = telling  # type: ignore[method-assign]
    Catalogue.set = telling_fact  # type: ignore[method-assign]
    Catalogue.create = classmethod(telling_create)  # type: ignore[assignment]


def work(store: Path, pictures: Path, steps: Mapping[str, Work], tell: Callable[[str], object]) -> None:
    """Do the steps, in commits as small as can be; tell of each, too."""
    update_module.COMMIT_SECONDS = 0
    store_module._COMPACT_BYTES = 1
    tell_commits(tell)
    for name, step in steps.items():
        tell(name)
        with Gallery(pictures / name, store=store, encoder=MeanColour(), moved=True) as gallery:
            step(gallery)


def complete(gallery: Gallery) -> None:
    """Do what follows a crash."""
    gallery.update(prune=True)


if __name__ == "__main__":
    mark = ctypes.CDLL(None).record_mark
    chosen = dict.fromkeys(sys.argv[3:], complete) or STEPS
    work(Path(sys.argv[1]), Path(sys.argv[2]), chosen, lambda text: mark(text.encode()))
