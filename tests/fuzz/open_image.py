"""Fuzz `congener.images.open_image`: nothing but ImageError may come out of it, whatever goes in.

    pip install atheris
    python -m tests.fuzz.open_image FOLDER -max_total_time=600

With atheris (coverage of Pillow's Python leads it; options as libFuzzer takes them; FOLDER keeps what it found, and
is begun with the sound files of `tests.corpus`). Without it, or with --plain, mutations by chance, the same each time:

    python -m tests.fuzz.open_image --plain --runs 20000 --seed 1
"""

import argparse
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from congener import limits
from congener.errors import ImageError
from congener.images import open_image, size_of
from tests import corpus

MEMORY = 4 << 30
PIXELS = 4_000_000
"""Fewer than the real limit: an input that takes seconds says nothing new."""


def open_one(data: bytes) -> bool:
    """Open a picture as indexing does, and without a target; return whether it can be read."""
    read = False
    for target in (64, None):
        try:
            picture = open_image(data, target)
        except ImageError as error:
            assert str(error).isprintable(), error  # noqa: PT017
        else:
            assert picture.mode == "RGB"
            assert min(picture.size) >= 1
            read = True
    with suppress(ImageError):
        assert min(size_of(data)) >= 1
    return read


def by_chance(runs: int, seed: int) -> int:
    """Open mutated files; return how many of them could be read."""
    rng = random.Random(seed)
    seeds = list(corpus.whole().values())
    read = 0
    for _ in range(runs):
        data = corpus.mutate(rng.choice(seeds), rng)
        if rng.random() < 0.1:  # two files in one
            data += corpus.mutate(rng.choice(seeds), rng)
        read += open_one(data)
    return read


def bound() -> None:
    """Bound memory and pixels of this process."""
    limits.PIXEL_LIMIT = PIXELS
    limits._LIMITS.clear()
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=corpus.SEED)
    options, rest = parser.parse_known_args(arguments)
    try:
        import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        atheris = None
    if atheris is None or options.plain:
        bound()
        read = by_chance(options.runs, options.seed)
        sys.stdout.write(f"{options.runs} inputs, {read} of them read; nothing but ImageError came out\n")
        return
    limits.PIXEL_LIMIT = PIXELS  # memory is libFuzzer's to bound: -rss_limit_mb
    limits._LIMITS.clear()
    folder = next((Path(name) for name in rest if not name.startswith("-")), None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in corpus.whole().items():
            (folder / name).write_bytes(content)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *rest], lambda data: open_one(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
