"""Codes: features -> embeddings, the vectors that are compared."""

import numpy as np
from numpy.typing import NDArray


def pooled(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the pooled features at unit length, so that an inner product is a cosine.

    features: (n, d). Returns (n, d) float32. A vector of zeros stays one: it is like nothing.
    """
    embeddings = np.array(features, np.float32)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings /= np.maximum(lengths, np.finfo(np.float32).tiny)
    return embeddings
