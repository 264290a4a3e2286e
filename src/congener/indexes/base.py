"""Index: embeddings -> nearest ids. Integers in, integers out; knows no paths."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from congener.halves import widened

Vectors = NDArray[np.float16] | NDArray[np.float32]
"""Embeddings as they are kept."""


class Neighbours(NamedTuple):
    """For each of q queries its nearest ids, best first.

    scores: (q, m) float32, cosine; ids: (q, m) int64; m is k, or fewer where fewer exist.
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]


class Index(ABC):
    """Unit vectors by id."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def add(self, ids: NDArray[np.int64], embeddings: Vectors) -> None:
        """ids: (n,), none of them present or negative; embeddings: (n, d), L2-normalised, float16 or float32.

        An empty index takes them as they are, without a copy; they may be a mapped file, and in any order.
        Raises ValueError when an id is present already, or shapes don't fit.
        """

    @abstractmethod
    def remove(self, ids: NDArray[np.int64]) -> None:
        """Forget these; ids that aren't there are no error."""

    @abstractmethod
    def search(self, queries: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None) -> Neighbours:
        """Return the k nearest of each query by cosine; equal scores in order of id.

        queries: (q, d), L2-normalised; among: the ids to choose from, all by default. A score is computed in
        float32 from the embedding as it was given, and divided by its length, which float16 leaves not quite 1.
        """


def unit(vectors: Vectors) -> NDArray[np.float32]:
    """Return rows (n, d) at length 1; zeros stay. A row comes out the same wherever it stands."""
    x = widened(vectors)
    lengths = np.sqrt(np.einsum("nd,nd->n", x, x))
    x /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return x
