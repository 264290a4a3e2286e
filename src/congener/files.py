"""Find the images of a folder: every entry with an image suffix, those that can't be images with the reason."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from congener.images import not_a_file

HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
SUFFIXES = HEIC_SUFFIXES | {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
}
"""Endings, in lower case, by which a file counts as an image."""


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An entry with an image suffix."""

    path: str
    """Relative to the folder walked, / between parts; undecodable bytes as surrogates."""
    size: int = 0
    """In bytes."""
    mtime_ns: int = 0
    problem: str | None = None
    """Why it can't be an image, when that shows without opening it."""
    unreadable: bool = False
    """Whether that is for want of access: what the file holds is unknown."""


class Exclusion:
    """Decides which paths a list of globs leaves out.

    A glob with a / is matched with the whole relative path, one without with any part of it.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        """globs: as in `fnmatch`, case-sensitive; * matches / too."""
        self._whole = [glob.rstrip("/") for glob in globs if "/" in glob.rstrip("/")]
        self._part = [glob.rstrip("/") for glob in globs if "/" not in glob.rstrip("/")]

    def __call__(self, path: str) -> bool:
        """Tell whether the path, or a folder that it lies in, is left out."""
        parts = path.split("/")
        return any(fnmatchcase(part, glob) for part in parts for glob in self._part) or any(
            fnmatchcase("/".join(parts[:end]), glob) for end in range(1, len(parts) + 1) for glob in self._whole
        )


def find_images(root: Path, exclude: Sequence[str] = (), skip: Path | None = None) -> list[FoundImage]:
    """Return every entry below root with an image suffix, sorted by path.

    Hidden folders and `skip` (a gallery's own) are left out. Links are followed, each real folder is
    walked once, where it really lies rather than through a link. A folder that can't be listed is
    an entry with a problem, whatever its name: what lies in it is unknown, not gone.
    """
    left_out = Exclusion(exclude)
    visited = {_identity(path) for path in (skip,) if path and path.exists()}
    found: list[FoundImage] = []
    links: list[str] = []
    pending = [""]
    while pending or links:
        folder = pending.pop() if pending else links.pop(0)
        for entry in _list_folder(root, folder, visited, found):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if left_out(path):
                continue
            if _is_folder(entry):
                if not entry.name.startswith("."):
                    (links if entry.is_symlink() else pending).append(path)
                else:
                    continue
            if os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                found.append(_examine(entry, path))
        links.sort(key=os.fsencode)
    return sorted(found, key=lambda image: os.fsencode(image.path))


def _list_folder(
    root: Path, folder: str, visited: set[tuple[int, int]], found: list[FoundImage]
) -> list[os.DirEntry[str]]:
    path = root / folder
    try:
        identity = _identity(path)
        if identity in visited:
            return []
        visited.add(identity)
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        if not folder:
            raise
        found.append(FoundImage(folder, problem=f"folder can't be listed: {error.strerror}"))
        return []


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or no permission
        return False


def _examine(entry: os.DirEntry[str], path: str) -> FoundImage:
    try:
        status = entry.stat()
    except OSError as error:
        problem = _LINK_PROBLEMS.get(error.errno or 0) if entry.is_symlink() else None
        return FoundImage(path, problem=problem or str(error.strerror), unreadable=True)
    problem = not_a_file(status.st_mode)
    if not problem and status.st_size == 0:
        problem = "empty file (0 bytes)"
    return FoundImage(path, status.st_size, status.st_mtime_ns, problem)


_LINK_PROBLEMS = {errno.ENOENT: "broken link", errno.ENOTDIR: "broken link", errno.ELOOP: "a loop of links"}
