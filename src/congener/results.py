"""Hit and Results: the answer to one query, best first. Small, frozen, checked when made."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, overload


@dataclass(frozen=True, slots=True)
class Hit:
    """One image of the gallery and how alike it is to the query."""

    rank: int
    """1 is the most alike."""
    score: float
    """The raw ranking score (cosine, -1 to 1, unless re-ranked); higher is more alike."""
    similarity: float
    """How alike for people, 0 to 1: see `Calibration`."""
    id: int
    """The image's number in its gallery."""
    path: str
    """Relative to the gallery's folder, with / between its parts."""
    label: str | None
    label_name: str | None
    folder: Path
    """The gallery's folder."""
    content: bytes = field(default=b"", repr=False, compare=False)
    """The SHA-256 of its file as it was indexed; empty where that isn't known."""

    @property
    def file(self) -> Path:
        """The image's file."""
        return self.folder / self.path

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON, without the folder and the hash."""
        # by hand: dataclasses.asdict copies each value deeply
        return {name: getattr(self, name) for name in self.__slots__ if name not in ("folder", "content")}


class Results(Sequence[Hit]):
    """The hits of one query in order of rank. Never changed in place."""

    __slots__ = ("_hits", "query")

    def __init__(self, query: str, hits: Iterable[Hit]) -> None:
        """query: what was asked, for people. Raises ValueError when ranks or scores don't fit."""
        self.query = query
        self._hits = tuple(hits)
        if [hit.rank for hit in self._hits] != list(range(1, len(self._hits) + 1)):
            raise ValueError("ranks must be 1, 2, 3, …")
        scores = [hit.score for hit in self._hits]
        if not all(map(math.isfinite, scores)):
            raise ValueError("scores must be finite")
        if any(a < b for a, b in pairwise(scores)):
            raise ValueError("scores must fall, or stay, from rank to rank")

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __repr__(self) -> str:
        return f"Results({self.query!r}, {len(self)} hits)"
