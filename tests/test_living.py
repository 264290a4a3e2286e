"""One gallery that lives: from today's tree, and from each format of before that a sample was kept of."""

from pathlib import Path

import pytest

from .living import Life

SAMPLES = [None, *sorted((Path(__file__).parent / "data").glob("format-*.zip"))]


def name(sample: Path | None) -> str:
    return sample.stem if sample else "new"


def live(place: Path, rounds: int, seed: int, sample: Path | None) -> Life:
    life = Life(place / "life", seed, sample)
    life.live(rounds)
    print(dict(life.counts))  # noqa: T201
    return life


@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_a_gallery_lives(tmp_path: Path, sample: Path | None) -> None:
    life = live(tmp_path, 10 if sample is None else 3, 1, sample)
    assert life.counts["compared"]


@pytest.mark.long
@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_a_gallery_lives_long(tmp_path: Path, sample: Path | None) -> None:
    life = live(tmp_path, 300 if sample is None else 60, 2, sample)
    assert life.counts["killed"] > 30 or sample
