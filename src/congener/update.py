"""Bring a gallery's store up to date with its folder.

Each of a few threads takes a batch of files through the whole way: its worker's process reads, hashes and decodes
them, then the thread encodes them while the process rests. So each pair keeps one core busy, and none waits for
another. This thread alone writes, in the order of the paths, and commits about once a second.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.cores import core_numbers, cores
from congener.encoders import Encoder
from congener.errors import GalleryError
from congener.images import Exclusion, FoundImage, find_images
from congener.reading import Outcome, read_files
from congener.store import Changes, Row, Store
from congener.workers import SECONDS, WorkerError, Workers

Progress = Callable[[int, int], None]
"""Called with the number of files done and the number to do."""

COMMIT_SECONDS = 1.0
"""What an interruption loses at most, in seconds of work."""

DECODE_SECONDS = SECONDS
"""What one picture may take to be read and decoded."""

TOGETHER = 4
"""Files that a process reads in one call: a call takes .25 ms beyond their reading."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was found and can't be searched."""

    path: str
    """Relative to the folder."""
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update did. found = indexed + unchanged + renamed + len(skipped)."""

    found: int
    """Entries with an image suffix."""
    indexed: int
    """Encoded: new, or with new contents."""
    unchanged: int
    renamed: int
    """Known by their contents under another path: renamed, moved or copied."""
    removed: int
    """Dropped from the gallery because their file is gone, or excluded now."""
    skipped: tuple[Skipped, ...]
    images: int
    """Searchable afterwards."""
    missing: int
    """Files gone, yet kept in the gallery: so many that a drive may be absent."""
    seconds: float
    """The whole run, loading the encoder included."""
    encoder: str

    @property
    def images_per_second(self) -> float:
        """indexed / seconds."""
        return self.indexed / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self) | {
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "images_per_second": self.images_per_second,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that was read: its content's hash, and what became of it."""

    image: FoundImage
    content: bytes = b""
    feature: NDArray[np.float32] | None = None
    """(d,), or None where the same content is in the gallery already."""
    problem: str | None = None
    unreadable: bool = False
    """Whether that is for want of access: what the file holds is unknown."""


def update_store(
    store: Store,
    folder: Path,
    encoder: Encoder,
    *,
    exclude: Sequence[str] | None = None,
    prune: bool = False,
    progress: Progress | None = None,
) -> UpdateReport:
    """Index what is new or changed in the folder, drop what is gone; inside the store's `writing`.

    Raises GalleryError when the folder is missing.
    """
    started = time.perf_counter()
    if not folder.is_dir() and not prune:
        raise GalleryError(
            f"the folder {folder} is missing; its {len(store)} images stay in the gallery (--prune removes them)"
        )
    if exclude is None:
        exclude = store.get("exclude")
    else:
        store.set("exclude", list(exclude))
    found = find_images(folder, exclude, skip=store.folder) if folder.is_dir() else []
    update = _Update(store, found)
    with closing(read_all(folder, update.to_read, encoder, update.slots)) as readings:
        for number, reading in enumerate(readings, 1):
            update.take(reading)
            if progress:
                progress(number, len(update.to_read))
    update.finish(Exclusion(exclude), prune)
    return update.report(time.perf_counter() - started, encoder)


def read_all(
    folder: Path,
    images: Sequence[FoundImage],
    encoder: Encoder,
    slots: dict[bytes, tuple[int, int]],
) -> Generator[Reading]:
    """Yield what became of each file, in order, from a thread and a process for each core.

    slots: content -> slot and checksum, of contents that need no encoding; may grow meanwhile.
    """
    if not images:
        return
    started, readable = 0, sum(not image.problem for image in images)
    with Workers(cores() + 1, DECODE_SECONDS) as workers:
        workers.start(min(1, readable))
        workers.start(min(cores(), -(-readable // TOGETHER)))
        own = core_numbers() if encoder.single_threaded else []
        pairs = len(own) or cores() + 1  # without a core of its own, one has it while another hands over
        with (
            ThreadPoolExecutor(1, "congener-load") as loading,
            ThreadPoolExecutor(pairs, "congener", workers.pair, (iter(own),)) as pool,
        ):
            try:
                if readable:
                    loading.submit(encoder.load)  # while the processes start, and begin to read
                pending: deque[Future[list[Reading]]] = deque()
                while True:
                    while len(pending) <= 2 * pairs and started < len(images):
                        batch = images[started : started + _batch_size(len(images) - started, pairs, encoder)]
                        started += len(batch)
                        pending.append(pool.submit(read_batch, folder, batch, encoder, slots, workers))
                    if not pending:
                        return
                    yield from pending.popleft().result()
            finally:
                workers.close()  # first: what is being decoded ends now
                pool.shutdown(cancel_futures=True)


def _batch_size(left: int, pairs: int, encoder: Encoder) -> int:
    """Return how many of the images that are left make the next batch: smaller ones towards the end, for all to share.

    Source: C. D. Polychronopoulos, D. J. Kuck, "Guided self-scheduling" (IEEE Transactions on Computers, 1987).
    """
    return min(encoder.batch, max(TOGETHER, left // (2 * pairs)))


def read_batch(
    folder: Path,
    images: Sequence[FoundImage],
    encoder: Encoder,
    slots: dict[bytes, tuple[int, int]],
    workers: Workers,
) -> list[Reading]:
    """Read, hash, decode and encode a few files."""
    readings: list[Reading] = []
    pixels: list[NDArray[np.uint8]] = []
    positions: list[int] = []
    readable = [image for image in images if not image.problem]
    outcomes = iter(read(folder, readable, encoder, slots, workers))
    for image in images:
        content, square, problem, unreadable = (
            (b"", None, image.problem, image.unreadable) if image.problem else next(outcomes)
        )
        if square is not None:
            positions.append(len(readings))
            pixels.append(np.asarray(square))
        readings.append(Reading(image, content, None, problem, unreadable))
    if pixels:
        for position, feature in zip(positions, encode(encoder, pixels), strict=True):
            if np.isfinite(feature.astype(np.float16)).all():
                readings[position] = replace(readings[position], feature=feature)
            else:
                problem = "the encoder gave no finite feature"
                readings[position] = Reading(images[position], problem=problem)
    return readings


def encode(encoder: Encoder, pixels: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the pooled features of preprocessed pictures."""
    return encoder.encode(np.stack(pixels)).pooled


def read(
    folder: Path,
    images: Sequence[FoundImage],
    encoder: Encoder,
    slots: dict[bytes, tuple[int, int]],
    workers: Workers,
) -> list[Outcome]:
    """Have files read, a few in one call; those of a call that its process didn't survive one by one."""
    # whole paths: the process may have started in another folder
    files = [(os.path.abspath(folder / image.path), (image.size, image.mtime_ns)) for image in images]
    how = encoder.resized_side, encoder.preprocessing

    def known(contents: list[bytes]) -> list[bool]:
        return [content in slots for content in contents]

    def call(some: Sequence[tuple[str, tuple[int, int]]]) -> list[Outcome]:
        try:
            outcomes: list[Outcome] = workers.call(read_files, some, *how, answer=known)
        except WorkerError as error:
            if len(some) == 1:
                return [(b"", None, str(error), False)]
            return [outcome for file in some for outcome in call([file])]
        return outcomes

    starts = range(0, len(files), TOGETHER)
    return [outcome for start in starts for outcome in call(files[start : start + TOGETHER])]


class _Update:
    """One run: what is known, what was found, and the changes that follow."""

    def __init__(self, store: Store, found: Sequence[FoundImage]) -> None:
        self._store = store
        self._found = found
        self._before = 0
        self._rows: dict[str, Row] = {}  # not of unchanged files: a million would take half a gigabyte
        self._gone: dict[str, Row] = {}
        changed = {image.path: image for image in found}
        for row in store.rows():
            self._before += 1
            image = changed.get(row.path)
            if image is None:
                self._gone[row.path] = row
            elif image.problem or (row.size, row.mtime_ns) != (image.size, image.mtime_ns):
                self._rows[row.path] = row
            else:
                del changed[row.path]
        self.to_read = [image for image in found if image.path in changed]
        self.slots = store.slots() if self.to_read else {}
        self._gone_by_content: dict[bytes, list[Row]] = {}
        for row in reversed(self._gone.values()):
            self._gone_by_content.setdefault(row.content, []).append(row)
        self._pending: list[Reading] = []
        self._committed = time.monotonic()
        self._indexed = self._renamed = self._removed = self._missing = 0
        self._skipped: list[Skipped] = []

    def take(self, reading: Reading) -> None:
        """Note what was read; commit when it is time."""
        self._pending.append(reading)
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make what was noted lasting."""
        with self._store.transaction() as changes:
            for reading in self._pending:
                self._apply(reading, changes)
        self._pending.clear()
        self._committed = time.monotonic()

    def _apply(self, reading: Reading, changes: Changes) -> None:
        image = reading.image
        row = self._rows.get(image.path)
        if reading.problem:
            self._skipped.append(Skipped(image.path, reading.problem))
            if row and not reading.unreadable:  # what was indexed is no longer there
                changes.delete([row.id])
            return
        known = self.slots.get(reading.content)
        if known is None:
            assert reading.feature is not None
            known = changes.append(reading.feature)
            self.slots[reading.content] = known
            self._indexed += 1
        elif not (row and row.content == reading.content):  # else touched, with the same content
            self._renamed += 1
            row = row or self._moved(reading.content)
        id = row.id if row else 0
        changes.put(Row(id, image.path, image.size, image.mtime_ns, reading.content, *known))

    def _moved(self, content: bytes) -> Row | None:
        """Return the row of a file that is gone and had this content: it was renamed."""
        rows = self._gone_by_content.get(content)
        return self._gone.pop(rows.pop().path) if rows else None

    def finish(self, excluded: Exclusion, prune: bool) -> None:
        """Commit the rest, and drop what is gone, unless it is suspiciously much."""
        self.commit()
        unlisted = tuple(f"{image.path}/" for image in self._found if image.problem)
        left_out = {path for path in self._gone if excluded(path)}
        missing = {path for path in self._gone.keys() - left_out if prune or not path.startswith(unlisted)}
        if len(missing) > (self._before - len(left_out)) / 2 and not prune:
            self._missing = len(missing)
            missing = set()
        dropped = [self._gone[path].id for path in left_out | missing]
        with self._store.transaction() as changes:
            changes.delete(dropped)
        self._removed = len(dropped)

    def report(self, seconds: float, encoder: Encoder) -> UpdateReport:
        """Return the counts."""
        handled = self._indexed + self._renamed + len(self._skipped)
        return UpdateReport(
            found=len(self._found),
            indexed=self._indexed,
            unchanged=len(self._found) - handled,
            renamed=self._renamed,
            removed=self._removed,
            skipped=tuple(self._skipped),
            images=len(self._store),
            missing=self._missing,
            seconds=seconds,
            encoder=encoder.identity.name,
        )
