"""What the desk tells: small frozen objects, and how much may be asked of it."""

from dataclasses import dataclass

from congener.results import Hit
from congener.web.indexing import Progress
from congener.web.question import Question

PAGE = 60
"""Images of a page of the wall."""


@dataclass(frozen=True)
class Limits:
    """How much may be asked of the app."""

    upload_bytes: int = 32 * 2**20
    upload_seconds: float = 60.0
    """For a request's body to arrive."""
    body_memory: int = 512 * 2**20
    """That the bodies of all requests under way may take, in bytes: see `congener.web.bodies`."""
    decode_seconds: float = 10.0
    """For a picture to be decoded."""
    searches: int = 32
    """In flight; more are told to come again."""
    cache_bytes: int = 2**30
    """Of thumbnails and uploads that are kept."""


@dataclass(frozen=True)
class Image:
    """An image of the gallery."""

    id: int
    path: str
    label: str | None
    label_name: str | None


@dataclass(frozen=True)
class ImageFacts(Image):
    """An image, with what its file says."""

    width: int | None
    """In pixels, upright; None where the file can't be read now."""
    height: int | None
    bytes: int
    modified: str
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class Page:
    """Some images, in order of id."""

    images: list[Image]
    page: int
    pages: int
    total: int
    size: int = PAGE


@dataclass(frozen=True)
class LabelCount:
    """A label, and how many images have it."""

    label: str
    name: str
    count: int


@dataclass(frozen=True)
class Facts:
    """The gallery as it is now."""

    name: str
    images: int
    labels: tuple[LabelCount, ...]
    """In order of name."""
    unlabelled: int
    indexing: Progress


@dataclass(frozen=True)
class Upload:
    """A picture that was uploaded."""

    key: str
    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Answer:
    """The hits of a question."""

    question: Question
    query: str
    """What was asked with, for people."""
    hits: list[Hit]
    seconds: float
