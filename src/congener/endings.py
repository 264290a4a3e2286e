"""Files that lack nothing but their end: all pixels are there, and every viewer shows them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from io import BytesIO
from typing import IO

from PIL import Image

from congener.tiles import tiles

_MOST_BYTES = 2**28
_END = b"\xff\xd9"
_FILLERS = (b"", b"\xff\0" * 2048, b"\x55" * 4096)
"""What might have followed, all ones and others: where a pixel was missing, it comes out differently."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAME, _PROGRESSIVE, _SCAN = (0xC0, 0xC1, 0xC2), 0xC2, 0xDA
_COEFFICIENTS = 64

Decode = Callable[[IO[bytes]], Image.Image]


def completed(file: IO[bytes], decode: Decode) -> IO[bytes] | None:
    """Return a JPEG or WebP with the end that it lacks; None where it lacks more than that, or nothing.

    decode: to all of its pixels.
    """
    file.seek(0)
    data = file.read(_MOST_BYTES + 1)
    file.seek(0)
    if len(data) > _MOST_BYTES:
        return None
    if data[:2] == b"\xff\xd8":
        return _with_end(data.removesuffix(b"\xff"), decode)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _without_rest(data)
    return None


def _with_end(data: bytes, decode: Decode) -> IO[bytes] | None:
    """Return a JPEG with an end marker, if what may have been before that makes no difference to any pixel."""
    if not _all_scans(data):
        return None
    looks = set()
    for filler in _FILLERS:
        looks.add(_digest(decode(BytesIO(data + filler + _END))))
        if len(looks) > 1:
            return None
    return BytesIO(data + _END)


def _digest(image: Image.Image) -> bytes:
    digest = hashlib.blake2b()
    for box in tiles(image.size):
        digest.update(image.crop(box).tobytes())
    return digest.digest()


def _all_scans(data: bytes) -> bool:
    """Say whether a JPEG ends within its last scan, the one after which each coefficient is known to its last bit."""
    at, components, progressive = 2, b"", False
    unknown: set[tuple[int, int]] = set()
    while len(head := data[at : at + 4]) == 4 and head[0] == 0xFF:
        kind, segment = head[1], data[at + 4 : at + 2 + int.from_bytes(head[2:4], "big")]
        at += 2 + int.from_bytes(head[2:4], "big")
        if kind in _FRAME:
            progressive = kind == _PROGRESSIVE
            components = segment[6::3]
            unknown = {(component, number) for component in components for number in range(_COEFFICIENTS)}
        elif kind == _SCAN and segment:
            *scanned, first, last, precision = (*segment[1 : 1 + 2 * segment[0] : 2], *segment[-3:])
            numbers = range(first, last + 1) if progressive else range(_COEFFICIENTS)
            if not (progressive and precision & 15):
                unknown -= {(component, number) for component in scanned for number in numbers}
            following = _NEXT_MARKER.search(data, at)
            if following is None:
                return at < len(data) and bool(components) and not unknown
            at = following.start()
    return False


def _without_rest(data: bytes) -> IO[bytes] | None:
    """Return a WebP without its last chunk, as of metadata, where that isn't whole; a padding byte is given to it."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            break
        at += 8 + size + size % 2
    kept = data[:at].ljust(at, b"\0")
    if at == 12 or len(kept) == 8 + int.from_bytes(data[4:8], "little") == len(data):
        return None
    return BytesIO(data[:4] + (at - 8).to_bytes(4, "little") + kept[8:])
