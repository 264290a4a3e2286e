"""Re-ranking: an answer and its neighbours -> a better answer. Arrays in, arrays out; off unless asked for.

Every method looks at the top m of an answer and at their neighbours, never at all pairs of a gallery: it
holds for a million images. A batch fetches each candidate once and looks all their neighbours up in one
search. An answer shorter than m is judged as a whole; `depth` says how long it should be.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.errors import CongenerError, unknown_name
from congener.indexes import Neighbours

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]

_BLOCK = 2**24  # numbers gathered at once: 64 MiB
_FAR = np.iinfo(np.int32).max  # rank of what a list doesn't hold


@dataclass(frozen=True)
class Space:
    """What a re-ranker may ask of a gallery."""

    search: Callable[[Vectors, int], Neighbours]
    """L2-normalised queries (q, d) and k to the k nearest; an image's own embedding finds the image too."""
    fetch: Callable[[Ids], Vectors]
    """Ids (n,) to their L2-normalised embeddings (n, d)."""
    exclude: Ids | None = None
    """(q,) for each query the id of itself, -1 where it isn't in the gallery: never returned, never evidence.

    The first answer must not hold it.
    """

    def excluded(self, queries: int) -> Ids:
        """Return `exclude`, or -1 as many times."""
        return np.full(queries, -1, np.int64) if self.exclude is None else self.exclude


Reranker = Callable[[Vectors, Neighbours, Space], tuple[Vectors, Neighbours]]
"""Query embeddings (q, d), answer (q, k), space -> the embeddings to go on with, the new answer (q, k').

The new answer holds all ids of the old one; its scores fall, equal ones in order of id. What was not judged
keeps its order below what was, its scores shifted where they would stand above.
"""


def parse(spec: str) -> "Method":
    """Return the re-ranker that a text such as "aqe" or "aqe:n=5,alpha=3" (or "aqe:n=5:alpha=3") names."""
    name, _, rest = spec.strip().partition(":")
    if name not in RERANKERS:
        valid = [f"{each} ({_defaults(kind)})" for each, kind in RERANKERS.items()]
        raise CongenerError(unknown_name("re-ranker", name, valid))
    kind = RERANKERS[name]
    types = {each.name: each.type for each in fields(kind)}
    values: dict[str, Any] = {}
    for setting in rest.replace(",", ":").split(":") if rest else []:
        key, _, text = (part.strip() for part in setting.partition("="))
        if key not in types or key in values:
            raise CongenerError(f"{name}: {key!r} is unknown or given twice; valid: {_defaults(kind)}")
        try:
            values[key] = int(text) if types[key] is int else float(text)
        except ValueError:
            values[key] = text
    return kind(**values)


def compose(specs: Sequence[str]) -> Reranker:
    """Return the re-rankers one after the other, each going on with the last one's queries and answer."""
    steps = [parse(spec) for spec in specs]

    def rerank(queries: Vectors, answer: Neighbours, space: Space) -> tuple[Vectors, Neighbours]:
        for step in steps:
            queries, answer = step(queries, answer, space)
        return queries, answer

    return rerank


def depth(specs: Sequence[str]) -> int:
    """Return how long a first answer these make use of, 0 for none."""
    return max((parse(spec).depth for spec in specs), default=0)


def _setting(default: float, least: float, most: float) -> Any:
    return field(default=default, metadata={"least": least, "most": most})


def _defaults(kind: type["Method"]) -> str:
    return ", ".join(f"{each.name}={each.default}" for each in fields(kind))


@dataclass(frozen=True)
class Method(ABC):
    """A re-ranker with its settings, checked when made."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least, most = getattr(self, each.name), each.metadata["least"], each.metadata["most"]
            if not isinstance(value, int if each.type is int else int | float) or not least <= value <= most:
                name = next((name for name, kind in RERANKERS.items() if kind is type(self)), "re-ranker")
                number = "whole number" if each.type is int else "number"
                raise CongenerError(
                    f"{name}: {each.name} must be a {number} from {least} to {most}, not {value!r}; "
                    f"defaults: {_defaults(type(self))}"
                )

    @property
    def depth(self) -> int:
        """How much of an answer it makes use of: its m, or its n where it has none."""
        return int(next(getattr(self, name) for name in ("m", "n") if hasattr(self, name)))

    def __call__(self, queries: Vectors, answer: Neighbours, space: Space) -> tuple[Vectors, Neighbours]:
        """See `Reranker`; an empty answer stays one."""
        return self._rerank(queries, answer, space) if answer.ids.size else (queries, answer)

    @abstractmethod
    def _rerank(self, queries: Vectors, answer: Neighbours, space: Space) -> tuple[Vectors, Neighbours]: ...


@dataclass(frozen=True)
class AlphaQueryExpansion(Method):
    """α-weighted query expansion: Radenović, Tolias & Chum, TPAMI 2018, "α-weighted query expansion".

    q' = unit(q + Σ max(q·x, 0)^α x) over the top n of the answer; then search again with q'.
    """

    n: int = _setting(4, 0, 1000)
    alpha: float = _setting(3.0, 0, 100)

    def _rerank(self, queries: Vectors, answer: Neighbours, space: Space) -> tuple[Vectors, Neighbours]:
        if not self.n:
            return queries, answer
        ids, rows = np.unique(answer.ids[:, : self.n], return_inverse=True)
        vectors, rows = space.fetch(ids), rows.reshape(len(queries), -1)
        weights = np.maximum(_cosines(queries, vectors, rows), 0) ** self.alpha
        expanded = queries.copy()
        for weight, row in zip(weights.T, rows.T, strict=True):
            expanded += weight[:, None] * vectors[row]
        expanded = _unit(expanded)
        return expanded, _search_again(expanded, answer, space)


@dataclass(frozen=True)
class QueryExpansion(Method):
    """Average query expansion: Chum et al., "Total recall", ICCV 2007, "Average query expansion".

    q' = unit((q + Σ x) / (n + 1)) over the top n of the answer; then search again with q'.
    """

    n: int = _setting(4, 0, 1000)

    def _rerank(self, queries: Vectors, answer: Neighbours, space: Space) -> tuple[Vectors, Neighbours]:
        return AlphaQueryExpansion(self.n, 0.0)(queries, answer, space)


@dataclass(frozen=True)
class DatabaseAugmentation(Method):
    """Database-side augmentation: Turcot & Lowe, ICCV workshops 2009; Arandjelović & Zisserman, CVPR 2012.

    Each candidate x of the top m is scored as q · unit(x + Σ max(x·y, 0)^α y) over its n nearest y in the
    gallery; α = 0 is the plain mean.
    """

    n: int = _setting(4, 0, 100)
    alpha: float = _setting(3.0, 0, 100)
    m: int = _setting(100, 1, 10_000)

    def _rerank(self, queries: Vectors, answer: Neighbours, space: Space) -> tuple[Vectors, Neighbours]:
        if not self.n:
            return queries, answer
        around = _look_up(answer.ids[:, : self.m], self.n, space)
        exclude = space.excluded(len(queries))
        # a candidate is augmented once for all queries, and once more for each that its neighbours hold
        hit = np.any([ids[around.rows] == exclude[:, None] for ids in around.found.ids.T], axis=0)
        query = np.where(hit, np.arange(1, len(queries) + 1)[:, None], 0)
        variants, rows = np.unique(around.rows * (len(queries) + 1) + query, return_inverse=True)
        row, query = np.divmod(variants, len(queries) + 1)
        banned = np.concatenate([[-1], exclude])[query]
        vectors = self._augment(around, row, banned, space)
        return queries, _judge_top(answer, _cosines(queries, vectors, rows.reshape(hit.shape)))

    def _augment(self, around: "_Around", row: Ids, banned: Ids, space: Space) -> Vectors:
        """Return those candidates augmented, none by the image banned for it."""
        vectors = around.embeddings[row]
        width = around.found.ids.shape[1]
        step = max(1, _BLOCK // max(width * vectors.shape[1], 1))
        for start in range(0, len(row), step):
            part = slice(start, start + step)
            own, found = around.ids[row[part], None], around.found.ids[row[part]]
            place = _places(found, own, banned[part, None])
            chosen = place <= self.n
            weights = np.maximum(around.found.scores[row[part]], 0) ** self.alpha * chosen
            ids, rows = np.unique(np.where(chosen, found, own), return_inverse=True)
            neighbours = space.fetch(ids)[rows.reshape(found.shape)]
            vectors[part] += (weights[:, None, :].astype(np.float32) @ neighbours)[:, 0]
        return _unit(vectors)


@dataclass(frozen=True)
class KReciprocal(Method):
    """k-reciprocal encoding: Zhong et al., CVPR 2017, sections 3.2 to 3.5, on the query and the top m.

    N(x, k): x and its k nearest among gallery and query (eq. 2); d = 1 - cosine.
    R(x, k): those of N(x, k) whose own N(·, k) holds x (eq. 3).
    R*: R(x, k1) with each R(c, k1/2), c in R(x, k1), two thirds of which lie in R(x, k1) (eq. 4).
    V: exp(-d) within R*, else 0 (eq. 7), then its mean over x and the k2 - 1 nearest (eq. 11).
    Score = 1 - d* = (1 - λ) Σ min(Vq, Vx) / Σ max(Vq, Vx) + λ cosine (eq. 10, 12); λ is `lam`.
    Of the sets only what lies in the top m counts; with m the whole gallery it is the paper's.
    """

    k1: int = _setting(8, 1, 200)
    k2: int = _setting(3, 1, 200)
    lam: float = _setting(0.3, 0, 1)
    m: int = _setting(100, 1, 1000)

    def _rerank(self, queries: Vectors, answer: Neighbours, space: Space) -> tuple[Vectors, Neighbours]:
        around = _look_up(answer.ids[:, : self.m], max(self.k1, self.k2), space)
        exclude = space.excluded(len(queries))
        scores = np.empty(around.rows.shape, np.float32)
        for query, rows, banned, out in zip(queries, around.rows, exclude, scores, strict=True):
            vectors = np.vstack([query, around.embeddings[rows]])
            likeness = vectors @ vectors.T
            code = self._encode(self._rank(around, rows, int(banned), likeness[0, 1:]), likeness)
            jaccard = np.minimum(code[0], code[1:]).sum(axis=1) / np.maximum(code[0], code[1:]).sum(axis=1)
            out[:] = (1 - self.lam) * jaccard + self.lam * likeness[0, 1:]
        return queries, _judge_top(answer, scores)

    def _rank(self, around: "_Around", rows: Ids, banned: int, likeness: Vectors) -> NDArray[np.int32]:
        """Return the place of each (column) in the list of each (row), itself at 0; the query is number 0."""
        found = around.found.ids[rows]
        place = _places(found, around.ids[rows, None], banned)
        counts = place < _FAR
        after = counts & (around.found.scores[rows] <= likeness[:, None])  # the query stands before its equals
        rank = np.zeros((len(rows) + 1, len(rows) + 1), np.int32)
        rank[0, 1:] = np.arange(1, len(rows) + 1)  # in the order of the answer
        rank[1:, 0] = 1 + (counts & ~after).sum(axis=1)
        rank[1:, 1:] = _table(around.ids[rows], found, place + after)
        return rank

    def _encode(self, rank: NDArray[np.int32], likeness: Vectors) -> Vectors:
        """Return V after local query expansion, one row for each of query and candidates."""
        near, nearer = rank <= self.k1, rank <= round(self.k1 / 2)
        mutual, half = near & near.T, (nearer & nearer.T).astype(np.float32)
        shared = mutual.astype(np.float32) @ half  # half is symmetric
        adds = mutual & (3 * shared >= 2 * half.sum(axis=1))
        members = mutual | (adds.astype(np.float32) @ half > 0)
        code = np.where(members, np.exp(likeness - 1), np.float32(0))
        nearest = (rank < self.k2).astype(np.float32)
        expanded: Vectors = nearest @ code / nearest.sum(axis=1, keepdims=True)
        return expanded


@dataclass(frozen=True)
class Diffusion(Method):
    """Diffusion on the mutual neighbour graph: Iscen et al., CVPR 2017, cut to the top m.

    W: max(x·y, 0)^γ where each is among the k nearest of the other, else 0; S = D^-1/2 W D^-1/2.
    y: max(q·x, 0)^γ for the top n of the answer, else 0, as the paper does for a query outside the graph.
    Score: f = (1 - α) (I - αS)^-1 y, the paper's closed form, solved exactly. What no path of the graph
    joins to one of these n counts as not judged. The paper's α = 0.99 ruins kinds of few images.
    """

    k: int = _setting(8, 1, 200)
    n: int = _setting(10, 1, 200)
    alpha: float = _setting(0.8, 0, 0.9999)
    gamma: float = _setting(3.0, 0, 100)
    m: int = _setting(100, 1, 1000)

    def _rerank(self, queries: Vectors, answer: Neighbours, space: Space) -> tuple[Vectors, Neighbours]:
        around = _look_up(answer.ids[:, : self.m], self.k, space)
        exclude = space.excluded(len(queries))
        scores = np.zeros(around.rows.shape)
        for query, rows, banned, out in zip(queries, around.rows, exclude, scores, strict=True):
            vectors = around.embeddings[rows]
            start = np.maximum(vectors @ query, 0) ** self.gamma
            start[self.n :] = 0
            place = _places(around.found.ids[rows], around.ids[rows, None], int(banned))
            near = _table(around.ids[rows], around.found.ids[rows], place) <= self.k
            np.fill_diagonal(near, False)
            weights = np.maximum(vectors @ vectors.T, 0).astype(np.float64) ** self.gamma * (near & near.T)
            scale = 1 / np.sqrt(np.maximum(weights.sum(axis=1), np.finfo(np.float64).tiny))
            graph = np.eye(len(rows)) - self.alpha * scale[:, None] * weights * scale
            out[:] = (1 - self.alpha) * np.linalg.solve(graph, start)
        # rounding may leave a trace where there is no path
        return queries, _judge_top(answer, np.where(scores > 1e-12, scores, np.nan).astype(np.float32))


RERANKERS: dict[str, type[Method]] = {
    "qe": QueryExpansion,
    "aqe": AlphaQueryExpansion,
    "dba": DatabaseAugmentation,
    "kreciprocal": KReciprocal,
    "diffusion": Diffusion,
}
"""Name -> what makes a re-ranker of its settings; the defaults live in the classes."""


@dataclass(frozen=True)
class _Around:
    """The candidates of a batch of queries, each once, and their neighbours in the gallery."""

    ids: Ids
    embeddings: Vectors
    found: Neighbours  # itself and the excluded images included
    rows: Ids  # (q, m): where each query's candidates stand in the three


def _look_up(candidates: Ids, k: int, space: Space) -> _Around:
    """Find enough for k neighbours of each candidate: itself, and an excluded image, may be among them."""
    ids, rows = np.unique(candidates, return_inverse=True)
    embeddings = space.fetch(ids)
    found = space.search(embeddings, k + 1 + (space.exclude is not None))
    return _Around(ids, embeddings, found, rows.reshape(candidates.shape))


def _places(found: Ids, own: Ids, banned: Ids | int) -> NDArray[np.int32]:
    """Return each neighbour's place in its list, from 1, not counting those two, who get _FAR."""
    counts = (found != own) & (found != banned)
    return np.where(counts, np.cumsum(counts, axis=1, dtype=np.int32), _FAR).astype(np.int32)


def _table(ids: Ids, found: Ids, places: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return (m, m): the place of each id (column) in the list of each (row); itself 0, _FAR if absent."""
    order = np.argsort(ids)
    column = order[np.minimum(np.searchsorted(ids, found, sorter=order), len(ids) - 1)]
    known = (ids[column] == found) & (places < _FAR)
    table = np.full((len(ids), len(ids)), _FAR, np.int32)
    table[np.nonzero(known)[0], column[known]] = places[known]
    np.fill_diagonal(table, 0)
    return table


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _cosines(queries: Vectors, vectors: Vectors, rows: Ids) -> Vectors:
    """Return (q, m): each query with its own m of the vectors."""
    step = max(1, _BLOCK // max(rows.shape[1] * queries.shape[1], 1))
    parts = [slice(start, start + step) for start in range(0, len(queries), step)]
    return np.concatenate([(vectors[rows[part]] @ queries[part, :, None])[..., 0] for part in parts])


def _search_again(queries: Vectors, answer: Neighbours, space: Space) -> Neighbours:
    """Return the new answer, what only the old one holds below: as many new ids as old, where they exist."""
    k = answer.ids.shape[1]
    found = space.search(queries, 2 * k + (space.exclude is not None))
    others = found.ids != space.excluded(len(queries))[:, None]
    others &= np.cumsum(others, axis=1) <= 2 * k
    # a row's ids made distinct from the other rows', so that one isin serves all
    _, codes = np.unique(np.hstack([found.ids, answer.ids]), return_inverse=True)
    codes = codes.reshape(len(queries), -1) + np.arange(len(queries))[:, None] * (codes.max() + 1)
    new, old = np.hsplit(codes, [found.ids.shape[1]])
    fresh = others & ~np.isin(new, old)
    extra = min(k, int(fresh.sum(axis=1).min()))
    judged = others & (~fresh | (np.cumsum(fresh, axis=1) <= extra))
    missed = ~np.isin(old, new[judged])
    chosen = np.hstack([judged, missed])
    shape = len(queries), k + extra
    ids = np.hstack([found.ids, answer.ids])[chosen].reshape(shape)
    scores = np.hstack([found.scores, answer.scores])[chosen].reshape(shape)
    return _join(ids, scores, np.hstack([judged, np.zeros_like(missed)])[chosen].reshape(shape))


def _judge_top(answer: Neighbours, scores: Vectors) -> Neighbours:
    """Return the answer with new scores (q, m) for its top m; NaN is none."""
    new, judged = answer.scores.copy(), np.zeros(answer.ids.shape, bool)
    judged[:, : scores.shape[1]] = np.isfinite(scores)
    new[judged] = scores[np.isfinite(scores)]
    return _join(answer.ids, new, judged)


def _join(ids: Ids, scores: Vectors, judged: NDArray[np.bool_]) -> Neighbours:
    """Sort the judged by score, then id; below them the others as they stand, shifted as far as needed."""
    columns = np.arange(ids.shape[1])
    order = np.lexsort((ids, np.where(judged, -scores, columns), ~judged))
    ids, judged = np.take_along_axis(ids, order, axis=1), np.take_along_axis(judged, order, axis=1)
    scores = np.take_along_axis(scores, order, axis=1)
    new = scores.copy()
    shift = np.zeros(len(ids), np.float32)
    for column in columns[1:]:
        old, above = scores[:, column], new[:, column - 1]
        below = np.nextafter(above, np.float32(-inf))
        first = judged[:, column - 1]
        shift = np.where(first & ~judged[:, column], np.maximum(old - below, 0), shift)
        # rounding must not make equals of what differed
        least = np.where(~first & (old == scores[:, column - 1]), above, below)
        new[:, column] = np.where(judged[:, column], old, np.minimum(old - shift, least))
    return Neighbours(new.astype(np.float32), ids)
