"""Use a gallery for a long time, and tell what that takes: `python -m tests.soak [SECONDS]`.

Each round changes some of 400 pictures, indexes, asks forty questions, and now and then learns from labels, forgets
that, fits anew, builds a graph, or checks everything.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from congener import Gallery
from congener.check import check
from congener.encoders import Encoder, Features, Identity
from tests.faults.workload import APPROXIMATE
from tests.test_determinism import TOLERANCE, assert_same

PICTURES = 400
DIMENSION = 1280


class Projected(Encoder):
    """Its feature is a fixed random map of the pixels, as long as a real one."""

    identity = Identity("projected", "0" * 64, "none", "float32", DIMENSION)
    input_side = 8
    resized_side = 8

    def __init__(self) -> None:
        self._map = np.random.default_rng(0).standard_normal((8 * 8 * 3, DIMENSION)).astype(np.float32)

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        flat = pixels.reshape(len(pixels), -1).astype(np.float32) / 255 - 0.5
        return Features(np.maximum(flat @ self._map, 0))


@dataclass
class Figures:
    """One number a round."""

    rounds: int = 0
    searches: int = 0
    images: int = 0
    """Encoded."""
    resident: list[int] = field(default_factory=list)
    """Kilobytes of memory."""
    handles: list[int] = field(default_factory=list)
    maps: list[int] = field(default_factory=list)
    """Of files into memory, and of memory."""
    threads: list[int] = field(default_factory=list)
    children: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    """Of the gallery."""
    log: list[int] = field(default_factory=list)
    """Bytes in SQLite's log after a run."""

    def note(self, store: Path) -> None:
        """Note what this process and its gallery take now."""
        own = Path("/proc/self")
        self.rounds += 1
        self.resident.append(int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024)
        self.handles.append(len(os.listdir(own / "fd")) - 1)
        self.maps.append(len((own / "maps").read_text().splitlines()))
        tasks = list((own / "task").iterdir())
        self.threads.append(len(tasks))
        self.children.append(sum(len((task / "children").read_text().split()) for task in tasks))
        self.files.append(len(os.listdir(store)))
        self.log.append(sum(path.stat().st_size for path in store.glob("*-wal")))

    def growth(self, name: str) -> float:
        """Return the median of the last fifth of the rounds less that of the second; of what is counted, the least.

        A fifth of a long soak has rounds with a graph and without, which holds some files open: a median of the two
        may be either. What leaks raises the least, too.
        """
        values: list[int] = getattr(self, name)
        fifth = max(len(values) // 5, 1)
        typical = statistics.median if name == "resident" else min
        return float(typical(values[-fifth:])) - float(typical(values[fifth : 2 * fifth]))


def paint(folder: Path, number: int, seed: int) -> None:
    """Write one picture of 8 × 8 colours."""
    pixels = np.random.default_rng([number, seed]).integers(0, 256, (8, 8, 3), np.uint8)
    path = folder / f"kind-{number % 5}" / f"{number:04}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def change(folder: Path, rng: random.Random) -> None:
    """Change, remove and add some pictures."""
    for number in rng.sample(range(PICTURES), 12):
        paths = list(folder.glob(f"*/{number:04}.png"))
        if paths and rng.random() < 0.4:
            paths[0].unlink()
        elif paths and rng.random() < 0.3:
            paths[0].rename(folder / f"kind-{rng.randrange(5)}" / paths[0].name)
        else:
            paint(folder, number, rng.randrange(2**31))


def use(gallery: Gallery, turn: int, rng: random.Random) -> tuple[int, int]:
    """Do one round; return how many images were encoded and how many questions asked."""
    options: dict[str, Any] = {"refit": turn % 7 == 0, "prune": turn % 3 == 0}
    if turn % 20 in (5, 15):
        options["index"] = APPROXIMATE if turn % 20 == 5 else "exact"
    report = gallery.update(**options)
    if turn % 10 == 3:
        gallery.adapt(force=True)
    if turn % 10 == 8:
        gallery.forget()
    paths = [row.path for row in gallery.rows()]
    for path in rng.sample(paths, 40):
        hits = gallery.search(gallery.folder / path, 10, include_self=True, index=rng.choice([None, "exact"]))
        assert hits[0].path == path or hits[0].score > 1 - TOLERANCE or gallery.adapted
    with Gallery(gallery.folder, store=gallery.store_folder, encoder=gallery.encoder) as other:
        other.search(gallery.folder / paths[0], 5, labels=["kind-1"], min_similarity=0.1)
    if turn % 25 == 0:
        report_of_check = check(gallery.store_folder, encoder=gallery.encoder)
        assert report_of_check.sound, report_of_check.findings
    return report.indexed, 41


def soak(place: Path, seconds: float) -> Figures:
    """Use a gallery for so long; raise AssertionError where it answers otherwise than a fresh one."""
    rng, figures = random.Random(0), Figures()
    folder, store = place / "pictures", place / "gallery"
    for number in range(PICTURES):
        paint(folder, number, 0)
    end = time.monotonic() + seconds
    with Gallery(folder, store=store, encoder=Projected()) as gallery:
        while time.monotonic() < end:
            change(folder, rng)
            images, searches = use(gallery, figures.rounds, rng)
            figures.images += images
            figures.searches += searches
            figures.note(store)
        gallery.update(refit=True, prune=True)
        gallery.forget()
        with Gallery(folder, store=place / "fresh", encoder=Projected()) as fresh:
            fresh.update()
            assert_same(gallery, fresh, TOLERANCE)
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(asdict(soak(Path(temporary), float(sys.argv[1]) if sys.argv[1:] else 600))))  # noqa: T201
