"""What a gallery of a million images costs: opened, searched, updated by 1,000, rid of 1,000.

    python benchmarks/million.py [--json] [--quick]

A real gallery over a real folder of files that hold nothing, with made features: see `growth.py`, whose folder and
encoder it shares. Times are medians of five rounds where a round changes nothing; memory is the most that the process
has had, files that it has mapped and read included.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import blocks, machine, made, peak_bytes, report
from congener import Gallery
from congener.store import Store
from growth import BLOCK, DIMENSION, Folder, Made, keep, pixel, timed

IMAGES, QUICK_IMAGES = 1_000_000, 30_000
CHANGED = 1_000
ROUNDS, QUERIES = 5, 20


def measure(images: int) -> dict[str, Any]:
    """Return the seconds and the bytes of each thing that is done."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "images").mkdir()
        folder = Folder(place / "images")
        encoder = Made(made(CHANGED + QUERIES, DIMENSION, 2))
        store = Store.create(place / "store", encoder.identity.as_dict())
        with store.writing():
            for block in blocks(images, DIMENSION, 1, BLOCK):
                keep(store, folder.add_files(len(block)), block)
        store.close()
        result: dict[str, Any] = {"machine": machine(), "images": images, "changed": CHANGED}

        def note(name: str, act: Callable[..., Any], *values: Any, **options: Any) -> None:
            result[name] = {"seconds": timed(act, *values, **options), "peak_bytes": peak_bytes()}

        def opened() -> Gallery:
            return Gallery(folder.place, store=place / "store", encoder=encoder)

        with opened() as gallery:
            note("fitted", gallery.update, index="exact")
        result["open"] = {"seconds": statistics.median(timed(lambda: opened().close()) for _ in range(ROUNDS))}
        with opened() as gallery:
            queries = [pixel(CHANGED + number) for number in range(QUERIES)]
            note("first_search", gallery.search, queries[0])
            taken = [timed(gallery.search, query) for query in queries]
            result["search"] = {"seconds": statistics.median(taken), "peak_bytes": peak_bytes()}
            result["look"] = {"seconds": statistics.median(timed(gallery.update) for _ in range(3))}
            before = len(gallery)
            folder.add_pictures(CHANGED)
            note("added", gallery.update)
            assert len(gallery) == before + CHANGED
            for path in sorted(folder.place.glob("*/*.png"))[:CHANGED]:
                path.unlink()
            note("removed", gallery.update)
            assert len(gallery) == before
            note("search_afterwards", gallery.search, queries[0])
            result["bytes"] = gallery.info().bytes
    return result


def lines(result: dict[str, Any]) -> list[str]:
    """Return the figures in words."""
    words = {
        "fitted": "fitting and embedding all, at the end of indexing",
        "open": "opening",
        "first_search": "the first search",
        "search": "a search",
        "look": "an update, nothing is new",
        "added": f"an update, {CHANGED:,} are new",
        "removed": f"an update, {CHANGED:,} are gone",
        "search_afterwards": "the first search after that",
    }
    info = result["machine"]
    said = [
        f"{info['cpu']}, {info['cores']} cores, Python {info['python']}",
        f"{result['images']:,} images of {DIMENSION} numbers; {result['bytes']:,} bytes on disk",
    ]
    for name, what in words.items():
        cost = result[name]
        peak = f", peak so far {cost['peak_bytes'] / 1e6:,.0f} MB" if "peak_bytes" in cost else ""
        said.append(f"{what}: {cost['seconds']:.3f} s{peak}")
    return said


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="a look: fewer images, nothing is kept")
    options = parser.parse_args()
    result = measure(QUICK_IMAGES if options.quick else IMAGES)
    report("million", result, lines(result), as_json=options.json, keep=not options.quick)


if __name__ == "__main__":
    main()
