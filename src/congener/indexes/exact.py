"""Exhaustive search: the oracle that every other index is held against."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from congener.indexes.base import Index, Neighbours, Vectors
from congener.indexes.quantise import SCALE, pack
from congener.indexes.scan import Codes, by_bytes, by_product, by_ranking
from congener.indexes.shortlist import Rows

_FEW = 32  # queries up to which reading bytes is faster than a matrix product, for which all becomes float32 first
_SMALL = 2**10  # rows below which there's nothing to gain by bytes
_SHARE = 16  # of the rows, 1 / this: as many are gathered faster than the others are passed over


class ExactIndex(Index):
    """Compare each query with everything.

    Most rows are ruled out by bounds of their score, which hold for certain and are cheap; those that may be among
    the k best are scored from their embeddings. So what comes back is as if each row had been.
    """

    rows: Rows
    """What is searched, holes included."""
    _packed: NDArray[np.int8] | None
    _codes: Codes | None
    _order: NDArray[np.intp] | None  # the rows by id

    def __init__(self, dimension: int) -> None:
        """dimension: length of an embedding."""
        self._hold(Rows(np.empty(0, np.int64), np.empty((0, dimension), np.float32)), None)

    @classmethod
    def over(cls, ids: NDArray[np.int64], embeddings: Vectors, packed: NDArray[np.int8] | None = None) -> Self:
        """Return an index of rows that stay where they are, such as in mapped files.

        ids: (n,), unique, -1 for a row that isn't there any more; embeddings: (n, d); packed: (n, d + 4) what
        `pack` makes of them, made when first needed by default. Raises ValueError when the shapes don't fit.
        """
        index = cls(embeddings.shape[1])
        index._check(ids, embeddings)
        shape = len(ids), embeddings.shape[1] + SCALE.itemsize
        if packed is not None and packed.shape != shape:
            raise ValueError(f"packed must be {shape}: {packed.shape}")
        index._hold(Rows(ids, embeddings), packed)
        return index

    def __len__(self) -> int:
        return self._count

    def add(self, ids: NDArray[np.int64], embeddings: Vectors) -> None:
        """See `Index.add`."""
        self._check(ids, embeddings)
        if len(np.unique(ids)) < len(ids) or len(self._rows_of(ids)):
            raise ValueError("an id is present already")
        if (ids < 0).any():
            raise ValueError("an id is negative")
        if not len(self.rows.ids):
            self._hold(Rows(ids, embeddings), None)
            return
        packed = None if self._packed is None else np.concatenate([self._packed, pack(embeddings)])
        self._hold(Rows(np.append(self.rows.ids, ids), np.concatenate([self.rows.embeddings, embeddings])), packed)

    def remove(self, ids: NDArray[np.int64]) -> None:
        """See `Index.remove`. The rows stay as holes, which is why this costs next to nothing."""
        left = self.rows.ids.copy()
        left[self._rows_of(ids)] = -1
        self._hold(self.rows._replace(ids=left), self._packed)

    def search(self, queries: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None) -> Neighbours:
        """See `Index.search`."""
        hidden, count = self._holes, self._count
        if among is not None:
            chosen = self._rows_of(among)
            count = len(chosen)
            if count < max(len(self.rows.ids) // _SHARE, _SMALL):
                return ExactIndex.over(self.rows.ids[chosen], self.rows.embeddings[chosen]).search(queries, k)
            hidden = np.ones(len(self.rows.ids), np.bool_)
            hidden[chosen] = False
        k = min(k, count)
        if not k or not len(queries):
            return Neighbours(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64))
        if k > count // 4:
            return by_ranking(self.rows, hidden, queries, k)
        if len(queries) <= _FEW and count >= _SMALL:
            return by_bytes(self.rows, self._coded(), hidden, queries, k)
        return by_product(self.rows, hidden, queries, k)

    def part(self, start: int) -> "ExactIndex":
        """Return an index of the rows from one on, without a copy."""
        packed = None if self._packed is None else self._packed[start:]
        return ExactIndex.over(self.rows.ids[start:], self.rows.embeddings[start:], packed)

    def _rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the rows of those of the ids that are present, in no order, each once."""
        if self._order is None:
            self._order = np.argsort(self.rows.ids)
        wanted = np.unique(ids[ids >= 0])
        at = np.searchsorted(self.rows.ids, wanted, sorter=self._order)
        rows: NDArray[np.intp] = self._order[at[at < len(self._order)]]
        present: NDArray[np.bool_] = self.rows.ids[rows] == wanted[: len(rows)]
        return rows[present]

    def _coded(self) -> Codes:
        if self._codes is None:
            if self._packed is None:
                self._packed = pack(self.rows.embeddings)
            self._codes = Codes.of(self._packed)
        return self._codes

    def _hold(self, rows: Rows, packed: NDArray[np.int8] | None) -> None:
        """Hold these rows; what is derived from them is made when it's first needed."""
        holes = rows.ids < 0
        self.rows, self._packed = rows, packed
        self._count = len(holes) - int(np.count_nonzero(holes))
        self._holes = holes if self._count < len(holes) else None
        self._order = self._codes = None

    def _check(self, ids: NDArray[np.int64], embeddings: Vectors) -> None:
        shape = len(ids), self.rows.embeddings.shape[1]
        if embeddings.shape != shape:
            raise ValueError(f"embeddings must be {shape}: {embeddings.shape}")
