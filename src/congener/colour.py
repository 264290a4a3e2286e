"""Colours as a screen shows them: embedded ICC profiles are followed, to sRGB."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

from PIL import Image

_GREYS = ("L", "LA", "La", "I", "F")
_UNPROFILED = ("1", "CMYK", "LAB", "HSV")
"""Modes whose colours are bare, or followed in `rgb`."""
_MOST_BYTES = 4 << 20
"""Of a profile: tables for three channels take about a megabyte."""
_SAME = 2
"""Levels of 255 that a profile may differ from sRGB and still be called that: other makers' rounding."""


def to_srgb(picture: Image.Image, profile: Any, mode: str) -> Image.Image:
    """Return an RGB picture with its colours as the embedded profile says, if it says anything.

    profile: the bytes of an ICC profile, or None; mode: Pillow's of what was stored. The picture itself is returned
    where the profile is sRGB, is of another colour space than the picture, or can't be understood.
    """
    if not profile or not isinstance(profile, bytes) or len(profile) > _MOST_BYTES or mode in _UNPROFILED:
        return picture
    space = b"GRAY" if mode in _GREYS or mode.startswith("I;16") else b"RGB "
    if profile[16:20] != space:
        return picture
    transform = _transform(profile)
    if transform is None:
        return picture
    result: Image.Image = transform.apply(picture.convert("L") if space == b"GRAY" else picture)
    return result


@lru_cache(16)
def _transform(profile: bytes) -> Any:
    """Return what makes sRGB of a profile's colours; None where they are that already, or nobody knows."""
    from PIL import ImageCms  # .004 s, and seldom needed

    mode = "L" if profile[16:20] == b"GRAY" else "RGB"
    colours = _colours().convert(mode)
    try:
        source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB")
        after = transform.apply(colours)
    except Exception:  # a broken profile says nothing of the pixels
        return None
    before = colours.convert("RGB").tobytes()
    apart = max(abs(a - b) for a, b in zip(before, after.tobytes(), strict=True))
    return transform if apart > _SAME else None


def _colours() -> Image.Image:
    """Return a picture of 729 colours all over the cube."""
    levels = [*range(0, 256, 32), 255]
    picture = Image.new("RGB", (len(levels) ** 3, 1))
    picture.putdata([(red, green, blue) for red in levels for green in levels for blue in levels])
    return picture
