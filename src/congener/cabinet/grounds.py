"""The surfaces that specimens lie on."""

from collections.abc import Callable

import numpy as np

from congener.cabinet.brush import Field
from congener.cabinet.palette import Array, Colour, band, cloth, mix, ramp, rgb, step

Rng = np.random.Generator
Ground = Callable[[Field, Rng], Array]


def _cloud(spot: Field, rng: Rng, *, wide: float = 1.0, tall: float = 1.0, rough: float = 1.4) -> Array:
    """Return noise over the whole ground, stretched and shifted at random."""
    corner = rng.uniform(0, 1, 2).tolist()
    return cloth(spot.x.shape, corner, wide=wide, tall=tall, roughness=rough)


def _toned(base: Array, tone: Array) -> Array:
    """Lighten or darken a colour, or a picture, place by place."""
    return np.asarray(base * (1 + tone), np.float32)


def _pick(rng: Rng, *colours: Colour) -> Array:
    """Choose one of the colours and vary its lightness."""
    return rgb(colours[rng.integers(len(colours))]) * np.float32(rng.uniform(0.93, 1.05))


def _paper(spot: Field, rng: Rng) -> Array:
    base = _pick(rng, "#ece0c4", "#e6d6b4", "#f0e8d6", "#d9d3c0")
    stained = mix(base, "#b98f58", 0.22 * step(_cloud(spot, rng, rough=1.8), 0.9, 1.6))
    foxing = 0.3 * step(_cloud(spot, rng, rough=1.0), 3.1, 0.5)
    fibres = 0.012 * _cloud(spot, rng, wide=2.5, rough=0.6)
    return _toned(mix(stained, "#8a5a2c", foxing), fibres)


def _laid_paper(spot: Field, rng: Rng) -> Array:
    base = _pick(rng, "#b9c4c4", "#aebcc6", "#c7c3b4", "#bfb4a6")
    lines = 0.02 * np.sin(spot.y * 2.1) + 0.03 * (np.cos(spot.x * 0.13) > 0.985)
    return _toned(base, lines + 0.02 * _cloud(spot, rng))


def _linen(spot: Field, rng: Rng) -> Array:
    base = _pick(rng, "#cdbd9c", "#b7a98f", "#c4b7a5", "#a8a48c")
    warp = np.sin(spot.x * 1.9 + 0.5 * _cloud(spot, rng, wide=1, tall=30))
    weft = np.sin(spot.y * 1.9 + 0.5 * _cloud(spot, rng, wide=30, tall=1))
    slubs = _cloud(spot, rng, wide=18, rough=0.6) + _cloud(spot, rng, tall=18, rough=0.6)
    weave = 0.05 * warp * weft + 0.03 * (warp + weft) + 0.035 * slubs
    return _toned(base, weave)


def _wood(spot: Field, rng: Rng) -> Array:
    tones = [
        ("#5a3a22", "#8a5f38", "#a97b4c"),
        ("#7a5230", "#b0814e", "#c99f69"),
        ("#4a3024", "#6f4a34", "#8a6044"),
    ][rng.integers(3)]
    rings = spot.y / rng.uniform(9, 15) + 1.6 * _cloud(spot, rng, wide=7, tall=1.6, rough=1.8)
    grain = 0.5 + 0.5 * np.sin(rings) + 0.25 * _cloud(spot, rng, wide=14, rough=0.6)
    wood = ramp(grain, [(-0.3, tones[0]), (0.5, tones[1]), (1.3, tones[2])])
    board = rng.uniform(0.2, 0.8) * spot.y.max()
    seam = np.exp(-np.abs(spot.y - board) / 1.3)
    return _toned(wood, -0.55 * seam - 0.04 * (spot.y > board))


def _moss(spot: Field, rng: Rng) -> Array:
    tufts = _cloud(spot, rng, wide=1.3, tall=1.3, rough=1.4)
    sprigs = _cloud(spot, rng, wide=0.9, tall=1.8, rough=0.6)
    tones = ("#38421f", "#535f2e", "#6d7a3c", "#8e9455")
    stops = [(-2.6, tones[0]), (-0.6, tones[1]), (0.8, tones[2]), (3, tones[3])]
    moss = ramp(tufts + 0.75 * sprigs + 0.4 * _cloud(spot, rng, rough=1.8), stops)
    return moss * np.float32(rng.uniform(0.9, 1.12))


def _sand(spot: Field, rng: Rng) -> Array:
    base = _pick(rng, "#d3bb8e", "#c9b596", "#bfa77c")
    swell = spot.y * 0.1 + spot.x * rng.uniform(-0.04, 0.04)
    ripples = np.sin(swell + 0.9 * _cloud(spot, rng, wide=2, rough=1.8))
    grains = _cloud(spot, rng, rough=0.2)
    dark = mix(base, "#6b5638", 0.45 * step(grains, 2.2, 0.6))
    return _toned(dark, 0.055 * ripples + 0.05 * grains)


def _slate(spot: Field, rng: Rng) -> Array:
    base = _pick(rng, "#6f7a80", "#7d8285", "#626d78")
    cleft = _cloud(spot, rng, wide=3.5, rough=1.4)
    edges = band(cleft, 0.35, 0.5, 0.12) - band(cleft, 0.5, 0.62, 0.12)
    return _toned(
        mix(base, "#8d8570", 0.25 * step(_cloud(spot, rng, rough=1.8), 0.8, 1.5)),
        0.06 * cleft + 0.05 * edges + 0.03 * _cloud(spot, rng, rough=0.6),
    )


def _felt(spot: Field, rng: Rng) -> Array:
    base = _pick(rng, "#5a6650", "#74443e", "#56616e", "#857758")
    nap = 0.05 * _cloud(spot, rng, rough=0.6) + 0.06 * _cloud(spot, rng, rough=1.8)
    lint = 0.12 * step(_cloud(spot, rng, wide=3, rough=0.6), 2.7, 0.3)
    return _toned(base, nap + lint)


def _cork(spot: Field, rng: Rng) -> Array:
    crumbs = _cloud(spot, rng, wide=1.6, tall=1.4, rough=1.0)
    base = ramp(crumbs, [(-3, "#8a6239"), (-1, "#ab8052"), (0.6, "#bd9362"), (2.6, "#cda677")])
    pits = step(_cloud(spot, rng, wide=2.6, tall=1.8, rough=0.6), 1.9, 0.5)
    return _toned(mix(base, "#5d3f25", 0.6 * pits), 0.025 * _cloud(spot, rng, rough=0.2))


GROUNDS: tuple[Ground, ...] = (
    _paper,
    _laid_paper,
    _linen,
    _wood,
    _moss,
    _sand,
    _slate,
    _felt,
    _cork,
)


def ground(width: int, height: int, rng: Rng) -> Array:
    """Lay a ground of random material."""
    turned = rng.random() < 0.35
    if turned:
        width, height = height, width
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    laid = GROUNDS[rng.integers(len(GROUNDS))](Field(columns, rows), rng)
    return laid.transpose(0, 2, 1) if turned else laid
