"""Leaves, the mushroom and the feather."""

from collections.abc import Callable, Sequence

import numpy as np

from congener.cabinet.brush import Field, Finish, Pen, Tint
from congener.cabinet.curves import Fan, both_sides, ellipse, smooth, stroke, strokes, turned
from congener.cabinet.palette import Array, Colour, band, mix, noise, ramp, step

Rng = np.random.Generator

BLADE = Finish(volume=0.45, bulge=0.06, rim=0.4)
SEASONS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ("#56702f", "#7f9440", "#a9ae5a"),
    ("#8f8a35", "#c9a83f", "#dcc46a"),
    ("#9a4a22", "#c46a2c", "#d9a24c"),
    ("#7f2a20", "#a83f2a", "#cf7a45"),
    ("#6a4a2c", "#8f6a3f", "#b5935c"),
)


def _blade(rng: Rng, heart: float) -> Tint:
    """Return the colours of a leaf: season, blotches, dry edge; heart is its lightest height."""
    deep, main, light = SEASONS[rng.integers(len(SEASONS))]
    edge = mix(deep, "#5a3a1e", rng.uniform(0.1, 0.6))
    shift, amount = int(rng.integers(200)), rng.uniform(0.25, 0.5)

    def tint(field: Field) -> Array:
        cloud = noise(field.x * 70, field.y * 70, roughness=1.8, seed=shift)
        grit = noise(field.x * 130, field.y * 130, roughness=0.6, seed=shift)
        away = np.hypot(field.x, field.y - heart)
        colour = ramp(away + 0.16 * cloud, [(0, light), (0.35, main), (0.75, deep), (1.05, edge)])
        spots = amount * step(cloud + 0.35 * grit, 1.9, 0.5)
        return np.asarray(mix(colour, "#4a2f1a", spots) * (1 + 0.05 * grit))

    return tint


def _leaf(
    pen: Pen,
    outline: Array,
    tint: Tint,
    veins: Sequence[tuple[float, Sequence[Array]]],
    stem: Array,
) -> None:
    """Paint stem, blade and veins; veins come with their widths, as a groove beside a ridge."""
    pen.fill(stroke(stem, 0.03, 0.045), "#7a5230", Finish(0.6, 0.02, 0.4))
    mask = pen.fill(outline, tint, BLADE)
    groove = pen.at(0.004, 0.005)
    for width, lines in veins:
        groove.fill(strokes(lines, width * 1.3, width * 0.5), "#3a2a16", opacity=0.4, inside=mask)
        pen.fill(strokes(lines, width, width * 0.25), "#ead9a0", opacity=0.62, inside=mask)


def oak_leaf(pen: Pen, rng: Rng) -> None:
    """Paint a long leaf with rounded lobes, and two acorns at its foot."""
    pen = pen.at(0, -0.12, wide=0.86, tall=0.86)  # there is room for acorns below
    lobes, broad = int(rng.integers(4, 6)), rng.uniform(0.5, 0.6)
    half, ribs = [(0.0, 0.78), (0.05, 0.7)], []
    for place in np.linspace(0, 1, lobes):
        y = 0.5 - 1.12 * place + rng.normal(0, 0.02)
        out = broad * (0.42 + 0.62 * np.sin(np.pi * (0.08 + 0.72 * place))) * rng.uniform(0.92, 1.08)
        half += [(0.44 * out, y + 0.13), (0.8 * out, y + 0.07)]
        half += [(out, y - 0.05), (0.84 * out, y - 0.15)]
        ribs.append(smooth([(0, y + 0.16), (0.5 * out, y + 0.02), (0.95 * out, y - 0.07)], samples=6))
    half += [(0.17, -0.86), (0.1, -0.98), (0.0, -1.0)]
    # The two sides are a little out of step.
    other = np.array([0, rng.uniform(-0.05, 0.05)])
    left = np.array(half) * (-1, 1) + other * (np.array(half)[:, :1] > 0.06)
    outline = smooth(np.concatenate([half, left[::-1]]), samples=7)
    ribs += [rib * (-1, 1) + other for rib in ribs]
    twigs = [
        np.stack([rib[i], rib[i] + (np.sign(rib[-1, 0]) * 0.13, dy)])
        for rib in ribs
        for i, dy in ((4, -0.1), (7, -0.09), (4, 0.05), (7, 0.05))
    ]
    middle = smooth([(0, 0.8), (0, 0.2), (0, -0.5), (0, -0.97)])
    stem = smooth([(0, 0.76), (0.0, 0.88), (rng.normal(0, 0.05), 1.02)])
    lean = rng.normal(0, 0.08)

    def bent(points: Array) -> Array:
        return np.asarray(points + lean * points[:, 1:] ** 2 * (1, 0))

    ranks = ((0.024, [middle]), (0.014, ribs), (0.008, twigs))
    veins = [(width, [bent(line) for line in lines]) for width, lines in ranks]
    _leaf(pen, bent(outline), _blade(rng, 0.1), veins, bent(stem))
    for side, size in ((-1, rng.uniform(0.9, 1.05)), (1, rng.uniform(0.75, 0.9))):
        foot = np.array([side * rng.uniform(0.34, 0.42), rng.uniform(0.7, 0.8)])
        pen.fill(
            stroke(smooth([(0, 0.9), (0.6 * foot[0], foot[1]), (foot[0], foot[1])]), 0.035, 0.03),
            "#6a4a2c",
            Finish(0.6, 0.02, 0.4),
        )
        _acorn(pen.at(foot[0], foot[1], -side * rng.uniform(0.2, 0.7), wide=size, tall=size), rng)


def _acorn(pen: Pen, rng: Rng) -> None:
    """Paint an acorn that hangs from the origin: a smooth nut in a scaly cup."""
    nut, shift = mix("#8f6a2c", "#5f7030", rng.uniform(0, 0.6)), int(rng.integers(200))

    def shell(field: Field) -> Array:
        grain = 0.07 * noise(field.x * 150, field.y * 12, roughness=0.8, seed=shift)
        return np.asarray(
            ramp(field.y, [(0.05, mix(nut, "#e0c890", 0.5)), (0.2, nut), (0.5, mix(nut, "#3a2412", 0.5))]) * (1 + grain)
        )

    def scales(field: Field) -> Array:
        rows = np.cos(field.y * 110) * np.cos(field.x * 75 + np.round(field.y * 17.5) * np.pi)
        return np.asarray(mix("#5f4526", "#a8875a", 0.5 + 0.5 * rows))

    half = [(0.0, 0.08), (0.135, 0.12), (0.145, 0.26), (0.1, 0.38), (0.03, 0.43), (0.0, 0.48)]
    pen.fill(both_sides(smooth(half)), shell, Finish(0.8, 0.16, 0.35, 0.6))
    cup = [(0.0, -0.02), (0.1, 0.0), (0.175, 0.08), (0.18, 0.15), (0.1, 0.175), (0.0, 0.18)]
    pen.fill(both_sides(smooth(cup)), scales, Finish(0.8, 0.1, 0.4))


# Tips of the five lobes of a maple leaf: angle from the top, length, breadth of its teeth.
MAPLE = ((0.0, 1.0, 1.0), (0.86, 0.94, 0.9), (1.85, 0.64, 0.78))


def _maple_lobe(angle: float, long: float, broad: float) -> list[tuple[float, float]]:
    """Return one toothed lobe as (angle from the top, distance from the base)."""
    teeth = [(-0.36, 0.44), (-0.31, 0.64), (-0.19, 0.62), (-0.165, 0.83), (-0.08, 0.8), (0, 1.0)]
    side = [(angle + broad * a, long * r) for a, r in teeth]
    return side + [(2 * angle - a, r) for a, r in side[-2::-1]]


def maple_leaf(pen: Pen, rng: Rng) -> None:
    """Paint a star-shaped leaf with pointed lobes."""
    base, stretch = np.array([0.0, 0.34]), rng.uniform(1.08, 1.22)
    lobes = [(angle, long * rng.uniform(0.94, 1.06), broad) for angle, long, broad in MAPLE]
    half = [knot for lobe in lobes for knot in _maple_lobe(*lobe)][5:]
    polar = np.array([*half, (2.5, 0.34), (2.9, 0.2), (np.pi, 0.03)])
    sides = []
    for sign in (1, -1):
        angle, reach = (polar + rng.normal(0, 0.018, polar.shape)).T
        side = np.stack([sign * np.sin(angle), -np.cos(angle)], axis=1)
        sides.append(base + stretch * reach[:, None] * side)
    outline = _pointed(np.concatenate([sides[0], sides[1][:0:-1]]))
    mains, twigs = [], []
    for angle, long, _ in lobes:
        for sign in (-1, 1) if angle else (1,):
            way = stretch * long * np.array([sign * np.sin(angle), -np.cos(angle)])
            mains.append(base + 0.97 * way * np.linspace(0, 1, 8)[:, None])
            for start in (0.32, 0.52, 0.7):
                root = base + 0.97 * way * start
                arm = 0.3 * (1.05 - start) * way[None]
                twigs += [np.stack([root, root + turned(arm, lean)[0]]) for lean in (-0.62, 0.62)]
    stem = smooth([tuple(base), (0.01, 0.6), (rng.normal(0, 0.12), 1.0)])
    _leaf(pen, outline, _blade(rng, 0.2), [(0.024, mains), (0.014, twigs)], stem)


def _pointed(knots: Array) -> Array:
    """Join points by slightly hollow lines, so that corners stay sharp."""
    following = np.roll(knots, -1, axis=0)
    middle = (knots + following) / 2
    inward = (knots.mean(axis=0) - middle) * 0.035
    t = np.linspace(0, 1, 6, endpoint=False)[None, :, None]
    bow = (1 - t) ** 2 * knots[:, None] + 2 * t * (1 - t) * (middle + inward)[:, None]
    return np.asarray((bow + t**2 * following[:, None]).reshape(-1, 2))


def ginkgo_leaf(pen: Pen, rng: Rng) -> None:
    """Paint a fan-shaped leaf with fine forking veins and a notch."""
    root, place = np.array([0.0, 0.5]), np.linspace(-1, 1, 60)
    angles = place * rng.uniform(0.98, 1.2) - np.pi / 2
    waves = rng.uniform(0, 6, 2)
    frill = 0.025 * np.sin(place * 14 + waves[0]) + 0.012 * np.sin(place * 37 + waves[1])
    notch = rng.uniform(0.2, 0.55) * np.exp(-((place - rng.normal(0, 0.05)) ** 2) / 0.003)
    radius = 1.22 * (1 - 0.1 * place**2 - 0.09 * np.abs(place) ** 6 + frill - notch)
    rim = root + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    waist = (rim[[0, -1]] * 0.55 + root * 0.45) + np.array([(0.02, 0.08), (-0.02, 0.08)])
    left = smooth([root, (-0.12, 0.37), waist[0], rim[0]])
    right = smooth([rim[-1], waist[1], (0.12, 0.37), root])
    outline = np.concatenate([left[:-1], rim, right[1:]])
    fan = Fan.over((0.0, 0.5), outline)
    turns, forks = np.linspace(0.04, 0.96, 34)[:, None], rng.uniform(0.35, 0.75, (34, 1))
    along = np.linspace(0, 1, 5)
    veins = [*fan.place(0.05 + (forks - 0.05) * along, turns)]
    for lean in (-0.011, 0.011):
        veins += [*fan.place(forks + (1 - forks) * along, turns + lean * along)]
    blade = _blade(rng, 0.3)

    def pleated(field: Field) -> Array:
        _, turn = fan.locate(field.x, field.y)
        pleats = noise(turn * 120, turn * 0 + 7, roughness=1.0)
        return np.asarray(blade(field) * (1 + 0.06 * pleats))

    stem = smooth([(0, 0.47), (0.02, 0.7), (rng.normal(0, 0.1), 1.02)])
    _leaf(pen, outline, pleated, [(0.008, veins)], stem)


def mushroom(pen: Pen, rng: Rng) -> None:
    """Paint a red-capped mushroom with white flecks, a ring and gills."""
    wide, high = rng.uniform(0.66, 0.82), rng.uniform(0.5, 0.66)
    brim = -0.2
    red = mix("#a82a1c", "#c4552a", rng.random())
    _stem(pen, rng)
    _gills(pen, wide, brim)
    half: list[tuple[float, float]] = [
        (0.0, brim - high),
        (0.42 * wide, brim - 0.92 * high),
        (0.84 * wide, brim - 0.5 * high),
    ]
    half += [
        (1.02 * wide, brim - 0.06),
        (0.97 * wide, brim + 0.03),
        (0.6 * wide, brim - 0.02),
        (0, brim - 0.05),
    ]

    def skin(field: Field) -> Array:
        rise = (brim - field.y) / high
        mottle = 0.1 * noise(field.x * 60, field.y * 60, roughness=1.4)
        stops = [
            (-0.1, mix(red, "#e8a050", 0.6)),
            (0.1, red),
            (0.7, red),
            (1.1, mix(red, "#6a1410", 0.4)),
        ]
        return ramp(rise + mottle, stops)

    cap = pen.fill(both_sides(smooth(half)), skin, Finish(0.75, 0.2, 0.35, 0.5))
    _flecks(pen, cap, (wide, high, brim), rng)


def _stem(pen: Pen, rng: Rng) -> None:
    bulb, lean = rng.uniform(0.2, 0.27), rng.normal(0, 0.05)
    half = np.array([(0.11, -0.22), (0.12, 0.1), (0.14, 0.5), (bulb, 0.74), (bulb * 0.85, 0.9), (0, 0.96)])
    shape = both_sides(smooth(half))
    shape[:, 0] += lean * (shape[:, 1] + 0.2)

    def flesh(field: Field) -> Array:
        fibres = 0.05 * noise(field.x * 130, field.y * 14, roughness=0.6)
        girdles = 0.1 * band(np.sin(field.y * 42 + 9 * field.x**2), 0.5, 2, 0.6) * step(field.y, 0.6, 0.08)
        base = ramp(field.y, [(-0.2, "#d9c9a4"), (0.2, "#efe5cc"), (0.7, "#e3d3b0"), (0.95, "#9a7f58")])
        return np.asarray(base * (1 + fibres - girdles))

    pen.fill(shape, flesh, Finish(0.75, 0.08, 0.35))


def _gills(pen: Pen, wide: float, brim: float) -> None:
    """Paint the underside of the cap and the ring that hangs below it."""
    under = ellipse(0, brim - 0.01, 0.96 * wide, 0.15, corners=60)

    def leaves(field: Field) -> Array:
        angle = np.arctan2((field.y - brim + 0.01) * wide / 0.15, field.x)
        depth = np.hypot(field.x / wide, (field.y - brim) / 0.15)
        cream = ramp(depth, [(0, "#8a7048"), (0.5, "#d9c79c"), (1, "#efe3c4")])
        return np.asarray(cream * (0.86 + 0.16 * np.cos(angle * 46)))

    pen.fill(under, leaves, Finish(0.2, 0.05, 0.4))
    pen.fill(ellipse(0, brim + 0.03, 0.13, 0.06), "#c9b78e", opacity=0.8)
    skirt = smooth([(0.1, -0.1), (0.16, 0.0), (0.22, 0.1), (0.17, 0.13), (0.1, 0.11), (0, 0.14)])

    def frill(field: Field) -> Array:
        pleats = 0.06 * np.cos(field.x * 70)
        return np.asarray(ramp(field.y, [(-0.1, "#efe5cc"), (0.15, "#dccb9f")]) * (1 + pleats))

    pen.fill(both_sides(np.concatenate([[(0, -0.13)], skirt])), frill, Finish(0.6, 0.05, 0.4))


def _flecks(pen: Pen, cap: Array, form: tuple[float, float, float], rng: Rng) -> None:
    """Scatter raised white flecks over the cap, flatter and smaller towards the brim."""
    wide, high, brim = form
    flecks = []
    for level, count in ((0.1, 9), (0.33, 8), (0.56, 7), (0.78, 5), (0.93, 2)):
        for place in np.linspace(-0.93, 0.93, count) * (1 - 0.1 * level) + rng.normal(0, 0.05, count):
            dome = np.sqrt(max(0.02, 1 - place**2))
            x, y = wide * place, brim - high * dome * (level + rng.normal(0, 0.04))
            size = rng.uniform(0.022, 0.05) * (0.75 + 0.45 * level)
            lumps = size * (1 + rng.normal(0, 0.16, 9))
            turn = np.linspace(0, 2 * np.pi, 9, endpoint=False)
            across = x + (0.35 + 0.65 * dome) * lumps * np.cos(turn)
            knots = np.stack([across, y + 0.8 * lumps * np.sin(turn)], axis=1)
            flecks.append(smooth(knots, closed=True, samples=3))
    pen.at(0.008, 0.014).fill(flecks, "#3a0d08", opacity=0.35, inside=cap)
    pen.fill(flecks, "#efe4cb", Finish(0.7, 0.025, 0.35), inside=cap)


def _barred(rng: Rng) -> Callable[[Array, Array], Array]:
    """Return the plumage over (place along the shaft, place across the vane)."""
    tones = [
        ("#7a5a3c", "#e0cda6"),
        ("#4f5458", "#d9d6cb"),
        ("#8a4f2c", "#e3bf8c"),
        ("#3f5f7f", "#cfd6d3"),
    ]
    dark, pale = tones[rng.integers(len(tones))]
    rate, phase, slant = rng.uniform(26, 38), rng.uniform(0, 6), rng.uniform(2, 4)

    def plumage(along: Array, across: Array) -> Array:
        wave = np.sin(along * rate + phase - slant * np.abs(across))
        tip = 0.8 * step(-along, 0.72, 0.2)
        return mix(pale, dark, np.clip(0.2 + 0.75 * step(wave, 0.1, 0.7) + tip, 0, 1))

    return plumage


def feather(pen: Pen, rng: Rng) -> None:
    """Paint a barred feather with a pale shaft and downy base."""
    bow, wide = rng.normal(0, 0.12), rng.uniform(0.9, 1.15)
    slim = rng.uniform(0.55, 0.75)
    plumage = _barred(rng)
    y = np.linspace(-0.98, 0.56, 70)
    grown = np.clip((y + 0.98) / 1.54, 0, 1)
    swell = np.sin(np.pi * grown**0.62) ** 0.55
    vane = 0.38 * wide * swell * (0.72 + 0.28 * grown)
    for sign, share in ((-1.0, slim), (1.0, 1.0)):
        _vane(pen, (y, vane * share * sign, bow), plumage, rng)
    shaft = np.stack([bow * np.linspace(-0.98, 1.0, 30) ** 2, np.linspace(-0.98, 1.0, 30)], axis=1)
    pen.fill(stroke(shaft, 0.008, 0.044), "#e9dcbc", Finish(0.7, 0.02, 0.45))


def _vane(pen: Pen, edge: tuple[Array, Array, float], plumage: Callable[[Array, Array], Array], rng: Rng) -> None:
    """Paint one side of a feather: down, the web with its splits, single barbs, a fringe."""
    y, out, bow = edge
    sign = float(np.sign(out[len(out) // 2]))
    margin = np.stack([bow * y**2 + out, y - 0.5 * np.abs(out)], axis=1)
    shaft = np.stack([bow * y**2, y], axis=1)
    _down(pen, sign, bow, rng)

    def web(field: Field) -> Array:
        across = field.x - bow * field.y**2
        along = field.y + 0.5 * np.abs(across)
        barbs = noise(across * 12, along * 150, roughness=0.6, seed=int(sign) + 3)
        return np.asarray(plumage(along, across / 0.25) * (1 + 0.1 * barbs))

    split = np.ones(len(y))
    for cut in rng.integers(8, 62, 2):
        split[cut : cut + 2] = rng.uniform(0.35, 0.75)
    torn = shaft + (margin - shaft) * split[:, None]
    mask = pen.fill(np.concatenate([torn, shaft[::-1]]), web, Finish(0.35, 0.06, 0.3))
    barbs = stroke(np.stack([shaft, margin], axis=1), 0.005, 0.003)
    pen.fill(list(barbs), "#2a1c12", opacity=0.28, inside=mask)
    fray = np.array([sign * 0.015, -0.012])
    tips = np.stack([margin * 0.9 + shaft * 0.1, margin + fray], axis=1)
    pen.fill(list(stroke(tips[2:-2], 0.008, 0.003)), "#8a7458", opacity=0.5)


def _down(pen: Pen, sign: float, bow: float, rng: Rng) -> None:
    """Paint loose curling barbs at the foot of the feather."""
    curls = []
    for place in rng.uniform(0.42, 0.66, 34):
        reach = sign * rng.uniform(0.08, 0.2)
        wisp = np.array([(0, 0), (0.6 * reach, -0.02), (reach, rng.normal(0.02, 0.06))])
        root = np.array([bow * place**2, place])
        curls.append(smooth(wisp + root, samples=5))
    pen.fill(strokes(curls, 0.01, 0.003), "#d9cfba", opacity=0.6)
