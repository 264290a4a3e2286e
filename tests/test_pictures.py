from pathlib import Path

import pytest

from congener import Hit, Results
from congener.pictures import COLUMNS, draw_sheet, label_colours

from .conftest import plain, write


def results(folder: Path, *labels: str | None) -> Results:
    hits = [
        Hit(rank, 1 - rank / 100, 0.9, rank, f"{rank}.png", label, label, folder)
        for rank, label in enumerate(labels, 1)
    ]
    return Results("somewhere/target.jpg", hits)


@pytest.mark.parametrize(("k", "rows"), [(0, 1), (1, 1), (3, 1), (4, 2), (10, 3)])
def test_the_grid_is_four_wide_and_holds_the_target(tmp_path: Path, k: int, rows: int) -> None:
    sheet = draw_sheet(results(tmp_path, *["a"] * k), plain("red"))
    one_row = draw_sheet(results(tmp_path), plain("red"))
    assert sheet.width == one_row.width
    assert round(sheet.height / one_row.height) in (rows, rows - (rows > 1))
    assert COLUMNS == 4


def test_hits_lie_in_reading_order_and_the_target_last(tmp_path: Path) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    for rank, colour in enumerate(colours, 1):
        write(tmp_path / f"{rank}.png", colour)
    sheet = draw_sheet(results(tmp_path, "a", "a", "b", None), plain((9, 90, 190)))
    pitch = sheet.width // 4
    middles = [sheet.getpixel((pitch // 2 + pitch * column, 150)) for column in range(4)]
    assert middles == colours
    assert sheet.getpixel((pitch // 2, 150 + 314)) == (9, 90, 190)


def test_equal_labels_have_equal_colours() -> None:
    colours = label_colours(["a", None, "b", "a", "c"])
    assert set(colours) == {"a", "b", "c"}
    assert len(set(colours.values())) == 3
    assert len(label_colours(map(str, range(50)))) < 50


def test_a_picture_that_has_gone_leaves_an_empty_tile(tmp_path: Path) -> None:
    assert draw_sheet(results(tmp_path, "a"), plain("red")).size[0] > 0


@pytest.mark.parametrize("name", ["a" * 300, "Käfer 蝶 🦋", "new\nline", "\udcff", ""])
def test_names_of_any_kind_are_drawn(tmp_path: Path, name: str) -> None:
    write(tmp_path / "1.png", "red")
    assert draw_sheet(results(tmp_path, name), plain("red")).mode == "RGB"


@pytest.mark.parametrize("size", [(1, 1), (4000, 3), (3, 4000)])
def test_pictures_of_any_shape_fit_their_tile(tmp_path: Path, size: tuple[int, int]) -> None:
    assert draw_sheet(results(tmp_path), plain("red", size)).mode == "RGB"
