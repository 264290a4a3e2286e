"""What opening a picture may cost, whatever its header says: pixels, memory, time."""

import re
import threading
from collections.abc import Sequence
from io import BytesIO
from typing import IO, Any

from PIL import Image, ImageFile

from congener.errors import ImageError

PIXEL_LIMIT = 200_000_000
"""More pixels than this are taken for a decompression bomb. The largest phone cameras have 200 million."""

_RUN_LENGTH = "run-length BMP"
_LIMITS = {"WEBP": 100_000_000, "AVIF": 100_000_000, _RUN_LENGTH: 25_000_000}
"""Less where a decoder takes 16 to 20 bytes a pixel, the others 4 to 12; or where Pillow's is written in Python."""
_BUFFER_BYTES = 1_200_000_000
"""Of a strip or tile of a TIFF: 200 million pixels of three times 16 bits."""
_HEADER_BYTES = 2**28
"""What may be read of a file before its pixels: layers and previews in a TIFF's tags, a whole WebP, AVIF or HEIC."""
_HEADER_READS = 200_000
_PIXEL_READS = 2_000_000
_SCAN_PIXELS = 20 * PIXEL_LIMIT
"""Pixels times scans of a progressive JPEG; libjpeg writes 10 scans."""


def check_cost(image: Image.Image, file: IO[bytes]) -> None:
    """Refuse a picture, opened and not yet loaded, that would cost too much. Raises ImageError with the reason."""
    tiles: Sequence[Any] = getattr(image, "tile", ())
    run_length = any(tile[0] == "bmp_rle" for tile in tiles)
    check_size(*image.size, _RUN_LENGTH if run_length else image.format)
    if image.format in ("JPEG", "MPO") and "progressive" in image.info:
        _check_scans(image, file)
    if image.format == "TIFF":
        _check_buffer(image)
        _check_rows(image)


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of a picture as it is stored: Pillow tells those of a TIFF as it is shown."""
    if image.format != "TIFF":
        return image.size
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    return tags[_WIDTH], tags[_HEIGHT]


def check_size(width: int, height: int, format: str | None) -> None:
    """Refuse too many pixels for a format of Pillow's. Raises ImageError with the reason."""
    limit = _LIMITS.get(format or "", PIXEL_LIMIT)
    if width * height > limit:
        of_format = f" for {format}" if limit < PIXEL_LIMIT else ""
        raise ImageError(
            f"{width} × {height} pixels: over the limit of {limit // 10**6} million{of_format} (a decompression bomb?)"
        )


def _check_scans(image: Image.Image, file: IO[bytes]) -> None:
    """Refuse a JPEG of few bytes that would take minutes: each scan, empty or not, goes over the whole picture."""
    place, scans = file.tell(), 1
    last = b""
    while block := file.read(2**20):
        markers = _SCAN_OR_END.findall(last + block)
        scans += len(markers) if b"\xff\xd9" not in markers else markers.index(b"\xff\xd9")
        if scans * image.width * image.height > _SCAN_PIXELS:
            raise ImageError(f"{scans} scans or more of {image.width} × {image.height} pixels (a decompression bomb?)")
        if b"\xff\xd9" in markers:
            break
        last = block[-1:] if block.endswith(b"\xff") else b""
    file.seek(place)


_SCAN_OR_END = re.compile(rb"\xff[\xda\xd9]")  # can't occur within a scan


def _check_buffer(image: Image.Image) -> None:
    """Refuse a TIFF whose decoder would take room for a huge strip or tile."""
    width, height, _ = _parts(image)
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    size = width * height * sum(tags.get(_BITS, (1,))) // 8
    if size > _BUFFER_BYTES:
        raise ImageError(f"{size // 10**6} MB in one strip or tile: over the limit of {_BUFFER_BYTES // 10**6}")


def _check_rows(image: Image.Image) -> None:
    """Refuse a TIFF that lacks strips or tiles: Pillow would leave their rows black."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    (width, height), (part_width, part_height, places) = stored_size(image), _parts(image)
    across, down = -(-width // part_width), -(-height // part_height)
    planes = max(1, tags.get(_CHANNELS, 1)) if tags.get(_PLANAR, 1) == _SEPARATE else 1
    held = len(places) // planes
    if places and held < across * down:
        rows = min(held // across * part_height, height)
        raise ImageError(f"damaged image: holds {rows} of its {height} rows")


def _parts(image: Image.Image) -> tuple[int, int, tuple[int, ...]]:
    """Return width and height of a TIFF's strips or tiles, and where they are."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    width, height = stored_size(image)
    if _STRIPS not in tags:
        return tags.get(_TILE_WIDTH) or width, tags.get(_TILE_HEIGHT) or height, tags.get(_TILES, ())
    return width, min(tags.get(_ROWS_PER_STRIP) or height, height), tags[_STRIPS]


_WIDTH, _HEIGHT, _BITS, _STRIPS, _CHANNELS, _ROWS_PER_STRIP = 256, 257, 258, 273, 277, 278
_PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 284, 322, 323, 324
_SEPARATE = 2


def bare_png(file: IO[bytes]) -> IO[bytes]:
    """Return a PNG without its texts and colour profile, of which Pillow refuses more than a megabyte."""
    file.seek(0)
    bare = BytesIO()
    bare.write(file.read(8))
    while len(head := file.read(8)) == 8 and bare.tell() < _HEADER_BYTES:
        size = int.from_bytes(head[:4], "big") + 4  # with the checksum
        if head[4:] in (b"iCCP", b"zTXt", b"iTXt", b"tEXt"):
            file.seek(size, 1)
        else:
            bare.write(head + file.read(min(size, _HEADER_BYTES)))
    return bare


class OwnRules:
    """Hold Pillow to this module's limits: its own are globals of the process, which stay as the host has them.

    Its bomb check warns or refuses below our limit; LOAD_TRUNCATED_IMAGES would pass half a picture for a whole one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._of_host: tuple[int | None, bool] = (None, False)

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._of_host = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._of_host


OWN_RULES = OwnRules()


class Metered:
    """A file of which only so much may be read: Pillow keeps what comes before the pixels, some formats all of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._bytes = _HEADER_BYTES
        self._reads = _HEADER_READS

    def begin_pixels(self) -> None:
        """From here on what is read is decoded at once, in blocks."""
        self._bytes = 2**62
        self._reads = _PIXEL_READS

    def read(self, size: int | None = -1) -> bytes:
        """Read up to so many bytes, all by default. Raises ImageError when it was too much."""
        data = self._file.read(self._bytes + 1 if size is None or size < 0 else min(size, self._bytes + 1))
        self._bytes -= len(data)
        self._reads -= 1
        if self._bytes < 0:
            raise ImageError(f"over the limit of {_HEADER_BYTES // 2**20} MB that are read before the pixels")
        if self._reads < 0:
            raise ImageError("in too many small pieces (made to keep a reader busy?)")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
