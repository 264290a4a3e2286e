"""Query: what a gallery is asked with, from anywhere, as a picture; several as one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from congener.codes import Array, unit
from congener.errors import CongenerError, ImageError
from congener.images import from_array, from_picture
from congener.original import Original, open_source


@dataclass(frozen=True)
class Prepared:
    """A picture, or a part of one, as the network takes it: preprocessed elsewhere."""

    pixels: NDArray[np.uint8]
    """(side, side, 3), from `Encoder.preprocess`."""
    name: str
    """What to call it."""
    id: int | None = None
    """Of the image of the gallery that it is."""


Query = str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | int | Prepared
"""A path, a picture, an array (height, width, 3) uint8 RGB, the id of an image of the gallery, or what was prepared."""

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the picture as it is shown, EXIF orientation applied."""

UNLIKE_WEIGHT = 0.5


def open_query(query: Query | Original, target: int | None, box: Box | None = None) -> Image.Image:
    """Return a query, neither an id nor prepared, as an RGB picture; `box` is cut out of it.

    target: see `open_image`. Raises ImageError naming the query.
    """
    try:
        picture = _open(query, None if box else target)
    except ImageError as error:
        raise type(error)(f"{describe(query)}: {error}") from None
    return picture if box is None else crop(picture, box)


def _open(query: Query | Original, target: int | None) -> Image.Image:
    if isinstance(query, Image.Image):
        return from_picture(query)
    if isinstance(query, np.ndarray):
        return from_array(query)
    assert not isinstance(query, int | Prepared)
    return open_source(query, target)


def crop(picture: Image.Image, box: Box) -> Image.Image:
    """Return the part of a picture in a box. Raises CongenerError unless the box holds a pixel of it."""
    return picture.crop(edges(picture.size, box))


def edges(size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a box in a picture of this size, in whole pixels; raises as `crop` does."""
    left, top, width, height = box
    right, bottom = min(left + width, size[0]), min(top + height, size[1])
    x, y, right, bottom = np.rint([max(left, 0), max(top, 0), right, bottom]).tolist()
    if not (x < right and y < bottom):  # nor with a NaN
        raise CongenerError(
            f"the box {','.join(f'{value:g}' for value in box)} (x,y,width,height) holds nothing of a picture of "
            f"{size[0]} × {size[1]} pixels"
        )
    return int(x), int(y), int(right), int(bottom)


def parse_box(name: str, text: str) -> Box:
    """Return the box that a text such as 10,20,200,150 means; name: of what takes it, for the error."""
    try:
        left, top, width, height = (float(part) for part in text.split(","))
    except ValueError:
        example = "x,y,width,height in pixels, as in 10,20,200,150"
        raise CongenerError(f"{name} takes {example}; not {text[:80]!r}") from None
    return left, top, width, height


def describe(query: Query | Original) -> str:
    """Return what to call a query."""
    if isinstance(query, Original):
        return query.path
    if isinstance(query, int):
        return f"image {query}"
    if isinstance(query, str | os.PathLike):
        return os.fspath(query)
    if isinstance(query, Prepared):
        return query.name
    return "picture"


def combine(wanted: Array, unwanted: Array) -> Array:
    """Return one embedding (1, d) for several wanted (n, d), away from unwanted ones (m, d).

    Source: Rocchio's formula, as in Manning, Raghavan, Schütze, "Introduction to Information Retrieval" (2008),
    eq. 9.3, without an original query: mean(wanted) - 0.5 mean(unwanted), at unit length.
    """
    centre = wanted.mean(axis=0, keepdims=True)
    if len(unwanted):
        centre = centre - np.float32(UNLIKE_WEIGHT) * unwanted.mean(axis=0, keepdims=True)
    return unit(centre)


def as_list(queries: Query | Sequence[Query]) -> list[Query]:
    """Return one query, or several, as a list."""
    return list(queries) if isinstance(queries, list | tuple) else [queries]  # type: ignore[list-item]
