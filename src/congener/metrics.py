"""Measures of a ranking, and how sure their means are: arrays in, one value per query out.

In all of them `relevant` is (q, n) bool: for each query, whether the image at each rank is relevant, best
first, the query itself never among them; n may be smaller than the gallery where the ranking was cut. `total`
is (q,) int, R in the formulas: how many relevant images the gallery holds for the query, found or not, at
least 1. rel(i) is 1 where the image at rank i (from 1) is relevant and 0 elsewhere, past the last rank too.

Sources: Manning, Raghavan & Schütze, Introduction to Information Retrieval, 2008, chapter 8 (MRS below);
Järvelin & Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), 2002; Efron &
Tibshirani, An Introduction to the Bootstrap, 1993.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

_BLOCK = 2**20  # values drawn at once: 8 MiB, and as much for their indices


def precision_at(relevant: Bools, k: int) -> Floats:
    """P@k = (1/k) · Σ_{i≤k} rel(i): the share of the first k that is relevant.

    Divides by k, also where fewer than k were ranked: dividing by what was found rewards short answers.
    MRS 8.4.
    """
    _check(relevant, k=k)
    return _found(relevant, k) / k


def recall_at(relevant: Bools, total: Ints, k: int) -> Floats:
    """R@k = (1/R) · Σ_{i≤k} rel(i): the share of the relevant that is among the first k.

    Not the "recall@k" of papers on metric learning, which is 1 as soon as one is found: that is `hit_at`.
    At most k/R. MRS 8.3.
    """
    _check(relevant, total, k)
    return _found(relevant, k) / total


def hit_at(relevant: Bools, k: int) -> Floats:
    """hit@k = max_{i≤k} rel(i): 1 where anything relevant is among the first k, else 0.

    What papers on metric learning call recall@k, and trec_eval success. It's no share of the relevant: for
    that see `recall_at`.
    """
    _check(relevant, k=k)
    return np.asarray(relevant[:, :k].any(axis=1), np.float64)


def r_precision(relevant: Bools, total: Ints) -> Floats:
    """R-precision = (1/R) · Σ_{i≤R} rel(i): precision, and recall, at each query's own R.

    The cut is all relevant of the gallery, not those found, nor one k for all queries. A ranking cut before R
    counts the rest as not relevant. MRS 8.4.
    """
    _check(relevant, total)
    query, rank = _hits(relevant)
    found: Ints = np.bincount(query[rank <= total[query]], minlength=len(total))
    return found / total


def average_precision(relevant: Bools, total: Ints, k: int | None = None) -> Floats:
    """AP = (1/R) · Σ_{i≤k} rel(i) · P@i: the mean over all relevant of the precision where each is found.

    Without k, over all that was ranked. What wasn't found counts as 0, also at a cut, where AP is thus at
    most k/R: dividing by those found gives 1 to a ranking that found one of a hundred, if at the top. No
    interpolation between ranks, and no trapezoids. MRS 8.4.
    """
    _check(relevant, total, k)
    query, rank = _hits(relevant[:, :k])
    first = np.searchsorted(query, query)  # where the hits of the same query begin
    precision = (np.arange(len(query)) - first + 1) / rank
    return np.bincount(query, precision, minlength=len(total)) / total


def ndcg_at(relevant: Bools, total: Ints, k: int) -> Floats:
    """NDCG@k = Σ_{i≤k} rel(i) / log₂(1 + i), divided by the same sum for rel(i) = 1 at i ≤ min(k, R).

    The ideal holds all relevant of the gallery: taking only those found, put first, gives 1 to whatever finds
    one at the top. Järvelin & Kekäläinen 2002, with binary gains and the discount of MRS 8.4 (theirs is
    log₂ i from rank 2 on, and none at rank 1).
    """
    _check(relevant, total, k)
    query, rank = _hits(relevant[:, :k])
    gain = np.bincount(query, 1 / np.log2(1 + rank), minlength=len(total))
    depth = min(k, int(total.max(initial=1)))
    # summed in the same order as the gains, so that an ideal ranking has 1 exactly and none has more
    ideal = np.cumsum(1 / np.log2(np.arange(2, depth + 2)))
    return np.asarray(gain / ideal[np.minimum(total, depth) - 1])


def bootstrap_interval(
    values: Floats, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over queries: its low and its high end.

    Draw q of the q values with replacement and take the mean; do so `resamples` times; the ends are the
    (1 - level)/2 and (1 + level)/2 quantiles of these means. The same seed gives the same interval.

    It's about other queries of the same kind, not about other galleries, and supposes that queries were drawn
    independently. With a few queries it's too narrow; with one it's a point. The intervals of two settings
    may overlap although one is surely better: for that see `paired_difference`. Efron & Tibshirani 1993,
    chapter 13.
    """
    _check_bootstrap(values, level, resamples)
    draw = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, _BLOCK // len(values))
    for start in range(0, resamples, rows):
        block = means[start : start + rows]
        drawn = values[draw.integers(len(values), size=(len(block), len(values)))]
        block[:] = drawn.mean(axis=1, dtype=np.float64)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one setting is better than another, over the same queries."""

    mean: float
    """Of first minus second: above 0 the first is better."""
    low: float
    high: float
    """Ends of the interval. Where it holds 0, the queries don't tell which is better."""


def paired_difference(a: Floats, b: Floats, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Difference:
    """Return the mean of a - b, values of the same queries in the same order, and its bootstrap interval.

    Draws queries, each with both of its values: queries are easy or hard for both settings, and drawing the
    two sides apart would count that as doubt. Efron & Tibshirani 1993, chapters 8 and 13.
    """
    if a.shape != b.shape:
        raise ValueError(f"a and b must be of the same queries: {a.shape} and {b.shape}")
    difference = np.subtract(a, b, dtype=np.float64)
    low, high = bootstrap_interval(difference, level=level, resamples=resamples, seed=seed)
    return Difference(float(difference.mean()), low, high)


def _found(relevant: Bools, k: int) -> Floats:
    return np.asarray(np.count_nonzero(relevant[:, :k], axis=1), np.float64)


def _hits(relevant: Bools) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the query and the rank, from 1, of each relevant image, by query and rank."""
    query, column = np.nonzero(relevant)
    return query, column + 1


def _check(relevant: Bools, total: Ints | None = None, k: int | None = None) -> None:
    if relevant.ndim != 2 or relevant.dtype != np.bool_:
        raise ValueError(f"relevant must be (q, n) bool: {relevant.shape} {relevant.dtype}")
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1: {k}")
    if total is None:
        return
    if total.shape != relevant.shape[:1] or not np.issubdtype(total.dtype, np.integer):
        raise ValueError(f"total must be ({len(relevant)},) int: {total.shape} {total.dtype}")
    if (total < 1).any():
        row = np.argmax(total < 1)
        raise ValueError(f"total must be at least 1: query {row} has {total[row]}")
    seen = np.count_nonzero(relevant, axis=1)
    if (seen > total).any():
        row = np.argmax(seen > total)
        raise ValueError(f"total must count all relevant: query {row} ranks {seen[row]} of {total[row]}")


def _check_bootstrap(values: Floats, level: float, resamples: int) -> None:
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values must be (q,), of one query or more: {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1: {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1: {resamples}")
