"""Bring a gallery's store up to date with its folder.

Each of a few threads takes a turn of files through the whole way: its worker's process reads, hashes and decodes
them, then the thread encodes them while the process rests. So each pair keeps one core busy, and none waits for
another. This thread alone writes, in the order of the paths, and commits about once a second.
"""

import os
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.cores import core_numbers, cores
from congener.disk import DTYPE
from congener.encoders import Encoder
from congener.errors import EncoderError, GalleryError
from congener.files import Exclusion, FoundImage, Listing, folder_exists, list_images
from congener.marks import is_output
from congener.memory import Memory, Skipped
from congener.reading import ACCESS, CHANCE, STATUS, File, Outcome, read_files
from congener.stamp import is_same, stamp_of
from congener.store import Changes, Row, Store
from congener.workers import SECONDS, WorkerError, Workers

Progress = Callable[[int, int], None]
"""Called with the number of files done and the number to do."""

COMMIT_SECONDS = 1.0
"""What an interruption loses at most, in seconds of work."""

DECODE_SECONDS = SECONDS
"""What one picture may take to be read and decoded."""

TOGETHER = 4
"""Files that a process reads in one call where it shares no memory: that can't tell then that it goes on."""

_BLOCK = 4096  # images that are stamped at once

TURN, TURN_SECONDS = 32, 0.15
"""Files that are decoded, then encoded, in one turn, and seconds it may take: who begins finds no cache of its own."""


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update did. found = indexed + unchanged + renamed + len(skipped)."""

    found: int
    """Files with an image suffix, but for those passed over."""
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
    passed_over: dict[str, int] = field(default_factory=dict)
    """Files and folders, by the glob that they were passed over for; and what Congener drew itself."""
    unread: dict[str, int] = field(default_factory=dict)
    """Pictures of kinds that aren't read, by kind: raw, or a suffix."""
    misnamed: dict[str, int] = field(default_factory=dict)
    """Pictures that would be read but for their names, by format."""

    @property
    def news(self) -> int:
        """How many files were skipped that were not so at the run before."""
        return sum(not skipped.remembered for skipped in self.skipped)

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
    feature: NDArray[np.float16] | None = None
    """(d,), as it is kept, or None where the same content is in the gallery already."""
    problem: str | None = None
    cause: str = ""
    """Of the problem: see `congener.reading.CAUSES`."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of a few files, in order, and how long that took."""

    readings: list[Reading]
    seconds: float


def update_store(
    store: Store,
    folder: Path,
    encoder: Encoder,
    *,
    exclude: Sequence[str] | None = None,
    default_exclude: bool | None = None,
    prune: bool = False,
    retry: bool = False,
    heads: bool = False,
    progress: Progress | None = None,
) -> UpdateReport:
    """Index what is new or changed in the folder, drop what is gone; inside the store's `writing`.

    exclude, default_exclude, heads: see `congener.files.list_images`; the first two as remembered where they are None.
    retry: try again what could not be read for what it holds. Raises GalleryError when the folder is missing.
    """
    started = time.perf_counter()
    there = folder_exists(folder)
    if not there and not prune:
        raise GalleryError(
            f"the folder {folder} is missing; its {len(store)} images stay in the gallery (--prune removes them)"
        )
    exclude = _remembered(store, "exclude", None if exclude is None else list(exclude))
    default = _remembered(store, "default_exclude", default_exclude)
    found = Listing([])
    if there:
        found = list_images(folder, exclude, store.folder, default_exclude=default, heads=heads)
    update = _Update(store, found, Memory(store, retry=retry))
    with closing(read_all(folder, update.to_read, encoder, update.slots)) as readings:
        for number, reading in enumerate(readings, 1):
            update.take(reading)
            if progress:
                progress(number, len(update.to_read))
    update.finish(Exclusion(exclude, default=default), prune)
    return update.report(time.perf_counter() - started, encoder)


def _remembered(store: Store, key: str, value: Any) -> Any:
    """Return a fact of the gallery, after it was set where there is a value for it."""
    if value is None:
        return store.get(key)
    store.set(key, value)
    return value


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
    own = core_numbers() if encoder.single_threaded else []
    pairs = len(own) or cores() + 1  # without a core of its own, one has it while another hands over
    most = max(TURN, encoder.batch)
    tray = most * (3 * encoder.input_side**2 + 8)
    with Workers(cores() + 1, DECODE_SECONDS, on=own, tray=tray) as workers:
        workers.start(min(cores(), -(-readable // TOGETHER)))
        with (
            ThreadPoolExecutor(1, "congener-load") as loading,
            ThreadPoolExecutor(pairs, "congener", workers.pair) as pool,
        ):
            try:
                if readable:
                    loading.submit(encoder.load)  # while the processes start, and begin to read
                pending: deque[Future[Turn]] = deque()
                pace = TURN_SECONDS
                while True:
                    while len(pending) <= 2 * pairs and started < len(images):
                        count = _turn_size(len(images) - started, pairs, most, pace)
                        some = images[started : started + count]
                        started += len(some)
                        pending.append(pool.submit(read_turn, folder, some, encoder, slots, workers))
                    if not pending:
                        return
                    turn = pending.popleft().result()
                    pace = turn.seconds / len(turn.readings)
                    yield from turn.readings
            finally:
                workers.close()  # first: what is being decoded ends now
                pool.shutdown(cancel_futures=True)


def _turn_size(left: int, pairs: int, most: int, pace: float) -> int:
    """Return how many of the images that are left make the next turn: fewer towards the end, for all to share.

    pace: seconds that an image took of late; slow ones make short turns, so that little is lost by an interruption.
    Source: C. D. Polychronopoulos, D. J. Kuck, "Guided self-scheduling" (IEEE Transactions on Computers, 1987).
    """
    calls = min(most, left // (2 * pairs), int(TURN_SECONDS / max(pace, 1e-6))) // TOGETHER
    return TOGETHER * max(1, calls)


def read_turn(
    folder: Path,
    images: Sequence[FoundImage],
    encoder: Encoder,
    slots: dict[bytes, tuple[int, int]],
    workers: Workers,
) -> Turn:
    """Read, hash, decode and encode a few files."""
    began = time.perf_counter()
    workers.clear()  # the pixels of the turn before
    readable = [image for image in images if not image.problem]
    outcomes, pixels = read(folder, readable, encoder, slots, workers)
    features = (encode(encoder, pixels) if pixels else np.empty((0, 0), np.float32)).astype(DTYPE)
    pixels.clear()  # before what lasts takes its place between them: 100 MB in a run of 20,000
    finite = np.logical_and.reduce(np.isfinite(features), axis=1)
    read_ones, encoded = iter(outcomes), zip(features, finite, strict=True)
    readings: list[Reading] = []
    for image in images:
        unread = (b"", False, image.problem, ACCESS if image.unreadable else STATUS)
        content, is_decoded, problem, cause = unread if image.problem else next(read_ones)
        feature, is_finite = next(encoded) if is_decoded else (None, True)
        if is_finite:
            readings.append(Reading(image, content, feature, problem, cause))
        else:
            readings.append(Reading(image, problem="the encoder gave no finite feature", cause=CHANCE))
    return Turn(readings, time.perf_counter() - began)


def encode(encoder: Encoder, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the pooled features (n, d) of preprocessed pictures, (k, side, side, 3) each; n: of all together."""
    if len(pixels) > 1 and encoder.batch > TOGETHER:
        pixels = [np.concatenate(pixels)]
    batches = [some[start : start + encoder.batch] for some in pixels for start in range(0, len(some), encoder.batch)]
    features = np.concatenate([encoder.encode(batch).pooled for batch in batches])
    if len(features) != (count := sum(map(len, pixels))):
        raise EncoderError(f"{encoder.identity.name} gave {len(features)} features for {count} pictures")
    return features


def read(
    folder: Path,
    images: Sequence[FoundImage],
    encoder: Encoder,
    slots: dict[bytes, tuple[int, int]],
    workers: Workers,
) -> tuple[list[Outcome], list[NDArray[np.uint8]]]:
    """Have files read, a few in one call; those of a call that its process didn't survive one by one.

    Returns what became of each, and the pixels of those that were decoded, (k, side, side, 3) of each call; they hold
    until `Workers.clear`.
    """
    root = os.path.abspath(folder)  # the process may have started in another folder
    files = [(os.path.join(root, image.path), stamp_of(image)) for image in images]
    how = encoder.resized_side, encoder.preprocessing
    outcomes: list[Outcome] = []
    pixels: list[NDArray[np.uint8]] = []

    def known(contents: list[bytes]) -> list[bool]:
        return [content in slots for content in contents]

    def call(some: Sequence[File]) -> None:
        try:
            read_ones, squares = workers.call(read_files, some, *how, answer=known)
        except WorkerError as error:
            if len(some) == 1:
                outcomes.append((b"", False, str(error), CHANCE))
            else:
                for file in some:
                    call([file])
        else:
            outcomes.extend(read_ones)
            if len(squares):
                pixels.append(np.asarray(squares))

    together = max(len(files), TOGETHER) if workers.has_trays else TOGETHER
    for start in range(0, len(files), together):
        call(files[start : start + together])
    return outcomes, pixels


class _Update:
    """One run: what is known, what was found, and the changes that follow."""

    def __init__(self, store: Store, listing: Listing, memory: Memory) -> None:
        self._store = store
        self._listing = listing
        self._found = found = listing.images
        self._memory = memory
        self._before = 0
        self._rows: dict[str, Row] = {}  # not of unchanged files: a million would take half a gigabyte
        self._gone: dict[str, Row] = {}
        self._unstamped = array("q")
        self._skipped = memory.known(found)
        changed = {image.path: image for image in found}
        for skipped in self._skipped:
            del changed[skipped.path]
        for row in store.rows():
            self._before += 1
            image = changed.get(row.path)
            if image is None:
                self._gone[row.path] = row
            elif image.problem or not is_same(row, image):
                self._rows[row.path] = row
            else:
                del changed[row.path]
                if image.ctime_ns and not row.ctime_ns:
                    self._unstamped.append(row.id)
        self.to_read = [image for image in found if image.path in changed]
        self.slots = store.slots() if self.to_read else {}
        self._gone_by_content: dict[bytes, list[Row]] = {}
        for row in reversed(self._gone.values()):
            self._gone_by_content.setdefault(row.content, []).append(row)
        self._pending: list[Reading] = []
        self._committed = time.monotonic()
        self._indexed = self._renamed = self._removed = self._missing = 0

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
            self._skipped.append(self._memory.note(image, reading.problem, reading.cause, changes))
            if row and reading.cause != ACCESS:  # what was indexed is no longer there
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
        stamp = stamp_of(image)
        if row and row.content == reading.content and is_same(row, stamp._replace(inode=0)):
            stamp = stamp._replace(inode=0)  # its file system gives new numbers to old files: they say nothing
        changes.put(Row(id, image.path, stamp.size, stamp.mtime_ns, reading.content, *known, *stamp[2:]))

    def _moved(self, content: bytes) -> Row | None:
        """Return the row of a file that is gone and had this content: it was renamed."""
        rows = self._gone_by_content.get(content)
        return self._gone.pop(rows.pop().path) if rows else None

    def finish(self, excluded: Exclusion, prune: bool) -> None:
        """Commit the rest, and drop what is gone, unless it is suspiciously much."""
        self.commit()
        unlisted = tuple(f"{image.path}/" for image in self._found if image.problem)
        left_out = {path for path in self._gone if excluded(path)}
        missing = {path for path in self._gone.keys() - left_out if not path.startswith(unlisted)}
        if len(missing) > (self._before - len(left_out)) / 2 and not prune:
            self._missing = len(missing)
            missing = set()
        dropped = [self._gone[path].id for path in left_out | missing]
        with self._store.transaction() as changes:
            changes.delete(dropped)
            self._memory.forget_others(self._skipped, changes)
        self._removed = len(dropped)
        self._add_stamps()

    def _add_stamps(self) -> None:
        """Keep ctime and inode of images that were indexed when neither was."""
        images = {image.path: image for image in self._found} if self._unstamped else {}
        for start in range(0, len(self._unstamped), _BLOCK):
            with self._store.transaction() as changes:
                for row in self._store.find_all(self._unstamped[start : start + _BLOCK]):
                    image = images[row.path]
                    changes.put(row._replace(ctime_ns=image.ctime_ns, inode=image.inode))

    def report(self, seconds: float, encoder: Encoder) -> UpdateReport:
        """Return the counts."""
        outputs = Counter(each.reason.removeprefix("an ") for each in self._skipped if is_output(each.reason))
        skipped = [each for each in self._skipped if not is_output(each.reason)]
        found = len(self._found) - outputs.total()
        handled = self._indexed + self._renamed + len(skipped)
        return UpdateReport(
            found=found,
            indexed=self._indexed,
            unchanged=found - handled,
            renamed=self._renamed,
            removed=self._removed,
            skipped=tuple(sorted(skipped, key=lambda each: os.fsencode(each.path))),
            images=len(self._store),
            missing=self._missing,
            seconds=seconds,
            encoder=encoder.identity.name,
            passed_over=dict((self._listing.passed_over + outputs).most_common()),
            unread=dict(self._listing.unread.most_common()),
            misnamed=dict(self._listing.misnamed.most_common()),
        )
