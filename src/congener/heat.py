"""Heat maps: where two images' likeness lies, drawn over them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from congener.codes import Array
from congener.explain import Area, Explanation
from congener.extent import fitted
from congener.pictures import FAINT, GAP, INK, MARGIN, MAT, PAPER, font, shorten

TILE = 420  # long side of a picture, pixels
_TITLE = 34
_HEADING = 58
_SCALE = 34
_BAR = 132  # width of the scale
# matplotlib's inferno from its middle up: lightness rises evenly, and colour-blind people can read it
_WARM = np.array([(120, 28, 109), (165, 44, 96), (207, 68, 70), (237, 105, 37), (251, 155, 6), (247, 209, 61)])
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_PAPER = np.array([250, 248, 244], np.float32)
_COLD_GREY, _COLD_LIGHT = 0.75, 0.55  # how grey, and how light, a place without likeness is
_COVER = 0.6  # of the picture by the colour, at the hottest place
_NOTHING = 0.0005  # less than this is not worth a caption
_SAME = 0.005  # the projection leaves the two sides' parts this near
_LEAST = 0.2  # a scale reaches at least what each place has of so much: else a likeness of nearly nothing would glow
_FADED = 0.72  # what the network didn't see, towards the paper

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class _Row:
    """One part of the score, on both sides."""

    heading: str
    remark: str
    amounts: tuple[float, float]
    maps: tuple[Array, Array]


def draw_likeness(
    explanation: Explanation, pictures: tuple[Image.Image, Image.Image], names: tuple[str, str]
) -> Image.Image:
    """Draw both pictures, as they are shown, under the heat of what each place adds to the score.

    A row for the pooled feature, and one for the classes where they add to the score; the greater part first. Both
    sides of a row have one scale. Places that make the images less alike are as dark as those that do nothing, and the
    caption says what they sum to.
    """
    rows = _rows(explanation)
    scaled = [fitted(picture, TILE) for picture in pictures]
    tall = max(picture.height for picture in scaled)
    row_height = _HEADING + tall + _SCALE
    width = 2 * MARGIN + 2 * TILE + GAP
    height = 2 * MARGIN + _TITLE + len(rows) * row_height + (len(rows) - 1) * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    said = f"score {explanation.score:z.3f} · similarity {explanation.similarity:.0%}"
    draw.text((width - MARGIN, MARGIN - 6), said, FAINT, font(16), anchor="ra")
    room = TILE, TILE - GAP - round(draw.textlength(said, font(16)))
    for column, name in enumerate(names):
        draw.text((MARGIN + column * (TILE + GAP), MARGIN - 6), *shorten(draw, name, room[column]))
    for number, row in enumerate(rows):
        top = MARGIN + _TITLE + number * (row_height + GAP)
        _draw_caption(sheet, top, row, explanation.score)
        hottest = max(_LEAST / row.maps[0].size, *(float(values.max()) for values in row.maps))
        _draw_pair(sheet, top + _HEADING, tall, row.maps, scaled, explanation, hottest)
        _draw_scale(sheet, top + _HEADING + tall + 12, row, hottest)
    return sheet


def _rows(explanation: Explanation) -> list[_Row]:
    query, hit = explanation.query, explanation.hit
    looks = "pooled feature, place by place"
    pooled, classes = (query.pooled, hit.pooled), (query.classes, hit.classes)
    if query.kinds is None or hit.kinds is None:
        if max(map(abs, classes)) >= _NOTHING:
            looks += f"; class probabilities add {_amounts(classes)}, which has no place"
        return [_Row("What they look like", looks, pooled, (query.map, hit.map))]
    words = "class probabilities, shown where the network sees the kinds that both may be"
    rows = [
        _Row("What they look like", looks, pooled, (query.map, hit.map)),
        _Row("What the network calls them", words, classes, (query.kinds, hit.kinds)),
    ]
    return sorted(rows, key=lambda row: -row.amounts[0])


def _amounts(amounts: tuple[float, float]) -> str:
    left, right = (f"{amount:z.3f}" for amount in amounts)
    return left if abs(amounts[0] - amounts[1]) < _SAME else f"{left} (right: {right})"


def _draw_caption(sheet: Image.Image, top: int, row: _Row, score: float) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, top), row.heading, INK, font(19), stroke_width=0.4, stroke_fill=INK)
    amount = f"{_amounts(row.amounts)} of {score:z.3f}"
    draw.text((sheet.width - MARGIN, top), amount, INK, font(19), anchor="ra")
    draw.text((MARGIN, top + 26), row.remark, FAINT, font(15))


def _draw_pair(
    sheet: Image.Image,
    top: int,
    tall: int,
    maps: tuple[Array, Array],
    pictures: Sequence[Image.Image],
    explanation: Explanation,
    hottest: float,
) -> None:
    sides = explanation.query, explanation.hit
    for column, (picture, values, side) in enumerate(zip(pictures, maps, sides, strict=True)):
        left = MARGIN + column * (TILE + GAP)
        ImageDraw.Draw(sheet).rectangle((left, top, left + TILE - 1, top + tall - 1), MAT)
        heated = overlay(picture, values, side.area, hottest)
        sheet.paste(heated, (left + (TILE - heated.width) // 2, top + (tall - heated.height) // 2))


def _draw_scale(sheet: Image.Image, top: int, row: _Row, hottest: float) -> None:
    draw = ImageDraw.Draw(sheet)
    ramp = np.broadcast_to(np.linspace(0, 1, _BAR, dtype=np.float32), (12, _BAR))
    bar = _heat(np.full((12, _BAR, 3), 150, np.float32), ramp)
    draw.text((MARGIN, top - 2), "0", FAINT, font(15))
    sheet.paste(_picture(bar), (MARGIN + 16, top + 1))
    height, width = row.maps[0].shape
    most = f"{hottest:.4f} from one of {height} by {width} places"
    draw.text((MARGIN + 16 + _BAR + 8, top - 2), most, FAINT, font(15))
    below = [float(values[values < 0].sum()) for values in row.maps]
    if min(below) < -_NOTHING:
        said = f"below 0, not shown: {below[0]:z.3f} left, {below[1]:z.3f} right"
        draw.text((sheet.width - MARGIN, top - 2), said, FAINT, font(15), anchor="ra")


def overlay(picture: Image.Image, values: Array, area: Area, hottest: float) -> Image.Image:
    """Return an RGB picture under the heat of values (h, w) that cover its area; what lies outside is faded.

    hottest: the value that has the warmest colour. Values are smoothed between the middles of their places.
    """
    pixels = np.asarray(picture, np.float32)
    result = pixels @ _GREY
    result = np.asarray(result[..., None] * (1 - _FADED) + _PAPER * _FADED, np.float32)
    left, top = round(area[0] * picture.width), round(area[1] * picture.height)
    right = max(round((area[0] + area[2]) * picture.width), left + 1)
    bottom = max(round((area[1] + area[3]) * picture.height), top + 1)
    scaled = np.asarray(np.maximum(values, 0) / hottest, np.float32)
    smooth = Image.fromarray(scaled).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    seen = pixels[top:bottom, left:right]
    heat = np.clip(np.asarray(smooth), 0, 1)[: seen.shape[0], : seen.shape[1]]
    result[top:bottom, left:right] = _heat(seen, heat)
    return _picture(result)


def _heat(pixels: Pixels, heat: Pixels) -> Pixels:
    """Return pixels (h, w, 3) under heat (h, w), 0 to 1: from grey and dim to their own colours under a warm one."""
    steps = np.linspace(0, 1, len(_WARM))
    warm = np.stack([np.interp(heat, steps, _WARM[:, channel]) for channel in range(3)], axis=-1)
    grey = (pixels @ _GREY)[..., None]
    amount = heat[..., None]
    plain = grey + (pixels - grey) * (1 - _COLD_GREY * (1 - amount))
    plain *= _COLD_LIGHT + (1 - _COLD_LIGHT) * amount
    cover = _COVER * np.minimum(1.6 * amount, 1)
    return np.asarray(plain * (1 - cover) + warm * cover, np.float32)


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))
