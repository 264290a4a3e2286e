"""A small natural-history cabinet that the package paints itself."""

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from congener.cabinet import fish, insects, lepidoptera, plants, sea
from congener.cabinet.scene import Mount, Painter, compose
from congener.errors import CongenerError
from congener.marks import SPECIMEN
from congener.outputs import Output

__all__ = ["KINDS", "Kind", "paint", "paint_cabinet"]


@dataclass(frozen=True)
class Kind:
    """One kind of specimen: its name is used for folders, its title for reading."""

    name: str
    title: str


_PINNED = Mount(reach=0.4, pinned=True)
_TAILED = Mount(reach=0.38, pinned=True)
_LEAF = Mount(reach=0.46, spin=0.9)
_SHELL = Mount(reach=0.44, spin=0.8)
_PAINTERS: dict[str, tuple[str, Painter, Mount]] = {
    "monarch-butterfly": ("Monarch butterfly", lepidoptera.monarch, _PINNED),
    "swallowtail-butterfly": ("Swallowtail butterfly", lepidoptera.swallowtail, _TAILED),
    "morpho-butterfly": ("Morpho butterfly", lepidoptera.morpho, _PINNED),
    "dragonfly": ("Dragonfly", insects.dragonfly, Mount(reach=0.47)),
    "stag-beetle": ("Stag beetle", insects.stag_beetle, Mount(reach=0.37)),
    "rose-chafer": ("Rose chafer", insects.rose_chafer, Mount(reach=0.45)),
    "river-perch": ("River perch", fish.perch, Mount(reach=0.47)),
    "angelfish": ("Angelfish", fish.angelfish, Mount(reach=0.42)),
    "chambered-nautilus": ("Chambered nautilus", sea.nautilus, _SHELL),
    "scallop-shell": ("Scallop shell", sea.scallop, _SHELL),
    "starfish": ("Starfish", sea.starfish, Mount(reach=0.46, spin=3.1)),
    "oak-leaf": ("Oak leaf", plants.oak_leaf, _LEAF),
    "maple-leaf": ("Maple leaf", plants.maple_leaf, _LEAF),
    "ginkgo-leaf": ("Ginkgo leaf", plants.ginkgo_leaf, _LEAF),
    "fly-agaric": ("Fly agaric mushroom", plants.mushroom, Mount(reach=0.45, spin=0.35)),
    "feather": ("Feather", plants.feather, Mount(reach=0.48, spin=0.9)),
}

KINDS: tuple[Kind, ...] = tuple(Kind(name, title) for name, (title, _, _) in _PAINTERS.items())


def paint(kind: str, specimen: int) -> Image.Image:
    """Paint one specimen; the same kind and number always give the same picture."""
    if kind not in _PAINTERS:
        raise CongenerError(f"unknown kind {kind!r}; the cabinet has: {', '.join(_PAINTERS)}")
    _, painter, mount = _PAINTERS[kind]
    seed = [zlib.crc32(kind.encode()), specimen]
    # Separate streams keep the backgrounds independent of the kind's own variation.
    body, scene = (np.random.default_rng([*seed, stream]) for stream in (0, 1))
    return compose(painter, mount, body, scene)


def paint_cabinet(folder: Path, *, specimens: int = 12, progress: Callable[[int, int], None] | None = None) -> None:
    """Write every kind's specimens into folders, and label_names.csv; keep existing pictures.

    Raises CongenerError where the folder can't be written, or holds something else.
    """
    names = folder / "label_names.csv"
    table = "".join(f"{label},{name}\n" for label, name in [("label", "name"), *((k.name, k.title) for k in KINDS)])
    total = len(KINDS) * specimens
    try:
        if folder.is_dir() and os.listdir(folder) and not (names.is_file() and names.read_text("utf-8") == table):
            raise CongenerError(f"{folder} is there already and isn't the demo's: name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        if not names.exists():  # first: by it the folder is known, should this be interrupted
            names.write_text(table, "utf-8", newline="")
        for index, kind in enumerate(KINDS):
            (folder / kind.name).mkdir(exist_ok=True)
            for specimen in range(1, specimens + 1):
                target = folder / kind.name / f"{kind.name}-{specimen:02}.jpg"
                if not os.path.lexists(target):
                    Output(target, SPECIMEN).write_picture(paint(kind.name, specimen), quality=90)
                if progress:
                    progress(index * specimens + specimen, total)
    except (OSError, ValueError) as error:
        raise CongenerError(f"can't paint into {folder}: {getattr(error, 'strerror', None) or error}") from None
