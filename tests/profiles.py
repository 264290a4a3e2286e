"""ICC profiles as cameras and programs embed them, written byte by byte."""

import struct
from collections.abc import Sequence

Primaries = Sequence[tuple[float, float, float]]

# XYZ of red, green and blue for D50
SRGB: Primaries = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3: Primaries = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB: Primaries = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO: Primaries = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03135, 0.00009, 0.82491))
_WHITE = 0.9642, 1.0, 0.8249


def gamma(power: float) -> bytes:
    """Return a curve that is a power."""
    return b"curv" + bytes(4) + struct.pack(">IHH", 1, round(power * 256), 0)


def table(values: Sequence[float]) -> bytes:
    """Return a curve through values, 0 to 1, at equal steps."""
    data = struct.pack(f">I{len(values)}H", len(values), *(round(65535 * value) for value in values))
    return b"curv" + bytes(4) + data + bytes(-len(data) % 4)


def srgb_curve() -> bytes:
    """Return sRGB's own curve, by its formula (type 3 of a parametric curve)."""
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def rgb_profile(primaries: Primaries, curve: bytes) -> bytes:
    """Return the profile of a space of three primaries, which all have one curve."""
    tags = [(name, _xyz(values)) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)]
    return _profile(b"RGB ", [*tags, *((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC"))])


def grey_profile(curve: bytes) -> bytes:
    """Return the profile of greys."""
    return _profile(b"GRAY", [(b"kTRC", curve)])


def _profile(space: bytes, tags: Sequence[tuple[bytes, bytes]]) -> bytes:
    text = b"made for a test"
    name = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(79)
    tags = [(b"desc", name), (b"cprt", b"text" + bytes(4) + b"none\0"), (b"wtpt", _xyz(_WHITE)), *tags]
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for key, value in tags:
        table += key + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I", start + len(body)) + bytes(4) + bytes.fromhex("02400000") + b"mntr" + space + b"XYZ "
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(*_WHITE) + bytes(48)
    return head + table + body


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
