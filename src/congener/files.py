"""Find the images of a folder: every file with an image suffix, those that can't be images with the reason.

What isn't looked at is counted: what is passed over, and pictures of kinds that aren't read.
"""

import errno
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from congener.errors import GalleryError, ImageError
from congener.exclusion import Exclusion
from congener.images import not_a_file, open_file
from congener.schema import Row
from congener.stamp import Stamp, is_same
from congener.suffixes import HEAD_BYTES, HEIC_SUFFIXES, NO_PICTURES, SUFFIXES, UNREAD, kind_by_head, suffix_of

__all__ = [
    "HEIC_SUFFIXES",
    "SUFFIXES",
    "Exclusion",
    "FoundImage",
    "Listing",
    "find_images",
    "folder_exists",
    "list_images",
    "still_holds",
]

_OWN = ".congener"  # a gallery, of this folder or of one below


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A file with an image suffix."""

    path: str
    """Relative to the folder walked, / between parts; undecodable bytes as surrogates."""
    size: int = 0
    """In bytes."""
    mtime_ns: int = 0
    problem: str | None = None
    """Why it can't be an image, when that shows without opening it."""
    unreadable: bool = False
    """Whether that is for want of access: what the file holds is unknown."""
    ctime_ns: int = 0
    """When anything of it changed, and its number on its file system: see `congener.stamp.Stamp`."""
    inode: int = 0


@dataclass(frozen=True)
class Listing:
    """What was found in a folder, and what wasn't looked at."""

    images: list[FoundImage]
    """Sorted by path."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Files and folders, by the glob that they were passed over for."""
    unread: Counter[str] = field(default_factory=Counter)
    """Pictures of kinds that aren't read, by kind: raw, or a suffix."""
    misnamed: Counter[str] = field(default_factory=Counter)
    """Pictures that would be read but for their names, by format."""


def find_images(
    root: Path, exclude: Sequence[str] = (), skip: Path | None = None, *, default_exclude: bool = True
) -> list[FoundImage]:
    """Return every file below root with an image suffix, sorted by path: see `list_images`."""
    return list_images(root, exclude, skip, default_exclude=default_exclude).images


def list_images(
    root: Path,
    exclude: Sequence[str] = (),
    skip: Path | None = None,
    *,
    default_exclude: bool = True,
    heads: bool = False,
) -> Listing:
    """Return every file below root with an image suffix, and counts of what isn't looked at.

    exclude: globs to pass over, beside those of `congener.exclusion.DEFAULT_EXCLUDE` unless default_exclude is off;
    none of them is held against root itself. skip: a gallery's own folder. heads: whether to look into files whose
    suffix says nothing, for pictures under other names. Links are followed, each real folder is walked once, where it
    really lies rather than through a link. A folder that can't be listed is an entry with a problem, whatever its
    name: what lies in it is unknown, not gone.
    """
    return _Walk(root, Exclusion(exclude, default=default_exclude), heads).listing(skip)


class _Walk:
    """One walk through a folder."""

    def __init__(self, root: Path, exclusion: Exclusion, heads: bool) -> None:
        self._root = root
        self._exclusion = exclusion
        self._heads = heads
        self._found = Listing([])
        self._folders = [""]
        self._links: list[str] = []

    def listing(self, skip: Path | None) -> Listing:
        visited = {_identity(path) for path in (skip,) if path and path.exists()}
        while self._folders or self._links:
            folder = self._folders.pop() if self._folders else self._links.pop(0)
            for entry in _list_folder(self._root, folder, visited, self._found.images):
                self._take(entry, f"{folder}/{entry.name}" if folder else entry.name)
            self._links.sort(key=os.fsencode)
        self._found.images.sort(key=lambda image: os.fsencode(image.path))
        return self._found

    def _take(self, entry: os.DirEntry[str], path: str) -> None:
        try:
            is_folder = entry.is_dir()
        except OSError as error:  # of a link: what it leads to is unknown, not gone
            self._take_unknown(entry, path, error)
            return
        glob = self._exclusion.glob_of(path, entry.name, is_folder=is_folder)
        if is_folder:
            if entry.name == _OWN:
                return
            if glob is None:
                (self._links if entry.is_symlink() else self._folders).append(path)
        if glob is not None:
            self._found.passed_over[glob] += 1
        elif not is_folder:
            self._take_file(entry, path)

    def _take_unknown(self, entry: os.DirEntry[str], path: str, error: OSError) -> None:
        if self._exclusion.glob_of(path, entry.name, is_folder=True) is not None:
            return
        if suffix_of(entry.name) in SUFFIXES:
            self._take_file(entry, path)
        elif error.errno != errno.ELOOP:
            problem = f"can't be looked at: {error.strerror}"
            self._found.images.append(FoundImage(path, problem=problem, unreadable=True))

    def _take_file(self, entry: os.DirEntry[str], path: str) -> None:
        suffix = suffix_of(entry.name)
        if suffix in SUFFIXES:
            self._found.images.append(_examine(entry, path))
        elif suffix in UNREAD:
            self._found.unread[UNREAD[suffix]] += 1
        elif self._heads and suffix not in NO_PICTURES and (kind := _kind_of(entry)):
            (self._found.misnamed if kind[1] else self._found.unread)[kind[0]] += 1


def still_holds(file: Path, row: Row) -> bool:
    """Tell whether a file holds what was indexed: by its stamp, or its hash where only ctime or inode have changed.

    Raises OSError or ImageError where it can't be read.
    """
    stamp = Stamp.of(os.stat(file))
    if is_same(stamp, row):
        return True
    if not is_same(Stamp(*stamp[:2]), row):
        return False
    with open_file(file) as opened:
        return hashlib.file_digest(opened, "sha256").digest() == row.content


def folder_exists(path: Path) -> bool:
    """Tell whether there is a folder. Raises GalleryError where that can't be told, as of a disk that fails."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return False
    except OSError as error:
        raise GalleryError(f"can't look at the folder {path}: {error.strerror}") from error


def _kind_of(entry: os.DirEntry[str]) -> tuple[str, bool] | None:
    """Return `kind_by_head` of a file, None where it can't be read."""
    try:
        if not entry.is_file():
            return None
        with open_file(entry.path) as file:
            return kind_by_head(file.read(HEAD_BYTES))
    except (ImageError, OSError):
        return None


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
            raise GalleryError(f"the folder {root} can't be listed: {error.strerror}") from error
        found.append(FoundImage(folder, problem=f"folder can't be listed: {error.strerror}"))
        return []


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _examine(entry: os.DirEntry[str], path: str) -> FoundImage:
    try:
        status = entry.stat()
    except OSError as error:
        problem = _LINK_PROBLEMS.get(error.errno or 0) if entry.is_symlink() else None
        return FoundImage(path, problem=problem or str(error.strerror), unreadable=True)
    problem = not_a_file(status.st_mode)
    if not problem and status.st_size == 0:
        problem = "empty file (0 bytes)"
    size, mtime_ns, ctime_ns, inode = Stamp.of(status)
    return FoundImage(path, size, mtime_ns, problem, False, ctime_ns, inode)


_LINK_PROBLEMS = {errno.ENOENT: "broken link", errno.ENOTDIR: "broken link", errno.ELOOP: "a loop of links"}
