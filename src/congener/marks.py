"""Marks: a line of writing that one of two pictures has and the other has not, such as a photographer's name."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]

_SIGN = 0.85  # of what differs must be brighter, or darker, in the one: two writings differ both ways
_LONG = 0.12  # of the short side: what a line of writing has at least
_ASPECT = 2.0  # and how many times its height
_STROKES = 3  # it crosses its own mean so often
_CLEAR = 2.0  # how many times as much as in the clean picture the strokes stand out from what is beside them
_FLAT = 0.4  # levels: the median of steps from pixel to pixel; paper and drawings have less


def mark(first: Plane, second: Plane, differs: NDArray[np.bool_]) -> int | None:
    """Return which of two lumas (height, width) in equal tones has a mark that the other has not: 0, 1, or None.

    differs: (height / 2, width / 2), where the two do. A mark is one line of several strokes in one colour, all
    brighter or all darker than what is below, on the ground of a photo. On paper, a board, a slide, whatever differs
    may be what matters: there it is none. The same where either could be the clean one.
    """
    box = _box(differs)
    height, width = first[box].shape[:2]
    if max(height, width) < max(_LONG * min(first.shape), _ASPECT * min(height, width)):
        return None
    one, other = first[box], second[box]
    difference = np.abs(one - other)
    strong = difference > 0.5 * np.quantile(difference, 0.95)
    ring = _grown(strong) & ~strong
    if not ring.any() or not is_one_sided(first, second, differs):
        return None
    stand_out = [abs(float(plane[strong].mean() - plane[ring].mean())) for plane in (one, other)]
    has = int(stand_out[1] > stand_out[0])
    clear = max(stand_out) > _CLEAR * min(stand_out)
    return has if clear and _strokes(difference) >= _STROKES and _is_photo((other, one)[has]) else None


def is_one_sided(first: Plane, second: Plane, differs: NDArray[np.bool_]) -> bool:
    """Tell whether one of two lumas (height, width) is brighter in nearly all that differs (height / 2, width / 2)."""
    box = _box(differs)
    difference = first[box] - second[box]
    energy = difference**2
    brighter = float(energy[difference > 0].sum() / energy.sum())
    return max(brighter, 1 - brighter) > _SIGN


def _grown(there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what is there, and what is within two pixels of it."""
    for _ in range(2):
        padded = np.pad(there, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        there = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return there


def _box(differs: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    return slice(2 * rows[0], 2 * rows[-1] + 2), slice(2 * columns[0], 2 * columns[-1] + 2)


def _strokes(difference: Plane) -> int:
    """Return how often, along its longer side, a difference rises above its mean."""
    profile = difference.mean(axis=int(difference.shape[1] > difference.shape[0]) ^ 1)
    above = profile > profile.mean()
    return int(np.count_nonzero(above[1:] & ~above[:-1]))


def _is_photo(ground: Plane) -> bool:
    return bool(np.median(np.abs(np.diff(ground, axis=1))) > _FLAT)
