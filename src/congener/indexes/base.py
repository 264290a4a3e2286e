"""Index: embeddings -> nearest ids. Integers in, integers out; knows no paths."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
    def add(self, ids: NDArray[np.int64], embeddings: NDArray[np.float32]) -> None:
        """ids: (n,), none of them present; embeddings: (n, d), L2-normalised.

        Raises ValueError when an id is present already, or shapes don't fit.
        """

    @abstractmethod
    def remove(self, ids: NDArray[np.int64]) -> None:
        """Forget these; ids that aren't there are no error."""

    @abstractmethod
    def search(self, queries: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None) -> Neighbours:
        """Return the k nearest of each query by cosine; equal scores in order of id.

        queries: (q, d), L2-normalised; among: the ids to choose from, all by default.
        """
