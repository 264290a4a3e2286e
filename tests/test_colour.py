"""Embedded profiles are followed: a picture comes out as a managed screen shows it."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from congener.colour import to_srgb
from congener.images import from_picture, open_image

from .conftest import plain
from .drawn import apart, encoded, scene
from .profiles import ADOBE_RGB, DISPLAY_P3, PROPHOTO, SRGB, gamma, grey_profile, rgb_profile, srgb_curve, table

DOT_GAIN = table([(value / 255) ** 1.75 * 0.98 + value / 255 * 0.02 for value in range(256)])
WIDE = {
    "Display P3": rgb_profile(DISPLAY_P3, srgb_curve()),
    "P3, gamma 2.2": rgb_profile(DISPLAY_P3, gamma(2.2)),
    "Adobe RGB": rgb_profile(ADOBE_RGB, gamma(2.19921875)),
    "ProPhoto": rgb_profile(PROPHOTO, gamma(1.8)),
    "linear": rgb_profile(SRGB, gamma(1)),
}
GREYS = {
    "gamma 1.8": grey_profile(gamma(1.8)),
    "gamma 2.2": grey_profile(gamma(2.2)),
    "linear": grey_profile(gamma(1)),
    "dot gain": grey_profile(DOT_GAIN),
}
LITTLE_CMS = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3 = WIDE["Display P3"]
SCENE = Image.blend(scene((120, 90)), plain("grey", (120, 90)), 0.4)  # colours that all spaces have
GREY = SCENE.convert("L")
FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def in_space(picture: Image.Image, profile: bytes) -> Image.Image:
    """Return a picture as it is stored with a profile."""
    target = ImageCms.getOpenProfile(BytesIO(profile))
    source = ImageCms.createProfile("sRGB")
    if picture.mode == "L":
        stored = ImageCms.profileToProfile(picture.convert("RGB"), source, target, outputMode="L")
    else:
        stored = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    assert stored is not None
    return stored


def mean_apart(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean())


@pytest.mark.parametrize("space", WIDE)
@pytest.mark.parametrize("format", FORMATS)
def test_a_wide_space_is_shown_as_srgb(space: str, format: str) -> None:
    stored = in_space(SCENE, WIDE[space])
    picture = open_image(encoded(stored, format, icc_profile=WIDE[space], **FORMATS[format]))
    assert mean_apart(picture, SCENE) < 2
    assert mean_apart(stored, SCENE) > 3
    small = open_image(encoded(stored.resize((480, 360)), format, icc_profile=WIDE[space], **FORMATS[format]), 30)
    assert mean_apart(small.resize((40, 30)), SCENE.resize((40, 30))) < 2.5


@pytest.mark.parametrize("space", GREYS)
@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "jpeg", "tiff"])
def test_greys_follow_their_gamma(space: str, mode: str) -> None:
    stored = in_space(GREY, GREYS[space])
    if mode == "I;16":
        file = encoded(Image.fromarray(np.asarray(stored, np.uint16) * 257), "PNG", icc_profile=GREYS[space])
    elif mode in ("jpeg", "tiff"):
        options = {"quality": 100} if mode == "jpeg" else {}
        file = encoded(stored, mode.upper(), icc_profile=GREYS[space], **options)
    else:
        file = encoded(stored.convert(mode), "PNG", icc_profile=GREYS[space])
    assert mean_apart(open_image(file), GREY.convert("RGB")) < (2.5 if space == "linear" else 1)
    assert mean_apart(stored.convert("RGB"), GREY.convert("RGB")) > 0.5


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_other_modes_follow_the_profile_of_their_colours(mode: str) -> None:
    stored = in_space(SCENE, P3)
    changed = stored.convert(mode) if mode == "RGBA" else stored.quantize(256)
    picture = open_image(encoded(changed, "PNG", icc_profile=P3))
    assert mean_apart(picture, SCENE) < 2
    assert mean_apart(stored, SCENE) > 3


def test_a_picture_of_pillows_follows_its_profile_once() -> None:
    opened = Image.open(BytesIO(encoded(in_space(SCENE, P3), "PNG", icc_profile=P3)))
    once = from_picture(opened)
    assert mean_apart(once, SCENE) < 1
    assert from_picture(once) == once


@pytest.mark.parametrize("profile", [rgb_profile(SRGB, srgb_curve()), LITTLE_CMS])
def test_srgb_changes_nothing(profile: bytes) -> None:
    for picture in (SCENE, SCENE.convert("RGBA")):
        assert apart(open_image(encoded(picture, "PNG", icc_profile=profile)), SCENE) == 0
    assert to_srgb(SCENE, profile, "RGB") is SCENE


@pytest.mark.parametrize(("levels", "is_followed"), [(1.5, False), (3, True)])
def test_what_another_maker_s_srgb_differs_by_is_no_other_space(levels: float, is_followed: bool) -> None:
    """By up to two levels."""
    shifted = [min((value + levels) / 255, 1) for value in range(256)]
    curve = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in shifted]
    assert (to_srgb(SCENE, rgb_profile(SRGB, table(curve)), "RGB") is not SCENE) is is_followed


@pytest.mark.parametrize("profile", [P3[:200], P3[:132] + bytes(400), b"x" * 500, P3 + bytes(5 << 20), b"", 7])
def test_a_profile_that_says_nothing_changes_nothing(profile: Any) -> None:
    assert to_srgb(SCENE, profile, "RGB") is SCENE


def test_a_profile_of_other_colours_than_the_pictures_is_not_followed() -> None:
    assert apart(open_image(encoded(SCENE, "PNG", icc_profile=GREYS["linear"])), SCENE) == 0
    assert apart(open_image(encoded(GREY, "PNG", icc_profile=WIDE["linear"])), GREY.convert("RGB")) == 0


def test_white_behind_what_is_transparent_stays_white() -> None:
    picture = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    picture.paste((200, 30, 40, 255), (5, 5, 15, 15))
    assert open_image(encoded(picture, "PNG", icc_profile=P3)).getpixel((0, 0)) == (255, 255, 255)
