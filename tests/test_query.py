"""Queries: from anywhere, in part, several as one."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from congener.codes import Array, unit
from congener.errors import CongenerError, ImageError
from congener.query import UNLIKE_WEIGHT, Box, Query, as_list, combine, crop, describe, open_query
from tests.conftest import plain, write


def numbered(width: int = 8, height: int = 6) -> Image.Image:
    """A picture whose pixel (x, y) is (x, y, 0)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width), np.arange(height)[:, None]
    return Image.fromarray(pixels)


def corners(picture: Image.Image) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first and the last pixel of a part of `numbered`: where they were in the whole."""
    pixels = np.asarray(picture)
    (left, top), (right, bottom) = pixels[0, 0, :2].tolist(), pixels[-1, -1, :2].tolist()
    return (left, top), (right, bottom)


def random(n: int, d: int = 6, seed: int = 0) -> Array:
    return unit(np.random.default_rng(seed).standard_normal((n, d)))


# --- crop


@pytest.mark.parametrize(
    ("box", "first", "last"),
    [
        ((0, 0, 8, 6), (0, 0), (7, 5)),
        ((2, 1, 3, 4), (2, 1), (4, 4)),
        ((7, 5, 1, 1), (7, 5), (7, 5)),
        ((1.6, 0.4, 2, 2), (2, 0), (3, 1)),  # corners are rounded: 1.6 and 3.6, 0.4 and 2.4
        ((2.4, 2.4, 0.9, 0.9), (2, 2), (2, 2)),
        ((5, 4, 100, 100), (5, 4), (7, 5)),  # beyond the right and the bottom
        ((-2, -3, 4, 5), (0, 0), (1, 1)),  # beyond the left and the top, which shortens it
        ((-5, -5, 50, 50), (0, 0), (7, 5)),
        ((3, 2, math.inf, math.inf), (3, 2), (7, 5)),
    ],
)
def test_crop_cuts_out_the_box(box: Box, first: tuple[int, int], last: tuple[int, int]) -> None:
    part = crop(numbered(), box)
    assert corners(part) == (first, last)
    assert part.size == (last[0] - first[0] + 1, last[1] - first[1] + 1)


@pytest.mark.parametrize(
    "box",
    [
        (8, 0, 2, 2),
        (0, 6, 2, 2),
        (-3, 0, 3, 2),
        (0, -3, 2, 3),
        (100, 100, 5, 5),
        (2, 2, 0, 3),
        (2, 2, 3, 0),
        (4, 4, -2, 2),
        (2.1, 2, 0.3, 1),
        (math.nan, 0, 2, 2),
        (0, 0, 2, math.nan),
        (math.inf, 0, 2, 2),
        (-math.inf, 0, math.inf, 2),
    ],
)
def test_a_box_without_a_pixel_is_an_error(box: Box) -> None:
    with pytest.raises(CongenerError, match=r"holds nothing of a picture of 8 × 6 pixels"):
        crop(numbered(), box)


def test_the_error_says_the_box() -> None:
    with pytest.raises(CongenerError, match=r"^the box 9,0\.5,2,2 \(x,y,width,height\) holds"):
        crop(numbered(), (9, 0.5, 2, 2))


# --- open_query


def test_path_picture_and_array_are_the_same_query(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    numbered().save(path)
    for query in (path, str(path), numbered(), np.asarray(numbered())):
        picture = open_query(query, None)
        assert picture.mode == "RGB"
        assert (np.asarray(picture) == np.asarray(numbered())).all()
        assert corners(open_query(query, None, (2, 1, 3, 4))) == ((2, 1), (4, 4))


def test_a_picture_of_another_mode_becomes_rgb() -> None:
    assert open_query(Image.new("L", (3, 3), 7), None).getpixel((0, 0)) == (7, 7, 7)
    assert open_query(np.full((3, 3), 7, np.uint8), None).getpixel((0, 0)) == (7, 7, 7)


def test_a_turned_picture_is_cropped_as_it_is_shown(tmp_path: Path) -> None:
    """Orientation 6: stored lying on its left side, shown a quarter turn clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = numbered(6, 8)
    path = tmp_path / "turned.png"
    shown.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    with Image.open(path) as stored:
        assert stored.size == (8, 6)
    assert open_query(path, None).size == (6, 8)
    assert corners(open_query(path, None, (1, 5, 4, 3))) == ((1, 5), (4, 7))


def test_a_box_is_in_pixels_of_the_whole_picture(tmp_path: Path) -> None:
    """A large JPEG is otherwise decoded at a reduced scale."""
    path = tmp_path / "large.jpg"
    picture = plain("red", (640, 480))
    picture.paste("blue", (320, 0, 640, 480))
    picture.save(path, quality=95)
    assert open_query(path, 16).width < 640
    part = open_query(path, 16, (400, 100, 200, 150))
    assert part.size == (200, 150)
    assert np.asarray(part).mean(axis=(0, 1)) == pytest.approx([0, 0, 255], abs=3)


def test_errors_name_the_query(tmp_path: Path) -> None:
    absent, text = tmp_path / "absent.jpg", tmp_path / "text.jpg"
    text.write_text("no picture")
    with pytest.raises(ImageError, match=r"absent\.jpg: No such file"):
        open_query(absent, None)
    with pytest.raises(ImageError, match=r"text\.jpg: not an image"):
        open_query(str(text), 8, (0, 0, 2, 2))
    with pytest.raises(ImageError, match=r"^picture: an image array must be uint8"):
        open_query(np.zeros((3, 3, 2), np.uint8), None)


def test_a_file_is_called_by_its_path_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        open_query(tmp_path / "absent.jpg", None)
    assert str(caught.value).startswith(f"{tmp_path / 'absent.jpg'}: ")


def test_a_file_is_closed_after_it_was_read(tmp_path: Path) -> None:
    """A file left open would be a ResourceWarning, which is an error here."""
    assert open_query(write(tmp_path / "red.png", "red"), 8).getpixel((0, 0)) == (255, 0, 0)


# --- describe, as_list


def test_describe_names_a_query() -> None:
    assert describe(7) == "image 7"
    assert describe("a/b.jpg") == "a/b.jpg"
    assert describe(Path("a") / "b.jpg") == str(Path("a") / "b.jpg")
    assert describe(plain("red")) == describe(np.zeros((2, 2, 3), np.uint8)) == "picture"


def test_one_query_is_a_list_of_one() -> None:
    picture, array = plain("red"), np.zeros((4, 5, 3), np.uint8)
    for query in (picture, array, "a.jpg", Path("a.jpg"), 0):
        assert len(as_list(query)) == 1
        assert as_list(query)[0] is query


def test_several_queries_stay_as_they_are_in_order() -> None:
    array = np.zeros((4, 5, 3), np.uint8)
    queries: list[Query] = ["a.jpg", 3, array]
    for several in (queries, tuple(queries)):
        found = as_list(several)
        assert found[:2] == ["a.jpg", 3]
        assert found[2] is array
        assert len(found) == 3


def test_the_list_given_is_not_the_list_returned() -> None:
    given = ["a.jpg", "b.jpg"]
    as_list(given).append("c.jpg")
    assert given == ["a.jpg", "b.jpg"]


# --- combine


NONE = np.empty((0, 0), np.float32)


def test_one_query_is_its_own_embedding() -> None:
    wanted = random(1)
    assert combine(wanted, NONE) == pytest.approx(wanted, abs=1e-6)


def test_several_are_their_mean_at_unit_length() -> None:
    wanted = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    assert combine(wanted, NONE) == pytest.approx(np.array([[0.5**0.5, 0.5**0.5, 0]]))
    assert combine(random(5), NONE).shape == (1, 6)
    assert np.linalg.norm(combine(random(5), NONE)) == pytest.approx(1)


def test_combine_is_rocchios_formula() -> None:
    wanted, unwanted = random(3), random(2, seed=1)
    by_hand = wanted.mean(axis=0) - UNLIKE_WEIGHT * unwanted.mean(axis=0)
    assert combine(wanted, unwanted)[0] == pytest.approx(by_hand / np.linalg.norm(by_hand), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_unlike_pushes_away(seed: int) -> None:
    wanted, unwanted = random(2, seed=seed), random(1, seed=seed + 100)
    plainly, pushed = combine(wanted, NONE)[0], combine(wanted, unwanted)[0]
    assert pushed @ unwanted[0] < plainly @ unwanted[0]


def test_the_order_of_queries_does_not_matter() -> None:
    wanted, unwanted = random(7), random(4, seed=1)
    turned = combine(wanted[::-1], unwanted[[2, 0, 3, 1]])
    assert turned == pytest.approx(combine(wanted, unwanted), abs=1e-6)


def test_unlike_itself_twice_over_is_like_nothing() -> None:
    wanted = np.array([[1, 0]], np.float32)
    halved = np.array([[2, 0]], np.float32)
    assert combine(wanted, halved).tolist() == [[0, 0]]
