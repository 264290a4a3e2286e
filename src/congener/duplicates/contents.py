"""Contents: files that hold the same, what they are called, and what they show."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from congener.duplicates import fingerprint
from congener.duplicates.fingerprint import Fingerprint
from congener.duplicates.worth import Link, Worth, link_of, worth
from congener.errors import ImageError
from congener.files import still_holds
from congener.memory import Skipped
from congener.schema import Row
from congener.update import Progress
from congener.workers import Workers


class File(NamedTuple):
    """A path of the gallery, as it is now."""

    row: Row
    link: Link | None
    identity: tuple[int, int]
    """Device and inode: equal where two paths are one file."""


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What one or several files hold, those first that are worth keeping."""

    files: tuple[File, ...]
    width: int
    height: int
    camera: bool
    look: Fingerprint

    @property
    def is_twice(self) -> bool:
        """Whether it lies on the disk more than once."""
        return len({file.identity for file in self.files}) > 1

    def worth(self, others: Sequence[str]) -> Worth:
        """Return what sorts first the content that is worth keeping, of several with these paths."""
        file = self.files[0]
        return _worth(file, self.width * self.height, self.camera, others)


def _worth(file: File, pixels: int, camera: bool, others: Sequence[str]) -> Worth:
    row = file.row
    return worth(
        row.path,
        link=file.link == "symbolic",
        pixels=pixels,
        camera=camera,
        size=row.size,
        mtime_ns=row.mtime_ns,
        others=others,
    )


def look_at_all(
    folder: Path,
    contents: Sequence[Sequence[Row]],
    workers: Workers,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> tuple[list[Content | None], list[Skipped]]:
    """Look at each content, given as the rows of its files; None where none of them can be read any more."""
    seen: list[Content | None] = []
    skipped: list[Skipped] = []
    for content, problems in pool.map(lambda rows: _look_at(folder, rows, workers), contents):
        seen.append(content)
        skipped += problems
        if progress:
            progress(len(seen), len(contents))
    return seen, skipped


def _look_at(folder: Path, rows: Sequence[Row], workers: Workers) -> tuple[Content | None, list[Skipped]]:
    skipped: list[Skipped] = []
    files = list(_present(folder, rows, skipped))
    while files:
        try:
            width, height, camera, look = workers.call(fingerprint.read, os.path.abspath(folder / files[0].row.path))
            return Content(tuple(files), width, height, camera, look), skipped
        except ImageError as error:
            skipped.append(Skipped(files.pop(0).row.path, str(error)))
    return None, skipped


def _present(folder: Path, rows: Sequence[Row], skipped: list[Skipped]) -> Iterator[File]:
    """Yield the files that are still what was indexed, those first that are worth keeping; note the others."""
    files = []
    for row in rows:
        try:
            status = (folder / row.path).stat()
            is_same = still_holds(folder / row.path, row)
        except OSError as error:
            skipped.append(Skipped(row.path, f"can't be read: {error.strerror}"))
            continue
        except ImageError as error:
            skipped.append(Skipped(row.path, str(error)))
            continue
        if is_same:
            files.append(File(row, link_of(folder, row.path), (status.st_dev, status.st_ino)))
        else:
            skipped.append(Skipped(row.path, "changed since it was indexed: run again"))
    paths = [file.row.path for file in files]
    before: set[tuple[int, int]] = set()
    for file in sorted(files, key=lambda file: _worth(file, 0, False, paths)):
        again = file.identity in before
        before.add(file.identity)
        yield file._replace(link=file.link or ("hard" if again else None))
