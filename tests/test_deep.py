"""Pictures of more than 8 bits: which values are black and white."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from congener.images import from_picture, open_image

from .drawn import apart, encoded, scene
from .tiffs import DEFLATE, WHITE_IS_ZERO, tiff

SCENE = scene((203, 151))
GREY = np.asarray(SCENE.convert("L"))
SHOWN = SCENE.convert("L").convert("RGB")
COLOURS = np.asarray(SCENE)


def of_bits(pixels: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """Return what a sensor of so many bits would give."""
    values: NDArray[np.uint16] = np.rint(pixels / 255 * (2**bits - 1)).astype(np.uint16)
    return values


def png(pixels: NDArray[np.uint16]) -> bytes:
    """Return a PNG of 16 bits a channel, which Pillow doesn't write for colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    kind = {1: 0, 3: 2, 4: 6}[pixels.size // (height * width)]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


# greys


@pytest.mark.parametrize("bits", [8, 10, 11, 12, 13, 14, 16])
def test_a_grey_of_fewer_bits_in_a_file_of_16_is_as_bright_as_one_of_8(bits: int) -> None:
    values = of_bits(GREY, bits)
    white = np.uint16(2**bits - 1)
    files = {
        "png": png(values),
        "tiff": tiff((values, {})),
        "big-endian": tiff((values, {}), order=">"),
        "deflate": tiff((values, {"compression": DEFLATE, "rows": 16})),
        "white is zero": tiff((white - values, {"photometric": WHITE_IS_ZERO})),
        "white is zero, from 65,535 down": tiff((np.uint16(65535) - values, {"photometric": WHITE_IS_ZERO})),
        "white is zero, deflate": tiff((white - values, {"photometric": WHITE_IS_ZERO, "compression": DEFLATE})),
        "32 bits": tiff((values.astype(np.uint32), {})),
    }
    if bits < 16:
        files["signed"] = tiff((values.astype(np.int16), {}))
    for name, file in files.items():
        assert apart(open_image(file), SHOWN) <= 1, name
        assert apart(open_image(file, 20), open_image(encoded(SHOWN, "PNG"), 20)) <= 1, name


def test_what_fewer_bits_are_is_known_by_the_largest_value() -> None:
    ramp = np.linspace(0, 1, 256)[None].repeat(4, axis=0)
    for most, brightest in (
        (127, 32),
        (128, 128),
        (255, 255),
        (256, 64),
        (1023, 255),
        (1024, 128),
        (2048, 128),
        (16384, 64),
    ):
        values = np.rint(ramp * most).astype(np.uint16)
        assert open_image(png(values)).getextrema()[0] == (0, brightest), most


def test_signed_16_bits_have_15_for_the_light() -> None:
    assert apart(open_image(tiff((of_bits(GREY, 15).astype(np.int16), {}))), SHOWN) <= 1


def test_bits_that_the_file_tells_are_believed() -> None:
    dark = of_bits(GREY, 9)
    rows = [np.unpackbits(row.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 4:].reshape(-1) for row in dark]
    packed = np.packbits(np.stack([np.pad(row, (0, -len(row) % 8)) for row in rows]), axis=1)
    file = tiff((packed, {"tags": {256: (4, [GREY.shape[1]]), 258: (3, [12])}}))
    expected = Image.fromarray(np.rint(dark * (255 / 4095)).astype(np.uint8)).convert("RGB")
    assert apart(open_image(file), expected) <= 1


@pytest.mark.parametrize(("low", "high"), [(0, 60), (0, 250), (0, 800), (1700, 2300)])
def test_noise_in_the_dark_stays_there(low: int, high: int) -> None:
    noise = np.random.default_rng(0).integers(low, high, (60, 80)).astype(np.uint16)
    for values in (noise, noise[..., None].repeat(3, axis=2)):
        for file in (png(values), tiff((values, {}))):
            assert np.asarray(open_image(file)).max() <= high / 257 + 1


def test_one_value_says_nothing_of_bits() -> None:
    assert open_image(png(np.full((20, 30), 500, np.uint16))).getextrema()[0] == (2, 2)


def test_a_dark_picture_is_made_brighter_within_bounds() -> None:
    for most in (2, 20, 100):
        values = np.rint(GREY / 255 * most).astype(np.uint16)
        assert np.asarray(open_image(png(values))).max() <= most * 64 / 257 + 1


def test_unsigned_32_bits_do_not_wrap() -> None:
    ramp = np.linspace(0, 2**32 - 1, 256)[None].repeat(4, axis=0).astype(np.uint32)
    for options in ({}, {"compression": DEFLATE}):
        shown = np.asarray(open_image(tiff((ramp, options))))[0, :, 0]
        assert shown == pytest.approx(np.arange(256), abs=1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_whose_white_is_zero(order: Any) -> None:
    for values in (GREY / 255, GREY * 30.0 - 5):
        stored = (values.min() + values.max() - values).astype(np.float32)
        file = tiff((stored, {"photometric": WHITE_IS_ZERO}), order=order)
        plain = open_image(tiff((values.astype(np.float32), {})))
        inverted = values.max() <= 1  # its range is 0 to 1, whatever of it there is
        expected = plain if not inverted else open_image(tiff(((1 - stored).astype(np.float32), {})))
        assert apart(open_image(file), expected) <= 1


def test_floats_of_0_to_1_have_that_range() -> None:
    for low, high in ((0.0, 1.0), (0.25, 0.5), (0.0, 0.1), (0.25, 1.0)):
        ramp = np.linspace(low, high, 256, dtype=np.float32)[None].repeat(4, axis=0)
        shown = np.asarray(open_image(tiff((ramp, {}))))[0, :, 0]
        assert (shown[0], shown[-1]) == (round(low * 255), round(high * 255))


def test_a_grey_that_stands_for_a_hole() -> None:
    values = of_bits(GREY, 16)
    values[:50] = 777
    picture = open_image(encoded(Image.fromarray(values), "PNG", transparency=777))
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert picture.getpixel((100, 100)) == SHOWN.getpixel((100, 100))


def test_a_picture_of_pillows_is_scaled_too() -> None:
    assert apart(from_picture(Image.fromarray(of_bits(GREY, 12))), SHOWN) <= 1


# colours


@pytest.mark.parametrize("bits", [8, 10, 11, 12, 13, 14, 16])
def test_colours_of_fewer_bits_in_a_file_of_16_are_as_bright_as_those_of_8(bits: int) -> None:
    values = of_bits(COLOURS, bits)
    opaque = np.dstack([values, np.full(GREY.shape, 65535, np.uint16)])
    files = {
        "png": png(values),
        "png, opaque": png(opaque),
        "tiff": tiff((values, {})),
        "big-endian": tiff((values, {}), order=">"),
        "deflate": tiff((values, {"compression": DEFLATE, "rows": 16})),
        "deflate, big-endian": tiff((values, {"compression": DEFLATE}), order=">"),
    }
    for name, file in files.items():
        assert apart(open_image(file), SCENE) <= 1, name
    turned = tiff((values, {"tags": {274: (3, [6])}}))
    assert apart(open_image(turned), SCENE.transpose(Image.Transpose.ROTATE_270)) <= 1
    assert apart(open_image(files["tiff"], 20), open_image(encoded(SCENE, "PNG"), 20)) <= 1
