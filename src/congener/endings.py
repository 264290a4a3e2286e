"""Files that lack nothing but their end: all pixels are there, and every viewer shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import IO

from PIL import Image

from congener.tiles import tiles

_MOST_BYTES = 2**28
_END = b"\xff\xd9"
_FILLERS = (b"", b"\xff\0" * 64, b"\x55" * 128)
"""What might have followed, all ones and others: where a pixel was missing, it comes out differently."""
_INTERVALS = 16
"""Of restart markers that might have followed, each before a filler."""
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAME, _PROGRESSIVE, _SCAN, _RESTART_INTERVAL = (0xC0, 0xC1, 0xC2), 0xC2, 0xDA, 0xDD
_COEFFICIENTS = 64

Decode = Callable[[IO[bytes]], Image.Image]


def completed(file: IO[bytes], decode: Decode) -> IO[bytes] | None:
    """Return a JPEG or WebP with the end that it lacks; None where it lacks more than that, or nothing.

    decode: to all of its pixels.
    """
    file.seek(0)
    head = file.read(12)
    is_jpeg, is_webp = head[:2] == b"\xff\xd8", head[:4] == b"RIFF" and head[8:] == b"WEBP"
    data = head + file.read(_MOST_BYTES) if is_jpeg or is_webp else b""
    file.seek(0)
    if not data or len(data) > _MOST_BYTES:
        return None
    return _with_end(data.removesuffix(b"\xff"), decode) if is_jpeg else _without_rest(data)


def _with_end(data: bytes, decode: Decode) -> IO[bytes] | None:
    """Return a JPEG with an end marker, if what may have been before that makes no difference to any pixel."""
    last = _last_scan(data)
    if last is None:
        return None
    looks = set()
    for filler in _FILLERS:
        looks.add(_digest(decode(BytesIO(data + _continued(filler, data, *last) + _END))))
        if len(looks) > 1:
            return None
    return BytesIO(data + _END)


def _continued(filler: bytes, data: bytes, start: int, restarts: bool) -> bytes:
    """Return what might follow the data of a scan that starts there; restarts: whether it has restart markers."""
    if not (filler and restarts):
        return filler
    markers = _RESTART.findall(data, start)
    following = markers[-1][1] + 1 if markers else 0xD0
    return filler + b"".join(bytes([0xFF, 0xD0 + (following + n) % 8]) + filler for n in range(_INTERVALS))


def _digest(image: Image.Image) -> bytes:
    import hashlib

    digest = hashlib.blake2b()
    for box in tiles(image.size):
        digest.update(image.crop(box).tobytes())
    return digest.digest()


def _last_scan(data: bytes) -> tuple[int, bool] | None:
    """Return where a JPEG's last scan starts, and whether it has restart markers.

    None unless the file ends within that scan, and each coefficient is known to its last bit after it.
    """
    at, components, progressive, restarts = 2, b"", False, False
    unknown: set[tuple[int, int]] = set()
    while len(head := data[at : at + 4]) == 4 and head[0] == 0xFF:
        kind, segment = head[1], data[at + 4 : at + 2 + int.from_bytes(head[2:4], "big")]
        at += 2 + int.from_bytes(head[2:4], "big")
        if kind in _FRAME:
            progressive = kind == _PROGRESSIVE
            components = segment[6::3]
            unknown = {(component, number) for component in components for number in range(_COEFFICIENTS)}
        elif kind == _RESTART_INTERVAL:
            restarts = any(segment)
        elif kind == _SCAN and segment:
            *scanned, first, last, precision = (*segment[1 : 1 + 2 * segment[0] : 2], *segment[-3:])
            numbers = range(first, last + 1) if progressive else range(_COEFFICIENTS)
            if not (progressive and precision & 15):
                unknown -= {(component, number) for component in scanned for number in numbers}
            following = _NEXT_MARKER.search(data, at)
            if following is None:
                return (at, restarts) if at < len(data) and components and not unknown else None
            at = following.start()
    return None


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
