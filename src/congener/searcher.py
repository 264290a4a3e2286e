"""Search: one question, of one picture or several, to one gallery or several."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Protocol, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from congener.codes import Array
from congener.encoders import Encoder
from congener.errors import GalleryError
from congener.fit import Fit
from congener.indexes import Index
from congener.labels import ImageLabels, Labels, choose
from congener.membership import seen_before
from congener.query import Box, Query, as_list, combine, describe
from congener.rerank import compose, depth
from congener.results import Hit, Results
from congener.scope import Part, Scope, own_id, unique_id
from congener.store import Embedded, Row


@dataclass(frozen=True)
class Lens:
    """How embeddings are made: what was fitted on a gallery, and in which of its spaces."""

    fit: Fit | None
    """None where nothing is fitted yet: plain pooled features."""
    space: str
    version: tuple[str, int]
    """Differs for each fit."""

    def similarity(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the similarity, 0 to 1, of cosines."""
        if self.fit is None:
            return np.asarray(np.clip(scores, 0, 1), np.float64)
        calibration = self.fit.calibrations[self.space]
        return calibration(scores)


class SearchOptions(TypedDict, total=False):
    """How to search, as keyword arguments; `Searcher.search` has the defaults."""

    include_self: bool
    """Whether an image of a gallery that is asked for by its path or id may be among its own results."""
    like: Sequence[Query]
    """What else the hits should be like; unlike the query itself, these may be among them."""
    unlike: Sequence[Query]
    """What the hits should not be like."""
    box: Box | None
    """The part of the query that counts; `like` and `unlike` count whole."""
    rerank: Sequence[str]
    """Re-rankers by name, as in `congener.rerank`, in order."""
    min_similarity: float
    """Hits below it, 0 to 1, are left out."""
    adapted: bool | None
    """Whether to use the map learned from the labels; None: where there is one."""
    labels: Sequence[str]
    """Only images with one of these labels are searched, all by default; see `congener.labels.choose`."""
    index: str | None
    """exact or approximate; None: as the gallery is set."""
    recall: float | None
    """For an approximate index: the share of the exact answer to aim at; None: as the gallery is set."""


class Searchable(Protocol):
    """What a search needs of a gallery."""

    folder: Path

    def __len__(self) -> int: ...

    @property
    def encoder(self) -> Encoder:
        """What made its features."""

    @property
    def labels(self) -> Labels:
        """The labels of images by path."""

    def image_labels(self) -> ImageLabels:
        """Return the label of every image."""

    def version(self) -> tuple[int, int, int]:
        """Return what changes whenever its images do."""

    def lens(self, adapted: bool | None) -> Lens:
        """Return how its embeddings are made."""

    def vectors(self, lens: Lens) -> Embedded:
        """Return its embeddings."""

    def index(self, embedded: Embedded, lens: Lens, name: str | None, recall: float | None) -> Index:
        """Return the index of its embeddings, by their keys."""

    def kept(self, query: Query) -> int | None:
        """Return the id of a query whose embedding is kept, or None."""

    def embed(self, query: Query, *, box: Box | None = None, lens: Lens | None = None) -> Array:
        """Return the embedding (1, d) of a query."""

    def member(self, query: Query) -> Row | None:
        """Return the row of a query that is an image of it."""

    def members(self, query: Query) -> list[Row]:
        """Return the rows of a query that is an image of it, or several."""

    def stamps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids, rising (n,), and stamps (n, 4) of its images, where they are known."""

    def verified(self, ids: Sequence[int]) -> dict[int, Row]:
        """Return the rows of images by id, checked."""


class Searcher:
    """Answers questions to the same galleries; keeps their index as long as they don't change.

    Safe to use from several threads: only what is made for all of them is made by one.
    """

    def __init__(self, galleries: Sequence[Searchable]) -> None:
        """Raise GalleryError unless all were made by one encoder."""
        first, *others = galleries
        for other in others:
            if other.encoder.identity != first.encoder.identity:
                raise GalleryError(
                    f"{first.folder} was made by {first.encoder.identity}, {other.folder} by "
                    f"{other.encoder.identity}: scores of two encoders can't be compared"
                )
        self._galleries = tuple(galleries)
        self._made: tuple[object, Scope] | None = None
        self._making = threading.Lock()

    def search(
        self,
        query: Query | Sequence[Query],
        k: int = 10,
        *,
        include_self: bool = False,
        like: Sequence[Query] = (),
        unlike: Sequence[Query] = (),
        box: Box | None = None,
        rerank: Sequence[str] = (),
        min_similarity: float = 0,
        adapted: bool | None = None,
        labels: Sequence[str] = (),
        index: str | None = None,
        recall: float | None = None,
    ) -> Results:
        """Answer one question: see `congener.search` and `SearchOptions`."""
        if k < 1:
            raise GalleryError(f"k must be at least 1, not {k}")
        reranker = compose(rerank)
        # several galleries are seen through the largest one's eyes; to count one would take 5 ms for a million images
        number = self._galleries.index(max(self._galleries, key=len)) if len(self._galleries) > 1 else 0
        lead, first = self._galleries[number], unique_id(number, 0)
        # what was learned from one gallery's labels says nothing of another's
        lens = lead.lens(adapted if len(self._galleries) == 1 else False)
        scope = self._scope(lens, index, recall)
        k = min(k, max(len(scope), 1))
        wanted = as_list(query)

        def embed(query: Query, box: Box | None = None) -> Array:
            id = lead.kept(query) if box is None else None
            if id is None or not scope.holds(first + id):
                return lead.embed(query, box=box, lens=lens)
            return scope.fetch(np.array([first + id]))

        asked = [embed(each, box) for each in wanted] + [embed(each) for each in like]
        unwanted = [embed(each) for each in unlike] or [np.empty((0, 0), np.float32)]
        embedding = combine(np.concatenate(asked), np.concatenate(unwanted))
        hidden = [] if include_self else self._members([*wanted, *unlike])
        space = scope.space(np.array(hidden, np.int64), self._labelled(labels) if labels else None)
        answer = space.search(embedding, max(k, depth(rerank)))
        _, answer = reranker(embedding, answer, space)
        ids = answer.ids[0]
        similarities = lens.similarity(scope.scores(embedding, ids))
        question = " + ".join(describe(each) for each in wanted)
        return Results(question, self._hits(ids, answer.scores[0], similarities, k, min_similarity))

    def _scope(self, lens: Lens, index: str | None, recall: float | None) -> Scope:
        with self._making:
            version = lens.version, lens.space, index, recall, tuple(gallery.version() for gallery in self._galleries)
            if self._made is None or self._made[0] != version:
                vectors = [gallery.vectors(lens) for gallery in self._galleries]
                both = zip(self._galleries, vectors, strict=True)
                indexes = [gallery.index(each, lens, index, recall) for gallery, each in both]
                self._made = (
                    version,
                    Scope([Part(*each) for each in zip(count(), vectors, indexes, self._repeated(), strict=False)]),
                )
            return self._made[1]

    def _labelled(self, asked: Sequence[str]) -> NDArray[np.int64]:
        """Return the ids, unique over the galleries, of images with one of these labels: see `labels.choose`."""
        known = [gallery.image_labels() for gallery in self._galleries]
        calls: dict[str, set[str]] = {}
        for gallery, each in zip(self._galleries, known, strict=True):
            for label in each.labels:
                calls.setdefault(label, set()).update(gallery.labels.calls(label))
        chosen = choose(asked, calls)
        return np.concatenate([each.having(chosen) + unique_id(number, 0) for number, each in enumerate(known)])

    def _members(self, queries: Sequence[Query]) -> list[int]:
        """Return the ids, unique over the galleries, of queries that are images of theirs."""
        return [
            unique_id(number, row.id)
            for number, gallery in enumerate(self._galleries)
            for query in queries
            for row in gallery.members(query)
        ]

    def _repeated(self) -> list[NDArray[np.int64]]:
        """Return, for each gallery, the ids of images whose files an earlier one holds: each file counts once."""
        if len(self._galleries) == 1:
            return [np.empty(0, np.int64)]
        repeated: list[NDArray[np.int64]] = []
        earlier: list[NDArray[np.int64]] = []
        for gallery in self._galleries:
            ids, stamps = gallery.stamps()
            repeated.append(ids[seen_before(stamps, earlier)])
            earlier.append(stamps)
        return repeated

    def _hits(
        self,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
        similarities: NDArray[np.float64],
        k: int,
        min_similarity: float,
    ) -> list[Hit]:
        hits: list[Hit] = []
        labels = [gallery.labels for gallery in self._galleries]
        found = zip(ids.tolist(), scores.tolist(), similarities.tolist(), strict=True)
        while len(hits) < k and (some := list(islice(found, k))):
            rows = self._verified([unique for unique, *_ in some])
            for unique, score, similarity in some:
                row = rows.get(unique)
                if row is None or similarity < min_similarity or len(hits) == k:
                    continue
                number = own_id(unique)[0]
                label = labels[number].of(row.path)
                name, folder = labels[number].name(label), self._galleries[number].folder
                rank = len(hits) + 1
                hits.append(Hit(rank, score, similarity, row.id, row.path, label, name, folder, row.content))
        return hits

    def _verified(self, uniques: Sequence[int]) -> dict[int, Row]:
        """Return the rows of images by their ids, unique over the galleries; none that is gone."""
        rows: dict[int, Row] = {}
        for number, gallery in enumerate(self._galleries):
            own = [id for each, id in map(own_id, uniques) if each == number]
            rows |= {unique_id(number, id): row for id, row in gallery.verified(own).items()}
        return rows


def search(
    galleries: Sequence[Searchable],
    query: Query | Sequence[Query],
    k: int = 10,
    **options: Unpack[SearchOptions],
) -> Results:
    """Return the k images of all the galleries that are most alike to a query, best first.

    query: a path, a picture, an array, the id of an image, or several of these, which then count as one. options: see
    `SearchOptions`. Raises CongenerError when a query can't be read, or galleries of two encoders are asked.
    """
    return Searcher(galleries).search(query, k, **options)
