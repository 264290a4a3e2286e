"""Codes: features -> embeddings, the vectors that are compared.

What a network says of an image comes as its pooled feature (n, d), its class logits (n, c) and, where asked for,
its last feature map (n, d, h, w). A code makes one vector of unit length of it, so that the inner product of two
is their cosine. `Blend` is the default; it is fitted on a gallery, without labels.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.halves import widened

Array = NDArray[np.float32]

CODES = {
    "pooled": "the pooled feature",
    "gem": "the feature map, pooled by its generalised mean",
    "posterior": "the probabilities of the network's classes",
    "blend": "pooled feature, centred, and class probabilities in the proportion that suits the gallery",
    "flatten": "the whole feature map, position by position",
}
"""Name -> what it is."""

DEFAULT = "blend"
NEED_MAP = frozenset({"gem", "flatten"})
"""Codes that need the feature map: they look at the pixels again."""

FIT_SAMPLE = 4000
"""Images that `Blend` is fitted on, where there are more."""

_WEIGHTS = (0.3, 0.8, 2.0, 5.0, 10.0, 30.0)  # of the class probabilities; the smallest is harmless everywhere
_NEIGHBOURS = (2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 18)  # the k at which reciprocity is looked at
_RECIPROCITY_SAMPLE = 2000
_ROWS = 128  # of a table of all with all that are looked at at once: what is made of them stays in a core's cache
_DIMENSION = 256
_GEM_POWER = 3.0


def unit(vectors: NDArray[np.floating]) -> Array:
    """Return vectors (…, d) at unit length, float32. A vector of zeros stays one: it is like nothing."""
    result = widened(np.asarray(vectors))
    result /= _lengths(result)
    return result


def _lengths(vectors: Array) -> Array:
    """Return what vectors (…, d) are divided by to have unit length, (…, 1)."""
    squares: Array = np.einsum("...i,...i->...", vectors, vectors)[..., None]
    return np.maximum(np.sqrt(squares), np.finfo(np.float32).tiny)


def pooled(features: NDArray[np.floating]) -> Array:
    """Return the pooled features (n, d) at unit length."""
    return unit(features)


def positions(maps: NDArray[np.floating], mean: Array | None = None) -> Array:
    """Return what each position of the maps (n, d, h, w) adds to the pooled features at unit length: (n, h, w, d).

    mean (d,): taken off the whole, an equal share at each position; what is left has unit length again.
    """
    parts: Array = np.moveaxis(np.asarray(maps, np.float32), 1, -1)
    parts = parts / _length(parts)
    if mean is None:
        return parts
    parts -= mean / np.float32(parts.shape[1] * parts.shape[2])
    centred: Array = parts / _length(parts)
    return centred


def _length(parts: Array, rest: Array | None = None) -> Array:
    """Return the lengths (n, 1, 1, 1) of the sums over positions of parts (n, h, w, d), each with its rest (n, d)."""
    whole = parts.sum(axis=(1, 2), dtype=np.float64)
    lengths = np.linalg.norm(whole if rest is None else whole + rest, axis=-1)
    result: Array = np.maximum(lengths, np.finfo(np.float32).tiny).astype(np.float32)[:, None, None, None]
    return result


def scaled(parts: Array, rest: Array) -> tuple[Array, Array]:
    """Return parts (n, h, w, m) and a rest (n, m) at that scale at which their sum has unit length."""
    length = _length(parts, rest)
    return parts / length, rest / length[:, 0, 0]


def probabilities(logits: Array) -> Array:
    """Return the softmax of the logits (n, c)."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def posterior(logits: Array) -> Array:
    """Return the roots of the class probabilities (n, c): their inner product is Bhattacharyya's coefficient."""
    return np.sqrt(probabilities(logits))


def gem(maps: NDArray[np.floating]) -> Array:
    """Return the generalised mean over the positions of the maps (n, d, h, w): (n, d), at unit length.

    Source: F. Radenović et al., "Fine-tuning CNN image retrieval with no human annotation" (PAMI 2019), eq. 3;
    p = 3, between the mean (1) and the maximum (infinity).
    """
    powers = np.maximum(maps, 0, dtype=np.float32) ** _GEM_POWER
    return unit(powers.mean(axis=(2, 3)) ** (1 / _GEM_POWER))


def flatten(maps: NDArray[np.floating]) -> Array:
    """Return every position of the maps (n, d, h, w) in one vector (n, d * h * w): the plainest system's code."""
    return unit(maps.reshape(len(maps), -1))


@dataclass(frozen=True)
class Blend:
    """The default code: unit([unit(unit(pooled) - mean), sqrt(weight) * probabilities]), projected.

    Centring takes out what all images of the gallery share. The probabilities say what the network sees, in so far
    as it is sure; their weight is the one at which the gallery's neighbourhoods are most mutual (`reciprocity`):
    large where the network knows the kinds, small where it doesn't. The projection keeps inner products as well as
    any of its dimension (singular vectors).
    """

    mean: Array
    """(d,), of the pooled features at unit length."""
    weight: float
    """Of the class probabilities; 0 for a network without classes."""
    projection: Array
    """(d + c, m) with m = 256; (d + c, 0) where there is nothing to gain: fewer images, or short features."""

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.projection.shape[1] or len(self.projection)

    @classmethod
    def fit(cls, features: NDArray[np.floating], logits: Array | None) -> Self:
        """Fit on pooled features (n, d) and their logits (n, c); deterministic.

        More images than `FIT_SAMPLE` don't make it better: give a sample.
        """
        whole = unit(features)
        mean = whole.mean(axis=0)
        centred = unit(whole - mean)
        chances = None if logits is None else probabilities(logits)
        weight, cosines = (0.0, None) if chances is None else choose_weight(centred, chances)
        blended = _join(centred, chances, weight)
        if min(blended.shape) <= _DIMENSION:
            return cls(mean, weight, np.empty((blended.shape[1], 0), np.float32))
        return cls(mean, weight, leading_directions(blended, _DIMENSION, cosines))

    def embed(self, features: NDArray[np.floating], logits: Array | None) -> Array:
        """Return embeddings (n, m) of pooled features (n, d) and logits (n, c)."""
        centred = unit(unit(features) - self.mean)
        chances = None if logits is None else probabilities(logits)
        if not self.projection.shape[1]:
            return _join(centred, chances, self.weight)
        if chances is None:
            return unit(centred @ self.projection)
        width = centred.shape[1]  # projected side by side: their length before is of no account
        chances *= np.float32(self.weight**0.5)
        return unit(centred @ self.projection[:width] + chances @ self.projection[width:])

    def parts(self, maps: NDArray[np.floating], logits: Array | None) -> tuple[Array, Array]:
        """Return what embeddings are the sum of: a part of each position (n, h, w, m), and one of the classes (n, m).

        maps (n, d, h, w), whose mean over positions is the pooled feature; logits (n, c).
        """
        parts = positions(maps, self.mean)
        chances = np.empty((len(maps), 0), np.float32) if logits is None else probabilities(logits)
        classes: Array = np.float32(self.weight**0.5) * chances
        width = parts.shape[-1]
        if self.projection.shape[1]:
            return scaled(parts @ self.projection[:width], classes @ self.projection[width:])
        beside = [(0, 0), (0, 0), (0, 0), (0, classes.shape[1])]
        return scaled(np.pad(parts, beside), np.pad(classes, [(0, 0), (width, 0)]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that was fitted, to be kept."""
        return {"mean": self.mean, "weight": np.array([self.weight]), "projection": self.projection}

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Return what `arrays` came from."""
        return cls(arrays["mean"], float(arrays["weight"][0]), arrays["projection"])


def _join(centred: Array, chances: Array | None, weight: float) -> Array:
    """Return unit([centred, sqrt(weight) * chances])."""
    if chances is None:
        return centred
    width = centred.shape[1]
    joined = np.empty((len(centred), width + chances.shape[1]), np.float32)
    joined[:, :width] = centred
    np.multiply(chances, np.float32(weight**0.5), out=joined[:, width:])
    joined /= _lengths(joined)
    return joined


def choose_weight(centred: Array, chances: Array) -> tuple[float, Array]:
    """Return the weight of the class probabilities at which neighbourhoods are most mutual, and the cosines there.

    centred (n, d) at unit length, chances (n, c). No label is looked at. The cosines are those of the blends of the
    first images with each other, (m, m): m = n up to 2,000.
    """
    centred, chances = centred[:_RECIPROCITY_SAMPLE], chances[:_RECIPROCITY_SAMPLE]
    alike, sure = centred @ centred.T, chances @ chances.T
    cosines = np.empty_like(alike)
    found = [reciprocity(_mix(alike, sure, weight, cosines)) for weight in _WEIGHTS]
    best = _WEIGHTS[int(np.argmax(found))]
    return best, _mix(alike, sure, best, cosines)


def _mix(alike: Array, sure: Array, weight: float, cosines: Array) -> Array:
    """Write the cosines (n, n) of blends whose parts' inner products are `alike` and `sure` (n, n); return them."""
    scale = 1 / np.sqrt(alike.diagonal() + weight * sure.diagonal())
    np.multiply(sure, np.float32(weight), out=cosines)
    cosines += alike
    cosines *= scale[:, None]
    cosines *= scale
    return cosines


def reciprocity(scores: Array) -> float:
    """Return the share of k-nearest-neighbour edges that are mutual, less what chance gives, at its best k.

    scores (n, n): how alike each image is to each; the diagonal isn't looked at. Images of one kind are near each
    other both ways; hubs and outliers, which a bad code makes, are near one way only. 0 is chance, 1 all mutual.
    """
    n = len(scores)
    most = min(max(_NEIGHBOURS), n - 1)
    if most < _NEIGHBOURS[0]:
        return 0.0
    nearest = np.concatenate([_nearest(scores, start, most) for start in range(0, n, _ROWS)])
    ranks = np.arange(1, most + 1, dtype=np.int32)
    same = nearest[nearest] == np.arange(n)[:, None, None]  # (image, neighbour, the neighbour's neighbour)
    both = np.maximum(ranks, np.where(same.any(axis=2), same.argmax(axis=2) + 1, n))
    best = 0.0
    for k in _NEIGHBOURS:
        if 2 * k < n or k == _NEIGHBOURS[0]:
            chance = min(k / (n - 1), 0.999)
            best = max(best, (float((both <= k).sum()) / (n * k) - chance) / (1 - chance))
    return best


def _nearest(scores: Array, start: int, count: int) -> NDArray[np.int64]:
    """Return the positions of the highest scores (n, n) but itself of each of some rows, best first: (rows, count)."""
    distances = -scores[start : start + _ROWS]
    rows = np.arange(len(distances))
    distances[rows, start + rows] = np.inf
    nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)


def leading_directions(vectors: Array, count: int, products: Array | None = None) -> Array:
    """Return the leading right singular vectors (d, count) of vectors (n, d), not centred, signs fixed.

    products: the vectors' inner products (n, n), where they are known; else, also if of fewer vectors, not looked at.
    Those beyond the vectors' rank, along which nothing is, may be shorter than 1.

    Source: N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness" (SIAM Review 2011),
    algorithm 4.4 on the products of the fewer: rows or columns. Signs, with a fixed seed, do as well as normal numbers.
    """
    few = len(vectors) < vectors.shape[1]
    if not few:
        products = vectors.T @ vectors
    elif products is None or len(products) < len(vectors):
        products = vectors @ vectors.T
    signs: Array = np.random.default_rng(0).integers(0, 2, (len(products), count + 32)).astype(np.float32) * 2 - 1
    basis = _orthonormal(products @ signs)
    basis = _orthonormal(_orthonormal(products @ basis))
    _, rotation = np.linalg.eigh(basis.T @ (products @ basis))
    directions: Array = basis @ rotation[:, ::-1][:, :count]
    if few:
        directions = unit(directions.T @ vectors).T
    strongest = np.abs(directions).argmax(axis=0)
    result: Array = directions * np.sign(directions[strongest, np.arange(directions.shape[1])])
    return result


def _orthonormal(columns: Array) -> Array:
    """Return a nearly orthonormal basis (d, m) of what the columns (d, m) span; of its own result, a precise one.

    Faster than QR. Source: T. Fukaya et al., "Shifted Cholesky QR for computing the QR factorization of
    ill-conditioned matrices" (SIAM Journal on Scientific Computing, 2020), algorithm 3.1.
    """
    wide = columns.astype(np.float64)
    products = wide.T @ wide
    products += np.eye(len(products)) * (np.trace(products) * 1e-12)
    result: Array = columns @ np.linalg.inv(np.linalg.cholesky(products)).T.astype(np.float32)
    return result
