"""Which frame of an animation, or which page of a TIFF, is the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import IO, Any, Literal

from PIL import Image

_FRAMES = 100
_FRAME_PIXELS = 100_000_000
"""Of the frames that are looked at after a blank one, all together."""
_BLANK = 8
"""Levels of 255 that a frame of one colour may differ by: fading in has begun, or a codec has rounded."""
_PAGES = 32
_ALIKE = 0.95
"""Correlation of two frames that show the same, one of them paler."""
_MORE = 1.05
_SKETCH = (24, 24)
_SUBFILE, _OLD_SUBFILE, _SUB_IFDS = 254, 255, 330  # TIFF's tags
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2

Convert = Callable[[Image.Image], Image.Image]
Open = Callable[[Any], Image.Image]


def choose(image: Image.Image, convert: Convert) -> Image.Image:
    """Return a file's picture, converted: its first frame, or where that is of one colour a later one that isn't.

    image: opened, at its first frame. convert: a loaded frame to RGB. Where a picture fades in, frames are gone
    through until it has come; a bounded number of them.
    """
    frames = _frames(image)
    first = convert(next(frames))
    if not _may_move(image) or not _is_blank(first):
        return first
    first = first.copy() if first is image else first  # which the next frame takes the place of
    try:
        return _first_shown(first, (convert(frame.copy()) for frame in frames))
    except Exception:  # a later frame is damaged, or too costly
        return first


def _first_shown(first: Image.Image, later: Iterator[Image.Image]) -> Image.Image:
    chosen = None
    for picture in later:
        if chosen is None:
            chosen = None if _is_blank(picture) else picture
        elif not _comes(chosen, picture):
            break
        else:
            chosen = picture
    return chosen or first


def _may_move(image: Image.Image) -> bool:
    """Say whether there may be more frames. A GIF would have to be read to its end."""
    return image.format == "GIF" or (image.format in ("PNG", "WEBP", "AVIF") and getattr(image, "n_frames", 1) > 1)


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    """Yield the frames of a picture, loaded, as they are shown: one, unless it is an animation."""
    start = _pass_placeholder(image)
    box = image.tile[0][1] if image.format == "GIF" and image.tile else None  # type: ignore[attr-defined]
    image.load()
    yield _bordered(image, box) if box and tuple(box) != (0, 0, *image.size) else image
    most = min(_FRAMES, _FRAME_PIXELS // (image.width * image.height))
    for number in range(start + 1, start + 1 + most):
        try:
            image.seek(number)
        except EOFError:
            return
        image.load()
        yield image


def _pass_placeholder(image: Image.Image) -> int:
    """Go to the first frame of an APNG whose default image, for who knows no APNG, is no part of it; return which."""
    if not getattr(image, "default_image", False) or getattr(image, "n_frames", 1) < 2:
        return 0
    try:
        image.load()
        image.paste(0, (0, 0, *image.size))  # an animation begins on a clear canvas
        image.seek(1)
        image.load()
    except Exception:
        image.seek(0)
        return 0
    return 1


def _bordered(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Return a GIF's first frame, which fills but a box of its canvas, as transparent around that.

    Pillow fills what is around with the palette's first colour, unless the frame has a transparent one.
    """
    if "transparency" in image.info:
        return image
    counts = image.crop(box).histogram()
    width, height = image.size
    if 0 not in counts:
        inside = Image.new("L", image.size)
        inside.paste(255, box)
        image = image.convert("RGBA")
        image.putalpha(inside)
        return image
    unused = counts.index(0)
    around = (0, 0, width, box[1]), (0, box[3], width, height), (0, 0, box[0], height), (box[2], 0, width, height)
    for part in around:
        image.paste(unused, part)
    image.info["transparency"] = unused
    return image


def _is_blank(picture: Image.Image) -> bool:
    return all(high - low <= _BLANK for low, high in picture.getextrema())  # type: ignore[misc]


def _comes(before: Image.Image, after: Image.Image) -> bool:
    """Say whether the second of two frames shows the same with more contrast."""
    from statistics import StatisticsError, correlation, pstdev

    a, b = (list(frame.convert("L").resize(_SKETCH, Image.Resampling.BOX).tobytes()) for frame in (before, after))
    try:
        return correlation(a, b) >= _ALIKE and pstdev(b) >= _MORE * pstdev(a)
    except StatisticsError:  # one of them is of one colour
        return False


def page(image: Image.Image, file: IO[bytes], reopen: Open) -> Image.Image:
    """Return the page of a TIFF that is the picture: the first, unless it says that it is a smaller version of another.

    Then the largest of those that don't, of the same shape if there is one; of equals, the first. image: opened at its
    first page; file: that it was opened from; reopen: opens a file as that was.
    """
    if not _is_preview(image):
        return image
    others = list(_others(image, file, reopen))
    pages = [other for other in others if not _is_preview(other)] or [image, *others]  # some writers mark all
    shape = image.width / image.height
    alike = [other for other in pages if abs(other.width / other.height / shape - 1) <= 2 / min(image.size)]
    return max(alike or pages, key=lambda other: other.width * other.height)


def _is_preview(image: Image.Image) -> bool:
    """Say whether a page is a smaller version of another, or a mask that says what to show of it."""
    tags = getattr(image, "tag_v2", {})
    kind = tags.get(_SUBFILE, 0)
    return bool(isinstance(kind, int) and kind & (_REDUCED | _MASK)) or tags.get(_OLD_SUBFILE) == _OLD_REDUCED


def _others(image: Image.Image, file: IO[bytes], reopen: Open) -> Iterator[Image.Image]:
    """Yield a TIFF's further pages, opened: those below the first page, then those behind it."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    below = tags.get(_SUB_IFDS, ())
    below = below if isinstance(below, tuple) else (below,)
    begun = Begun(file)
    for at in islice(chain(below, begun.chain(tags.next)), _PAGES):
        with suppress(Exception):  # of a kind that isn't read, or damaged
            yield reopen(begun.at(at))


class Begun:
    """A TIFF that begins with another of its pages: what is read of its head says so."""

    def __init__(self, file: IO[bytes], page: int | None = None) -> None:
        """page: where the directory of the page is, in bytes; None: as the file says."""
        self._file = file
        file.seek(0)
        head = file.read(8)
        file.seek(0)
        self._order: Literal["big", "little"] = "big" if head[:2] == b"MM" else "little"
        big = 43 in head[2:4]  # BigTIFF
        self._count, self._entry, self._offset = (8, 20, 8) if big else (2, 12, 4)
        head = head if big else head[:4]
        self._head = b"" if page is None else head + page.to_bytes(self._offset, self._order)

    def at(self, page: int) -> Begun:
        """Return the same with another page."""
        return Begun(self._file, page)

    def chain(self, page: int) -> Iterator[int]:
        """Yield a page's place and those of the pages that follow it, each once."""
        seen: set[int] = set()
        while page and page not in seen:
            seen.add(page)
            yield page
            self._file.seek(page)
            entries = int.from_bytes(self._file.read(self._count), self._order)
            self._file.seek(page + self._count + self._entry * entries)
            page = int.from_bytes(self._file.read(self._offset), self._order)

    def read(self, size: int | None = -1) -> bytes:
        """Read as of the file, but for its head."""
        at = self._file.tell()
        data = self._file.read(-1 if size is None else size)
        changed = self._head[at : at + len(data)]
        return changed + data[len(changed) :]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
