"""The approximate index of a gallery: whether it is wanted, made at the end of an update, and how far right it is.

The graph over the embeddings is a cache beside them. Rows that it doesn't hold yet are searched one by one, and rows
whose images are gone are passed over, so an older graph is as right as a new one; holes are taken out when the store
is compacted, which gives its matrices a new number and so a new graph.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from congener.disk import explained, file_sum, is_there
from congener.errors import GalleryError, command, unknown_name
from congener.indexes import INDEXES, ExactIndex, Index
from congener.store import Embedded, Store

AUTO = "auto"
EXACT_UP_TO = 1_000_000
"""Images up to which "auto" looks at all of them: some 25 ms a query on two cores."""

RECALL = 0.99
_LATER = 0.01  # rows that the graph doesn't hold yet, as a share of those it holds, from which they are added
_QUERIES = 500
_K = 10

Progress = Callable[[int, int], None]
"""Called with the numbers of rows in the graph, and to be."""


@dataclass(frozen=True)
class IndexFacts:
    """How a gallery is searched."""

    name: str
    """exact or approximate."""
    choice: str
    """auto, or the name that was chosen."""
    rows: int
    """In the graph; 0 where the index is exact."""
    effort: int
    """Nodes that a walk along the graph keeps."""
    recall: float
    """The share of the exact 10 nearest that is found: measured on images of the gallery, themselves left out."""
    queries: int
    """Images that it was measured on."""
    target: float
    """The recall that was asked for."""
    seconds: float
    """That building the graph took."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def choose(store: Store, name: str | None, recall: float | None) -> None:
    """Keep how the gallery is to be searched; None: as before. Raises GalleryError for an unknown name."""
    if name is not None:
        check(name, auto=True)
        if name == "approximate" and not _is_installed():
            raise GalleryError("the approximate index needs usearch: pip install 'congener[fast]'")
    if recall is not None and not 0 < recall <= 1:
        raise GalleryError(f"recall must be above 0 and at most 1, not {recall:g}")
    before = _choice(store)
    chosen = {"name": name or before["name"], "recall": recall or before["recall"]}
    if chosen != before:
        store.set("index", chosen)


def check(name: str, *, auto: bool = False) -> None:
    """Raise GalleryError unless an index has this name."""
    valid = [*([AUTO] if auto else []), *INDEXES]
    if name not in valid:
        raise GalleryError(unknown_name("index", name, valid))


def refresh(store: Store, space: str, embedded: Embedded, progress: Progress | None = None) -> None:
    """Make or extend the graph over a space where it is due; inside the store's `writing`."""
    if embedded.packed is None or not len(embedded.ids):  # of a generation older than this; the next one has them
        return
    from congener.indexes.approximate import ApproximateIndex, build_graph, extend_graph, is_sound, measure, part_of

    path, facts, rows = store.graph_path(space), _facts(store, space), len(embedded.matrix)
    if facts and not is_sound(path, embedded.matrix.shape[1]):
        facts = None
    if facts and rows - facts["rows"] <= _LATER * facts["rows"]:
        return
    started = time.perf_counter()
    make = extend_graph if facts else build_graph
    store.claim(path, part_of(path))
    with explained(store.folder):
        make(embedded.packed, path, progress=progress)
    seconds = (facts["seconds"] if facts else 0) + time.perf_counter() - started
    index = ApproximateIndex.over(embedded.keys, embedded.matrix, embedded.packed, path)
    chosen = embedded.rows[:: max(1, len(embedded.rows) // _QUERIES)]
    queries = np.asarray(embedded.matrix[chosen], np.float32)
    # each finds itself, which proves nothing: of k + 1, one is taken off
    measured = [(effort, ((_K + 1) * found - 1) / _K) for effort, found in measure(index, queries, _K + 1)]
    facts = {
        "file": path.name,
        "rows": rows,
        "measured": measured,
        "queries": len(chosen),
        "seconds": round(seconds, 1),
    }
    store.set("graph", facts | {"sum": file_sum(path)})  # of all of it, for `congener check`


def open_index(
    store: Store, space: str, embedded: Embedded, name: str | None = None, recall: float | None = None
) -> Index:
    """Return the index of a gallery's embeddings.

    name: exact or approximate; by default as was chosen, exact while there is no graph. recall: to aim at, by default
    as was chosen. Raises GalleryError where approximate is named and there is no graph.
    """
    facts = _facts(store, space)
    if name == "approximate" and not facts:
        folder = store.folder.parent if store.folder.name == ".congener" else "FOLDER"
        raise GalleryError(f"there is no approximate index yet: {command('index', folder, '--index', 'approximate')}")
    if facts and (name == "approximate" or (name is None and is_wanted(store, len(embedded.ids)))):
        from congener.indexes.approximate import ApproximateIndex, GraphError, effort_for

        effort = effort_for(facts["measured"], recall or _choice(store)["recall"])
        with suppress(GraphError):  # a cache: the next update makes it again
            return ApproximateIndex.over(
                embedded.keys, embedded.matrix, embedded.packed, store.graph_path(space), effort
            )
    return ExactIndex.over(embedded.keys, embedded.matrix, embedded.packed)


def describe(store: Store, space: str) -> IndexFacts:
    """Return how a gallery is searched in a space."""
    choice, facts = _choice(store), _facts(store, space)
    if not facts or not is_wanted(store, len(store)):
        return IndexFacts("exact", choice["name"], 0, 0, 1.0, 0, choice["recall"], 0)
    from congener.indexes.approximate import effort_for

    effort = effort_for(facts["measured"], choice["recall"])
    found = dict(map(tuple, facts["measured"]))[effort]
    return IndexFacts(
        "approximate",
        choice["name"],
        facts["rows"],
        effort,
        found,
        facts["queries"],
        choice["recall"],
        facts["seconds"],
    )


def _choice(store: Store) -> dict[str, Any]:
    choice: dict[str, Any] = store.get("index", {"name": AUTO, "recall": RECALL})
    return choice


def _facts(store: Store, space: str) -> dict[str, Any] | None:
    """Return what is known of the graph over a space of the current generation, if its file is there."""
    facts: dict[str, Any] | None = store.get("graph", None)
    path = store.graph_path(space)
    return facts if facts and facts["file"] == path.name and is_there(path) else None


def is_wanted(store: Store, images: int) -> bool:
    """Tell whether so many images are to be searched by an approximate index."""
    name = _choice(store)["name"]
    return name == "approximate" or (name == AUTO and images > EXACT_UP_TO and _is_installed())


def _is_installed() -> bool:
    return find_spec("usearch") is not None
