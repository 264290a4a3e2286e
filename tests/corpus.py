"""Bad images, made by code: every format, whole and harmed, and what must become of each.

`python -m tests.corpus FOLDER [--full]` writes them, with their names as files.
"""

import os
import random
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageDraw

SEED = 6


class Sample(NamedTuple):
    """A file of the corpus."""

    name: str
    content: bytes
    readable: bool | None
    """Whether it must be read; None: either, but nothing worse."""


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return the picture as a file of that format."""
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def scene(size: tuple[int, int] = (97, 61), mode: str = "RGB") -> Image.Image:
    """Return a picture with edges, slopes and some noise, the same each time."""
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    channels = np.stack([255 * x / size[0], 255 * y / size[1], rng.integers(0, 60, x.shape)], axis=-1)
    image = Image.fromarray(np.uint8(channels))
    ImageDraw.Draw(image).ellipse((10, 10, size[0] // 2, size[1] // 2), "orange")
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(np.uint8(255 * x / size[0])))
    return image if image.mode == mode else image.convert(mode)


@cache
def whole() -> dict[str, bytes]:
    """Return one sound file of each kind by name; the suffix is right."""
    return _jpeg() | _png() | _webp_gif_bmp_avif() | _tiff() | _heic()


def _jpeg() -> dict[str, bytes]:
    rgb = scene()
    return {
        "baseline.jpg": encoded(rgb, "JPEG"),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "444.jpeg": encoded(rgb, "JPEG", subsampling=0, quality=100),
        "grey.jpg": encoded(rgb.convert("L"), "JPEG"),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "cmyk-progressive.jpe": encoded(rgb.convert("CMYK"), "JPEG", progressive=True),
        "restarts.jfif": encoded(rgb, "JPEG", restart_marker_blocks=2),
        "restart-rows.jpg": encoded(rgb, "JPEG", restart_marker_rows=1),
        "mpo.jpg": encoded(rgb, "MPO", save_all=True, append_images=[rgb.rotate(90)]),
        "icc.jpg": encoded(rgb, "JPEG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    }


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes, interlaced: int = 0) -> bytes:
    """Return a PNG of these raw rows (filter bytes included), other chunks before its pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    pixels = png_chunk(b"IDAT", zlib.compress(rows, 1))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + png_chunk(b"IEND", b"")


_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _interlaced() -> bytes:
    pixels = np.asarray(scene())
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in _PASSES]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    return png(97, 61, 8, 2, rows, interlaced=1)


def _png() -> dict[str, bytes]:
    rgb, grey = scene(), scene().convert("L")
    palette = rgb.quantize(16)
    deep = np.asarray(grey).astype(np.uint16) * 257
    files = {
        "rgb.png": encoded(rgb, "PNG"),
        "rgba.png": encoded(scene(mode="RGBA"), "PNG"),
        "la.png": encoded(scene(mode="LA"), "PNG"),
        "interlaced.png": _interlaced(),
        "deep.png": encoded(Image.fromarray(deep), "PNG"),
        "rgb-clear.png": encoded(rgb, "PNG", transparency=(0, 0, 0)),
        "palette-clear.png": encoded(palette, "PNG", transparency=3),
        "palette-alpha.png": encoded(palette, "PNG", transparency=bytes(range(0, 256, 16))),
        "icc.png": encoded(rgb, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
        "one.png": encoded(rgb.convert("1"), "PNG"),
    }
    colours = png_chunk(b"PLTE", bytes(range(48)))
    for depth in (1, 2, 4, 8, 16):  # all grey depths, palettes up to 8
        row = b"\0" + bytes(range(1, 1 + depth * 2))
        files[f"grey-{depth}.png"] = png(16, 9, depth, 0, row * 9)
        if depth < 8:
            files[f"palette-{depth}.png"] = png(16, 9, depth, 3, row * 9, colours)
    for colour, channels in ((2, 3), (4, 2), (6, 4)):  # 16 bits: RGB, grey and alpha, RGBA
        files[f"16-bit-{colour}.png"] = png(16, 9, 16, colour, (b"\0" + bytes(32 * channels)) * 9)
    return files


def _webp_gif_bmp_avif() -> dict[str, bytes]:
    rgb, rgba = scene(), scene(mode="RGBA")
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    gif, palette = rgb.quantize(64), rgb.quantize(16)
    return {
        "lossy.webp": encoded(rgb, "WEBP"),
        "lossless.webp": encoded(rgb, "WEBP", lossless=True),
        "rgba.webp": encoded(rgba, "WEBP"),
        "animated.webp": encoded(rgb, "WEBP", **frames),
        "still.gif": encoded(gif, "GIF", interlace=0),
        "interlaced.gif": encoded(gif, "GIF", interlace=1),
        "animated.gif": encoded(rgb, "GIF", **frames),
        "clear.gif": encoded(gif, "GIF", transparency=5),
        "rgb.bmp": encoded(rgb, "BMP"),
        "rgba.bmp": encoded(rgba, "BMP"),
        "grey.bmp": encoded(rgb.convert("L"), "BMP"),
        "one.bmp": encoded(rgb.convert("1"), "BMP"),
        "palette.bmp": encoded(palette, "BMP"),
        "rle.bmp": _bmp(8, 8, 8, 1, b"\x08\x05\x00\x00" * 8 + b"\0\1"),
        "16-bit.bmp": _bmp(8, 8, 16, 0, b"\x1f\x7c" * 64),
        "lossy.avif": encoded(rgb, "AVIF", speed=10),
        "rgba.avif": encoded(rgba, "AVIF", speed=10),
        "444.avif": encoded(rgb, "AVIF", speed=10, quality=100, subsampling="4:4:4"),
        "animated.avif": encoded(rgb, "AVIF", speed=10, **frames),
    }


def _bmp(width: int, height: int, bits: int, compression: int, pixels: bytes) -> bytes:
    colours = bytes(range(256)) * 4 if bits <= 8 else b""
    start = 54 + len(colours)
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, len(colours) // 4, 0
    )
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + colours + pixels


def tiff(tags: dict[int, tuple[int, int, int]], rest: bytes = b"", after: int = 0) -> bytes:
    """Return a TIFF of one directory of tag -> (type, count, value or offset), then these bytes."""
    entries = b"".join(struct.pack("<HHII", tag, *value) for tag, value in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", after) + rest


def grey_tiff(
    width: int, height: int, data: bytes, more: dict[int, tuple[int, int, int]] | None = None, after: int = 0
) -> bytes:
    """Return a grey TIFF of 8 bits in one deflated strip; more: other tags, or others of these."""
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)}
    tags |= {273: (4, 1, 0), 278: (4, 1, height), 279: (4, 1, len(data))}
    tags |= more or {}
    if 322 in tags:  # tiles, not strips
        tags = {tag: value for tag, value in tags.items() if tag not in (273, 278, 279)}
        tags |= {324: (4, 1, 0), 325: (4, 1, len(data))}
    place = 8 + 2 + 12 * len(tags) + 4
    for tag in (273, 324):  # strip or tile offsets
        if tag in tags:
            tags[tag] = (4, 1, place)
    return tiff(tags, data, after)


def _tiff() -> dict[str, bytes]:
    rgb, grey = scene(), scene().convert("L")
    values = np.asarray(grey).astype(np.float32)
    deep = np.asarray(grey).astype(np.uint16) * 257
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB")
    assert lab is not None
    holes = values.copy()
    holes[:3] = [[np.nan], [np.inf], [-np.inf]]
    kinds = ("raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma")
    return {f"{kind}.tif": encoded(rgb, "TIFF", compression=kind) for kind in kinds} | {
        "group4.tif": encoded(rgb.convert("1"), "TIFF", compression="group4"),
        "rgba.tiff": encoded(scene(mode="RGBA"), "TIFF"),
        "grey.tif": encoded(grey, "TIFF"),
        "palette.tif": encoded(rgb.quantize(16), "TIFF"),
        "cmyk.tif": encoded(rgb.convert("CMYK"), "TIFF"),
        "ycbcr.tif": encoded(rgb.convert("YCbCr"), "TIFF"),
        "lab.tif": encoded(lab, "TIFF"),
        "deep.tif": encoded(Image.fromarray(deep), "TIFF"),
        "int32.tif": encoded(Image.fromarray(deep.astype(np.int32) * 3), "TIFF"),
        "float.tif": encoded(Image.fromarray(values), "TIFF", compression="tiff_lzw"),
        "float-holes.tif": encoded(Image.fromarray(holes), "TIFF"),
        "float-none.tif": encoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"),
        "float-huge.tif": encoded(Image.fromarray(values * np.float32(1e36) - np.float32(3e38)), "TIFF"),
        "pages.tif": encoded(rgb, "TIFF", save_all=True, append_images=[grey, rgb.rotate(90)]),
        "tiled.tif": grey_tiff(
            16,
            16,
            zlib.compress(bytes(range(256))),
            {322: (4, 1, 16), 323: (4, 1, 16)},
        ),
        "big.tif": encoded(rgb, "TIFF", big_tiff=True),
    }


def _heic() -> dict[str, bytes]:
    try:
        import pi_heif  # noqa: F401
    except ImportError:
        return {}
    return {"red.heic": (Path(__file__).parent / "data/red.heic").read_bytes()}


# whole, and odd


def odd() -> Iterator[Sample]:
    """Yield pictures of odd shapes, metadata and names: to be read."""
    for name, content in whole().items():
        yield Sample(f"whole-{name}", content, True)
    for width, height in ((1, 1), (65500, 8), (8, 65500), (1, 4000), (4000, 1)):
        line = Image.new("RGB", (width, height), (200, 30, 40))
        for format in ("JPEG", "PNG", "BMP", "TIFF", "GIF"):
            yield Sample(f"{width}x{height}.{format[:4].lower()}", encoded(line, format), True)
        if max(width, height) < 16000:
            yield Sample(f"{width}x{height}.webp", encoded(line, "WEBP"), True)
            yield Sample(f"{width}x{height}.avif", encoded(line, "AVIF", speed=10), True)
    yield Sample("wrong-suffix.jpg", whole()["rgb.png"], True)
    yield Sample("wrong-suffix.png", whole()["baseline.jpg"], True)
    yield Sample("wrong-suffix.heic", whole()["lossy.webp"], True)
    yield Sample("trailing-garbage.jpg", whole()["baseline.jpg"] + bytes(range(256)) * 40, True)
    yield from _metadata()
    for name in (
        "Käfer.png",
        "蝶.jpg",
        "new\nline.png",
        "tab\t.png",
        os.fsdecode(b"\xff\xfe.png"),
        "-rf.png",
        "' \".png",
    ):
        yield Sample(name, encoded(scene(mode="L"), "PNG"), True)
    yield Sample("ü" * 120 + ".png", encoded(scene(), "PNG"), True)


def _entry(tag: int, kind: int, count: int, value: int) -> dict[int, tuple[int, int, int]]:
    return {tag: (kind, count, value)}


def _metadata() -> Iterator[Sample]:
    """Yield pictures whose EXIF or profile is absurd: the pixels are sound."""
    orientation = 0x0112
    exifs = {
        "garbage": b"garbage",
        "empty": b"",
        "far-offset": b"II*\0\xff\xff\xff\xff",
        "no-entries": b"MM\0*\0\0\0\x08\xff\xff",
        "wrong-type": tiff(_entry(orientation, 2, 4, 0x41414141)),
        "unknown-type": tiff(_entry(orientation, 99, 1, 6)),
        "no-value": tiff(_entry(orientation, 3, 0, 0)),
        "many-values": tiff(_entry(orientation, 3, 2**30, 8)),
        "cyclic": tiff(_entry(0x8769, 4, 1, 8), after=8),
        "cyclic-sub": tiff(_entry(0x8769, 4, 1, 8) | _entry(0x8825, 4, 1, 8) | _entry(0xA005, 4, 1, 8)),
        "zero-rational": tiff(_entry(0x011A, 5, 1, 26), bytes(8)),
        "many-tags": tiff(dict.fromkeys(range(1000, 6000), (7, 60000, 8))),
    } | {f"orientation-{n}": tiff(_entry(orientation, 3, 1, n)) for n in (0, 1, 6, 9, 255, 65535)}
    rgb = scene()
    for name, exif in exifs.items():
        for format in ("JPEG", "PNG", "WEBP", "AVIF"):
            if format == "JPEG" and len(exif) > 65000:
                continue
            options = {"speed": 10} if format == "AVIF" else {}
            harmless = format != "AVIF" or name.startswith("orient")  # Pillow reads AVIF's EXIF before its pixels
            if format == "AVIF" and not harmless:
                continue
            yield Sample(
                f"exif-{name}.{format.lower()}", encoded(rgb, format, exif=b"Exif\0\0" + exif, **options), True
            )
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    huge = profile[:128] + random.Random(SEED).randbytes(3 * 2**20)
    for name, icc in {"garbage": b"garbage" * 50, "truncated": profile[:200], "huge": huge}.items():
        for mode, format in (("RGB", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("CMYK", "TIFF"), ("RGB", "WEBP")):
            content = encoded(scene(mode=mode), format, icc_profile=icc)
            yield Sample(f"icc-{name}-{mode}.{format.lower()}", content, True)


# refused by their header


def vast(width: int = 100_000, height: int = 100_000) -> Iterator[Sample]:
    """Yield files of every format that say they are huge."""
    yield Sample("vast.png", png(width, height, 8, 2, bytes(1000)), False)
    yield Sample("vast-deep.png", png(2**31 - 1, 2**31 - 1, 16, 6, bytes(1000)), False)
    yield Sample("vast.bmp", _bmp(width, height, 24, 0, bytes(1000)), False)
    yield Sample("vast-rle.bmp", _bmp(2**31 - 1, 2**31 - 1, 8, 1, b"\xff\0" * 100), False)
    yield Sample("vast-negative.bmp", _bmp(width, -(2**31), 24, 0, bytes(1000)), False)
    jpeg = whole()["baseline.jpg"]
    at = jpeg.index(b"\xff\xc0") + 5
    yield Sample("vast.jpg", jpeg[:at] + struct.pack(">HH", 65500, 65500) + jpeg[at + 4 :], False)
    gif = whole()["still.gif"]
    yield Sample("vast-screen.gif", gif[:6] + struct.pack("<HH", 65535, 65535) + gif[10:], False)
    frame = gif.index(b"\x2c\0\0\0\0") + 5
    yield Sample("vast-frame.gif", gif[:frame] + struct.pack("<HH", 65535, 65535) + gif[frame + 4 :], False)
    strip = zlib.compress(bytes(1000))
    yield Sample("vast.tif", grey_tiff(width, height, strip), False)
    yield Sample("vast-most.tif", grey_tiff(2**32 - 1, 2**32 - 1, strip), False)
    tile = {322: (4, 1, 2**20), 323: (4, 1, 2**20)}
    yield Sample("vast-tile.tif", grey_tiff(64, 64, strip, tile), False)
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    webp = whole()["lossy.webp"]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + webp[12:]
    yield Sample("vast.webp", b"RIFF" + struct.pack("<I", len(body)) + body, False)
    lossless = bytearray(whole()["lossless.webp"])
    lossless[21:25] = struct.pack("<I", 16383 | 16383 << 14)
    yield Sample("vast-lossless.webp", bytes(lossless), False)
    for name in ("lossy.avif", "red.heic"):
        if name in whole():
            content = whole()[name]
            at = content.index(b"ispe") + 8
            yield Sample(f"vast-{name}", content[:at] + struct.pack(">II", width, height) + content[at + 8 :], False)


# bombs


def bombs() -> Iterator[Sample]:
    """Yield small files that would take much memory or time."""
    zeros = zlib.compress(bytes(50_000_000), 9)
    small = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    yield Sample("idat.png", b"\x89PNG\r\n\x1a\n" + small + png_chunk(b"IDAT", zeros) + png_chunk(b"IEND", b""), None)
    texts = {
        "ztxt": png_chunk(b"zTXt", b"a\0\0" + zeros),
        "itxt": png_chunk(b"iTXt", b"a\0\1\0\0\0" + zeros),
        "iccp": png_chunk(b"iCCP", b"a\0\0" + zeros),
        "text-many": png_chunk(b"tEXt", b"a\0" + b"x" * 200) * 20_000,
        "text-tiny": png_chunk(b"tEXt", b"a\0") * 60_000,
        "exif": png_chunk(b"eXIf", bytes(20_000_000)),
        "acTL": png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
    }
    for name, chunk in texts.items():
        yield Sample(f"{name}.png", png(16, 16, 8, 2, (b"\0" + bytes(48)) * 16, chunk), True)
    tiny = b"".join(png_chunk(b"IDAT", bytes([byte])) for byte in zlib.compress(bytes(49 * 16), 0))
    yield Sample("idat-tiny.png", b"\x89PNG\r\n\x1a\n" + small + tiny + png_chunk(b"IEND", b""), True)
    yield Sample("segments.jpg", b"\xff\xd8" + b"\xff\xe5\0\2" * 2_000_000 + whole()["baseline.jpg"][2:], False)
    yield Sample("fill.jpg", b"\xff\xd8" + b"\xff" * 3_000_000 + whole()["baseline.jpg"][2:], False)
    yield Sample(
        "comments.jpg", b"\xff\xd8" + (b"\xff\xfe\xff\xff" + bytes(65533)) * 300 + whole()["grey.jpg"][2:], True
    )
    yield _scans()
    yield _mpo()
    yield Sample("rows.bmp", _bmp(2**24, 8, 8, 1, b"\1\0\0\0" * 8), False)
    yield from _tiff_bombs()
    yield from _gif_bombs()


def _scans() -> Sample:
    """Return a progressive JPEG with very many scans that hold nothing."""
    whole = encoded(Image.new("RGB", (16000, 1000), (200, 30, 40)), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return Sample("scans.jpg", whole[:-2] + last * 3000 + b"\xff\xd9", False)


def _mpo() -> Sample:
    """Return an MPO that says it has four thousand million pictures."""
    mpo = bytearray(whole()["mpo.jpg"])
    at = mpo.index(b"MPF\0") + 4
    tag = bytes(mpo).index(b"\x01\xb0" if mpo[at : at + 2] == b"II" else b"\xb0\x01", at)
    mpo[tag + 8 : tag + 12] = b"\xff\xff\xff\x7f"
    return Sample("pictures.mpo.jpg", bytes(mpo), True)


def _tiff_bombs() -> Iterator[Sample]:
    zeros = zlib.compress(bytes(64 * 64), 9)
    page = grey_tiff(64, 64, zeros)
    lines = encoded(Image.new("F", (8, 8)), "TIFF")
    at = lines.index(b"\x01\x01\x04\0\x01\0\0\0") + 8  # height
    yield Sample("rows.tif", lines[:at] + struct.pack("<I", 10_000_000) + lines[at + 4 :], False)
    yield Sample("cyclic.tif", grey_tiff(64, 64, zeros, after=8), True)
    directory = page[8 : 8 + 2 + 12 * 9]
    at, pages = len(page), b""
    for number in range(5000):
        after = at + (number + 1) * (len(directory) + 4) if number < 4999 else 8
        pages += directory + struct.pack("<I", after)
    yield Sample("directories.tif", grey_tiff(64, 64, zeros, after=at) + pages, True)
    bomb = zlib.compress(bytes(100_000_000), 9)
    yield Sample("strip.tif", grey_tiff(64, 64, bomb), None)
    tile = {322: (4, 1, 40_000), 323: (4, 1, 40_000)}
    yield Sample("tile.tif", grey_tiff(64, 64, bomb, tile), False)
    yield Sample("tags.tif", grey_tiff(64, 64, zeros, {700: (7, 2**32 - 1, 8)}), None)
    yield Sample("strips.tif", grey_tiff(64, 64, zeros, {273: (4, 2**28, 8)}), None)
    yield Sample("samples.tif", grey_tiff(64, 64, zeros, {277: (3, 1, 65535)}), False)


def _gif_bombs() -> Iterator[Sample]:
    gif = whole()["still.gif"]
    start = gif.index(b"\x2c\0\0\0\0")
    yield Sample("frames.gif", gif[:-1] + gif[start:-1] * 100 + b"\x2c" + bytes(9) * 50_000 + b"\x3b", True)
    comment = b"\x21\xfe" + (b"\xff" + b"c" * 255) * 20_000 + b"\0"
    yield Sample("comment.gif", gif[:start] + comment + gif[start:], True)
    yield Sample("extensions.gif", gif[:start] + b"\x21\x01\0" * 500_000 + gif[start:], False)


# as large as is allowed


def large() -> Iterator[Sample]:
    """Yield pictures of as many pixels as are allowed, of the modes and formats that cost most: to be read."""
    width, height = 16000, 12500
    rgb = Image.new("RGB", (width, height), (200, 30, 40))
    yield Sample("large.png", encoded(rgb, "PNG", compress_level=1), True)
    yield Sample("large-progressive.jpg", encoded(rgb, "JPEG", progressive=True, subsampling=0), True)
    yield Sample("large.gif", encoded(rgb.quantize(4), "GIF", transparency=0), True)
    del rgb
    rgba = Image.new("RGBA", (width, height), (200, 30, 40, 99))
    yield Sample("large-rgba.png", encoded(rgba, "PNG", compress_level=1), True)
    yield Sample("large-rgba.tif", encoded(rgba, "TIFF", compression="tiff_adobe_deflate"), True)
    del rgba
    values = zlib.compress(bytes(width * height * 4), 1)
    yield Sample("large-float.tif", grey_tiff(width, height, values, {258: (3, 1, 32), 339: (3, 1, 3)}), True)
    yield Sample("large-deep.png", png(width, height, 16, 0, bytes((2 * width + 1) * height)), True)
    yield _deep_strip(width, height)
    part = Image.new("RGBA", (10_000, 10_000), (200, 30, 40, 9))
    yield Sample("large.webp", encoded(part, "WEBP", lossless=True, quality=0, method=0), True)
    yield Sample("large.avif", encoded(part, "AVIF", speed=10, subsampling="4:4:4"), True)


def _deep_strip(width: int, height: int) -> Sample:
    """Return a TIFF of three times 16 bits in one strip."""
    data = zlib.compress(bytes(width * height * 6), 1)
    tags = {256: (4, 1, width), 257: (4, 1, height), 259: (3, 1, 8), 262: (3, 1, 2), 277: (3, 1, 3)}
    place = 8 + 2 + 12 * 9 + 4
    tags |= {258: (3, 3, place), 273: (4, 1, place + 6), 278: (4, 1, height), 279: (4, 1, len(data))}
    return Sample("large-deep.tif", tiff(tags, struct.pack("<HHH", 16, 16, 16) + data), True)


# harmed


def truncated(lengths: int) -> Iterator[Sample]:
    """Yield every whole file cut at so many lengths."""
    for name, content in whole().items():
        stem, suffix = os.path.splitext(name)
        step = max(1, len(content) // lengths)
        for length in range(step // 2, len(content), step):
            yield Sample(f"cut-{stem}-{length}{suffix}", content[:length], None)


def flipped(each: int) -> Iterator[Sample]:
    """Yield so many variants of every whole file, with one to twenty bits flipped, most near its beginning."""
    rng = random.Random(SEED)
    for name, content in whole().items():
        stem, suffix = os.path.splitext(name)
        for number in range(each):
            yield Sample(f"flip-{stem}-{number}{suffix}", mutate(content, rng), None)


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Return the content with some bits flipped, numbers replaced, or a part dropped, doubled or moved."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 20))):
        at = min(int(rng.expovariate(4 / len(data))) if rng.random() < 0.7 else rng.randrange(len(data)), len(data) - 1)
        match rng.randrange(5):
            case 0 | 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                size = rng.choice((1, 2, 4))
                data[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\x01")) * size
            case 3:
                del data[at : at + rng.randrange(1, 20)]
            case _:
                data[at:at] = data[at : at + rng.randrange(1, 40)]
        if not data:
            return b"\0"
    return bytes(data)


def nothing() -> Iterator[Sample]:
    """Yield what is no image."""
    rng = random.Random(SEED)
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tif", "avif", "heic"):
        yield Sample(f"empty.{suffix}", b"", False)
        yield Sample(f"text.{suffix}", b"This is no picture.\n" * 10, False)
        yield Sample(f"zeros.{suffix}", bytes(5000), False)
        yield Sample(f"noise.{suffix}", rng.randbytes(5000), False)
    for name, content in whole().items():
        for length in (1, 2, 4, 12, 30):
            yield Sample(f"head-{length}-{name}", content[:length], False)
    yield Sample("script.jpg", b"#!/bin/sh\nrm -rf /\n", False)
    yield Sample("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", False)
    yield Sample("portable.jpg", encoded(scene(), "PPM"), False)
    yield Sample("jpeg2000.jpg", encoded(scene(), "JPEG2000"), False)


def samples(full: bool = False) -> Iterator[Sample]:
    """Yield the corpus: some two thousand files, or tens of thousands."""
    yield from odd()
    yield from vast()
    yield from bombs()
    yield from nothing()
    yield from truncated(200 if full else 8)
    yield from flipped(400 if full else 12)


def specials(folder: Path) -> dict[str, str]:
    """Make entries that are no files in a folder; return what the reason of each must say, of a folder nothing."""
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    for name, target in {
        "loop.jpg": "loop.jpg",
        "nowhere.png": "none",
        "zero.jpg": "/dev/zero",
        "random.png": "/dev/urandom",
        "there.gif": "back.gif",
        "back.gif": "there.gif",
    }.items():
        (folder / name).symlink_to(target)
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.getcwd()
        os.chdir(folder)  # a socket's path may not be long
        try:
            listener.bind("socket.jpg")
        finally:
            os.chdir(place)
    return {
        "pipe.jpg": "pipe",
        "loop.jpg": "loop",
        "nowhere.png": "broken link",
        "zero.jpg": "device",
        "random.png": "device",
        "there.gif": "loop",
        "back.gif": "loop",
        "socket.jpg": "socket",
    }


def write(folder: Path, samples: Iterator[Sample]) -> dict[str, Sample]:
    """Write files into a folder, in subfolders of a thousand; return them by relative path."""
    written: dict[str, Sample] = {}
    for number in range(10**6):
        batch = list(islice(samples, 1000))
        if not batch:
            break
        (folder / f"{number:03}").mkdir(parents=True)
        for sample in batch:
            path = f"{number:03}/{sample.name}"
            assert path not in written, path
            (folder / path).write_bytes(sample.content)
            written[path] = sample
    return written


if __name__ == "__main__":
    place = Path(sys.argv[1])
    made = write(place, samples("--full" in sys.argv))
    specials(place)
    sys.stdout.write(f"{len(made)} files in {place}\n")
