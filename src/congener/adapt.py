"""Learn from labels: a linear map, fitted in closed form on a gallery's own labels.

Ridge regression from [centred pooled feature, 2 x class probabilities] to the labels (one column each); an image's
embedding is its prediction at unit length. Images of one label come to point the same way. The strength of the
regularisation is chosen by leave-one-out, which ridge gives without refitting.

Source: T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning" (2009), sections 3.4.1 and
7.10 (eq. 7.64: the leave-one-out residual is the residual over 1 - h).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.codes import Array, leading_directions, probabilities, unit
from congener.errors import CongenerError
from congener.metrics import r_precision

STRENGTHS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the regularisation, to choose from."""

_PROBABILITIES = 2.0  # their share beside the pooled feature
_DIMENSION = 256  # an embedding is projected to this where there are more labels
_JUDGED = 2000  # images that ask in a judgement, where there are more


@dataclass(frozen=True)
class LearningReport:
    """What was learned, judged by leave-one-out: each image asks, with a map fitted without it."""

    images: int
    """Learned from: those with a label."""
    labels: int
    strength: float
    """Of the regularisation: of those tried, the one with the best `after`."""
    before: float
    """Mean R-precision without the map, 0 to 1."""
    after: float
    """Mean R-precision with it."""
    kept: bool
    """Whether the map is in use now."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Adaptation:
    """The map: unit((inputs - offset) @ weights)."""

    mean: Array
    """(d,), of the pooled features at unit length."""
    offset: Array
    """(d + c,), the mean of the inputs."""
    weights: Array
    """(d + c, m)."""
    strength: float

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return int(self.weights.shape[1])

    def embed(self, features: NDArray[np.floating], logits: Array | None) -> Array:
        """Return embeddings (n, m) of pooled features (n, d) and logits (n, c)."""
        return unit((inputs(features, logits, self.mean) - self.offset) @ self.weights)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that was fitted, to be kept."""
        return {
            "adapt.mean": self.mean,
            "adapt.offset": self.offset,
            "adapt.weights": self.weights,
            "adapt.strength": np.array([self.strength]),
        }

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Self | None:
        """Return what `arrays` came from, or None where there was none."""
        if "adapt.mean" not in arrays:
            return None
        mean, offset, weights = (arrays[f"adapt.{name}"] for name in ("mean", "offset", "weights"))
        return cls(mean, offset, weights, float(arrays["adapt.strength"][0]))


def inputs(features: NDArray[np.floating], logits: Array | None, mean: Array) -> Array:
    """Return what the regression looks at: (n, d + c)."""
    centred = unit(unit(features) - mean)
    if logits is None:
        return centred
    return np.hstack([centred, np.float32(_PROBABILITIES) * probabilities(logits)])


class Ridge:
    """The regression on one set of labelled images, for every strength at once."""

    def __init__(self, features: NDArray[np.floating], logits: Array | None, labels: Sequence[str]) -> None:
        """features (n, d), logits (n, c), labels (n). Raises CongenerError for fewer than two labels."""
        self.labels = sorted(set(labels))
        if len(self.labels) < 2:
            raise CongenerError(
                f"learning needs images of at least two labels, this gallery has {len(self.labels)}: sort them "
                "into folders, one a kind, or give a labels.csv"
            )
        positions = {label: position for position, label in enumerate(self.labels)}
        self.targets = np.array([positions[label] for label in labels])
        self.mean = unit(features).mean(axis=0)
        self._inputs = inputs(features, logits, self.mean)
        self.offset = self._inputs.mean(axis=0)
        self._inputs -= self.offset
        self._decompose()
        self._share = np.bincount(self.targets).astype(np.float32) / len(labels)
        self._moments = self._sum_by_label(self._scores) - np.outer(self._scores.sum(axis=0), self._share)

    def _decompose(self) -> None:
        """inputs = scores @ axes.T, with orthogonal axes and squared lengths `self._values`."""
        n, width = self._inputs.shape
        if n <= width:
            values, vectors = np.linalg.eigh(self._inputs @ self._inputs.T)
            kept = values > values[-1] * 1e-6
            self._values = values[kept]
            self._scores = vectors[:, kept] * np.sqrt(self._values)
            self._axes = self._inputs.T @ vectors[:, kept] / np.sqrt(self._values)
        else:
            values, vectors = np.linalg.eigh(self._inputs.T @ self._inputs)
            kept = values > values[-1] * 1e-6
            self._values, self._axes = values[kept], vectors[:, kept]
            self._scores = self._inputs @ self._axes

    def _sum_by_label(self, rows: Array) -> Array:
        """Return the sums (r, labels) of the rows (n, r) of each label."""
        sums = np.zeros((len(self.labels), rows.shape[1]), np.float32)
        np.add.at(sums, self.targets, rows)
        return sums.T

    def __len__(self) -> int:
        return len(self.targets)

    def one_hot(self, rows: slice) -> Array:
        """Return the labels of some images as columns: (m, labels)."""
        columns = np.zeros((len(self.targets[rows]), len(self.labels)), np.float32)
        columns[np.arange(len(columns)), self.targets[rows]] = 1
        return columns

    def predictions(self, strength: float, rows: slice = slice(None)) -> Array:
        """Return what is predicted for images that were fitted on, without the labels' shares: (m, labels)."""
        result: Array = self._scores[rows] @ (self._moments / (self._values + strength)[:, None])
        return result

    def leverage(self, strength: float, rows: slice = slice(None)) -> Array:
        """Return each image's weight in its own prediction, h (m,), the intercept's 1 / n included."""
        squares = self._scores[rows] ** 2 / (self._values + strength)
        result: Array = squares.sum(axis=1) + np.float32(1 / len(self))
        return result

    def residuals_without(self, strength: float, rows: slice) -> Array:
        """Return label minus prediction, each image predicted by a fit without it: (m, labels)."""
        fitted = self.predictions(strength, rows) + self._share
        left = np.maximum(1 - self.leverage(strength, rows), 1e-6)
        result: Array = (self.one_hot(rows) - fitted) / left[:, None]
        return result

    def scores_without(self, strength: float, rows: slice) -> Array:
        """Return the cosines of some images with all, from a fit without the image that asks: (m, n).

        Exact, for every one of them as if fitted anew on the others: with H the hat matrix and r_i the
        leave-one-out residual of image i, the prediction of image j without i is that with i less H_ji r_i.
        """
        n, share = len(self), self._share
        everyone = self.predictions(strength) + share
        residual = self.residuals_without(strength, rows)
        labels = self.one_hot(rows)
        share_without = (n * share - labels) / np.float32(n - 1)
        query = labels - residual - share_without
        hat = self._scores[rows] @ (self._scores / (self._values + strength)).T + np.float32(1 / n)
        # prediction of j without i, less the shares without i: everyone[j] - hat[i, j] residual[i] - share_without[i]
        shift = np.einsum("il,il->i", share_without, query)[:, None]
        inner = query @ everyone.T - hat * np.einsum("il,il->i", residual, query)[:, None] - shift
        square = (
            (everyone**2).sum(axis=1)[None]
            + hat**2 * (residual**2).sum(axis=1)[:, None]
            + (share_without**2).sum(axis=1)[:, None]
            - 2 * hat * (residual @ everyone.T)
            - 2 * (share_without @ everyone.T)
            + 2 * hat * np.einsum("il,il->i", residual, share_without)[:, None]
        )
        lengths = np.sqrt(np.maximum(square, 1e-12)) * np.maximum(np.linalg.norm(query, axis=1), 1e-6)[:, None]
        result: Array = inner / lengths
        return result

    def adaptation(self, strength: float) -> Adaptation:
        """Return the map at this strength."""
        weights = self._axes @ (self._moments / (self._values + strength)[:, None])
        if weights.shape[1] > _DIMENSION:
            weights = weights @ leading_directions(self.predictions(strength), _DIMENSION)
        return Adaptation(self.mean, self.offset, weights.astype(np.float32), strength)


def judge(ridge: Ridge, embeddings: Array) -> LearningReport:
    """Choose the strength, and compare with the embeddings (n, m) that the same images have without the map."""
    rows = slice(0, _JUDGED)
    before = _mean_r_precision(ridge, embeddings[rows] @ embeddings.T)
    after = {strength: _mean_r_precision(ridge, ridge.scores_without(strength, rows)) for strength in STRENGTHS}
    best = max(STRENGTHS, key=lambda strength: after[strength])
    return LearningReport(len(ridge), len(ridge.labels), best, before, after[best], kept=after[best] > before)


def _mean_r_precision(ridge: Ridge, scores: Array) -> float:
    """Return the mean R-precision of the first images asking, by their scores (m, n) with all."""
    asking = np.arange(len(scores))
    scores[asking, asking] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
    relevant = ridge.targets[order] == ridge.targets[: len(scores), None]
    total = relevant.sum(axis=1)
    judged = total > 0
    if not judged.any():
        return 0.0
    return float(r_precision(relevant[judged], total[judged]).mean())
