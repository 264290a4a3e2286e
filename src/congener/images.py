"""Open images: formats, EXIF turn, RGB, size limits. What can't be read is reported. It imports little: see `child`."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from io import BufferedReader, BytesIO
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from PIL import Image, UnidentifiedImageError

from congener.endings import completed
from congener.errors import ImageError, PassingError, UnreadableError
from congener.extent import extent_of, turned, with_extent
from congener.frames import choose, page
from congener.kinds import is_heif, rare_compression, unidentified
from congener.limits import OWN_RULES, PIXEL_LIMIT, Metered, bare_png, check_cost, check_size, stored_size
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
_INVERSE = {6: 8, 8: 6}  # the others are their own
_ORIENTATION = 0x0112
_CAMERA = 0x010F, 0x0110  # make and model
_EXIF, _TAKEN = 0x8769, 0x9003  # DateTimeOriginal

T = TypeVar("T")
Judge = Callable[[Image.Image], None]


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


def open_image(
    source: str | os.PathLike[str] | bytes | IO[bytes], target: int | None = None, *, judge: Judge | None = None
) -> Image.Image:
    """Return the picture as RGB, turned as its EXIF orientation says.

    source: a path, the contents of a file, or a file open for reading.
    target: the short side in pixels that it will be resized to. A larger picture is then decoded at a reduced scale,
    at least twice the target, which is much faster and looks the same afterwards; what it covers is `extent_of` it.
    judge: is shown the picture when its header is read, and may raise ImageError.
    Of an animation, the first frame, or where that is of one colour the first that isn't; of a TIFF, the first page,
    or where that is a preview the page that it is of. Raises ImageError with the reason.
    """
    if isinstance(source, bytes):
        return _decode(BytesIO(source), target, judge)
    if isinstance(source, str | os.PathLike):
        with open_file(source) as file:
            return _decode(file, target, judge)
    return _decode(source, target, judge)


def size_of(source: str | os.PathLike[str] | bytes | IO[bytes]) -> tuple[int, int]:
    """Return width and height of a picture as it is shown, upright, from its header alone. Raises ImageError."""
    with _opened(source) as file, _reasons(file):
        return _despite_flaws(file, _size_once)


def _opened(source: str | os.PathLike[str] | bytes | IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    if isinstance(source, bytes):
        return BytesIO(source)
    return open_file(source) if isinstance(source, str | os.PathLike) else nullcontext(source)


def _size_once(file: IO[bytes]) -> tuple[int, int]:
    metered = Metered(file)
    with OWN_RULES, _open(metered) as image:
        width, height = stored_size(image)
        check_size(width, height, image.format)
        metered.begin_pixels()  # a PNG's orientation may lie behind them
        by_a_quarter = 5 <= _orientation(image) <= 8
        return (height, width) if by_a_quarter else (width, height)


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
    if "memory" in str(error).lower():  # the decoder's words for it
        return PassingError("not enough memory to decode it")
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
        raise PassingError("not enough memory to decode it") from None
    except Exception as error:
        raise _damaged(error) from None


def _decode(file: IO[bytes], target: int | None, judge: Judge | None) -> Image.Image:
    with _reasons(file):
        return _despite_flaws(file, lambda file: _decode_once(file, target, judge))


def _despite_flaws(file: IO[bytes], call: Callable[[IO[bytes]], T]) -> T:
    """Return what the call makes of a file, or of the same mended, where metadata is too long or an end is missing."""
    try:
        return _despite_warnings(lambda: call(file))
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
        mended = bare_png(file)
    except OSError as error:
        if error.strerror:  # the disk's fault
            raise
        whole = _despite_warnings(lambda: completed(file, _pixels))
        kind = rare_compression(file) if whole is None else ""
        if kind:
            raise ImageError(f"damaged image, or a kind of TIFF that isn't read: {kind}") from None
        if whole is None:
            raise
        mended = whole
    return _despite_warnings(lambda: call(mended))


def _pixels(file: IO[bytes]) -> Image.Image:
    """Return all pixels as they are stored."""
    metered = Metered(file)
    with OWN_RULES, _read_header(metered) as image:
        check_cost(image, file)
        metered.begin_pixels()
        image.load()
        return image


def _decode_once(file: IO[bytes], target: int | None, judge: Judge | None) -> Image.Image:
    metered = Metered(file)
    with OWN_RULES, _open(metered) as image:
        if judge:
            judge(image)
        check_cost(image, file)
        metered.begin_pixels()
        stored = _orientation(image) if image.format == "TIFF" else 1
        deep = _has_deep_colours(image)
        drafted = image.draft(None, (2 * target, 2 * target)) if target else None

        def finish(frame: Image.Image) -> Image.Image:
            tags, orientation = getattr(frame, "tag_v2", {}), _orientation(frame)
            frame = _all_bits(frame, file) if deep else frame
            if orientation != stored != 1:  # it was turned already when it was loaded
                frame, orientation = _turn(frame, _INVERSE.get(stored, stored)), stored
            width, height = drafted[1][2:] if drafted else frame.size
            factor = _factor(min(width, height), 2 * target, drafted is not None) if target else 1
            picture = with_extent(to_rgb(frame, factor, tags), (0, 0, width / factor, height / factor))
            return _turn(picture, orientation)

        return choose(image, finish)


def _factor(side: float, least: int, drafted: bool) -> int:
    """Return by how much a picture is shrunk, of whose short side so many pixels are kept.

    By the scales of JPEG's decoder, for the same in each format. drafted: it was decoded at one of them.
    """
    most = max(1, int(side // least))
    return most if drafted else next(scale * (most // scale if scale == 8 else 1) for scale in _SCALES if scale <= most)


_SCALES = (8, 4, 2, 1)


def _has_deep_colours(image: Image.Image) -> bool:
    """Say whether a picture, opened, has colours of 16 bits, of which Pillow keeps the upper 8."""
    parts: Sequence[Any] = getattr(image, "tile", ())
    return image.format in ("PNG", "TIFF") and image.mode in ("RGB", "RGBA") and ";16" in str(parts[:1])


def _all_bits(image: Image.Image, file: IO[bytes]) -> Image.Image:
    """Return a picture of 16-bit colours, loaded, in 8 bits: scaled where it has fewer than 16 of them."""
    from congener.deep import joined, low_bytes, may_lack_bits

    if not may_lack_bits(image):
        return image
    metered = Metered(file)
    with _open(metered) as other:
        parts = low_bytes(other.tile)  # type: ignore[attr-defined]
        if parts is None:
            return image
        metered.begin_pixels()
        other.tile = parts  # type: ignore[attr-defined]
        other.load()
        return joined(image, other)


def _despite_warnings(call: Callable[[], T]) -> T:
    """Return what the call does, even where the host makes errors of warnings: Pillow warns of metadata."""
    try:
        return call()
    except Warning:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()


def _open(file: Metered) -> Image.Image:
    """Open a file's header, or that of the page that is its picture."""
    image = _read_header(file)
    return page(image, cast(IO[bytes], file), _read_header) if image.format == "TIFF" else image


def _read_header(file: Any) -> Image.Image:
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
        if is_heif(file.read(12)) and not _register_heif():
            return "HEIC needs an extra: pip install 'congener[heic]'"
    return unidentified(file, f"{', '.join(_FORMATS)}, HEIC")


def _orientation(image: Image.Image) -> int:
    try:
        return int(_despite_warnings(lambda: image.getexif().get(_ORIENTATION, 1)))
    except Exception:  # absurd EXIF says nothing of the pixels
        return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    if turn is None:
        return image
    return with_extent(image.transpose(turn), turned(extent_of(image), image.size, orientation))
