"""Labels: what kind an image is of, from its folder or from a table, and names to show."""

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from congener.errors import GalleryError, unknown_name

_SHOWN = 20  # valid names in an error message


class Labels:
    """The labels of a gallery's images.

    An image's label is its row in FOLDER/labels.csv (path,label), else the name of its parent folder; one
    that lies in FOLDER itself has none. Names come from label_names.csv (label,name) in FOLDER or beside it.
    """

    def __init__(self, folder: Path) -> None:
        """folder: the gallery's. Raises GalleryError for a table without its columns."""
        self._labels = _mapping(folder / "labels.csv", "path", "label")
        self._names = _mapping(folder.absolute().parent / "label_names.csv", "label", "name")
        self._names |= _mapping(folder / "label_names.csv", "label", "name")

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


def _mapping(path: Path, key: str, value: str) -> dict[str, str]:
    """Return what a table maps, nothing where there is none; rows with an empty cell count for nothing."""
    if not path.exists():
        return {}
    return {row[key]: row[value] for row in read_table(path, (key, value)) if row[key] and row[value]}
