"""Marks: what an output says in its metadata of the command that made it. It imports little: see `child`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image, PngImagePlugin

from congener.errors import OutputError

SHEET, HEAT = "Congener search --sheet", "Congener explain --out"
REPORT = "Congener evaluate --report"
DEMO_SHEET, SPECIMEN = "Congener demo, sheet", "Congener demo, specimen"
MARKS = frozenset({SHEET, HEAT, REPORT, DEMO_SHEET, SPECIMEN})
"""A painted specimen is a picture like others; the rest are never indexed."""

_OUTPUT = "an output of"
_SOFTWARE = 0x0131  # of EXIF and TIFF
_EXIF = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "TIFF"})
_COMMENT = frozenset({"GIF", "JPEG2000"})


def mark_of(picture: Image.Image) -> str | None:
    """Return the mark in the metadata of a picture that Pillow has opened and not yet loaded, or None."""
    said: list[Any] = [picture.info.get("Software"), picture.info.get("comment")]
    if picture.format in _EXIF:
        with _despite_absurd_metadata():
            said.append(picture.getexif().get(_SOFTWARE))
    for each in said:
        text = each.decode("latin-1") if isinstance(each, bytes) else each
        if isinstance(text, str) and (text := text.rstrip("\0")) in MARKS:
            return text
    return None


@contextmanager
def _despite_absurd_metadata() -> Iterator[None]:
    try:
        yield
    except Warning:  # where the host makes errors of them; `open_image` tries again without
        raise
    except Exception:  # noqa: S110 - it says nothing of who made the picture
        pass


def pass_over(picture: Image.Image) -> None:
    """Refuse an answer that was drawn: it is no picture to be found. Raises OutputError with what made it."""
    mark = mark_of(picture)
    if mark is not None and mark != SPECIMEN:
        raise OutputError(f"{_OUTPUT} {command_of(mark)}")


def is_output(reason: str) -> bool:
    """Tell whether a file can't be read for being an output."""
    return reason.startswith(_OUTPUT)


def command_of(mark: str) -> str:
    """Return the command that leaves a mark."""
    return mark.partition(",")[0].replace("Congener", "congener")


def options(format: str, mark: str) -> dict[str, Any]:
    """Return the options by which Pillow writes the mark into a file of this format; none where it can't hold one."""
    if format == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Software", mark)
        return {"pnginfo": text}
    if format in _EXIF:
        exif = Image.Exif()
        exif[_SOFTWARE] = mark
        return {"exif": exif}
    return {"comment": mark.encode()} if format in _COMMENT else {}


def generator(mark: str) -> str:
    """Return the element that marks a page of HTML, for the beginning of its head."""
    return f'<meta name="generator" content="{mark}">'
