"""Outputs: what a command writes where its user says. Marked, so as to be known again; written aside, then renamed."""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from PIL import Image

from congener.errors import ChangedError, CongenerError
from congener.images import not_a_file
from congener.limits import OWN_RULES
from congener.marks import REPORT, command_of, mark_of, options

LABEL_TABLES = frozenset({"labels.csv", "label_names.csv"})

_GENERATOR = re.compile(rb'<meta name="generator" content="([\w ,-]{1,80})">')
_HEAD = 1024  # bytes in which a page says what made it


def made_by(path: Path) -> str | None:
    """Return the mark of a picture or page, or None where it has none, or can't be read."""
    with suppress(Exception), path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if page := _GENERATOR.search(file.read(_HEAD)):
            return page[1].decode()
        file.seek(0)
        with OWN_RULES, Image.open(file) as picture:
            return mark_of(picture)
    return None


class Output:
    """One file that a command writes.

    Nothing but an earlier output of the same command is written over, unless `force`; a link is never written through
    to something else.
    """

    def __init__(
        self,
        place: Path,
        mark: str,
        *,
        force: bool = False,
        asked: Iterable[str | os.PathLike[str]] = (),
        folders: Iterable[Path] = (),
        stores: Iterable[Path] = (),
    ) -> None:
        """mark: one of `congener.marks.MARKS`.

        asked: files that the command reads. folders, stores: of the galleries in use.
        """
        self.place, self.mark, self.force = place, mark, force
        self._asked, self._folders, self._stores = tuple(asked), tuple(folders), tuple(stores)

    def check(self) -> None:
        """Raise CongenerError, in one line, where it may not or can't be written: told before the work."""
        with _told(self.place):
            if self.mark != REPORT:
                self._check_format()
            elif self.place.suffix.lower() in Image.registered_extensions():
                raise ValueError("the report is a page (try .html)")
            if within(self.place, self._stores):
                raise ValueError("the gallery itself is kept there; choose another folder")
            if not self._target().parent.is_dir():
                raise ValueError(f"no such folder: {self.place.parent}")
        self.check_what_is_there()

    def _check_format(self) -> None:
        if options(_format_of(self.place), self.mark):
            return
        if folder := within(self.place, self._folders) or _gallery_above(self.place):
            raise ValueError(
                f"{self.place.suffix} holds no mark by which {folder} would know it as an output; "
                "try .png, .jpg or .webp, or another folder"
            )

    def check_what_is_there(self) -> None:
        """Raise CongenerError unless the place is free, or holds an earlier output of the same command."""
        with _told(self.place):
            self._check_what_is_there()

    def _check_what_is_there(self) -> None:
        if os.path.lexists(self.place) and (status := _status(self.place)):
            if problem := not_a_file(status.st_mode):
                raise ValueError(problem)
            if self.force:
                return
            if any(_same(status, each) for each in self._asked):
                raise ValueError("it is what this command reads; choose another name, or --force")
            if made_by(self.place) != self.mark:
                raise ValueError(
                    f"it is there already, and isn't an earlier output of {command_of(self.mark)}; "
                    "choose another name, or --force"
                )
        elif self._target().name.lower() in LABEL_TABLES and not self.force:
            raise ValueError("labels are read from a table of this name; choose another")

    def _target(self) -> Path:
        """Return where to write: behind a link to an earlier output; --force puts the file in the link's place."""
        return self.place if self.force else Path(os.path.realpath(self.place))

    def write_picture(self, picture: Image.Image, **how: Any) -> None:
        """Write a picture in the format of the place's suffix, marked. Raises CongenerError with the reason.

        how: what Pillow's writer of the format takes.
        """
        self.check()
        with _told(self.place):
            format = _format_of(self.place)
            _write(self._target(), lambda file: picture.save(file, format, **options(format, self.mark), **how))

    def write_page(self, page: str) -> None:
        """Write a page of HTML, which has the mark in its head: see `generator`. Raises CongenerError."""
        self.check()
        with _told(self.place):
            _write(self._target(), lambda file: file.write(page.encode()))


def copy(source: Path, place: Path, *, content: bytes = b"", force: bool = False) -> None:
    """Copy a file with its times; what is there already stays if it is the same, else unless `force`.

    content: the SHA-256 of what the file must hold; empty: anything. Raises OSError, CongenerError where something else
    is there, ChangedError where the file holds something else.
    """
    if os.path.lexists(place):
        if place.is_file() and filecmp.cmp(source, place, shallow=False):
            if content and hashlib.sha256(place.read_bytes()).digest() != content:
                raise ChangedError(f"{source}: changed since it was indexed")
            return
        if place.is_dir() or not force:
            advice = "choose an empty folder" + ("" if place.is_dir() else ", or --force writes over it")
            raise CongenerError(f"{place} is there already and differs: {advice}")

    def write(file: IO[bytes]) -> None:
        digest = hashlib.sha256()
        with source.open("rb") as original:
            while block := original.read(2**20):
                digest.update(block)
                file.write(block)
        if content and digest.digest() != content:
            raise ChangedError(f"{source}: changed since it was indexed")

    _write(place, write, lambda partial: shutil.copystat(source, partial))


def within(place: Path, folders: Iterable[Path], *, linked: bool = False) -> Path | None:
    """Return the folder of these that a place is in or below, whatever it may be called; else None.

    linked: or in a folder that is linked from below one of them.
    """
    known = {}
    for folder in folders:
        for each in (folder, *(_linked_folders(folder) if linked else ())):
            with suppress(OSError, ValueError):
                known[_identity(each)] = folder
    real = Path(os.path.realpath(place))
    for above in (real, *real.parents) if known else ():
        with suppress(OSError, ValueError):
            if found := known.get(_identity(above)):
                return found
    return None


def _gallery_above(place: Path) -> Path | None:
    """Return the folder that a place is in or below, if a gallery is kept there; else None."""
    above = Path(os.path.realpath(place)).parents
    return next((folder for folder in above if (folder / ".congener").is_dir()), None)


def _linked_folders(folder: Path) -> Iterator[str]:
    for parent, names, _ in os.walk(folder):
        yield from (path for name in names if os.path.islink(path := os.path.join(parent, name)))


def _identity(path: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _status(path: Path) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.stat(path)
    return None


def _same(status: os.stat_result, path: str | os.PathLike[str]) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samestat(status, os.stat(path))
    return False


def _format_of(place: Path) -> str:
    format = Image.registered_extensions().get(place.suffix.lower())
    if format is None or format not in Image.SAVE:
        raise ValueError(f"unknown file extension: {place.suffix} (try .png, .jpg or .webp)")
    return format


def _write(place: Path, write: Callable[[IO[bytes]], Any], finish: Callable[[Path], None] | None = None) -> None:
    """Write a file aside, and rename it once it is whole: what was there stays whole until then."""
    partial = place.with_name(f".congener-{os.urandom(6).hex()}.part")
    try:
        with partial.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if finish:
            finish(partial)
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Make what goes wrong one line that names the place."""
    try:
        yield
    except CongenerError:
        raise
    except (OSError, ValueError, RuntimeError, SystemError) as error:  # Pillow's encoders raise all of these
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise CongenerError(f"can't write {place}: {reason}") from None
