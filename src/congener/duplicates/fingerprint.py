"""Fingerprints: what is compared of two pictures to tell whether one is a copy of the other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from congener.duplicates.borders import WHOLE, contents, pixels
from congener.duplicates.tones import hues
from congener.extent import Extent, extent_of
from congener.images import has_camera, open_image, size_of

BITS = 512
"""Of a difference hash; what pictures differ by at most."""

TARGET = 64
"""Short side in pixels of a picture that is large enough for a fingerprint."""

COLOURS_APART = 12
"""By how much, of 255, the chroma of two copies may differ in any cell of a 4 × 4 grid, unless one is in one hue.

More or less saturation, and a cast over all, are made equal first.
"""

TELLING = 2
"""By how much, of 255, neighbours must differ in one of two pictures for their bit to count: what is less is noise."""

LEAST_TELLING = 32
"""Bits that must count: a picture in which nothing is to be seen is like any other such."""

_GREY = 2  # of 255: the chroma of what has no colours
_CAST = 14  # of 255: a cast over all that may be an edit's
_SATURATION = 0.5, 2.0
_SIDE = 16  # of the grid that a hash compares in each direction
_CELLS = 32  # in each direction, of the small grey picture
_OUTSIDE = 320  # bits for a standard deviation, root mean square, that lies outside: see `_outside`
_FLAT = 4.0  # of 255: a smaller standard deviation of the cells counts as this
_INNER = np.s_[:, 1:-1, 1:-1]  # without the rim: a frame may be cropped off
_PAIRS = 256  # small pictures at once: 1 MiB each
_ONES = np.array([value.bit_count() for value in range(256)])
_SPLITS = np.cumsum([BITS // 8, BITS // 8, 2 * 4 * 4, 1])

Fingerprint = NDArray[np.uint8]
"""(2, 1185): of the whole picture, and of what lies within bars and frames of one colour.

Each is a difference hash, which of its bits tell something, the chroma of 4 × 4 cells, what hues there are (see
`tones.hues`), and 32 × 32 cells in grey.
"""


def read(file: str) -> tuple[int, int, bool, Fingerprint]:
    """Return width, height, whether a camera is named, and the fingerprint. Raises ImageError with the reason."""
    width, height = size_of(file)
    return width, height, has_camera(file), fingerprint(open_image(file, TARGET))


def fingerprint(picture: Image.Image) -> Fingerprint:
    """Return what is compared of an RGB picture."""
    covered = extent_of(picture)
    whole = _of(picture, covered)
    box = contents(picture)
    if box == WHOLE:
        return np.stack([whole, whole])
    left, top, right, bottom = map(round, pixels(box, picture))
    inner = left, top, min(max(right, left + 1), covered[2]), min(max(bottom, top + 1), covered[3])
    return np.stack([whole, _of(picture, inner)])


def _of(picture: Image.Image, covered: Extent) -> NDArray[np.uint8]:
    """Return what is compared of the part of a picture that counts."""
    grey = picture.convert("L")
    chroma = np.asarray(picture.convert("YCbCr").resize((4, 4), Image.Resampling.BOX, covered))[..., 1:]
    few = picture.resize((2 * _CELLS, 2 * _CELLS), Image.Resampling.BOX, covered)
    tinted = np.array([hues(np.asarray(few, np.float32))], np.uint8)
    cells = np.asarray(grey.resize((_CELLS, _CELLS), Image.Resampling.BOX, covered))
    return np.concatenate([*difference_hash(grey, covered), chroma.reshape(-1), tinted, cells.reshape(-1)])


def difference_hash(grey: Image.Image, covered: Extent | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return which of neighbouring cells are brighter, in rows and in columns, and which differ: (64,) bytes each.

    covered: the part of the picture that counts: all of it by default.
    After N. Krawetz, "Kind of Like That" (hackerfactor.com, 2013), who takes rows of 9 × 8 cells. Sizes, formats,
    brightness and contrast hardly change it.
    """
    across = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.LANCZOS, covered), np.int16)
    down = np.asarray(grey.resize((_SIDE, _SIDE + 1), Image.Resampling.LANCZOS, covered), np.int16)
    steps = np.stack([across[:, 1:] - across[:, :-1], down[1:] - down[:-1]])
    return np.packbits(steps > 0), np.packbits(np.abs(steps) >= TELLING)


def as_vectors(prints: Sequence[NDArray[np.uint8]]) -> NDArray[np.float16]:
    """Return unit vectors (n, 512) of hashes (n, 1185): the fewer of the bits that tell differ, the nearer they are."""
    brighter, telling = (
        np.unpackbits(np.stack([each[at : at + BITS // 8] for each in prints]), axis=1).astype(np.float32)
        if len(prints)
        else np.empty((0, BITS), np.float32)
        for at in (0, BITS // 8)
    )
    vectors = (2 * brighter - 1) * telling
    lengths = np.sqrt(telling.sum(axis=1, keepdims=True))
    unit: NDArray[np.float16] = (vectors / np.maximum(lengths, 1)).astype(np.float16)
    return unit


def apart(a: Fingerprint, b: Fingerprint, most: int = BITS) -> NDArray[np.int64]:
    """Return how much pictures (…, 2, 1185) differ, 0 to 512; up to `most` to the bit, beyond it may be too little.

    Whole, or within their borders, whichever is least. Of each the larger of two: the share of 512 that differs of
    the bits of their hashes that tell something, and what of small pictures of them lies where the other has nothing
    alike. 512 where they differ in colour and both have some, or where too little is to be seen to tell.
    """
    ways = [_apart(a[..., one, :], b[..., other, :], most) for one in (0, 1) for other in (0, 1)]
    bits: NDArray[np.int64] = np.minimum.reduce(ways)
    return bits


def _apart(a: Fingerprint, b: Fingerprint, most: int) -> NDArray[np.int64]:
    a, b = np.broadcast_arrays(a, b)
    (brighter, telling, chroma, tint, cells), (brighter_b, telling_b, chroma_b, tint_b, cells_b) = (
        np.split(prints, _SPLITS, axis=-1) for prints in (a, b)
    )
    counts = telling | telling_b
    told = _ONES[counts].sum(axis=-1)
    differ = _ONES[(brighter ^ brighter_b) & counts].sum(axis=-1)
    same = _same_colours(chroma, chroma_b, tint != tint_b) & (told >= LEAST_TELLING)
    bits: NDArray[np.int64] = np.where(same, np.rint(differ * BITS / np.maximum(told, 1)), BITS).astype(np.int64)
    close = bits <= min(most, BITS - 1)
    if close.any():
        bits[close] = np.maximum(bits[close], _outside(cells[close], cells_b[close]))
    return bits


def _same_colours(a: NDArray[np.uint8], b: NDArray[np.uint8], one_hue: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell whether chroma (…, 32) is alike, or one of the two has a single hue (…, 1) over all, or none."""
    first, second = (chroma.astype(np.float32) - 128 for chroma in (a, b))
    grey = (np.abs(first).max(axis=-1) <= _GREY) | (np.abs(second).max(axis=-1) <= _GREY)
    alike = np.abs(first - second).max(axis=-1) <= COLOURS_APART
    result: NDArray[np.bool_] = grey | one_hue[..., 0].astype(bool) | alike | _edited(first, second)
    return result


def _edited(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell whether chroma is alike but for its saturation and a cast over all."""
    first, second = (chroma.reshape(*chroma.shape[:-1], 16, 2) for chroma in (first, second))
    means = [chroma.mean(axis=-2, keepdims=True) for chroma in (first, second)]
    one, other = first - means[0], second - means[1]
    share = (one * other).sum(axis=(-1, -2)) / np.maximum((other * other).sum(axis=(-1, -2)), 1)
    rest = np.abs(one - share[..., None, None] * other).max(axis=(-1, -2))
    cast = np.abs(means[0] - share[..., None, None] * means[1]).max(axis=(-1, -2))
    low, high = _SATURATION
    result: NDArray[np.bool_] = (rest <= COLOURS_APART) & (cast <= _CAST) & (share >= low) & (share <= high)
    return result


def _outside(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how far (n,), in bits, the cells (n, 1024) of small pictures are outside of what the other has near by.

    Near by are a cell and its eight neighbours, so that a picture may be cropped a little; brightness and contrast
    are made equal first. It tells what a hash of a few cells doesn't: pictures that share a frame, not what is in it.
    """
    parts = [_outside_of_some(a[at : at + _PAIRS], b[at : at + _PAIRS]) for at in range(0, len(a), _PAIRS)]
    return np.minimum(np.rint(_OUTSIDE * np.concatenate(parts)), BITS).astype(np.int64)


def _outside_of_some(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    first, second = (_standardised(cells) for cells in (a, b))
    beyond = np.maximum(_beyond(first, second), _beyond(second, first))[_INNER]
    result: NDArray[np.float32] = np.sqrt(np.einsum("nij,nij->n", beyond, beyond)) / np.float32(_CELLS - 2)
    return result


def _standardised(cells: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = cells.astype(np.float32).reshape(-1, _CELLS, _CELLS)
    inner = values[_INNER]
    values -= inner.mean(axis=(1, 2), keepdims=True)
    values /= np.maximum(inner.std(axis=(1, 2), keepdims=True), np.float32(_FLAT))
    return values


def _beyond(values: NDArray[np.float32], of: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return by how much values (n, 32, 32) are below or above all that others have within a cell of them."""
    padded = np.pad(of, [(0, 0), (1, 1), (1, 1)], mode="edge")
    high, low = (_extreme(padded, choose) for choose in (np.maximum, np.minimum))
    result: NDArray[np.float32] = np.maximum(np.maximum(values - high, low - values), 0)
    return result


def _extreme(padded: NDArray[np.float32], choose: np.ufunc) -> NDArray[np.float32]:
    rows = choose(choose(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    result: NDArray[np.float32] = choose(choose(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
    return result
