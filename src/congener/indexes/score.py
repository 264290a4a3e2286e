"""Score: the cosine of a query and a row, the same to the last digit wherever and however it is computed.

A sum of floats depends on the order in which it is added up, and so on where a pair stands among others, on how many
there are and on the processor. So vectors become whole numbers (26 bits at unit length), whose products add up in
float64 without any rounding: each partial sum is below 2**53, by Cauchy and Schwarz. What is left is one square root
and one division, which IEEE 754 rounds in one way. A score of unit vectors is right to some 2e-8, as float32's is.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from congener.halves import widened
from congener.indexes.base import Vectors

_ONE = 2.0**26
_SPAN = (4 / 9 * _ONE**2, 16 / 9 * _ONE**2)  # squared lengths, from 2/3 to 4/3, at which sums are exact

Doubles = NDArray[np.float64]


class Whole(NamedTuple):
    """Vectors as whole numbers times a power of two each."""

    numbers: Doubles
    """(n, d), whole."""
    scales: Doubles
    """(n,)"""
    lengths: Doubles
    """(n,) of the numbers; 1 for zeros, which are like nothing."""

    @classmethod
    def of(cls, vectors: Vectors) -> Self:
        """Round vectors (n, d), finite and of any length; float16's numbers at unit length lose nothing."""
        if vectors.dtype == np.float16:
            vectors = widened(vectors)
        numbers, scales = np.multiply(vectors, _ONE, dtype=np.float64), np.full(len(vectors), 1 / _ONE)
        np.rint(numbers, out=numbers)
        squares = _squares(numbers)
        odd = np.flatnonzero((squares < _SPAN[0]) | (squares >= _SPAN[1]))
        if len(odd):  # not at unit length: zeros, and what isn't an embedding
            some = vectors[odd].astype(np.float64)
            exponents = np.frexp(np.sqrt(_squares(some)) * 0.75)[1]
            numbers[odd] = np.rint(np.ldexp(some, 26 - exponents[:, None]))
            scales[odd] = np.ldexp(1 / _ONE, exponents)
            squares[odd] = _squares(numbers[odd])
        return cls(numbers, scales, np.sqrt(np.maximum(squares, 1)))

    def take(self, chosen: NDArray[np.intp] | slice) -> "Whole":
        """Return some of the vectors."""
        return Whole(self.numbers[chosen], self.scales[chosen], self.lengths[chosen])


def paired(queries: Whole, rows: Whole) -> NDArray[np.float32]:
    """Return the score (m,) of each query with the row at its place."""
    return _scores(np.einsum("nd,nd->n", queries.numbers, rows.numbers), queries.scales, rows.lengths)


def crossed(queries: Whole, rows: Whole) -> NDArray[np.float32]:
    """Return the scores (q, n) of each query with each row, the same as `paired` gives."""
    return _scores(queries.numbers @ rows.numbers.T, queries.scales[:, None], rows.lengths)


def _scores(products: Doubles, scales: Doubles, lengths: Doubles) -> NDArray[np.float32]:
    products *= scales
    products /= lengths
    products += 0.0  # no zero has a sign
    return products.astype(np.float32)


def _squares(numbers: Doubles) -> Doubles:
    squares: Doubles = np.einsum("nd,nd->n", numbers, numbers)
    return squares
