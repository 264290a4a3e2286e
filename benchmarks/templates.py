"""Pictures of one form, each with something of its own: a number, a word, a piece, a lamp. They are no copies."""

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "abcdeilmnorstu"


def _page(size: tuple[int, int], colour: str = "white") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    page = Image.new("RGB", size, colour)
    return page, ImageDraw.Draw(page)


def _words(drawn: random.Random, count: int) -> str:
    return " ".join("".join(drawn.choices(LETTERS, k=drawn.randint(3, 8))) for _ in range(count))


def invoice(number: int) -> Image.Image:
    """Draw one of a letterhead, with items of its own."""
    own = random.Random(number)
    page, draw = _page((620, 877))
    draw.rectangle((40, 40, 200, 90), "navy")
    draw.text((220, 50), "EXAMPLE LTD - Invoice", "black", ImageFont.load_default(24))
    draw.text((420, 120), f"No. {own.randint(10000, 99999)}", "black", ImageFont.load_default(16))
    for line in range(5):
        draw.text((40, 240 + 26 * line), _words(own, 4), "black", ImageFont.load_default(15))
        draw.text((500, 240 + 26 * line), f"{own.randint(1, 999)}.00", "black", ImageFont.load_default(15))
    for line in range(6):
        draw.text((40, 740 + 18 * line), "Payable within 14 days.", "grey", ImageFont.load_default(12))
    return page


def table(number: int) -> Image.Image:
    """Draw 120 numbers, of which one is another."""
    same, own = random.Random(1), random.Random(number)
    page, draw = _page((800, 600))
    place = number * 7 % 120
    for at in range(120):
        value = (own if at == place else same).randint(1000, 9999)
        draw.text((30 + 128 * (at % 6), 15 + 29 * (at // 6)), str(value), "black", ImageFont.load_default(16))
    return page


def slide(number: int) -> Image.Image:
    """Draw text of which one word is another."""
    same = random.Random(2)
    page, draw = _page((960, 540))
    draw.rectangle((0, 0, 960, 70), "steelblue")
    for line in range(8):
        words = _words(same, 6).split()
        if line == number % 8:
            words[number % 6] = "".join(random.Random(number).choices(LETTERS, k=6))
        draw.text((60, 110 + 48 * line), " ".join(words), "black", ImageFont.load_default(24))
    return page


def board(number: int) -> Image.Image:
    """Draw a game after so many moves."""
    own = random.Random(3)
    men = {(row, column): row > 3 for row in (0, 1, 6, 7) for column in range(8)}
    for _ in range(number):
        man = own.choice(list(men))
        free = [(row, column) for row in range(2, 6) for column in range(8) if (row, column) not in men]
        men[own.choice(free)] = men.pop(man)
    page, draw = _page((480, 480), "burlywood")
    for row in range(8):
        for column in range(8):
            x, y = 60 * column, 60 * row
            if (row + column) % 2:
                draw.rectangle((x, y, x + 59, y + 59), "saddlebrown")
            if (row, column) in men:
                draw.ellipse((x + 14, y + 14, x + 46, y + 46), "white" if men[row, column] else "black")
    return page


def panel(number: int) -> Image.Image:
    """Draw twelve lamps, of which one is lit."""
    page, draw = _page((640, 480), "grey")
    for at in range(12):
        x, y = 90 + 150 * (at % 4), 90 + 140 * (at // 4)
        draw.ellipse((x - 25, y - 25, x + 25, y + 25), "lime" if at == number else "dimgrey", "black")
        draw.text((x - 20, y + 34), f"L{at}", "black", ImageFont.load_default(18))
    return page


def city_map(number: int) -> Image.Image:
    """Draw a map with one pin."""
    same, own = np.random.default_rng(4), random.Random(number)
    page, draw = _page((700, 500), "linen")
    for x, y, to_x, to_y, width in same.integers((0, 0, 0, 0, 3), (700, 500, 700, 500, 12), (25, 5)).tolist():
        draw.line((x, y, to_x, to_y), "white", width)
    x, y = own.randint(60, 640), own.randint(60, 440)
    draw.polygon([(x, y), (x - 9, y - 22), (x + 9, y - 22)], "red")
    draw.ellipse((x - 10, y - 34, x + 10, y - 14), "red")
    return page


def notes(number: int) -> Image.Image:
    """Draw staves with notes of their own."""
    own = random.Random(number)
    page, draw = _page((620, 800))
    for staff in range(7):
        for line in range(5):
            draw.line((40, 90 + 100 * staff + 10 * line, 580, 90 + 100 * staff + 10 * line), "black")
        for x in range(60, 570, 32):
            y = 90 + 100 * staff + 5 * own.randint(0, 8)
            draw.ellipse((x - 6, y - 4, x + 6, y + 4), "black")
    return page


def bars(number: int) -> Image.Image:
    """Draw a bar code."""
    own = random.Random(number)
    page, draw = _page((400, 220))
    x = 30
    while x < 370:
        width = own.randint(2, 7)
        draw.rectangle((x, 20, x + width, 180), "black")
        x += width + own.randint(2, 7)
    return page


TEMPLATES: dict[str, Callable[[int], Image.Image]] = {
    each.__name__: each for each in (invoice, table, slide, board, panel, city_map, notes, bars)
}
