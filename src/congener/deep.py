"""Pictures of more than 8 bits a channel: which of their values are black and white, and 8 bits of them.

Imported only where there is one: it needs numpy, which a worker's process seldom does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from congener.tiles import tiles

_BITS = (8, 10, 11, 12, 13, 14)
"""That sensors give, and that files of 16 bits hold without saying so."""
_LIKE_NEIGHBOURS = 0.25
"""Correlation of pixels beside each other from which on something is to be seen: noise has none."""
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF's tags
_SIGNED = 2
_SWAPPED = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, other in (("L", "B"), ("B", "L"), ("N", "B"))
}
"""Pillow keeps the high byte of 16-bit colours; read in the other byte order, it keeps the low one."""

Values = NDArray[Any]
Box = tuple[int, int, int, int]


class Scale:
    """How a grey picture's values become 8 bits.

    Up to 16 bits: by what the file says, or else by the fewest bits, of 8, 10 to 14 and 16, that hold its largest
    value. A picture of less than 16 is thereby made brighter by a factor of 64 at most (of 256 where its largest value
    is near that of 8 bits), and only if it shows something: noise in the dark stays there. Floats of 0 to 1 have that
    range, all others their own.
    """

    def __init__(self, image: Image.Image, tags: Mapping[int, Any]) -> None:
        """image: loaded, of mode I, I;16… or F; tags: of its TIFF, if it is one."""
        self._wraps = (
            image.mode == "I" and _first(tags, _BITS_PER_SAMPLE, 0) == 32 and _first(tags, _SAMPLE_FORMAT, 1) == 1
        )
        self._inverted = tags.get(_PHOTOMETRIC) == 0  # white is zero: Pillow turns only 8 bits round
        self._low, self._high = self._span(image, tags)
        self._clear = image.info.get("transparency")
        self._short = image.mode != "I" and max(-self._low, self._high) < 1e30

    def __call__(self, tile: Image.Image) -> Image.Image:
        """Return a part of the picture in 8 bits. What is no number is black."""
        values: NDArray[np.floating] = self._values(tile).astype(np.float32 if self._short else np.float64)
        if self._inverted:
            np.subtract(self._high, values, out=values)
        else:
            np.subtract(values, self._low, out=values)
        np.multiply(values, 255 / max(self._high - self._low, 1e-30), out=values)
        np.nan_to_num(values, copy=False, nan=0, posinf=255, neginf=0)
        eight = Image.fromarray(np.rint(np.clip(values, 0, 255, out=values), out=values).astype(np.uint8))
        if isinstance(self._clear, int):  # the value that stands for a hole
            eight.putalpha(Image.fromarray(np.where(self._values(tile) == self._clear, 0, 255).astype(np.uint8)))
        return eight

    def _values(self, tile: Image.Image) -> Values:
        values = np.asarray(tile)
        return values.view(np.uint32) if self._wraps else values

    def _span(self, image: Image.Image, tags: Mapping[int, Any]) -> tuple[float, float]:
        """Return the values that are black and white, or white and black."""

        def values_of(box: Box) -> Values:
            return self._values(image.crop(box))

        low, high = _extremes(image.size, values_of)
        if low > high:  # no finite value
            return 0.0, 1.0
        if not image.mode.startswith("I"):
            return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
        if low < 0 or high >= 65536:
            return low, high
        said = _first(tags, _BITS_PER_SAMPLE, 16)
        if self._inverted and said not in range(9, 16) and 2**16 - low <= 2 ** _BITS[-1]:  # few bits, counted downwards
            bits = _bits(2**16 - 1 - low, 16, lambda: _shows_something(image.size, values_of))
            return float(2**16 - 2**bits), float(2**16 - 1)
        if said not in range(9, 16):
            said = 15 if _first(tags, _SAMPLE_FORMAT, 1) == _SIGNED else 16
            said = _bits(high, said, lambda: _shows_something(image.size, values_of))
        return 0.0, float(2**said - 1)


def _first(tags: Mapping[int, Any], tag: int, default: int) -> int:
    """Return what a tag says of the first channel."""
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) and value else value)


def _bits(high: float, most: int, shows_something: Callable[[], bool]) -> int:
    """Return how many bits a picture has whose largest value this is; most: if nothing speaks for less."""
    fewest = 8 if high >= 128 else 10
    bits = next((bits for bits in _BITS if bits >= fewest and high < 2**bits), most)
    return bits if bits < most and shows_something() else most


def _extremes(size: tuple[int, int], values_of: Callable[[Box], Values]) -> tuple[float, float]:
    """Return the least and the largest finite value."""
    low, high = math.inf, -math.inf
    for box in tiles(size):
        values = values_of(box)
        least, most = float(values.min()), float(values.max())
        if not math.isfinite(least + most):
            finite = values[np.isfinite(values)]
            least, most = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
        low, high = min(low, least), max(high, most)
    return low, high


def _shows_something(size: tuple[int, int], values_of: Callable[[Box], Values]) -> bool:
    """Say whether pixels are like those beside them, or below: in noise they aren't."""
    sums = np.zeros((2, 6))  # across and down: n, Σx, Σy, Σxx, Σyy, Σxy
    for box in tiles(size):
        values = values_of(box).astype(np.float64)
        for way, (x, y) in enumerate([(values[:, :-1], values[:, 1:]), (values[:-1], values[1:])]):
            sums[way] += x.size, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()
    n, x, y, xx, yy, xy = sums.T
    n = np.maximum(n, 1)
    spread = np.sqrt(np.maximum(xx - x * x / n, 0) * np.maximum(yy - y * y / n, 0))
    like = np.abs(xy - x * y / n) / np.where(spread > 0, spread, np.inf)
    return bool(like.max() >= _LIKE_NEIGHBOURS)


def low_bytes(parts: Sequence[Any]) -> list[Any] | None:
    """Return a picture's parts, as in Pillow's `tile`, so that it will be loaded with its channels' low bytes.

    None unless all parts are 16-bit colours, of which Pillow would keep the high bytes.
    """
    swapped = [_swapped(part) for part in parts]
    return swapped if swapped and None not in swapped else None


def _swapped(part: Any) -> Any:
    codec, extents, offset, args = part
    several = isinstance(args, tuple)
    other = _SWAPPED.get(args[0] if several else args)
    if other is None:
        return None
    return type(part)(codec, extents, offset, (other, *args[1:]) if several else other)


def may_lack_bits(high: Image.Image) -> bool:
    """Say whether 16-bit colours may hold fewer bits, by the high bytes of their channels."""
    return max(most for _, most in high.getextrema()[:3]) < 2**6  # type: ignore[misc]


def joined(high: Image.Image, low: Image.Image) -> Image.Image:
    """Return 8 bits of 16-bit colours, given as two pictures of their high and low bytes, scaled as greys are.

    It takes the place of the first.
    """

    def values_of(box: Box) -> Values:
        upper, lower = (np.asarray(part.crop(box).convert("RGB"), np.uint16) for part in (high, low))
        both: Values = upper << 8 | lower
        return both

    most = max(int(values_of(box).max()) for box in tiles(high.size))
    bits = _bits(most, 16, lambda: _shows_something(high.size, lambda box: values_of(box)[..., 1]))
    for box in tiles(high.size):
        eight = Image.fromarray(np.rint(values_of(box) * np.float32(255 / (2**bits - 1))).astype(np.uint8))
        if high.mode == "RGBA":
            eight.putalpha(high.crop(box).getchannel("A"))
        high.paste(eight, box[:2])
    return high
