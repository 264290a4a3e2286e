"""The sheet a specimen is painted on, and the pen that paints shapes on it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from congener.cabinet.palette import Array, Colour, rgb

# Outlines are drawn this many times larger and averaged down, for smooth edges.
OVERSAMPLING = 4


class Field(NamedTuple):
    """The local coordinates of the pixels that a shape covers."""

    x: Array
    y: Array


Tint = Callable[[Field], Array]


@dataclass(frozen=True)
class Finish:
    """How light plays on a filled shape.

    Volume is the strength of the shading, bulge how far from the edge the surface curves (in
    local units), rim how much the edge darkens, gloss the strength of the highlight.
    """

    volume: float = 0.0
    bulge: float = 0.08
    rim: float = 0.0
    gloss: float = 0.0


FLAT = Finish()
SOFT = Finish(volume=0.5, rim=0.35)


class Plate:
    """A clear sheet: colour, already weighted by coverage, and coverage."""

    def __init__(self, width: int, height: int, light: float) -> None:
        """Make a clear plate; light is the direction the light comes from, in radians."""
        self.colour = np.zeros((3, height, width), np.float32)
        self.cover = np.zeros((height, width), np.float32)
        direction = np.array([np.cos(light), np.sin(light), 1.1])
        self.light: list[float] = (direction / np.linalg.norm(direction)).tolist()


def blurred(mask: Image.Image, radius: float) -> Array:
    """Blur a mask, wide blurs at reduced size: quicker, and free of the steps of 8-bit greys."""
    factor = 1 if radius < 2 else 2 if radius < 6 else 4
    soft = mask.reduce(factor).filter(ImageFilter.GaussianBlur(radius / factor)).convert("F")
    if factor > 1:
        soft = soft.resize(mask.size, Image.Resampling.BICUBIC)
    return np.asarray(soft, np.float32) / 255


def _boxed(mask: Image.Image, radius: float) -> Array:
    return np.asarray(mask.filter(ImageFilter.BoxBlur(radius)), np.float32) / 255


def _lit(colour: Array, mask: Image.Image, finish: Finish, unit: float, light: Sequence[float]) -> Array:
    """Darken the rim and shade the colour as if the shape bulged towards the viewer."""
    if finish == FLAT:
        return colour
    shade = 1 - finish.rim * np.clip(2 - 2 * _boxed(mask, max(1.0, 0.014 * unit)), 0, 1)
    if not finish.volume:
        return np.asarray(colour * shade)
    radius = finish.bulge * unit
    slope_y, slope_x = np.gradient(blurred(mask, radius) * (3.2 * radius))
    length = np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    tilt = slope_x * light[0] + slope_y * light[1]
    colour = colour * (shade * (1 + finish.volume * ((1 - tilt / light[2]) / length - 1)))
    if finish.gloss:
        # The highlight sits where the surface faces halfway between light and viewer.
        glint = (1 + light[2] - tilt) / (math.sqrt(2 + 2 * light[2]) * length)
        colour = colour + (1 - colour) * (finish.gloss * np.clip(glint, 0, 1) ** 40)
    return np.asarray(colour)


@dataclass(frozen=True)
class Pen:
    """Paints shapes given in local coordinates on a plate."""

    plate: Plate
    matrix: Array

    @property
    def unit(self) -> float:
        """Pixels per local unit."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def at(self, x: float, y: float, angle: float = 0.0, *, wide: float = 1.0, tall: float = 1.0) -> "Pen":
        """Return a pen whose origin lies at (x, y), turned and scaled."""
        c, s = np.cos(angle), np.sin(angle)
        inner = np.array([[c * wide, -s * tall, x], [s * wide, c * tall, y], [0, 0, 1]])
        return replace(self, matrix=self.matrix @ inner)

    def mirrored(self) -> "Pen":
        """Return the pen for the other side of the body."""
        return self.at(0, 0, wide=-1)

    def fill(
        self,
        outlines: Array | Sequence[Array],
        tint: Tint | Colour,
        finish: Finish = FLAT,
        *,
        opacity: float = 1.0,
        inside: Array | None = None,
    ) -> Array:
        """Fill one or more outlines and return the mask of what they cover.

        A mask of another shape given as inside confines the paint to that shape.
        """
        shapes = [outlines] if isinstance(outlines, np.ndarray) else list(outlines)
        shapes = [shape @ self.matrix[:, :2].T + self.matrix[:, 2] for shape in shapes]
        mask = np.zeros(self.plate.cover.shape, np.float32)
        margin = 3 + (1.1 * finish.bulge * self.unit if finish.volume else 0)
        left, top, right, bottom = _surroundings(shapes, margin, mask.shape)
        if right <= left or bottom <= top:
            return mask
        stencil = _stencil(shapes, (left, top), (right - left, bottom - top))
        colour = rgb(tint(self._field(left, top, right, bottom)) if callable(tint) else tint)
        colour = np.broadcast_to(colour, (3, bottom - top, right - left))
        colour = _lit(colour, stencil, finish, self.unit, self.plate.light)
        box = np.s_[top:bottom, left:right]
        mask[box] = np.asarray(stencil, np.float32) / 255
        if inside is not None:
            mask[box] *= inside[box]
        cover = opacity * mask[box]
        below = self.plate.colour[:, top:bottom, left:right]
        below += (np.clip(colour, 0, 1) - below) * cover
        self.plate.cover[box] += (1 - self.plate.cover[box]) * cover
        return mask

    def _field(self, left: int, top: int, right: int, bottom: int) -> Field:
        """Return the local coordinates of the pixels in a box."""
        inverse = np.linalg.inv(self.matrix[:, :2])
        columns = np.arange(left, right) + 0.5 - self.matrix[0, 2]
        rows = (np.arange(top, bottom) + 0.5 - self.matrix[1, 2])[:, None]
        x = inverse[0, 0] * columns + inverse[0, 1] * rows
        y = inverse[1, 0] * columns + inverse[1, 1] * rows
        return Field(x.astype(np.float32), y.astype(np.float32))


def _surroundings(shapes: Sequence[Array], margin: float, limits: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the box (left, top, right, bottom) around shapes that lies on the plate."""
    points = np.concatenate(shapes)
    left, top = np.maximum(points.min(axis=0) - margin, 0).astype(int).tolist()
    right, bottom = np.minimum(points.max(axis=0) + margin + 1, limits[::-1]).astype(int).tolist()
    # One row or column more than a line, as slopes need two.
    return left, top, right if right - left > 1 else left, bottom if bottom - top > 1 else top


def _stencil(shapes: Sequence[Array], corner: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Draw shapes, given in pixels, as a smooth-edged mask of one box."""
    large = Image.new("L", (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING))
    draw = ImageDraw.Draw(large)
    for shape in shapes:
        draw.polygon(((shape - corner) * OVERSAMPLING).ravel().tolist(), fill=255)
    return large.reduce(OVERSAMPLING)
