"""Pictures that tests draw, and what they are compared by."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageStat


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def colour(image: Image.Image) -> tuple[int, ...]:
    """Return the mean colour, rounded."""
    return tuple(round(value) for value in ImageStat.Stat(image).mean)


def scene(size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Return a picture whose four corners differ."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    channels = [255 * x / size[0], 255 * y / size[1], 255 * (x + y < sum(size) / 3)]
    return Image.fromarray(np.uint8(np.stack(channels, axis=-1)))


def apart(a: Image.Image, b: Image.Image) -> int:
    """Return by how much two RGB pictures of one size differ at most, of 255."""
    assert a.size == b.size
    return max(high for _, high in ImageChops.difference(a, b).getextrema())  # type: ignore[misc]


def turned(stored: Image.Image, orientation: int) -> bytes:
    """Return a picture as a PNG that says how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, "PNG", exif=exif)
