"""Extent: the part of a picture's pixels that the picture covers.

A picture that was shrunk by a whole factor has a last row and column that are only partly its own, unless its sides
are multiples of the factor. Who resizes it takes its extent for the whole, not its size: else it is stretched a little,
and differently where another factor was at work, as for the same picture in another format.
"""

from PIL import Image

Extent = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, as Pillow's `resize` takes its box."""

_NAME = "_congener_extent"


def extent_of(picture: Image.Image) -> Extent:
    """Return what the picture covers: all of it, unless it was shrunk by `open_image`."""
    size, extent = getattr(picture, _NAME, (None, None))
    if extent is not None and size == picture.size:  # nobody has changed it in place since
        known: Extent = extent
        return known
    return 0.0, 0.0, float(picture.width), float(picture.height)


def with_extent(picture: Image.Image, extent: Extent) -> Image.Image:
    """Return the same picture, noting what it covers. What Pillow makes of it later doesn't inherit that."""
    if extent != (0, 0, *picture.size):
        setattr(picture, _NAME, (picture.size, extent))
    return picture


def turned(extent: Extent, size: tuple[int, int], orientation: int) -> Extent:
    """Return the extent of a picture of this size after it was turned as an EXIF orientation, 1 to 8, says."""
    (left, top, right, bottom), (width, height) = extent, size
    if orientation in (5, 6, 7, 8):
        left, top, right, bottom, width, height = top, left, bottom, right, height, width
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def fitted(picture: Image.Image, side: int, *, enlarge: bool = True) -> Image.Image:
    """Return a picture scaled so that the long side of what it covers has so many pixels.

    enlarge: whether a smaller one is, too.
    """
    left, top, right, bottom = box = extent_of(picture)
    scale = side / max(right - left, bottom - top)
    scale = scale if enlarge else min(scale, 1.0)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    return picture.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
