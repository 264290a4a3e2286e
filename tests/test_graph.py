"""The approximate index of a gallery, from its choice to its answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from congener import Gallery, graph
from congener.encoders import Features, Identity
from congener.errors import GalleryError
from congener.indexes import ApproximateIndex, ExactIndex, Index

from .conftest import MeanColour


class Pixels(MeanColour):
    """Its feature is the picture itself, 4 × 4 pixels."""

    identity = Identity("pixels", "1" * 64, "none", "float32", 48)
    input_side = resized_side = 4

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        flat = pixels.reshape(len(pixels), -1)
        return Features((flat / 255).astype(np.float32))


def write_noise(folder: Path, names: range) -> None:
    for number in names:
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        place = folder / f"kind-{number % 7}" / f"{number:04d}.png"
        place.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(pixels).save(place)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    write_noise(tmp_path / "photos", range(900))
    with Gallery(tmp_path / "photos", encoder=Pixels()) as gallery:
        yield gallery


def index_of(gallery: Gallery, name: str | None = None) -> Index:
    lens = gallery.lens()
    return gallery.index(gallery.vectors(lens), lens, name)


def graphs(gallery: Gallery) -> list[Path]:
    return sorted(gallery.store_folder.glob("graph-*"))


def test_it_is_exact_unless_it_is_chosen_or_large(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.update()
    assert isinstance(index_of(gallery), ExactIndex)
    facts = gallery.info().index
    assert (facts["name"], facts["rows"], facts["recall"]) == ("exact", 0, 1)
    monkeypatch.setattr(graph, "EXACT_UP_TO", 500)
    gallery.update(build_index=False)
    assert isinstance(index_of(gallery), ExactIndex)  # none is there yet
    gallery.update()
    assert isinstance(index_of(gallery), ApproximateIndex)
    assert isinstance(index_of(gallery, "exact"), ExactIndex)
    gallery.update(index="exact")
    assert isinstance(index_of(gallery), ExactIndex)


def test_its_recall_is_measured_and_told(gallery: Gallery) -> None:
    gallery.update(index="approximate", recall=0.9)
    facts = gallery.info().index
    assert (facts["name"], facts["choice"], facts["rows"], facts["target"]) == ("approximate", "approximate", 900, 0.9)
    assert 0.9 <= facts["recall"] <= 1
    assert facts["queries"] >= 450
    with Gallery(gallery.folder, encoder=Pixels()) as again:  # the choice is remembered
        again.update(recall=1.0)
        assert again.info().index["effort"] >= facts["effort"]


def test_what_comes_later_and_what_is_gone_is_answered_rightly(gallery: Gallery) -> None:
    gallery.update(index="approximate")
    before = graphs(gallery)[0].stat().st_mtime_ns
    write_noise(gallery.folder, range(900, 905))
    (gallery.folder / "kind-0" / "0000.png").unlink()
    gallery.update()  # a small gallery is fitted anew whenever it changes, which makes another graph
    for number in (3, 903):
        query = gallery.folder / f"kind-{number % 7}" / f"{number:04d}.png"
        assert gallery.search(query, 1, include_self=True)[0].path.endswith(query.name)
        found, exact = (gallery.search(query, 5, index=name) for name in (None, "exact"))
        assert len(found) == 5
        assert {hit.path for hit in found} & {hit.path for hit in exact}
    assert len(graphs(gallery)) == 1
    assert graphs(gallery)[0].stat().st_mtime_ns > before
    assert "kind-0/0000.png" not in {hit.path for hit in gallery.search(query, 904)}


def test_few_new_rows_leave_the_graph_alone_and_many_extend_it(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("congener.fit.SMALL", 100)  # so that a tenth must change before it is fitted anew
    gallery.update(index="approximate")
    (path,) = graphs(gallery)
    first = path.stat().st_mtime_ns
    write_noise(gallery.folder, range(900, 905))
    gallery.update()
    assert graphs(gallery) == [path]
    assert path.stat().st_mtime_ns == first
    assert gallery.search(gallery.folder / "kind-1/0904.png", 1, include_self=True)[0].path == "kind-1/0904.png"
    write_noise(gallery.folder, range(905, 925))
    gallery.update()
    assert graphs(gallery) == [path]
    assert path.stat().st_mtime_ns > first
    assert gallery.info().index["rows"] == 925


def test_a_damaged_graph_is_passed_over_and_made_again(gallery: Gallery) -> None:
    gallery.update(index="approximate")
    (path,) = graphs(gallery)
    path.write_bytes(path.read_bytes()[:-100])
    assert isinstance(index_of(gallery), ExactIndex)
    gallery.update()
    assert isinstance(index_of(gallery), ApproximateIndex)
    path.unlink()
    assert isinstance(index_of(gallery), ExactIndex)
    with pytest.raises(GalleryError, match="--index approximate"):
        index_of(gallery, "approximate")
    gallery.update()
    assert isinstance(index_of(gallery), ApproximateIndex)


def test_labels_are_chosen_before_the_search_and_none_is_lost(gallery: Gallery) -> None:
    gallery.update(index="approximate")
    query = gallery.folder / "kind-2" / "0002.png"
    hits = gallery.search(query, 40, labels=["kind-3", "kind-5"])
    assert len(hits) == 40
    assert {hit.label for hit in hits} == {"kind-3", "kind-5"}
    assert len(gallery.search(query, 1000, labels=["kind-2"])) == 128  # 129 less the query


def test_wrong_choices_are_told(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GalleryError, match="choose one of: auto, exact, approximate"):
        gallery.update(index="magic")
    with pytest.raises(GalleryError, match="recall"):
        gallery.update(recall=1.5)
    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    with pytest.raises(GalleryError, match=r"pip install 'congener\[fast\]'"):
        gallery.update(index="approximate")


@pytest.mark.parametrize("name", ["a", "z"])
def test_what_is_known_of_another_graph_is_not_believed(gallery: Gallery, name: str) -> None:
    gallery.update(index="approximate")
    store = gallery._open_store()
    with store.writing():
        store.set("graph", store.get("graph") | {"file": name})
    assert gallery.info().index["name"] == "exact"
    gallery.update()
    assert gallery.info().index["name"] == "approximate"
