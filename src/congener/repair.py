"""Repair: what is derived is made again; an image whose own data are damaged is dropped, to be read again.

Nothing is ever changed where a reader may have it mapped: what is made again gets a new number.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from congener.disk import explained
from congener.encoders import Encoder
from congener.errors import GalleryError
from congener.examination import Finding, encoder_of
from congener.fit import Fit
from congener.owned import is_file
from congener.schema import (
    COLUMNS,
    FACTS,
    is_own_name,
    put_fact,
    replace_table,
    rewrite_images,
    sound_fact,
    sound_file_name,
    sound_row,
    sound_unread,
)
from congener.store import Store


def mend(place: Path, encoder: Encoder | None, findings: Sequence[Finding]) -> None:
    """Mend what can be; inside the writers' lock. What can't be mended stays as it is: check again afterwards."""
    wrong = {finding.what for finding in findings}
    try:
        store = Store.open(place, trusting=True)
    except GalleryError:  # nothing can be made of it
        return
    try:
        with explained(place), suppress(sqlite3.DatabaseError):
            if "fact" in wrong:
                _mend_facts(store)
            if wrong & {"catalogue", "unread", "file"}:
                _mend_lists(store)
            if wrong & {"catalogue", "image", "unread", "file"}:
                _mend_catalogue(store)
            if wrong & {"feature", "picture"}:
                _drop(store, {finding.where for finding in findings if finding.what in {"feature", "picture"}})
            store.cut_torn_row()
            if "fitted" in wrong:
                _forget_fit(store)
            if wrong & {"embeddings", "feature"}:
                _embed_again(store, encoder)
            if "graph" in wrong:
                _delete_graph(store)
            store.sweep()
    except GalleryError:  # the check that follows says what is left
        pass
    finally:
        store.close()


def _mend_catalogue(store: Store) -> None:
    """Write images and indexes, and where that isn't enough all pages, anew, without what isn't as it was written."""

    def kept(values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        row = sound_row(values)
        return None if row is None or row.slot < 0 else values

    with store.transaction() as changes:
        changes.count += rewrite_images(store.connection, f"{COLUMNS}, sum", kept)
    if store.connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        store.connection.execute("VACUUM")


def _mend_lists(store: Store) -> None:
    """Write anew the lists of what can't be read and of the gallery's own files, with the rows that are as written."""

    def is_sound(name: str, values: tuple[Any, ...]) -> bool:
        return (sound_unread(values) if name == "unread" else sound_file_name(*values)) is not None

    with explained(store.folder):
        for name in ("unread", "files"):
            rows: list[tuple[Any, ...]] = []
            with suppress(sqlite3.DatabaseError):  # what can be read of it
                rows += (row for row in store.connection.execute(f"SELECT * FROM {name}") if is_sound(name, row))
            replace_table(store.connection, name, rows)


def _mend_facts(store: Store) -> None:
    """Put what a new gallery has in the place of facts that are lost, but for what can't be guessed."""
    db = store.connection
    sound = set()
    with explained(store.folder):
        db.execute("BEGIN IMMEDIATE")
        for key, value, total in db.execute("SELECT key, value, sum FROM meta").fetchall():
            try:
                sound_fact(key, value, total)
                sound.add(key)
            except ValueError:
                db.execute("DELETE FROM meta WHERE key = ?", (key,))
        lost = FACTS.keys() - sound
        if "generation" in sound:
            try:
                store.generation()
            except GalleryError:
                lost |= {"generation"}
        matrices = [path for path in store.folder.glob("features-*.f16") if is_own_name(path.name) and is_file(path)]
        known = store.owned.names()
        matrices = [path for path in matrices if path.name in known] or matrices
        guessed = FACTS | {"changed": max(len(store), 1)}
        if len(matrices) == 1:
            with suppress(ValueError):
                guessed["matrix"] = int(matrices[0].stem.split("-")[1])
        certain = len(matrices) == 1 or not len(store)
        for key in lost - {"encoder", "format"} - (set() if certain else {"matrix"}):
            put_fact(db, key, guessed[key])
        if "generation" in lost:
            put_fact(db, "changed", guessed["changed"])
            db.execute("DELETE FROM fitted")
        db.execute("COMMIT")


def _drop(store: Store, paths: set[str]) -> None:
    """Drop images, so that the next update reads their files again.

    Where features are lost, new ones will stand in their slots: no embedding of before may stay.
    """
    rows = [store.find(path=path) for path in paths]
    with store.transaction() as changes:
        changes.delete(row.id for row in rows if row is not None)


def _forget_fit(store: Store) -> None:
    with store.transaction():
        store.connection.execute("DELETE FROM fitted")
        store.set("generation", None)
        store.set("changed", max(len(store), 1))


def _embed_again(store: Store, encoder: Encoder | None) -> None:
    if store.generation() is not None:
        fit = Fit.restored(store.fitted())
        store.forget_embeddings()
        store.extend_generation(fit.embed_all(encoder_of(store, encoder)))


def _delete_graph(store: Store) -> None:
    """Delete it, not write it anew: a reader that has it mapped keeps it."""
    facts = store.get("graph", None)
    store.set("graph", None)
    if facts:
        store.owned.delete([str(facts["file"])])
