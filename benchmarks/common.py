"""What the benchmarks share: the machine in words, the photos, medians, and where results go."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def photos() -> Path:
    """Return the folder of real photos: CONGENER_DATA, or ../shared/data beside the project."""
    folder = Path(os.environ.get("CONGENER_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise SystemExit(f"no photos at {folder}: name a folder, or set CONGENER_DATA")
    return folder


def machine() -> dict[str, Any]:
    """Return the processor, its cores that this process may use, and the versions of what matters."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        model = fields.get("model name", model)
    packages = {name: version(name) for name in ("numpy", "pillow", "onnxruntime")}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "python": platform.python_version()} | packages


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def report(name: str, result: dict[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Print a result, as JSON or as lines for people, and keep it in benchmarks/results."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if as_json else "\n".join(lines))
