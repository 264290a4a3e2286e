"""A picture of any size to the square that a network sees. It imports little: it is done in a worker's process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PIL import Image

from congener.extent import extent_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Preprocessing:
    """Resize the short side by an antialiased rule, cut the central square.

    Both in one step: only the central square is resampled, so an extreme shape costs no memory.
    """

    def __init__(self, input_side: int, resized_side: int, rule: str = "bicubic") -> None:
        """input_side: of the square that is cut, in pixels; resized_side: of the whole picture's short side.

        rule: a name of Pillow's `Image.Resampling`, in lower case.
        """
        self.input_side = input_side
        self.resized_side = resized_side
        self.rule = rule

    def __call__(self, image: Image.Image) -> Image.Image:
        """image: RGB, any size. Returns an RGB picture, side × side."""
        left, top, right, bottom = extent_of(image)
        whole = min(right - left, bottom - top)
        side = min(whole * self.input_side / self.resized_side, whole)  # which rounding might exceed
        left, top = left + (right - left - side) / 2, top + (bottom - top - side) / 2
        return image.resize(
            (self.input_side, self.input_side),
            Image.Resampling[self.rule.upper()],
            box=(left, top, left + side, top + side),
            reducing_gap=3.0,
        )


Preprocess = Callable[[Image.Image], "Image.Image | NDArray[np.uint8]"]
"""RGB picture of any size -> side × side, as a network wants it: an RGB picture, or an array (side, side, 3)."""
