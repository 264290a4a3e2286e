"""Question: all that the page and the API can ask, in one value; the address of an answer holds the whole of it."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Self
from urllib.parse import urlencode

from congener.errors import CongenerError
from congener.query import Box, parse_box
from congener.rerank import parse

MOST = 1000
"""Hits that one answer may have."""
MOST_FEEDBACK = 100
"""Images that may be called right, and wrong."""
MOST_TEXTS = 100
"""Labels that may be chosen, and re-rankers."""
LONGEST_TEXT = 1000
"""Characters of one."""
LARGEST_ID = 2**53 - 1
"""Every number up to it is exact in JSON."""


@dataclass(frozen=True)
class Question:
    """A question about one picture, an image of the gallery (`id`) or one that was uploaded. Checked when made."""

    id: int | None = None
    upload: str | None = None
    """The key that an uploaded picture is kept under."""
    box: Box | None = None
    """The part of it that counts, in pixels of the upright picture."""
    positive: tuple[int, ...] = ()
    """Images that the hits should be like too."""
    negative: tuple[int, ...] = ()
    """Images that the hits should not be like."""
    k: int = 10
    label: tuple[str, ...] = ()
    min_score: float = 0.0
    """Hits of less similarity, 0 to 1, are left out."""
    rerank: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise CongenerError with one line that says what is wrong, and what is valid."""
        if (self.id is None) == (self.upload is None):
            raise CongenerError("ask with one picture: id=NUMBER of an image of the gallery, or one that is uploaded")
        if not 1 <= self.k <= MOST:
            raise CongenerError(f"k must be from 1 to {MOST}, not {self.k}")
        if not 0 <= self.min_score <= 1:
            raise CongenerError(f"min_score must be from 0 to 1, not {self.min_score:g}")
        if max(len(self.positive), len(self.negative)) > MOST_FEEDBACK:
            raise CongenerError(f"positive and negative hold at most {MOST_FEEDBACK} ids each")
        if self.box is not None and not (all(map(math.isfinite, self.box)) and min(self.box[2:]) > 0):
            raise CongenerError("box must be x,y,width,height in pixels, width and height above 0")
        if len(self.label) > MOST_TEXTS or len(self.rerank) > MOST_TEXTS:
            raise CongenerError(f"label and rerank may be given {MOST_TEXTS} times each")
        if max(map(len, (*self.label, *self.rerank)), default=0) > LONGEST_TEXT:
            raise CongenerError(f"label and rerank take up to {LONGEST_TEXT} characters")
        for id in (*(() if self.id is None else (self.id,)), *self.positive, *self.negative):
            if not 1 <= id <= LARGEST_ID:
                raise CongenerError(f"ids are whole numbers from 1 on, not {id}")
        for spec in self.rerank:
            parse(spec)

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """Return the question that the names and values of an address ask."""
        values: dict[str, Any] = {}
        for name, text in pairs:
            if name not in _READERS:
                raise CongenerError(f"unknown name {name!r}; choose from: {', '.join(_READERS)}")
            if not text:
                continue
            value = _READERS[name](name, text)
            if name in _MANY:
                values[name] = (*values.get(name, ()), value)
            elif name in values:
                raise CongenerError(f"{name} is given twice")
            else:
                values[name] = value
        return cls(**values)

    def query_string(self, **changes: Any) -> str:
        """Return the part of an address that asks this, with some fields changed; defaults are left out."""
        changed = replace(self, **changes)
        pairs: list[tuple[str, str]] = []
        for field in fields(changed):
            value = getattr(changed, field.name)
            if field.name == "box" and value:
                pairs.append(("box", box_text(value)))
            elif field.name in _MANY:
                pairs += [(field.name, str(each)) for each in value]
            elif value != field.default:
                pairs.append((field.name, number_text(value) if field.name == "min_score" else str(value)))
        return urlencode(pairs, errors="surrogateescape")


def number_text(value: float) -> str:
    """Return a number in few digits, in all where these would be another."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def box_text(box: Box) -> str:
    """Return a box as it stands in an address."""
    return ",".join(f"{value:.10g}" for value in box)


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise CongenerError(f"{name} takes a whole number; not {text[:80]!r}")
    return int(text)


def _fraction(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CongenerError(f"{name} takes a number from 0 to 1; not {text[:80]!r}") from None


def _text(_: str, text: str) -> str:
    return text


def _key(name: str, text: str) -> str:
    if not re.fullmatch("[0-9a-f]{32}", text):
        raise CongenerError(f"{name} takes the key of a picture that was uploaded; not {text[:80]!r}")
    return text


_READERS: dict[str, Any] = {
    "id": _whole,
    "upload": _key,
    "box": parse_box,
    "positive": _whole,
    "negative": _whole,
    "k": _whole,
    "label": _text,
    "min_score": _fraction,
    "rerank": _text,
}
_MANY = {"positive", "negative", "label", "rerank"}
