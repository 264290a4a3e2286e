"""The difference of two pictures: whether one is a copy of the other, by the place where they differ most.

A hash looks at the whole: two invoices of one letterhead share nearly all of it. Here the two are laid on each other,
their tones are made equal, and the largest difference of any place decides, held against what it shows and against
what re-encoding leaves elsewhere.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from congener.duplicates.alignment import Placement, Plane, align
from congener.duplicates.borders import WHOLE, Box, contents, pixels
from congener.duplicates.marks import is_one_sided, mark
from congener.duplicates.tones import LUMA, Colours, as_in, is_tinted
from congener.extent import fitted
from congener.images import open_image

SIDE = 640
"""Pixels of the long side at most, at which two pictures are compared; the smaller picture's where that has fewer."""

LIMIT = 0.7
"""How much any place of a copy may differ: see `unlike`."""

Verdict = Literal["copy", "marked", "first marked", "other"]
"""Of a second picture to a first: a copy; one with a mark that the first has not; without one that it has; neither."""

_CLEAN = 0.2  # what may differ in two pictures that are alike to a hair elsewhere
_OUTLIER = 25.0  # times the 99th percentile
_CERTAIN = 2.0  # what differs so much at a coarse look differs
_FEW = 320  # pixels of the long side, in which borders are looked for
_STRETCHED = 1.15  # how much two pictures' shapes may differ
_SAME_BOX = 0.03
_COARSE = 128  # pixels of the long side, for a first look
_MUCH = 0.15  # of a picture: what differs in more of it is another one, and no mark
_MARGIN = 3  # pixels at an edge that aren't compared: what lies beyond is unknown
_NOISE = 40.0, 200.0  # levels squared: least and most that is put down to encoding
_CHROMA = 1200.0  # levels squared: colours are kept at half the resolution, and coarsely


class Aligned(NamedTuple):
    """Two pictures laid on each other, a little blurred: what a filter or an encoder does to single pixels is gone."""

    first: Colours
    second: Colours
    inside: NDArray[np.bool_]
    """(height, width): where both are."""


def compare(first: str, second: str) -> Verdict:
    """Return what the picture in a second file is to that in a first. Raises ImageError where one can't be read."""
    return judge(*_opened(first), *_opened(second))


@lru_cache(maxsize=2)  # the first of a group is held against each of the others
def _opened(file: str) -> tuple[Image.Image, Box]:
    picture = fitted(open_image(file, SIDE), 2 * SIDE, enlarge=False)
    return picture, within(picture)


def within(picture: Image.Image) -> Box:
    """Return where what an RGB picture shows lies, to a pixel or two of 320: `align` finds the rest."""
    few = picture.copy()
    few.thumbnail((_FEW, _FEW), Image.Resampling.BOX)
    return contents(few)


def judge(first: Image.Image, box: Box, second: Image.Image, other_box: Box) -> Verdict:
    """Return what a second RGB picture is to a first; borders around the boxes in either don't count."""
    pairs = [(box, other_box), (WHOLE, other_box), (box, WHOLE), (WHOLE, WHOLE)]
    if max(abs(a - b) for a, b in zip(box, other_box, strict=True)) < _SAME_BOX:
        pairs = [(WHOLE, WHOLE), (box, other_box)]  # neither has a border more than the other
    for pair in dict.fromkeys(pairs):
        if _shaped_alike(first, second, *pair) and (verdict := _judge(first, second, *pair)):
            return verdict
    return "other"


def _limit(differ: Plane) -> float:
    """Return how much a place may differ, where nearly all others (height, width) differ by so little or so much."""
    return float(np.clip(_OUTLIER * np.quantile(differ, 0.99), _CLEAN, LIMIT))


def _shaped_alike(first: Image.Image, second: Image.Image, box: Box, other_box: Box) -> bool:
    one, other = pixels(box, first), pixels(other_box, second)
    shapes = [(right - left) / max(bottom - top, 1) for left, top, right, bottom in (one, other)]
    return max(shapes) <= _STRETCHED * min(shapes)


def _judge(first: Image.Image, second: Image.Image, box: Box, other_box: Box) -> Verdict | None:
    """Return what a second picture is to a first; None where too much differs for these boxes to be the right ones."""
    for side in (_COARSE, SIDE):
        laid = _lay(first, second, (box, other_box), side)
        if np.count_nonzero(laid.inside) < laid.inside.size / 2:
            return None
        differ, toned = _least(laid)
        limit = _limit(differ)
        if not (differ > limit).any():
            if side == SIDE or max(laid.inside.shape) < side:
                return "copy"
        elif (differ > limit).mean() > _MUCH:
            return None
        elif differ.max() > _CERTAIN and not is_one_sided(*toned, differ > limit):
            return "other"
    has = mark(*toned, differ > limit)
    return "other" if has is None else ("first marked", "marked")[has]


def _lay(first: Image.Image, second: Image.Image, boxes: tuple[Box, Box], side: int) -> Aligned:
    places = [pixels(box, picture) for box, picture in zip(boxes, (first, second), strict=True)]
    width, height = (min(each[axis + 2] - each[axis] for each in places) for axis in (0, 1))
    share = min(1.0, side / max(width, height))
    size = max(16, round(share * width)), max(16, round(share * height))
    one, other = (
        picture.resize(size, Image.Resampling.BICUBIC, place)
        for picture, place in zip((first, second), places, strict=True)
    )
    placement = align(one.convert("L"), other.convert("L"))
    moved = [placement.of(plane, Image.Resampling.BICUBIC) for plane in _planes(other)]
    inside = _eroded(placement, size[1], size[0])
    a, b = (np.stack([blurred(plane) for plane in each], axis=-1, dtype=np.float32) for each in (_planes(one), moved))
    return Aligned(a, b, inside)


def _planes(picture: Image.Image) -> list[Plane]:
    return [np.asarray(channel, np.float32) for channel in picture.split()]


def _eroded(placement: Placement, height: int, width: int) -> NDArray[np.bool_]:
    padded = np.pad(placement.covers(height, width), _MARGIN)
    rows = np.logical_and.reduce([padded[at : at + height] for at in range(2 * _MARGIN + 1)])
    inside: NDArray[np.bool_] = np.logical_and.reduce([rows[:, at : at + width] for at in range(2 * _MARGIN + 1)])
    return inside


def blurred(plane: Plane) -> Plane:
    """Return a plane, each pixel with some of those beside it: binomial, 3 × 3."""
    for axis in (0, 1):
        padded = np.pad(plane, [(int(axis == 0),) * 2, (int(axis == 1),) * 2], mode="edge")
        if axis == 0:
            plane = (padded[:-2] + padded[2:]) / 4 + padded[1:-1] / 2
        else:
            plane = (padded[:, :-2] + padded[:, 2:]) / 4 + padded[:, 1:-1] / 2
    return plane


def _least(laid: Aligned) -> tuple[Plane, tuple[Colours, Colours]]:
    """Return how unlike the two are at each place, and both in equal tones, by the tones that fit better.

    One way round may be impossible: grey tells nothing of the colours that it was made of.
    """
    ways = []
    for wanted, given in ((laid.first, laid.second), (laid.second, laid.first)):
        toned = as_in(wanted, given, laid.inside)
        differ = unlike(wanted, toned, laid.inside)
        both = (wanted, toned) if wanted is laid.first else (toned, wanted)
        ways.append((float(differ.max()), differ, both))
        if ways[-1][0] <= LIMIT:
            break
    _, differ, both = min(ways, key=lambda way: way[0])
    return differ, both


def unlike(one: Colours, other: Colours, inside: NDArray[np.bool_]) -> Plane:
    """Return how much two pictures (height, width, 3) differ at each place (height / 2, width / 2).

    The mean of the squared difference around it, in luma, held against the variance of what they show there and against
    what encoding leaves: 2 where one has nothing to do with the other, more where they have other
    levels. Differences of colour count as far as they are beyond what JPEG makes of colours.
    """
    share = _around(inside.astype(np.float32))
    known, luma, other_luma = share > 0.3, one @ LUMA, other @ LUMA
    error = _weighed((luma - other_luma) ** 2, inside, share)
    variance = (_variance(luma, inside, share) + _variance(other_luma, inside, share)) / 2
    noise = float(np.clip(4 * np.quantile(error[known], 0.9), *_NOISE))
    differ: Plane = error / (variance + noise)
    if not is_tinted(one[::4, ::4]):
        for channel in (0, 2):
            chroma = one[..., channel] - luma - other[..., channel] + other_luma
            differ = np.maximum(differ, LIMIT * _coarser(_weighed(chroma, inside, share)) ** 2 / _CHROMA)
    differ[~known] = 0
    return differ


def _around(plane: Plane) -> Plane:
    """Return means of what lies around each second pixel."""
    height, width = (side // 2 * 2 for side in plane.shape)
    even = plane[:height, :width]
    return blurred(blurred((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4))


def _coarser(plane: Plane) -> Plane:
    """Return a plane with means of what lies around each pixel at half its resolution, at its own."""
    height, width = plane.shape
    padded = np.pad(plane, [(0, height % 2), (0, width % 2)], mode="edge")
    return np.repeat(np.repeat(_around(padded), 2, axis=0), 2, axis=1)[:height, :width]


def _weighed(plane: Plane, inside: NDArray[np.bool_], share: Plane) -> Plane:
    return _around(plane * inside) / np.maximum(share, np.float32(1e-3))


def _variance(plane: Plane, inside: NDArray[np.bool_], share: Plane) -> Plane:
    mean = _weighed(plane, inside, share)
    return np.maximum(_weighed(plane * plane, inside, share) - mean * mean, 0)
