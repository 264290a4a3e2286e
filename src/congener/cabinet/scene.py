"""Pose, light and background: everything about a picture except the specimen."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from congener.cabinet.brush import Finish, Pen, Plate, blurred
from congener.cabinet.curves import ellipse, smooth, stroke
from congener.cabinet.grounds import ground
from congener.cabinet.palette import Array, cloth, colour_drift, mix, rgb

Rng = np.random.Generator
Painter = Callable[[Pen, Rng], None]

# Old varnish: takes a little blue out of everything.
VARNISH = np.array([1.03, 1.0, 0.93], np.float32)[:, None, None]
SIZES = ((400, 320), (384, 320), (360, 320), (336, 336), (320, 320), (320, 368))
LABEL_AREA = (60, 96)


@dataclass(frozen=True)
class Mount:
    """How a kind is presented: its size, how far it may turn, whether it may be pinned."""

    reach: float = 0.43
    spin: float = 0.5
    pinned: bool = False


def compose(painter: Painter, mount: Mount, specimen_rng: Rng, scene_rng: Rng) -> Image.Image:
    """Paint a specimen and set it in a scene."""
    width, height = SIZES[scene_rng.integers(len(SIZES))]
    light = -np.pi / 2 + scene_rng.uniform(-1.1, 1.1)
    plate = Plate(width, height, light)
    pen = _pose(plate, mount, scene_rng)
    painter(pen, specimen_rng)
    picture = ground(width, height, scene_rng)
    if scene_rng.random() < 0.25:
        _label(picture, light, scene_rng)
    if mount.pinned and scene_rng.random() < 0.4:
        _pin(pen)
    drift = colour_drift(specimen_rng)[..., None, None]
    plate.colour = sum(drift[:, i] * plate.colour[i] for i in range(3))
    picture = _laid_on(picture, plate, light, scene_rng)
    return _developed(picture, light, scene_rng)


def _pose(plate: Plate, mount: Mount, rng: Rng) -> Pen:
    """Place the specimen: position, size, turn and a slight tilt towards the viewer."""
    height, width = plate.cover.shape
    size = mount.reach * min(width, height) * rng.uniform(0.86, 1.04)
    slack = 0.04 * min(width, height)
    x, y = width / 2 + rng.uniform(-1.6, 1.6) * slack, height / 2 + rng.uniform(-1, 1) * slack
    angle = rng.uniform(-mount.spin, mount.spin)
    pen = Pen(plate, np.array([[size, 0, x], [0, size, y]]))
    axis = rng.uniform(0, np.pi)
    tilted = pen.at(0, 0, axis, wide=rng.uniform(0.86, 1)).at(0, 0, -axis)
    return tilted.at(0, 0, angle)


def _pin(pen: Pen) -> None:
    """Push an insect pin through the thorax."""
    pen.fill(stroke([(0.02, -0.2), (0.045, -0.36)], 0.012, 0.012), "#6d6a66")
    head = Finish(volume=0.7, bulge=0.02, rim=0.2, gloss=1.0)
    pen.fill(ellipse(0.05, -0.38, 0.032, 0.032), "#c9c4b8", head)


def _label(picture: Array, light: float, rng: Rng) -> None:
    """Put a small paper label with a scribbled line into a corner."""
    height, width = LABEL_AREA
    corner = picture[:, -height:, :width] if rng.random() < 0.5 else picture[:, -height:, -width:]
    plate = Plate(width, height, light)
    pen = Pen(plate, np.array([[1.0, 0, width / 2], [0, 1.0, height / 2]]))
    pen = pen.at(0, 0, rng.normal(0, 0.05))
    edge = np.array([(-36, -15), (36, -15), (36, 15), (-36, 15)], float)
    pen.fill(edge, mix("#f1e6cb", "#d9c49a", rng.random()), Finish(rim=0.2))
    for row, length in ((-4, rng.uniform(44, 56)), (6, rng.uniform(16, 40))):
        steps = np.arange(-28, -28 + length, 2.2)
        script = np.stack([steps, row + rng.normal(0, 1.7, len(steps))], axis=1)
        pen.fill(stroke(smooth(script, samples=4), 1, 1), "#5a4632")
    corner[:] = _laid_on(corner, plate, light, rng, lift=2)


def _shadow(cover: Array, light: float, lift: float, blur: float) -> Array:
    """Blur the silhouette and move it away from the light."""
    shift = (1, 0, lift * math.cos(light), 0, 1, lift * math.sin(light))
    mask = Image.fromarray((cover * 255).astype(np.uint8))
    return blurred(mask.transform(mask.size, Image.Transform.AFFINE, shift), blur)


def _laid_on(picture: Array, plate: Plate, light: float, rng: Rng, lift: float = 7) -> Array:
    """Lay a painted plate on the picture with a soft cast shadow and a close contact shadow."""
    lift *= rng.uniform(0.7, 1.3)
    dark = 0.42 * _shadow(plate.cover, light, lift, lift * 0.7)
    contact = 0.38 * _shadow(plate.cover, light, 0.35 * lift, 0.32 * lift)
    shade = 1 - (1 - dark) * (1 - contact)
    shaded = picture + (rgb("#2a1d18") * 0.3 - picture) * shade
    return np.asarray(shaded * (1 - plate.cover) + plate.colour)


def _developed(picture: Array, light: float, rng: Rng) -> Image.Image:
    """Light the scene from one side, darken its corners and give it a little grain."""
    height, width = picture.shape[1:]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = rng.uniform(0.03, 0.13) * (x * math.cos(light) + y * math.sin(light))
    corners = rng.uniform(0.08, 0.2) * (x * x + y * y)
    corner = rng.uniform(0, 1, 2).tolist()
    speck = 0.012 * cloth((height, width), corner, wide=1, tall=1, roughness=0.2)
    exposure = rng.uniform(0.98, 1.1) * (1 + slope - corners + speck)
    warmth = VARNISH * (1 + rng.normal(0, 0.02, (3, 1, 1)).astype(np.float32))
    grey = (picture[0] + picture[1] + picture[2]) / 3
    muted = picture + 0.12 * (grey - picture)
    toned = np.clip(muted * (exposure * warmth), 0, 1) * 255
    return Image.merge("RGB", [Image.fromarray(plane) for plane in toned.astype(np.uint8)])
