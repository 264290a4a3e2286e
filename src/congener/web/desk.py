"""Desk: one gallery, asked by many at once.

A few handles of the gallery, each used by one thread at a time, answer; pictures from outside are decoded in worker
processes that are replaced when they crash or take too long; what was made of pictures is kept.
"""

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.catalogue import CATALOGUE
from congener.cores import cores
from congener.errors import CongenerError, ImageError
from congener.gallery import Gallery
from congener.images import size_of
from congener.labels import ImageLabels, choose
from congener.query import Box, Prepared, Query
from congener.results import Hit, Results
from congener.store import Row
from congener.web.cache import Cache
from congener.web.indexing import Progress
from congener.web.pixels import SIDES, prepare, thumbnail
from congener.web.problems import RefusedError
from congener.web.question import Question
from congener.workers import Workers

PAGE = 60
"""Images of a page of the wall."""

_CACHE_NAME = "web.sqlite"
_PREPARED = 64  # queries as the network takes them, 150 KB each
_LABELS_SHARE = 0.05  # of the time may go into the labels of all images, while these change


@dataclass(frozen=True)
class Limits:
    """How much may be asked of the app."""

    upload_bytes: int = 32 * 2**20
    upload_seconds: float = 60.0
    """For a request's body to arrive."""
    decode_seconds: float = 10.0
    """For a picture to be decoded."""
    searches: int = 32
    """In flight; more are told to come again."""
    cache_bytes: int = 2**30
    """Of thumbnails and uploads that are kept."""


@dataclass(frozen=True)
class Image:
    """An image of the gallery."""

    id: int
    path: str
    label: str | None
    label_name: str | None


@dataclass(frozen=True)
class ImageFacts(Image):
    """An image, with what its file says."""

    width: int | None
    """In pixels, upright; None where the file can't be read now."""
    height: int | None
    bytes: int
    modified: str
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class Page:
    """Some images, in order of id."""

    images: list[Image]
    page: int
    pages: int
    total: int
    size: int = PAGE


@dataclass(frozen=True)
class LabelCount:
    """A label, and how many images have it."""

    label: str
    name: str
    count: int


@dataclass(frozen=True)
class Facts:
    """The gallery as it is now."""

    name: str
    images: int
    labels: tuple[LabelCount, ...]
    """In order of name."""
    unlabelled: int
    indexing: Progress


@dataclass(frozen=True)
class Upload:
    """A picture that was uploaded."""

    key: str
    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Answer:
    """The hits of a question."""

    question: Question
    query: str
    """What was asked with, for people."""
    hits: list[Hit]
    seconds: float


def key_of(content: bytes) -> str:
    """Return what names a picture's contents."""
    return hashlib.sha256(content).hexdigest()[:32]


class Desk:
    """Its methods may be called from any thread."""

    def __init__(self, gallery: Gallery, limits: Limits, progress: Callable[[], Progress]) -> None:
        """gallery: what is asked; it isn't used itself, but opened anew. progress: of its indexing."""
        self.folder, self.limits = gallery.folder, limits
        self._store_folder, self._encoder = gallery.store_folder, gallery.encoder
        self._progress = progress
        self._handles: LifoQueue[tuple[int, Gallery] | None] = LifoQueue()  # with the inode of what it opened
        for _ in range(cores()):
            self._handles.put(None)
        self._flying = threading.BoundedSemaphore(limits.searches)
        self._decoders = Workers(seconds=limits.decode_seconds)
        self._painters = Workers(seconds=limits.decode_seconds)  # apart: nobody's answer waits for a wall of thumbnails
        self._cache: Cache | None = None
        self._prepared: OrderedDict[tuple[str, Box | None], Prepared] = OrderedDict()
        self._labels: tuple[float, ImageLabels] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all that is open."""
        for workers in (self._decoders, self._painters):
            workers.close()
        while not self._handles.empty():
            handle = self._handles.get_nowait()
            if handle is not None:
                handle[1].close()
        if self._cache is not None:
            self._cache.close()

    def open_gallery(self) -> Gallery:
        """Return a handle of the gallery, to be closed by whoever asked for it."""
        return Gallery(self.folder, store=self._store_folder, encoder=self._encoder)

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

    @property
    def _kept(self) -> Cache:
        with self._lock:
            if self._cache is None:
                place = self._store_folder
                writable = place.is_dir() and os.access(place, os.W_OK)
                self._cache = Cache(place / _CACHE_NAME if writable else None, self.limits.cache_bytes)
            return self._cache

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
        """Return the catalogue's row of an image. Raises RefusedError (404)."""
        with self._borrowed() as gallery:
            row = gallery.find(id)
        if row is None:
            raise RefusedError(404, f"no image has the id {id}")
        return row

    def image(self, id: int) -> ImageFacts:
        """Return an image and what its file says. Raises RefusedError (404)."""
        row = self.row(id)
        with self._borrowed() as gallery:
            image = self._image(gallery, row)
        width = height = None
        with suppress(CongenerError):  # it may be gone since it was indexed
            width, height = self._decoders.call(size_of, str(self.file(row)))
        modified = datetime.fromtimestamp(row.mtime_ns / 1e9, UTC).isoformat(timespec="seconds")
        return ImageFacts(id, row.path, image.label, image.label_name, width, height, row.size, modified)

    def file(self, row: Row) -> Path:
        """Return an image's file. Raises RefusedError where links lead it out of the folder."""
        file = self.folder / row.path
        if not os.path.realpath(file).startswith(os.path.realpath(self.folder) + os.sep):
            raise RefusedError(
                403, f"image {row.id} lies outside the gallery's folder, behind a link: it is not served"
            )
        return file

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
            return render(evaluate(task, gallery.encoder).report)

    def find_duplicates(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Return the groups of near-identical images as plain values: see `congener.duplicates`."""
        from congener.duplicates import find_duplicates

        with self.open_gallery() as gallery:
            say(f"comparing {len(gallery):,} images")
            return find_duplicates(gallery).as_dict()

    # pictures

    def thumbnail(self, id: int, side: int) -> tuple[bytes, str]:
        """Return an image as WebP, and what names its contents."""
        row = self.row(id)
        name = f"{row.content.hex()}-{side}"
        kept = self._kept.get(name)
        if kept is not None:
            self.file(row)
            return kept[1], name
        return self._painted(name, os.fspath(self.file(row)), side), name

    def _painted(self, name: str, source: str | bytes, side: int) -> bytes:
        if side not in SIDES:
            raise RefusedError(422, f"size must be one of: {', '.join(map(str, SIDES))}")
        try:
            content: bytes = self._painters.call(thumbnail, source, side)
        except ImageError as error:
            raise RefusedError(404, f"this picture can't be read now: {error}") from None
        self._kept.put(name, {}, content)
        return content

    def keep(self, content: bytes, name: str) -> Upload:
        """Keep an uploaded picture. Raises ImageError when it is none."""
        key = key_of(content)
        width, height = self._decoders.call(size_of, content)
        self._prepare(key, content, None, name)  # so that it is known to be readable
        self._kept.put(f"upload-{key}", {"name": name, "width": width, "height": height}, content)
        if self._kept.facts(f"upload-{key}") is None:
            raise RefusedError(503, "there is no room to keep this picture: make room on the gallery's disk")
        return Upload(key, name, width, height)

    def upload(self, key: str) -> Upload:
        """Return an uploaded picture's facts. Raises RefusedError (404) when it is kept no more."""
        facts = self._kept.facts(f"upload-{key}")
        if facts is None:
            raise RefusedError(404, "this picture is kept no more: upload it again")
        return Upload(key, facts["name"], facts["width"], facts["height"])

    def uploaded(self, key: str) -> bytes:
        """Return an uploaded picture's file. Raises RefusedError (404)."""
        kept = self._kept.get(f"upload-{key}")
        if kept is None:
            raise RefusedError(404, "this picture is kept no more: upload it again")
        return kept[1]

    def upload_thumbnail(self, key: str, side: int) -> tuple[bytes, str]:
        """Return an uploaded picture as WebP, and what names its contents."""
        name = f"{key}-{side}"
        kept = self._kept.get(name)
        return (kept[1] if kept else self._painted(name, self.uploaded(key), side)), name

    # questions

    def answer(self, question: Question, picture: bytes | None = None, name: str = "picture") -> Answer:
        """Return the hits of a question. Raises RefusedError (503) when too many are asked at once.

        picture: the file that is asked with, in place of an upload that is kept; name: of the file.
        """
        with self.counted():
            started = time.perf_counter()
            results = self._search(question, self._query(question, picture, name))
            return Answer(question, results.query, list(results), time.perf_counter() - started)

    def _search(self, question: Question, query: Query) -> Results:
        for id in (*question.positive, *question.negative):
            self.row(id)
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

    def _query(self, question: Question, picture: bytes | None, name: str) -> Query:
        """Return what the gallery is asked with."""
        if question.id is not None:
            row = self.row(question.id)
            if question.box is None:
                return question.id
            file = os.fspath(self.folder / row.path)
            return self._prepare(row.content.hex(), file, question.box, f"image {row.id}", row.id)
        key = question.upload
        assert key is not None
        if picture is not None:
            return self._prepare(key, picture, question.box, name)
        return self._prepare(key, lambda: self.uploaded(key), question.box, self.upload(key).name)

    def explain(self, question: Question, hit: int, picture: bytes | None = None) -> dict[str, Any]:
        """Return where the likeness of a question's picture and an image lies: see `congener.explain`."""
        from congener.explain import View, area_of, explain_views

        row = self.row(hit)
        files: list[str | bytes] = [self._source(question, picture), os.fspath(self.folder / row.path)]
        queries = [self._query(question, picture, "picture"), Prepared(self._see(row), f"image {hit}", hit)]
        if question.id is not None and question.box is None:
            queries[0] = Prepared(self._see(self.row(question.id)), "", question.id)
        views = []
        for query, file, box in zip(queries, files, (question.box, None), strict=True):
            assert isinstance(query, Prepared)
            area = area_of(self._encoder, self._decoders.call(size_of, file), box)
            views.append(View(query.pixels, area))
        with self._borrowed() as gallery:
            return explain_views(self._encoder, gallery.lens(), *views).as_dict()

    def _see(self, row: Row) -> NDArray[np.uint8]:
        """Return an image as the network takes it."""
        return self._prepare(row.content.hex(), os.fspath(self.folder / row.path), None, "").pixels

    def _source(self, question: Question, picture: bytes | None) -> str | bytes:
        """Return the file that is asked with."""
        if question.id is not None:
            return os.fspath(self.folder / self.row(question.id).path)
        return self.uploaded(question.upload or "") if picture is None else picture

    def _prepare(
        self, key: str, source: str | bytes | Callable[[], bytes], box: Box | None, name: str, id: int | None = None
    ) -> Prepared:
        """Return a picture as the network takes it; key: names its contents."""
        with self._lock:
            known = self._prepared.get((key, box))
            if known is not None:
                self._prepared.move_to_end((key, box))
                return Prepared(known.pixels, name, id)
        content = source() if callable(source) else source
        pixels = self._decoders.call(prepare, content, self._encoder.preprocessing, box)
        prepared = Prepared(pixels, name, id)
        with self._lock:
            self._prepared[key, box] = prepared
            while len(self._prepared) > _PREPARED:
                self._prepared.popitem(last=False)
        return prepared
