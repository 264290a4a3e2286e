"""Learn from labels: a linear map, fitted in closed form on a gallery's own labels.

Ridge regression from [centred pooled feature, share * class probabilities] to the labels, one column each; an image's
embedding is its prediction at unit length. Images of one label come to point the same way. Of the network's classes
only those count that the gallery shows; the probabilities are taken among these. The share and the strength of the
regularisation are chosen by leave-one-out, which ridge gives without refitting.

Source: T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning" (2009), sections 3.4.1 and
7.10 (eq. 7.64: the leave-one-out residual is the residual over 1 - h).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.codes import Array, leading_directions, positions, probabilities, scaled, unit
from congener.errors import CongenerError
from congener.metrics import paired_difference, r_precision

STRENGTHS = (0.05, 0.1, 0.2, 0.4)
"""Of the regularisation, to choose from."""
SHARES = (0.0, 0.5, 1.0, 2.0, 3.0)
"""Of the class probabilities beside the pooled feature, to choose from."""

_SHOWN = 0.25  # a class counts when its probabilities sum to this part of the images a label has on average
_DIMENSION = 256  # an embedding is projected to this where there are more labels
_JUDGED = 2000  # images that ask in a judgement, where there are more


@dataclass(frozen=True)
class LearningReport:
    """What was learned, judged by leave-one-out: each image asks, with a map fitted without it."""

    images: int
    """Learned from: those with a label."""
    labels: int
    share: float
    """Of the class probabilities: with the strength, of those tried the pair with the best `after`."""
    strength: float
    """Of the regularisation."""
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
class Inputs:
    """What the regression looks at: features to rows (n, d + kept classes)."""

    mean: Array
    """(d,), of the pooled features at unit length."""
    kept: NDArray[np.int64]
    """The network's classes that count."""
    share: float

    @classmethod
    def fit(cls, features: NDArray[np.floating], logits: Array | None, labels: int, share: float) -> Self:
        """Fit on pooled features (n, d) and logits (n, c) of images with so many different labels."""
        mean = unit(features).mean(axis=0)
        if logits is None or not share:
            return cls(mean, np.empty(0, np.int64), 0.0)
        sums = probabilities(logits).sum(axis=0)
        return cls(mean, np.flatnonzero(sums >= _SHOWN * len(features) / labels), share)

    def __call__(self, features: NDArray[np.floating], logits: Array | None) -> Array:
        """Return the rows of pooled features (n, d) and logits (n, c)."""
        centred = unit(unit(features) - self.mean)
        if logits is None or not len(self.kept):
            return centred
        return np.hstack([centred, np.float32(self.share) * probabilities(logits[:, self.kept])])


@dataclass(frozen=True)
class Adaptation:
    """The map: unit((inputs - offset) @ weights)."""

    inputs: Inputs
    offset: Array
    """The mean of the inputs."""
    weights: Array
    """(inputs, m)."""

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return int(self.weights.shape[1])

    def embed(self, features: NDArray[np.floating], logits: Array | None) -> Array:
        """Return embeddings (n, m) of pooled features (n, d) and logits (n, c)."""
        return unit((self.inputs(features, logits) - self.offset) @ self.weights)

    def parts(self, maps: NDArray[np.floating], logits: Array | None) -> tuple[Array, Array]:
        """Return what embeddings are the sum of: a part of each position (n, h, w, m), and one of the classes (n, m).

        maps (n, d, h, w), whose mean over positions is the pooled feature; logits (n, c). Of the offset, each position
        bears an equal share of what belongs to the pooled feature.
        """
        parts = positions(maps, self.inputs.mean)
        width = parts.shape[-1]
        parts -= self.offset[:width] / np.float32(parts.shape[1] * parts.shape[2])
        classes: Array = self.inputs(maps.mean(axis=(2, 3)), logits)[:, width:] - self.offset[width:]
        return scaled(parts @ self.weights[:width], classes @ self.weights[width:])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that was fitted, to be kept."""
        return {
            "adapt.mean": self.inputs.mean,
            "adapt.kept": self.inputs.kept,
            "adapt.share": np.array([self.inputs.share]),
            "adapt.offset": self.offset,
            "adapt.weights": self.weights,
        }

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Self | None:
        """Return what `arrays` came from, or None where there was none."""
        if "adapt.mean" not in arrays:
            return None
        inputs = Inputs(arrays["adapt.mean"], arrays["adapt.kept"], float(arrays["adapt.share"][0]))
        return cls(inputs, arrays["adapt.offset"], arrays["adapt.weights"])


class Ridge:
    """The regression on one set of labelled images, for every strength at once."""

    def __init__(
        self, features: NDArray[np.floating], logits: Array | None, labels: Sequence[str], share: float
    ) -> None:
        """features (n, d), logits (n, c), labels (n). Raises CongenerError for fewer than two labels."""
        self.labels = sorted(set(labels))
        if len(self.labels) < 2:
            raise CongenerError(
                f"learning needs images of at least two labels, this gallery has {len(self.labels)}: sort them "
                "into folders, one a kind, or give a labels.csv"
            )
        positions = {label: position for position, label in enumerate(self.labels)}
        self.targets = np.array([positions[label] for label in labels])
        self.inputs = Inputs.fit(features, logits, len(self.labels), share)
        self._rows = self.inputs(features, logits)
        self.offset = self._rows.mean(axis=0)
        self._rows -= self.offset
        self._decompose()
        self._share = np.bincount(self.targets).astype(np.float32) / len(labels)
        self._moments = self._sum_by_label(self._scores) - np.outer(self._scores.sum(axis=0), self._share)

    def _decompose(self) -> None:
        """inputs = scores @ axes.T, with orthogonal axes and squared lengths `self._values`."""
        n, width = self._rows.shape
        if n <= width:
            values, vectors = np.linalg.eigh(self._rows @ self._rows.T)
            kept = values > values[-1] * 1e-6
            self._values = values[kept]
            self._scores = vectors[:, kept] * np.sqrt(self._values)
            self._axes = self._rows.T @ vectors[:, kept] / np.sqrt(self._values)
        else:
            values, vectors = np.linalg.eigh(self._rows.T @ self._rows)
            kept = values > values[-1] * 1e-6
            self._values, self._axes = values[kept], vectors[:, kept]
            self._scores = self._rows @ self._axes

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
        left = np.maximum(1 - self.leverage(strength, rows), np.float32(1e-6))
        return np.asarray((self.one_hot(rows) - fitted) / left[:, None], np.float32)

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
        weights: Array = self._axes @ (self._moments / (self._values + strength)[:, None])
        if weights.shape[1] > _DIMENSION:
            weights = weights @ leading_directions(self.predictions(strength), _DIMENSION)
        return Adaptation(self.inputs, self.offset, weights)


def learn(
    features: NDArray[np.floating], logits: Array | None, labels: Sequence[str], embeddings: Array
) -> tuple[Ridge, LearningReport]:
    """Choose share and strength, and compare with the embeddings (n, m) that the same images have without the map.

    features (n, d), logits (n, c), labels (n). Raises CongenerError for fewer than two labels.
    """
    rows = slice(0, _JUDGED)
    best: tuple[float, Ridge, float, NDArray[np.float64]] | None = None
    for share in SHARES if logits is not None else SHARES[:1]:
        ridge = Ridge(features, logits, labels, share)
        for strength in STRENGTHS:
            values = _r_precision(ridge, ridge.scores_without(strength, rows))
            if best is None or values.mean() > best[0]:
                best = float(values.mean()), ridge, strength, values
    assert best is not None
    after, ridge, strength, values = best
    before = _r_precision(ridge, embeddings[rows] @ embeddings.T)
    helps = paired_difference(values, before).low > 0
    count = len(ridge.labels)
    share = ridge.inputs.share
    return ridge, LearningReport(len(ridge), count, share, strength, float(before.mean()), after, kept=helps)


def _r_precision(ridge: Ridge, scores: Array) -> NDArray[np.float64]:
    """Return the R-precision of each of the first images asking, by their scores (m, n) with all.

    Raises CongenerError where no two images share a label.
    """
    asking = np.arange(len(scores))
    scores[asking, asking] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
    relevant = ridge.targets[order] == ridge.targets[: len(scores), None]
    total = relevant.sum(axis=1)
    judged = total > 0
    if not judged.any():
        raise CongenerError("learning needs labels that several images share; here each has its own")
    return r_precision(relevant[judged], total[judged])
