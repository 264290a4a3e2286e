"""TIFFs as other programs write them, byte by byte: kinds that Pillow reads but doesn't write, or doesn't even read."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

RAW, DEFLATE, PACKBITS = 1, 8, 32773
Order = Literal["<", ">"]
_TYPES = {1: "B", 3: "H", 4: "I", 7: "B"}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2


def tiff(*pages: tuple[NDArray[Any], Mapping[str, Any]], order: Order = "<") -> bytes:
    """Return a TIFF of pages, each an array (height, width) or (height, width, channels), options of `write_page`."""
    body = bytearray(struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0))
    link = 4
    for array, options in pages:
        _, link = write_page(body, array, order, link, **options)
    return bytes(body)


def write_page(
    body: bytearray,
    array: NDArray[Any],
    order: Order,
    link: int,
    *,
    compression: int = RAW,
    photometric: int | None = None,
    rows: int | None = None,
    tile: tuple[int, int] | None = None,
    planar: bool = False,
    below: Sequence[tuple[NDArray[Any], Mapping[str, Any]]] = (),
    tags: Mapping[int, tuple[int, Sequence[int]]] = {},
    lost: int = 0,
) -> tuple[int, int]:
    """Add a page; link: where its place is to be written. Return its place, and where the next one's is to be written.

    rows: of a strip; tile: width and height; planar: each channel by itself; below: pages below this one (SubIFDs);
    tags: number to type (3 short, 4 long) and values; lost: strips or tiles that are left out at the end.
    """
    array = array if array.ndim == 3 else array[..., None]
    height, width, channels = array.shape
    planes = [array[..., number : number + 1] for number in range(channels)] if planar else [array]
    parts = [part for plane in planes for part in _cut(plane, rows or height, tile)]
    bits = 1 if array.dtype == bool else 8 * array.dtype.itemsize
    places, sizes = [], []
    for part in parts[: len(parts) - lost]:
        data = np.packbits(part[..., 0], axis=1).tobytes() if bits == 1 else _bytes(part, order)
        data = zlib.compress(data) if compression == DEFLATE else _packed(data) if compression == PACKBITS else data
        places.append(len(body))
        sizes.append(len(data))
        body += data + bytes(len(data) % 2)
    kind = {"u": 1, "b": 1, "i": 2, "f": 3}[array.dtype.kind]
    if photometric is None:
        photometric = RGB if channels >= 3 else BLACK_IS_ZERO
    colours = 3 if photometric == RGB else 1
    entries: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * channels),
        259: (3, [compression]),
        262: (3, [photometric]),
        277: (3, [channels]),
        284: (3, [1 + planar]),
        339: (3, [kind] * channels),
    }
    if channels > colours:
        entries[338] = 3, [2] * (channels - colours)
    if tile:
        entries |= {322: (4, [tile[0]]), 323: (4, [tile[1]]), 324: (4, places), 325: (4, sizes)}
    else:
        entries |= {273: (4, places), 278: (4, [rows or height]), 279: (4, sizes)}
    entries |= tags
    lower = [write_page(body, pixels, order, -1, **options)[0] for pixels, options in below]
    if lower:
        entries[330] = 4, lower
    return _write_directory(body, entries, order, link)


def _write_directory(
    body: bytearray, entries: Mapping[int, tuple[int, Sequence[int]]], order: str, link: int
) -> tuple[int, int]:
    table = bytearray(struct.pack(order + "H", len(entries)))
    for number, (kind, values) in sorted(entries.items()):
        data = struct.pack(f"{order}{len(values)}{_TYPES[kind]}", *values)
        table += struct.pack(order + "HHI", number, kind, len(values))
        if len(data) > 4:
            table += struct.pack(order + "I", len(body))
            body += data + bytes(len(data) % 2)
        else:
            table += data.ljust(4, b"\0")
    at = len(body)
    body += table + bytes(4)
    if link >= 0:
        struct.pack_into(order + "I", body, link, at)
    return at, at + len(table)


def _cut(plane: NDArray[Any], rows: int, tile: tuple[int, int] | None) -> list[NDArray[Any]]:
    height, width, _ = plane.shape
    if tile is None:
        return [plane[top : top + rows] for top in range(0, height, rows)]
    padded = np.pad(plane, [(0, -height % tile[1]), (0, -width % tile[0]), (0, 0)])
    return [
        padded[top : top + tile[1], left : left + tile[0]]
        for top in range(0, height, tile[1])
        for left in range(0, width, tile[0])
    ]


def _bytes(part: NDArray[Any], order: Order) -> bytes:
    return np.ascontiguousarray(part).astype(part.dtype.newbyteorder(order)).tobytes()


def _packed(data: bytes) -> bytes:
    return b"".join(bytes([len(part) - 1]) + part for part in (data[at : at + 128] for at in range(0, len(data), 128)))
