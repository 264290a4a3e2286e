"""What the benchmarks share: the machine in words, photos and made embeddings, medians, and where results go."""

import hashlib
import json
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from congener import Gallery

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def photos() -> Path:
    """Return the folder of real photos: CONGENER_DATA, or ../shared/data beside the project."""
    folder = Path(os.environ.get("CONGENER_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise SystemExit(f"no photos at {folder}: name a folder, or set CONGENER_DATA")
    return folder


def sample(folder: Path, count: int, place: Path) -> Path:
    """Copy up to `count` files of a folder, evenly chosen, to a place; return it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    for file in files[:: -(-len(files) // count) or 1]:
        copy = place / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    return place


def blocks(count: int, dimension: int, seed: int, size: int = 100_000) -> Iterator[NDArray[np.float32]]:
    """Yield unit vectors (size at most, dimension) of the one mixture that a dimension has, `count` in all.

    1,000 kinds on a manifold of 40 dimensions, with noise on top. Another size draws others.
    """
    fixed, drawn = np.random.default_rng(0), np.random.default_rng(seed)
    basis = fixed.standard_normal((40, dimension), np.float32)
    kinds = fixed.standard_normal((1000, 40), np.float32)
    for start in range(0, count, size):
        some = min(size, count - start)
        inner = kinds[drawn.integers(0, 1000, some)] + 0.5 * drawn.standard_normal((some, 40), np.float32)
        part = inner @ basis + 0.3 * drawn.standard_normal((some, dimension), np.float32)
        yield part / np.linalg.norm(part, axis=1, keepdims=True)


def made(count: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Return all of `blocks` (count, dimension)."""
    out = np.empty((count, dimension), np.float32)
    start = 0
    for block in blocks(count, dimension, seed):
        out[start : start + len(block)] = block
        start += len(block)
    return out


def made_gallery(count: int, place: Path) -> "Gallery":
    """Return a gallery of the default encoder's, of `count` made features, over an empty folder."""
    from congener import Gallery, load_encoder
    from congener.store import Row, Store

    folder = place / "images"
    folder.mkdir()
    encoder = load_encoder()
    store = Store.create(place / "store", encoder.identity.as_dict())
    number = 0
    with store.writing():
        for block in blocks(count, encoder.identity.dimension, 1, 5_000):
            with store.transaction() as changes:
                for feature in np.abs(block):  # as after a rectifier
                    path = f"{number // 1000:03}/{number:06}.jpg"
                    content = hashlib.sha256(path.encode()).digest()
                    changes.put(Row(0, path, 1, 1, content, *changes.append(feature)))
                    number += 1
    store.close()
    gallery = Gallery(folder, store=place / "store", encoder=encoder)
    gallery.update(index="exact")  # the folder is empty: all are gone, and so all stay
    return gallery


def peak_bytes() -> int:
    """Return the most memory that this process has had, mapped files that it has read included."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def can_draw() -> bool:
    """Return whether there is matplotlib."""
    return find_spec("matplotlib") is not None


def machine() -> dict[str, Any]:
    """Return the processor, its cores that this process may use, and the versions of what matters."""
    from congener.cores import cores  # the environment of the peers has none

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        model = fields.get("model name", model)
    packages = {name: version(name) for name in ("numpy", "pillow", "onnxruntime")}
    return {"cpu": model, "cores": cores(), "python": platform.python_version()} | packages


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def report(name: str, result: dict[str, Any], lines: Sequence[str], *, as_json: bool, keep: bool = True) -> None:
    """Print a result, as JSON or as lines for people, and keep it in benchmarks/results unless it was but a look."""
    if keep:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if as_json else "\n".join(lines))
