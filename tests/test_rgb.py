"""What is transparent is laid on a ground on which the picture is seen."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image, ImageDraw

from congener import Hit, Results
from congener.explain import Explanation, Side
from congener.heat import draw_likeness
from congener.images import from_array, from_picture, open_image
from congener.pictures import draw_sheet
from congener.rgb import to_rgb

from .conftest import plain
from .drawn import apart, encoded, scene
from .tiffs import tiff

PILLOW = int(PIL.__version__.split(".")[0])
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def glyph(colour: tuple[int, int, int], *, smooth: bool = True) -> Image.Image:
    """Return a disc on nothing, its edge smooth or hard."""
    scale = 4 if smooth else 1
    mask = Image.new("L", (96 * scale, 96 * scale))
    ImageDraw.Draw(mask).ellipse((20 * scale, 20 * scale, 70 * scale, 70 * scale), fill=255)
    picture = Image.new("RGB", (96, 96), colour)
    picture.putalpha(mask.resize((96, 96), Image.Resampling.BOX))
    return picture


def associated(picture: Image.Image) -> bytes:
    """Return a TIFF whose colours are multiplied by their opacity."""
    pixels = np.asarray(picture)
    colours = np.rint(pixels[..., :-1] * (pixels[..., -1:] / 255)).astype(np.uint8)
    return tiff((np.dstack([colours, pixels[..., -1]]), {"tags": {338: (3, [1])}}))


def keyed(picture: Image.Image) -> bytes:
    """Return a PNG without an alpha channel, one colour of which stands for nothing."""
    opaque = Image.new("RGB", picture.size, (1, 2, 3))
    opaque.paste(picture, (0, 0), picture)
    return encoded(opaque, "PNG", transparency=(1, 2, 3))


def files(colour: tuple[int, int, int]) -> dict[str, bytes]:
    smooth, hard = glyph(colour), glyph(colour, smooth=False)
    kinds = {
        "png": encoded(smooth, "PNG"),
        "grey png": encoded(smooth.convert("LA"), "PNG"),
        "webp": encoded(smooth, "WEBP", lossless=True),
        "avif": encoded(smooth, "AVIF"),
        "tiff": encoded(smooth, "TIFF"),
        "tiff, associated": associated(smooth),
        "palette": encoded(hard.quantize(8), "PNG"),
        "gif": encoded(hard, "GIF"),
        "colour key": keyed(hard),
    }
    if PILLOW >= 12:  # which earlier ones don't know
        kinds["palette with alpha"] = encoded(hard.convert("PA"), "TIFF")
        kinds["grey tiff, associated"] = associated(smooth.convert("LA"))
    return kinds


@pytest.mark.parametrize("kind", files(WHITE))
def test_white_on_nothing_is_seen_and_black_on_nothing_stays_on_white(kind: str) -> None:
    for colour, ground in ((WHITE, BLACK), ((235, 235, 235), BLACK), (BLACK, WHITE), ((128, 128, 128), WHITE)):
        for target in (None, 20):
            picture = open_image(files(colour)[kind], target)
            middle = picture.getpixel((picture.width // 2, picture.height // 2))
            assert picture.getpixel((0, 0)) == ground
            assert middle == pytest.approx(colour, abs=4)


def test_white_of_an_array_and_of_a_picture_is_seen() -> None:
    for picture in (from_array(np.asarray(glyph(WHITE))), from_picture(glyph(WHITE))):
        assert (picture.getpixel((0, 0)), picture.getpixel((48, 48))) == (BLACK, WHITE)


@pytest.mark.parametrize("ink", [0.0005, 0.01, 0.3])
def test_a_little_ink_on_nothing_is_seen_best_on_white(ink: float) -> None:
    picture = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(picture).rectangle((10, 10, 10 + 199 * ink**0.5, 10 + 199 * ink**0.5), fill=(40, 40, 40))
    assert open_image(encoded(picture, "PNG")).getpixel((0, 0)) == WHITE


def test_an_opaque_picture_of_one_colour_and_nothing_at_all_are_white() -> None:
    for picture in (Image.new("RGBA", (20, 20), (255, 255, 255, 255)), Image.new("RGBA", (20, 20))):
        assert open_image(encoded(picture, "PNG")).getextrema() == ((255, 255),) * 3


def test_a_scene_in_part_transparent_stays_on_white() -> None:
    picture = scene((96, 96)).convert("RGBA")
    picture.putalpha(glyph(WHITE).getchannel("A"))
    expected = Image.new("RGB", (96, 96), "white")
    expected.paste(picture, (0, 0), picture)
    assert apart(open_image(encoded(picture, "PNG")), expected) <= 1


def test_white_on_nothing_is_seen_in_sheets_thumbnails_and_explanations(tmp_path: Path) -> None:
    pixels = pytest.importorskip("congener.web.pixels")
    glyph(WHITE).save(tmp_path / "white.png")
    hit = Hit(1, 0.9, 0.9, 1, "white.png", None, None, tmp_path)
    sheet = draw_sheet(Results("white.png", [hit]), plain("red"))
    small = Image.open(BytesIO(pixels.thumbnail(str(tmp_path / "white.png"), 320)))
    shown = open_image(tmp_path / "white.png")
    side = Side(np.ones((7, 7), np.float32), 0, None, (0.0, 0.0, 1.0, 1.0))
    drawn = draw_likeness(Explanation(1.0, 1.0, side, side), (shown, shown), ("a", "b"))
    for picture, (left, top, right, bottom) in ((sheet, (50, 50, 260, 260)), (small, (0, 0, 96, 96))):
        low, high = picture.convert("L").crop((left, top, right, bottom)).getextrema()
        assert (low, high) == pytest.approx((0, 255), abs=6)
    assert np.asarray(drawn.convert("L"))[200:400, 100:400].std() > 20


def test_shrinking_a_file_leaves_what_it_covers() -> None:
    options: dict[str, Any] = {"lossless": True}
    assert open_image(encoded(glyph(BLACK), "WEBP", **options), 20).size == (48, 48)


def test_a_picture_that_is_rgb_already_is_not_copied() -> None:
    picture = plain((200, 30, 40))
    assert to_rgb(picture) is picture
    assert to_rgb(picture, 2).size == (6, 6)
