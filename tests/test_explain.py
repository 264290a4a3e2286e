"""Where a likeness lies: the split is exact, in its place, and one pass of the network."""

import json
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from congener import CongenerError, Gallery
from congener.codes import Array
from congener.encoders import Encoder, Features, Identity
from congener.errors import EncoderError
from congener.explain import PLAIN, Explanation, class_evidence, explain, explain_with

from . import test_cli
from .conftest import MeanColour, plain, write
from .test_cli import Run

run = test_cli.run  # the fixture

PLACES = 4
WEIGHT = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [3, 3, 3]], np.float32)
BIAS = np.array([1, 0, -1, 0], np.float32)


class GridColour(Encoder):
    """Its feature map is the mean colour of each of 4 × 4 places, its four classes are red, green, blue and grey."""

    identity = Identity("grid-colour", "0" * 64, "none", "float32", 3)
    input_side = 16
    resized_side = 20

    def __init__(self) -> None:
        self.passes = 0

    def feature_map(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.passes += 1
        side = self.input_side // PLACES
        blocks = pixels.reshape(len(pixels), PLACES, side, PLACES, side, 3)
        return np.asarray(blocks.mean(axis=(2, 4)).transpose(0, 3, 1, 2) / 255, np.float32)

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        pooled = np.asarray(pixels.mean(axis=(1, 2)) / 255, np.float32)
        return Features(pooled)

    def logits(self, pooled: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.asarray(pooled @ WEIGHT.T + BIAS, np.float32)


class Wide(GridColour):
    """Features of 300 numbers, random mixtures of the colours' powers: enough for a projection."""

    identity = Identity("wide", "0" * 64, "none", "float32", 300)
    _mixing = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)

    def feature_map(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        colours = np.moveaxis(super().feature_map(pixels), 1, -1)
        waves = np.cos(colours @ self._mixing[:3] * 3)
        return np.asarray(np.moveaxis(waves, -1, 1), np.float32)

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        pooled = self.feature_map(pixels).mean(axis=(2, 3))
        return Features(pooled)

    def logits(self, pooled: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.asarray(pooled @ self._mixing[:, :5] / 30, np.float32)


def patches(seed: int) -> Image.Image:
    """A picture of 4 × 4 random colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (PLACES, PLACES, 3), dtype=np.uint8)
    return Image.fromarray(colours.repeat(5, axis=0).repeat(5, axis=1))


def corner(ground: str, where: tuple[int, int], size: tuple[int, int] = (20, 20)) -> Image.Image:
    """A picture of one colour, with a red square that covers one of the 4 × 4 places: (column, row)."""
    picture = plain(ground, size)
    left, top = (size[0] - 16) // 2 + 4 * where[0], (size[1] - 16) // 2 + 4 * where[1]
    picture.paste("red", (left, top, left + 4, top + 4))
    return picture


def fill(folder: Path, count: int) -> Path:
    for number in range(count):
        place = folder / f"kind {number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        patches(number).save(place / f"{number:03d}.png")
    return folder


def holds(explanation: Explanation) -> None:
    for side in (explanation.query, explanation.hit):
        assert side.pooled == pytest.approx(side.map.sum(), abs=1e-5)
        assert side.pooled + side.classes == pytest.approx(explanation.score, abs=1e-5)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Of 12 images: a code without projection."""
    with Gallery(fill(tmp_path_factory.mktemp("small"), 12), encoder=GridColour()) as gallery:
        gallery.update()
        yield gallery


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Of 270 images: a code with a projection."""
    with Gallery(fill(tmp_path_factory.mktemp("wide"), 270), encoder=Wide()) as gallery:
        gallery.update()
        yield gallery


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Of 12 images, with a map learned from their labels."""
    with Gallery(fill(tmp_path_factory.mktemp("learned"), 12), encoder=Wide()) as gallery:
        gallery.update()
        gallery.adapt(force=True)
        yield gallery


# --- the split


@pytest.mark.parametrize("k", [1, 5, 12])
def test_parts_sum_to_the_score_that_a_search_gives(small: Gallery, k: int) -> None:
    assert small.fit is not None
    assert small.fit.blend.projection.shape[1] == 0
    hit = small.search(1, 12, include_self=True)[k - 1]
    explanation = explain(small, 1, hit.id)
    holds(explanation)
    # three numbers kept as float16, near their mean: it differs more than for a network's thousand
    assert explanation.score == pytest.approx(hit.score, abs=5e-3)
    assert explanation.similarity == pytest.approx(hit.similarity, abs=1e-2)
    assert explanation.query.map.shape == (PLACES, PLACES)


def test_parts_sum_to_the_score_after_a_projection(wide: Gallery) -> None:
    assert wide.fit is not None
    assert wide.fit.blend.projection.shape[1] == 256
    for hit in wide.search(1, 3):
        explanation = explain(wide, 1, hit.id)
        holds(explanation)
        assert explanation.score == pytest.approx(hit.score, abs=1e-3)


def test_parts_sum_to_the_score_after_a_learned_map(learned: Gallery) -> None:
    for hit in learned.search(1, 3):
        explanation = explain(learned, 1, hit.id)
        holds(explanation)
        assert explanation.score == pytest.approx(hit.score, abs=1e-3)


def test_what_was_learned_is_used_where_it_is_there(learned: Gallery) -> None:
    asked, default = (explain(learned, 1, 2, adapted=adapted).score for adapted in (True, None))
    assert default == asked
    plainly = explain(learned, 1, 2, adapted=False)
    holds(plainly)
    assert plainly.score != asked


def test_parts_sum_to_the_cosine_where_nothing_is_fitted() -> None:
    encoder = GridColour()
    explanation = explain_with(encoder, PLAIN, patches(1), patches(2))
    holds(explanation)
    one, other = encoder.encode(np.stack([encoder.preprocess(patches(seed)) for seed in (1, 2)])).pooled
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert explanation.score == pytest.approx(cosine, abs=1e-6)
    assert explanation.similarity == pytest.approx(cosine, abs=1e-6)
    assert explanation.query.classes == explanation.hit.classes == 0


def test_the_other_way_round_the_sides_change_places(small: Gallery) -> None:
    there, back = explain(small, 1, 2), explain(small, 2, 1)
    assert there.score == pytest.approx(back.score)
    assert there.query.map == pytest.approx(back.hit.map, abs=1e-6)
    assert there.query.classes == pytest.approx(back.hit.classes, abs=1e-6)


def test_path_picture_array_and_id_are_explained_alike(small: Gallery) -> None:
    path = small.file(1)
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    expected = explain(small, 1, 2)
    for query in (path, str(path), picture, np.asarray(picture)):
        assert explain(small, query, 2).query.map == pytest.approx(expected.query.map)


def test_a_pair_costs_one_pass_of_the_network(small: Gallery) -> None:
    encoder = small.encoder
    assert isinstance(encoder, GridColour)
    before = encoder.passes
    explain(small, 1, 2)
    assert encoder.passes == before + 1


def test_an_explanation_stays_as_it_is_and_is_plain_in_json(small: Gallery) -> None:
    explanation = explain(small, 1, 1)
    with pytest.raises(FrozenInstanceError):
        explanation.score = 1.0  # type: ignore[misc]
    plainly = json.loads(json.dumps(explanation.as_dict()))
    assert set(plainly) == {"score", "similarity", "pooled", "classes", "query", "hit"}
    assert set(plainly["query"]) == set(plainly["hit"]) == {"pooled", "classes", "map", "kinds", "area"}
    assert np.sum(plainly["query"]["map"]) == pytest.approx(plainly["pooled"], abs=1e-5)
    assert plainly["pooled"] + plainly["classes"] == pytest.approx(plainly["score"], abs=1e-5)


# --- where


def peak(values: Array) -> tuple[int, int]:
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(column), int(row)


@pytest.mark.parametrize(("here", "there"), [((0, 0), (3, 0)), ((3, 1), (1, 2)), ((2, 3), (2, 3))])
def test_the_map_peaks_where_both_show_the_same(here: tuple[int, int], there: tuple[int, int]) -> None:
    explanation = explain_with(GridColour(), PLAIN, corner("blue", here), corner("lime", there))
    for side, where in ((explanation.query, here), (explanation.hit, there)):
        assert peak(side.map) == where
        assert side.map[where[1], where[0]] == pytest.approx(explanation.score, abs=1e-5)  # nothing else is shared


def test_a_place_that_speaks_against_the_likeness_is_below_nought(small: Gallery) -> None:
    lit = explain(small, corner("blue", (1, 1)), corner("red", (0, 0)))
    assert peak(lit.query.map) == (1, 1)
    assert lit.query.map.min() < 0


def test_the_classes_lie_where_the_shared_kind_is_seen() -> None:
    encoder = GridColour()
    pixels = np.stack([encoder.preprocess(corner("black", where)) for where in ((3, 0), (0, 2))])
    evidence = class_evidence(encoder, encoder.feature_map(pixels))
    assert evidence is not None
    assert [peak(values) for values in evidence] == [(3, 0), (0, 2)]
    assert evidence.sum(axis=(1, 2)) == pytest.approx([1, 1])


def test_a_place_that_speaks_against_the_shared_kind_has_no_part_in_it() -> None:
    half = plain("red", (20, 20))
    half.paste("lime", (10, 0, 20, 20))
    encoder = GridColour()
    pixels = np.stack([encoder.preprocess(picture) for picture in (half, plain("red", (20, 20)))])
    evidence = class_evidence(encoder, encoder.feature_map(pixels))
    assert evidence is not None
    assert (evidence[0][:, :2] > 0.1).all()
    assert not evidence[0][:, 2:].any()


def test_the_map_of_classes_sums_to_what_they_add(small: Gallery) -> None:
    explanation = explain(small, corner("red", (0, 0)), plain("red", (20, 20)))
    for side in (explanation.query, explanation.hit):
        assert side.classes > 0
        assert side.kinds is not None
        assert side.kinds.sum() == pytest.approx(side.classes)


def test_there_is_no_map_of_classes_where_logits_are_not_linear() -> None:
    class Curved(GridColour):
        def logits(self, pooled: NDArray[np.floating]) -> NDArray[np.float32]:
            return super().logits(pooled) ** 2

    maps = np.random.default_rng(0).random((2, 3, PLACES, PLACES)).astype(np.float32)
    assert class_evidence(Curved(), maps) is None
    assert class_evidence(GridColour(), maps) is not None


# --- what the network saw


@pytest.mark.parametrize(
    ("size", "area"),
    [
        ((20, 20), (0.1, 0.1, 0.8, 0.8)),
        ((40, 20), (0.3, 0.1, 0.4, 0.8)),
        ((20, 80), (0.1, 0.4, 0.8, 0.2)),
    ],
)
def test_the_area_is_the_square_in_the_middle(size: tuple[int, int], area: tuple[float, ...]) -> None:
    explanation = explain_with(GridColour(), PLAIN, plain("red", size), plain("red"))
    assert explanation.query.area == pytest.approx(area)
    assert explanation.hit.area == pytest.approx((0.1, 0.1, 0.8, 0.8))


def test_the_area_lies_inside_the_box() -> None:
    explanation = explain_with(GridColour(), PLAIN, plain("red", (100, 50)), plain("red"), box=(60, 10, 20, 40))
    assert explanation.query.area == pytest.approx((62 / 100, 22 / 50, 16 / 100, 16 / 50))
    assert explanation.hit.area == pytest.approx((0.1, 0.1, 0.8, 0.8))


def test_of_a_box_beyond_the_picture_its_part_inside_counts() -> None:
    explanation = explain_with(GridColour(), PLAIN, plain("red", (40, 40)), plain("red"), box=(-5, -5, 25, 25))
    assert explanation.query.area == pytest.approx((0.05, 0.05, 0.4, 0.4))


def test_only_the_box_is_compared(small: Gallery) -> None:
    picture = plain("blue", (60, 20))
    picture.paste(corner("lime", (2, 1)), (40, 0))
    boxed = explain(small, picture, 1, box=(40, 0, 20, 20))
    assert boxed.query.map == pytest.approx(explain(small, corner("lime", (2, 1)), 1).query.map)
    with pytest.raises(CongenerError, match="holds nothing"):
        explain(small, picture, 1, box=(60, 0, 5, 5))


def test_map_and_area_follow_the_upright_picture(tmp_path: Path) -> None:
    """Orientation 6: stored lying on its left side, shown a quarter turn clockwise."""
    shown = corner("blue", (3, 0), (20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    shown.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    explanation = explain_with(GridColour(), PLAIN, path, corner("lime", (0, 0)))
    assert peak(explanation.query.map) == (3, 0)
    assert explanation.query.area == pytest.approx((0.1, 0.3, 0.8, 0.4))


# --- what can't be explained


def test_an_encoder_without_a_feature_map_is_one_clear_line(colours: Path) -> None:
    with Gallery(colours, encoder=MeanColour()) as gallery:
        gallery.update()
        with pytest.raises(EncoderError, match="mean-colour shows no feature map") as caught:
            explain(gallery, 1, 2)
    assert "\n" not in str(caught.value)


def test_errors_of_queries_are_those_of_a_search(small: Gallery, tmp_path: Path) -> None:
    with pytest.raises(CongenerError, match="no image has the id 99"):
        explain(small, 1, 99)
    with pytest.raises(CongenerError, match=r"absent\.png: No such file"):
        explain(small, tmp_path / "absent.png", 1)
    with pytest.raises(CongenerError, match="nothing was learned"):
        explain(small, 1, 2, adapted=True)


@pytest.mark.parametrize("colour", ["black", "white"])
def test_a_picture_of_nothing_is_like_nothing_or_everywhere_alike(colour: str) -> None:
    explanation = explain_with(GridColour(), PLAIN, plain(colour), plain("white"))
    holds(explanation)
    assert np.isfinite(explanation.query.map).all()
    assert np.ptp(explanation.query.map) == pytest.approx(0, abs=1e-6)


# --- the real network


def test_the_default_network_splits_a_score_of_photos(photos: Path, tmp_path: Path) -> None:
    folder = photos / "animals100/gallery"
    for kind in sorted(each.name for each in folder.iterdir() if each.is_dir())[:3]:
        (tmp_path / kind).mkdir()
        for photo in sorted((folder / kind).iterdir())[:4]:
            (tmp_path / kind / photo.name).symlink_to(photo)
    with Gallery(tmp_path) as gallery:
        gallery.update()
        hit = gallery.search(1)[0]
        explanation = explain(gallery, 1, hit.id)
    holds(explanation)
    assert explanation.score == pytest.approx(hit.score, abs=1e-3)
    assert explanation.query.map.shape == (7, 7)
    assert explanation.query.kinds is not None


# --- the command


@pytest.fixture
def grid(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line with the encoder of this file."""
    table = sys.modules["congener.encoders"].__dict__["ENCODERS"]
    for name in ("mean-colour", "grid-colour"):
        monkeypatch.setitem(table, name, "tests.test_explain:GridColour")
    monkeypatch.setitem(table, "lite0", "tests.test_explain:GridColour")
    return run


def test_the_command_says_the_split(grid: Run, tmp_path: Path) -> None:
    folder = fill(tmp_path / "folder", 12)
    a, b = folder / "kind 0/000.png", folder / "kind 1/001.png"
    done = grid("explain", a, b, "--in", folder, "--json")
    assert done.code == 0
    said = grid("explain", a, b, "--in", folder)
    assert said.code == 0, said.err
    assert said.lines[0].startswith(f"score {done.json['score']:.3f}, similarity ")
    assert said.lines[1].startswith(f"{a}: {done.json['pooled']:z.3f} from what it looks like")
    assert said.lines[2].startswith(f"{b}: ")
    assert len(said.lines) == 3


def test_without_a_folder_plain_features_are_compared(grid: Run, tmp_path: Path) -> None:
    a = write(tmp_path / "a.png", "red")
    done = grid("explain", a, a, "--json")
    assert done.json["score"] == pytest.approx(1)
    assert done.json["classes"] == 0
    assert "plain pooled features" in done.err


def test_the_command_draws_both_pictures(grid: Run, tmp_path: Path) -> None:
    a, out = write(tmp_path / "a.png", "red"), tmp_path / "why.png"
    assert grid("explain", a, a, "--out", out, "--box", "1,1,8,8").code == 0
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_bad_input_is_one_line(grid: Run, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, absent = write(tmp_path / "a.png", "red"), tmp_path / "absent.png"
    for words, said in (
        ((a, absent), "absent.png: No such file"),
        ((a, a, "--box", "1,2"), "--box takes x,y,width,height"),
        ((a, a, "--gallery", tmp_path / "g"), "--gallery goes with --in"),
        ((a, a, "--in", absent), "no such folder"),
        ((a, a, "--out", tmp_path / "why.doc"), "can't write"),
    ):
        done = grid("explain", *words)
        assert done.code == 2
        assert said in done.err.splitlines()[-1]
    monkeypatch.setitem(sys.modules["congener.encoders"].__dict__["ENCODERS"], "lite0", "tests.conftest:MeanColour")
    done = run("explain", a, a)
    assert done.code == 2
    assert "mean-colour shows no feature map" in done.err
