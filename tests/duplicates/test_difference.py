"""Whether two pictures are copies: templates are not, whatever is the same; edits of one picture are."""

import random
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from congener.duplicates.borders import pixels
from congener.duplicates.difference import Verdict, judge, within

from ..conftest import plain


def verdict(first: Image.Image, second: Image.Image) -> Verdict:
    return judge(first, within(first), second, within(second))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


# templates: each number draws another, of one form


def invoice(number: int) -> Image.Image:
    same, own = random.Random(1), random.Random(number)
    page = plain("white", (310, 440))
    draw = ImageDraw.Draw(page)
    draw.rectangle((20, 20, 100, 45), "navy")
    draw.text((110, 22), "EXAMPLE LTD - Invoice", "black", _font(13))
    for line in range(14):
        row = " ".join("".join(same.choices("abcdeilmnorstu", k=6)) for _ in range(4))
        draw.text((20, 90 + 20 * line), row, "black", _font(11))
        draw.text((260, 90 + 20 * line), f"{(own if line == 5 else same).randint(10, 99)}.00", "black", _font(11))
    return page


def ticket(number: int) -> Image.Image:
    own = random.Random(number)
    card = plain("ivory", (400, 160))
    draw = ImageDraw.Draw(card)
    draw.rectangle((0, 0, 400, 30), "darkred")
    draw.text((10, 5), "EXAMPLE OPERA", "white", _font(18))
    draw.text((15, 60), f"{own.randint(10, 40)}   {own.randint(10, 60)}", "black", _font(26))
    for x in range(260, 380, 5):
        draw.rectangle((x, 45, x + own.randint(1, 4), 140), "black")
    return card


def board(number: int) -> Image.Image:
    """A draughts board after so many moves."""
    own = random.Random(2)
    men = {(row, column): row > 3 for row in (0, 1, 6, 7) for column in range(8)}
    for _ in range(number):
        man = own.choice(list(men))
        free = [(row, column) for row in range(2, 6) for column in range(8) if (row, column) not in men]
        men[own.choice(free)] = men.pop(man)
    picture = plain("burlywood", (240, 240))
    draw = ImageDraw.Draw(picture)
    for at in range(64):
        x, y = 30 * (at % 8), 30 * (at // 8)
        if (at + at // 8) % 2:
            draw.rectangle((x, y, x + 29, y + 29), "saddlebrown")
        if (at // 8, at % 8) in men:
            draw.ellipse((x + 7, y + 7, x + 23, y + 23), "white" if men[at // 8, at % 8] else "black")
    return picture


def lamps(number: int) -> Image.Image:
    panel = plain((120, 124, 128), (320, 240))
    draw = ImageDraw.Draw(panel)
    for at in range(12):
        x, y = 45 + 75 * (at % 4), 45 + 70 * (at // 4)
        draw.ellipse((x - 12, y - 12, x + 12, y + 12), "lime" if at == number else (70, 70, 60), "black")
        draw.text((x - 8, y + 16), f"L{at}", "black", _font(11))
    return panel


def slide(number: int) -> Image.Image:
    same = random.Random(3)
    page = plain("white", (480, 270))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 480, 35), "steelblue")
    for line in range(8):
        words = ["".join(same.choices("abcdeilmnorstu", k=6)) for _ in range(5)]
        if line == 4:
            words[2] = "".join(random.Random(number).choices("abcdeilmnorstu", k=6))
        draw.text((30, 55 + 25 * line), " ".join(words), "black", _font(14))
    return page


def city_map(number: int) -> Image.Image:
    same, own = np.random.default_rng(4), random.Random(number)
    page = plain("linen", (350, 250))
    draw = ImageDraw.Draw(page)
    for x, y, to_x, to_y, width in same.integers((0, 0, 0, 0, 2), (350, 250, 350, 250, 7), (20, 5)).tolist():
        draw.line((x, y, to_x, to_y), "white", width)
    x, y = own.randint(20, 330), own.randint(20, 230)
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), "red")
    return page


def notes(number: int) -> Image.Image:
    own = random.Random(number)
    page = plain("white", (310, 300))
    draw = ImageDraw.Draw(page)
    for staff in range(5):
        for line in range(5):
            draw.line((20, 40 + 50 * staff + 5 * line, 290, 40 + 50 * staff + 5 * line), "black")
        for x in range(30, 290, 20):
            y = 40 + 50 * staff + 5 * own.randint(0, 4)
            draw.ellipse((x - 4, y - 3, x + 4, y + 3), "black")
    return page


def captioned(number: int) -> Image.Image:
    """A photo's stand-in, with other words below."""
    picture = scene(9)
    words = "".join(random.Random(number).choices("abcdeilmnorstu ", k=18))
    ImageDraw.Draw(picture).text((160, 200), words, "white", _font(20), "mm", stroke_width=1, stroke_fill="black")
    return picture


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Return what has the grain and the gradients of a photo, in several hues."""
    drawn = np.random.default_rng(seed)
    coarse = drawn.integers(50, 200, (6, 8, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    picture = Image.fromarray(np.clip(smooth + drawn.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for x, y, side, *colour in drawn.integers((20, 20, 10, 0, 0, 0), (300, 220, 40, 255, 255, 255), (9, 6)).tolist():
        draw.ellipse((x - side, y - side, x + side, y + side), tuple(colour))
    return picture


TEMPLATES = (invoice, ticket, board, lamps, slide, city_map, notes, captioned)


def _saved(picture: Image.Image, quality: int) -> Image.Image:
    kept = BytesIO()
    picture.save(kept, "JPEG", quality=quality)
    return Image.open(kept).convert("RGB")


def _smaller(picture: Image.Image, share: float) -> Image.Image:
    return picture.resize((round(share * picture.width), round(share * picture.height)), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("draw", TEMPLATES)
def test_two_of_one_form_are_no_copies(draw: Callable[[int], Image.Image]) -> None:
    first, second = draw(0), draw(1)
    assert verdict(first, second) == verdict(second, first) == "other"
    assert verdict(first, _saved(second, 30)) == "other"
    assert verdict(first, _saved(_smaller(second, 0.6), 80)) == "other"
    assert verdict(first, ImageEnhance.Brightness(second).enhance(1.1)) == "other"


@pytest.mark.parametrize("draw", TEMPLATES)
def test_a_copy_of_a_form_is_one(draw: Callable[[int], Image.Image]) -> None:
    form = draw(0)
    assert verdict(form, _saved(form, 75)) == "copy"
    assert verdict(form, _saved(_smaller(form, 0.75), 80)) == "copy"
    assert verdict(form, ImageEnhance.Brightness(form).enhance(0.9)) == "copy"


def letter(number: int) -> Image.Image:
    """A page full of writing, with a number of its own."""
    same = random.Random(1)
    page = plain("white", (620, 877))
    draw = ImageDraw.Draw(page)
    for line in range(44):
        words = " ".join("".join(same.choices("abcdeilmnorstu", k=6)) for _ in range(10))
        draw.text((45, 130 + 16 * line), words, "black", _font(11))
    draw.text((450, 100), f"Invoice No. 2024-{1041 + number}", "black", _font(12))
    return page


def test_writing_that_is_too_small_to_be_read_tells_no_copy() -> None:
    first, second = letter(0), letter(2)
    assert verdict(first, second) == "other"
    for share, quality in ((0.5, 80), (0.35, 85)):
        assert verdict(first, _saved(_smaller(second, share), quality)) == "other"
    small, other = (_saved(_smaller(page, 0.45), 30) for page in (first, second))
    assert verdict(small, other) == "other"
    assert verdict(first, _saved(first, 80)) == "copy"


def test_no_line_of_a_frame_is_left_on_a_picture() -> None:
    """It would be a difference at every edge, in pictures larger than where frames are looked for."""
    for seed, wide in ((1, 14), (2, 15), (3, 17)):
        framed = _saved(ImageOps.expand(scene(seed, (640, 480)), wide, "white"), 85)
        left, top, right, bottom = pixels(within(framed), framed)
        for margin in (left, top, framed.width - right, framed.height - bottom):
            assert wide < margin <= wide + 8


def test_a_piece_that_is_gone_makes_another_picture() -> None:
    whole, taken = board(0), board(0)
    ImageDraw.Draw(taken).rectangle((31, 31, 59, 59), "burlywood")
    assert verdict(whole, taken) == verdict(taken, whole) == "other"


def _sepia(picture: Image.Image) -> Image.Image:
    grey = np.asarray(picture.convert("L"), np.float32)[..., None]
    return Image.fromarray(np.clip(grey * [1.07, 0.89, 0.7] + [12, 0, 0], 0, 255).astype(np.uint8))


def _toned(gamma: float) -> Callable[[Image.Image], Image.Image]:
    return lambda picture: picture.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "quality": lambda picture: _saved(picture, 30),
    "quarter": lambda picture: _smaller(picture, 0.25),
    "cropped": lambda picture: picture.crop((0, 0, 304, 228)),
    "contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.1),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "gamma": _toned(0.75),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "sepia": _sepia,
    "bars": lambda picture: ImageOps.expand(picture, (0, 30), "black"),
    "white frame": lambda picture: _saved(ImageOps.expand(picture, 20, "white"), 85),
    "red frame": lambda picture: ImageOps.expand(picture, 9, "firebrick"),
    "two frames": lambda picture: ImageOps.expand(ImageOps.expand(picture, 8, "white"), 14, "sienna"),
    "screen": lambda picture: _saved(ImageOps.expand(picture, (0, 200), "black"), 85),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_a_picture_is_a_copy(name: str) -> None:
    for seed in (1, 2):
        assert verdict(scene(seed), EDITS[name](scene(seed))) == "copy"


# marks


def _marked(picture: Image.Image, text: str, place: tuple[float, float], colour: str = "white") -> Image.Image:
    marked = picture.copy()
    ImageDraw.Draw(marked).text((place[0] * 320, place[1] * 240), text, colour, _font(17), "mm")
    return _saved(marked, 90)


def test_a_mark_is_told_and_which_of_the_two_is_the_clean_one() -> None:
    for seed in (1, 2):
        clean = scene(seed)
        for text, place in (("© A. Photographer", (0.6, 0.92)), ("www.example.org", (0.4, 0.1))):
            assert verdict(clean, _marked(clean, text, place)) == "marked"
            assert verdict(_marked(clean, text, place), clean) == "first marked"


def test_two_with_different_marks_are_no_copies() -> None:
    clean = scene(1)
    here, there = _marked(clean, "A. Photographer", (0.6, 0.92)), _marked(clean, "B. Artist", (0.6, 0.92))
    assert verdict(here, there) == "other"
    assert verdict(here, _marked(clean, "A. Photographer", (0.4, 0.1))) == "other"


def test_a_word_on_paper_is_no_mark() -> None:
    page = invoice(0)
    stamped = page.copy()
    ImageDraw.Draw(stamped).text((180, 400), "PAID 12.07.24", "black", _font(17))
    assert verdict(page, stamped) == "other"
