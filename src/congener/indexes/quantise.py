"""Embeddings in a byte a number: half of float16 to read, and what a scan is bound by is reading."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from congener.cores import cores
from congener.indexes.base import Vectors, unit

SCALE = np.dtype("<f4")
"""Of a row's scale, which is in its last bytes."""

STEPS = 127
"""A row's largest number, in codes; -128 stays unused, so that both signs reach equally far."""

_BLOCK = 2**14  # rows that are in float32 at once: 16 MiB at 256 dimensions


def pack(embeddings: Vectors) -> NDArray[np.int8]:
    """Return (n, d + 4) bytes of embeddings (n, d) at length 1: each row's codes, then its scale; see `quantise`."""
    count, dimension = embeddings.shape
    packed = np.empty((count, dimension + SCALE.itemsize), np.int8)

    def fill(rows: slice) -> None:
        packed[rows] = quantise(unit(embeddings[rows]))

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(fill, _slices(count)))
    return packed


def quantise(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return (n, d + 4) bytes of vectors (n, d): each row's codes, then its scale.

    A row is scale * codes, to half a scale in each number; its scale is its own largest number / 127. So rows that
    come later change nothing in those that are there, and the cosine of two rows is that of their codes. A row of
    zeros is all zeros.
    """
    packed = np.empty((len(vectors), vectors.shape[1] + SCALE.itemsize), np.int8)
    codes, scales = unpack(packed)
    scales[:] = np.abs(vectors).max(axis=1, initial=0) / np.float32(STEPS)
    steps = vectors / np.where(scales > 0, scales, np.float32(np.inf))[:, None]
    # a row of numbers so small that their steps are below float32's is zeros, not larger than its largest code
    codes[:] = np.clip(np.rint(steps, out=steps), -STEPS, STEPS, out=steps)
    return packed


def unpack(packed: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the codes (n, d) and the scales (n,) of packed rows (n, d + 4): views, also of a mapped file."""
    scales = packed[:, -SCALE.itemsize :].view(SCALE)
    return packed[:, : -SCALE.itemsize], scales[:, 0]


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))
