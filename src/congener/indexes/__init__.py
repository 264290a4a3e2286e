"""The table of indexes: a name gives a way to find the nearest embeddings."""

from congener.indexes.base import Index, Neighbours
from congener.indexes.exact import ExactIndex

__all__ = ["INDEXES", "ExactIndex", "Index", "Neighbours"]

INDEXES: dict[str, type[ExactIndex]] = {"exact": ExactIndex}
"""Name -> class; one contract test runs over every entry."""
