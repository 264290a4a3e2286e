"""Tiles: parts of a large picture that are converted one after the other, so that it isn't copied as a whole."""

from collections.abc import Iterator

SIDE = 2048
"""Of a tile, in pixels, at most."""


def tiles(size: tuple[int, int], factor: int = 1) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes that cover a picture of this size, their corners on multiples of the factor."""
    step = factor * max(1, SIDE // factor)
    for top in range(0, size[1], step):
        for left in range(0, size[0], step):
            yield left, top, min(left + step, size[0]), min(top + step, size[1])
