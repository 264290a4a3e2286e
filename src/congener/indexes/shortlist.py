"""From bounds of scores to the k best by score: what can't be among them is dropped unscored."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from congener.cores import cores
from congener.indexes.base import Neighbours, Vectors
from congener.indexes.score import Whole, crossed, paired

_NUMBERS = 2**18  # of rows, in float64 at once: 2 MiB, beside their queries
_MULTIPLIED = 2**21  # of rows, in float64 at once where all are multiplied with all queries: 16 MiB
_LEAST = np.finfo(np.float32).min  # no score is below, -inf is
_CROWD = 2**20  # pairs that wait at most: beyond, their scores are computed


class Bounds(NamedTuple):
    """m pairs of a query and a row, and what their scores lie between."""

    queries: NDArray[np.intp]
    rows: NDArray[np.intp]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Bounds":
        """Return some of the pairs."""
        return Bounds(self.queries[chosen], self.rows[chosen], self.lower[chosen], self.upper[chosen])


def joined(parts: Iterable[Bounds]) -> Bounds:
    """Return the pairs of all parts."""
    return Bounds(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class Rows(NamedTuple):
    """What is searched: embeddings (n, d) and their ids (n,), -1 where a row isn't there any more."""

    ids: NDArray[np.int64]
    embeddings: Vectors

    def scores(self, queries: Whole, of: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the scores (m,) of pairs: the query of[i] and the row rows[i]."""

        def part(here: slice) -> NDArray[np.float32]:
            return paired(queries.take(of[here]), self._whole(rows[here]))

        parts = list(self._parts(len(rows), _NUMBERS))
        if len(parts) < 2:
            return part(slice(None))
        with ThreadPoolExecutor(cores()) as pool:  # not `threads`: some who call this are in them
            return np.concatenate(list(pool.map(part, parts)))

    def all_scores(self, queries: Whole, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the scores (q, m) of all queries with some rows, the same as `scores` gives."""
        parts = self._parts(len(rows), _MULTIPLIED)
        return np.concatenate([crossed(queries, self._whole(rows[here])) for here in parts], axis=1)

    def _whole(self, rows: NDArray[np.intp]) -> Whole:
        return Whole.of(self.embeddings.take(rows, axis=0))

    def _parts(self, count: int, numbers: int) -> Iterator[slice]:
        step = max(1, numbers // max(1, self.embeddings.shape[1]))
        return (slice(start, start + step) for start in range(0, count, step))


class Shortlist:
    """Who may still be among the k best of each query, while rows stream by."""

    def __init__(self, rows: Rows, queries: NDArray[np.float32], k: int) -> None:
        """queries: (q, d); k: from 1 to the number of rows that are there."""
        self._rows, self._queries, self._k = rows, Whole.of(queries), k
        self._bars = np.full(len(queries), -np.inf, np.float32)  # what the k-th best score reaches at least
        self._kept: list[Bounds] = []
        self._new = 0

    def beside(self) -> "Shortlist":
        """Return an empty list for another thread, with the same bars.

        They need no lock: where one thread overwrites what another has just raised, the bar is lower than it might
        be, and still holds.
        """
        other = copy(self)
        other._kept = []
        return other

    def sift(self, upper: NDArray[np.float32], width: NDArray[np.float32], query: int, row: int) -> None:
        """Take of a block of q queries and b rows what reaches the bars.

        upper: (q, b) what a score is at most, -inf where a row doesn't count; width: (q, b) or (q, 1), how much it
        may be below that; query, row: the numbers of the first ones.
        """
        bars = self._bars[query : query + len(upper)]
        if upper.shape[1] >= self._k and np.isneginf(bars).any():
            kth = np.partition(upper - width, -self._k, axis=1)[:, -self._k]
            bars = np.maximum(bars, kth)
        bars = np.maximum(bars, _LEAST)
        queries, rows = np.divmod(np.flatnonzero(upper >= bars[:, None]), upper.shape[1])
        found = upper[queries, rows]
        lower = found - np.broadcast_to(width, upper.shape)[queries, rows]
        self._kept.append(Bounds(queries + query, rows + row, lower, found))
        self._new += len(rows)
        if self._new > 2 * self._k * len(self._bars):
            self._prune()

    def neighbours(self, *others: "Shortlist") -> Neighbours:
        """Return the k best (q, k) by score, equal scores by id, of this list and those beside it."""
        self._kept += [part for other in others for part in other._kept]
        self._prune()
        best = self._settled(self._kept[0])
        shape = len(self._bars), self._k
        return Neighbours(best.lower.reshape(shape), self._rows.ids[best.rows].reshape(shape))

    def _prune(self) -> None:
        pairs = joined(self._kept)
        np.maximum(self._bars, self._kth(pairs), out=self._bars)
        pairs = pairs.only(pairs.upper >= self._bars[pairs.queries])
        if len(pairs.rows) > _CROWD:  # a multitude of near equals
            pairs = self._settled(pairs)
        self._kept, self._new = [pairs], 0

    def _settled(self, pairs: Bounds) -> Bounds:
        """Compute the scores of who may be among the k best, and return those, best first."""
        promising = self._scored(pairs.only(self._first(pairs.queries, pairs.upper)))
        np.maximum(self._bars, self._kth(promising), out=self._bars)
        scored = self._scored(pairs.only(pairs.upper >= self._bars[pairs.queries]))
        return scored.only(self._first(scored.queries, scored.lower, self._rows.ids[scored.rows]))

    def _scored(self, pairs: Bounds) -> Bounds:
        scores = self._rows.scores(self._queries, pairs.queries, pairs.rows)
        return pairs._replace(lower=scores, upper=scores)

    def _kth(self, pairs: Bounds) -> NDArray[np.float32]:
        """Return the k-th best lower bound (q,) of each query; -inf where there are fewer."""
        bars = np.full(len(self._bars), -np.inf, np.float32)
        first = self._first(pairs.queries, pairs.lower)
        counts = np.bincount(pairs.queries[first], minlength=len(bars))
        full = counts == self._k
        bars[full] = pairs.lower[first[np.cumsum(counts)[full] - 1]]
        return bars

    def _first(
        self, queries: NDArray[np.intp], scores: NDArray[np.float32], *ties: NDArray[np.int64]
    ) -> NDArray[np.intp]:
        """Return the positions of each query's k best pairs, by query, best first."""
        keys: list[NDArray[Any]] = [*ties, -scores, queries]
        order = np.lexsort(keys)
        starts = np.searchsorted(queries[order], np.arange(len(self._bars)))
        ranks = np.arange(len(order)) - starts[queries[order]]
        first: NDArray[np.intp] = order[ranks < self._k]
        return first
