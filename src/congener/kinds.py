"""Kinds: what a file is that can't be opened as a picture, by its first bytes and, of a TIFF, by its tags."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import IO, Any

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_HEADS = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "AVIF or HEIC": re.compile(rb"....ftyp(avi|he[iv]|mif1|msf1)", re.DOTALL),
}
_NUMBERS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex integer", 6: "complex float"}
_COLOURS = dict(enumerate(("white-is-zero grey", "grey", "RGB", "palette", "mask", "ink", "YCbCr", "", "LAB", "LAB")))
_COLOURS |= {32803: "camera raw", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw"}


_COMPRESSION = 259
_RARE = {
    6: "old JPEG",
    32766: "NeXT",
    32809: "ThunderScan",
    34661: "JBIG",
    34676: "SGILog",
    34677: "SGILog24",
    50001: "WebP",
}
"""Compressions that not every build of libtiff knows; it doesn't say."""


def is_heif(head: bytes) -> bool:
    """Say whether a file that begins so, with 12 bytes or more, is a HEIC or another HEIF."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def unidentified(file: IO[bytes], formats: str) -> str:
    """Return why a file can't be opened; formats: what can be, as a list to read."""
    with suppress(OSError, ValueError):
        file.seek(0)
        head = file.read(32)
        for format, is_head in _HEADS.items():
            if is_head.match(head):
                kind = unread(file, format)
                if kind:
                    return f"a kind of {format} that isn't read: {kind}"
                return f"damaged image: begins as {format}, but its header can't be read"
    return f"not an image: its content is none of {formats}"


def rare_compression(file: IO[bytes]) -> str:
    """Return in words what a TIFF is whose compression may be what its decoder failed at; else nothing."""
    with suppress(Exception):
        file.seek(0)
        if _HEADS["TIFF"].match(file.read(8)) and _directory(file).get(_COMPRESSION) in _RARE:
            return _tiff(file)
    return ""


def unread(file: IO[bytes], format: str) -> str:
    """Return in words of which kind a sound file of a format is that its decoder doesn't know; else nothing."""
    with suppress(Exception):
        if format == "TIFF":
            return _tiff(file)
        if format == "JPEG":
            return _jpeg(file)
    return ""


def _tiff(file: IO[bytes]) -> str:
    """Return what a TIFF says of its pixels; nothing unless it says where all of them are."""
    from PIL import TiffImagePlugin

    tags = _directory(file)
    offsets = tags.get(273, tags.get(324, ()))
    sizes = tags.get(279, tags.get(325, ()))
    end = file.seek(0, 2)
    if not (offsets and tags[256] > 0 and tags[257] > 0) or any(map(lambda at, size: at + size > end, offsets, sizes)):
        return ""
    bits = tags.get(258, (1,))
    said = f"{bits[0]}-bit {_NUMBERS.get(tags.get(339, (1,))[0], 'unknown')} numbers"
    colours = _COLOURS.get(tags.get(262, 0), f"photometric {tags.get(262)}")
    channels = max(len(bits), tags.get(277, 1))
    order = "big-endian" if tags.prefix == b"MM" else "little-endian"
    number = tags.get(_COMPRESSION, 1)
    compression = _RARE.get(number) or TiffImagePlugin.COMPRESSION_INFO.get(number, f"compression {number}")
    return f"{colours}, {channels} channel{'s' * (channels > 1)} of {said}, {order}, {compression}"


def _directory(file: IO[bytes]) -> Any:
    """Return the tags of a TIFF's first page."""
    from PIL import TiffImagePlugin

    file.seek(0)
    head = file.read(8)
    tags: Any = TiffImagePlugin.ImageFileDirectory_v2(head + (file.read(8) if 43 in head[2:4] else b""))
    file.seek(tags.next)
    tags.load(file)
    return tags


def _jpeg(file: IO[bytes]) -> str:
    """Return what a JPEG's frame header says, where that is more than 8 bits or a process that is seldom decoded."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        kind, size = head[1], int.from_bytes(head[2:4], "big")
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            bits = file.read(1)[0]
            process = {0xC3: "lossless", 0xC7: "lossless", 0xCB: "lossless"}.get(kind, "arithmetic" * (kind > 0xC8))
            rare = process or bits > 8
            return f"{process or 'compressed'}, {bits} bits a channel" if rare else ""
        file.seek(size - 2, 1)
    return ""
