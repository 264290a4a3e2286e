from collections.abc import Iterator
from pathlib import Path

import pytest

from congener import CongenerError, Gallery

from .conftest import MeanColour, plain, write


@pytest.fixture
def gallery(tmp_path: Path, encoder: MeanColour) -> Iterator[Gallery]:
    """Twelve hues, two shades each; the label is the hue."""
    for hue in range(12):
        for shade, value in enumerate((255, 180)):
            colour = plain("red").convert("HSV").resize((1, 1))
            colour.putpixel((0, 0), (hue * 21, 255, value))
            rgb = colour.convert("RGB").getpixel((0, 0))
            assert isinstance(rgb, tuple)
            write(tmp_path / f"gallery/hue-{hue:02d}/{shade}.png", (int(rgb[0]), int(rgb[1]), int(rgb[2])))
    with Gallery(tmp_path / "gallery", encoder=encoder) as gallery:
        gallery.update()
        yield gallery


def labels(results: object) -> list[str]:
    return [hit.label for hit in results]  # type: ignore[attr-defined]


def test_several_queries_as_one_find_what_lies_between(gallery: Gallery) -> None:
    red, yellow = plain((255, 0, 0)), plain((255, 255, 0))
    found = set(labels(gallery.search([red, yellow], 2)))
    assert found <= {"hue-01", "hue-02"}  # orange
    assert "+" in gallery.search([red, yellow]).query


def test_unlike_pushes_away(gallery: Gallery) -> None:
    orange, red = plain((255, 128, 0)), plain((255, 0, 0))
    ranks = [labels(gallery.search(orange, 24, unlike=unlike)).index("hue-00") for unlike in ([], [red])]
    assert ranks[1] > ranks[0]


def test_of_members_asked_together_none_is_a_hit(gallery: Gallery) -> None:
    files = [gallery.folder / "hue-00/0.png", gallery.folder / "hue-01/0.png"]
    paths = [hit.path for hit in gallery.search(files, 24, unlike=[gallery.folder / "hue-05/1.png"])]
    assert len(paths) == 21
    assert not {"hue-00/0.png", "hue-01/0.png", "hue-05/1.png"} & set(paths)


def test_a_box_is_what_counts(gallery: Gallery) -> None:
    picture = plain("blue", (100, 100))
    picture.paste("red", (60, 20, 90, 50))
    assert labels(gallery.search(picture, 1, box=(60, 20, 30, 30))) == ["hue-00"]
    assert labels(gallery.search(picture, 1)) != ["hue-00"]
    with pytest.raises(CongenerError, match="100 × 100"):
        gallery.search(picture, box=(200, 0, 10, 10))


def test_hits_below_the_least_similarity_are_left_out(gallery: Gallery) -> None:
    everything = gallery.search(plain("red"), 24)
    some = gallery.search(plain("red"), 24, min_similarity=0.5)
    assert 0 < len(some) < len(everything)
    assert all(hit.similarity >= 0.5 for hit in some)
    assert [hit.path for hit in some] == [hit.path for hit in everything if hit.similarity >= 0.5]


@pytest.mark.parametrize("rerank", [("qe",), ("aqe",), ("dba",), ("kreciprocal",), ("diffusion",), ("dba", "aqe:n=2")])
def test_every_reranker_answers_with_k_hits_without_the_query(gallery: Gallery, rerank: tuple[str, ...]) -> None:
    results = gallery.search(gallery.folder / "hue-03/0.png", 5, rerank=rerank)
    assert len(results) == 5
    assert results[0].path == "hue-03/1.png"


def test_an_unknown_reranker_lists_the_valid_ones(gallery: Gallery) -> None:
    with pytest.raises(CongenerError, match=r"'magic'.*qe.*aqe.*dba.*kreciprocal.*diffusion"):
        gallery.search(plain("red"), rerank=["magic"])


def test_what_was_not_learned_cannot_be_asked_for(gallery: Gallery) -> None:
    with pytest.raises(CongenerError, match="congener adapt"):
        gallery.search(plain("red"), adapted=True)


def test_only_images_of_the_labels_are_searched(gallery: Gallery, tmp_path: Path) -> None:
    found = gallery.search(plain("red"), 24, labels=["hue-03", "hue-07"])
    assert sorted(labels(found)) == ["hue-03", "hue-03", "hue-07", "hue-07"]
    (tmp_path / "label_names.csv").write_text("label,name\nhue-03,lime\n")
    assert labels(gallery.search(plain("red"), 24, labels=["lime"])) == ["hue-03", "hue-03"]
    assert labels(gallery.search(plain("red"), 24, labels=["Lime,hue-03"])) == ["hue-03", "hue-03"]
    with pytest.raises(CongenerError, match=r"unknown label 'hue-99'; choose one of: hue-00, "):
        gallery.search(plain("red"), labels=["hue-00", "hue-99"])


def test_an_unknown_index_lists_the_valid_ones(gallery: Gallery) -> None:
    with pytest.raises(CongenerError, match=r"unknown index 'fast'; choose one of: exact, approximate"):
        gallery.search(plain("red"), index="fast")
