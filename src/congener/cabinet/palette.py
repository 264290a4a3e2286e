"""Colours, colour ramps and tileable noise.

Coloured areas are arrays of three planes (red, green, blue), so that masks and shades of one
plane multiply onto them directly.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]
Colour = str | Array

TILE = 512


def rgb(colour: Colour) -> Array:
    """Return a colour as three planes of one pixel, from 0 to 1; strings read like "#aa7733"."""
    if isinstance(colour, str):
        values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return np.array(values, np.float32)[:, None, None]
    return colour


def mix(first: Colour, second: Colour, share: Array | float) -> Array:
    """Blend from the first colour (share 0) to the second (share 1)."""
    first, second = rgb(first), rgb(second)
    return np.asarray(first + (second - first) * np.asarray(share, np.float32), np.float32)


def ramp(position: Array, stops: Sequence[tuple[float, Colour]]) -> Array:
    """Look positions up in a gradient given by (position, colour) stops."""
    places = [place for place, _ in stops]
    colours = np.array([rgb(colour).ravel() for _, colour in stops])
    steps = np.linspace(places[0], places[-1], 256)
    table = np.stack([np.interp(steps, places, colours[:, i]) for i in range(3)])
    index = ((position - places[0]) * (255 / (places[-1] - places[0]))).astype(np.intp)
    # Taking along an axis is several times quicker here than indexing.
    return np.take(table.astype(np.float32), index, axis=1, mode="clip")


def step(value: Array, edge: float, softness: float) -> Array:
    """Rise from 0 to 1 where the value passes the edge, over the given softness."""
    rise = np.clip((value - edge) / softness + 0.5, 0, 1)
    return np.asarray(rise * rise * (3 - 2 * rise))


def band(value: Array, low: float, high: float, softness: float) -> Array:
    """Return 1 between two values and 0 outside, with soft flanks."""
    return step(value, low, softness) - step(value, high, softness)


@cache
def _tile(roughness: float) -> Array:
    """Return a tileable square of 1/f noise with mean 0 and deviation 1."""
    white = np.random.default_rng(1735).normal(size=(TILE, TILE))
    frequency = np.fft.fftfreq(TILE)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    radius[0, 0] = 1
    tile = np.fft.ifft2(np.fft.fft2(white) * radius**-roughness).real
    tile -= tile.mean()
    return np.asarray(tile / tile.std(), np.float32)


def noise(x: Array, y: Array, *, roughness: float = 1.4, seed: int = 0) -> Array:
    """Sample noise at the given places; one noise cell is one unit wide."""
    columns = (x + 97 * seed).astype(np.int32) % TILE
    rows = (y + 61 * seed).astype(np.int32) % TILE
    return np.take(_tile(roughness), rows * TILE + columns)


def cloth(shape: tuple[int, int], corner: Sequence[float], *, wide: float, tall: float, roughness: float) -> Array:
    """Return a sheet of noise whose cells are stretched to the given width and height in pixels."""
    height, width = shape
    spans = width / wide, height / tall
    left, top = (share * (TILE - span) for share, span in zip(corner, spans, strict=True))
    if wide == tall == 1:
        return _tile(roughness)[int(top) : int(top) + height, int(left) : int(left) + width]
    box = (left, top, left + spans[0], top + spans[1])
    tile = Image.fromarray(_tile(roughness))
    return np.asarray(tile.resize((width, height), Image.Resampling.BICUBIC, box=box))


def colour_drift(rng: np.random.Generator) -> Array:
    """Return a matrix that turns hue, saturation and warmth a little."""
    angle = rng.uniform(-0.1, 0.1)
    saturation = 1 + rng.normal(0, 0.1)
    grey = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * grey
    gains = 1 + rng.normal(0, 0.03, 3) + rng.normal(0, 0.05)
    drift = np.diag(gains) @ (grey + saturation * (np.eye(3) - grey)) @ turn
    return np.asarray(drift, np.float32)
