"""Shells and the starfish."""

import math

import numpy as np

from congener.cabinet.brush import Field, Finish, Pen
from congener.cabinet.curves import Fan, both_sides, ellipse, smooth, turned
from congener.cabinet.palette import Array, band, mix, noise, ramp, step

Rng = np.random.Generator


def nautilus(pen: Pen, rng: Rng) -> None:
    """Paint a chambered nautilus, sawn in half so that its spiral of chambers shows."""
    growth, end = rng.uniform(0.165, 0.19), rng.uniform(0.2, 0.6)
    size = 0.92 * np.exp(-growth * 2 * np.pi)
    coil = np.linspace(0, 2 * np.pi, 120)
    rim = size * np.exp(growth * coil)
    outer = np.stack([rim * np.cos(coil + end), rim * np.sin(coil + end)], axis=1)
    mouth = outer[-1] + (outer[0] - outer[-1]) * np.array([[0.3], [0.7]])
    inward = turned((outer[0] - outer[-1])[None], np.pi / 2)[0] * rng.uniform(0.02, 0.08)
    lip = smooth([outer[-1], *(mouth + inward), outer[0]])
    tones = _shell_tones(rng)
    chambers, phase = rng.uniform(2.3, 2.9), rng.uniform(0, 1)
    living = 2 * np.pi - rng.uniform(1.3, 1.9)

    def section(field: Field) -> Array:
        radius = np.hypot(field.x, field.y) + 1e-4
        angle = (np.arctan2(field.y, field.x) - end) % (2 * np.pi)
        turns = np.log(radius / size) / growth
        lap = np.ceil((turns - angle) / (2 * np.pi))
        across = 1 + (turns - angle) / (2 * np.pi) - lap
        along = angle + 2 * np.pi * lap
        return _chambers(across, along, (chambers, phase, living), tones)

    side = pen.at(0, 0, wide=rng.choice([-1.2, 1.2]), tall=1.2)
    side = side.at(-0.14 * math.cos(end), -0.14 * math.sin(end))
    side.fill(np.concatenate([outer, lip]), section, Finish(volume=0.5, bulge=0.05, rim=0.5, gloss=0.2))


def _shell_tones(rng: Rng) -> tuple[Array, Array, Array]:
    """Return the colours of a shell's wall, its depths and its mother-of-pearl."""
    wall = mix("#f0e2c4", "#e6cfa2", rng.random())
    depth = mix("#5d3018", "#6f4a34", rng.random())
    pearl = mix("#ead9c8", "#d5dcd8", rng.random())
    return wall, depth, pearl


def _chambers(
    across: Array, along: Array, form: tuple[float, float, float], tones: tuple[Array, Array, Array]
) -> Array:
    """Colour a shell section from the place across and along its coil."""
    (count, phase, living), (wall, depth, pearl) = form, tones
    bowl = np.sin(np.pi * np.clip(across, 0, 1))
    cell = (along * count + phase + 1.1 * bowl) % 1
    room = ramp(cell, [(0, depth), (0.3, mix(depth, pearl, 0.55)), (0.75, pearl), (1, wall)])
    closed = step(-along - 1.1 / count * bowl, -living, 0.02)
    lustre = bowl + 0.12 * np.sin(along * 5 + across * 9)
    body = ramp(lustre, [(0, depth), (0.45, mix(depth, pearl, 0.7)), (0.8, pearl), (1.1, wall)])
    deep = 0.55 * step(-along, -living - 0.6, 1.4)
    colour = mix(mix(body, depth, deep), room, closed)
    septum = closed * (1 - band(cell, 0.05, 0.93, 0.06))
    tube = closed * band(across, 0.42, 0.5, 0.05) * step(cell, 0.6, 0.2)
    colour = mix(mix(colour, wall, 0.9 * septum), depth, 0.45 * tube)
    colour = colour * (0.74 + 0.3 * bowl)
    edge = 1 - band(across, 0.07, 0.92, 0.04)
    stripes = step(np.sin(along * 11), 0.2, 0.7) * step(-along, -living - 0.5, 1)
    rust = mix(wall, "#8f4a26", 0.35 + 0.5 * stripes)
    return mix(colour, rust, edge)


def scallop(pen: Pen, rng: Rng) -> None:
    """Paint a ribbed fan shell."""
    hues = [
        ("#c9694a", "#f0cfae"),
        ("#b58a4a", "#efe0ba"),
        ("#8f5a78", "#e6cbd0"),
        ("#b8452f", "#eab58c"),
    ]
    deep, pale = hues[rng.integers(len(hues))]
    hinge, ribs = (0.0, 0.8), int(rng.integers(12, 16))
    fan = Fan.over(hinge, _scallop_rim(hinge, ribs, rng))
    bands, phase = rng.uniform(9, 16), rng.uniform(0, 6)

    def ribbed(field: Field) -> Array:
        reach, turn = fan.locate(field.x, field.y)
        rib = np.cos((turn - 0.5) * 2 * np.pi * ribs)
        cloud = noise(field.x * 40, field.y * 40, roughness=1.4)
        grown = np.sin(reach**1.6 * bands + phase + 0.4 * cloud)
        share = 0.35 + 0.4 * grown + 0.3 * (0.7 - reach) - 0.15 * rib
        lines = 0.04 * np.sin(reach**1.5 * 80 + 1.2 * rib)
        relief = 0.86 + 0.2 * rib * step(reach, 0.1, 0.3) + lines
        return np.asarray(mix(pale, deep, np.clip(share, 0, 1)) * relief)

    def ears(field: Field) -> Array:
        lines = np.sin(np.abs(field.x) * 75 + field.y * 12)
        return np.asarray(mix(pale, deep, 0.45 + 0.25 * lines))

    broad = rng.uniform(0.36, 0.46)
    ear = smooth([(0, 0.5), (0.26, 0.5), (broad - 0.05, 0.56), (broad, 0.68), (broad + 0.03, 0.83)])
    ear = np.concatenate([ear, [(0.2, 0.85), (0, 0.86)]])
    pen.fill(both_sides(ear), ears, Finish(0.5, 0.05, 0.45))
    outline = np.concatenate([[hinge], fan.place(1.0, np.linspace(0, 1, 200))])
    pen.fill(outline, ribbed, Finish(0.75, 0.18, 0.45, 0.12))


def _scallop_rim(hinge: tuple[float, float], ribs: int, rng: Rng) -> Array:
    """Return the scalloped edge: a circle seen from the hinge, waved by the ribs."""
    radius = rng.uniform(0.8, 0.86)
    middle = hinge[1] - rng.uniform(0.93, 0.99)
    far = hinge[1] - middle
    place = np.linspace(-1, 1, 260)
    angle = place * np.arcsin(radius / far) * 0.985
    reach = far * np.cos(angle) + np.sqrt(radius**2 - (far * np.sin(angle)) ** 2)
    reach *= 1 + 0.016 * np.cos(place * np.pi * ribs) * (1 - place**8)
    return np.stack([hinge[0] + reach * np.sin(angle), hinge[1] - reach * np.cos(angle)], axis=1)


def starfish(pen: Pen, rng: Rng) -> None:
    """Paint a five-armed, knobbly starfish."""
    main = mix("#c0562c", "#a8432f", rng.random())
    main = mix(main, ["#c98a3a", "#8a4a6a", "#b0552f"][rng.integers(3)], rng.uniform(0, 0.7))
    pale, waist = mix(main, "#f3d9a8", 0.65), rng.uniform(0.27, 0.36)
    arms = 2 * np.pi * np.arange(5) / 5 - np.pi / 2 + rng.normal(0, 0.05, 5)
    reach = rng.uniform(0.86, 1.02, 5)
    bend = rng.normal(0, 0.14, 5)
    outline = []
    for index, (angle, long) in enumerate(zip(arms, reach, strict=True)):
        for radius, off in (
            (waist, -0.6),
            (0.6 * long, -0.17),
            (long, -0.06),
            (long, 0.06),
            (0.6 * long, 0.17),
        ):
            swing = angle + off + bend[index] * radius**2
            outline.append((radius * np.cos(swing), radius * np.sin(swing)))
    shape = smooth(outline, closed=True, samples=9)

    def skin(field: Field) -> Array:
        radius = np.hypot(field.x, field.y)
        grit = noise(field.x * 120, field.y * 120, roughness=0.6)
        colour = ramp(
            radius + 0.08 * grit,
            [(0, mix(main, pale, 0.35)), (0.4, main), (1, mix(main, pale, 0.3))],
        )
        return np.asarray(colour * (1 + 0.09 * grit))

    body = pen.fill(shape, skin, Finish(0.7, 0.1, 0.4, 0.1))
    _knobs(pen, body, (arms, reach, bend), pale, rng)


def _knobs(pen: Pen, body: Array, limbs: tuple[Array, Array, Array], pale: Array, rng: Rng) -> None:
    """Set rows of pale knobs along the arms and scatter small ones between."""
    big, small = [], []
    for angle, long, bend in zip(*limbs, strict=True):
        for radius in np.arange(0.1, 0.95 * long, 0.075):
            swing = angle + bend * radius**2
            x, y = radius * np.cos(swing), radius * np.sin(swing)
            big.append(ellipse(x, y, 0.026 - 0.012 * radius, 0.026 - 0.012 * radius, corners=12))
            side = 0.1 * (1 - radius / long) + 0.035
            for sign in (-1, 1):
                dx, dy = -np.sin(swing) * sign * side, np.cos(swing) * sign * side
                small.append(ellipse(x + dx, y + dy, 0.014, 0.014, corners=8))
    scatter = rng.normal(0, 0.4, (160, 2))
    small += [ellipse(x, y, 0.008, 0.008, corners=6) for x, y in scatter]
    bead = Finish(0.6, 0.02, 0.4, 0.3)
    pen.fill(small, mix(pale, "#fff3d8", 0.2), opacity=0.75, inside=body)
    pen.fill(big, pale, bead, opacity=0.95, inside=body)
