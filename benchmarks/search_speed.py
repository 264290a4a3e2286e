"""How fast a search is, and how much of the exact answer the approximate index finds.

    python benchmarks/search_speed.py [--json] [--quick] [--rounds 5]

The embeddings are made: 1,000 kinds on a manifold of 40 dimensions with noise on top, float16 as a gallery keeps
them, and queries that aren't among them. Each round takes Congener and its peers in turn, so that a change of the
machine's speed meets all of them. The limit of an exact search is reading its bytes once, with a thread for each
core, measured in the same rounds. Peers that aren't installed are named as missing. Draws search_speed.png.
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import RESULTS, machine, made, report, spread
from congener.cores import cores
from congener.indexes import ApproximateIndex, ExactIndex
from congener.indexes.approximate import EFFORTS, build_graph
from congener.indexes.base import unit
from congener.indexes.quantise import pack

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Search = Callable[[Floats], Any]

K = 10
QUERIES = 1000
OURS, LIMIT = "congener", "limit: reading the bytes"


def installed(package: str) -> bool:
    """Return whether a peer can be measured."""
    return importlib.util.find_spec(package) is not None


def contenders(halves: Halves) -> tuple[ExactIndex, dict[str, Search]]:
    """Return Congener's index, and the ways to find the k nearest of queries exactly."""
    packed = pack(halves)
    index = ExactIndex.over(np.arange(len(halves)), halves, packed)
    floats = unit(halves)
    words = packed.reshape(-1)[: packed.size // 8 * 8].view(np.int64)  # aligned, or numpy would copy them
    readers = ThreadPoolExecutor(cores())

    def numpy(queries: Floats) -> Any:
        scores = queries @ floats.T
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)

    def read(queries: Floats) -> Any:
        return list(readers.map(lambda part: int(part.sum()), np.array_split(words, cores())))

    ways: dict[str, Search] = {OURS: lambda queries: index.search(queries, K), LIMIT: read, "numpy float32": numpy}
    if installed("usearch"):
        from usearch.index import search

        ways["usearch exact float16"] = lambda queries: search(
            halves, queries.astype(np.float16), K, metric="ip", exact=True, threads=cores()
        )
    if installed("faiss"):
        import faiss

        flat = faiss.IndexFlatIP(halves.shape[1])
        flat.add(floats)
        half = faiss.IndexScalarQuantizer(halves.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        half.train(floats[:1000])
        half.add(floats)
        ways["faiss flat float32"] = lambda queries: flat.search(queries, K)
        ways["faiss SQfp16"] = lambda queries: half.search(queries, K)
    return index, ways


def timed(ways: dict[str, Search], queries: Floats, size: int, rounds: int, calls: int) -> dict[str, Any]:
    """Return milliseconds a call of `size` queries: the ways in turn, several calls of each in a round."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for search in ways.values():
        search(queries[:size])
    for number in range(rounds):
        for name, search in ways.items():
            seconds = []
            for call in range(calls):
                start = (number * calls + call) * size % (len(queries) - size + 1)
                some = queries[start : start + size]
                now = time.perf_counter()
                search(some)
                seconds.append(time.perf_counter() - now)
            taken[name].append(1000 * float(np.median(seconds)))
    return {name: spread(values) for name, values in taken.items()}


def recall(index: ExactIndex, queries: Floats) -> float:
    """Return the share of the k nearest, by numpy's float32 over everything, that single searches find."""
    floats = unit(index.rows.embeddings)  # float16 leaves lengths not quite 1
    hits = 0
    for start in range(0, len(queries), 50):
        some = queries[start : start + 50]
        scores = some @ floats.T
        kth = np.partition(scores, -K, axis=1)[:, -K]
        for query, bar in enumerate(kth.tolist()):
            found = index.search(some[query : query + 1], K)
            hits += int((found.scores[0] >= bar - 1e-6).sum())  # two orders of adding differ in the last digit
    return hits / (K * len(queries))


def exact(count: int, dimension: int, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Measure one size: one query at a time and a thousand at once."""
    halves, queries = made(count, dimension, 1).astype(np.float16), made(QUERIES, dimension, 2)
    index, ways = contenders(halves)
    one = timed(ways, queries, 1, rounds, 3 if count >= 10**6 else 9)
    result: dict[str, Any] = {"images": count, "dimension": dimension, "one_query_ms": one}
    result["ratio"] = {name: each["median"] / one[OURS]["median"] for name, each in one.items() if name != OURS}
    result["recall"] = recall(index, queries[: 200 if quick else QUERIES])
    if (count == 10**5 and dimension == 256) or quick:
        batch = timed({name: way for name, way in ways.items() if name != LIMIT}, queries, QUERIES, rounds, 1)
        result["batch_of_1000_ms"] = batch
        result["filters_ms"] = filters(index, queries, rounds)
    return result


def filters(index: ExactIndex, queries: Floats, rounds: int) -> dict[str, Any]:
    """Measure one query among a share of the images."""
    ids = np.random.default_rng(3).permutation(len(index))
    shares = {f"among {share:.1%}": ids[: int(share * len(ids))] for share in (0.001, 0.01, 0.1, 0.5)}

    def within(among: NDArray[np.int64]) -> Search:
        return lambda queries: index.search(queries, K, among)

    ways = {name: within(among) for name, among in shares.items()}
    return timed(ways, queries, 1, rounds, 5)


def curve(search: Callable[[int], NDArray[np.int64]], settings: tuple[int, ...], truth: Any, rounds: int) -> list[Any]:
    """Return for each setting its recall and queries a second, in batches of a thousand."""
    seconds: dict[int, list[float]] = {setting: [] for setting in settings}
    found: dict[int, NDArray[np.int64]] = {}
    for _ in range(rounds):
        for setting in settings:
            now = time.perf_counter()
            found[setting] = search(setting)
            seconds[setting].append(time.perf_counter() - now)
    return [
        {
            "setting": setting,
            "recall": float(np.mean([np.isin(a, b).mean() for a, b in zip(found[setting], truth, strict=True)])),
            "queries_per_second": len(truth) / float(np.median(seconds[setting])),
        }
        for setting in settings
    ]


def approximate(count: int, dimension: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Measure Congener's approximate index and faiss's: building, file, recall and speed."""
    halves, queries = made(count, dimension, 1).astype(np.float16), made(QUERIES, dimension, 2)
    packed, path = pack(halves), folder / "graph"
    now = time.perf_counter()
    build_graph(packed, path)
    seconds = time.perf_counter() - now
    index = ApproximateIndex.over(np.arange(count), halves, packed, path)
    truth = index.exact.search(queries, K).ids

    def ours(effort: int) -> NDArray[np.int64]:
        index.effort = effort
        return index.search(queries, K).ids

    size = path.stat().st_size
    peers: dict[str, Any] = {
        OURS: {
            "build_seconds": seconds,
            "bytes": size,
            "of_float16": size / halves.nbytes,
            "curve": curve(ours, EFFORTS, truth, rounds),
        }
    }
    if installed("faiss"):
        peers |= faiss_graphs(unit(halves), queries, truth, rounds, folder)
    return {"images": count, "dimension": dimension, "indexes": peers}


def faiss_graphs(floats: Floats, queries: Floats, truth: Any, rounds: int, folder: Path) -> dict[str, Any]:
    """Measure faiss's HNSW over float16 and its inverted lists over float16."""
    import faiss

    dimension, inner = floats.shape[1], faiss.METRIC_INNER_PRODUCT
    half, lists = faiss.ScalarQuantizer.QT_fp16, int(2 * len(floats) ** 0.5)
    coarse = faiss.IndexFlatIP(dimension)
    # not by index_factory, which crashes in a process that has loaded usearch (faiss 1.15.1)
    graph: Any = faiss.IndexHNSWSQ(dimension, half, 16, inner)  # type: ignore[arg-type, unused-ignore]  # its stub is wrong
    inverted = faiss.IndexIVFScalarQuantizer(coarse, dimension, lists, half, inner)
    kinds: dict[str, tuple[Any, Any, str, tuple[int, ...]]] = {
        "faiss HNSW16 SQfp16": (graph, graph.hnsw, "efSearch", (16, 32, 64, 128, 256)),
        "faiss IVF SQfp16": (inverted, inverted, "nprobe", (1, 2, 4, 8, 16, 32, 64)),
    }
    peers = {}
    for name, (index, owner, setting, values) in kinds.items():
        now = time.perf_counter()
        index.train(floats[:: max(1, len(floats) // 100_000)])
        index.add(floats)
        seconds = time.perf_counter() - now

        def search(value: int, index: Any = index, owner: Any = owner, setting: str = setting) -> NDArray[np.int64]:
            setattr(owner, setting, value)
            ids: NDArray[np.int64] = index.search(queries, K)[1]
            return ids

        faiss.write_index(index, str(folder / "peer"))
        size = (folder / "peer").stat().st_size
        peers[name] = {
            "build_seconds": seconds,
            "bytes": size,
            "of_float16": size / (2 * floats.size),
            "curve": curve(search, values, truth, rounds),
        }
    return peers


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result in words."""
    info = result["machine"]
    out = [f"{info['cpu']}, {info['cores']} cores, Python {info['python']}; {result['rounds']} rounds, medians"]
    out += ["versions: " + ", ".join(f"{name} {number}" for name, number in result["versions"].items())]
    for each in result["exact"]:
        out += ["", f"exact top {K} of {each['images']:,} × {each['dimension']}, recall {each['recall']:.4f}"]
        ours = each["one_query_ms"][OURS]["median"]
        for name, taken in each["one_query_ms"].items():
            out.append(f"  {name:26}{taken['median']:9.2f} ms a query  {taken['median'] / ours:6.2f} × congener's")
        for name, taken in each.get("batch_of_1000_ms", {}).items():
            out.append(f"  {name:26}{taken['median']:9.0f} ms for 1,000 queries at once")
        for name, taken in each.get("filters_ms", {}).items():
            out.append(f"  {name:26}{taken['median']:9.2f} ms a query")
    graphs = result["approximate"]
    out += ["", f"approximate top {K} of {graphs['images']:,} × {graphs['dimension']}, 1,000 queries at once"]
    for name, index in graphs["indexes"].items():
        out.append(f"  {name}: built in {index['build_seconds']:.0f} s, file {index['of_float16']:.2f} × float16")
        for point in index["curve"]:
            rate = point["queries_per_second"]
            out.append(f"    {point['setting']:5}  recall@{K} {point['recall']:.4f}  {rate:9,.0f} queries/s")
    return out


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw one query's time for each way, and recall against speed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2), layout="constrained")
    names = list(result["exact"][0]["one_query_ms"])
    height = 0.8 / len(names)
    colours = dict(zip(names, ["#c0392b", "#222222", "#8fb8de", "#5b8fc7", "#a3c9a8", "#5a9a68"], strict=False))
    for place, name in enumerate(names):
        values = [each["one_query_ms"][name]["median"] for each in result["exact"]]
        limits = [each["one_query_ms"][LIMIT]["median"] for each in result["exact"]]
        at = np.arange(len(values)) + place * height
        bars = left.barh(at, np.divide(values, limits), height * 0.9, color=colours[name], label=name)
        left.bar_label(bars, [f"{value:.1f} ms" for value in values], padding=3, fontsize=8)
    ticks = [f"{each['images']:,}\n× {each['dimension']}" for each in result["exact"]]
    left.set_yticks(np.arange(len(ticks)) + 0.4 - height / 2, ticks)
    left.invert_yaxis()
    left.set(xlabel="time, as a multiple of reading the bytes once", title=f"Exact top {K}, one query")
    left.margins(x=0.12)
    left.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)
    graphs = result["approximate"]
    for name, colour in zip(graphs["indexes"], ["#c0392b", "#5b8fc7", "#5a9a68"], strict=False):
        points = graphs["indexes"][name]["curve"]
        missed = [max(1 - p["recall"], 1e-4) for p in points]
        right.plot(missed, [p["queries_per_second"] for p in points], "o-", color=colour, label=name, markersize=4)
    right.set(xscale="log", yscale="log", xlim=(0.3, 0.8e-4), xlabel=f"recall@{K}")
    right.set_ylabel("queries/s (log), higher is better")
    shown = [0.8, 0.9, 0.95, 0.99, 0.999, 0.9999]
    right.set_xticks([1 - recall for recall in shown], [f"{recall:g}" for recall in shown])
    right.xaxis.set_minor_locator(NullLocator())
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    right.yaxis.set_minor_formatter(NullFormatter())
    right.set_title(f"Approximate, {graphs['images']:,} × {graphs['dimension']}, batches of 1,000")
    right.legend(fontsize=8, frameon=False, loc="lower left")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=120)


def versions() -> dict[str, str]:
    """Return the versions of what is measured, "missing" where it isn't installed."""
    found = {}
    for name in ("numpy", "simsimd", "usearch", "faiss-cpu", "matplotlib"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="smaller galleries, about a minute")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sizes = [(20_000, 256), (20_000, 512)] if options.quick else [(10**5, 256), (10**5, 512), (10**6, 256)]
    result: dict[str, Any] = {"machine": machine(), "versions": versions(), "rounds": options.rounds, "k": K}
    result["exact"] = [exact(*size, options.rounds, quick=options.quick) for size in sizes]
    if installed("usearch"):
        with tempfile.TemporaryDirectory() as folder:
            size = 20_000 if options.quick else 10**6
            result["approximate"] = approximate(size, 256, options.rounds, Path(folder))
    else:
        result["approximate"] = {"images": 0, "dimension": 0, "indexes": {}}
    name = "search_speed_quick" if options.quick else "search_speed"
    if installed("matplotlib"):
        RESULTS.mkdir(exist_ok=True)
        draw(result, RESULTS / f"{name}.png")
    report(name, result, lines(result), as_json=options.json)


if __name__ == "__main__":
    main()
