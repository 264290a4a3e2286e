"""Butterflies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from congener.cabinet.brush import Field, Finish, Pen
from congener.cabinet.curves import Fan, both_sides, ellipse, path, smooth, stroke, strokes
from congener.cabinet.palette import Array, Colour, band, mix, noise, ramp, rgb, step

Rng = np.random.Generator
Pattern = Callable[[Array, Array, Array], Array]

WING = Finish(volume=0.22, bulge=0.09, rim=0.4)
FUR = Finish(volume=0.7, bulge=0.06, rim=0.3)


@dataclass(frozen=True)
class Spots:
    """A row of spots along a wing: place, half length and width, colour."""

    reach: float
    turns: Sequence[float] | Array
    size: tuple[float, float]
    colour: Colour


@dataclass(frozen=True)
class Wing:
    """One right-hand wing: outline from its root, ground pattern, veins and spots."""

    root: tuple[float, float]
    outline: Array
    pattern: Pattern
    veins: Sequence[float]
    vein_colour: Colour
    vein_width: float
    spots: Sequence[Spots] = ()
    cell: float = 0.5


@dataclass(frozen=True)
class Butterfly:
    """What distinguishes one butterfly from another."""

    fore: Wing
    hind: Wing
    fur: Colour
    abdomen: Colour
    stripe: Colour


def _vein_lines(fan: Fan, wing: Wing) -> list[Array]:
    """Return the rays from the cell to the margin and the outline of the cell itself."""
    first, last = wing.veins[0], wing.veins[-1]
    rays = fan.place(np.linspace(wing.cell, 1, 6), np.asarray(wing.veins)[:, None])
    along = np.linspace(0, wing.cell, 6)
    across = fan.place(wing.cell + 0.04 * np.sin(np.linspace(0, np.pi, 8)), np.linspace(first, last, 8))
    return [*rays, fan.place(along, first), fan.place(along, last), across]


def _paint_wing(pen: Pen, wing: Wing) -> None:
    outline = smooth([wing.root, *wing.outline, wing.root])
    fan = Fan.over(wing.root, outline)

    def tint(field: Field) -> Array:
        reach, turn = fan.locate(field.x, field.y)
        scales = 0.05 * noise(turn * 160 + 300, reach * 22, roughness=1.0)
        speckle = noise(field.x * 150, field.y * 150, roughness=0.6)
        colour = wing.pattern(reach, turn, speckle)
        return np.asarray(colour * (1 + scales + 0.03 * speckle))

    mask = pen.fill(outline, tint, WING)
    lines = strokes(_vein_lines(fan, wing), wing.vein_width, wing.vein_width * 0.6)
    pen.fill(lines, wing.vein_colour, opacity=0.85, inside=mask)
    for row in wing.spots:
        places = fan.place(row.reach, np.asarray(row.turns))
        heads = [np.arctan2(y - wing.root[1], x - wing.root[0]) for x, y in places]
        ovals = [ellipse(x, y, *row.size, angle, corners=14) for (x, y), angle in zip(places, heads, strict=True)]
        pen.fill(ovals, row.colour, opacity=0.92, inside=mask)


def _body(pen: Pen, kind: Butterfly, rng: Rng) -> None:
    """Paint abdomen, thorax, head and antennae."""
    length = rng.uniform(0.46, 0.56)
    half = smooth([(0, -0.1), (0.05, 0.0), (0.062, 0.2), (0.05, 0.36), (0, length)])

    def rings(field: Field) -> Array:
        ringed = 0.5 + 0.5 * np.sin(field.y * 75)
        side = step(np.abs(field.x), 0.035, 0.03)
        return mix(mix(kind.abdomen, kind.stripe, side), "#1a1410", 0.4 * ringed**2)

    def fur(field: Field) -> Array:
        hairs = noise(field.x * 130, field.y * 40, roughness=0.6)
        return np.asarray(rgb(kind.fur) * (1 + 0.22 * hairs))

    for side in (pen, pen.mirrored()):
        reach, lift = rng.uniform(0.24, 0.3), rng.uniform(0.6, 0.7)
        feeler = smooth([(0.02, -0.33), (reach * 0.45, -0.3 - lift * 0.38), (reach, -lift)])
        side.fill(stroke(feeler, 0.012, 0.014), "#241a14")
        tip = feeler[-1]
        side.fill(ellipse(tip[0], tip[1], 0.032, 0.014, -1.0), "#2a1c14", FUR)
    pen.fill(both_sides(half), rings, FUR)
    pen.fill(ellipse(0, -0.14, 0.085, 0.16), fur, FUR)
    pen.fill(ellipse(0, -0.315, 0.05, 0.045), fur, FUR)
    for side in (pen, pen.mirrored()):
        side.fill(ellipse(0.037, -0.335, 0.022, 0.024), "#1c130e", Finish(0.6, 0.02, 0.2, 0.8))


def _paint(pen: Pen, kind: Butterfly, rng: Rng) -> None:
    spread, droop = rng.normal(0, 0.06), rng.normal(0, 0.05)
    for side in (pen, pen.mirrored()):
        _paint_wing(side.at(0, 0, droop + rng.normal(0, 0.015)), kind.hind)
    for side in (pen, pen.mirrored()):
        _paint_wing(side.at(0, 0, spread + rng.normal(0, 0.015)), kind.fore)
    _body(pen, kind, rng)


def _between(count: int, first: float, last: float) -> Array:
    """Return the middles of the cells between evenly spread veins."""
    edges = np.linspace(first, last, count + 1)
    return np.asarray((edges[1:] + edges[:-1]) / 2)


def _varied(points: Array, rng: Rng) -> Array:
    """Shift the points of an outline a little."""
    return np.asarray(points + rng.normal(0, 0.012, points.shape))


FORE_ROOT = (0.04, -0.16)
HIND_ROOT = (0.03, -0.06)

MONARCH_FORE = path("0.36 -0.44  0.7 -0.68  0.95 -0.77  1 -0.66  0.9 -0.42  0.86 -0.2  0.82 0  0.6 0.05  0.3 0.02")
MONARCH_HIND = path("0.35 -0.14  0.7 -0.08  0.83 0.12  0.79 0.36  0.62 0.56  0.4 0.66  0.2 0.58  0.09 0.3")


def monarch(pen: Pen, rng: Rng) -> None:
    """Paint an orange butterfly with black veins and a white-spotted black margin."""
    edge, black = rng.uniform(0.8, 0.86), "#17110e"
    deep, bright = rng.uniform(0, 1, 2)
    root, disc = mix("#a8471b", "#8f3a16", deep), mix("#dd7a24", "#e0912f", bright)

    def fore(reach: Array, turn: Array, speckle: Array) -> Array:
        colour = ramp(reach, [(0, root), (0.45, disc), (0.9, root)])
        apex = step(reach + 0.25 * (0.42 - turn), 0.72, 0.08) * step(-turn, -0.52, 0.12)
        border = step(reach + 0.01 * speckle, edge, 0.05)
        costa = step(-turn, -0.08, 0.05) + step(turn, 0.95, 0.04)
        return mix(colour, black, np.clip(apex + border + costa, 0, 1))

    def hind(reach: Array, turn: Array, speckle: Array) -> Array:
        colour = ramp(reach, [(0, root), (0.5, disc), (0.9, root)])
        return mix(colour, black, step(reach + 0.01 * speckle, edge + 0.02, 0.05))

    size = rng.uniform(0.013, 0.019)
    white = mix("#f4ead2", "#fbf6ea", rng.random())
    cells = _between(14, 0.08, 0.96)
    spots = [Spots(0.955, cells, (size, size), white), Spots(0.9, cells, (size, size * 0.8), white)]
    patches = [
        Spots(0.8, (0.13, 0.21, 0.29), (0.06, 0.024), disc),
        Spots(0.66, (0.2, 0.29, 0.38), (0.05, 0.022), mix(disc, white, 0.5)),
    ]
    veins = np.linspace(0.12, 0.94, 8).tolist()
    fore_shape, hind_shape = _varied(MONARCH_FORE, rng), _varied(MONARCH_HIND, rng)
    kind = Butterfly(
        Wing(FORE_ROOT, fore_shape, fore, veins, black, 0.024, [*spots, *patches]),
        Wing(HIND_ROOT, hind_shape, hind, veins, black, 0.022, spots, 0.45),
        fur="#1d1613",
        abdomen="#2a1f1a",
        stripe="#191210",
    )
    _paint(pen, kind, rng)


SWALLOW_FORE = path("0.32 -0.42  0.68 -0.72  0.96 -0.86  1 -0.74  0.92 -0.48  0.86 -0.2  0.8 0  0.58 0.03  0.3 0")
SWALLOW_HIND = path(
    "0.32 -0.12  0.62 -0.06  0.76 0.12  0.74 0.34  0.66 0.48  0.6 0.56  0.61 0.76  0.62 0.93  "
    "0.55 0.94  0.5 0.76  0.44 0.6  0.32 0.62  0.2 0.52  0.09 0.26"
)


def swallowtail(pen: Pen, rng: Rng) -> None:
    """Paint a tailed yellow butterfly with black bands, a blue border and a red eye spot."""
    yellow = mix("#e8cf72", "#f0dd9a", rng.random())
    black, edge = "#1d1813", rng.uniform(0.78, 0.83)

    def fore(reach: Array, turn: Array, speckle: Array) -> Array:
        dusted = 0.06 * speckle
        dark = step(reach + 0.01 * speckle, edge, 0.04) + step(-reach + dusted, -0.3, 0.12)
        bars = band(reach, 0.42, 0.48, 0.03) + band(reach, 0.6, 0.66, 0.03)
        dark += bars * step(-turn, -0.42, 0.1) + step(-turn, -0.07, 0.05)
        return mix(yellow, black, np.clip(dark, 0, 1))

    def hind(reach: Array, turn: Array, speckle: Array) -> Array:
        dark = step(reach, edge - 0.13, 0.05) + 0.8 * step(turn, 0.86, 0.06)
        colour = mix(yellow, black, np.clip(dark, 0, 1))
        dust = band(reach + 0.03 * speckle, edge - 0.09, edge + 0.03, 0.05) * step(turn, 0.1, 0.05)
        return mix(colour, "#5f86b8", 0.85 * dust * step(-turn, -0.84, 0.04))

    moons = _between(8, 0.08, 0.98)
    size = rng.uniform(0.02, 0.027)
    fore_spots = [Spots(0.89, moons, (0.018, size), yellow)]
    hind_spots = [
        Spots(0.9, (0.1, 0.2, 0.31, 0.4, 0.74), (0.022, 0.04), yellow),
        Spots(0.83, (0.86,), (0.062, 0.055), "#1d1813"),
        Spots(0.83, (0.86,), (0.045, 0.042), mix("#b8402a", "#c9642f", rng.random())),
        Spots(0.87, (0.865,), (0.014, 0.034), "#6f93c2"),
    ]
    veins = np.linspace(0.1, 0.94, 8).tolist()
    hind_veins = [0.08, 0.18, 0.29, 0.4, 0.66, 0.78, 0.9]
    fore_shape = _varied(SWALLOW_FORE, rng)
    kind = Butterfly(
        Wing(FORE_ROOT, fore_shape, fore, veins, black, 0.015, fore_spots, 0.52),
        Wing(HIND_ROOT, SWALLOW_HIND, hind, hind_veins, black, 0.013, hind_spots, 0.42),
        fur="#2c241a",
        abdomen="#211b15",
        stripe="#d9c272",
    )
    _paint(pen, kind, rng)


MORPHO_FORE = path(
    "0.34 -0.46  0.66 -0.72  0.92 -0.8  0.96 -0.64  0.87 -0.4  0.84 -0.16  0.84 0.06  0.62 0.12  0.3 0.06"
)
MORPHO_HIND = path(
    "0.36 -0.1  0.72 -0.02  0.86 0.16  0.83 0.36  0.72 0.46  0.62 0.6  0.46 0.66  0.34 0.76  0.2 0.64  0.1 0.3"
)


def morpho(pen: Pen, rng: Rng) -> None:
    """Paint a shimmering blue butterfly with a dark margin."""
    edge, gleam = rng.uniform(0.8, 0.88), rng.uniform(0.3, 0.7)
    blues = [(0, "#15264f"), (0.25, "#1f4f98"), (0.6, "#2f7fc4"), (0.85, "#6bb4dc")]

    def shimmer(reach: Array, turn: Array, speckle: Array) -> Array:
        sheen = 0.5 * np.exp(-(((turn - gleam) / 0.28) ** 2))
        colour = ramp(np.clip(0.15 + 0.5 * reach + sheen - 0.15 * reach**3, 0, 1), blues)
        dark = step(reach + 0.012 * speckle, edge, 0.09)
        return mix(colour, "#120e12", dark)

    def fore(reach: Array, turn: Array, speckle: Array) -> Array:
        tip = step(reach + 0.3 * (0.3 - turn), 0.78, 0.1) * step(-turn, -0.4, 0.2)
        dark = np.clip(tip + step(-turn, -0.05, 0.05), 0, 1)
        return mix(shimmer(reach, turn, speckle), "#120e12", dark)

    white = mix("#e9e4d8", "#c9d6df", rng.random())
    fore_spots = [
        Spots(0.93, _between(6, 0.1, 0.9), (0.012, 0.012), white),
        Spots(0.83, (0.14, 0.22), (0.026, 0.016), white),
    ]
    hind_spots = [Spots(0.94, _between(6, 0.25, 0.95), (0.012, 0.018), mix(white, "#a8563a", 0.5))]
    veins = np.linspace(0.1, 0.92, 7).tolist()
    fore_shape, hind_shape = _varied(MORPHO_FORE, rng), _varied(MORPHO_HIND, rng)
    kind = Butterfly(
        Wing(FORE_ROOT, fore_shape, fore, veins, "#173460", 0.009, fore_spots),
        Wing(HIND_ROOT, hind_shape, shimmer, veins, "#173460", 0.009, hind_spots, 0.45),
        fur="#2a2326",
        abdomen="#332b2c",
        stripe="#221c1e",
    )
    _paint(pen, kind, rng)
