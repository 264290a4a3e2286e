"""What the indexes are held against: every score, sorted."""

import numpy as np
from numpy.typing import NDArray

from congener.indexes import Neighbours
from congener.indexes.base import Vectors

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


def kinds(count: int, dimension: int = 24, seed: int = 0) -> Floats:
    """Return unit vectors (count, dimension) in 20 clusters: many are nearly as near as the nearest."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((20, dimension))
    return unit(centres[generator.integers(0, 20, count)] + 0.3 * generator.standard_normal((count, dimension)))


def coarse(count: int, seed: int = 0) -> Floats:
    """Return unit vectors (count, 4) whose scores are exact in float32 in any order of adding, and often equal."""
    corners = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 4), axis=-1).reshape(-1, 4)
    some = np.concatenate([corners, np.eye(4), -np.eye(4)])
    return some[np.random.default_rng(seed).integers(0, len(some), count)].astype(np.float32)


def unit(vectors: NDArray[np.float64]) -> Floats:
    """Scale rows to length 1."""
    scaled: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def brute_force(ids: Ids, embeddings: Vectors, queries: Floats, k: int) -> Neighbours:
    """Sort every cosine (in float64, then float32), equal ones by id; ids below 0 don't count."""
    there = ids >= 0
    ids, embeddings = ids[there], embeddings[there]
    rows = embeddings.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    scores = (queries.astype(np.float64) @ rows.T).astype(np.float32)
    order = np.array([np.lexsort((ids, -row))[:k] for row in scores]).reshape(len(queries), -1)
    return Neighbours(np.take_along_axis(scores, order, axis=1), ids[order])


def agree(found: Neighbours, expected: Neighbours, least: float = 0.95) -> None:
    """Fail unless ids and scores are the same, but for float32's rounding, which may swap what is that close.

    least: the share of the ids that are to be told apart.
    """
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert found.scores.dtype == np.float32
    assert found.ids.dtype == np.int64
    assert all(len(set(row)) == len(row) for row in found.ids.tolist())
    apart = np.pad(np.diff(expected.scores, axis=1) < -1e-6, ((0, 0), (1, 1)), constant_values=True)
    alone = apart[:, :-1] & apart[:, 1:] if expected.ids.size else np.ones(expected.ids.shape, np.bool_)
    np.testing.assert_array_equal(found.ids[alone], expected.ids[alone])
    assert alone.mean() > least if alone.size else True
