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

FINE_SIDE = 1280
"""As `SIDE`, for pictures of fine writing that have so many."""

LIMIT = 0.7
"""How much any place of a copy may differ: see `unlike`."""

Verdict = Literal["copy", "marked", "first marked", "other"]
"""Of a second picture to a first: a copy; one with a mark that the first has not; without one that it has; neither."""

_CLEAN = 0.2  # what may differ in two pictures that are alike to a hair elsewhere
_OUTLIER = 25.0  # times the 99th percentile
_WRITING = 0.06, 8.0  # as _CLEAN and _OUTLIER, of writing
_LEGIBLE = 0.5  # of what another sign would make of a place
_SIGN = 7, 4, 5  # height and width of a small one, and how far off another is, in pixels
_APART = 24  # pixels from one that we change to the next
_LOST = 2.5  # times as many pixels a side: then what was written may be gone from the smaller
_PAPER = 0.4  # of a page are within four levels of one
_FINE = 0.15  # of the variance of what is printed is in single pixels
_CERTAIN = 2.0  # what differs so much at a coarse look differs
_FEW = 320  # pixels of the long side, in which borders are looked for
_INSET = 1.5  # of these, where there is a border
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
    writing: bool
    """Whether they show writing, or what is as fine, on paper of one colour."""
    sign: float
    """How unlike the first would be, at a typical place of writing, if one small sign of it were another."""


def compare(first: str, second: str) -> Verdict:
    """Return what the picture in a second file is to that in a first. Raises ImageError where one can't be read."""
    return judge(*_opened(first), *_opened(second))


@lru_cache(maxsize=6)  # 6 MiB each at most; the first of a group is held against each of the others
def _opened(file: str) -> tuple[Image.Image, Box]:
    picture = fitted(open_image(file, SIDE), 2 * SIDE, enlarge=False)
    return picture, within(picture)


def within(picture: Image.Image) -> Box:
    """Return where what an RGB picture shows lies, to a pixel or two of 320: `align` finds the rest.

    Rather too little of it than a line of its frame.
    """
    few = picture.copy()
    few.thumbnail((_FEW, _FEW), Image.Resampling.BOX)
    left, top, right, bottom = contents(few)
    x, y = _INSET / few.width, _INSET / few.height
    return left + x * (left > 0), top + y * (top > 0), right - x * (right < 1), bottom - y * (bottom < 1)


def judge(first: Image.Image, box: Box, second: Image.Image, other_box: Box) -> Verdict:
    """Return what a second RGB picture is to a first; borders around the boxes in either don't count."""
    pairs = [(box, other_box), (WHOLE, other_box), (box, WHOLE), (WHOLE, WHOLE)]
    alike = max(abs(a - b) for a, b in zip(box, other_box, strict=True)) < _SAME_BOX
    if alike:
        pairs = [(WHOLE, WHOLE), (box, other_box)]  # neither has a border more than the other
    for pair in dict.fromkeys(pairs):
        verdict = _judge(first, second, *pair) if _shaped_alike(first, second, *pair) else None
        if verdict and (alike or verdict != "other"):  # a margin that noise ends isn't the border of the other
            return verdict
    return "other"


def _limit(differ: Plane, laid: Aligned) -> float:
    """Return how much a place may differ, where nearly all others (height, width) differ by so little or so much.

    Where writing is small, another digit is but another grey blot. So there we ask for more: that nothing stands out
    from what encoding did to the rest, and that this would not hide a digit.
    """
    usual = float(np.quantile(differ, 0.99))
    if not laid.writing:
        return float(np.clip(_OUTLIER * usual, _CLEAN, LIMIT))
    least, outlier = _WRITING
    return float(min(max(outlier * usual, least), _LEGIBLE * laid.sign, LIMIT))


def _shaped_alike(first: Image.Image, second: Image.Image, box: Box, other_box: Box) -> bool:
    one, other = pixels(box, first), pixels(other_box, second)
    shapes = [(right - left) / max(bottom - top, 1) for left, top, right, bottom in (one, other)]
    return max(shapes) <= _STRETCHED * min(shapes)


def _is_much_larger(first: Image.Image, second: Image.Image, box: Box, other_box: Box) -> bool:
    """Tell whether one shows far more than the other has pixels for."""
    sides = [right - left for left, _, right, _ in (pixels(box, first), pixels(other_box, second))]
    return max(sides) > _LOST * min(sides)


def _judge(first: Image.Image, second: Image.Image, box: Box, other_box: Box) -> Verdict | None:
    """Return what a second picture is to a first; None where too much differs for these boxes to be the right ones."""
    for side in (_COARSE, SIDE, FINE_SIDE):
        laid = _lay(first, second, (box, other_box), side)
        if np.count_nonzero(laid.inside) < laid.inside.size / 2:
            return None
        differ, toned = _least(laid)
        is_last = side >= (FINE_SIDE if laid.writing else SIDE) or max(laid.inside.shape) < side
        limit = _limit(differ, laid) if is_last else LIMIT
        if not (differ > limit).any():
            if is_last:
                return "other" if laid.writing and _is_much_larger(first, second, box, other_box) else "copy"
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
    writing = _is_writing(np.asarray(one.convert("L"), np.float32))
    return Aligned(a, b, inside, writing, _another_sign(np.asarray(one, np.float32)) if writing else LIMIT)


def _another_sign(colours: Colours) -> float:
    """Return how unlike a picture (height, width, 3) is to itself with small signs moved, where any are: the median."""
    height, width = colours.shape[:2]
    tall, wide, off = _SIGN
    rows, columns = np.ogrid[:height, :width]
    moved = ((rows % _APART < tall) & (columns % _APART < wide))[..., None]
    changed = np.where(moved, np.roll(colours, off, axis=1), colours)
    both = [np.stack([blurred(plane) for plane in np.moveaxis(each, 2, 0)], axis=-1) for each in (colours, changed)]
    differ = unlike(both[0], both[1], np.ones((height, width), np.bool_))
    step = _APART // 2  # around each sign, from `step / 3` before it
    differ = np.pad(differ, [(step // 3, step), (step // 3, step)])
    down, across = (side // step for side in differ.shape)
    places = differ[: down * step, : across * step].reshape(down, step, across, step).max(axis=(1, 3))
    told = places[places > _WRITING[0] / 3]
    return float(np.median(told)) if told.size else LIMIT


def _is_writing(grey: Plane) -> bool:
    """Tell whether a grey picture is writing, or what is as fine, on paper of one colour."""
    levels = np.bincount(grey.astype(np.uint8).reshape(-1), minlength=256)
    if np.convolve(levels, np.ones(9), "same").max() < _PAPER * grey.size:
        return False
    everywhere = np.ones(grey.shape, np.bool_)
    variance = _variance(grey, everywhere, np.ones_like(_around(grey)))
    printed = variance > _NOISE[1]
    fine = _around((grey - blurred(grey)) ** 2)[printed] / variance[printed]
    return bool(printed.any() and np.median(fine) > _FINE)


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
