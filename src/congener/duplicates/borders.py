"""Borders: bars and frames of one colour around a picture, which say nothing of what it shows."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right, bottom: as shares of width and height."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

_LEVELS = 24  # of 255: how far a border's pixels may lie from its colour, as JPEG leaves them
_FRAMES = 3  # one within the other
_LEAST = 0.1  # of each side must be left: what has no more is a picture of little on much ground


def contents(picture: Image.Image) -> Box:
    """Return where in an RGB picture what it shows lies, without bars and frames; all of it where there is none.

    A border ends at an edge: a sky that grows lighter line by line is none.
    """
    pixels = np.asarray(picture, np.int16)
    height, width = pixels.shape[:2]
    top, bottom, left, right = 0, height, 0, width
    for _ in range(_FRAMES):
        before = top, bottom, left, right
        top += _border(pixels[top:bottom, left:right])
        bottom -= _border(pixels[top:bottom, left:right][::-1])
        left += _border(pixels[top:bottom, left:right].swapaxes(0, 1))
        right -= _border(pixels[top:bottom, left:right].swapaxes(0, 1)[::-1])
        if (top, bottom, left, right) == before:
            break
    if bottom - top < _LEAST * height or right - left < _LEAST * width:
        return WHOLE
    return left / width, top / height, right / width, bottom / height


def _border(lines: NDArray[np.int16]) -> int:
    """Return how many of the first lines (n, pixels, 3) have one colour, that of the first; 0 if all."""
    if not len(lines):
        return 0
    colour = np.median(lines[0], axis=0)
    differ = np.abs(lines - colour).max(axis=(1, 2)) > _LEVELS
    return int(differ.argmax())


def pixels(box: Box, picture: Image.Image) -> tuple[float, float, float, float]:
    """Return the box in a picture's own pixels."""
    left, top, right, bottom = box
    return left * picture.width, top * picture.height, right * picture.width, bottom * picture.height
