"""Search for millions: a walk along a graph of neighbours instead of a look at everything.

The graph (HNSW, by usearch) is made of the same bytes that the exact index scans, and proposes; what it proposes is
scored from the embeddings. How much of the exact answer it finds is measured, not promised: see `measure`.
"""

import errno
import math
import mmap
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from congener.cores import cores
from congener.disk import sync, sync_folder
from congener.errors import GalleryError
from congener.indexes.base import Index, Neighbours, Vectors
from congener.indexes.exact import ExactIndex
from congener.indexes.quantise import STEPS, unpack
from congener.indexes.score import Whole

if TYPE_CHECKING:
    from usearch.index import Index as Usearch

EFFORTS = (32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512)
"""How many of the nearest nodes so far a walk keeps: more finds more, and takes longer."""

CONNECTIVITY = 16
"""Neighbours of a node, twice as many on the lowest level."""

BUILDING_EFFORT = 96
"""How many nodes are weighed for each new one's neighbours."""

_PROPOSED = 3  # times k: what bytes take for the best isn't always it
_SHARE = 16  # of the rows, 1 / this: who wants more is served faster by looking at everything
_STEP = 10_000  # rows between two reports of progress

_TRAILER = struct.Struct("<8sIIQQf")  # magic, version, dimension, rows, size of what is before, scale
_SUM = struct.Struct("<I")
_MAGIC, _VERSION = b"congraph", 2
_PAGE, _EVERY = 2**12, 64  # the checksum covers each 64th page: 6 ms instead of 0.4 s for a million rows
_WHOLE = 2**24  # bytes up to which it covers all: 10 ms

Progress = Callable[[int, int], None]
"""Told how many of how many rows are in the graph."""


class GraphError(GalleryError):
    """A graph's file is missing, damaged, or belongs to other embeddings."""


class Graph(NamedTuple):
    """A graph over the rows [0, rows)."""

    walker: "Usearch"
    rows: int
    scale: float
    """Of the graph's own codes. One for all, so that a step costs one inner product, not three as a cosine does."""
    mapped: mmap.mmap | None = None
    """What the walker reads: it must live as long."""

    def propose(self, queries: NDArray[np.float32], count: int, effort: int) -> NDArray[np.int64]:
        """Return rows (q, count) that are near each query (q, d), -1 where fewer were found."""
        self.walker.expansion_search = effort  # type: ignore[misc]  # it has a setter
        matches: Any = self.walker.search(_quantised(queries, self.scale), count, threads=min(cores(), len(queries)))
        rows = np.asarray(matches.keys).astype(np.int64).reshape(len(queries), -1)
        # usearch answers one query in another shape than several
        counts = np.array([rows.shape[1]]) if len(queries) == 1 else np.asarray(matches.counts)
        rows = np.pad(rows, ((0, 0), (0, count - rows.shape[1])))
        return np.where(np.arange(count) < counts[:, None], rows, -1)


class ApproximateIndex(Index):
    """Walk along a graph; rows that it doesn't hold yet are compared one by one.

    What comes back has exact scores, and is as many as asked for; but one that is nearer may be missing. A search
    among some, or for much of the gallery, is exact.
    """

    def __init__(self, dimension: int) -> None:
        """dimension: length of an embedding. Without a graph (see `over`) all of it is exact."""
        self._walking = threading.Lock()  # a walker's threads have one place each to work in
        self._adopt(ExactIndex(dimension), None)
        self.effort = 64

    @classmethod
    def over(
        cls,
        ids: NDArray[np.int64],
        embeddings: Vectors,
        packed: NDArray[np.int8] | None,
        graph_file: str | os.PathLike[str],
        effort: int = 64,
    ) -> Self:
        """Return an index of rows that stay where they are, with the graph that `build_graph` wrote for them.

        ids, embeddings, packed: as of `ExactIndex.over`; effort: see `EFFORTS`. There may be more rows than the
        graph holds. Raises GraphError when the graph can't be used, GalleryError when usearch is missing.
        """
        index = cls(embeddings.shape[1])
        graph = open_graph(graph_file, embeddings.shape[1])
        if graph.rows > len(ids):
            raise GraphError(f"the graph {graph_file} holds {graph.rows} rows, the gallery {len(ids)}: build it again")
        index._adopt(ExactIndex.over(ids, embeddings, packed), graph)
        index.effort = effort
        return index

    def __len__(self) -> int:
        return len(self.exact)

    def add(self, ids: NDArray[np.int64], embeddings: Vectors) -> None:
        """See `Index.add`."""
        empty = not len(self.exact)
        self.exact.add(ids, embeddings)
        self._adopt(self.exact, None if empty else self._graph)

    def remove(self, ids: NDArray[np.int64]) -> None:
        """See `Index.remove`."""
        self.exact.remove(ids)
        self._adopt(self.exact, self._graph)

    def search(self, queries: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None) -> Neighbours:
        """See `Index.search`; finds nearly all of the nearest, see `measure`."""
        proposed = self._proposed(k)
        if self._graph is None or proposed > self._graph.rows // _SHARE or among is not None or not len(queries):
            return self.exact.search(queries, k, among)
        with self._walking:
            rows = self._graph.propose(queries, proposed, max(self.effort, proposed))
        found = self._scored(queries, rows)
        # among holes the walk ends with too few, though there are k: what it then has isn't what is nearest
        short = np.flatnonzero(np.count_nonzero(found.ids >= 0, axis=1) < min(k, self._walked))
        if self._tail is not None:
            later = self._tail.search(queries, k)
            found = Neighbours(np.append(found.scores, later.scores, axis=1), np.append(found.ids, later.ids, axis=1))
        best = np.lexsort((found.ids, -found.scores))[:, : min(k, len(self))]
        scores, ids = np.take_along_axis(found.scores, best, axis=1), np.take_along_axis(found.ids, best, axis=1)
        if len(short):
            scores[short], ids[short] = self.exact.search(queries[short], k)
        return Neighbours(scores, ids)

    def _proposed(self, k: int) -> int:
        """Return how many rows the graph is to propose, so that enough are left when the holes are taken out."""
        return math.ceil(_PROPOSED * max(k, 1) / max(1 - self._holes, 1e-6))

    def _scored(self, queries: NDArray[np.float32], rows: NDArray[np.int64]) -> Neighbours:
        """Return the scores and ids (q, m) of rows (q, m); -inf and -1 for rows that aren't there."""
        ids = np.where(rows >= 0, self.exact.rows.ids[rows], -1)
        of, at = np.nonzero(ids >= 0)
        scores = np.full(rows.shape, -np.inf, np.float32)
        scores[of, at] = self.exact.rows.scores(Whole.of(queries), of, rows[of, at])
        return Neighbours(scores, ids)

    def _adopt(self, exact: ExactIndex, graph: Graph | None) -> None:
        self.exact, self._graph = exact, graph
        self._tail: ExactIndex | None = None
        self._walked, self._holes = 0, 0.0
        if graph is not None:
            self._walked = int(np.count_nonzero(exact.rows.ids[: graph.rows] >= 0))
            self._holes = 1 - self._walked / graph.rows if graph.rows else 0.0
            if graph.rows < len(exact.rows.ids):
                self._tail = exact.part(graph.rows)


def build_graph(
    packed: NDArray[np.int8],
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the graph of packed rows (n, d + 4) to a file, which is there whole or not at all.

    threads: as many as cores by default. Raises GalleryError when usearch is missing.
    """
    scales = unpack(packed)[1]
    # a number that is beyond is cut; without the quantile one odd row would make all others coarse
    scale = float(np.quantile(scales, 0.999)) if len(scales) else 0.0
    graph = Graph(_empty(packed.shape[1] - 4), 0, scale or 1.0)
    _grow(graph, packed, threads, progress)
    _save(graph, len(packed), Path(path))


def extend_graph(
    packed: NDArray[np.int8],
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Add the rows that a graph's file doesn't hold yet; the file is replaced whole.

    packed: (n, d + 4) all rows. Raises GraphError when the file can't be used, or holds more than n rows.
    """
    graph = open_graph(path, packed.shape[1] - 4, view=False)
    if graph.rows > len(packed):
        raise GraphError(f"the graph {path} holds {graph.rows} rows, the gallery {len(packed)}: build it again")
    _grow(graph, packed, threads, progress)
    _save(graph, len(packed), Path(path))


def open_graph(path: str | os.PathLike[str], dimension: int, *, view: bool = True) -> Graph:
    """Return the graph in a file: mapped, or with view=False read into memory, where it can grow.

    Raises GraphError when it is missing, torn, not a graph, or of another dimension. It is told by its size and a
    checksum of part of it, before usearch, which believes what it reads, gets to see it.
    """
    walker = _empty(dimension)
    try:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file can't be mapped
        raise GraphError(f"can't read the graph {path} ({error}): build it again") from error
    found, rows, scale = _trailer(mapped, path)
    if found != dimension:
        raise GraphError(f"the graph {path} is of dimension {found}, not {dimension}: build it again")
    try:
        (walker.view if view else walker.load)(memoryview(mapped))
    except Exception as error:  # what usearch raises has no class of its own
        raise GraphError(f"usearch can't read the graph {path} ({error}): build it again") from error
    if len(walker) != rows:
        raise GraphError(f"the graph {path} is damaged: build it again")
    return Graph(walker, rows, scale, mapped)


def part_of(path: Path) -> Path:
    """Return where a graph is written before it gets its name."""
    return path.with_name(f"{path.name}.part")


def is_sound(path: str | os.PathLike[str], dimension: int) -> bool:
    """Tell whether a file is a graph of this dimension that is as it was written."""
    try:
        open_graph(path, dimension)
    except GraphError:
        return False
    return True


def _trailer(mapped: mmap.mmap, path: str | os.PathLike[str]) -> tuple[int, int, float]:
    """Return dimension, rows and scale of a graph's file that is as it was written."""
    end = len(mapped) - _TRAILER.size - _SUM.size
    if end >= 0:
        magic, version, dimension, rows, size, scale = _TRAILER.unpack_from(mapped, end)
        (checksum,) = _SUM.unpack_from(mapped, end + _TRAILER.size)
        if (magic, version, size) == (_MAGIC, _VERSION, end) and checksum == _sum(mapped):
            return dimension, rows, scale
    raise GraphError(f"the graph {path} is damaged: build it again")


def measure(
    index: ApproximateIndex, queries: NDArray[np.float32], k: int = 10, efforts: Iterable[int] = EFFORTS
) -> list[tuple[int, float]]:
    """Return (effort, recall@k) for rising efforts: the share of the exact k nearest that are found.

    queries: (q, d), L2-normalised. What is as near as the k-th counts, so equals don't matter.
    """
    bars = index.exact.search(queries, k).scores[:, -1:]
    before, measured = index.effort, []
    try:
        for effort in sorted(efforts):
            index.effort = effort
            measured.append((effort, float((index.search(queries, k).scores >= bars).mean())))
    finally:
        index.effort = before
    return measured


def effort_for(measured: Sequence[tuple[int, float]], target: float) -> int:
    """Return the least effort whose recall reaches a target, or the greatest one."""
    return next((effort for effort, recall in measured if recall >= target), measured[-1][0])


def _empty(dimension: int) -> "Usearch":
    with suppress(ImportError):
        import onnxruntime  # noqa: F401  # which usearch 2.26.6 would crash, if it came first
    try:
        from usearch.index import Index as Usearch
    except ImportError:
        raise GalleryError("the approximate index needs usearch: pip install 'congener[fast]'") from None
    return Usearch(
        ndim=dimension,
        metric="ip",
        dtype="i8",
        connectivity=CONNECTIVITY,
        expansion_add=BUILDING_EFFORT,
        enable_key_lookups=False,
    )


def _grow(graph: Graph, packed: NDArray[np.int8], threads: int | None, progress: Progress | None) -> None:
    for start in range(graph.rows, len(packed), _STEP):
        codes, scales = unpack(packed[start : start + _STEP])
        rows = np.arange(start, start + len(codes), dtype=np.uint64)
        graph.walker.add(rows, _quantised(codes * scales[:, None], graph.scale), threads=threads or cores())
        if progress is not None:
            progress(start + len(codes), len(packed))


def _quantised(vectors: NDArray[np.float32], scale: float) -> NDArray[np.int8]:
    steps = np.rint(vectors / np.float32(scale))
    codes: NDArray[np.int8] = np.clip(steps, -STEPS, STEPS, out=steps).astype(np.int8)
    return codes


def _save(graph: Graph, rows: int, path: Path) -> None:
    part = part_of(path)
    try:
        try:
            graph.walker.save(part)
        except RuntimeError as error:  # of usearch's own, where it can't write
            raise OSError(errno.EIO, str(error), str(part)) from error
        with part.open("r+b") as file:
            _check_whole(file)
            size = file.seek(0, os.SEEK_END)
            trailer = _TRAILER.pack(_MAGIC, _VERSION, graph.walker.ndim, rows, size, graph.scale)
            file.write(trailer + _SUM.pack(0))
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                checksum = _sum(mapped)
            file.seek(size + len(trailer))
            file.write(_SUM.pack(checksum))
            sync(file)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def _check_whole(file: IO[bytes]) -> None:
    """Raise OSError unless usearch has written all that it should: it doesn't see its last write fail.

    Its file holds the matrix of codes behind its shape, 64 bytes, five numbers of the graph, each node's level, and the
    nodes: key and level, then places for links, on the ground and on each level above.
    """
    rows, columns = struct.unpack("<II", _exactly(file, 8))
    file.seek(rows * columns + 64, os.SEEK_CUR)
    nodes, links, ground, *_ = struct.unpack("<5Q", _exactly(file, 40))
    levels = np.frombuffer(_exactly(file, 2 * nodes), "<i2")
    size = file.tell() + nodes * (10 + 4 + 4 * ground) + int(levels.sum(dtype=np.int64)) * (4 + 4 * links)
    if os.fstat(file.fileno()).st_size != size:
        raise _torn(file)


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise _torn(file)
    return data


def _torn(file: IO[bytes]) -> OSError:
    return OSError(errno.EIO, "the graph could not be written whole", file.name)


def _sum(mapped: mmap.mmap) -> int:
    """Return a checksum of a file; of a large one, of its trailer and each 64th page, the first and last among them."""
    end = len(mapped) - _SUM.size
    if end <= _WHOLE:
        return zlib.crc32(mapped[:end])
    checksum = zlib.crc32(mapped[max(0, end - _PAGE) : end])
    for start in range(0, end, _PAGE * _EVERY):
        checksum = zlib.crc32(mapped[start : min(start + _PAGE, end)], checksum)
    return checksum
