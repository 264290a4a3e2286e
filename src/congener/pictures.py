"""Result sheets: the answer to a query as one picture."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from congener.errors import ImageError
from congener.extent import fitted
from congener.original import of_hit, open_source
from congener.results import Results

COLUMNS = 4

_TILE = 240  # side of the square that a picture is fitted into, pixels
GAP = 22
MARGIN = 36
_FRAME = 5
_CAPTION = 52
PAPER = "#faf8f4"
MAT = "#efebe3"
INK = "#26231f"
FAINT = "#7d766b"
_TARGET = "#26231f"
_UNLABELLED = "#b9b2a6"
# Okabe and Ito's eight colours, which colour-blind people can tell apart, slightly muted, then four more
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#6a51a3"),
    *("#843c39", "#637939", "#1f9e9a", "#a55194"),
)
# fonts with more of the world's scripts than Pillow's own, where the system has one
_WIDE_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf"),
    *("msyh.ttc", "segoeui.ttf", "Arial.ttf"),
)


def draw_sheet(results: Results, target: Image.Image, *, similarity: bool = True) -> Image.Image:
    """Draw the hits, 1 to k, in a 4-wide grid in reading order, and the target T as the last tile.

    Under each its rank, similarity, score and name; around it a frame whose colour stands for its label.
    similarity: leave it out where the scores aren't calibrated.
    """
    rows = -(-(len(results) + 1) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * _TILE + (COLUMNS - 1) * GAP
    height = 2 * MARGIN + rows * (_TILE + _CAPTION) + (rows - 1) * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    colours = label_colours(hit.label for hit in results)
    for position, hit in enumerate(results):
        name = hit.label_name or Path(hit.path).name
        try:
            picture = open_source(of_hit(hit), _TILE)
        except ImageError as error:
            picture, name = None, str(error)
        colour = colours.get(hit.label, _UNLABELLED)
        score = f"{hit.similarity:.0%} · {hit.score:.3f}" if similarity else f"{hit.score:.3f}"
        _draw_tile(sheet, position, picture, colour, str(hit.rank), score, name)
    _draw_tile(sheet, len(results), target, _TARGET, "T", "target", Path(results.query).name)
    return sheet


def label_colours(labels: Iterable[str | None]) -> dict[str | None, str]:
    """Return a colour for each label in order of its first appearance; grey when there are too many."""
    seen = list(dict.fromkeys(label for label in labels if label is not None))
    return dict(zip(seen, _COLOURS, strict=False))


def _draw_tile(
    sheet: Image.Image,
    position: int,
    picture: Image.Image | None,
    colour: str,
    rank: str,
    score: str,
    name: str,
) -> None:
    row, column = divmod(position, COLUMNS)
    left = MARGIN + column * (_TILE + GAP)
    top = MARGIN + row * (_TILE + _CAPTION + GAP)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), MAT, colour, _FRAME)
    if picture:
        inner = _TILE - 2 * _FRAME
        picture = fitted(picture, inner)
        corner = ((inner - picture.width) // 2, (inner - picture.height) // 2)
        sheet.paste(picture, (left + _FRAME + corner[0], top + _FRAME + corner[1]))
    baseline = top + _TILE + 10
    bold = font(19)
    draw.text((left, baseline), rank, colour, bold, stroke_width=0.6, stroke_fill=colour)
    draw.text((left + _TILE, baseline + 1), score, FAINT, font(16), anchor="ra")
    draw.text((left, baseline + 25), *shorten(draw, name, _TILE))


def shorten(
    draw: ImageDraw.ImageDraw, text: str, width: int
) -> tuple[str, str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Return the text cut to the width, its colour and its font, as `ImageDraw.text` takes them."""
    text = "".join(char if char.isprintable() else "�" for char in text)
    face = font(15) if text.isascii() else _wide_font(15)
    cut = len(text)
    while cut and draw.textlength(shown := text[:cut] + "…" * (cut < len(text)), face) > width:
        cut -= 1
    return shown if cut else "", INK, face


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font, Latin only, at a size in pixels."""
    return ImageFont.load_default(size)


@lru_cache
def _wide_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in _WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return font(size)
