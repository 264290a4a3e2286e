"""What can go wrong, in words for people. Each message is one line that says what to do."""

import os
import shlex
from collections.abc import Iterable


class CongenerError(Exception):
    """Base of all errors that a user can mend; the CLI prints its message and exits with 2."""


class ImageError(CongenerError):
    """One picture can't be read; the message is the reason, without its path."""


class OutputError(ImageError):
    """A picture is an answer that a command drew: it is never indexed; the message says of which command."""


class PassingError(ImageError):
    """One picture couldn't be read this time, whatever it holds: it changed meanwhile, or memory was short."""


class UnreadableError(PassingError):
    """A file can't be read: it is gone, or not allowed, or its disk fails. What it holds is unknown."""


class ChangedError(ImageError):
    """The file of an image of the gallery holds something else than when it was indexed."""

    def __init__(self, message: str = "changed since it was indexed") -> None:
        super().__init__(message)


class EncoderError(CongenerError):
    """An encoder is unknown, or its weights are missing or not the expected ones."""


class GalleryError(CongenerError):
    """A gallery can't be opened, or was made by another encoder or format."""


class UnknownImageError(GalleryError):
    """No image of a gallery has this id."""

    def __init__(self, id: int) -> None:
        super().__init__(f"no image has the id {id}")


class DamagedGalleryError(GalleryError):
    """A gallery isn't as it was written, or what lies in its place is none: `congener check` tells more."""


class OutdatedError(GalleryError):
    """What was fitted on a gallery has been replaced while it was asked for."""


class GalleryBusyError(GalleryError):
    """Another process is writing to the gallery."""


def command(*words: str | os.PathLike[str]) -> str:
    """Return a command of congener's for a person to paste into a shell, its words quoted where they must be."""
    return " ".join(("congener", *map(quoted, words)))


def quoted(word: str | os.PathLike[str]) -> str:
    """Return a word, or a path, as a shell takes it for one."""
    text = os.fspath(word)
    if isinstance(word, os.PathLike) and text.startswith("-"):  # or it would be an option
        text = f"./{text}"
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escaped(char) for char in text) + "'"


def _escaped(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def unknown_name(what: str, name: str, valid: Iterable[str]) -> str:
    """Return the message for a name that is in no table, listing the valid ones."""
    return f"unknown {what} {name!r}; choose one of: {', '.join(valid)}"
