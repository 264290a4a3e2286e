"""Judge a gallery: run all queries, compare with the labels, report."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener import codes, metrics
from congener.adapt import learn
from congener.codes import Array, Blend
from congener.cores import cores
from congener.encoders import Encoder
from congener.errors import CongenerError, ImageError, unknown_name
from congener.indexes import ExactIndex, Neighbours
from congener.original import Original, open_source
from congener.rerank import Space, compose
from congener.results import Hit, Results
from congener.truth import Items, Task

DEFAULT_K = (1, 5, 10)
LARGEST_K = 2**63 - 1

_BLOCK = 2**23  # scores held at once
_CURVE = 50  # ranks of the curves
_CONFUSIONS = 20  # pairs of labels


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one query."""

    label: str
    average_precision: float
    precision: float
    """At the report's largest k."""
    results: Results
    """Its hits, best first, as many as the report's largest k; `results.query` is its file's path."""
    content: bytes = b""
    """The SHA-256 of the query's file as it was indexed; empty for a picture from elsewhere."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """The means over the queries of one label."""

    label: str
    name: str
    """To show."""
    queries: int
    precision: float
    """At the report's largest k."""
    average_precision: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often images of one label are found for queries of another."""

    label: str
    """Of the queries."""
    found: str
    """Of the hits."""
    share: float
    """Of the hits at the report's largest k, over all queries of that label: 0 to 1."""


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation. Fractions from 0 to 1, means over all queries, keyed by k where they are at k."""

    folder: str
    queries: int
    """Queries judged: those with a label that occurs in the gallery."""
    unjudged: int
    """Queries without a relevant image in the gallery; no figure counts them."""
    gallery: int
    """Images searched."""
    precision: dict[int, float]
    recall: dict[int, float]
    hit: dict[int, float]
    map: float
    map_at: dict[int, float]
    ndcg: dict[int, float]
    r_precision: float
    ci95: dict[str, tuple[float, float]]
    """95 % bootstrap intervals over the queries: "map", "r_precision", "precision@10", "recall@10", …"""
    curve: tuple[tuple[int, float, float], ...]
    """k, mean precision@k, mean recall@k for k = 1, 2, 3, … as far as it is worth a look."""
    per_class: tuple[ClassFigures, ...]
    """Worst average precision first."""
    confusions: tuple[Confusion, ...]
    """The worst pairs of different labels, largest share first."""
    outcomes: tuple[Outcome, ...]
    """Of every query, worst average precision first."""
    encoder: str
    code: str
    rerank: tuple[str, ...]
    adapted: bool
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON; the keys k are strings there."""
        by_k = {
            name: {str(k): value for k, value in getattr(self, name).items()}
            for name in ("precision", "recall", "hit", "map_at", "ndcg")
        }
        classes = [
            {
                "label": each.label,
                "name": each.name,
                "queries": each.queries,
                "precision": each.precision,
                "map": each.average_precision,
            }
            for each in self.per_class
        ]
        plain = (
            "folder",
            "queries",
            "unjudged",
            "gallery",
            "map",
            "r_precision",
            "encoder",
            "code",
            "adapted",
            "seconds",
        )
        worst = [{"query": o.results.query, "label": o.label, "ap": o.average_precision} for o in self.outcomes[:10]]
        return {
            **{name: getattr(self, name) for name in plain},
            **by_k,
            "rerank": list(self.rerank),
            "ci95": {name: list(interval) for name, interval in self.ci95.items()},
            "per_class": classes,
            "worst": worst,
        }


@dataclass(frozen=True)
class Evaluation:
    """A report, and the figures of each query that it is the mean of."""

    report: Report
    values: dict[str, NDArray[np.float64]]
    """Measure, such as "map" or "precision@10", to the values of the queries judged (q,), in the task's order."""


def evaluate(
    task: Task,
    encoder: Encoder,
    *,
    k: Sequence[int] = DEFAULT_K,
    code: str = codes.DEFAULT,
    rerank: Sequence[str] = (),
    adapted: bool = False,
) -> Evaluation:
    """Put all queries of a task and judge the answers.

    k: the cuts to judge at. code: one of `congener.codes.CODES`. rerank: as in `congener.rerank`. adapted: use a map
    learned from the labels of the gallery part; where each query is an image of the gallery, a map that was fitted
    without it. Raises CongenerError for unknown names, and where nothing can be judged.
    """
    started = time.perf_counter()
    check(k, code, rerank, adapted)
    if adapted and rerank and task.leaves_one_out:
        raise CongenerError("leaving one out, what is learned from labels can't be judged re-ranked: use --split")
    reranker = compose(rerank)
    judged = _Judged(task, sorted(set(k)))
    rank = _adapted_ranker(task) if adapted else _ranker(task, encoder, code)
    for rows, answer in rank(reranker):
        judged.add(rows, answer)
    report = judged.report(encoder.identity.name, code, tuple(rerank), adapted, time.perf_counter() - started)
    return Evaluation(report, judged.values)


def check(k: Sequence[int], code: str, rerank: Sequence[str], adapted: bool) -> None:
    """Raise CongenerError for what `evaluate` would refuse whatever the task, before the work of making one."""
    if min(k, default=0) < 1:
        raise CongenerError(f"k must be at least 1, not {min(k, default=0)}")
    if max(k) > LARGEST_K:
        raise CongenerError(f"k must be at most {LARGEST_K}")
    if code not in codes.CODES:
        raise CongenerError(unknown_name("code", code, list(codes.CODES)))
    if adapted and code != codes.DEFAULT:
        raise CongenerError(f"what is learned from labels takes the place of the code: leave out --code {code}")
    compose(rerank)


# ranking


_Rank = Callable[[Callable[..., Any]], Iterator[tuple[slice, Neighbours]]]
"""A re-ranker to blocks of queries and their answers, ids being rows of the gallery part."""


def _ranker(task: Task, encoder: Encoder, code: str) -> _Rank:
    embeddings = _embed_pair(task, encoder, code)
    return lambda reranker: _rank(task, *embeddings, reranker)


def _embed_pair(task: Task, encoder: Encoder, code: str) -> tuple[Array, Array]:
    """Return the embeddings of queries and gallery."""
    embed = _embedder(task, encoder, code)
    gallery = embed(task.gallery)
    return gallery[task.own_rows()] if task.leaves_one_out else embed(task.queries), gallery


def _embedder(task: Task, encoder: Encoder, code: str) -> Callable[[Items], Array]:
    if code in codes.NEED_MAP:
        return lambda items: embed_maps(items, encoder, code)
    if code == "pooled":
        return lambda items: codes.pooled(items.pooled)
    if code == "posterior":
        return lambda items: codes.posterior(_logits(items, code))
    blend = task.blend or fit_blend(task.gallery)
    return lambda items: blend.embed(items.pooled, items.logits)


def _logits(items: Items, code: str) -> Array:
    if items.logits is None:
        raise CongenerError(f"the code {code} needs class probabilities, which this network doesn't give")
    return items.logits


def fit_blend(items: Items) -> Blend:
    """Return the default code fitted on a gallery part alone."""
    _, first = np.unique(items.contents, return_index=True)  # copies count once, as in `Store.sample`
    order = first[: codes.FIT_SAMPLE]
    return Blend.fit(items.pooled[order], None if items.logits is None else items.logits[order])


def embed_maps(items: Items, encoder: Encoder, code: str) -> Array:
    """Return the embeddings (n, m) of a code that needs the feature map: looks at the pixels again."""
    make = codes.gem if code == "gem" else codes.flatten

    def embed(file: Path, content: bytes) -> Array:
        source = Original(str(file), _hash(content)) if content else file
        try:
            pixels = encoder.preprocess(open_source(source, encoder.resized_side))
        except ImageError as error:
            raise CongenerError(f"{file}: {error}") from None
        return make(encoder.feature_map(pixels[None]))

    with ThreadPoolExecutor(cores()) as pool:
        embeddings: list[Array] = list(pool.map(embed, items.files, items.contents))
    return np.concatenate(embeddings)


def _hash(hex: bytes) -> bytes:
    """Return a hash of `Items.contents` as bytes; none where there is none."""
    return bytes.fromhex(hex.decode())


def _rank(
    task: Task, queries: Array, gallery: Array, reranker: Callable[..., Any]
) -> Iterator[tuple[slice, Neighbours]]:
    index = ExactIndex(gallery.shape[1])
    index.add(np.arange(len(gallery)), gallery)
    own = task.own_rows()
    depth = len(gallery) - int((own >= 0).any())
    for rows in _blocks(len(queries), len(gallery)):
        space = Space(index.search, lambda ids: gallery[ids], own[rows])
        first = index.search(queries[rows], len(gallery))
        answer = _without(first, own[rows], depth)
        yield rows, reranker(queries[rows], answer, space)[1]


def _adapted_ranker(task: Task) -> _Rank:
    known = [row for row, label in enumerate(task.gallery.labels) if label is not None]
    learned = task.gallery.chosen(known)
    blend = task.blend or fit_blend(task.gallery)
    embedded = blend.embed(learned.pooled, learned.logits)
    labels = [label for label in learned.labels if label is not None]
    ridge, report = learn(learned.pooled, learned.logits, labels, embedded)
    strength = report.strength
    if not task.leaves_one_out:
        adaptation = ridge.adaptation(strength)
        queries, gallery = (adaptation.embed(items.pooled, items.logits) for items in (task.queries, task.gallery))
        return lambda reranker: _rank(task, queries, gallery, reranker)
    if len(learned) < len(task.gallery):
        raise CongenerError("leaving one out, what is learned from labels needs a label for every image: use --split")

    def rank(_: Callable[..., Any]) -> Iterator[tuple[slice, Neighbours]]:
        own = task.own_rows()
        for rows in _blocks(len(task.queries), len(task.gallery)):
            scores = ridge.scores_without(strength, rows)
            order = np.argsort(-scores, axis=1, kind="stable")
            answer = Neighbours(np.take_along_axis(scores, order, axis=1), order)
            yield rows, _without(answer, own[rows], len(task.gallery) - 1)

    return rank


def _blocks(queries: int, images: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(images, 1))
    return (slice(start, min(start + step, queries)) for start in range(0, queries, step))


def _without(answer: Neighbours, own: NDArray[np.int64], depth: int) -> Neighbours:
    """Return an answer without each query's own row, cut to a depth."""
    kept = np.argsort(answer.ids == own[:, None], axis=1, kind="stable")[:, :depth]
    return Neighbours(*(np.take_along_axis(part, kept, axis=1) for part in answer))  # type: ignore[arg-type]


# counting


class _Judged:
    """The figures of the queries so far."""

    def __init__(self, task: Task, k: list[int]) -> None:
        self._task = task
        self._k = k
        numbers = {
            label: number for number, label in enumerate(dict.fromkeys(task.gallery.labels)) if label is not None
        }
        self._gallery = np.array([numbers.get(label or "", -1) for label in task.gallery.labels])
        self._queries = np.array([numbers.get(label or "", -2) for label in task.queries.labels])
        counts = Counter(self._gallery.tolist())
        own = task.own_rows() >= 0
        totals = np.array([counts.get(number, 0) for number in self._queries.tolist()]) - own
        self._total = np.where(self._queries >= 0, totals, 0)
        self._parts: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        self._curve: list[NDArray[np.float64]] = []
        self._outcomes: list[Outcome] = []
        self._found: Counter[tuple[str, str]] = Counter()
        if not (self._total > 0).any():
            raise CongenerError("no query has a label that another image of the gallery has: nothing can be judged")

    @property
    def values(self) -> dict[str, NDArray[np.float64]]:
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}

    def add(self, rows: slice, answer: Neighbours) -> None:
        judged = self._total[rows] > 0
        if not judged.any():
            return
        ids, total = answer.ids[judged], self._total[rows][judged]
        relevant = self._gallery[ids] == self._queries[rows][judged][:, None]
        values = {
            "map": metrics.average_precision(relevant, total),
            "r_precision": metrics.r_precision(relevant, total),
        }
        for k in self._k:
            values |= {
                f"precision@{k}": metrics.precision_at(relevant, k),
                f"recall@{k}": metrics.recall_at(relevant, total, k),
                f"hit@{k}": metrics.hit_at(relevant, k),
                f"map@{k}": metrics.average_precision(relevant, total, k),
                f"ndcg@{k}": metrics.ndcg_at(relevant, total, k),
            }
        for name, value in values.items():
            self._parts[name].append(value)
        hits = relevant[:, :_CURVE].cumsum(axis=1)
        ranks = np.arange(1, hits.shape[1] + 1)
        self._curve.append(np.stack([hits / ranks, hits / total[:, None]]))
        chosen = np.arange(rows.start, rows.stop)[judged]
        shown = Neighbours(answer.scores[judged][:, : self._k[-1]], ids[:, : self._k[-1]])
        for number, query in enumerate(chosen.tolist()):
            self._note(query, shown.scores[number], shown.ids[number], values, number)

    def _note(
        self, query: int, scores: NDArray[np.float32], ids: NDArray[np.int64], values: dict[str, Any], number: int
    ) -> None:
        """Keep what became of a query."""
        queries, gallery = self._task.queries, self._task.gallery
        label = queries.labels[query] or ""
        hits = []
        for rank, (score, row) in enumerate(zip(scores.tolist(), ids.tolist(), strict=True), 1):
            found = gallery.labels[row]
            name = None if found is None else self._task.names.get(found, found)
            similarity = min(max(score, 0.0), 1.0)  # not calibrated: what is judged here is the order
            id, path = int(gallery.ids[row]), gallery.paths[row]
            content = _hash(gallery.contents[row])
            hits.append(Hit(rank, score, similarity, id, path, found, name, self._task.folder, content))
            if found is not None:
                self._found[label, found] += 1
        results = Results(str(queries.files[query]), hits)
        precision = float(values[f"precision@{self._k[-1]}"][number])
        content = _hash(queries.contents[query])
        self._outcomes.append(Outcome(label, float(values["map"][number]), precision, results, content))

    def report(self, encoder: str, code: str, rerank: tuple[str, ...], adapted: bool, seconds: float) -> Report:
        values = self.values
        means = {name: float(value.mean()) for name, value in values.items()}
        curve = np.concatenate(self._curve, axis=1).mean(axis=1)
        outcomes = sorted(self._outcomes, key=lambda outcome: (outcome.average_precision, outcome.results.query))
        return Report(
            folder=str(self._task.folder),
            queries=len(outcomes),
            unjudged=len(self._task.queries) - len(outcomes),
            gallery=len(self._task.gallery),
            precision={k: means[f"precision@{k}"] for k in self._k},
            recall={k: means[f"recall@{k}"] for k in self._k},
            hit={k: means[f"hit@{k}"] for k in self._k},
            map=means["map"],
            map_at={k: means[f"map@{k}"] for k in self._k},
            ndcg={k: means[f"ndcg@{k}"] for k in self._k},
            r_precision=means["r_precision"],
            ci95={name: metrics.bootstrap_interval(value) for name, value in values.items()},
            curve=tuple((k, float(p), float(r)) for k, (p, r) in enumerate(curve.T.tolist(), 1)),
            per_class=self._per_class(outcomes),
            confusions=self._confusions(outcomes),
            outcomes=tuple(outcomes),
            encoder=encoder,
            code="adapted" if adapted else code,
            rerank=rerank,
            adapted=adapted,
            seconds=seconds,
        )

    def _per_class(self, outcomes: Sequence[Outcome]) -> tuple[ClassFigures, ...]:
        by_label: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            by_label[outcome.label].append(outcome)
        figures = [
            ClassFigures(
                label,
                self._task.names.get(label, label),
                len(own),
                sum(outcome.precision for outcome in own) / len(own),
                sum(outcome.average_precision for outcome in own) / len(own),
            )
            for label, own in by_label.items()
        ]
        return tuple(sorted(figures, key=lambda each: (each.average_precision, each.label)))

    def _confusions(self, outcomes: Sequence[Outcome]) -> tuple[Confusion, ...]:
        queries = Counter(outcome.label for outcome in outcomes)
        pairs = [
            Confusion(label, found, count / (queries[label] * self._k[-1]))
            for (label, found), count in self._found.items()
            if label != found
        ]
        return tuple(sorted(pairs, key=lambda pair: (-pair.share, pair.label, pair.found))[:_CONFUSIONS])
