"""Desk: one gallery, asked by many at once.

A few handles of the gallery, each used by one thread at a time, answer; pictures from outside are decoded in worker
processes that are replaced when they crash or take too long; what was made of pictures is kept.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as Picture

from congener.connection import CATALOGUE
from congener.cores import cores
from congener.errors import ChangedError, CongenerError, ImageError, UnknownImageError
from congener.gallery import Gallery
from congener.images import open_image
from congener.labels import ImageLabels, choose
from congener.original import Original, Source, Verified
from congener.query import Box, Prepared, Query
from congener.results import Results
from congener.store import Row
from congener.web.darkroom import Darkroom
from congener.web.facts import PAGE, Answer, Facts, Image, ImageFacts, LabelCount, Limits, Page, Upload
from congener.web.indexing import Progress
from congener.web.problems import RefusedError
from congener.web.question import Question

_LABELS_SHARE = 0.05  # of the time may go into the labels of all images, while these change


class Desk:
    """Its methods may be called from any thread."""

    def __init__(self, gallery: Gallery, limits: Limits, progress: Callable[[], Progress]) -> None:
        """gallery: what is asked; it isn't used itself, but opened anew. progress: of its indexing."""
        self.folder, self.limits = gallery.folder, limits
        self._store_folder, self._encoder = gallery.store_folder, gallery.encoder
        self._moved, self._progress = gallery.moved, progress
        self._handles: LifoQueue[tuple[int, Gallery] | None] = LifoQueue()  # with the inode of what it opened
        for _ in range(cores()):
            self._handles.put(None)
        self._flying = threading.BoundedSemaphore(limits.searches)
        self._darkroom = Darkroom(gallery.store_folder, gallery.encoder, limits)
        self._verified = Verified()
        self._labels: tuple[float, ImageLabels] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all that is open."""
        self._darkroom.close()
        while not self._handles.empty():
            handle = self._handles.get_nowait()
            if handle is not None:
                handle[1].close()

    def open_gallery(self) -> Gallery:
        """Return a handle of the gallery, to be closed by whoever asked for it."""
        return Gallery(self.folder, store=self._store_folder, encoder=self._encoder, moved=self._moved)

    @contextmanager
    def _borrowed(self) -> Iterator[Gallery]:
        try:
            inode = os.stat(self._store_folder / CATALOGUE).st_ino
        except OSError:
            raise RefusedError(503, f"{self.folder.resolve().name} is not indexed yet: try again") from None
        handle = self._handles.get()
        try:
            if handle is not None and handle[0] != inode:  # it was deleted, and made again
                handle[1].close()
                handle = None
            if handle is None:
                handle = inode, self.open_gallery()
            yield handle[1]
        finally:
            self._handles.put(handle)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a search as in flight. Raises RefusedError (503) when there are too many."""
        if not self._flying.acquire(blocking=False):
            raise RefusedError(503, f"{self.limits.searches} searches are in flight: try again")
        try:
            yield
        finally:
            self._flying.release()

    # the gallery

    def facts(self) -> Facts:
        """Return what there is to browse."""
        name = self.folder.resolve().name
        if not Gallery.exists_in(self._store_folder):
            return Facts(name, 0, (), 0, self._progress())
        with self._borrowed() as gallery:
            labels, names = self._image_labels(gallery), gallery.labels
            counts = [LabelCount(label, names.name(label) or label, n) for label, n in labels.counts().items()]
            images = len(gallery)
        counts.sort(key=lambda each: (each.name.casefold(), each.label))
        unlabelled = int((labels.numbers < 0).sum())
        return Facts(name, images, tuple(counts), unlabelled, replace(self._progress(), images=images))

    def images(self) -> int:
        """Return how many images can be searched."""
        if not Gallery.exists_in(self._store_folder):
            return 0
        with self._borrowed() as gallery:
            return len(gallery)

    def _image_labels(self, gallery: Gallery) -> ImageLabels:
        """Return the label of every image; for a moment the old ones while the gallery changes all the time."""
        with self._lock:
            if self._labels is not None and time.monotonic() < self._labels[0]:
                return self._labels[1]
        started = time.monotonic()
        labels = gallery.image_labels()  # quick where nothing has changed
        now = time.monotonic()
        with self._lock:
            self._labels = now + (now - started) / _LABELS_SHARE, labels
        return labels

    def wall(self, label: str | None, page: int) -> Page:
        """Return a page of the images, or of those of a label. Raises GalleryError for what is no label."""
        if not Gallery.exists_in(self._store_folder):
            return Page([], page, 0, 0)
        with self._borrowed() as gallery:
            labels = self._image_labels(gallery)
            ids = labels.ids
            if label:
                chosen = choose([label], {each: gallery.labels.calls(each) for each in labels.labels})
                ids = labels.having(chosen)
            first = (page - 1) * PAGE
            rows = [gallery.find(id) for id in ids[first : first + PAGE].tolist()]
            images = [self._image(gallery, row) for row in rows if row is not None]
        return Page(images, page, -(-len(ids) // PAGE), len(ids))

    @staticmethod
    def _image(gallery: Gallery, row: Row) -> Image:
        label = gallery.labels.of(row.path)
        return Image(row.id, row.path, label, gallery.labels.name(label))

    def row(self, id: int) -> Row:
        """Return the catalogue's row of an image. Raises UnknownImageError."""
        row = self._find(id)
        if row is None:
            raise UnknownImageError(id)
        return row

    def _find(self, id: int) -> Row | None:
        with self._borrowed() as gallery:
            return gallery.find(id)

    def image(self, id: int) -> ImageFacts:
        """Return an image and what its file says. Raises RefusedError (404)."""
        row = self.row(id)
        with self._borrowed() as gallery:
            image = self._image(gallery, row)
        width = height = None
        with suppress(CongenerError):  # it may be gone, or changed, since it was indexed
            self._check_served(row)
            width, height = self._darkroom.measure(self._original(row))
        modified = datetime.fromtimestamp(row.mtime_ns / 1e9, UTC).isoformat(timespec="seconds")
        return ImageFacts(id, row.path, image.label, image.label_name, width, height, row.size, modified)

    def _original(self, row: Row) -> Original:
        """Return an image's file, to be read only as it was indexed."""
        return Original(os.path.abspath(self.folder / row.path), row.content)

    @contextmanager
    def _told(self, row: Row) -> Iterator[None]:
        """Refuse with what keeps an image from being read, and which it is."""
        try:
            yield
        except ChangedError as error:
            raise RefusedError(409, f"image {row.id}, {row.path}: {error}; it is shown after the next update") from None
        except ImageError as error:
            raise RefusedError(404, f"image {row.id}, {row.path}, can't be read now: {error}") from None

    def _check_served(self, row: Row) -> None:
        """Raise RefusedError where links lead an image's file out of the folder."""
        if not self._is_inside(self.folder / row.path):
            raise RefusedError(
                403, f"image {row.id} lies outside the gallery's folder, behind a link: it is not served"
            )

    def open(self, id: int) -> tuple[Row, BufferedReader]:
        """Return an image and its file, open, which holds what was indexed. Raises RefusedError."""
        row = self.row(id)
        self._check_served(row)
        with self._told(row):
            return row, self._verified.open(self._original(row))

    def _is_inside(self, file: Path) -> bool:
        return os.path.realpath(file).startswith(os.path.realpath(self.folder) + os.sep)

    def _open(self, source: Source, side: int) -> Picture:
        """Return an image of the folder for the report. Raises ImageError."""
        assert isinstance(source, Original)  # each that asks is of the gallery
        if not self._is_inside(Path(source.path)):
            raise ImageError("outside the gallery's folder, behind a link: not served")
        return open_image(self._darkroom.paint(source, side))

    def adapted(self) -> bool:
        """Tell whether what was learned from labels is in use."""
        if not Gallery.exists_in(self._store_folder):
            return False
        with self._borrowed() as gallery:
            return gallery.adapted

    def evaluate(self, say: Callable[[str], None]) -> str:
        """Return a page that tells how right the answers are; each labelled image asks for the others of its label."""
        from congener.evaluation import evaluate
        from congener.reports import render
        from congener.truth import leave_one_out

        with self.open_gallery() as gallery:
            task = leave_one_out(gallery)
            say(f"asking with each of {len(gallery):,} images")
            return render(evaluate(task, gallery.encoder).report, opener=self._open)

    def find_duplicates(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Return the groups of near-identical images as plain values: see `congener.duplicates.find`."""
        from congener.duplicates.find import find_duplicates

        with self.open_gallery() as gallery:
            say(f"comparing {len(gallery):,} images")
            return find_duplicates(gallery).as_dict()

    # pictures

    def thumbnail(self, id: int, side: int) -> tuple[bytes, str]:
        """Return an image as WebP, and what names that."""
        row = self.row(id)
        self._check_served(row)

        def is_there() -> bool:
            now = self._find(id)
            return now is not None and now.content == row.content

        with self._told(row):
            return self._darkroom.thumbnail(row.content.hex(), side, lambda: self._original(row), is_there)

    def keep(self, content: bytes, name: str) -> Upload:
        """Keep an uploaded picture. Raises ImageError when it is none."""
        return self._darkroom.keep(content, name)

    def upload(self, key: str) -> Upload:
        """Return an uploaded picture's facts. Raises RefusedError (404) when it is kept no more."""
        return self._darkroom.upload(key)

    def upload_thumbnail(self, key: str, side: int) -> tuple[bytes, str]:
        """Return an uploaded picture as WebP, and what names that."""
        return self._darkroom.thumbnail(key, side, lambda: self._darkroom.uploaded(key))

    # questions

    def ask(self, question: Question, picture: bytes | None = None, name: str = "picture") -> Query:
        """Return what the gallery is to be asked with; pictures are decoded for it.

        picture: the file that is asked with, in place of an upload that is kept; name: of the file.
        """
        if question.id is not None and question.box is None:
            return question.id
        return self._prepared(question, picture, name)

    def answer(self, question: Question, query: Query | None = None) -> Answer:
        """Return the hits of a question; query: of `ask`, which is asked by default. Callers count it as in flight."""
        started = time.perf_counter()
        results = self._search(question, self.ask(question) if query is None else query)
        return Answer(question, results.query, list(results), time.perf_counter() - started)

    def _search(self, question: Question, query: Query) -> Results:
        with self._borrowed() as gallery:
            return gallery.search(
                query,
                question.k,
                like=question.positive,
                unlike=question.negative,
                rerank=question.rerank,
                min_similarity=question.min_score,
                labels=question.label,
            )

    def _prepared(self, question: Question, picture: bytes | None, name: str) -> Prepared:
        """Return what a question asks with as the network takes it."""
        if question.id is not None:
            row = self.row(question.id)
            return Prepared(self._see(row, question.box), f"image {row.id}", row.id)
        key = question.upload
        assert key is not None
        if picture is None:
            name = self.upload(key).name
        pixels = self._darkroom.prepare(key, lambda: self._source(question, picture), question.box)
        return Prepared(pixels, name)

    def _see(self, row: Row, box: Box | None = None) -> NDArray[np.uint8]:
        """Return an image, or the part of it in a box, as the network takes it. Raises RefusedError."""
        with self._told(row):
            return self._darkroom.prepare(row.content.hex(), lambda: self._original(row), box)

    def _source(self, question: Question, picture: bytes | None) -> bytes:
        """Return the picture from elsewhere that a question asks with."""
        return self._darkroom.uploaded(question.upload or "") if picture is None else picture

    def _measure(self, row: Row) -> tuple[int, int]:
        with self._told(row):
            return self._darkroom.measure(self._original(row))

    def explain(self, question: Question, hit: int, picture: bytes | None = None) -> dict[str, Any]:
        """Return where the likeness of a question's picture and an image lies: see `congener.explain`."""
        from congener.explain import View, area_of, explain_views

        row = self.row(hit)
        asked = None if question.id is None else self.row(question.id)
        size = self._darkroom.measure(self._source(question, picture)) if asked is None else self._measure(asked)
        pixels = self._prepared(question, picture, "").pixels if asked is None else self._see(asked, question.box)
        query = View(pixels, area_of(self._encoder, size, question.box))
        found = View(self._see(row), area_of(self._encoder, self._measure(row)))
        with self._borrowed() as gallery:
            return explain_views(self._encoder, gallery.lens(), query, found).as_dict()
