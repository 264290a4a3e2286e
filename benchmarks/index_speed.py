"""How fast a folder is indexed, end to end, and where the time goes.

    python benchmarks/index_speed.py [FOLDER] [--precision int8] [--rounds 9] [--quick] [--json]
    python benchmarks/index_speed.py --many 100000 [--precision int8] [--json]

Each round indexes FOLDER (animals100 by default) into a fresh gallery with all cores; before and after, it takes one
half and the other of a sample of it through each step on one thread. The limit is what the steps would give if every
core were busy with them all the time: cores / sum of the seconds that each step takes for an image. The last step,
the fit, is taken once a run, of all images: its seconds are shared among them; the limit is told without it, too.
Draws index_speed.png.

--many indexes that many small pictures, and a tenth of them, each in a process of its own, and tells the
memory that it took: it should hardly grow.
"""

import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common import RESULTS, can_draw, machine, peak_bytes, photos, report, sample, spread
from congener import Gallery, load_encoder, open_image
from congener.encoders import DEFAULT, Encoder
from congener.files import find_images
from congener.store import Row, Store

STEPS = ("find", "read", "decode", "resize", "encode", "store", "fit")
SAMPLE = 1000
QUICK = 200  # images of a quick look
PICTURES, SIDE = 300, 64  # of --many: different ones, and their width and height


def end_to_end(folder: Path, encoder: Encoder) -> tuple[float, float]:
    """Return images/s of a fresh index, as `congener index` counts, and the fit's seconds an image on one thread."""
    store = Path(tempfile.mkdtemp())
    try:
        with Gallery(folder, store=store, encoder=encoder) as gallery:
            told = gallery.update()
        command = [sys.executable, __file__, str(folder), "--fit", str(store)]
        one = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        seconds = float(subprocess.run(command, env=one, stdout=subprocess.PIPE, check=True).stdout)
        return told.images_per_second, seconds / told.images
    finally:
        shutil.rmtree(store)


def fit_here(folder: Path, store: Path) -> float:
    """Return the seconds that a gallery's fit and all its embeddings take, on one thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with Gallery(folder, store=store) as gallery:
        gallery.update(refit=True)  # whatever is loaded at first
        rest = gallery.update().seconds
        return float(np.median([gallery.update(refit=True).seconds - rest for _ in range(3)]))


def steps(folder: Path, encoder: Encoder, part: slice = slice(None)) -> dict[str, float]:
    """Return the seconds that each step but the fit takes for an image, on one thread; part: of the sample."""
    began = time.perf_counter()
    found = [image for image in find_images(folder) if not image.problem]
    finding = (time.perf_counter() - began) / len(found)
    some = found[:: max(1, len(found) // SAMPLE)][part]
    seconds = dict.fromkeys(STEPS[1:-1], 0.0)
    squares: list[NDArray[np.uint8]] = []
    features: list[NDArray[np.float32]] = []
    contents: list[bytes] = []

    def timed(step: str, start: float) -> float:
        now = time.perf_counter()
        seconds[step] += now - start
        return now

    for image in some:
        now = time.perf_counter()
        data = (folder / image.path).read_bytes()
        contents.append(hashlib.sha256(data).digest())
        now = timed("read", now)
        picture = open_image(data, encoder.resized_side)
        now = timed("decode", now)
        squares.append(encoder.preprocess(picture))
        timed("resize", now)
    for start in range(0, len(squares), encoder.batch):
        batch = np.stack(squares[start : start + encoder.batch])
        now = time.perf_counter()
        features.extend(encoder.encode(batch).pooled)
        timed("encode", now)
    with tempfile.TemporaryDirectory() as place:
        store = Store.create(Path(place), encoder.identity.as_dict())
        now = time.perf_counter()
        with store.transaction() as changes:
            for image, content, feature in zip(some, contents, features, strict=True):
                place_of = changes.append(feature)
                changes.put(Row(0, image.path, image.size, image.mtime_ns, content, *place_of))
        timed("store", now)
        store.close()
    return {"find": finding} | {step: value / len(some) for step, value in seconds.items()}


def write_pictures(folder: Path, start: int, stop: int) -> None:
    """Write JPEGs of the numbers [start, stop), a thousand to a folder: of a few pictures, no two files alike."""
    drawn = np.random.default_rng(0)
    files = []
    for _ in range(PICTURES):
        coarse = drawn.integers(0, 256, (8, 8, 3), np.uint8)
        file = BytesIO()
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    for number in range(start, stop):
        path = folder / f"{number // 1000:04}" / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data, comment = files[number % PICTURES], struct.pack(">HHQ", 0xFFFE, 10, number)
        path.write_bytes(data[:2] + comment + data[2:])  # behind the mark that begins a JPEG


def index_here(folder: Path, precision: str) -> dict[str, float]:
    """Index a folder; return images, images/s and the most memory that this process has had."""
    with (
        tempfile.TemporaryDirectory() as store,
        Gallery(folder, store=store, encoder=DEFAULT, precision=precision) as gallery,
    ):
        told = gallery.update()
    return {"images": told.indexed, "images_per_second": told.images_per_second, "peak_bytes": peak_bytes()}


def index_many(count: int, precision: str) -> list[dict[str, float]]:
    """Index a tenth of many small pictures, then all, each into a new gallery and in a process of its own."""
    told: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as place:
        for start, stop in ((0, count // 10), (count // 10, count)):
            write_pictures(Path(place), start, stop)
            command = [sys.executable, __file__, place, "--here", "--precision", precision]
            told.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    return told


def many(options: argparse.Namespace) -> None:
    """Measure many small pictures, and print."""
    info, load = machine(), os.getloadavg()[0]
    # loaded here first: where its graph must be built, that isn't measured
    precision = load_encoder(precision=options.precision).identity.precision
    runs = index_many(options.many, precision)
    few, all_of = runs
    more = (all_of["peak_bytes"] - few["peak_bytes"]) / (all_of["images"] - few["images"])
    lines = [
        f"{info['cpu']}, {info['cores']} cores, Python {info['python']}; {precision}, JPEGs of {SIDE} × {SIDE}",
        *(
            f"{run['images']:>9,} images: {run['images_per_second']:6.1f} images/s, "
            f"peak memory {run['peak_bytes'] / 1e6:,.0f} MB"
            for run in runs
        ),
        f"{more:,.0f} bytes of memory for each image more",
    ]
    result = {"machine": info, "load_before": load, "precision": precision, "runs": runs, "bytes_per_image": more}
    report("index_many", result, lines, as_json=options.json)


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the steps as one bar, and each round's images/s against its limit."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.8), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(1, 2.4))
    left = 0.0
    total = sum(result["milliseconds_per_image"].values())
    colours = ("#9aa5ad", "#8fb8de", "#3b6ea5", "#c98a1b", "#1f6f5c", "#7a5a9e", "#a03020")
    for (name, value), colour in zip(result["milliseconds_per_image"].items(), colours, strict=True):
        above.barh([0], [value], left=left, color=colour, label=f"{name} {value:.2f} ms")
        if value > total / 20:
            above.text(left + value / 2, 0, f"{value / total:.0%}", ha="center", va="center", color="white")
        left += value
    above.set(yticks=[], xlim=(0, total), xlabel="milliseconds an image, on one thread")
    above.legend(ncols=4, fontsize=9, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
    rates, limits = result["rounds_images_per_second"], result["rounds_limit"]
    at = np.arange(1, len(rates) + 1)
    below.bar(at, rates, 0.8, color="#1f6f5c", label="end to end")
    below.hlines(limits, at - 0.4, at + 0.4, color="#a03020", lw=2, label="limit: cores / sum of the steps")
    for place, rate, limit in zip(at.tolist(), rates, limits, strict=True):
        below.text(
            place, rate / 2, f"{rate:.0f}\n{rate / limit:.0%}", ha="center", va="center", color="white", fontsize=8
        )
    below.set(xticks=at, xlabel="round", ylabel="images/s", ylim=(0, 1.2 * max(*rates, *limits)))
    below.legend(ncols=2, fontsize=9, frameon=False, loc="upper left")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    info = result["machine"]
    figure.suptitle(
        f"Indexing {result['folder']}, {result['precision']}: {info['cpu']}, {info['cores']} cores", fontsize=10
    )
    figure.savefig(path, dpi=120)


def measure(folder: Path, name: str, options: argparse.Namespace) -> None:
    """Measure a folder in rounds, print and draw; name: what to call it."""
    load, rounds = os.getloadavg()[0], 2 if options.quick else options.rounds
    encoder = load_encoder(precision=options.precision)
    encoder.load()
    encoder.encode(np.zeros((1, encoder.input_side, encoder.input_side, 3), np.uint8))
    rates, taken = [], []
    for _ in range(rounds):  # in turn, so that a change of the machine's speed meets both
        before = steps(folder, encoder, slice(0, None, 2))
        rate, fit = end_to_end(folder, encoder)
        after = steps(folder, encoder, slice(1, None, 2))
        rates.append(rate)
        taken.append({name: (before[name] + after[name]) / 2 for name in before} | {"fit": fit})
    step = {name: float(np.median([each[name] for each in taken])) for name in STEPS}
    total, info = sum(step.values()), machine()
    limits = [info["cores"] / sum(each.values()) for each in taken]
    unfitted = [info["cores"] / (sum(each.values()) - each["fit"]) for each in taken]
    result = {
        "machine": info,
        "load_before": load,
        "folder": name,
        "precision": encoder.identity.precision,
        "rounds": rounds,
        "images_per_second": spread(rates),
        "limit_images_per_second": spread(limits),
        "ratio_to_limit": ratio(rates, limits),
        "limit_without_fit": spread(unfitted),
        "ratio_to_limit_without_fit": ratio(rates, unfitted),
        "milliseconds_per_image": {name: 1000 * value for name, value in step.items()},
        "share": {name: value / total for name, value in step.items()},
        "rounds_images_per_second": rates,
        "rounds_limit": limits,
    }
    is_default = encoder.identity.precision == encoder.precisions[0]
    file = "index_speed" if is_default else f"index_speed_{encoder.identity.precision}"
    report(file, result, lines(result), as_json=options.json, keep=not options.quick)
    if can_draw() and not options.quick:
        draw(result, RESULTS / f"{file}.png")


def ratio(rates: list[float], limits: list[float]) -> float:
    """Return the median of what was reached of each round's limit."""
    return float(np.median([rate / limit for rate, limit in zip(rates, limits, strict=True)]))


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result in words."""
    info, rate, limit = result["machine"], result["images_per_second"], result["limit_images_per_second"]
    return [
        f"{info['cpu']}, {info['cores']} cores, Python {info['python']}, onnxruntime {info['onnxruntime']}; "
        f"{result['rounds']} rounds, {result['precision']}",
        f"end to end  {rate['median']:6.1f} images/s (min {rate['min']:.1f}, max {rate['max']:.1f})",
        f"limit       {limit['median']:6.1f} images/s (cores / sum of the steps); "
        f"reached: {result['ratio_to_limit']:.0%}",
        f"            {result['limit_without_fit']['median']:6.1f} images/s without the fit; "
        f"reached: {result['ratio_to_limit_without_fit']:.0%}",
        *(
            f"  {name:8}{value:8.2f} ms an image on one thread, {result['share'][name]:6.1%} of the time"
            for name, value in result["milliseconds_per_image"].items()
        ),
    ]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--precision", help="of the network: int8 (default) or float32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--quick", action="store_true", help=f"2 rounds of {QUICK} images at most, about a minute; nothing is kept"
    )
    parser.add_argument("--many", type=int, metavar="N", help="index N small pictures instead, and tell the memory")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(index_here(options.folder, options.precision)))
    elif options.fit:
        print(fit_here(options.folder, options.fit))
    elif options.many:
        many(options)
    else:
        folder = options.folder or photos() / "animals100" / "gallery"
        with tempfile.TemporaryDirectory() as place:
            name = "/".join(folder.resolve().parts[-2:])
            measure(sample(folder, QUICK, Path(place)) if options.quick else folder, name, options)


if __name__ == "__main__":
    main()
