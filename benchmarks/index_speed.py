"""How fast a folder is indexed, end to end, and where the time goes.

    python benchmarks/index_speed.py [FOLDER] [--rounds 5] [--json]

Each round indexes FOLDER (animals100 by default) into a fresh gallery with all cores, then takes a sample of
it through each step on one thread. The limit is what the steps would give if every core were busy with them
all the time: cores / sum of the seconds that each step takes for an image.
"""

import argparse
import hashlib
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import machine, photos, report, spread
from congener import Gallery, load_encoder, open_image
from congener.encoders import Encoder
from congener.images import find_images
from congener.store import Row, Store

STEPS = ("read", "decode", "resize", "encode", "store")
SAMPLE = 160


def end_to_end(folder: Path, encoder: Encoder) -> float:
    """Return images/s of a fresh index, loading the model included, as `congener index` counts."""
    store = Path(tempfile.mkdtemp())
    try:
        with Gallery(folder, store=store, encoder=encoder) as gallery:
            return gallery.update().images_per_second
    finally:
        shutil.rmtree(store)


def steps(folder: Path, encoder: Encoder) -> dict[str, float]:
    """Return the seconds that each step takes for an image, on one thread."""
    found = [image for image in find_images(folder) if not image.problem]
    sample = found[:: max(1, len(found) // SAMPLE)]
    seconds = dict.fromkeys(STEPS, 0.0)
    squares: list[NDArray[np.uint8]] = []
    features: list[NDArray[np.float32]] = []
    contents: list[bytes] = []

    def timed(step: str, start: float) -> float:
        now = time.perf_counter()
        seconds[step] += now - start
        return now

    for image in sample:
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
            for image, content, feature in zip(sample, contents, features, strict=True):
                place_of = changes.append(feature)
                changes.put(Row(0, image.path, image.size, image.mtime_ns, content, *place_of))
        timed("store", now)
        store.close()
    return {step: value / len(sample) for step, value in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = options.folder or photos() / "animals100" / "gallery"
    encoder = load_encoder()
    encoder.encode(np.zeros((1, encoder.input_side, encoder.input_side, 3), np.uint8))

    rates, taken = [], []
    for _ in range(options.rounds):  # in turn, so that a change of the machine's speed meets both
        rates.append(end_to_end(folder, encoder))
        taken.append(steps(folder, encoder))
    step = {name: float(np.median([each[name] for each in taken])) for name in STEPS}
    total = sum(step.values())
    info = machine()
    limits = [info["cores"] / sum(each.values()) for each in taken]
    ratio = float(np.median([rate / limit for rate, limit in zip(rates, limits, strict=True)]))
    result = {
        "machine": info,
        "folder": folder.name,
        "rounds": options.rounds,
        "images_per_second": spread(rates),
        "limit_images_per_second": spread(limits),
        "ratio_to_limit": ratio,
        "milliseconds_per_image": {name: 1000 * value for name, value in step.items()},
        "share": {name: value / total for name, value in step.items()},
    }
    rate, limit = result["images_per_second"], result["limit_images_per_second"]
    lines = [
        f"{info['cpu']}, {info['cores']} cores, Python {info['python']}, onnxruntime {info['onnxruntime']}; "
        f"{options.rounds} rounds",
        f"end to end  {rate['median']:6.1f} images/s (min {rate['min']:.1f}, max {rate['max']:.1f})",
        f"limit       {limit['median']:6.1f} images/s (cores / sum of the steps); reached: {ratio:.0%}",
        *(
            f"  {name:8}{1000 * value:8.2f} ms an image on one thread, {value / total:6.1%} of the time"
            for name, value in step.items()
        ),
    ]
    report("index_speed", result, lines, as_json=options.json)


if __name__ == "__main__":
    main()
