"""A picture of any mode as RGB: transparency on a ground, deep greys in 8 bits, colours by their profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

from PIL import Image

from congener.colour import to_srgb
from congener.tiles import tiles

_VISIBLE = 10.0
"""Standard deviation, of 255, from which on a picture is seen on its ground: one of one colour has none."""
_CLEARER = 3.0
"""By how much more is to be seen on black where black is taken: a few thin lines are seen best on white."""

Scale = Callable[[Image.Image], Image.Image]


def to_rgb(image: Image.Image, factor: int = 1, tags: Mapping[int, Any] | None = None) -> Image.Image:
    """Return a loaded picture of any mode as RGB.

    Transparency is laid on white; on black where next to nothing would be seen on white, as of white glyphs.
    factor: shrink it by so much on the way, so that a large one isn't copied as a whole. tags: of a TIFF that it was,
    where the picture itself has none.
    """
    tags = getattr(image, "tag_v2", {}) if tags is None else tags
    return to_srgb(_bare(image, factor, tags), image.info.get("icc_profile"), image.mode)


def _bare(image: Image.Image, factor: int, tags: Mapping[int, Any]) -> Image.Image:
    """Return the numbers that are stored as RGB, whatever a profile says of them."""
    scale = _scale(image, tags)
    clear = image.has_transparency_data
    if not (scale or clear or (factor > 1 and image.mode in ("1", "P"))):
        return _opaque(image.reduce(factor) if factor > 1 else image)
    on_white = _laid(image, factor, scale, "white")
    if not clear or (contrast := _contrast(on_white)) >= _VISIBLE:
        return on_white
    on_black = _laid(image, factor, scale, "black")
    return on_black if _contrast(on_black) > _CLEARER * contrast else on_white


def _scale(image: Image.Image, tags: Mapping[int, Any]) -> Scale | None:
    if not (image.mode.startswith("I") or image.mode == "F"):
        return None
    from congener.deep import Scale  # imports numpy

    return Scale(image, tags)


def _laid(image: Image.Image, factor: int, scale: Scale | None, ground: str) -> Image.Image:
    """Return a picture on a ground, converted by tiles."""
    result = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for box in tiles(image.size, factor):
        tile = image.crop(box)
        tile = _on(scale(tile) if scale else tile, ground)
        result.paste(tile.reduce(factor) if factor > 1 else tile, (box[0] // factor, box[1] // factor))
    return result


def _on(image: Image.Image, ground: str) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")


def _contrast(image: Image.Image) -> float:
    """Return the standard deviation of a picture's values, of 255, root mean square of the channels."""
    from PIL import ImageStat

    variances = ImageStat.Stat(image).var
    return float((sum(variances) / len(variances)) ** 0.5)


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode in ("CMYK", "LAB"):
        return _by_profile(image)
    return image if image.mode == "RGB" else image.convert("RGB")


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
