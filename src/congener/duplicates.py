"""Duplicates: groups of images that are copies of one another, exactly or nearly. It lists, it never deletes.

Exact copies have the same contents, by the hash in the catalogue. Near ones are looked for among each picture's
nearest by embedding, and then compared by their fingerprints: two photos of one kind have close embeddings, yet other
gradients.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from congener import codes, fingerprint
from congener.cores import cores
from congener.errors import CongenerError, ImageError
from congener.files import still_holds
from congener.fingerprint import BITS, Fingerprint, apart
from congener.gallery import Gallery
from congener.indexes.score import Whole, paired
from congener.labels import Labels
from congener.memory import Skipped
from congener.store import Row
from congener.update import Progress
from congener.workers import Workers

DEFAULT = 80
"""By how many bits of 512 near copies may differ. See docs/duplicates.md and benchmarks/duplicates.py."""

MOST = BITS // 2
"""What unrelated pictures differ by, on average: a larger threshold says nothing."""

NEIGHBOURS = 10
"""How many of a picture's nearest by embedding are compared with it."""

MIN_COSINE = 0.5
"""Of pooled features: below it two pictures aren't compared. These don't depend on what else is in the gallery."""

_BATCH = 1024  # queries at once: 4 MiB of scores for each 1,000 images
_PAIRS = 8192  # pairs of features at once: 80 MiB


@dataclass(frozen=True, slots=True)
class Member:
    """An image of a group."""

    id: int
    path: str
    """Relative to the gallery's folder."""
    label: str | None
    bytes: int
    """Of its file."""
    width: int
    """In pixels, as it is shown: turned as its EXIF orientation says."""
    height: int
    distance: int
    """How much it differs from the group's first, in bits of 512: see `fingerprint.apart`. 0 for an exact copy."""


@dataclass(frozen=True, slots=True)
class Group:
    """Images of which one would do. The first is the one worth keeping, see `find_duplicates`."""

    kind: Literal["copies", "near"]
    images: tuple[Member, ...]

    @property
    def bytes(self) -> int:
        """Of all but the first."""
        return sum(member.bytes for member in self.images[1:])


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What is there more than once. images = distinct + copies + near + len(skipped)."""

    images: int
    """In the gallery."""
    distinct: int
    """That would be left with one of each group."""
    copies: int
    """Exact copies beyond the first of their group."""
    near: int
    """Near copies beyond the first of their group."""
    bytes: int
    """Of the files of copies and near copies."""
    threshold: int
    groups: tuple[Group, ...]
    """Copies, then near ones, each by the path of their first."""
    skipped: tuple[Skipped, ...]
    """Files that are gone, changed or unreadable since they were indexed; they are in no group."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


class _Picture(NamedTuple):
    """One content: its files, those first that are worth keeping, and what they show."""

    rows: tuple[Row, ...]
    width: int
    height: int
    look: Fingerprint

    def members(self, labels: Labels, distance: int = 0) -> Iterator[Member]:
        for row in self.rows:
            yield Member(row.id, row.path, labels.of(row.path), row.size, self.width, self.height, distance)

    def worth(self) -> tuple[int, int, int, bytes]:
        """Sort first what is worth keeping."""
        row = self.rows[0]
        return (-self.width * self.height, -row.size, *_shortest(row))


def check(threshold: int) -> None:
    """Raise CongenerError for a threshold that says nothing."""
    if not 0 <= threshold <= MOST:
        raise CongenerError(f"threshold must be from 0 to {MOST} of {BITS} bits, not {threshold}")


def find_duplicates(gallery: Gallery, threshold: int = DEFAULT, progress: Progress | None = None) -> Duplicates:
    """Return the groups of images of a gallery, as it was updated last, that are copies or near copies.

    threshold: bits, 0 to `MOST`, in which a near copy may differ from the first of its group. progress: called with
    the numbers of pictures done and to do: first those whose nearest are looked for, then those that are opened.

    First in a group is what has most pixels, then most bytes, then the shortest path, as copies are named by
    adding to a name; then the least. Files of equal content are one group of copies, of which the first alone may be
    in a group of near copies too. Raises CongenerError for another threshold.
    """
    check(threshold)
    started = time.perf_counter()
    contents: defaultdict[bytes, list[Row]] = defaultdict(list)
    for row in gallery.rows():
        contents[row.content].append(row)
    files = list(contents.values())
    pairs = _candidates(gallery, files, progress)
    wanted = sorted({*pairs.ravel().tolist(), *(at for at, rows in enumerate(files) if len(rows) > 1)})
    pictures, skipped = _look_at_all(gallery.folder, [files[at] for at in wanted], progress)
    seen = dict(zip(wanted, pictures, strict=True))
    labels = gallery.labels
    there = [picture for picture in pictures if picture]
    copies = [Group("copies", tuple(each.members(labels))) for each in there if len(each.rows) > 1]
    near = [_near_group(group, labels) for group in _near(seen, pairs, threshold)]
    groups = *_by_path(copies), *_by_path(near)
    images, spare = sum(map(len, files)), [sum(len(each.images) - 1 for each in kind) for kind in (copies, near)]
    return Duplicates(
        images=images,
        distinct=images - sum(spare) - len(skipped),
        copies=spare[0],
        near=spare[1],
        bytes=sum(group.bytes for group in groups),
        threshold=threshold,
        groups=groups,
        skipped=tuple(sorted(skipped, key=lambda each: os.fsencode(each.path))),
        seconds=time.perf_counter() - started,
    )


def _candidates(gallery: Gallery, files: Sequence[Sequence[Row]], progress: Progress | None) -> NDArray[np.int64]:
    """Return pairs (m, 2) of contents, as positions in files, that may be near copies: each once, in order."""
    none = np.empty((0, 2), np.int64)
    if len(files) < 2:
        return none
    lens = gallery.lens(adapted=False)  # what was learned from labels is there to bring kinds together
    embedded = gallery.vectors(lens)
    index = gallery.index(embedded, lens)
    least = np.array([rows[0].id for rows in files])  # a content's least id is its key; they rise
    rows = np.flatnonzero(np.isin(embedded.keys, least))
    found = []
    for start in range(0, len(rows), _BATCH):
        here = rows[start : start + _BATCH]
        near = index.search(codes.unit(embedded.matrix[here]), NEIGHBOURS + 1).ids
        ends = np.stack([np.broadcast_to(embedded.keys[here, None], near.shape), near], axis=-1).reshape(-1, 2)
        found.append(np.sort(ends[np.isin(ends[:, 1], least) & (ends[:, 0] != ends[:, 1])]))
        if progress:
            progress(start + len(here), len(rows))
    pairs = np.unique(np.concatenate([none, *found]), axis=0)  # of ids
    pairs = pairs[_cosines(gallery, pairs) >= MIN_COSINE]
    return np.searchsorted(least, pairs)


def _cosines(gallery: Gallery, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the cosine (m,) of the pooled features of pairs of ids (m, 2)."""
    ids, features = gallery.features()
    at = np.minimum(np.searchsorted(ids, pairs), len(ids) - 1)
    cosines = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), _PAIRS):
        here = slice(start, start + _PAIRS)
        first, second = (Whole.of(codes.unit(features[at[here, end]])) for end in (0, 1))
        cosines[here] = paired(first, second)
    return np.where((ids[at] == pairs).all(axis=1), cosines, -1)  # an image may have gone meanwhile


def _look_at_all(
    folder: Path, files: Sequence[Sequence[Row]], progress: Progress | None
) -> tuple[list[_Picture | None], list[Skipped]]:
    """Look at each content, in as many processes as cores: see `congener.workers`."""
    pictures: list[_Picture | None] = []
    skipped: list[Skipped] = []
    with Workers() as workers, ThreadPoolExecutor(cores(), "congener") as pool:
        try:
            for picture, problems in pool.map(lambda rows: _look_at(folder, rows, workers), files):
                pictures.append(picture)
                skipped += problems
                if progress:
                    progress(len(pictures), len(files))
        finally:
            pool.shutdown(cancel_futures=True)
    return pictures, skipped


def _look_at(folder: Path, rows: Sequence[Row], workers: Workers) -> tuple[_Picture | None, list[Skipped]]:
    """Return what files of equal content show, if one can be read, and which of them are no longer so."""
    skipped = []
    present = []
    for row in sorted(rows, key=_shortest):
        problem = _changed(folder / row.path, row)
        if problem:
            skipped.append(Skipped(row.path, problem))
        else:
            present.append(row)
    while present:
        try:
            width, height, look = workers.call(fingerprint.read, os.path.abspath(folder / present[0].path))
            return _Picture(tuple(present), width, height, look), skipped
        except ImageError as error:
            skipped.append(Skipped(present.pop(0).path, str(error)))
    return None, skipped


def _changed(file: Path, row: Row) -> str | None:
    try:
        same = still_holds(file, row)
    except OSError as error:
        return f"can't be read: {error.strerror}"
    except ImageError as error:
        return str(error)
    return None if same else "changed since it was indexed: run again"


def _near(
    seen: dict[int, _Picture | None], pairs: NDArray[np.int64], threshold: int
) -> Iterator[list[tuple[_Picture, int]]]:
    """Yield groups of near copies, with the distance of each to the first, which it is within the threshold of.

    A chain of small steps may lead from one picture to quite another. So what hangs together is cut: the best of it
    with all that are near to that, then the best of the rest, and so on. What remains alone is near to nothing
    that is kept of a group, and is not listed.
    """
    there = {at: picture for at, picture in seen.items() if picture}
    for component in _components(_close(there, pairs, threshold)):
        rest = sorted((there[at] for at in component), key=_Picture.worth)
        while len(rest) > 1:
            differ = apart(np.stack([picture.look for picture in rest]), rest[0].look, threshold).tolist()
            group = [(picture, bits) for picture, bits in zip(rest, differ, strict=True) if bits <= threshold]
            rest = [picture for picture, bits in zip(rest, differ, strict=True) if bits > threshold]
            if len(group) > 1:
                yield group


def _close(there: dict[int, _Picture], pairs: NDArray[np.int64], threshold: int) -> list[list[int]]:
    """Return the pairs of pictures that are that close."""
    if not there:
        return []
    keys = np.array(sorted(there))
    looks = np.stack([there[at].look for at in keys.tolist()])
    pairs = pairs[np.isin(pairs, keys).all(axis=1)]
    ends = looks[np.searchsorted(keys, pairs)]
    near: list[list[int]] = pairs[apart(ends[:, 0], ends[:, 1], threshold) <= threshold].tolist()
    return near


def _components(pairs: Iterable[Sequence[int]]) -> Iterator[set[int]]:
    """Yield the sets that pairs connect."""
    beside: defaultdict[int, list[int]] = defaultdict(list)
    for a, b in pairs:
        beside[a].append(b)
        beside[b].append(a)
    done: set[int] = set()
    for start in beside:
        if start in done:
            continue
        component, pending = {start}, [start]
        while pending:
            fresh = set(beside[pending.pop()]) - component
            component |= fresh
            pending += fresh
        done |= component
        yield component


def _near_group(pictures: Sequence[tuple[_Picture, int]], labels: Labels) -> Group:
    return Group("near", tuple(next(picture.members(labels, bits)) for picture, bits in pictures))


def _by_path(groups: Iterable[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: os.fsencode(group.images[0].path))


def _shortest(row: Row) -> tuple[int, bytes]:
    return len(row.path), os.fsencode(row.path)
