"""Gallery: a folder of images that can be asked which of them are most alike to a picture."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from congener import codes
from congener.encoders import DEFAULT, Encoder, load_encoder
from congener.errors import GalleryError, ImageError
from congener.images import from_array, open_image, to_rgb
from congener.indexes import ExactIndex, Index
from congener.labels import Labels
from congener.results import Hit, Results
from congener.store import FORMAT_VERSION, Row, Store
from congener.update import Progress, UpdateReport, update_store

Query = str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | int
"""A path, a picture, an array (height, width, 3) uint8 RGB, or the id of an image of the gallery."""

STORE_NAME = ".congener"


@dataclass(frozen=True)
class GalleryInfo:
    """Facts about a gallery, for people and JSON."""

    folder: str
    store: str
    images: int
    labels: int
    """Different labels of its images."""
    unlabelled: int
    """Images without a label."""
    encoder: dict[str, Any]
    format: int
    bytes: int
    """On disk."""
    exclude: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


class Gallery:
    """A folder, its store, an encoder and an index.

    >>> gallery = Gallery("photos")             # doctest: +SKIP
    >>> gallery.update()                        # doctest: +SKIP
    >>> gallery.search("target.jpg", k=10)      # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        store: str | os.PathLike[str] | None = None,
        encoder: str | Encoder | None = None,
    ) -> None:
        """folder: the images; store: where the gallery is kept, FOLDER/.congener by default.

        encoder: a name or an encoder; by default the one that made the gallery, or lite0 for a new one.
        Raises GalleryError when the gallery was made by another encoder, or can't be opened.
        """
        self.folder = Path(folder)
        self.store_folder = Path(store) if store is not None else self.folder / STORE_NAME
        self._store: Store | None = None
        self._index: tuple[tuple[int, int], Index] | None = None
        self._encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
        if not self.folder.is_dir() and not Store.exists(self.store_folder):
            raise GalleryError(f"no such folder: {self.folder}")
        if Store.exists(self.store_folder):
            self._open_store()

    @property
    def encoder(self) -> Encoder:
        """The network that makes this gallery's features."""
        if self._encoder is None:
            self._encoder = load_encoder(DEFAULT)
        return self._encoder

    def _open_store(self) -> Store:
        if self._store is None:
            if not Store.exists(self.store_folder):
                raise GalleryError(f"{self.folder} is not indexed yet: congener index {self.folder}")
            store = Store.open(self.store_folder)
            made_by = store.get("encoder")
            if self._encoder is None:
                self._encoder = load_encoder(made_by["name"])
            if self._encoder.identity.as_dict() != made_by:
                store.close()
                raise GalleryError(_other_encoder(self.store_folder, made_by, self._encoder))
            self._store = store
        return self._store

    def close(self) -> None:
        """Close the gallery's files."""
        if self._store is not None:
            self._store.close()
        self._store = self._index = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def excluded(self) -> list[str]:
        """The globs of paths that updates leave out."""
        excluded: list[str] = self._store.get("exclude") if self._store else []
        return excluded

    def __len__(self) -> int:
        return len(self._store) if self._store else 0

    def update(
        self,
        *,
        exclude: Sequence[str] | None = None,
        prune: bool = False,
        progress: Progress | None = None,
    ) -> UpdateReport:
        """Index what is new or changed in the folder, drop what is gone; committed as it goes.

        exclude: globs of paths to leave out, remembered for later updates; by default those remembered.
        prune: remove images whose files are gone even when these are more than half, or the folder is
        missing. progress: called with the numbers of files done and to do.
        """
        if not Store.exists(self.store_folder):
            Store.create(self.store_folder, self.encoder.identity.as_dict()).close()
        store = self._open_store()
        return update_store(store, self.folder, self.encoder, exclude=exclude, prune=prune, progress=progress)

    def search(self, query: Query, k: int = 10, *, include_self: bool = False) -> Results:
        """Return the k images most alike, best first.

        include_self: whether an image of the gallery that is asked for by its path or id may be among its
        own results. Raises ImageError when the query can't be read.
        """
        return search([self], query, k, include_self=include_self)

    def info(self) -> GalleryInfo:
        """Return facts about the gallery."""
        store = self._open_store()
        labels = Labels(self.folder)
        of_images = [labels.of(row.path) for row in store.rows()]
        return GalleryInfo(
            folder=str(self.folder),
            store=str(self.store_folder),
            images=len(of_images),
            labels=len({label for label in of_images if label is not None}),
            unlabelled=of_images.count(None),
            encoder=store.get("encoder"),
            format=FORMAT_VERSION,
            bytes=store.size_on_disk(),
            exclude=store.get("exclude"),
        )

    def embed(self, query: Query) -> NDArray[np.float32]:
        """Return the query's embedding (1, d), L2-normalised."""
        if isinstance(query, int):
            return codes.pooled(self._open_store().feature(self._row(query))[None])
        image = _open_query(query, self.encoder.resized_side)
        return codes.pooled(self.encoder.encode(self.encoder.preprocess(image)[None]).pooled)

    def _row(self, id: int) -> Row:
        row = self._open_store().find(id=id)
        if row is None:
            raise GalleryError(f"no image of {self.folder} has the id {id}")
        return row

    def embeddings(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ids of all images, rising (n,), and their embeddings (n, d), L2-normalised."""
        ids, features = self._open_store().features()
        return ids, codes.pooled(features)

    def file(self, id: int) -> Path:
        """Return the file of the image with this id. Raises GalleryError for an unknown one."""
        return self.folder / self._row(int(id)).path

    def member(self, query: Query) -> Row | None:
        """Return the catalogue's row of a query that is an image of the gallery, by path or id."""
        store = self._open_store()
        if isinstance(query, int):
            return self._row(query)
        if not isinstance(query, str | os.PathLike):
            return None
        path = os.fspath(query)
        # as written, and with links resolved
        for file, folder in (
            (os.path.abspath(path), os.path.abspath(self.folder)),
            (os.path.realpath(path), os.path.realpath(self.folder)),
        ):
            if row := store.find(path=os.path.relpath(file, folder).replace(os.sep, "/")):
                return row
        return None

    def index(self) -> Index:
        """Return the index over the gallery's embeddings as they are now."""
        store = self._open_store()
        version = store.version()
        if self._index is None or self._index[0] != version:
            index = ExactIndex(store.dimension)
            index.add(*self.embeddings())
            self._index = version, index
        return self._index[1]

    def nearest(self, embedding: NDArray[np.float32], k: int, without: Row | None) -> list[Hit]:
        """Return the k nearest of the gallery, without one of its images; verified, best first."""
        store = self._open_store()
        scores, ids = self.index().search(embedding, k + 1)
        hits: list[Hit] = []
        labels = Labels(self.folder)
        for score, id in zip(scores[0].tolist(), ids[0].tolist(), strict=True):
            row = store.find(id=id)
            if row is None or (without is not None and id == without.id):
                continue
            store.feature(row)  # raises when it is damaged
            label = labels.of(row.path)
            hits.append(Hit(len(hits) + 1, score, id, row.path, label, labels.name(label), self.folder))
        return hits[:k]


def search(galleries: Sequence[Gallery], query: Query, k: int = 10, *, include_self: bool = False) -> Results:
    """Ask several galleries at once; see `Gallery.search`. They must share an encoder."""
    if k < 1:
        raise GalleryError(f"k must be at least 1, not {k}")
    first, *others = galleries
    for other in others:
        if other.encoder.identity != first.encoder.identity:
            raise GalleryError(
                f"{first.folder} was made by {first.encoder.identity}, {other.folder} by "
                f"{other.encoder.identity}: scores of two encoders can't be compared"
            )
    embedding = first.embed(query)
    hits = [
        hit
        for gallery in galleries
        for hit in gallery.nearest(embedding, k, None if include_self else gallery.member(query))
    ]
    best = sorted(hits, key=lambda hit: -hit.score)[:k]
    ranked = [
        Hit(rank, hit.score, hit.id, hit.path, hit.label, hit.label_name, hit.folder)
        for rank, hit in enumerate(best, 1)
    ]
    return Results(_describe(query), ranked)


def _open_query(query: Query, target: int) -> Image.Image:
    if isinstance(query, Image.Image):
        return to_rgb(query)
    if isinstance(query, np.ndarray):
        return from_array(query)
    assert not isinstance(query, int)
    try:
        return open_image(query, target)
    except ImageError as error:
        raise ImageError(f"{os.fspath(query)}: {error}") from None


def _describe(query: Query) -> str:
    if isinstance(query, int):
        return f"image {query}"
    if isinstance(query, str | os.PathLike):
        return os.fspath(query)
    return "picture"


def _other_encoder(folder: Path, made_by: dict[str, Any], encoder: Encoder) -> str:
    identity = encoder.identity
    return (
        f"the gallery {folder} was made by {made_by['name']} ({made_by['precision']}, weights "
        f"{made_by['weights_sha256'][:12]}), not by {identity}: open it with the encoder that made it, "
        "or keep another gallery with --gallery PATH"
    )
