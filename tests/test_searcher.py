import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from congener import CongenerError, Gallery
from congener.query import Prepared
from congener.searcher import Searcher, SearchOptions, search

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


@pytest.mark.parametrize("k", [100, 2**31, 2**63 - 1, 2**63, 10**30])
@pytest.mark.parametrize("options", [{}, {"rerank": ["dba"]}, {"labels": ["hue-03"]}, {"min_similarity": 0.1}])
def test_more_than_there_are_may_be_asked_for(gallery: Gallery, k: int, options: SearchOptions) -> None:
    query = gallery.folder / "hue-00/0.png"
    hits = gallery.search(query, k, **options)
    assert list(hits) == list(gallery.search(query, 24, **options))
    assert hits


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


def test_what_it_should_be_like_too_stays_among_the_hits(gallery: Gallery) -> None:
    ids = {hit.path: hit.id for hit in gallery.search(plain("red"), 24)}
    red, yellow = ids["hue-00/0.png"], ids["hue-03/0.png"]
    with_yellow = gallery.search(red, 23, like=[yellow])
    assert {hit.id for hit in with_yellow} == set(ids.values()) - {red}
    before = [hit.id for hit in gallery.search(red, 23)]
    assert [hit.id for hit in with_yellow].index(yellow) < before.index(yellow)
    assert [hit.score for hit in with_yellow] == pytest.approx(
        [hit.score for hit in gallery.search([red, yellow], 24, include_self=True) if hit.id != red]
    )


def test_a_box_cuts_the_query_alone(gallery: Gallery) -> None:
    picture = plain("blue", (100, 100))
    picture.paste("red", (60, 20, 90, 50))
    small = plain("red", (8, 8))  # the box lies outside of it
    boxed = gallery.search(picture, 5, box=(60, 20, 30, 30), like=[small], unlike=[plain("cyan", (8, 8))])
    assert labels(boxed)[0] == "hue-00"


def test_what_was_prepared_elsewhere_is_the_same_question(gallery: Gallery) -> None:
    picture = plain((200, 90, 10))
    prepared = Prepared(gallery.encoder.preprocess(picture), "a picture")
    asked = gallery.search(prepared, 24)
    assert asked.query == "a picture"
    assert [(hit.id, hit.score) for hit in asked] == [(hit.id, hit.score) for hit in gallery.search(picture, 24)]


def test_an_image_that_was_prepared_is_no_hit_of_its_own(gallery: Gallery) -> None:
    first = gallery.search(plain("red"), 1)[0]
    with Image.open(first.file) as picture:
        pixels = gallery.encoder.preprocess(picture.convert("RGB"))
    assert first.id not in [hit.id for hit in gallery.search(Prepared(pixels, "red", first.id), 24)]
    assert first.id in [hit.id for hit in gallery.search(Prepared(pixels, "red"), 24)]


def test_what_is_kept_of_an_image_is_not_made_again(gallery: Gallery, encoder: MeanColour) -> None:
    file = gallery.folder / "hue-00/0.png"
    (first,) = gallery.search(plain("red"), 1)
    before = encoder.encoded
    by_path, by_id = gallery.search(file, 24), gallery.search(first.id, 24)
    assert [(hit.id, hit.score) for hit in by_path] == [(hit.id, hit.score) for hit in by_id]
    assert encoder.encoded == before
    write(file, "blue")
    os.utime(file, (1, 1))
    assert gallery.search(file, 1)[0].label != "hue-00"
    assert encoder.encoded == before + 1


def test_contents_that_look_the_same_come_in_order_of_id(tmp_path: Path, encoder: MeanColour) -> None:
    """Files of other bytes and the same pixels, each with a copy; asked for by others, and by one of them."""
    folder = tmp_path / "same"
    for number in range(4):
        write(folder / f"other-{number}.png", (250, 10 * number, 90))
        picture, file = plain("red", (40, 40)), folder / f"{'ab'[number % 2]}/{number}.png"
        file.parent.mkdir(exist_ok=True)
        picture.save(file, compress_level=9 * (number % 2))
    with Gallery(folder, encoder=encoder) as gallery:
        gallery.update()
        ids = [row.id for row in gallery.rows() if not row.path.startswith("other")]
        assert len({row.content for row in gallery.rows()}) == 6
        for k in range(1, 5):
            assert [hit.id for hit in gallery.search(plain("red"), k)] == ids[:k]
            assert [hit.id for hit in gallery.search(ids[1], k)][:3] == [id for id in ids if id != ids[1]][:k]
            assert [hit.id for hit in gallery.search(plain("red"), k, labels=["b"])] == ids[2:][:k]
        scores = {(hit.score, hit.similarity) for hit in gallery.search(plain("red"), 4)}
        assert len(scores) == 1


def test_similarities_and_scores_are_the_same_whatever_k_and_labels(gallery: Gallery) -> None:
    whole = {hit.id: (hit.score, hit.similarity) for hit in gallery.search(plain((250, 60, 10)), 24)}
    for k in (1, 5, 13):
        for labels in ([], ["hue-03", "hue-07", "hue-00"]):
            some = gallery.search(plain((250, 60, 10)), k, labels=labels)
            assert some
            assert {hit.id: (hit.score, hit.similarity) for hit in some}.items() <= whole.items()


def test_ten_hits_are_given_unless_another_number_is_asked_for(gallery: Gallery) -> None:
    for results in (
        gallery.search(plain("red")),
        search([gallery], plain("red")),
        Searcher([gallery]).search(plain("red")),
    ):
        assert len(results) == 10


def test_an_unknown_id_is_said(gallery: Gallery) -> None:
    for ask in ({}, {"like": [999]}, {"unlike": [999]}):
        with pytest.raises(CongenerError, match="no image has the id 999"):
            gallery.search(999 if not ask else 1, **ask)  # type: ignore[arg-type]


def test_what_another_handle_has_changed_is_seen(
    gallery: Gallery, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is kept from one search to the next, as long as nothing changes."""
    monkeypatch.setattr("congener.fit.SMALL", 1)  # so that the code stays
    assert gallery.search(plain("white"), 1)[0].path != "white.png"
    write(gallery.folder / "white.png", "white")
    with Gallery(gallery.folder, store=gallery.store_folder, encoder=encoder) as other:
        other.update()
    assert gallery.search(plain("white"), 1)[0].path == "white.png"


def test_where_one_gallery_is_asked_no_time_goes_into_files_of_several(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: Gallery) -> None:
        raise AssertionError("all stamps are read")

    monkeypatch.setattr(Gallery, "stamps", read)
    assert len(search([gallery], plain("red"), 24)) == 24
