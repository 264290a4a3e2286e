"""Three ways to look at every row: by bytes for few queries, by matrix products for many, by sorting for a large k.

All of them take rows with their holes hidden, queries (q, d) and k, from 1 to the number of rows that aren't hidden.
"""

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import simsimd
from numpy.typing import NDArray

from congener.cores import cores, threads
from congener.indexes.base import Neighbours, unit
from congener.indexes.quantise import quantise, unpack
from congener.indexes.score import Whole
from congener.indexes.shortlist import Rows, Shortlist

Hidden = NDArray[np.bool_] | None
"""(n,) Which rows don't count."""

_FIRST = 2**11  # rows that are looked at first, to have a bar for the others
_SCAN = 2**16  # rows whose scores a thread holds: 256 KiB, within its core's cache
_PART = 2**13  # rows that are worth a thread of their own: a millisecond's work, to a tenth for the thread
_PRODUCT = 2**12, 2**10  # rows and queries of a matrix product: 16 MiB of scores
_RANKED = 2**24  # scores of a ranking that are held at once: 64 MiB
_ROUNDING = 2.0**-24  # of float32, relative to the number


class Codes(NamedTuple):
    """Packed rows, ready to be scanned."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]  # side by side: between the codes each would cost a line of the cache
    reach: float  # no row is longer

    @classmethod
    def of(cls, packed: NDArray[np.int8]) -> Self:
        """Look at each row once."""
        codes, scales = unpack(packed)
        lengths = np.sqrt(np.asarray(simsimd.dot(codes, codes), np.float64).reshape(-1)) + np.sqrt(codes.shape[1]) / 2
        return cls(codes, np.ascontiguousarray(scales), float((lengths * scales).max(initial=0)))


class _Probe(NamedTuple):
    """Queries in bytes, and how far from the true scores those of the bytes may be: apart * scale + slack."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    apart: NDArray[np.float32]
    slack: NDArray[np.float32]

    @classmethod
    def of(cls, queries: NDArray[np.float32], reach: float) -> Self:
        codes, scales = unpack(quantise(queries))
        residual = np.linalg.norm(queries - codes * scales[:, None], axis=1) * np.float32(reach)
        apart = np.abs(queries).sum(axis=1) * np.float32(0.50001)  # the division before the rounding rounds too
        return cls(codes, scales, apart, residual + _slack(queries, reach))


def by_bytes(rows: Rows, codes: Codes, hidden: Hidden, queries: NDArray[np.float32], k: int) -> Neighbours:
    """Search through the bytes, a thread for each part of the rows.

    With x = x' + r and q = q' + s, where x' and q' are what the bytes stand for: q.x = q'.x' + s.x' + q.r. No number
    of r is above half of x's scale, so |q.r| <= scale |q|_1 / 2; and |s.x'| <= |s| |x'|. Both always hold, and are
    narrow: about 0.016 at 256 dimensions. That rounding errors would hardly ever add up to it could make it
    narrower, but the few rows more are scored in less than a thirtieth of the time that the scan takes.
    """
    probe = _Probe.of(queries, codes.reach)
    shortlist = Shortlist(rows, queries, k)
    with _scanning:
        parts = _parts(len(rows.ids), cores() // _scanning.count)
        lists = [shortlist, *(shortlist.beside() for _ in parts[1:])]
        others = [
            threads().submit(_scan, part, each, codes, probe, hidden)
            for part, each in zip(parts[1:], lists[1:], strict=True)
        ]
        _scan(parts[0], shortlist, codes, probe, hidden)
        for each in others:
            each.result()
    return shortlist.neighbours(*lists[1:])


class _Counter:
    """How many scans are running: they share the cores."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1


_scanning = _Counter()


def _scan(part: range, shortlist: Shortlist, codes: Codes, probe: _Probe, hidden: Hidden) -> None:
    for here in _blocks(part, _SCAN):
        scale = codes.scales[here]
        for query, code in enumerate(probe.codes):
            # not into an array of ours: with out= it takes a reference from None at each call, until Python aborts
            upper = np.asarray(simsimd.cdist(codes.codes[here], code[None], "dot", out_dtype="float32"))[:, 0]
            margin = scale * probe.apart[query]
            margin += probe.slack[query]
            upper *= scale * probe.scales[query]
            upper += margin
            if hidden is not None:
                upper[hidden[here]] = -np.inf
            margin *= 2
            shortlist.sift(upper[None], margin[None], query, here.start)


def by_product(rows: Rows, hidden: Hidden, queries: NDArray[np.float32], k: int) -> Neighbours:
    """Search by matrix products of blocks, whose scores differ from the true ones by float32's rounding alone."""
    found = []
    for start in range(0, len(queries), _PRODUCT[1]):
        some = queries[start : start + _PRODUCT[1]]
        shortlist = Shortlist(rows, some, k)
        for here in _blocks(range(len(rows.ids)), _PRODUCT[0]):
            slack = _slack(some, 1)[:, None]
            upper = some @ unit(rows.embeddings[here]).T
            upper += slack
            if hidden is not None:
                upper[:, hidden[here]] = -np.inf
            shortlist.sift(upper, 2 * slack, 0, here.start)
        found.append(shortlist.neighbours())
    return Neighbours(np.concatenate([each.scores for each in found]), np.concatenate([each.ids for each in found]))


def by_ranking(rows: Rows, hidden: Hidden, queries: NDArray[np.float32], k: int) -> Neighbours:
    """Search by sorting all scores, which is what a large k comes to."""
    live = np.arange(len(rows.ids)) if hidden is None else np.flatnonzero(~hidden)
    live = live[np.argsort(rows.ids[live], kind="stable")]
    asked = Whole.of(queries)
    scores = np.empty((len(queries), k), np.float32)
    ids = np.empty((len(queries), k), np.int64)
    step = max(1, _RANKED // len(live))
    for start in range(0, len(queries), step):
        for query, row in enumerate(rows.all_scores(asked.take(slice(start, start + step)), live), start):
            best = _ranked(row, k)
            scores[query], ids[query] = row[best], rows.ids[live[best]]
    return Neighbours(scores, ids)


def _ranked(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Return the positions of the k best scores (n,), best first, equal ones as they stand."""
    bar = np.partition(scores, len(scores) - k)[len(scores) - k]
    found = np.flatnonzero(scores >= bar)
    best: NDArray[np.intp] = found[np.argsort(-scores[found], kind="stable")[:k]]
    return best


def _slack(queries: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """Return by how much (q,) two ways to add up a score in float32 may differ, for rows up to this long."""
    lengths: NDArray[np.float32] = np.linalg.norm(queries, axis=1).astype(np.float32, copy=False)
    return lengths * np.float32(2 * (queries.shape[1] + 8) * _ROUNDING * reach)


def _blocks(rows: range, size: int) -> Iterator[slice]:
    """Cut rows into blocks, the first one small, so that there's a bar for the others soon."""
    ends = [rows.start, *range(rows.start + _FIRST, rows.stop, size), rows.stop]
    return (slice(start, end) for start, end in pairwise(ends) if start < end)


def _parts(count: int, most: int) -> list[range]:
    """Cut rows into so many parts, or fewer where there are few rows, but one."""
    number = max(1, min(most, count // _PART))
    ends = [count * part // number for part in range(number + 1)]
    return [range(*ends[part : part + 2]) for part in range(number)]
