"""Heat maps: warm where the likeness lies, faded where the network didn't look."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from congener.explain import Explanation, Side
from congener.heat import TILE, draw_likeness, overlay

from .conftest import plain

WHOLE = (0.0, 0.0, 1.0, 1.0)


def side(values: list[list[float]], classes: float = 0, kinds: list[list[float]] | None = None) -> Side:
    spread = None if kinds is None else np.array(kinds, np.float32)
    return Side(np.array(values, np.float32), classes, spread, WHOLE)


def colour(picture: Image.Image, x: float, y: float) -> NDArray[np.float64]:
    return np.asarray(np.asarray(picture, np.float64)[int(y * picture.height), int(x * picture.width)])


def warmth(picture: Image.Image, x: float, y: float) -> float:
    """Red less blue."""
    red, _, blue = colour(picture, x, y)
    return float(red - blue)


def test_it_is_warm_where_the_value_is_high() -> None:
    heated = overlay(plain("grey", (80, 80)), np.array([[0, 1], [0, 0]], np.float32), WHOLE, 1)
    assert heated.size == (80, 80)
    assert warmth(heated, 0.9, 0.1) > 60
    assert abs(warmth(heated, 0.1, 0.9)) < 10


def test_heat_rises_with_the_value() -> None:
    values = np.linspace(0, 1, 6, dtype=np.float32)
    light = [colour(overlay(plain("grey"), np.full((1, 1), v, np.float32), WHOLE, 1), 0.5, 0.5).mean() for v in values]
    assert light == sorted(light)


def test_a_place_that_speaks_against_it_is_as_cold_as_one_that_says_nothing() -> None:
    cold = [overlay(plain("red"), np.full((2, 2), v, np.float32), WHOLE, 1) for v in (0, -5)]
    assert cold[0] == cold[1]


def test_what_was_not_seen_is_faded() -> None:
    values = np.ones((2, 2), np.float32)
    heated = overlay(plain("red", (100, 50)), values, (0.5, 0.2, 0.25, 0.6), 1)
    seen = np.ptp(np.asarray(heated, int), axis=2) > 60  # it has a colour; faded is nearly grey
    rows, columns = np.nonzero(seen)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (50, 74, 10, 39)
    assert seen.sum() == 25 * 30


@pytest.mark.parametrize("area", [(0.0, 0.0, 1e-6, 1e-6), (0.999, 0.999, 0.001, 0.001), (0.25, 0.0, 0.001, 1.0)])
def test_an_area_of_less_than_a_pixel_is_drawn(area: tuple[float, float, float, float]) -> None:
    assert overlay(plain("red", (100, 7)), np.ones((7, 7), np.float32), area, 1).size == (100, 7)


def test_both_pictures_have_one_scale() -> None:
    """The right one has half the left one's heat."""
    explanation = Explanation(1.0, 1.0, side([[1.0]]), side([[0.5]]))
    sheet = draw_likeness(explanation, (plain("grey"), plain("grey")), ("a", "b"))
    middle = 0.5
    assert warmth(sheet, 0.25, middle) > warmth(sheet, 0.75, middle) + 20


def test_a_likeness_of_nearly_nothing_does_not_glow() -> None:
    for amount, glows in ((0.5, True), (0.01, False)):
        explanation = Explanation(amount, 0.0, side([[amount]]), side([[amount]]))
        sheet = draw_likeness(explanation, (plain("grey"), plain("grey")), ("a", "b"))
        assert (warmth(sheet, 0.25, 0.5) > 60) == glows


def test_classes_have_a_row_where_they_add_something() -> None:
    pair = plain("red"), plain("blue")
    one = draw_likeness(Explanation(0.2, 0.2, side([[0.2]]), side([[0.2]])), pair, ("a", "b"))
    both = side([[0.2]], 0.6, [[0.6]])
    two = draw_likeness(Explanation(0.8, 0.8, both, both), pair, ("a", "b"))
    assert two.width == one.width
    assert two.height > 1.7 * one.height
    assert warmth(two, 0.25, 0.3) == pytest.approx(warmth(two, 0.25, 0.75), abs=40)


@pytest.mark.parametrize("name", ["", "a" * 300, "Käfer 蝶", "new\nline", "\udcff"])
@pytest.mark.parametrize("size", [(1, 1), (400, 3), (3, 400)])
def test_pictures_and_names_of_any_kind_are_drawn(name: str, size: tuple[int, int]) -> None:
    explanation = Explanation(-0.1, 0.0, side([[-0.2, 0.0]], 0.1), side([[-0.1, 0.0]], 0.0))
    sheet = draw_likeness(explanation, (plain("red", size), plain("blue")), (name, name))
    assert sheet.width > 2 * TILE
