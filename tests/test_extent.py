"""A shrunk picture is compared by what it covers: the same in every format, however it was shrunk."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from congener.duplicates.fingerprint import apart, fingerprint
from congener.extent import extent_of, fitted, turned, with_extent
from congener.images import open_image
from congener.preprocessing import Preprocessing

from .drawn import encoded
from .drawn import turned as turned_png

FORMATS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 100, "subsampling": 0}, "PNG": {}, "BMP": {}}


def texture(size: tuple[int, int], seed: int = 0, grid: tuple[int, int] = (13, 17)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (*grid, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(861, 641), (659, 511), (2081, 1401)])
@pytest.mark.parametrize("format", FORMATS)
def test_a_shrunk_picture_is_not_stretched(format: str, size: tuple[int, int]) -> None:
    whole = texture(size)
    small = open_image(encoded(whole, format, **FORMATS[format]), 64)
    left, top, right, bottom = extent_of(small)
    assert (left, top) == (0, 0)
    assert right / bottom == pytest.approx(size[0] / size[1], rel=1e-6)
    cells = [fingerprint(picture)[-1024:].astype(int) for picture in (small, whole)]
    assert np.abs(cells[0] - cells[1]).mean() < 1.6
    exact, seen = (np.asarray(Preprocessing(56, 64, "bicubic")(picture), np.float32) for picture in (whole, small))
    assert np.abs(seen - exact).mean() < 1


@pytest.mark.parametrize("size", [(861, 641), (659, 511), (2081, 1401)])
def test_one_picture_in_several_formats_has_one_fingerprint(size: tuple[int, int]) -> None:
    whole = texture(size, 1, (26, 34))
    jpeg, *others = (fingerprint(open_image(encoded(whole, format, **FORMATS[format]), 64)) for format in FORMATS)
    assert int(apart(others[0], others[1])) == 0
    assert int(apart(jpeg, others[0])) <= 4


@pytest.mark.parametrize("orientation", [2, 3, 6, 7])
def test_what_a_picture_covers_is_turned_with_it(orientation: int) -> None:
    stored = texture((659, 511))
    small = open_image(turned_png(stored, orientation), 64)
    whole = open_image(turned_png(stored, orientation))
    assert (small.width > small.height) == (whole.width > whole.height)
    assert int(apart(fingerprint(small), fingerprint(whole))) <= 6
    left, top, right, bottom = extent_of(small)
    assert min(left, top) >= 0
    assert right <= small.width
    assert bottom <= small.height
    assert (right - left) / (bottom - top) == pytest.approx(whole.width / whole.height)


def test_turns() -> None:
    extent, size = (0.0, 0.0, 9.5, 4.25), (10, 5)
    expected = {
        1: (0, 0, 9.5, 4.25),
        2: (0.5, 0, 10, 4.25),
        3: (0.5, 0.75, 10, 5),
        4: (0, 0.75, 9.5, 5),
        5: (0, 0, 4.25, 9.5),
        6: (0.75, 0, 5, 9.5),
        7: (0.75, 0.5, 5, 10),
        8: (0, 0.5, 4.25, 10),
    }
    assert {number: turned(extent, size, number) for number in range(1, 9)} == expected


def test_what_is_made_of_a_picture_covers_all_of_itself() -> None:
    small = with_extent(texture((40, 30)), (0, 0, 39.5, 29.5))
    assert extent_of(small) == (0, 0, 39.5, 29.5)
    assert extent_of(small.crop((0, 0, 20, 20))) == (0, 0, 20, 20)
    assert extent_of(small.resize((20, 15))) == (0, 0, 20, 15)
    small.thumbnail((10, 10))
    assert extent_of(small) == (0, 0, *small.size)


def test_a_square_of_all_that_a_picture_covers_stays_within_it() -> None:
    for width in range(3001, 3101):  # a third of these are more than themselves when they are multiplied and divided
        covered = (0.0, 0.0, width / 24, 140.0)
        for number in (1, 3):
            small = Image.new("L", (-(-width // 24), 140))
            with_extent(small, turned(covered, small.size, number))
            assert Preprocessing(331, 331, "box")(small).size == (331, 331)


def test_fitting_keeps_the_shape() -> None:
    small = with_extent(texture((40, 31)), (0, 0, 40.0, 30.0))
    assert fitted(small, 200).size == (200, 150)
    assert fitted(small, 200, enlarge=False).size == (40, 30)
    assert fitted(texture((3000, 3)), 100).size == (100, 1)
