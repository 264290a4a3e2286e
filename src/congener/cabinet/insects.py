"""Beetles and the dragonfly."""

from dataclasses import dataclass

import numpy as np

from congener.cabinet.brush import SOFT, Field, Finish, Pen, Tint
from congener.cabinet.curves import Fan, both_sides, ellipse, path, smooth, stroke, strokes
from congener.cabinet.palette import Array, Colour, mix, noise, ramp, rgb, step

Rng = np.random.Generator

SHELL = Finish(volume=0.85, bulge=0.13, rim=0.45, gloss=0.75)
LIMB = Finish(volume=0.6, bulge=0.025, rim=0.35, gloss=0.3)


@dataclass(frozen=True)
class Legs:
    """Three pairs of legs: thickness, spread and colour."""

    width: float
    spread: float
    colour: Colour
    hips: tuple[float, float, float]


def _legs(pen: Pen, legs: Legs, rng: Rng) -> None:
    """Paint jointed legs: thigh, shin with spurs, and clawed foot."""
    for side in (pen, pen.mirrored()):
        for hip, aim in zip(legs.hips, ((-0.95, -1.25), (0.15, 0.45), (0.75, 1.15)), strict=True):
            _leg(side, legs, np.array([0.16, hip]), rng.normal(aim, (0.08, 0.1)), rng)


def _leg(pen: Pen, legs: Legs, hip: Array, aim: Array, rng: Rng) -> None:
    """Paint one leg from the foot inwards, so that each joint covers the next."""
    length, width = legs.spread * rng.uniform(0.92, 1.06), legs.width
    thigh, shin, sole = (
        length * long * np.array([np.cos(angle), np.sin(angle)])
        for long, angle in ((0.56, aim[0]), (0.46, aim[1]), (0.36, aim[1] - 0.5))
    )
    knee, ankle, foot = hip + thigh, hip + thigh + shin, hip + thigh + shin + sole
    toe = smooth([ankle, ankle + sole / 2 + (0.01, 0.015), foot], samples=5)
    claws = foot + np.array([[(0, 0), (0.035, -0.02)], [(0, 0), (0.03, 0.03)]])
    spurs = [knee + shin * place + np.array([(0, 0), (0.045, 0.03)]) for place in (0.6, 0.95)]
    pen.fill(stroke(toe, width * 0.35, width * 0.22), legs.colour, LIMB)
    pen.fill(strokes([*claws, *spurs], width * 0.35, 0.004), legs.colour)
    pen.fill(stroke([knee, ankle], width * 0.6, width * 0.75), legs.colour, LIMB)
    pen.fill(stroke([hip, knee], width * 1.1, width * 0.85), legs.colour, LIMB)


def _striated(base: Tint, lines: float, depth: float) -> Tint:
    """Add fine grooves along the wing case and pits between them."""

    def tint(field: Field) -> Array:
        grooves = np.cos(field.x * lines) ** 6
        pits = noise(field.x * 130, field.y * 130, roughness=0.6)
        return np.asarray(base(field) * (1 - depth * grooves + 0.03 * pits))

    return tint


def _chestnut(dark: Colour, warm: Colour) -> Tint:
    """Return a case that is dark at the seam and warmer towards the sides."""

    def tint(field: Field) -> Array:
        side = np.abs(field.x) * 2.2 + 0.12 * noise(field.x * 60, field.y * 60, roughness=1.4)
        return ramp(side, [(0, dark), (0.75, warm), (1.1, dark)])

    return tint


STAG_CASE = path("0 -0.1  0.2 -0.1  0.32 0.02  0.36 0.25  0.33 0.55  0.2 0.82  0 0.92")
STAG_COLLAR = path("0 -0.36  0.24 -0.36  0.335 -0.26  0.33 -0.14  0.22 -0.07  0 -0.06")
STAG_HEAD = path("0 -0.56  0.2 -0.58  0.285 -0.5  0.27 -0.38  0.2 -0.33  0 -0.33")


def _antler(rng: Rng) -> Array:
    """Return a right-hand stag beetle jaw with its inner teeth."""
    out, long = rng.uniform(0.28, 0.36), rng.uniform(0.92, 1.04)
    points = [(0.08, -0.54), (0.22, -0.56), (out, -0.68), (out + 0.02, -0.82), (0.26, -long + 0.02)]
    points += [(0.17, -long - 0.02), (0.15, -long + 0.03), (0.21, -long + 0.08), (0.24, -0.86)]
    points += [(0.17, -0.85), (0.16, -0.81), (0.25, -0.78), (0.24, -0.7), (0.15, -0.63)]
    return smooth(points, closed=True, samples=6)


def stag_beetle(pen: Pen, rng: Rng) -> None:
    """Paint a dark beetle with antler-like jaws."""
    warm = mix("#6d3320", "#4a2518", rng.random())
    dark = mix("#241512", "#35201a", rng.random())
    _legs(pen, Legs(0.062, rng.uniform(0.66, 0.76), "#2b1a15", (-0.2, 0.1, 0.34)), rng)
    plump = pen.at(0, 0, wide=rng.uniform(0.93, 1.06))
    antler = _antler(rng)
    jaw = _chestnut(mix(warm, "#8a4526", 0.4), warm)
    for side in (plump, plump.mirrored()):
        elbow = [(0.24, -0.5), (0.4, -0.56), (0.5, -0.46 + rng.normal(0, 0.03))]
        side.fill(stroke(elbow, 0.022, 0.016), "#2b1a15", LIMB)
        side.fill(
            [ellipse(0.5 + 0.025 * i, -0.45 + 0.028 * i, 0.025, 0.014) for i in range(3)],
            "#3a241a",
            LIMB,
        )
        side.fill(antler, jaw, Finish(0.8, 0.05, 0.45, 0.6))
    case = _striated(_chestnut(dark, warm), 26, 0.1)
    plump.fill(both_sides(smooth(STAG_CASE)), case, SHELL)
    plump.fill(stroke([(0, -0.08), (0, 0.9)], 0.014, 0.008), "#120a08")
    plump.fill(both_sides(smooth(STAG_HEAD)), _striated(_chestnut(dark, dark), 5, 0.02), SHELL)
    plump.fill(both_sides(smooth(STAG_COLLAR)), _striated(_chestnut(dark, warm), 5, 0.02), SHELL)
    plump.fill(both_sides(np.array([(0, -0.07), (0.06, -0.08), (0, 0.03)])), dark, SOFT)
    for side in (plump, plump.mirrored()):
        side.fill(ellipse(0.25, -0.46, 0.03, 0.04), "#0f0a08", Finish(0.6, 0.03, 0.2, 1))


CHAFER_CASE = path("0 -0.26  0.3 -0.27  0.42 -0.12  0.44 0.2  0.4 0.52  0.26 0.72  0 0.78")
CHAFER_COLLAR = path("0 -0.62  0.14 -0.6  0.28 -0.44  0.34 -0.27  0.18 -0.23  0 -0.25")
CHAFER_HEAD = path("0 -0.84  0.1 -0.83  0.15 -0.74  0.16 -0.62  0.12 -0.55  0 -0.54")


def rose_chafer(pen: Pen, rng: Rng) -> None:
    """Paint a metallic green beetle with white flecks."""
    copper = rng.uniform(0, 0.55)
    stops = [
        (-0.2, mix("#0c3325", "#4b2a1a", copper)),
        (0.3, mix("#226b3c", "#8d5a2b", copper)),
        (0.7, mix("#5f9a45", "#c98b3f", copper)),
        (1.3, mix("#a9bf62", "#dca05c", copper)),
    ]
    phase = rng.uniform(0.15, 0.5)

    def metal(field: Field) -> Array:
        wave = phase + 0.4 * np.cos(3.4 * field.x) * np.cos(2.6 * field.y + 0.4) - 0.1 * field.y
        return ramp(wave + 0.03 * noise(field.x * 110, field.y * 110, roughness=0.6), stops)

    _legs(
        pen,
        Legs(0.058, rng.uniform(0.5, 0.6), mix("#243a26", "#3f2a1c", copper), (-0.36, 0.0, 0.3)),
        rng,
    )
    plump = pen.at(0, 0.03, wide=rng.uniform(0.95, 1.08))
    for side in (plump, plump.mirrored()):
        side.fill(stroke([(0.12, -0.76), (0.2, -0.84)], 0.02, 0.016), "#2c2a1a", LIMB)
        fans = [ellipse(0.23, -0.87, 0.05, 0.014, -0.9 + 0.4 * i) for i in range(3)]
        side.fill(fans, "#4a3a20", LIMB)
    plump.fill(both_sides(smooth(CHAFER_HEAD)), metal, SHELL)
    case = plump.fill(both_sides(smooth(CHAFER_CASE)), _striated(metal, 16, 0.05), SHELL)
    _flecks(plump, case, rng)
    plump.fill(stroke([(0, -0.1), (0, 0.77)], 0.016, 0.008), mix("#14261a", "#2c1a10", copper))
    plump.fill(both_sides(smooth(CHAFER_COLLAR)), _striated(metal, 4, 0.02), SHELL)
    shield = smooth([(0, -0.26), (0.12, -0.25), (0.07, -0.13), (0, -0.05)], samples=6)
    plump.fill(both_sides(shield), metal, Finish(0.6, 0.04, 0.5, 0.4))


def _flecks(pen: Pen, case: Array, rng: Rng) -> None:
    """Paint the pale cross marks on a chafer's wing cases, alike on both sides."""
    count = int(rng.integers(4, 9))
    places = np.stack([rng.uniform(0.08, 0.38, count), rng.uniform(0.1, 0.66, count)], axis=1)
    marks = [
        ellipse(x, y, rng.uniform(0.02, 0.05), rng.uniform(0.006, 0.012), rng.normal(0, 0.3), corners=10)
        for x, y in places
    ]
    for side in (pen, pen.mirrored()):
        side.fill(marks, "#ece4c8", opacity=0.8, inside=case)


DRAGON_FORE = path("0.3 -0.1  0.62 -0.11  0.88 -0.09  1 -0.01  0.94 0.07  0.66 0.12  0.34 0.1")
DRAGON_HIND = path("0.3 -0.07  0.6 -0.08  0.84 -0.06  0.93 0.02  0.86 0.12  0.6 0.2  0.3 0.2  0.1 0.13")


def _net(fan: Fan) -> list[Array]:
    """Return the long veins and the cross veins of a dragonfly wing."""
    turns = np.linspace(0.03, 0.95, 9)[:, None]
    reach = np.linspace(0.02, 1, 12)
    long = fan.place(reach, turns + 0.05 * (reach - 0.5) * (turns - 0.4))
    # Cross veins of neighbouring cells are staggered, like bricks.
    rungs = np.linspace(0.2, 0.97, 13) + 0.025 * (np.arange(8) % 2)[:, None]
    low, high = (np.broadcast_to(end, rungs.shape) for end in (turns[:-1], turns[1:]))
    cross = fan.place(np.stack([rungs, rungs + 0.015], -1), np.stack([low, high], -1))
    return [*stroke(long, 0.007, 0.004), *stroke(cross.reshape(-1, 2, 2), 0.0035, 0.0035)]


def _dragon_wing(pen: Pen, points: Array, amber: float, vein: Colour) -> None:
    """Paint one glassy, netted wing with its dark wing mark."""
    root = (0.05, 0.0)
    outline = smooth([root, *points, root])
    fan = Fan.over(root, outline)

    def glass(field: Field) -> Array:
        reach, turn = fan.locate(field.x, field.y)
        sheen = 0.5 + 0.5 * np.sin(reach * 7 + turn * 5)
        clear = mix("#dfe6e2", "#c7d2d8", sheen)
        return mix(clear, "#b9762c", amber * step(-reach, -0.24, 0.2))

    mask = pen.fill(outline, glass, Finish(rim=0.5), opacity=0.5)
    pen.fill(_net(fan), vein, opacity=0.75, inside=mask)
    edge = fan.place(np.full(8, 0.985), np.linspace(0.02, 0.35, 8))
    spar = [root, points[0] + (0, 0.012), points[1] + (0, 0.012)]
    pen.fill(strokes([edge, spar], 0.016, 0.01), vein, inside=mask)
    mark = stroke([points[2] + (-0.08, 0.012), points[2] + (0.01, 0.03)], 0.036, 0.036)
    pen.fill(mark, mix(vein, "#8a3f22", 0.5), opacity=0.9, inside=mask)


def dragonfly(pen: Pen, rng: Rng) -> None:
    """Paint a dragonfly with netted wings and a banded tail."""
    tone = [
        ("#2f6f9a", "#a9c9c4"),
        ("#4f8a3c", "#c9cf7a"),
        ("#a8442a", "#dca55a"),
        ("#2c7f78", "#b9d39a"),
    ]
    main, pale = (rgb(colour) for colour in tone[rng.integers(len(tone))])
    amber, sweep = rng.uniform(0.2, 0.9), rng.normal(0, 0.05)
    rise = pen.at(0, -0.08)
    for side in (rise, rise.mirrored()):
        _dragon_wing(side.at(0, -0.1, 0.1 + sweep), DRAGON_HIND, amber, "#3a2c22")
        _dragon_wing(side.at(0, -0.2, -0.2 + sweep), DRAGON_FORE, amber, "#3a2c22")
    _dragon_tail(rise, main, pale, rng)
    for side in (rise, rise.mirrored()):
        for reach, drop in ((0.16, -0.42), (0.2, -0.3)):
            side.fill(
                strokes([[(0.05, -0.32), (reach, drop), (reach - 0.02, drop - 0.09)]], 0.016, 0.008),
                "#241a16",
            )
    rise.fill(ellipse(0, -0.2, 0.105, 0.18), _banded(main, pale, 22), Finish(0.8, 0.07, 0.4, 0.35))
    rise.fill(ellipse(0, -0.41, 0.075, 0.05), pale, SOFT)
    for side in (rise, rise.mirrored()):
        side.fill(
            ellipse(0.065, -0.42, 0.068, 0.06, 0.5),
            mix(main, "#3c2418", 0.45),
            Finish(0.8, 0.06, 0.3, 1),
        )


def _banded(main: Array, pale: Array, rate: float) -> Tint:
    """Return oblique bands of the main colour on dark with pale sides."""

    def tint(field: Field) -> Array:
        slant = np.sin((field.y - np.abs(field.x) * 1.4) * rate)
        fleece = 0.12 * noise(field.x * 140, field.y * 60, roughness=0.6)
        colour = mix(mix(main, "#1f1a16", 0.35), pale, step(slant + fleece, 0.4, 0.5))
        return np.asarray(colour * (1 + fleece))

    return tint


def _dragon_tail(pen: Pen, main: Array, pale: Array, rng: Rng) -> None:
    """Paint the long, ten-jointed abdomen."""
    length, bend = rng.uniform(0.9, 1.0), rng.normal(0, 0.03)
    down = np.linspace(0, 1, 40)
    middle = np.stack([bend * down**2, -0.06 + (length + 0.06) * down], axis=1)
    width = 0.075 - 0.035 * np.sin(np.pi * np.clip(down * 1.9, 0, 1)) - 0.012 * down
    width = width * np.where(down > 0.97, 0.7, 1)
    outline = np.concatenate(
        [middle + np.stack([width, 0 * width], 1), (middle - np.stack([width, 0 * width], 1))[::-1]]
    )

    def joints(field: Field) -> Array:
        along = (field.y + 0.06) / (length + 0.06)
        joint = (along * 10) % 1
        seam = step(np.abs(joint - 0.5), 0.44, 0.08)
        stripe = step(0.02 - np.abs(field.x - bend * along**2), 0.0, 0.02)
        spots = step(np.abs(joint - 0.3), 0.22, 0.2)
        colour = mix(pale, main, spots)
        return mix(mix(colour, "#1c1612", 0.75 * stripe), "#17110e", 0.85 * seam)

    tips = [[(bend + s * 0.015, length - 0.01), (bend + s * 0.035, length + 0.08)] for s in (-1, 1)]
    pen.fill(strokes(tips, 0.018, 0.008), "#241a16")
    pen.fill(outline, joints, Finish(0.8, 0.05, 0.4, 0.5))
