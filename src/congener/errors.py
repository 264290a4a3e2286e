"""What can go wrong, in words for people. Each message is one line that says what to do."""

from collections.abc import Iterable


class CongenerError(Exception):
    """Base of all errors that a user can mend; the CLI prints its message and exits with 2."""


class ImageError(CongenerError):
    """One picture can't be read; the message is the reason, without its path."""


class OutputError(ImageError):
    """A picture is an answer that a command drew: it is never indexed; the message says of which command."""


class UnreadableError(ImageError):
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


def unknown_name(what: str, name: str, valid: Iterable[str]) -> str:
    """Return the message for a name that is in no table, listing the valid ones."""
    return f"unknown {what} {name!r}; choose one of: {', '.join(valid)}"
