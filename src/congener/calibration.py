"""Calibration: a raw score to a similarity that people can read, from 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.codes import Array

_BINS = 400  # over the scores from -1 to 1
_NEAREST = 20  # hits of each image that are looked at
_FEWEST = 30  # hits that share the label, below which labels say too little


@dataclass(frozen=True)
class Calibration:
    """A rising curve. `meaning` says of what: "label" or "percentile".

    label: the fraction of hits at this score that share the query's label, where the gallery has labels.
    percentile: the fraction of the gallery's pairs that are less alike than this.
    """

    meaning: str
    scores: NDArray[np.float64]
    similarities: NDArray[np.float64]

    def __call__(self, scores: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Return the similarity, 0 to 1, of scores of any shape."""
        return np.asarray(np.interp(scores, self.scores, self.similarities))

    @classmethod
    def fit(cls, scores: Array, labels: Sequence[str | None]) -> Self:
        """Fit on the scores (n, n) of each of a sample with each, the diagonal left out, and their labels (n)."""
        edges = np.linspace(-1, 1, _BINS + 1)
        names = {label: number for number, label in enumerate(set(labels) - {None})}
        numbers = np.array([names.get(label, -1) for label in labels])
        scores = np.clip(scores, -1, 1)
        np.fill_diagonal(scores, -2)
        known = numbers[numbers >= 0]
        judged = scores[numbers >= 0][:, numbers >= 0]
        shown = max(min(_NEAREST, len(judged) - 1), 0)
        nearest = np.argpartition(-judged, shown, axis=1)[:, :shown] if shown else np.empty((len(judged), 0), np.int64)
        hits = np.take_along_axis(judged, nearest, axis=1)
        right = known[nearest] == known[:, None]
        alike, everything = (np.histogram(chosen, edges)[0] for chosen in (hits[right], hits))
        if _FEWEST <= alike.sum() < everything.sum():
            seen = everything > 0
            middles = (edges[1:] + edges[:-1])[seen] / 2
            return cls("label", middles, rising(alike[seen] / everything[seen], everything[seen]))
        others = scores[scores >= -1]
        below = np.histogram(others, edges)[0].cumsum() / max(len(others), 1)
        return cls("percentile", edges, np.concatenate([[0], below]))

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return all that was fitted, to be kept under this name."""
        return {f"{name}.{self.meaning}": np.stack([self.scores, self.similarities])}

    @classmethod
    def restored(cls, name: str, arrays: dict[str, NDArray[Any]]) -> Self:
        """Return what `arrays` came from."""
        meaning = "label" if f"{name}.label" in arrays else "percentile"
        return cls(meaning, *arrays[f"{name}.{meaning}"])


def rising(values: NDArray[np.floating], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rising sequence nearest to the values (n) in weighted squares: isotonic regression.

    Source: R. E. Barlow et al., "Statistical Inference under Order Restrictions" (1972), pool adjacent violators.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, total, length = value, float(weight), 1
        while blocks and blocks[-1][0] >= mean:
            other, mass, count = blocks.pop()
            mean = (mean * total + other * mass) / (total + mass)
            total, length = total + mass, length + count
        blocks.append((mean, total, length))
    return np.repeat([mean for mean, _, _ in blocks], [length for _, _, length in blocks])
