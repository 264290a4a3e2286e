"""How cost grows with the gallery: from 1,000 to 1,000,000 images.

    python benchmarks/growth.py [--json] [--quick]

Real galleries over real folders, but the files hold nothing and the features are made (see `common.blocks`): what is
measured is everything but reading pixels, which costs each new image the same. The images of the updates are real
pictures of one pixel, and go all the way through `Gallery.update`. Each size has a process of its own, which first
does it all once with a few images, so that nothing is loaded for the first time.

Exponents are slopes of log cost on log n. Draws growth.png, here and, smaller, in docs.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common import RESULTS, ROOT, blocks, can_draw, machine, made, peak_bytes, report
from congener import Gallery
from congener.encoders import Encoder, Features, Identity
from congener.files import FoundImage
from congener.store import Row, Store

SIZES, QUICK = (1_000, 10_000, 100_000, 1_000_000), (1_000, 3_000, 10_000, 30_000)
LARGE = 10_000
"""From here on a gallery isn't fitted anew at every change, and fixed costs are small."""

DIMENSION = 256
BLOCK = 10_000  # features made at once: few, as they count as memory
COMMIT = 200  # images: what a second of indexing gives, and so a transaction
FEW = 100
QUERIES = 50
ROUNDS = 3


class Cost(NamedTuple):
    """What is measured, and how it may grow."""

    words: str
    unit: str
    most: float
    """The exponent that it may have."""


COSTS = {
    "index": Cost("indexing all, without pixels", "s", 1),
    "graph": Cost("building the graph", "s", 1.1),
    "store_percent": Cost("keeping 1 % new images", "s", 1),
    "store_few": Cost(f"keeping {FEW} new images", "s", 0),
    "look": Cost("update, nothing is new", "s", 1),
    "update_percent": Cost("update, 1 % are new", "s", 1),
    "update_few": Cost(f"update, {FEW} are new", "s", 1),
    "open": Cost("opening", "s", 0),
    "first_exact": Cost("first exact search", "s", 1),
    "first_approximate": Cost("first approximate search", "s", 1),
    "exact": Cost("exact search", "s", 1),
    "approximate": Cost("approximate search", "s", 0.5),
    "approximate_later": Cost("the same, 1 % not in the graph yet", "s", 0.5),
    "peak": Cost("peak memory, no graph", "bytes", 1),
    "peak_graph": Cost("peak memory, with the graph", "bytes", 1),
    "disk": Cost("disk, no graph", "bytes", 1),
    "disk_graph": Cost("disk, with the graph", "bytes", 1),
}
SLACK = 0.15  # of an exponent, for noise and for caches that end


class Made(Encoder):
    """Gives each picture of one pixel the made feature whose number its colour is."""

    identity = Identity("made", "0" * 64, "the colour of one pixel is a number", "float32", DIMENSION)
    input_side = resized_side = 1

    def __init__(self, features: NDArray[np.float32]) -> None:
        """features: (n, DIMENSION), by number."""
        self._features = features

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        """Look them up."""
        numbers = pixels.reshape(-1, 3).astype(np.int64) @ (1, 256, 65536)
        return Features(self._features[numbers])


def pixel(number: int) -> NDArray[np.uint8]:
    """Return the picture of a number."""
    return np.array([[[number & 255, number >> 8 & 255, number >> 16]]], np.uint8)


class Folder:
    """A folder that images come into, a thousand to a folder of their own."""

    def __init__(self, place: Path) -> None:
        """place: an empty folder."""
        self.place = place
        self._count = self._pictures = 0

    def _next(self) -> Path:
        path = self.place / f"{self._count // 1000:04}" / f"{self._count:07}.png"
        if self._count % 1000 == 0:
            path.parent.mkdir()
        self._count += 1
        return path

    def add_files(self, count: int) -> list[FoundImage]:
        """Add files; return them as an update finds them.

        They are links, made ten times as fast as files: about a thousand to one of a byte, as the system has a limit.
        """
        found = []
        for path in (self._next() for _ in range(count)):
            if self._count % 1000 == 1:
                path.write_bytes(b"-")
                self._linked, self._status = path, path.stat()
            else:
                os.link(self._linked, path)
            name, status = path.relative_to(self.place).as_posix(), self._status
            found.append(FoundImage(name, status.st_size, status.st_mtime_ns))
        return found

    def add_pictures(self, count: int) -> None:
        """Add pictures of the next numbers."""
        for _ in range(count):
            Image.fromarray(pixel(self._pictures)).save(self._next())
            self._pictures += 1


def timed(act: Callable[..., Any], *values: Any, **options: Any) -> float:
    """Return the seconds that a call with these takes."""
    now = time.perf_counter()
    act(*values, **options)
    return time.perf_counter() - now


def keep(store: Store, images: Sequence[FoundImage], features: NDArray[np.float32]) -> None:
    """Put images and their features into a store, as an update that has read them does."""
    for start in range(0, len(images), COMMIT):
        with store.transaction() as changes:
            for image, feature in zip(images[start : start + COMMIT], features[start:], strict=False):
                content = hashlib.sha256(image.path.encode()).digest()
                changes.put(Row(0, image.path, image.size, image.mtime_ns, content, *changes.append(feature)))


class Trial:
    """A gallery of one size, and what each thing that is done with it takes."""

    def __init__(self, place: Path, count: int) -> None:
        """place: an empty folder."""
        new = 2 * (count // 100) + ROUNDS * FEW  # pictures that come in updates
        self.costs: dict[str, float] = {}
        self._count = count
        self._later = made(count // 100 + ROUNDS * FEW, DIMENSION, 3)
        self._encoder = Made(made(new + QUERIES, DIMENSION, 2))
        self._queries = [pixel(new + number) for number in range(QUERIES)]
        (place / "images").mkdir()
        self._folder = Folder(place / "images")
        self._store = place / "store"

    def run(self) -> dict[str, float]:
        """Measure all; return each cost by its name in `COSTS`."""
        with self._opened() as gallery:
            self._index(gallery)
            self._keep(gallery)
            self._update(gallery)
            self.costs["disk"] = gallery.info().bytes
        self._search("exact")
        self.costs["peak"] = peak_bytes()
        with self._opened() as gallery:
            self.costs["graph"] = timed(gallery.update, index="approximate")
            self.costs["disk_graph"] = gallery.info().bytes
            self.costs |= {f"graph_{name}": gallery.info().index[name] for name in ("recall", "effort")}
        self._search("approximate")
        with self._opened() as gallery:
            self._folder.add_pictures(self._count // 100)
            gallery.update()
            self.costs["approximate_later"] = self._median(gallery, "approximate")
        self.costs["peak_graph"] = peak_bytes()
        return self.costs

    def _opened(self) -> Gallery:
        return Gallery(self._folder.place, store=self._store, encoder=self._encoder)

    def _index(self, gallery: Gallery) -> None:
        """Index all: keep the features, then what follows at the end of an update."""
        store = Store.create(self._store, self._encoder.identity.as_dict())
        seconds = 0.0
        with store.writing():
            for block in blocks(self._count, DIMENSION, 1, BLOCK):
                files = self._folder.add_files(len(block))
                seconds += timed(keep, store, files, block)
        store.close()
        self.costs |= {"index_keep": seconds, "peak_keep": peak_bytes()}
        # exact for now: left to itself, a gallery of more than a million would build a graph
        self.costs["index"] = seconds + timed(gallery.update, index="exact")
        self.costs["peak_index"] = peak_bytes()

    def _keep(self, gallery: Gallery) -> None:
        """Add images to the store alone, and to what was fitted."""
        assert gallery.fit is not None
        embed = gallery.fit.embed_all(self._encoder)
        store, features = Store.open(self._store), self._later

        def add(count: int) -> float:
            nonlocal features
            files, some, features = self._folder.add_files(count), features[:count], features[count:]
            now = time.perf_counter()
            with store.writing():
                keep(store, files, some)
                store.extend_generation(embed)
            return time.perf_counter() - now

        self.costs["store_few"] = float(np.median([add(FEW) for _ in range(ROUNDS)]))
        self.costs["store_percent"] = add(self._count // 100)
        store.close()

    def _update(self, gallery: Gallery) -> None:
        """Update as a user does: look at the whole folder, read what is new."""
        gallery.update()
        self.costs["look"] = float(np.median([timed(gallery.update) for _ in range(ROUNDS)]))

        def add(count: int) -> float:
            self._folder.add_pictures(count)
            return timed(gallery.update)

        self.costs["update_few"] = float(np.median([add(FEW) for _ in range(ROUNDS)]))
        self.costs["update_percent"] = add(self._count // 100)

    def _search(self, index: str) -> None:
        """Open the gallery, search it for the first time and then often."""
        opened, first = [], []
        for _ in range(3 * ROUNDS):  # opening takes a millisecond: many, or it is all noise
            now = time.perf_counter()
            with self._opened() as gallery:
                opened.append(time.perf_counter() - now)
                first.append(timed(gallery.search, self._queries[0], index=index))
        self.costs["open"], self.costs[f"first_{index}"] = float(np.median(opened)), float(np.median(first))
        with self._opened() as gallery:
            self.costs[index] = self._median(gallery, index)

    def _median(self, gallery: Gallery, index: str) -> float:
        gallery.search(self._queries[0], index=index)
        return float(np.median([timed(gallery.search, query, index=index) for query in self._queries]))


def in_process(count: int) -> dict[str, float]:
    """Measure one size in a process of its own, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, __file__, "--size", str(count), "--place", place]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    costs: dict[str, float] = json.loads(told)
    return costs


def one_size(count: int, place: Path) -> None:
    """Measure one size here, warmed up with a few images, and print it as JSON."""
    for name, images in (("warm", 200), ("trial", count)):
        (place / name).mkdir()
        costs = Trial(place / name, images).run()
        shutil.rmtree(place / name)
    print(json.dumps(costs))


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the slope of log cost on log n by least squares; NaN for less than two sizes."""
    if len(sizes) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def exponents(sizes: Sequence[int], measured: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return for each cost its exponent over all sizes and the large ones, and whether it grows as it may."""
    out: dict[str, Any] = {}
    large = [place for place, size in enumerate(sizes) if size >= LARGE]
    for name, cost in COSTS.items():
        values = [each[name] for each in measured]
        of_large = exponent([sizes[place] for place in large], [values[place] for place in large])
        out[name] = {"all": exponent(sizes, values), "large": of_large, "most": cost.most}
        out[name]["holds"] = of_large <= cost.most + SLACK
    return out


def shown(value: float, unit: str) -> str:
    """Return a cost for people."""
    if unit == "bytes":
        return f"{value / 1e6:,.0f} MB"
    return f"{value:,.1f} s" if value >= 1 else f"{1000 * value:,.2f} ms"


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result in words."""
    info, sizes = result["machine"], result["sizes"]
    out = [
        f"{info['cpu']}, {info['cores']} cores, Python {info['python']}, numpy {info['numpy']}",
        f"load before {result['load']:.1f}",
        f"{DIMENSION} dimensions; exponents over all sizes, and over those from {LARGE:,}",
        f"{'':36}" + "".join(f"{size:>13,}" for size in sizes) + f"{'all':>7}{'large':>7}  at most",
    ]
    for name, cost in COSTS.items():
        values = "".join(f"{shown(each[name], cost.unit):>13}" for each in result["costs"])
        found = result["exponents"][name]
        verdict = "" if found["holds"] else "  GROWS FASTER"
        out.append(f"{cost.words:36}{values}{found['all']:7.2f}{found['large']:7.2f}  {cost.most:g}{verdict}")
    recalls = "".join(f"{each['graph_recall']:13.3f}" for each in result["costs"])
    efforts = "".join(f"{each['graph_effort']:13.0f}" for each in result["costs"])
    return [*out, f"{'recall of the graph':36}{recalls}", f"{'effort for it':36}{efforts}"]


PANELS = {
    "Keeping up, seconds": ("index", "graph", "update_percent", "update_few", "look", "store_few"),
    "Asking, milliseconds": ("exact", "approximate", "first_exact", "first_approximate", "open"),
    "Room, MB": ("peak", "peak_graph", "disk", "disk_graph"),
}


def draw(result: dict[str, Any], path: Path, dpi: int) -> None:
    """Draw each cost over the number of images, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.8), layout="constrained")
    axes = figure.subplots(1, len(PANELS))
    factors = (1, 1000, 1e-6)
    for panel, (title, names), factor in zip(axes, PANELS.items(), factors, strict=True):
        for name, colour in zip(
            names, ("#1f6f5c", "#a03020", "#3b6ea5", "#c98a1b", "#7a5a9e", "#505050"), strict=False
        ):
            values = [factor * each[name] for each in result["costs"]]
            label = f"{COSTS[name].words}: n^{result['exponents'][name]['large']:.2f}"
            panel.plot(result["sizes"], values, "o-", color=colour, label=label, markersize=4, lw=1.5)
        panel.set(xscale="log", yscale="log", xlabel="images", title=title)
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.yaxis.set_major_formatter("{x:,g}")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
        panel.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    figure.savefig(path, dpi=dpi)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="up to 30,000 images, about a minute; nothing is kept")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size:
        one_size(options.size, options.place)
        return
    sizes, load = QUICK if options.quick else SIZES, os.getloadavg()[0]
    measured = [in_process(size) for size in sizes]
    result = {"machine": machine(), "load": load, "dimension": DIMENSION, "sizes": sizes, "costs": measured}
    result["exponents"] = exponents(sizes, measured)
    report("growth", result, lines(result), as_json=options.json, keep=not options.quick)
    if can_draw() and not options.quick:
        draw(result, RESULTS / "growth.png", 120)
        draw(result, ROOT / "docs" / "growth.png", 80)


if __name__ == "__main__":
    main()
