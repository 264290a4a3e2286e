import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from congener import Gallery, Hit, Results, open_image, search
from congener.encoders import Identity
from congener.errors import CongenerError, EncoderError, GalleryBusyError, GalleryError, ImageError
from congener.store import Store

from .conftest import MeanColour, plain, write


@pytest.fixture
def gallery(colours: Path, encoder: MeanColour) -> Iterator[Gallery]:
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update()
        yield gallery


def paths(results: Results) -> list[str]:
    return [hit.path for hit in results]


def test_the_most_alike_come_first_with_all_their_facts(gallery: Gallery, tmp_path: Path) -> None:
    query = write(tmp_path / "query.png", (255, 50, 0))
    results = gallery.search(query, k=3)
    assert paths(results) == ["warm/red.png", "warm/orange.png", "green.png"]
    first = results[0]
    assert first == Hit(1, first.score, first.similarity, first.id, "warm/red.png", "warm", "warm", gallery.folder)
    colours = np.array([[255, 0, 0], [255, 128, 0], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 50, 0]])
    unit = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    centred = unit - unit[:5].mean(axis=0)  # the default code centres on the gallery
    cosine = centred[0] @ centred[5] / np.linalg.norm(centred[0]) / np.linalg.norm(centred[5])
    assert first.score == pytest.approx(cosine, abs=2e-3)
    assert 0 <= results[2].similarity <= first.similarity <= 1
    assert first.file.is_file()
    assert results[2].label is None
    assert results.query == str(query)


@pytest.mark.parametrize("k", [1, 5, 99])
def test_k_come_back_or_all_there_are(gallery: Gallery, k: int) -> None:
    assert len(gallery.search(plain("red"), k)) == min(k, 5)


def test_a_k_below_one_is_refused(gallery: Gallery) -> None:
    with pytest.raises(GalleryError, match="at least 1"):
        gallery.search(plain("red"), 0)


def test_path_picture_array_and_id_ask_the_same(gallery: Gallery, colours: Path) -> None:
    id = next(hit.id for hit in gallery.search(plain("red")) if hit.path == "warm/orange.png")
    array = np.full((5, 5, 3), (255, 128, 0), np.uint8)
    answers = [
        gallery.search(query, 4, include_self=True)
        for query in (
            colours / "warm/orange.png",
            str(colours / "warm/orange.png"),
            plain((255, 128, 0)),
            array,
            id,
        )
    ]
    for answer in answers:
        assert paths(answer) == paths(answers[0])
        assert [hit.score for hit in answer] == pytest.approx([hit.score for hit in answers[0]], abs=1e-3)


def test_a_member_is_left_out_of_its_own_results(
    gallery: Gallery, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(colours / "warm")
    alias = colours.with_name("alias")
    alias.symlink_to(colours)
    member = gallery.member(colours / "warm/red.png")
    assert member is not None
    for query in (
        colours / "warm/red.png",
        "red.png",
        "../cold/../warm/red.png",
        alias / "warm/red.png",
        member.id,
    ):
        assert "warm/red.png" not in paths(gallery.search(query))
        assert len(gallery.search(query)) == 4
        assert gallery.search(query, include_self=True)[0].path == "warm/red.png"


def test_a_copy_elsewhere_is_a_hit(gallery: Gallery, colours: Path, tmp_path: Path) -> None:
    copy = shutil.copy(colours / "warm/red.png", tmp_path / "copy.png")
    assert gallery.search(copy)[0].path == "warm/red.png"
    shutil.copy(colours / "warm/red.png", colours / "cold/copy.png")
    gallery.update()
    assert gallery.search(colours / "warm/red.png")[0].path == "cold/copy.png"


def test_equal_scores_come_in_order_of_id(gallery: Gallery, colours: Path) -> None:
    for name in ("z.png", "a.png", "m.png"):
        shutil.copy(colours / "warm/red.png", colours / name)
    gallery.update()
    best = gallery.search(plain("red"), 4)
    assert len({hit.score for hit in best}) == 1
    assert [hit.id for hit in best] == sorted(hit.id for hit in best)


def test_an_update_is_seen_by_the_next_search_also_in_another_gallery(
    gallery: Gallery, colours: Path, encoder: MeanColour
) -> None:
    other = Gallery(colours, encoder=encoder)
    assert other.search(plain("white"), 1)[0].score < 0.9
    write(colours / "white.png", "white")
    gallery.update()
    for each in (gallery, other):
        assert each.search(plain("white"), 1)[0].path == "white.png"
    other.close()


def test_a_second_update_at_once_says_so(gallery: Gallery, colours: Path, encoder: MeanColour) -> None:
    other = Store.open(colours / ".congener")
    with closing(other), other.writing(), pytest.raises(GalleryBusyError, match="another process"):
        gallery.update()
    assert gallery.update().unchanged == 5


def test_the_folder_can_move(gallery: Gallery, colours: Path, encoder: MeanColour) -> None:
    gallery.close()
    colours.rename(colours.with_name("moved"))
    moved = Gallery(colours.with_name("moved"), encoder=encoder)
    assert moved.update().unchanged == 5
    assert moved.search(plain("red"), 1)[0].file.is_file()
    moved.close()


def test_the_store_can_lie_elsewhere(colours: Path, tmp_path: Path, encoder: MeanColour) -> None:
    gallery = Gallery(colours, store=tmp_path / "elsewhere", encoder=encoder)
    assert gallery.update().images == 5
    assert not (colours / ".congener").exists()
    gallery.close()


def test_a_store_inside_the_folder_is_not_searched_for_images(colours: Path, encoder: MeanColour) -> None:
    with Gallery(colours, store=colours / "mine", encoder=encoder) as gallery:
        gallery.update()
        write(colours / "mine/thumbnail.png", "red")
        assert gallery.update().found == 5


def test_another_encoder_is_refused_with_both_names(gallery: Gallery, colours: Path) -> None:
    gallery.close()

    class Other(MeanColour):
        identity = Identity("other-net", "f" * 64, "none", "float32", 3)

    with pytest.raises(GalleryError, match=r"mean-colour.*other-net.*open it with the encoder that made it"):
        Gallery(colours, encoder=Other())
    with pytest.raises(GalleryError, match=r"mean-colour.*lite0"):
        Gallery(colours, encoder="lite0")


def test_several_galleries_answer_together(
    gallery: Gallery, colours: Path, tmp_path: Path, encoder: MeanColour
) -> None:
    write(tmp_path / "more/dark/maroon.png", (128, 10, 0))
    write(tmp_path / "more/grey.png", "grey")
    more = Gallery(tmp_path / "more", encoder=encoder)
    more.update()
    results = search([gallery, more], plain((128, 12, 0)), 3)
    assert paths(results) == ["dark/maroon.png", "warm/red.png", "warm/orange.png"]
    assert [hit.folder for hit in results] == [more.folder, gallery.folder, gallery.folder]
    own = search([gallery, more], tmp_path / "more/grey.png", 9)
    assert "grey.png" not in paths(own)
    assert len(own) == 6
    more.close()


def test_galleries_of_two_encoders_are_not_mixed(gallery: Gallery, tmp_path: Path) -> None:
    class Other(MeanColour):
        identity = Identity("other-net", "f" * 64, "none", "float32", 3)

    write(tmp_path / "more/a.png", "red")
    more = Gallery(tmp_path / "more", encoder=Other())
    more.update()
    with pytest.raises(GalleryError, match="scores of two encoders"):
        search([gallery, more], plain("red"))
    more.close()


def test_a_query_that_cannot_be_read_is_named(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"text\.jpg: not an image"):
        gallery.search(tmp_path / "text.jpg")
    with pytest.raises(GalleryError, match="has the id 999"):
        gallery.search(999)


def test_what_is_not_there_is_said(tmp_path: Path, colours: Path, encoder: MeanColour) -> None:
    with pytest.raises(GalleryError, match="no such folder"):
        Gallery(tmp_path / "none")
    with pytest.raises(GalleryError, match=r"not indexed yet: congener index"):
        Gallery(colours, encoder=encoder).search(plain("red"))


def test_an_empty_folder_has_no_hits(tmp_path: Path, encoder: MeanColour) -> None:
    (tmp_path / "empty").mkdir()
    with Gallery(tmp_path / "empty", encoder=encoder) as gallery:
        assert gallery.update().found == 0
        assert len(gallery.search(plain("red"))) == 0


def test_labels_and_their_names_reach_the_hits(gallery: Gallery, colours: Path) -> None:
    (colours / "labels.csv").write_text("path,label\ngreen.png,leaf\n")
    (colours / "label_names.csv").write_text("label,name\nleaf,A green leaf\nwarm,Warm colours\n")
    names = {hit.path: (hit.label, hit.label_name) for hit in gallery.search(plain("red"))}
    assert names["green.png"] == ("leaf", "A green leaf")
    assert names["warm/red.png"] == ("warm", "Warm colours")
    assert names["cold/blue.png"] == ("cold", "cold")


def test_info_tells_what_made_the_gallery(gallery: Gallery) -> None:
    gallery.update(exclude=["*.gif"])
    facts = gallery.info()
    assert (facts.images, facts.labels, facts.unlabelled) == (5, 2, 1)
    assert facts.encoder["name"] == "mean-colour"
    assert facts.exclude == ["*.gif"]
    assert facts.bytes > 0


def test_a_damaged_feature_gives_an_error_not_an_answer(gallery: Gallery, colours: Path) -> None:
    (matrix,) = (colours / ".congener").glob("features-*.f16")
    data = bytearray(matrix.read_bytes())
    for position in range(0, len(data), 2):
        data[position] ^= 1
    matrix.write_bytes(data)
    with pytest.raises(GalleryError, match="damaged"):
        gallery.search(plain("red"))


def test_a_gallery_on_a_read_only_disk_can_be_searched(
    gallery: Gallery, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with Gallery(colours, encoder=encoder) as read_only:
        assert read_only.search(plain("red"), 1)[0].path == "warm/red.png"
        with pytest.raises(GalleryError, match="--gallery PATH"):
            read_only.update(exclude=["*.gif"])


def test_eight_orientations_give_one_embedding(cabinet: Path, tmp_path: Path) -> None:
    from PIL import Image, ImageOps

    upright = open_image(next(cabinet.glob("oak-leaf/*.jpg")))
    gallery = Gallery(cabinet, store=tmp_path / "store")
    gallery.update()
    reference = gallery.embed(upright)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.jpg"
        # the turn that undoes the one EXIF asks for: 6 and 8 undo each other, the others themselves
        inverse = Image.Exif()
        inverse[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)
        stored = upright.copy()
        stored.info["exif"] = inverse.tobytes()
        stored.getexif()[0x0112] = inverse[0x0112]
        ImageOps.exif_transpose(stored).save(path, quality=95, exif=exif)
        assert float((gallery.embed(path) @ reference.T).item()) >= 0.99


def test_unseen_specimens_find_their_kind(cabinet: Path, tmp_path: Path) -> None:
    from congener.cabinet import KINDS, paint

    with Gallery(cabinet, store=tmp_path / "store") as gallery:
        gallery.update()
        firsts = [gallery.search(paint(kind.name, 101), 1)[0].label for kind in KINDS]
    right = sum(label == kind.name for label, kind in zip(firsts, KINDS, strict=True))
    assert right >= 15


def test_the_original_targets_find_their_species(photos: Path, tmp_path: Path) -> None:
    with Gallery(photos / "animals100/gallery", store=tmp_path / "store") as gallery:
        report = gallery.update()
        assert (report.found, report.indexed, report.images) == (1000, 1000, 1000)
        for name, label in (("bulbul", "n01560419"), ("whiptail", "n01685808")):
            results = gallery.search(photos / f"animals100/queries/{name}.jpg", 10)
            assert sum(hit.label == label for hit in results) >= 6
            assert results[0].label_name != label  # a readable name, from label_names.csv


def test_a_users_mistake_is_a_congener_error() -> None:
    assert issubclass(GalleryError, CongenerError)
    assert issubclass(ImageError, CongenerError)


# precision of the network's calculation


def test_a_gallery_keeps_the_precision_that_made_it(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "teal").save(tmp_path / "a.png")
    with Gallery(tmp_path, precision="float32") as gallery:
        gallery.update()
    with Gallery(tmp_path) as gallery:
        assert gallery.encoder.identity.precision == "float32"
    with Gallery(tmp_path, encoder="lite0") as gallery:
        assert gallery.encoder.identity.precision == "float32"
    with pytest.raises(GalleryError, match=r"made by lite0 \(float32.*not by lite0 \(int8"):
        Gallery(tmp_path, precision="int8")
    with Gallery(tmp_path, store=tmp_path / "other") as gallery:
        assert gallery.encoder.identity.precision == "int8"


def test_an_unknown_precision_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="choose one of: int8, float32"):
        Gallery(tmp_path, precision="int4")
    assert not list(tmp_path.iterdir())
