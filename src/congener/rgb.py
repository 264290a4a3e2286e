"""A picture of any mode as RGB: transparency over white, deep greys rescaled, CMYK and LAB by their profile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:  # imported where it is used, for deep greys: a worker's process seldom needs it
    import numpy as np
    from numpy.typing import NDArray

_TILE = 2048
"""Side in pixels of what is converted at once."""


def to_rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """Return a loaded picture of any mode as RGB: transparency over white, deep greys rescaled.

    factor: shrink it by so much on the way, so that a large one isn't copied as a whole.
    """
    deep = image.mode.startswith("I") or image.mode == "F"
    if not (deep or image.has_transparency_data or (factor > 1 and image.mode in ("1", "P"))):
        return _opaque(image.reduce(factor) if factor > 1 else image)
    span = _span(image) if deep else None
    result = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for box in _tiles(image.size, factor):
        tile = image.crop(box)
        tile = _over_white(_rescale(tile, *span) if span else tile)
        result.paste(tile.reduce(factor) if factor > 1 else tile, (box[0] // factor, box[1] // factor))
    return result


def _tiles(size: tuple[int, int], factor: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes that cover a picture, their corners on multiples of the factor."""
    step = factor * max(1, _TILE // factor)
    for top in range(0, size[1], step):
        for left in range(0, size[0], step):
            yield left, top, min(left + step, size[0]), min(top + step, size[1])


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode in ("CMYK", "LAB"):
        return _by_profile(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _span(image: Image.Image) -> tuple[float, float]:
    """Return the values of a deep grey that are black and white: 16-bit by its full range, others by their own."""
    import numpy as np

    low, high = math.inf, -math.inf
    for box in _tiles(image.size, 1):
        values = np.asarray(image.crop(box))
        least, most = float(values.min()), float(values.max())
        if not math.isfinite(least + most):
            finite = values[np.isfinite(values)]
            least, most = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
        low, high = min(low, least), max(high, most)
    if low > high:  # no finite value
        return 0.0, 1.0
    if image.mode.startswith("I") and low >= 0 and high < 65536:
        return 0.0, 65535.0
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _rescale(image: Image.Image, low: float, high: float) -> Image.Image:
    """Deep grey to 8 bits. What is no number is black."""
    import numpy as np

    short = image.mode != "I" and max(-low, high) < 1e30
    values: NDArray[np.floating] = np.asarray(image).astype(np.float32 if short else np.float64)
    np.subtract(values, low, out=values)
    np.multiply(values, 255 / max(high - low, 1e-30), out=values)
    np.nan_to_num(values, copy=False, nan=0, posinf=255, neginf=0)
    return Image.fromarray(np.rint(np.clip(values, 0, 255, out=values), out=values).astype(np.uint8))


def _by_profile(image: Image.Image) -> Image.Image:
    """CMYK or LAB to sRGB: by the embedded profile where it is sound, else by Pillow's formula."""
    from PIL import ImageCms

    with suppress(Exception):  # a broken profile says nothing of the pixels
        if image.mode == "LAB":
            source = ImageCms.createProfile("LAB")
        else:
            source = ImageCms.getOpenProfile(BytesIO(image.info["icc_profile"])).profile
        profile = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(source), profile, outputMode="RGB")
        if converted is not None:
            return converted
    return image.convert("RGB")
