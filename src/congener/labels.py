"""Labels: what kind an image is of, from its folder or from a table, and names to show."""

import csv
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.errors import GalleryError, unknown_name
from congener.images import not_a_file

_SHOWN = 20  # valid names in an error message


@dataclass(frozen=True)
class TableFit:
    """How a table (path,label) fits the images that it is for."""

    table: Path
    lines: int = 0
    unfit: tuple[str, ...] = ()
    """Paths, as they stand there, of lines that fit no image."""
    contradictory: tuple[str, ...] = ()
    """Of lines that give an image another label than the one that it has by another line."""
    ambiguous: tuple[str, ...] = ()
    """Of lines that fit several images, whose paths differ only in how they are written."""
    names: tuple[str, ...] = ()
    """Labels that have two names in label_names.csv."""

    def as_dict(self) -> dict[str, Any]:
        """Return how many lines there are of each kind, and the first of each."""
        kinds = ("unfit", "contradictory", "ambiguous", "names")
        return {"lines": self.lines} | {
            kind: {"count": len(lines := getattr(self, kind)), "first": lines[0] if lines else None} for kind in kinds
        }

    def notes(self) -> list[str]:
        """Return a line for each kind of fault."""
        said = [
            (self.unfit, f"of {self.lines} lines fit no image"),
            (self.contradictory, f"of {self.lines} lines contradict another"),
            (self.ambiguous, f"of {self.lines} lines fit several images each"),
        ]
        notes = [f"{self.table}: {len(lines)} {what}; the first: {lines[0]}" for lines, what in said if lines]
        if self.names:
            notes.append(f"label_names.csv: {len(self.names)} labels have two names each; the first: {self.names[0]}")
        return notes


class PathTable:
    """A table (path,label); its paths may be written as other systems do: see `plain_path`."""

    def __init__(self, table: Path, root: Path) -> None:
        """root: the folder that the paths are relative to. Raises GalleryError for a table without its columns."""
        self.table = table
        self._root = root
        self._lines = _pairs(table, "path", "label")
        self._exact = dict(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        paths = {os.path.abspath(self._root), os.path.realpath(self._root)}
        return tuple(plain_path(path).rstrip("/") + "/" for path in paths)

    @cached_property
    def _by_plain(self) -> dict[str, str]:
        """The path, as it stands there, of the last line of each plain path."""
        return {plain_path(path, self._roots): path for path, _ in self._lines}

    def line_of(self, path: str) -> str | None:
        """Return the path, as it stands in its line, of what gives an image its label: exactly, else as it is meant."""
        if not self._lines or path in self._exact:
            return path if self._lines else None
        return self._by_plain.get(plain_path(path))

    def label(self, line: str) -> str:
        """Return the label of a line by its path, as it stands there."""
        return self._exact[line]

    def fit(self, used: Mapping[str, int]) -> TableFit:
        """Return how it fits images. Raises GalleryError where no line does; used: how many images have which line."""
        given: dict[str, set[str]] = {}  # labels by plain path
        for path in used:
            given.setdefault(plain_path(path, self._roots), set()).add(self._exact[path])
        unfit, contradictory = [], []
        for path, label in self._lines:
            labels = given.get(plain_path(path, self._roots))
            if labels is None:
                unfit.append(path)
            elif label not in ({self._exact[path]} if path in used else labels):
                contradictory.append(path)
        if self._lines and len(unfit) == len(self._lines):
            raise GalleryError(
                f"{self.table}: none of its {len(unfit)} lines fits an image, the first being {unfit[0]}; "
                f"paths are relative to {self._root}: mend the table, or remove it"
            )
        ambiguous = tuple(path for path, count in used.items() if count > 1)
        return TableFit(self.table, len(self._lines), tuple(unfit), tuple(contradictory), ambiguous)


def plain_path(path: str, roots: Iterable[str] = ()) -> str:
    """Return a path as all systems may mean it: / between parts, nothing superfluous, composed letters (NFC).

    roots: plain paths, each with a / at its end, of the folder that it is relative to; one of them is taken off.
    """
    if "\\" in path:
        path = path.replace("\\", "/")
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)
    if "//" in path or "./" in path:
        path = posixpath.normpath(path)
    for root in roots:
        if path.startswith(root):
            return path[len(root) :]
    return path


class Labels:
    """The labels of a gallery's images.

    An image's label is its row in FOLDER/labels.csv (path,label), else the name of its parent folder; one
    that lies in FOLDER itself has none. Names come from label_names.csv (label,name) in FOLDER or beside it.
    """

    def __init__(self, folder: Path) -> None:
        """folder: the gallery's. Raises GalleryError for a table without its columns."""
        table, *names = _tables(folder)
        self.table = PathTable(table, folder)
        self._names: dict[str, str] = {}
        self._two_names: list[str] = []
        for each in names:
            pairs = _pairs(each, "label", "name")
            given = dict(pairs)
            self._two_names += dict.fromkeys(label for label, name in pairs if given[label] != name)
            self._names |= given
        self._composed = {_composed(label): name for label, name in self._names.items() if not label.isascii()}

    @staticmethod
    def version(folder: Path) -> tuple[tuple[int, int] | None, ...]:
        """Return a value that changes whenever a table of the folder does."""
        return tuple(_size_and_time(table) for table in _tables(folder))

    def of(self, path: str) -> str | None:
        """Return the label of an image by its path relative to the folder, / between parts."""
        return self.by_line(path, self.table.line_of(path))

    def by_line(self, path: str, line: str | None) -> str | None:
        """Return the label of an image of which the line in the table is known, see `PathTable.line_of`."""
        if line is not None:
            return self.table.label(line)
        return path.rpartition("/")[0].rpartition("/")[2] or None

    def fit(self, used: Mapping[str, int]) -> TableFit:
        """Return how the table fits the images: see `PathTable.fit`."""
        return replace(self.table.fit(used), names=tuple(self._two_names))

    def name(self, label: str | None) -> str | None:
        """Return the name to show for a label; the label itself where no table names it."""
        if label is None or label in self._names or label.isascii():
            return None if label is None else self._names.get(label, label)
        return self._composed.get(_composed(label), label)

    def calls(self, label: str) -> set[str]:
        """Return what a label may be called: itself, its name, and the parts of that between commas."""
        name = self.name(label) or label
        return {label, name, *(part.strip() for part in name.split(","))}


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class ImageLabels:
    """The label of every image of a gallery."""

    ids: NDArray[np.int64]
    """(n,), rising."""
    numbers: NDArray[np.int32]
    """(n,) of the label of each among `labels`, -1 where it has none."""
    labels: tuple[str, ...]
    """The different ones, sorted."""
    fit: TableFit
    """How labels.csv fits the images."""

    @classmethod
    def of(cls, images: Iterable[tuple[int, str]], labels: Labels) -> Self:
        """Return those of images by id and path, ids rising. Raises GalleryError for a table that fits none of them."""
        seen: dict[str, int] = {}
        ids: list[int] = []
        numbers: list[int] = []
        used: Counter[str] = Counter()
        for id, path in images:
            line = labels.table.line_of(path)
            if line is not None:
                used[line] += 1
            label = labels.by_line(path, line)
            ids.append(id)
            numbers.append(-1 if label is None else seen.setdefault(label, len(seen)))
        order = sorted(seen)
        place = np.full(len(seen) + 1, -1, np.int32)  # the last is what -1 picks
        place[[seen[label] for label in order]] = np.arange(len(order))
        fit = labels.fit(used) if ids else TableFit(labels.table.table, len(labels.table))
        return cls(np.array(ids, np.int64), place[np.array(numbers, np.int64)], tuple(order), fit)

    def counts(self) -> dict[str, int]:
        """Return how many images have each label."""
        counts = np.bincount(self.numbers[self.numbers >= 0], minlength=len(self.labels))
        return dict(zip(self.labels, counts.tolist(), strict=True))

    def having(self, labels: Collection[str]) -> NDArray[np.int64]:
        """Return the ids, rising, of images with one of these labels."""
        numbers = [number for number, label in enumerate(self.labels) if label in labels]
        return self.ids[np.isin(self.numbers, numbers)]


def choose(asked: Sequence[str], calls: Mapping[str, Collection[str]]) -> set[str]:
    """Return the labels that texts ask for; what is no label as a whole is taken apart at its commas.

    calls: label to all that it may be called, see `Labels.calls`. What is spelt exactly so comes first, a label before
    a name; else case doesn't matter. Raises GalleryError for what is no label, or may be several.
    """
    spelt: dict[str, set[str]] = {}
    folded: dict[str, set[str]] = {}
    for label, names in calls.items():
        for name in names:
            spelt.setdefault(name, set()).add(label)
            folded.setdefault(_folded(name), set()).add(name)

    def find(text: str) -> set[str]:
        """Return the labels that a text as a whole asks for, nothing if it is none."""
        if text in calls:
            return {text}
        names = {text} if text in spelt else folded.get(_folded(text), set())
        found = set().union(*(spelt[name] for name in names))
        if len(names) > 1 and len(found) > 1:
            raise GalleryError(f"the label {text!r} may be {' or '.join(sorted(names))}: write it exactly so")
        return found

    chosen: set[str] = set()
    most = 1 + max((name.count(",") for name in spelt), default=0)
    for text in asked:
        parts = text.split(",")
        while parts:  # from the left the longest that is a label, since a name may have commas
            for end in range(min(len(parts), most), 0, -1):
                if found := find(",".join(parts[:end]).strip()):
                    break
            else:
                part = parts[0].strip()
                if part or not any(each.strip() for each in text.split(",")):
                    raise GalleryError(unknown_name("label", part, _nearest(part, spelt)))
            chosen |= found
            del parts[:end]
    return chosen


def _folded(text: str) -> str:
    return _composed(text).casefold()


def _nearest(text: str, names: Collection[str]) -> list[str]:
    """Return all names, or those most like a text where there are many, and how many more there are."""
    order = sorted(names, key=lambda name: (name.casefold(), name))
    if len(order) <= _SHOWN:
        return order
    near = get_close_matches(text, order, _SHOWN, cutoff=0.5) or order[:_SHOWN]
    return [*near, f"… ({len(names) - len(near):,} more)"]


def read_table(path: Path, columns: Sequence[str], *, piped: bool = False) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with these columns. Raises GalleryError where that can't be done.

    piped: it may be a pipe, as a shell makes of <(…); one that lies in a folder might keep who opens it waiting.
    """
    try:
        if (problem := not_a_file(os.stat(path).st_mode)) and not (piped and path.is_fifo()):
            raise GalleryError(f"can't read {path}: {problem}")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not set(columns) <= set(rows.fieldnames or ()):
                raise GalleryError(f"{path} must begin with a line that names its columns: {','.join(columns)}")
            for row in rows:
                if any("\0" in (row[column] or "") for column in columns):
                    raise GalleryError(f"{path}: line {rows.line_num} holds a NUL: is it a table of text?")
                if any(_surplus(row)):
                    raise GalleryError(
                        f"{path}: line {rows.line_num} has more cells than columns: put what has commas between quotes"
                    )
                if None in map(row.get, columns):
                    raise GalleryError(f"{path}: line {rows.line_num} must have {','.join(columns)}")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GalleryError(f"can't read {path}: {error}") from None


def _surplus(row: Mapping[Any, Any]) -> list[str]:
    """Return the cells of a row beyond its columns; empty ones, as spreadsheets write them, say nothing."""
    return [cell for cell in row.get(None) or () if cell.strip()]


def _tables(folder: Path) -> tuple[Path, Path, Path]:
    """Return where labels come from, then where names do, the last going first."""
    return folder / "labels.csv", folder.absolute().parent / "label_names.csv", folder / "label_names.csv"


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _pairs(path: Path, key: str, value: str) -> list[tuple[str, str]]:
    """Return the lines of a table, nothing where there is none; those with an empty cell count for nothing."""
    if not path.exists():
        return []
    return [(row[key], row[value]) for row in read_table(path, (key, value)) if row[key] and row[value]]
