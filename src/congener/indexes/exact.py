"""Exhaustive search: the oracle that every other index is held against."""

import numpy as np
from numpy.typing import NDArray

from congener.indexes.base import Index, Neighbours

_BLOCK = 2**24  # scores held at once: 64 MiB


class ExactIndex(Index):
    """Compare each query with everything."""

    def __init__(self, dimension: int) -> None:
        """dimension: length of an embedding."""
        self._ids = np.empty(0, np.int64)
        self._embeddings = np.empty((0, dimension), np.float32)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: NDArray[np.int64], embeddings: NDArray[np.float32]) -> None:
        """See `Index.add`."""
        dimension = self._embeddings.shape[1]
        if embeddings.shape != (len(ids), dimension):
            raise ValueError(f"embeddings must be ({len(ids)}, {dimension}): {embeddings.shape}")
        if len(np.unique(ids)) < len(ids) or np.isin(ids, self._ids).any():
            raise ValueError("an id is present already")
        if len(self):
            ids = np.concatenate([self._ids, ids])
            embeddings = np.concatenate([self._embeddings, embeddings])
        order = np.argsort(ids)
        in_order = bool((order[1:] > order[:-1]).all())
        self._ids = ids if in_order else ids[order]
        self._embeddings = embeddings if in_order else embeddings[order]

    def remove(self, ids: NDArray[np.int64]) -> None:
        """See `Index.remove`."""
        kept = ~np.isin(self._ids, ids)
        self._ids, self._embeddings = self._ids[kept], self._embeddings[kept]

    def search(self, queries: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None) -> Neighbours:
        """See `Index.search`."""
        ids, embeddings = self._ids, self._embeddings
        if among is not None:
            chosen = np.isin(ids, among)
            ids, embeddings = ids[chosen], embeddings[chosen]
        k = min(k, len(ids))
        rows = max(1, _BLOCK // max(len(ids), 1))
        found = [_top(queries[start : start + rows] @ embeddings.T, k) for start in range(0, len(queries), rows)]
        scores = np.concatenate([s for s, _ in found]) if found else np.empty((0, k), np.float32)
        columns = np.concatenate([c for _, c in found]) if found else np.empty((0, k), np.int64)
        return Neighbours(scores, ids[columns])


def _top(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the k best scores of each row and their columns; equal scores by column."""
    columns = np.empty((len(scores), k), np.int64)
    for row, columns_of_row in zip(scores, columns, strict=True):
        # the k-th best score as a bar: what reaches it, equals included, is then sorted stably
        bar = np.partition(row, len(row) - k)[len(row) - k] if k else np.inf
        candidates = np.flatnonzero(row >= bar)
        columns_of_row[:] = candidates[np.argsort(-row[candidates], kind="stable")[:k]]
    return np.take_along_axis(scores, columns, axis=1), columns
