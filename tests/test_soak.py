"""Used for long, a gallery takes no more than at first, and answers as a fresh one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .soak import Figures

ROOT = Path(__file__).parents[1]
SECONDS = float(os.environ.get("CONGENER_SOAK_SECONDS", "600"))

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def soaked(seconds: float) -> Figures:
    """Soak in a process of its own, whose memory is nobody else's."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + 300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = Figures(**json.loads(done.stdout))
    print(  # noqa: T201
        f"{figures.rounds} rounds, {figures.images} images encoded, {figures.searches} searches in {seconds:g} s; "
        f"memory {figures.resident[0] / 1024:.0f} MB at first, {max(figures.resident) / 1024:.0f} MB at most, growth "
        + ", ".join(f"{name} {figures.growth(name):+g}" for name in ("resident", "handles", "maps", "threads"))
    )
    return figures


def assert_flat(figures: Figures, kilobytes: int) -> None:
    assert figures.growth("resident") <= kilobytes
    assert figures.growth("handles") <= 0
    assert figures.growth("threads") <= 0
    assert figures.growth("maps") <= 20
    assert max(figures.children) == 0
    assert max(figures.log) == 0
    assert max(figures.files) <= 16


def test_a_short_soak() -> None:
    """Too short for a trend, as usearch is loaded on the way: but nothing piles up."""
    figures = soaked(10)
    assert max(figures.resident) - figures.resident[0] <= 100_000
    assert max(figures.handles) <= 40
    assert max(figures.threads) <= 8
    assert max(figures.children) == 0
    assert max(figures.log) == 0


@pytest.mark.long
def test_a_soak() -> None:
    """An hour's work in ten minutes; CONGENER_SOAK_SECONDS says otherwise."""
    assert_flat(soaked(SECONDS), 20_000)
