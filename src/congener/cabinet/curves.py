"""Smooth outlines, tapering strokes and coordinates that follow a shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from congener.cabinet.palette import Array


def path(text: str) -> Array:
    """Read points written as "x y  x y ..."."""
    return np.array(text.split(), float).reshape(-1, 2)


def smooth(points: npt.ArrayLike, *, closed: bool = False, samples: int = 10) -> Array:
    """Run a Catmull-Rom curve through the points."""
    knots = np.asarray(points, float)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        first, last = 2 * knots[0] - knots[1], 2 * knots[-1] - knots[-2]
        knots = np.concatenate([first[None], knots, last[None]])
    t = np.linspace(0, 1, samples, endpoint=False)[None, :, None]
    a, b, c, d = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), knots[-2][None]])


def both_sides(half: npt.ArrayLike) -> Array:
    """Complete a right-hand outline, running top to bottom, with its mirror image."""
    right = np.asarray(half, float)
    return np.concatenate([right, right[::-1] * (-1, 1)])


@cache
def _circle(corners: int) -> tuple[Array, Array]:
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.cos(angles), np.sin(angles)


def ellipse(x: float, y: float, width: float, height: float, angle: float = 0.0, *, corners: int = 28) -> Array:
    """Return an ellipse with the given half axes, turned by an angle."""
    u, v = _circle(corners)
    c, s = math.cos(angle), math.sin(angle)
    points = np.empty((corners, 2))
    points[:, 0] = x + c * width * u - s * height * v
    points[:, 1] = y + s * width * u + c * height * v
    return points


def stroke(points: npt.ArrayLike, start: float, end: float) -> Array:
    """Turn a line, or a stack of lines, into ribbons whose full width runs from start to end."""
    line = np.asarray(points, float)
    along = np.empty_like(line)
    along[..., 0, :] = line[..., 1, :] - line[..., 0, :]
    along[..., -1, :] = line[..., -1, :] - line[..., -2, :]
    along[..., 1:-1, :] = line[..., 2:, :] - line[..., :-2, :]
    along /= np.sqrt((along * along).sum(axis=-1, keepdims=True)) + 1e-9
    count = line.shape[-2]
    half = (start + (end - start) / (count - 1) * np.arange(count)[:, None]) / 2
    across = along[..., ::-1] * half * (-1, 1)
    return np.concatenate([line + across, (line - across)[..., ::-1, :]], axis=-2)


def strokes(lines: Sequence[npt.ArrayLike], start: float, end: float) -> list[Array]:
    """Turn several lines into ribbons of the same widths."""
    return [stroke(line, start, end) for line in lines]


def turned(points: Array, angle: float, about: npt.ArrayLike = (0.0, 0.0)) -> Array:
    """Turn points about a centre."""
    c, s = np.cos(angle), np.sin(angle)
    centre = np.asarray(about, float)
    return np.asarray((points - centre) @ np.array([[c, s], [-s, c]]) + centre)


@dataclass(frozen=True)
class Fan:
    """Coordinates that follow an outline seen from a root.

    Reach runs from 0 at the root to 1 on the outline, turn from 0 to 1 along it. Wings, fins,
    shells and leaves all grow this way, so their patterns are simple in these coordinates.
    """

    root: tuple[float, float]
    angles: Array
    radii: Array

    @classmethod
    def over(cls, root: tuple[float, float], outline: Array) -> "Fan":
        """Build the fan of an outline that goes clockwise as seen from the root."""
        offset = outline - root
        radii = np.hypot(offset[:, 0], offset[:, 1])
        far = radii > 0.25 * radii.max()
        offset, radii = offset[far], radii[far]
        angles = np.unwrap(np.arctan2(offset[:, 1], offset[:, 0]))
        return cls(root, np.maximum.accumulate(angles) + np.arange(len(angles)) * 1e-9, radii)

    def locate(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return reach and turn of the places."""
        dx, dy = x - self.root[0], y - self.root[1]
        first, last = self.angles[0], self.angles[-1]
        middle = (first + last) / 2
        angle = (np.arctan2(dy, dx) - middle + np.pi) % (2 * np.pi) - np.pi + middle
        reach = np.hypot(dx, dy) / np.interp(angle, self.angles, self.radii)
        return reach.astype(np.float32), ((angle - first) / (last - first)).astype(np.float32)

    def place(self, reach: npt.ArrayLike, turn: npt.ArrayLike) -> Array:
        """Return the points with the given reach and turn."""
        reach, turn = np.broadcast_arrays(np.asarray(reach, float), np.asarray(turn, float))
        angle = self.angles[0] + turn * (self.angles[-1] - self.angles[0])
        radius = reach * np.interp(angle, self.angles, self.radii)
        x, y = self.root
        return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=-1)
