"""Which frame of an animation, or page of a TIFF, is the picture."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from congener import limits
from congener.errors import ImageError
from congener.images import open_image, size_of

from .conftest import plain
from .drawn import apart, colour, encoded, scene
from .tiffs import DEFLATE, tiff

SCENE = scene((80, 60)).resize((80, 60), Image.Resampling.BICUBIC)
ANIMATED: dict[str, dict[str, Any]] = {
    "GIF": {},
    "WEBP": {"lossless": True},
    "PNG": {},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}
NEAR = {"GIF": 20, "WEBP": 0, "PNG": 0, "AVIF": 24}


def animation(frames: Sequence[Image.Image], format: str, **options: Any) -> bytes:
    options |= ANIMATED[format]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=100, **options)


def fading(ground: str, shares: Sequence[float], picture: Image.Image = SCENE) -> list[Image.Image]:
    blank = Image.new("RGB", picture.size, ground)
    return [Image.blend(blank, picture, share) for share in shares]


@pytest.mark.parametrize("format", ANIMATED)
@pytest.mark.parametrize("ground", ["black", "white", "#204060"])
def test_where_an_animation_fades_in_it_is_seen_when_it_has_come(format: str, ground: str) -> None:
    frames = fading(ground, (0, 0, 0.01, 0.1, 0.3, 0.6, 1, 1))
    picture = animation(frames, format)
    assert apart(open_image(picture), SCENE) <= NEAR[format]
    assert size_of(picture) == (80, 60)


@pytest.mark.parametrize("format", ["WEBP", "PNG", "AVIF"])
def test_an_animation_that_fades_in_from_nothing(format: str) -> None:
    frames = [SCENE.convert("RGBA") for _ in range(4)]
    for frame, alpha in zip(frames, (0, 60, 255, 255), strict=True):
        frame.putalpha(alpha)
    assert apart(open_image(animation(frames, format)), SCENE) <= NEAR[format]


@pytest.mark.parametrize("format", ANIMATED)
def test_a_blank_is_passed_over_for_the_next_scene_only(format: str) -> None:
    dim = SCENE.point(lambda value: value // 2)
    other = SCENE.transpose(Image.Transpose.ROTATE_180).point(lambda value: 255 - value)
    assert apart(open_image(animation([plain("black", (80, 60)), dim, other], format)), dim) <= NEAR[format]


@pytest.mark.parametrize("format", ANIMATED)
def test_a_first_frame_that_shows_something_is_the_picture(format: str) -> None:
    pale, strong = fading("black", (0.2, 1))
    assert apart(open_image(animation([pale, strong], format)), pale) <= NEAR[format]


@pytest.mark.parametrize("format", ANIMATED)
def test_of_blanks_alone_the_first_counts(format: str) -> None:
    picture = animation([plain(name, (80, 60)) for name in ("black", "white", "red")], format)
    assert colour(open_image(picture)) == (0, 0, 0)


@pytest.mark.parametrize("format", ["GIF", "PNG"])
def test_a_damaged_later_frame_costs_no_more_than_itself(format: str) -> None:
    whole = animation([plain("black", (80, 60)), SCENE], format)
    assert colour(open_image(whole[: len(whole) * 2 // 3])) == (0, 0, 0)


def test_only_so_many_frames_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = (plain((number % 2, 0, 0), (80, 60)) for number in range(10))  # else Pillow would join equal ones
    picture = animation([*numbers, SCENE], "GIF")
    assert apart(open_image(picture), SCENE) <= NEAR["GIF"]
    for name, least in (("_FRAMES", 9), ("_FRAME_PIXELS", 80 * 60 * 9)):
        with monkeypatch.context() as patch:
            patch.setattr(f"congener.frames.{name}", least)
            assert max(colour(open_image(picture))) <= 1


def test_a_still_picture_of_one_colour_stays() -> None:
    for format in ("GIF", "PNG", "WEBP", "AVIF"):
        assert colour(open_image(encoded(plain((250, 250, 250)), format))) == pytest.approx((250, 250, 250), abs=2)


# APNG


@pytest.mark.parametrize("blend", [0, 1])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_default_image_outside_of_an_apng_is_no_part_of_it(mode: str, blend: int) -> None:
    placeholder, first = plain("red", (80, 60)).convert(mode), SCENE.convert(mode)
    expected = SCENE
    if mode == "RGBA":
        inside = Image.new("L", SCENE.size)
        inside.paste(255, (20, 10, 70, 50))
        first.putalpha(inside)
        expected = Image.new("RGB", SCENE.size, "white")
        expected.paste(SCENE, (0, 0), inside)
    later = first.transpose(Image.Transpose.ROTATE_180)
    picture = animation([placeholder, first, later], "PNG", default_image=True, blend=blend)
    assert apart(open_image(picture), expected) == 0
    assert size_of(picture) == (80, 60)


def test_a_blank_after_a_default_image_is_passed_over() -> None:
    frames = [plain("red", (80, 60)), plain("black", (80, 60)), SCENE]
    assert apart(open_image(animation(frames, "PNG", default_image=True)), SCENE) == 0


# GIF


def in_a_corner(frame: Image.Image, canvas: tuple[int, int], at: tuple[int, int]) -> bytes:
    """Return a GIF of one frame that fills but a part of its canvas."""
    picture = bytearray(encoded(frame, "GIF"))
    struct.pack_into("<HH", picture, 6, *canvas)
    colours = 3 << ((picture[10] & 7) + 1) if picture[10] & 128 else 0
    struct.pack_into("<HH", picture, picture.index(b",", 13 + colours) + 1, *at)
    return bytes(picture)


@pytest.mark.parametrize("frame", [plain((200, 30, 40), (30, 20)).quantize(4), SCENE.quantize(256)])
@pytest.mark.parametrize("free", [(20, 10, 25, 15), (0, 10, 0, 15), (20, 0, 25, 0), (0, 0, 25, 15), (20, 10, 0, 0)])
def test_around_a_gifs_small_frame_it_is_transparent(frame: Image.Image, free: tuple[int, int, int, int]) -> None:
    left, above, right, below = free
    canvas = left + frame.width + right, above + frame.height + below
    picture = open_image(in_a_corner(frame, canvas, (left, above)))
    expected = plain("white", canvas)
    expected.paste(frame.convert("RGB"), (left, above))
    assert apart(picture, expected) == 0


def test_around_a_gifs_small_frame_of_every_colour_it_is_transparent() -> None:
    greys = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    picture = open_image(in_a_corner(greys, (40, 30), (8, 8)))
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert apart(picture.crop((8, 8, 24, 24)), greys.convert("RGB")) == 0


def test_a_gifs_small_white_frame_is_seen() -> None:
    picture = open_image(in_a_corner(plain("white", (30, 20)).quantize(4), (60, 50), (10, 10)))
    assert (picture.getpixel((0, 0)), picture.getpixel((20, 20))) == ((0, 0, 0), (255, 255, 255))


# TIFF

LARGE, SMALL, OTHER = (np.asarray(scene(size)) for size in ((400, 300), (40, 30), (500, 500)))
PREVIEW: dict[str, Any] = {"tags": {254: (4, [1])}}
PAIRS: dict[str, Any] = {
    "first a preview": [(SMALL, PREVIEW), (LARGE, {})],
    "as it was marked formerly": [(SMALL, {"tags": {255: (3, [2])}}), (LARGE, {})],
    "of a page of several": [(SMALL, {"tags": {254: (4, [3])}}), (LARGE, {"tags": {254: (4, [2])}})],
    "all marked": [(SMALL, PREVIEW), (LARGE, PREVIEW)],
    "a mask first": [(SMALL, {"tags": {254: (4, [4])}}), (LARGE, {})],
    "the picture below": [(SMALL, {**PREVIEW, "below": [(LARGE, {})]})],
    "compressed": [(SMALL, PREVIEW), (LARGE, {"compression": DEFLATE, "rows": 16})],
    "the preview last": [(LARGE, {}), (SMALL, PREVIEW)],
    "the preview below": [(LARGE, {"below": [(SMALL, PREVIEW)]})],
    "several sizes, another page": [(SMALL, PREVIEW), (LARGE[::2, ::2], PREVIEW), (LARGE, {}), (OTHER, {})],
    "a kind that isn't read between": [(SMALL, PREVIEW), (LARGE.astype(np.float64), {}), (LARGE, {})],
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("pages", PAIRS.values(), ids=PAIRS)
def test_the_page_that_a_preview_is_of_is_the_picture(pages: Any, order: Any, tmp_path: Any) -> None:
    picture = tiff(*pages, order=order)
    (tmp_path / "a.tif").write_bytes(picture)
    for source in (picture, tmp_path / "a.tif"):
        assert size_of(source) == (400, 300)
        assert apart(open_image(source), Image.fromarray(LARGE)) == 0


def test_of_pages_the_first_counts() -> None:
    assert open_image(tiff((SMALL, {}), (LARGE, {}))).size == size_of(tiff((SMALL, {}), (LARGE, {}))) == (40, 30)


def test_a_preview_alone_is_the_picture() -> None:
    raw = LARGE[..., 0], {"photometric": 32803}
    for pages in ([(SMALL, PREVIEW)], [(SMALL, {**PREVIEW, "below": [raw]})]):
        assert apart(open_image(tiff(*pages)), Image.fromarray(SMALL)) == 0


def test_pages_that_go_in_a_circle_end() -> None:
    picture = bytearray(tiff((SMALL, PREVIEW), (LARGE, PREVIEW)))
    first = picture[4:8]
    picture[-4:] = first  # the last page's link
    assert size_of(bytes(picture)) == (400, 300)


def test_what_a_page_may_cost_is_asked_of_the_page_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PIXEL_LIMIT", 100_000)
    with pytest.raises(ImageError, match="400 × 300 pixels: over the limit"):
        open_image(tiff((SMALL, PREVIEW), (LARGE, {})))
    options = {"rows": 16, "lost": 1}
    monkeypatch.undo()
    with pytest.raises(ImageError, match="of its 300 rows"):
        open_image(tiff((SMALL, PREVIEW), (LARGE, options)))
