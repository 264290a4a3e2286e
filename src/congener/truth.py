"""Truth: which queries are put to which images, and the labels to judge the answers by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from congener.codes import Array, Blend
from congener.errors import CongenerError, ImageError
from congener.files import find_images
from congener.gallery import Gallery
from congener.images import open_image
from congener.labels import TableFit, plain_path, read_table
from congener.marks import pass_over


@dataclass(frozen=True)
class Items:
    """Images with what an evaluation needs of each: queries, or a gallery."""

    files: list[Path]
    paths: list[str]
    """As they are shown."""
    labels: list[str | None]
    pooled: NDArray[np.floating]
    """(n, d)"""
    logits: Array | None
    """(n, c)"""
    ids: NDArray[np.int64]
    """Of the gallery; -1 for an image from elsewhere."""
    contents: NDArray[np.bytes_]
    """The hash of each file."""

    def __len__(self) -> int:
        return len(self.files)

    def chosen(self, rows: Sequence[int]) -> "Items":
        """Return some of them."""
        return Items(
            [self.files[row] for row in rows],
            [self.paths[row] for row in rows],
            [self.labels[row] for row in rows],
            self.pooled[rows],
            None if self.logits is None else self.logits[rows],
            self.ids[rows],
            self.contents[rows],
        )


@dataclass(frozen=True)
class Task:
    """Queries, the images that they are put to, and what the labels are called."""

    folder: Path
    queries: Items
    gallery: Items
    names: dict[str, str]
    """Label -> name to show."""
    blend: Blend | None
    """The gallery's own code, or None where it must be fitted on the gallery part alone."""
    labels: TableFit | None = None
    """How a table of the queries' labels fits them, where there is one."""

    @property
    def leaves_one_out(self) -> bool:
        """Whether every query is an image of the gallery."""
        return bool((self.own_rows() >= 0).any())

    def own_rows(self) -> NDArray[np.int64]:
        """Return for each query its own row among the images asked, -1 where it isn't there."""
        rows = {id: row for row, id in enumerate(self.gallery.ids.tolist())}
        return np.array([rows.get(id, -1) if id >= 0 else -1 for id in self.queries.ids.tolist()], np.int64)


# ground truth


def leave_one_out(gallery: Gallery) -> Task:
    """Return the task in which each labelled image asks for the others of its label."""
    items = gallery_items(gallery)
    labelled = [row for row, label in enumerate(items.labels) if label is not None]
    return _task(gallery, items.chosen(labelled), items)


def split_by(gallery: Gallery, table: Path) -> Task:
    """Return the task of a table with the columns path,label,is_query; paths relative to the table.

    Raises CongenerError for a table of another form, or paths that are not in the gallery.
    """
    items = gallery_items(gallery)
    files = _Files(items.files)
    chosen: dict[bool, list[int]] = {True: [], False: []}
    labels = list(items.labels)
    seen: set[int] = set()
    for line in read_table(table, ("path", "label", "is_query"), piped=True):
        row = files.find(table, line["path"])
        if row is None:
            raise CongenerError(f"{table}: {line['path']} is not among the images of {gallery.folder}")
        if row in seen:
            raise CongenerError(f"{table}: {line['path']} is there twice")
        seen.add(row)
        labels[row] = line["label"] or None
        chosen[_is_query(line["is_query"], table)].append(row)
    items = replace(items, labels=labels)
    task = _task(gallery, items.chosen(chosen[True]), items.chosen(chosen[False]))
    return replace(task, blend=None)


def queries_from(gallery: Gallery, folder: Path, table: Path | None = None) -> Task:
    """Return the task in which pictures from elsewhere ask.

    A query's label is its row in a table (path,label; paths relative to the table), else the name of its folder or
    its own name without suffix, whichever is a label of the gallery or its readable name. Raises CongenerError for
    images of the gallery itself, which would find themselves.
    """
    if not folder.is_dir():
        raise CongenerError(f"no such folder of queries: {folder}")
    items = gallery_items(gallery)
    called = _Called(_names(gallery, items))
    files = [folder / found.path for found in find_images(folder)]
    given, fit = ({}, None) if table is None else _labels_from(table, files)
    labels, features = [], []
    for number, file in enumerate(files):
        if gallery.member(file):
            raise CongenerError(f"{file} is in {gallery.folder} itself: leave out --queries, or mark it in a --split")
        try:
            picture = open_image(file, gallery.encoder.resized_side, judge=pass_over)
        except ImageError as error:
            raise CongenerError(f"{file}: {error}") from None
        labels.append(given.get(number) or called.label(file.parent.name) or called.label(file.stem))
        features.append(gallery.encoder.encode(gallery.encoder.preprocess(picture)[None]).pooled)
    if not files:
        raise CongenerError(f"no images in the folder of queries {folder}")
    pooled = np.concatenate(features)
    outside = np.full(len(files), -1, np.int64)
    paths = [str(file) for file in files]
    contents = np.zeros(len(files), "S64")
    queries = Items(files, paths, labels, pooled, gallery.encoder.logits(pooled), outside, contents)
    return replace(_task(gallery, queries, items), labels=fit)


class _Files:
    """Files by the paths of a table, which may be written as other systems do."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._exact = {file.resolve(): number for number, file in enumerate(files)}
        self._plain: dict[str, set[int]] = {}
        for file, number in self._exact.items():
            self._plain.setdefault(plain_path(str(file)), set()).add(number)

    def find(self, table: Path, path: str) -> int | None:
        """Return the number of the file that a table's path means, or None. Raises CongenerError for several."""
        number = self._exact.get((table.parent / path).resolve())
        if number is not None:
            return number
        meant = self._plain.get(plain_path(str((table.parent / plain_path(path)).resolve())), set())
        if len(meant) > 1:
            raise CongenerError(f"{table}: {path} may mean {len(meant)} files: write it as one of them is called")
        return next(iter(meant), None)


def _labels_from(table: Path, files: Sequence[Path]) -> tuple[dict[int, str], TableFit]:
    """Return the labels of files by their number, and how the table (path,label) fits them. Raises CongenerError."""
    known = _Files(files)
    given: dict[int, str] = {}
    lines = [
        (row["path"], row["label"])
        for row in read_table(table, ("path", "label"), piped=True)
        if row["path"] and row["label"]
    ]
    unfit, contradictory = [], []
    for path, label in lines:
        number = known.find(table, path)
        if number is None:
            unfit.append(path)
        elif given.setdefault(number, label) != label:
            contradictory.append(path)
    if lines and len(unfit) == len(lines):
        raise CongenerError(f"{table}: none of its {len(lines)} lines fits a query, the first being {unfit[0]}")
    return given, TableFit(table, len(lines), tuple(unfit), tuple(contradictory))


def gallery_items(gallery: Gallery) -> Items:
    """Return a gallery's images as items, by path: whatever the order they were indexed in."""
    labels = gallery.labels
    rows = {row.id: row for row in gallery.rows()}
    ids, pooled = gallery.features()
    order = sorted(range(len(ids)), key=lambda position: rows[int(ids[position])].path)
    ids, pooled = ids[order], pooled[order]
    paths = [rows[id].path for id in ids.tolist()]
    contents = np.array([rows[id].content.hex() for id in ids.tolist()], "S64")
    files = [gallery.folder / path for path in paths]
    named = [labels.of(path) for path in paths]
    return Items(files, paths, named, pooled, gallery.encoder.logits(pooled), ids, contents)


def _task(gallery: Gallery, queries: Items, items: Items) -> Task:
    if not any(label is not None for label in items.labels):
        raise CongenerError(
            f"{gallery.folder} has no labels to judge by: sort its images into folders, one a kind, "
            "or give a labels.csv"
        )
    fitted = gallery.fit
    blend = None if fitted is None else fitted.blend
    return Task(gallery.folder, queries, items, _names(gallery, items), blend)


def _names(gallery: Gallery, items: Items) -> dict[str, str]:
    labels = gallery.labels
    return {label: labels.name(label) or label for label in items.labels if label is not None}


class _Called:
    """Labels by what a query's file or folder is called: as it is spelt, else whatever the case and signs."""

    def __init__(self, names: dict[str, str]) -> None:
        """names: label -> name. A label goes before a name, a name before the part of it that ends at a comma."""
        self._known: list[tuple[Callable[[str], str], dict[str, list[str]]]] = []
        for fold in (str, _plain):
            for calls in ({each: each for each in names}, names, {k: v.split(",")[0] for k, v in names.items()}):
                known: dict[str, list[str]] = {}
                for label, called in calls.items():
                    known.setdefault(fold(called), []).append(label)
                self._known.append((fold, known))

    def label(self, text: str) -> str | None:
        """Return the label that is called so, None where none is, or several may be."""
        found = next((known[key] for fold, known in self._known if (key := fold(text)) and key in known), [])
        return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


def _is_query(text: str, table: Path) -> bool:
    plain = text.strip().lower()
    if plain not in ("0", "1", "false", "true", "no", "yes"):
        raise CongenerError(f"{table}: is_query is 0 or 1, not {text!r}")
    return plain in ("1", "true", "yes")
