"""Open images: formats, EXIF turn, RGB, size limits. What can't be read is reported. It imports little: see `child`."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader, BytesIO
from typing import IO, TYPE_CHECKING, TypeVar, cast

from PIL import Image, UnidentifiedImageError

from congener.errors import ImageError, UnreadableError
from congener.limits import OWN_RULES, PIXEL_LIMIT, Metered, bare_png, check_cost, check_size
from congener.rgb import to_rgb

if TYPE_CHECKING:  # a worker's process seldom needs it: .1 s to import
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "PIXEL_LIMIT",
    "from_array",
    "from_picture",
    "has_camera",
    "not_a_file",
    "open_file",
    "open_image",
    "size_of",
    "to_rgb",
]

_FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_CAMERA = 0x010F, 0x0110  # make and model
_EXIF, _TAKEN = 0x8769, 0x9003  # DateTimeOriginal

T = TypeVar("T")


def not_a_file(mode: int) -> str | None:
    """Return what an entry with this mode (`os.stat_result.st_mode`) is, unless it is a regular file."""
    if stat.S_ISREG(mode):  # nearly always: the rest need not be made
        return None
    kinds: list[tuple[Callable[[int], bool], str]] = [
        (stat.S_ISDIR, "a folder, not a file"),
        (stat.S_ISFIFO, "a pipe (FIFO), not a file"),
        (stat.S_ISSOCK, "a socket, not a file"),
        (lambda m: stat.S_ISBLK(m) or stat.S_ISCHR(m), "a device, not a file"),
    ]
    return next((name for is_kind, name in kinds if is_kind(mode)), None)


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading, without waiting where a pipe has taken its place.

    Raises ImageError with the reason, UnreadableError where the system gives it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _O_BINARY)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UnreadableError(getattr(error, "strerror", None) or str(error)) from None
    problem = not_a_file(os.fstat(descriptor).st_mode)
    if problem:
        os.close(descriptor)
        raise ImageError(problem)
    return os.fdopen(descriptor, "rb")


_O_BINARY = getattr(os, "O_BINARY", 0)


def open_image(source: str | os.PathLike[str] | bytes | IO[bytes], target: int | None = None) -> Image.Image:
    """Return the picture as RGB, turned as its EXIF orientation says.

    source: a path, the contents of a file, or a file open for reading.
    target: the short side in pixels that it will be resized to. A larger JPEG is then decoded at
    a reduced scale, at least twice the target, which is much faster and looks the same afterwards.
    Of an animation, the first frame. Raises ImageError with the reason.
    """
    if isinstance(source, bytes):
        return _decode(BytesIO(source), target)
    if isinstance(source, str | os.PathLike):
        with open_file(source) as file:
            return _decode(file, target)
    return _decode(source, target)


def size_of(source: str | os.PathLike[str] | bytes) -> tuple[int, int]:
    """Return width and height of a picture as it is shown, upright, from its header alone. Raises ImageError."""
    with BytesIO(source) if isinstance(source, bytes) else open_file(source) as file, _reasons(file):
        return _despite_warnings(lambda: _size_once(file))


def _size_once(file: IO[bytes]) -> tuple[int, int]:
    with OWN_RULES, _read_header(Metered(file)) as image:
        turned = 5 <= _orientation(image) <= 8  # by a quarter
        return image.size[::-1] if turned else image.size


def has_camera(source: str | os.PathLike[str] | bytes) -> bool:
    """Tell whether a picture's EXIF names a camera or when it was taken, as edits often lose. Raises ImageError."""
    with BytesIO(source) if isinstance(source, bytes) else open_file(source) as file, _reasons(file):
        return _despite_warnings(lambda: _camera_once(file))


def _camera_once(file: IO[bytes]) -> bool:
    with OWN_RULES, _read_header(Metered(file)) as image, suppress(Exception):  # absurd EXIF names none
        exif = image.getexif()
        facts = *(exif.get(tag) for tag in _CAMERA), exif.get_ifd(_EXIF).get(_TAKEN)
        return any(str(fact).strip(" \0") for fact in facts if fact)
    return False


def from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return an array (height, width), (height, width, 3 or 4) uint8 as an RGB picture.

    Raises ImageError for another shape or dtype.
    """
    import numpy as np

    array = np.asarray(pixels)
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits or array.size == 0:
        raise ImageError(
            f"an image array must be uint8 (height, width), or (height, width, 3 or 4); "
            f"this is {array.dtype} {array.shape}"
        )
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)))


def from_picture(picture: Image.Image) -> Image.Image:
    """Return a picture of Pillow's, of any mode, as RGB, turned as its EXIF orientation says.

    Raises ImageError where it was opened lazily and can't be decoded.
    """
    try:
        picture.load()
    except Exception as error:
        raise _damaged(error) from None
    return _turn(to_rgb(picture), _orientation(picture))


def _damaged(error: Exception) -> ImageError:
    if isinstance(error, OSError) and error.strerror:  # the disk's fault, not the picture's
        return UnreadableError(f"can't be read: {error.strerror}")
    return ImageError(f"damaged image: {' '.join(str(error).split()) or type(error).__name__}")


@contextmanager
def _reasons(file: IO[bytes]) -> Iterator[None]:
    """Turn whatever is raised into an ImageError: a decoder given broken or hostile data may raise anything."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(_unidentified(file)) from None
    except MemoryError:
        raise ImageError("not enough memory to decode it") from None
    except Exception as error:
        raise _damaged(error) from None


def _decode(file: IO[bytes], target: int | None) -> Image.Image:
    with _reasons(file):
        try:
            return _despite_warnings(lambda: _decode_once(file, target))
        except ValueError as error:
            if "MAX_TEXT" not in str(error):
                raise
            bare = bare_png(file)
            return _despite_warnings(lambda: _decode_once(bare, target))


def _decode_once(file: IO[bytes], target: int | None) -> Image.Image:
    metered = Metered(file)
    with OWN_RULES, _read_header(metered) as image:
        check_cost(image, file)
        metered.begin_pixels()
        if target:
            image.draft(None, (2 * target, 2 * target))
        image.load()
        orientation = _orientation(image)
        return _turn(to_rgb(image, max(1, min(image.size) // (2 * target)) if target else 1), orientation)


def _despite_warnings(call: Callable[[], T]) -> T:
    """Return what the call does, even where the host makes errors of warnings: Pillow warns of metadata."""
    try:
        return call()
    except Warning:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()


def _read_header(file: Metered) -> Image.Image:
    file.seek(0)
    head = file.read(30)
    file.seek(0)
    if head[8:16] == b"WEBPVP8X":  # its decoder takes room for the canvas at once
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        check_size(width, height, "WEBP")
    formats = [*_FORMATS, "HEIF"] if head[4:8] == b"ftyp" and _register_heif() else _FORMATS
    return Image.open(cast(IO[bytes], file), formats=formats)


@cache
def _register_heif() -> bool:
    try:
        import pi_heif
    except ImportError:
        return False
    pi_heif.register_heif_opener()
    return True


def _unidentified(file: IO[bytes]) -> str:
    with suppress(OSError, ValueError):
        file.seek(0)
        head = file.read(32)
        if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and not _register_heif():
            return "HEIC needs an extra: pip install 'congener[heic]'"
        for format, is_head in _HEADS.items():
            if is_head.match(head):
                return f"damaged image: begins as {format}, but its header can't be read"
    return f"not an image: its content is none of {', '.join(_FORMATS)}, HEIC"


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


def _orientation(image: Image.Image) -> int:
    try:
        return int(_despite_warnings(lambda: image.getexif().get(_ORIENTATION, 1)))
    except Exception:  # absurd EXIF says nothing of the pixels
        return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
