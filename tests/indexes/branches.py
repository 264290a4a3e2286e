"""Every way that a score leaves an index, for the same pairs. As a program: a digest of them all, and the BLAS kernel.

python -m tests.indexes.branches
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from congener.indexes import ApproximateIndex, ExactIndex, Neighbours
from congener.indexes.approximate import build_graph
from congener.indexes.base import Vectors
from congener.indexes.quantise import pack
from tests.indexes.oracle import Floats, Ids, kinds

COUNT, QUERIES, K = 3000, 60, 10
Answer = tuple[str, Ids, Neighbours]
"""Which way; the numbers of the queries, (q,); their answers."""


def embeddings(dtype: type, dimension: int = 200) -> Vectors:
    """Return COUNT embeddings, of which a tenth are copies of others."""
    rows: Vectors = kinds(COUNT, dimension).astype(dtype)
    rows[::10] = rows[1]
    return rows


def answers(rows: Vectors, asked: Floats, folder: Path) -> Iterator[Answer]:
    """Ask for the nearest in every way that there is."""
    ids, all_of_them = np.arange(COUNT), np.arange(len(asked))
    mixed = np.random.default_rng(3).permutation(COUNT)
    index, other = ExactIndex.over(ids, rows), ExactIndex.over(mixed, rows[mixed])
    few = np.where(ids % 3, ids, -1)
    yield "ranking", all_of_them, index.search(asked, COUNT)
    yield "ranking, in another order", all_of_them, other.search(asked, COUNT // 2)
    yield "ranking, some", all_of_them[:3], ExactIndex.over(few, rows).search(asked[:3], COUNT)
    yield "product", all_of_them, index.search(asked, K)
    yield "product, in another order", all_of_them[:40], other.search(asked[:40], K)
    yield "among half", all_of_them, index.search(asked, K, ids[: COUNT // 2])
    yield "among few", all_of_them, index.search(asked, K, mixed[:77])
    yield "bytes", all_of_them[:20], other.search(asked[:20], K)
    yield "part", all_of_them[:5], index.part(1000).search(asked[:5], K)
    for query in range(20):
        one = np.array([query])
        yield "bytes, one", one, index.search(asked[one], K)
        yield "ranking, one", one, index.search(asked[one], COUNT)
        yield "among one", one, index.search(asked[one], K, mixed[query : query + 1])
    later = ExactIndex(rows.shape[1])
    later.add(ids[:2000], rows[:2000])
    later.add(ids[2000:], rows[2000:])
    yield "added", all_of_them[:5], later.search(asked[:5], K)
    packed = pack(rows)
    build_graph(packed[:2500], folder / "graph", threads=1)
    graph = ApproximateIndex.over(ids, rows, packed, folder / "graph")
    yield "graph", all_of_them, graph.search(asked, K)
    yield "graph, one", all_of_them[:1], graph.search(asked[:1], 3)


def main() -> None:
    """Print a digest of all scores, and the kernels of BLAS that made them where that can be told."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (np.float16, np.float32):
            for name, _, found in answers(embeddings(dtype), kinds(QUERIES, 200, seed=5), Path(folder)):
                if not name.startswith("graph"):  # whose proposals may be others
                    digest.update(found.scores.tobytes() + found.ids.tobytes())
    try:
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped, unused-ignore]

        kernels = sorted({each.get("architecture", "") for each in threadpool_info() if each["user_api"] == "blas"})
    except ImportError:
        kernels = []
    print(json.dumps({"digest": digest.hexdigest(), "kernels": kernels}))  # noqa: T201


if __name__ == "__main__":
    main()
