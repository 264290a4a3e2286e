"""Labels: what kind an image is of, from its folder or from a table, and names to show."""

import csv
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from congener.errors import GalleryError, unknown_name

_SHOWN = 20  # valid names in an error message


class Labels:
    """The labels of a gallery's images.

    An image's label is its row in FOLDER/labels.csv (path,label), else the name of its parent folder; one
    that lies in FOLDER itself has none. Names come from label_names.csv (label,name) in FOLDER or beside it.
    """

    def __init__(self, folder: Path) -> None:
        """folder: the gallery's. Raises GalleryError for a table without its columns."""
        table, *names = _tables(folder)
        self._labels = _mapping(table, "path", "label")
        self._names: dict[str, str] = {}
        for each in names:
            self._names |= _mapping(each, "label", "name")

    @staticmethod
    def version(folder: Path) -> tuple[tuple[int, int] | None, ...]:
        """Return a value that changes whenever a table of the folder does."""
        return tuple(_size_and_time(table) for table in _tables(folder))

    def of(self, path: str) -> str | None:
        """Return the label of an image by its path relative to the folder, / between parts."""
        parent, _, _ = path.rpartition("/")
        return self._labels.get(path) or parent.rpartition("/")[2] or None

    def name(self, label: str | None) -> str | None:
        """Return the name to show for a label; the label itself where no table names it."""
        return None if label is None else self._names.get(label, label)

    def calls(self, label: str) -> set[str]:
        """Return what a label may be called, in lower case: itself, its name, and the parts of that between commas."""
        name = self._names.get(label, label)
        return {text.casefold() for text in (label, name, *(part.strip() for part in name.split(",")))}


@dataclass(frozen=True)
class ImageLabels:
    """The label of every image of a gallery."""

    ids: NDArray[np.int64]
    """(n,), rising."""
    numbers: NDArray[np.int32]
    """(n,) of the label of each among `labels`, -1 where it has none."""
    labels: tuple[str, ...]
    """The different ones, sorted."""

    @classmethod
    def of(cls, images: Iterable[tuple[int, str]], labels: Labels) -> Self:
        """Return those of images by id and path, ids rising."""
        seen: dict[str, int] = {}
        ids: list[int] = []
        numbers: list[int] = []
        for id, path in images:
            label = labels.of(path)
            ids.append(id)
            numbers.append(-1 if label is None else seen.setdefault(label, len(seen)))
        order = sorted(seen)
        place = np.full(len(seen) + 1, -1, np.int32)  # the last is what -1 picks
        place[[seen[label] for label in order]] = np.arange(len(order))
        return cls(np.array(ids, np.int64), place[np.array(numbers, np.int64)], tuple(order))

    def counts(self) -> dict[str, int]:
        """Return how many images have each label."""
        counts = np.bincount(self.numbers[self.numbers >= 0], minlength=len(self.labels))
        return dict(zip(self.labels, counts.tolist(), strict=True))

    def having(self, labels: Collection[str]) -> NDArray[np.int64]:
        """Return the ids, rising, of images with one of these labels."""
        numbers = [number for number, label in enumerate(self.labels) if label in labels]
        return self.ids[np.isin(self.numbers, numbers)]


def choose(asked: Sequence[str], calls: Mapping[str, Collection[str]]) -> set[str]:
    """Return the labels that texts ask for, in any case; what is no label as a whole is taken apart at its commas.

    calls: label to all that it may be called, see `Labels.calls`. Raises GalleryError for what is no label.
    """
    labels: dict[str, set[str]] = {}
    for label, names in calls.items():
        for name in names:
            labels.setdefault(name, set()).add(label)
    chosen = set()
    for text in asked:
        whole = text.strip().casefold()
        parts = [whole] if whole in labels else [part.strip() for part in whole.split(",") if part.strip()]
        for part in parts:
            if part not in labels:
                raise GalleryError(unknown_name("label", part, _nearest(part, labels)))
            chosen |= labels[part]
    return chosen


def _nearest(text: str, names: Collection[str]) -> list[str]:
    """Return all names, or those most like a text where there are many, and how many more there are."""
    if len(names) <= _SHOWN:
        return sorted(names)
    near = get_close_matches(text, names, _SHOWN, cutoff=0.5) or sorted(names)[:_SHOWN]
    return [*near, f"… ({len(names) - len(near):,} more)"]


def read_table(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with these columns. Raises GalleryError where that can't be done."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not set(columns) <= set(rows.fieldnames or ()):
                raise GalleryError(f"{path} must begin with a line that names its columns: {','.join(columns)}")
            for row in rows:
                if None in map(row.get, columns):
                    raise GalleryError(f"{path}: line {rows.line_num} must have {','.join(columns)}")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GalleryError(f"can't read {path}: {error}") from None


def _tables(folder: Path) -> tuple[Path, Path, Path]:
    """Return where labels come from, then where names do, the last going first."""
    return folder / "labels.csv", folder.absolute().parent / "label_names.csv", folder / "label_names.csv"


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _mapping(path: Path, key: str, value: str) -> dict[str, str]:
    """Return what a table maps, nothing where there is none; rows with an empty cell count for nothing."""
    if not path.exists():
        return {}
    return {row[key]: row[value] for row in read_table(path, (key, value)) if row[key] and row[value]}
