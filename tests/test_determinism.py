"""The same folder gives the same embeddings and the same answers, however it was indexed."""

import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from congener import Gallery
from congener.encoders import Encoder, load_encoder
from congener.results import Results

from .conftest import MeanColour, write
from .faults.trial import ReadHere

TOLERANCE = 1e-3
"""Of an embedding's numbers and of scores: two steps of float16 at 1. Hits that are closer may swap.

0 where nothing is added up in another order: hits of equal scores still come in order of their ids.
"""

Embeddings = dict[str, NDArray[np.float32]]


def paint(folder: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        rng = random.Random(number)
        colour = rng.randrange(256), rng.randrange(256), rng.randrange(256)
        write(folder / f"kind-{number % 3}" / f"{number:03}.png", colour)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures, one of them a copy."""
    paint(tmp_path / "pictures", range(39))
    shutil.copy(tmp_path / "pictures/kind-0/000.png", tmp_path / "pictures/kind-0/copy.png")
    return tmp_path / "pictures"


def embeddings(gallery: Gallery) -> Embeddings:
    ids, array = gallery.embeddings()
    paths = {row.id: row.path for row in gallery.rows()}
    return {paths[id]: embedding for id, embedding in zip(ids.tolist(), array, strict=True)}


def assert_same(gallery: Gallery, other: Gallery, tolerance: float = 0) -> None:
    """Compare all embeddings, and the whole answers to several images of the folder."""
    a, b = embeddings(gallery), embeddings(other)
    assert a.keys() == b.keys()
    apart = max(float(np.abs(a[path] - b[path]).max()) for path in a)
    assert apart <= tolerance
    for path in sorted(a)[::7]:
        answer, there = (each.search(each.folder / path, len(a)) for each in (gallery, other))
        assert_same_answer(answer, there, tolerance)


def assert_same_answer(answer: Results, other: Results, tolerance: float) -> None:
    """Compare scores and order; what is as like as that may swap."""
    scores = {hit.path: hit.score for hit in answer}
    assert scores.keys() == {hit.path for hit in other}
    for hit, there in zip(answer, other, strict=True):
        assert abs(there.score - scores[there.path]) <= tolerance
        assert hit.path == there.path or abs(hit.score - scores[there.path]) <= tolerance


def index(folder: Path, store: Path, encoder: Encoder, workers: int = 2, batch: int = 4) -> Gallery:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("congener.update.cores", lambda: workers)
        patch.setattr(type(encoder), "batch", batch)
        gallery = Gallery(folder, store=store, encoder=encoder, moved=True)
        gallery.update()
    return gallery


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (1, 64), (2, 3), (5, 2)])
def test_workers_and_batches_don_t_matter(folder: Path, tmp_path: Path, workers: int, batch: int) -> None:
    with (
        index(folder, tmp_path / "a", MeanColour()) as gallery,
        index(folder, tmp_path / "b", MeanColour(), workers, batch) as other,
    ):
        assert list(gallery.rows()) == list(other.rows())
        assert_same(gallery, other)


@pytest.mark.parametrize("seed", range(6))
def test_an_interruption_doesn_t_matter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("congener.update.COMMIT_SECONDS", 0)
    monkeypatch.setattr("congener.update.Workers", ReadHere)
    rng = random.Random(seed)

    def stop(done: int, total: int) -> None:
        if rng.random() < 0.1:
            raise KeyboardInterrupt

    stops = 0
    while stops < 3:
        with Gallery(folder, store=tmp_path / "b", encoder=MeanColour()) as other:
            try:
                other.update(progress=stop)
            except KeyboardInterrupt:
                stops += 1
            else:
                break
    assert stops
    monkeypatch.undo()
    with (
        index(folder, tmp_path / "a", MeanColour()) as gallery,
        index(folder, tmp_path / "b", MeanColour()) as other,
    ):
        assert list(gallery.rows()) == list(other.rows())
        assert_same(gallery, other)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_there_before_doesn_t_matter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The same files come in another order, after others that are changed, renamed and removed."""
    monkeypatch.setattr("congener.update.Workers", ReadHere)
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 1)
    monkeypatch.setattr("congener.fit.FIT_SAMPLE", 10)
    rng = random.Random(seed)
    later = tmp_path / "later"
    paint(later, range(100, 130))
    for path in later.rglob("*.png"):
        path.rename(path.with_name(f"old-{path.name}"))
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    rng.shuffle(paths)
    with Gallery(later, store=tmp_path / "b", encoder=MeanColour()) as other:
        for number, path in enumerate(paths):
            if number % 10 == 0:
                other.update(prune=rng.random() < 0.5)
                for old in rng.sample(sorted(later.rglob("old-*")), 7):
                    old.unlink() if rng.random() < 0.5 else old.replace(old.with_name(f"old-{rng.random()}.png"))
            shutil.copy(folder / path, later / path)
            os.utime(later / path, (number, number))
        for old in later.rglob("old-*"):
            old.unlink()
        other.update(prune=True)
        with index(folder, tmp_path / "a", MeanColour()) as gallery:
            assert_same(gallery, other)


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_the_real_network_gives_the_same(cabinet: Path, tmp_path: Path, precision: str) -> None:
    """With other workers and batches, and with another history; float32's sums may be added up in another order."""
    encoder = load_encoder("lite0", precision)
    part = tmp_path / "part"
    with index(cabinet, tmp_path / "a", encoder, workers=1, batch=1) as gallery:
        with index(cabinet, tmp_path / "b", encoder, workers=5, batch=7) as other:
            assert_same(gallery, other, TOLERANCE)
        for path in sorted(cabinet.rglob("*.jpg"))[::-3]:
            (part / path.relative_to(cabinet)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, part / path.relative_to(cabinet))
        index(part, tmp_path / "c", encoder).close()
        with index(cabinet, tmp_path / "c", encoder) as other:
            assert_same(gallery, other, TOLERANCE)
