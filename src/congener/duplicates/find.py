"""Duplicates: groups of images that are copies of one another, exactly or nearly. It lists, it never deletes.

Exact copies have the same contents, by the hash in the catalogue. Near ones are looked for among each picture's
nearest, by embedding and by the hash of their fingerprints, and then compared by these and by a close look.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from congener import codes
from congener.cores import cores
from congener.duplicates.contents import Content, File, look_at_all
from congener.duplicates.fingerprint import BITS, as_vectors
from congener.duplicates.near import Near, near_groups
from congener.duplicates.worth import Link
from congener.errors import CongenerError
from congener.gallery import Gallery
from congener.indexes import ExactIndex
from congener.indexes.score import Whole, paired
from congener.labels import Labels
from congener.memory import Skipped
from congener.store import Row
from congener.update import Progress
from congener.workers import Workers

DEFAULT = 120
"""By how many bits of 512 near copies may differ. See docs/duplicates.md and benchmarks/duplicates.py."""

MOST = BITS // 2
"""What unrelated pictures differ by, on average: a larger threshold says nothing."""

NEIGHBOURS = 10
"""How many of a picture's nearest by embedding are compared with it."""

NEAREST_HASHES = 5
"""And of those by hash, in any tint or frame."""

MIN_COSINE = 0.3
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
    link: Link | None
    """Whether the path is a link, or another name of a file that is in the group already: it takes no room."""
    marked: bool
    """Whether it is the group's first with a mark on it, such as a name in a corner."""


@dataclass(frozen=True, slots=True)
class Group:
    """Images of which one would do. The first is the one worth keeping, see `find_duplicates`."""

    kind: Literal["copies", "near"]
    images: tuple[Member, ...]

    @property
    def bytes(self) -> int:
        """That could be saved: of all but the first, without links and what bears a mark."""
        return sum(member.bytes for member in self.images[1:] if not member.link and not member.marked)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What is there more than once. images = distinct + copies + near + links + len(skipped)."""

    images: int
    """In the gallery."""
    distinct: int
    """That would be left with one of each group."""
    copies: int
    """Exact copies beyond the first of their group."""
    near: int
    """Near copies beyond the first of their group."""
    marked: int
    """Those of the near that bear a mark which the first of their group has not."""
    links: int
    """Links, symbolic or hard, to what is counted already. They are in a group only beside copies."""
    bytes: int
    """That could be saved: of the files of copies and near copies, without links and what bears a mark."""
    threshold: int
    groups: tuple[Group, ...]
    """Copies, then near ones, each by the path of their first."""
    skipped: tuple[Skipped, ...]
    """Files that are gone, changed or unreadable since they were indexed; they are in no group."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def check(threshold: int) -> None:
    """Raise CongenerError for a threshold that says nothing."""
    if not 0 <= threshold <= MOST:
        raise CongenerError(f"threshold must be from 0 to {MOST} of {BITS} bits, not {threshold}")


def find_duplicates(gallery: Gallery, threshold: int = DEFAULT, progress: Progress | None = None) -> Duplicates:
    """Return the groups of images of a gallery, as it was updated last, that are copies or near copies.

    threshold: bits, 0 to `MOST`, in which a near copy may differ from the first of its group. progress: called with
    the numbers of pictures done and to do: first those whose nearest are looked for, then those that are opened.

    First in a group is what is worth keeping (see `worth`), but a clean picture before the same with a mark. Files
    of equal content are one group of copies, of which the first alone may be in a group of near copies too. Raises
    CongenerError for another threshold.
    """
    check(threshold)
    started = time.perf_counter()
    by_content: defaultdict[bytes, list[Row]] = defaultdict(list)
    for row in gallery.rows():
        by_content[row.content].append(row)
    files = list(by_content.values())
    pairs = _candidates(gallery, files, progress)
    with Workers() as workers, ThreadPoolExecutor(cores(), "congener") as pool:
        try:
            contents, skipped = look_at_all(gallery.folder, files, workers, pool, progress)
            there = {at: content for at, content in enumerate(contents) if content}
            pairs = np.concatenate([pairs, _alike(there)])
            groups, unread = near_groups(gallery.folder, there, pairs, threshold, workers, pool, progress)
            skipped += _without_unread(there, unread)
        finally:
            pool.shutdown(cancel_futures=True)
    labels = gallery.labels
    twice = [each for each in there.values() if each.is_twice]
    copies = [Group("copies", tuple(_members(each, each.files, labels, 0, False))) for each in twice]
    near = [_near_group(group, labels) for group in groups]
    images, again = sum(map(len, files)), [file.link is not None for each in there.values() for file in each.files[1:]]
    spare = sum(len(group) - 1 for group in groups)
    return Duplicates(
        images=images,
        distinct=images - len(again) - spare - len(skipped),
        copies=again.count(False),
        near=spare,
        marked=sum(each.marked for group in groups for each in group),
        links=again.count(True),
        bytes=sum(group.bytes for group in (*copies, *near)),
        threshold=threshold,
        groups=(*_by_path(copies), *_by_path(near)),
        skipped=tuple(sorted(skipped, key=lambda each: os.fsencode(each.path))),
        seconds=time.perf_counter() - started,
    )


def _without_unread(there: dict[int, Content], unread: Mapping[int, str]) -> list[Skipped]:
    """Take what couldn't be read for a close look from contents; return it."""
    skipped = []
    for at, reason in unread.items():
        first, *others = there[at].files
        skipped.append(Skipped(first.row.path, reason))
        if others:
            there[at] = replace(there[at], files=tuple(others))
        else:
            del there[at]
    return skipped


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


def _alike(there: Mapping[int, Content]) -> NDArray[np.int64]:
    """Return pairs (m, 2) of contents, by their keys, whose hashes are nearest: in another tint, a frame, other light.

    What an encoder makes of these may lie further off than ten other pictures of a kind.
    """
    if len(there) < 2:
        return np.empty((0, 2), np.int64)
    keys = np.array(sorted(there))
    looks = [there[at].look for at in keys.tolist()]
    framed = [at for at, look in enumerate(looks) if not np.array_equal(*look)]
    vectors = np.concatenate([as_vectors([look[0] for look in looks]), as_vectors([looks[at][1] for at in framed])])
    of = np.concatenate([np.arange(len(looks)), np.array(framed, np.int64)])  # which content a row is of
    index = ExactIndex.over(np.arange(len(vectors)), vectors)
    found = []
    for start in range(0, len(vectors), _BATCH):
        here = vectors[start : start + _BATCH].astype(np.float32)
        near = of[index.search(here, min(NEAREST_HASHES + 1, len(vectors))).ids]
        found.append(np.stack([np.broadcast_to(of[start : start + _BATCH, None], near.shape), near], axis=-1))
    pairs = np.sort(np.concatenate([each.reshape(-1, 2) for each in found]))
    alike: NDArray[np.int64] = keys[np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)]
    return alike


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


def _members(content: Content, files: Iterable[File], labels: Labels, bits: int, marked: bool) -> Iterator[Member]:
    for file in files:
        row = file.row
        yield Member(
            id=row.id,
            path=row.path,
            label=labels.of(row.path),
            bytes=row.size,
            width=content.width,
            height=content.height,
            distance=bits,
            link=file.link,
            marked=marked,
        )


def _near_group(group: Sequence[Near], labels: Labels) -> Group:
    each = (_members(near.content, near.content.files[:1], labels, near.bits, near.marked) for near in group)
    return Group("near", tuple(chain.from_iterable(each)))


def _by_path(groups: Iterable[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: os.fsencode(group.images[0].path))
