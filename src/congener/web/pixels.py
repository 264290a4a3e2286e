"""What the app makes of pictures: thumbnails, and queries as the network takes them.

These functions run in worker processes, where a crash or a hang of a decoder costs one picture.
"""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from congener.extent import fitted
from congener.original import Source, open_source
from congener.preprocessing import Preprocess
from congener.query import Box, crop

SIDES = (320, 1280)
"""Of thumbnails: longest side in pixels."""

_QUALITY = 82


def thumbnail(source: Source, side: int) -> bytes:
    """Return a picture, upright, as WebP of at most this side."""
    picture = fitted(open_source(source, side), side, enlarge=False)
    file = BytesIO()
    picture.save(file, "WEBP", quality=_QUALITY, method=2)
    return file.getvalue()


def prepare(source: Source, preprocess: Preprocess, side: int, box: Box | None) -> NDArray[np.uint8]:
    """Return a picture, or the part of it in a box, as the network takes it (side, side, 3)."""
    picture = open_source(source, side if box is None else None)
    return np.asarray(preprocess(picture if box is None else crop(picture, box)))
