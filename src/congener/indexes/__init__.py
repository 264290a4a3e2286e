"""The table of indexes: a name gives a way to find the nearest embeddings."""

from congener.indexes.approximate import ApproximateIndex
from congener.indexes.base import Index, Neighbours
from congener.indexes.exact import ExactIndex

__all__ = ["INDEXES", "ApproximateIndex", "ExactIndex", "Index", "Neighbours"]

INDEXES: dict[str, type[ExactIndex] | type[ApproximateIndex]] = {"exact": ExactIndex, "approximate": ApproximateIndex}
"""Name -> class; one contract test runs over every entry."""
