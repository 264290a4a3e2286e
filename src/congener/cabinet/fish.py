"""Fish."""

from dataclasses import dataclass

import numpy as np

from congener.cabinet.brush import Field, Finish, Pen, Tint
from congener.cabinet.curves import Fan, ellipse, path, smooth, stroke
from congener.cabinet.palette import Array, Colour, band, mix, noise, ramp, step

Rng = np.random.Generator

BODY = Finish(volume=0.65, bulge=0.16, rim=0.35, gloss=0.25)
EYE = Finish(volume=0.4, bulge=0.03, rim=0.3, gloss=1.0)


@dataclass(frozen=True)
class Fin:
    """A fin: where its rays meet, its outline and its look."""

    root: tuple[float, float]
    outline: Array
    rays: int
    inner: Colour
    outer: Colour
    spiny: bool = False


def _fin(pen: Pen, fin: Fin) -> None:
    outline = smooth(fin.outline, samples=8)
    fan = Fan.over(fin.root, outline)

    def web(field: Field) -> Array:
        reach, turn = fan.locate(field.x, field.y)
        ribs = 0.5 + 0.5 * np.cos(turn * 2 * np.pi * fin.rays)
        colour = ramp(reach, [(0.2, fin.inner), (1, fin.outer)])
        flecks = 0.1 * noise(field.x * 90, field.y * 90, roughness=1.0)
        return np.asarray(colour * (0.86 + 0.2 * ribs + flecks))

    mask = pen.fill(outline, web, Finish(rim=0.35), opacity=0.88)
    turns = np.linspace(0.02, 0.98, fin.rays + 1)
    rays = stroke(fan.place(np.linspace(0.1, 1.0, 5), turns[:, None]), 0.012, 0.004)
    pen.fill(list(rays), mix(fin.inner, "#2a1a12", 0.55), opacity=0.5, inside=mask)
    if fin.spiny:
        spines = stroke(fan.place([0.5, 1.04], turns[::2, None]), 0.014, 0.003)
        pen.fill(list(spines), mix(fin.inner, "#2a1a12", 0.6))


def _scaled(base: Tint, size: float, depth: float, head: float) -> Tint:
    """Cover a body, but not its head, with scales in rows that are offset like roof tiles."""

    def tint(field: Field) -> Array:
        row = np.floor(field.y / size)
        u = (field.x / size * 0.8 + 0.5 * (row % 2)) % 1 - 0.5
        v = field.y / size - row - 0.5
        arc = np.hypot(u + 0.28, v * 0.95)
        shade = band(arc, 0.52, 0.8, 0.2) - 0.6 * step(-arc, -0.45, 0.3)
        fade = step(field.x, head, 0.14)
        return np.asarray(base(field) * (1 - depth * shade * fade))

    return tint


def _head(pen: Pen, body: Array, eye: tuple[float, float, float], iris: Colour, dark: Colour) -> None:
    """Paint the eye and the gill cover onto a body that faces left."""
    x, y, size = eye
    place = np.array([x, y])
    pen.fill(ellipse(x, y, size, size), mix(dark, iris, 0.4), EYE)
    pen.fill(ellipse(x, y, size * 0.86, size * 0.86), iris, Finish(rim=0.3))
    pen.fill(ellipse(x, y, size * 0.5, size * 0.52), "#0d0b0a", EYE)
    glint = ellipse(x - size * 0.2, y - size * 0.24, size * 0.16, size * 0.16)
    pen.fill(glint, "#ffffff", opacity=0.9)
    gill = smooth(path("0.1 -0.13  0.23 -0.02  0.22 0.14  0.1 0.26") + place)
    pen.fill(stroke(gill, 0.012, 0.02), dark, opacity=0.55, inside=body)
    plate = smooth(path("0.07 -0.04  0.13 0.06  0.08 0.17") + place)
    pen.fill(stroke(plate, 0.008, 0.012), dark, opacity=0.35, inside=body)


PERCH = path(
    "-0.94 0.05  -0.84 -0.06  -0.62 -0.2  -0.32 -0.3  0 -0.27  0.36 -0.16  0.66 -0.085  "
    "0.76 -0.08  0.76 0.08  0.62 0.085  0.36 0.17  0 0.27  -0.36 0.29  -0.66 0.22  -0.86 0.13"
)
PERCH_BACK = path("-0.38 -0.26  -0.32 -0.52  -0.2 -0.56  -0.02 -0.47  0.1 -0.3  0.08 -0.22")
PERCH_SOFT = path("0.12 -0.22  0.18 -0.42  0.3 -0.4  0.42 -0.22  0.42 -0.12")
PERCH_TAIL = path("0.72 -0.06  0.88 -0.24  1 -0.3  0.95 -0.1  0.91 0  0.95 0.1  1 0.3  0.88 0.24  0.72 0.06")
PERCH_VENT = path("0.36 0.12  0.36 0.34  0.24 0.42  0.14 0.34  0.1 0.2")
PERCH_BELLY = path("-0.2 0.24  -0.12 0.46  -0.26 0.46  -0.38 0.36  -0.42 0.24")
PERCH_BREAST = path("-0.44 0.06  -0.26 0  -0.2 0.08  -0.28 0.16  -0.42 0.12")


def _perch_fins(pen: Pen, red: Array, olive: Array, rng: Rng) -> None:
    back = PERCH_BACK * (1, rng.uniform(0.86, 1.02))
    orange, dun = mix(olive, red, 0.5), mix(olive, "#6c6a4a", 0.5)
    _fin(pen, Fin((-0.1, 0.5), back, 14, olive, dun, spiny=True))
    _fin(pen, Fin((0.22, 0.4), PERCH_SOFT, 9, olive, mix(olive, red, 0.3)))
    _fin(pen, Fin((0.6, 0.0), PERCH_TAIL, 16, orange, red))
    _fin(pen, Fin((0.3, -0.1), PERCH_VENT, 9, red, red))
    _fin(pen, Fin((-0.34, 0.0), PERCH_BELLY, 8, red, red))


def perch(pen: Pen, rng: Rng) -> None:
    """Paint a slender greenish fish with dark bars and red fins."""
    olive = mix("#5f6a35", "#6f6138", rng.random())
    red, pale = mix("#b5452a", "#c9712f", rng.random()), mix("#d9c98c", "#e3d6ae", rng.random())
    bars, phase = rng.uniform(16, 20), rng.uniform(0, 6)
    deep = pen.at(0, 0, wide=rng.choice([-1, 1]), tall=rng.uniform(0.9, 1.12))
    _perch_fins(deep, red, olive, rng)

    def flank(field: Field) -> Array:
        wander = 0.5 * noise(field.x * 60, field.y * 30, roughness=1.8)
        belly = field.y + 0.02 * wander
        stops = [
            (-0.3, mix(olive, "#2a2c18", 0.6)),
            (-0.08, olive),
            (0.1, mix(olive, pale, 0.55)),
            (0.26, pale),
        ]
        bar = step(np.sin(field.x * bars + phase + wander) - field.y * 1.6, 0.35, 0.5)
        bar *= band(field.x, -0.5, 0.72, 0.12) * step(-field.y, -0.14, 0.14)
        return mix(ramp(belly, stops), "#252714", 0.72 * bar)

    body = deep.fill(smooth(PERCH, closed=True), _scaled(flank, 0.05, 0.24, -0.52), BODY)
    line = smooth([(-0.48, -0.1), (-0.1, -0.14), (0.3, -0.06), (0.72, 0)])
    deep.fill(stroke(line, 0.008, 0.006), "#2a2514", opacity=0.5, inside=body)
    _head(deep, body, (-0.7, -0.06, 0.055), mix("#d9a441", "#c98a3a", rng.random()), "#2b2513")
    mouth = smooth([(-0.95, 0.055), (-0.86, 0.07), (-0.8, 0.1)])
    deep.fill(stroke(mouth, 0.012, 0.008), "#2b1d13", opacity=0.8, inside=body)
    _fin(deep, Fin((-0.48, 0.08), PERCH_BREAST, 9, mix(red, pale, 0.4), mix(red, pale, 0.2)))


ANGEL = path(
    "-0.66 0.04  -0.6 -0.04  -0.42 -0.24  -0.16 -0.44  0.12 -0.44  0.32 -0.26  0.46 -0.1  "
    "0.54 -0.08  0.54 0.08  0.46 0.1  0.3 0.28  0.1 0.44  -0.18 0.44  -0.44 0.26  -0.6 0.12"
)
ANGEL_SAIL = path("-0.2 0.38  0.08 0.66  0.36 0.9  0.72 1  0.5 0.72  0.42 0.46  0.34 0.2")
ANGEL_STREAMER = path("-0.2 0.4  -0.14 0.7  0.06 1.02  -0.02 1  -0.24 0.72  -0.3 0.38")
ANGEL_TAIL = path("0.52 -0.08  0.74 -0.26  0.98 -0.34  0.88 -0.12  0.86 0  0.88 0.12  0.98 0.34  0.74 0.26  0.52 0.08")
ANGEL_BREAST = path("-0.2 0.06  -0.02 -0.02  0.04 0.08  -0.04 0.18  -0.18 0.14")


def _angel_fins(pen: Pen, pale: Array, dusk: Array, rng: Rng) -> None:
    sail = ANGEL_SAIL * (rng.uniform(0.86, 1.1), rng.uniform(0.9, 1.03))
    _fin(pen, Fin((-0.16, 0.3), sail * (1, -1), 15, dusk, pale))
    _fin(pen, Fin((-0.16, -0.3), sail[::-1], 15, dusk, pale))
    _fin(pen, Fin((-0.26, 0.2), ANGEL_STREAMER, 4, mix(pale, dusk, 0.3), pale))
    _fin(pen, Fin((0.36, 0.0), ANGEL_TAIL, 15, mix(pale, dusk, 0.35), pale))


def angelfish(pen: Pen, rng: Rng) -> None:
    """Paint a tall silvery fish with long fins and dark upright bands."""
    silver = mix("#bdb592", "#b0b8b2", rng.random())
    pale = mix(silver, "#e9e2cc", 0.5)
    dusk, dark = mix("#6a6250", "#8a7448", rng.random()), "#221d18"
    deep = pen.at(0, 0, wide=rng.choice([-0.95, 0.95]), tall=rng.uniform(0.84, 0.95))
    _angel_fins(deep, pale, dusk, rng)

    def flank(field: Field) -> Array:
        belly = mix(silver, "#efe9d6", 0.6)
        back = ramp(field.y, [(-0.45, dusk), (-0.12, silver), (0.15, belly), (0.45, silver)])
        wander = 0.012 * noise(field.x * 50, field.y * 50, roughness=1.4)
        x = field.x + 0.12 * field.y**2 + wander
        bars = band(x, -0.46, -0.38, 0.04) + band(x, -0.08, 0.03, 0.05) + band(x, 0.33, 0.42, 0.04)
        gold = 0.4 * step(-field.y, 0.1, 0.3) * step(-field.x, 0.2, 0.3)
        return mix(mix(back, "#c9953f", gold), dark, 0.9 * bars)

    body = deep.fill(smooth(ANGEL, closed=True), _scaled(flank, 0.042, 0.2, -0.34), BODY)
    for side in (-1, 1):
        streak = smooth([(-0.02, side * 0.42), (0.08, side * 0.58), (0.2, side * 0.74)])
        deep.fill(stroke(streak, 0.1, 0.03), dark, opacity=0.45)
    _head(deep, body, (-0.43, -0.05, 0.06), mix("#c9472f", "#d9a03f", rng.random()), dark)
    mouth = smooth([(-0.67, 0.045), (-0.6, 0.06), (-0.57, 0.09)])
    deep.fill(stroke(mouth, 0.014, 0.008), "#3a2a1c", opacity=0.8, inside=body)
    _fin(deep, Fin((-0.24, 0.1), ANGEL_BREAST, 8, pale, "#efe9d6"))
