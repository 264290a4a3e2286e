"""Alignment: where a picture lies within another that shows the same, to a fraction of a pixel."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.floating[Any]]
"""(height, width): a picture's grey, or what is measured at each of its pixels, in units of 0 to 255."""


_SAMPLE = 4000  # pixels at least, from which we see how much fits badly


class Placement(NamedTuple):
    """Where the pixels of one picture lie in another of equal size: scale and shift along each side, in pixels."""

    across: float = 1.0
    right: float = 0.0
    along: float = 1.0
    down: float = 0.0

    def scaled(self, across: float, along: float) -> "Placement":
        """Return the same placement in pictures that are larger by these factors."""
        return Placement(self.across, self.right * across, self.along, self.down * along)

    def of(self, plane: Plane, rule: Image.Resampling = Image.Resampling.BILINEAR) -> Plane:
        """Return what another picture's plane has at the places of this one's pixels."""
        height, width = plane.shape
        grid = (self.across, 0.0, self.right, 0.0, self.along, self.down)
        moved = Image.fromarray(plane).transform((width, height), Image.Transform.AFFINE, grid, rule)
        return np.asarray(moved, np.float32)

    def covers(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return which pixels (height, width) of the one lie in the other."""
        x, y = (np.arange(width) + 0.5) * self.across + self.right, (np.arange(height) + 0.5) * self.along + self.down
        result: NDArray[np.bool_] = ((y > 0.5) & (y < height - 0.5))[:, None] & ((x > 0.5) & (x < width - 0.5))
        return result


def align(one: Image.Image, other: Image.Image, sides: tuple[int, ...] = (48, 96, 192, 384)) -> Placement:
    """Return where the pixels of a grey picture lie in another of equal size (Lucas and Kanade, IJCAI 1981).

    From coarse to fine: the long side has so many pixels. Where the two don't show the same it is of no use.
    """
    placement, before = Placement(), one.size
    long = max(one.size)
    for side in (*(side for side in sides if side < long), min(long, sides[-1])):
        size = max(16, round(one.width * side / long)), max(16, round(one.height * side / long))
        placement = placement.scaled(size[0] / before[0], size[1] / before[1])
        a, b = (np.asarray(each.resize(size, Image.Resampling.BICUBIC), np.float32) for each in (one, other))
        placement = _refine(a, b, placement, rounds=12 if side <= 96 else 5)
        before = size
    return placement.scaled(one.width / before[0], one.height / before[1])


def _refine(one: Plane, other: Plane, placement: Placement, rounds: int) -> Placement:
    """Move a placement by Gauss and Newton's steps towards least squares, in which what fits badly counts little."""
    height, width = one.shape
    y, x = np.arange(height, dtype=np.float32)[:, None] + 0.5, np.arange(width, dtype=np.float32)[None] + 0.5
    terms = np.empty((6, height, width), np.float32)
    terms[5] = 1
    for _ in range(rounds):
        moved = placement.of(other)
        inside = placement.covers(height, width)
        count = int(np.count_nonzero(inside))
        if count < one.size // 2:
            break
        gain, level = _line(moved[inside], one[inside])
        _slopes(moved, terms[3], terms[1])
        terms[1] *= gain
        terms[3] *= gain
        np.multiply(terms[1], x, out=terms[0])
        np.multiply(terms[3], y, out=terms[2])
        terms[4] = moved
        error = one - gain * moved - level
        some = np.abs(error[inside][:: max(1, count // _SAMPLE)])
        spread = max(4.0, float(np.quantile(some, 0.9)))  # most of a page is paper: a median says nothing
        weight = inside / (1 + (error / np.float32(spread)) ** 2)
        flat = terms.reshape(6, -1)
        weighted = flat * weight.reshape(-1)
        step = np.linalg.lstsq(weighted @ flat.T, weighted @ error.reshape(-1), rcond=1e-7)[0]
        across, right_, along, down_ = step[:4].tolist()
        step_size = max(abs(across) * width, abs(right_), abs(along) * height, abs(down_))
        if step_size > width / 8:
            break
        placement = Placement(
            placement.across + across, placement.right + right_, placement.along + along, placement.down + down_
        )
        if step_size < 0.01:
            break
    return placement


def _slopes(plane: Plane, down: Plane, right: Plane) -> None:
    """Write how a plane rises from pixel to pixel into others."""
    for rises, of in ((down, plane), (right.T, plane.T)):
        np.subtract(of[2:], of[:-2], out=rises[1:-1])
        rises[1:-1] *= 0.5
        rises[0], rises[-1] = of[1] - of[0], of[-1] - of[-2]


def _line(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float]:
    x_mean, y_mean = float(x.mean()), float(y.mean())
    spread = float(((x - x_mean) ** 2).mean())
    gain = float(((x - x_mean) * (y - y_mean)).mean()) / max(spread, 1e-6)
    gain = min(max(gain, 0.3), 3.0)
    return gain, y_mean - gain * x_mean
