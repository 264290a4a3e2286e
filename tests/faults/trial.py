"""One trial: a gallery's files as a crash left them are opened, searched, checked, and brought up to date."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener import Gallery
from congener.check import check
from congener.store import Store
from congener.workers import Workers
from tests.conftest import MeanColour, plain, write
from tests.faults.workload import contents

Colour = tuple[int, int, int]
Contents = dict[str, Any]
QUERIES: tuple[Colour, ...] = ((240, 30, 60), (20, 200, 90))
TOLERANCE = 2e-3
"""Of a score: embeddings are kept as float16."""


class ReadHere(Workers):
    """Reads files in this process: no other is started."""

    def start(self, count: int = 1) -> None:
        pass

    def call(self, function: Callable[..., Any], *args: Any, answer: Callable[[Any], Any] | None = None) -> Any:
        return function(*args, ask=answer, lay=lambda pixels: pixels) if answer else function(*args)


def paint(pictures: dict[str, Colour], folder: Path) -> None:
    """Write pictures of one colour; the same ones always with the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, colour in pictures.items():
        red, green, blue = colour
        os.utime(write(folder / path, colour), (1, 1 + 65536 * red + 256 * green + blue))  # no two colours at one time


@dataclass(frozen=True)
class Fresh:
    """What a gallery that is made anew of a folder holds."""

    content: dict[str, str]
    embedding: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, pictures: Path, store: Path) -> "Fresh":
        with Gallery(pictures, store=store, encoder=MeanColour()) as gallery:
            gallery.update()
            return cls.found_in(gallery)

    @classmethod
    def found_in(cls, gallery: Gallery) -> "Fresh":
        ids, embeddings = gallery.embeddings(gallery.lens(adapted=False))
        rows = {row.id: row for row in gallery.rows()}
        paths = [rows[id].path for id in ids.tolist()]
        content = {row.path: row.content.hex().upper() for row in rows.values()}
        return cls(content, dict(zip(paths, embeddings, strict=True)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Fresh)
            and self.content == other.content
            and all(np.array_equal(self.embedding[path], other.embedding[path]) for path in self.embedding)
        )

    __hash__ = None  # type: ignore[assignment]


def check_state(
    store: Path, pictures: Path, allowed: Sequence[Contents | None], colours: dict[str, Colour], fresh: Fresh
) -> None:
    """Look at a gallery that a crash has left, and have it completed.

    allowed: what its catalogue may hold, None: nothing is there yet. colours: by content.
    """
    if Store.exists(store):
        with Gallery(pictures, store=store, encoder=MeanColour(), moved=True) as gallery:
            held = contents(gallery._open_store().connection)
            assert held in allowed, _difference(held, allowed[0])
            for query in QUERIES:
                check_answer(gallery, query, {path: colours[of] for path, (of, _) in held["images"].items()})
        check_sound(store)
    else:
        assert None in allowed, "the gallery is gone"
    with Gallery(pictures, store=store, encoder=MeanColour(), moved=True) as gallery:
        gallery.update(prune=True)
        assert Fresh.found_in(gallery) == fresh
        for query in QUERIES:
            check_answer(gallery, query, {path: colours[of] for path, of in fresh.content.items()})
    check_sound(store, unused=())


def check_sound(store: Path, unused: tuple[str, ...] | None = None) -> None:
    report = check(store, encoder=MeanColour())
    assert not report.findings, "; ".join(map(str, report.findings))
    if unused is not None:
        assert report.unused == unused


def check_answer(gallery: Gallery, query: Colour, colours: dict[str, Colour], k: int = 5) -> None:
    """Ask, and compare with the scores of all images, from the colours that they are known to have."""
    results = gallery.search(plain(query), k)
    paths = list(colours)
    lens = gallery.lens()
    features = np.array([colours[path] for path in paths], np.float32).reshape(-1, 3) / 255
    if lens.fit is None:
        embeddings = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    else:
        embeddings = lens.fit.embed(lens.space, features.astype(np.float16), None)
    scores = embeddings @ gallery.embed(plain(query))[0] if paths else np.empty(0)
    assert len(results) == min(k, len(paths))
    by_path = dict(zip(paths, scores.tolist(), strict=True))
    best = sorted(by_path.values(), reverse=True)
    for hit, score in zip(results, best, strict=False):
        assert abs(hit.score - by_path[hit.path]) <= TOLERANCE, hit
        assert abs(hit.score - score) <= TOLERANCE, hit


def _difference(held: Contents, expected: Contents | None) -> str:
    if expected is None:
        return "a gallery where there was none"
    parts = []
    for key, value in held.items():
        if value != expected[key]:
            parts.append(f"{key}: {json.dumps(value)} instead of {json.dumps(expected[key])}")
    return "; ".join(parts) or "nothing"
