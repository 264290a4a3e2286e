"""Marks: a line of writing that one of two pictures has and the other has not, such as a photographer's name."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]

_SIGN = 0.85  # of what differs must be brighter, or darker, in the one: two writings differ both ways
_PEAK = 0.5  # and the other way nothing may differ by more than so much of it
_LONG = 0.12  # of the short side: what a line of writing has at least
_ASPECT = 2.0  # and how many times its height
_STROKES = 3  # it crosses its own mean so often
_CLEAR = 1.2  # how many times as sharp as in the clean picture the strokes' edges are
_FLAT = 0.8  # levels: the median of steps from pixel to pixel; paper and drawings have less


def mark(first: Plane, second: Plane, differs: NDArray[np.bool_]) -> int | None:
    """Return which of two pictures (height, width, 3) in equal tones has a mark that the other has not: 0, 1, or None.

    differs: (height / 2, width / 2), where the two do. A mark is one line of several strokes in one colour, all
    brighter or all darker than what is below, on the ground of a photo. On paper, a board, a slide, whatever differs
    may be what matters: there it is none. The same where either could be the clean one.
    """
    box = _box(differs)
    height, width = first[box].shape[:2]
    if max(height, width) < max(_LONG * min(first.shape[:2]), _ASPECT * min(height, width)):
        return None
    if not is_one_sided(first, second, differs):
        return None
    one, other = _telling(first, second, box)
    edges = _steps(one - other)
    strong = edges >= np.quantile(edges, 0.85)
    drawn = [float(_steps(plane)[strong].mean()) for plane in (one, other)]
    has = int(drawn[1] > drawn[0])
    clean = (second, first)[has]
    photo = max(float(np.median(_steps(plane.mean(axis=2)))) for plane in (clean, clean[box])) > _FLAT
    clear = max(drawn) > _CLEAR * min(drawn)
    return has if photo and clear and _strokes(np.abs(one - other)) >= _STROKES else None


def is_one_sided(first: Plane, second: Plane, differs: NDArray[np.bool_]) -> bool:
    """Tell whether one of two pictures is brighter, in the channel that differs most, in nearly all that differs."""
    one, other = _telling(first, second, _box(differs))
    difference = one - other
    energy = difference**2
    brighter = float(energy[difference > 0].sum() / energy.sum())
    peaks = sorted((max(float(difference.max()), 0.0), max(float(-difference.min()), 0.0)))
    return max(brighter, 1 - brighter) > _SIGN and peaks[0] < _PEAK * peaks[1]


def _telling(first: Plane, second: Plane, box: tuple[slice, slice]) -> tuple[Plane, Plane]:
    """Return the channel of two pictures, within a box, in which they differ most."""
    channel = int(((first[box] - second[box]) ** 2).sum(axis=(0, 1)).argmax())
    return first[box][..., channel], second[box][..., channel]


def _steps(plane: Plane) -> Plane:
    """Return how much a plane (height, width) changes from each pixel to the next, across and down."""
    steps: Plane = np.abs(np.diff(plane, axis=1))[1:] + np.abs(np.diff(plane, axis=0))[:, 1:]
    return steps


def _box(differs: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    return slice(2 * rows[0], 2 * rows[-1] + 2), slice(2 * columns[0], 2 * columns[-1] + 2)


def _strokes(difference: Plane) -> int:
    """Return how often, along its longer side, a difference rises above its mean."""
    profile = difference.mean(axis=int(difference.shape[1] > difference.shape[0]) ^ 1)
    above = profile > profile.mean()
    return int(np.count_nonzero(above[1:] & ~above[:-1]))
