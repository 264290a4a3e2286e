"""Gallery: a folder of images that can be asked which of them are most alike to a picture."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from congener import cache, codes, graph
from congener.adapt import LearningReport, Ridge, learn
from congener.codes import Array
from congener.connection import is_writable
from congener.disk import damaged, explained
from congener.encoders import DEFAULT, Encoder, Identity, load_encoder
from congener.errors import CongenerError, GalleryError, ImageError, OutdatedError, UnknownImageError, command
from congener.exclusion import DEFAULT_EXCLUDE
from congener.files import folder_exists, still_holds
from congener.fit import ADAPTED, BLEND, Fit, LabelsOf, fit, is_due, labelled
from congener.indexes import ExactIndex, Index
from congener.info import GalleryInfo
from congener.labels import ImageLabels, Labels, TableFit
from congener.membership import images_of
from congener.origin import check_origin, note_origin
from congener.original import Original
from congener.owned import check_place
from congener.query import Box, Prepared, Query, open_query
from congener.results import Results
from congener.searcher import Lens, Searcher, SearchOptions
from congener.store import FORMAT_VERSION, Embedded, Row, Store
from congener.update import Progress, UpdateReport, update_store

STORE_NAME = ".congener"

_T = TypeVar("_T")


class Gallery:
    """A folder, its store, an encoder and an index. Safe to use from several threads.

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
        precision: str | None = None,
        moved: bool = False,
    ) -> None:
        """folder: the images; store: where the gallery is kept, FOLDER/.congener by default.

        encoder: a name or an encoder; by default the one that made the gallery, or lite0 for a new one.
        precision: of an encoder by name, as in `load_encoder`; by default the gallery's. moved: whether the folder is
        the one that the gallery was made from, though it was elsewhere then; the next update remembers it.
        Raises GalleryError when the gallery was made by another encoder or from another folder, or can't be opened.
        """
        self.folder = Path(folder)
        self.store_folder = Path(store) if store is not None else self.folder / STORE_NAME
        self.moved = moved
        self._lock = threading.RLock()
        self._store: Store | None = None
        self._fit: tuple[int, Fit | None] | None = None
        self._searcher: Searcher | None = None
        self._labels: tuple[object, Labels] | None = None
        self._image_labels: tuple[object, ImageLabels] | None = None
        self._name = encoder if isinstance(encoder, str) else None
        self._precision = precision
        self._encoder = encoder if isinstance(encoder, Encoder) else None
        if not folder_exists(self.folder) and not Store.exists(self.store_folder):
            raise GalleryError(f"no such folder: {self.folder}")
        if Store.exists(self.store_folder):
            self._ask(lambda store: None)
        else:
            with explained(self.store_folder):
                check_place(self.store_folder)
            if encoder or precision:
                _ = self.encoder  # a wrong name is said now

    @property
    def encoder(self) -> Encoder:
        """The network that makes this gallery's features."""
        with self._lock:
            if self._encoder is None:
                self._encoder = load_encoder(self._name or DEFAULT, self._precision)
            return self._encoder

    def _open_store(self) -> Store:
        """Return the handle that is read by, under the lock; updates have one of their own."""
        if self._store is not None and not self._store.is_current:
            self.close()
        if self._store is None:
            if not Store.exists(self.store_folder):
                raise GalleryError(f"{self.folder} is not indexed yet: {self.command('index')}")
            store = Store.open(self.store_folder)
            try:
                self._check(store)
            except BaseException:
                store.close()
                raise
            self._store = store
        return self._store

    def _check(self, store: Store) -> None:
        """Raise GalleryError unless it was made from this folder, by this encoder, which is loaded now."""
        if not self.moved:
            check_origin(store, self.folder)
        made_by = store.get("encoder")
        if not isinstance(made_by, dict) or made_by.keys() != {field.name for field in fields(Identity)}:
            raise damaged(self.store_folder, "it doesn't say which encoder made it")
        if self._encoder is None:
            name = self._name or made_by["name"]
            kept = made_by if name == made_by["name"] else {"precision": None, "preprocessing": None}
            self._encoder = load_encoder(name, self._precision or kept["precision"], kept["preprocessing"])
        if self._encoder.identity.as_dict() != made_by:
            raise GalleryError(_other_encoder(self.store_folder, made_by, self._encoder))

    def _ask(self, read: Callable[[Store], _T]) -> _T:
        """Return what is read of the store, one thread at a time.

        Again where another process has changed it under a reader that can't see that.
        """
        with self._lock:
            while True:
                store = self._open_store()
                try:
                    answer = read(store)
                except GalleryError:
                    if store.is_current:
                        raise
                else:
                    if store.is_current:
                        return answer

    @contextmanager
    def _writing(self) -> Iterator[Store]:
        """Keep other writers out; what is read meanwhile is what was committed, for this has a handle of its own."""
        self._ask(lambda store: None)  # which says whether it may be opened at all
        with closing(Store.open(self.store_folder, trusting=True)) as store, store.writing():
            yield store

    def close(self) -> None:
        """Close the gallery's files; whatever is asked of it afterwards opens them again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = self._searcher = self._fit = None

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
        if not Store.exists(self.store_folder):
            return []
        excluded: list[str] = self._ask(lambda store: store.get("exclude"))
        return excluded

    @property
    def default_exclude(self) -> bool:
        """Whether updates pass over what `congener.exclusion.DEFAULT_EXCLUDE` lists."""
        return not Store.exists(self.store_folder) or bool(self._ask(lambda store: store.get("default_exclude")))

    @property
    def writable(self) -> bool:
        """Whether the gallery's files may be changed."""
        return is_writable(self.store_folder)

    @staticmethod
    def exists_in(store: Path) -> bool:
        """Tell whether a gallery is kept there."""
        return Store.exists(store)

    def command(self, name: str, *options: str) -> str:
        """Return a command of congener's for this gallery, for a person to paste into a shell."""
        is_beside = self.store_folder == self.folder / STORE_NAME
        place: list[str | Path] = [] if is_beside else ["--gallery", self.store_folder]
        return command(name, self.folder, *place, *options)

    def __len__(self) -> int:
        return self._ask(len) if Store.exists(self.store_folder) else 0

    def create(self) -> None:
        """Make a gallery of no images, unless there is one. Raises GalleryError where that can't be."""
        if not Store.exists(self.store_folder):
            Store.create(self.store_folder, self.encoder.identity.as_dict()).close()

    def update(
        self,
        *,
        exclude: Sequence[str] | None = None,
        default_exclude: bool | None = None,
        prune: bool = False,
        retry: bool = False,
        heads: bool = True,
        refit: bool = False,
        index: str | None = None,
        recall: float | None = None,
        build_index: bool = True,
        progress: Progress | None = None,
        index_progress: Progress | None = None,
    ) -> UpdateReport:
        """Index what is new or changed in the folder, drop what is gone; committed as it goes.

        exclude: globs of paths to leave out, remembered for later updates; by default those remembered.
        default_exclude: whether to pass over what `congener.exclusion.DEFAULT_EXCLUDE` lists, remembered too; true for
        a new gallery. prune: remove images whose files are gone even when these are more than half, or the folder is
        missing. retry: try again what could not be read for what it holds. heads: look into files whose suffix says
        nothing, to count pictures under other names. refit: fit the code anew even if little has changed. index: auto,
        exact or approximate; recall: that an approximate index is to reach, above 0 and at most 1; both remembered.
        build_index: whether to build or extend an approximate index that is due. progress: called with the numbers of
        files done and to do; index_progress: of rows in the index.
        """
        started = time.perf_counter()
        self.create()
        with self._writing() as store:
            note_origin(store, self.folder)
            graph.choose(store, index, recall)
            report = update_store(
                store,
                self.folder,
                self.encoder,
                exclude=exclude,
                default_exclude=default_exclude,
                prune=prune,
                retry=retry,
                heads=heads,
                progress=progress,
            )
            store.compact()
            if report.images and (refit or is_due(store, report.images)):
                self._refit(store, (store.generation() or {}).get("adapt"))
            elif current := self.fit:
                store.extend_generation(current.embed_all(self.encoder))
            cache.forget_others(self.store_folder, lambda: (row.content for row in store.rows()))
            if build_index:
                self._refresh_index(store, index_progress)
        return replace(report, seconds=time.perf_counter() - started)

    def _refit(self, store: Store, adapt: dict[str, Any] | None) -> None:
        """Fit a new generation, inside `writing`; adapt: facts of the map to learn from the labels, if any."""
        labels_of = self._labels_of(store)
        ridge = None
        if adapt is not None:
            sample = labelled(store, self.encoder, labels_of)
            try:
                ridge = Ridge(sample.features, sample.logits, sample.labels, adapt["share"])
                adapt = adapt | {"images": len(ridge), "labels": self._digest_of_labels()}
            except CongenerError:  # too few labels are left
                adapt = None
        fitted = fit(store, self.encoder, labels_of, ridge, adapt["strength"] if adapt else 0)
        facts = {"images": len(store), "adapt": adapt}
        store.new_generation(facts, fitted.arrays(), fitted.columns, fitted.embed_all(self.encoder))

    def _refresh_index(self, store: Store, progress: Progress | None) -> None:
        """Build or extend the approximate index where it is wanted and due, inside `writing`."""
        if graph.is_wanted(store, len(store)) and (lens := self.lens()).fit is not None:
            graph.refresh(store, lens.space, self.vectors(lens), progress)

    def _labels_of(self, store: Store) -> LabelsOf:
        """Return what tells the labels of images by their ids: a fit asks for a sample only."""
        labels = self.labels

        def labels_of(ids: Sequence[int]) -> list[str | None]:
            known = {row.id: labels.of(row.path) for row in store.find_all(ids)}
            return [known.get(id) for id in ids]

        return labels_of

    def _digest_of_labels(self) -> str:
        """Return a value that changes with any image's contents or label."""
        labels = self.labels
        pairs = sorted((row.content, labels.of(row.path) or "") for row in self.rows())
        digest = hashlib.sha256()
        for content, label in pairs:
            digest.update(content + os.fsencode(label) + b"\0")
        return digest.hexdigest()

    @property
    def labels(self) -> Labels:
        """The labels of images by path, as the folder has them now."""
        version, kept = Labels.version(self.folder), self._labels
        if kept is None or kept[0] != version:
            self._labels = kept = version, Labels(self.folder)
        return kept[1]

    def image_labels(self) -> ImageLabels:
        """Return the label of every image, as the folder has them now."""
        labels = self.labels
        version, kept = (self.version(), labels), self._image_labels
        if kept is None or kept[0] != version:
            images = ((row.id, row.path) for row in self.rows())
            self._image_labels = kept = version, ImageLabels.of(images, labels)
        return kept[1]

    def label_table(self) -> TableFit:
        """Return how labels.csv fits the images; quick where there is none. Raises GalleryError where no line does."""
        labels = self.labels
        return self.image_labels().fit if labels.table else labels.fit({})

    @property
    def fit(self) -> Fit | None:
        """What is fitted on the gallery, or None before its first complete update."""
        return self._ask(self._fit_of)[1]

    def _fit_of(self, store: Store) -> tuple[int, Fit | None]:
        """Return the number of the generation and what was fitted, inside `_ask`."""
        with store.one_state():
            generation = store.generation()
            number = 0 if generation is None else generation["number"]
            if self._fit is None or self._fit[0] != number:
                self._fit = number, None if generation is None else self._restored(store)
            return self._fit

    def _restored(self, store: Store) -> Fit:
        try:
            return Fit.restored(store.fitted())
        except (KeyError, ValueError, IndexError, TypeError):  # its checksums hold: somebody else wrote it
            raise damaged(self.store_folder, "what was fitted on it is not what this congener writes") from None

    @property
    def adapted(self) -> bool:
        """Whether a map learned from the labels is in use."""
        fitted = self.fit
        return fitted is not None and fitted.adaptation is not None

    def adapt(self, *, force: bool = False) -> LearningReport:
        """Learn a map from the labels, and use it by default from then on if it helps.

        force: use it even if it doesn't help. Raises CongenerError when there are fewer than two labels.
        """
        with self._writing() as store:
            fitted = self.fit
            if fitted is None:
                raise GalleryError(f"{self.folder} is not indexed to its end yet: {self.command('index')}")
            sample = labelled(store, self.encoder, self._labels_of(store))
            embeddings = fitted.embed(BLEND, sample.features, sample.logits)
            _, report = learn(sample.features, sample.logits, sample.labels, embeddings)
            report = replace(report, kept=report.kept or force)
            if report.kept:
                self._refit(store, {"share": report.share, "strength": report.strength})
                self._refresh_index(store, None)
        return report

    def forget(self) -> bool:
        """Drop the map learned from the labels; return whether there was one."""
        with self._writing() as store:
            had = self.adapted
            if had:
                self._refit(store, None)
                self._refresh_index(store, None)
        return had

    def search(self, query: Query | Sequence[Query], k: int = 10, **options: Unpack[SearchOptions]) -> Results:
        """Return the k images most alike to a query, or to several as one, best first.

        options: see `congener.searcher.SearchOptions`.
        """
        with self._lock:
            self._open_store()
            searcher = self._searcher = self._searcher or Searcher([self])
        return searcher.search(query, k, **options)

    def info(self) -> GalleryInfo:
        """Return facts about the gallery."""
        labels = self.image_labels()
        return self._ask(lambda store: self._info(store, labels))

    def _info(self, store: Store, labels: ImageLabels) -> GalleryInfo:
        fitted = self.fit
        generation = store.generation() or {"images": 0, "adapt": None}
        adapt = generation["adapt"]
        if adapt is not None:
            stale = adapt["labels"] != self._digest_of_labels()
            adapt = {"images": adapt["images"], "share": adapt["share"], "strength": adapt["strength"], "stale": stale}
        return GalleryInfo(
            folder=str(self.folder),
            store=str(self.store_folder),
            images=len(labels.ids),
            labels=len(labels.labels),
            unlabelled=int((labels.numbers < 0).sum()),
            encoder=store.get("encoder"),
            format=FORMAT_VERSION,
            bytes=store.size_on_disk(),
            exclude=store.get("exclude"),
            default_exclude=list(DEFAULT_EXCLUDE) if store.get("default_exclude") else [],
            code="pooled" if fitted is None else codes.DEFAULT,
            dimension=store.dimension if fitted is None else fitted.blend.dimension,
            class_weight=None if fitted is None else fitted.blend.weight,
            fitted_on=generation["images"],
            adapted=adapt,
            index=graph.describe(store, self.lens().space).as_dict(),
        )

    # what a search needs: see `searcher.Searchable`

    def version(self) -> tuple[int, int, int]:
        """Return a value that changes whenever images have been added, removed or changed."""
        return self._ask(lambda store: store.version())

    def lens(self, adapted: bool | None = None) -> Lens:
        """Return how embeddings are made here; adapted: by the map learned from the labels, default if it is there."""
        number, fitted = self._ask(self._fit_of)
        learned = fitted is not None and fitted.adaptation is not None
        if adapted and not learned:
            raise GalleryError(f"nothing was learned from labels yet: {self.command('adapt')}")
        space = ADAPTED if learned and adapted is not False else BLEND
        return Lens(fitted, space, (str(self.store_folder), number))

    def rows(self) -> Iterator[Row]:
        """Yield the catalogue's row of every image, in order of id."""
        rows: list[Row] = []
        while rows := self._rows_after(rows[-1].id if rows else None):
            yield from rows

    def _rows_after(self, id: int | None) -> list[Row]:
        return self._ask(lambda store: store.rows_after(id))

    def features(self) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Return the ids of all images, rising (n,), and their pooled features (n, d)."""
        return self._ask(lambda store: store.features())

    def embeddings(self, lens: Lens | None = None) -> tuple[NDArray[np.int64], Array]:
        """Return the ids of all images, rising (n,), and their embeddings (n, d), L2-normalised."""
        embedded = self.vectors(lens or self.lens())
        return embedded.ids, codes.unit(embedded.matrix[embedded.rows])

    def vectors(self, lens: Lens) -> Embedded:
        """Return the embeddings of all images as they are kept, mapped where that is possible."""
        if lens.fit is None:
            ids, features = self.features()
            return Embedded.of(ids, np.arange(len(ids)), codes.pooled(features))
        if lens.version[0] == str(self.store_folder):
            embed, number = lens.fit.embed_all(self.encoder), lens.version[1]
            with suppress(OutdatedError):  # it was fitted anew: as through another gallery's eyes
                return self._ask(lambda store: store.embeddings(lens.space, embed, number))
        ids, features = self.features()  # through another gallery's eyes
        embeddings = lens.fit.embed(lens.space, features, self.encoder.logits(features))
        return Embedded.of(ids, np.arange(len(ids)), embeddings)

    def index(self, embedded: Embedded, lens: Lens, name: str | None = None, recall: float | None = None) -> Index:
        """Return the index of its embeddings, by their keys; name, recall: see `SearchOptions`."""
        if name is not None:
            graph.check(name)
        if lens.version[0] == str(self.store_folder) and lens.fit is not None:
            return self._ask(lambda store: graph.open_index(store, lens.space, embedded, name, recall))
        return ExactIndex.over(embedded.keys, embedded.matrix, embedded.packed)

    def embed(self, query: Query, *, box: Box | None = None, lens: Lens | None = None) -> Array:
        """Return the query's embedding (1, d), L2-normalised; box: the part of it that counts."""
        lens = lens or self.lens()
        if isinstance(query, int) and box is None:
            row = self._row(query)
            pooled: NDArray[np.floating] = self._ask(lambda store: store.feature(row))[None]
        else:
            pooled = self.encoder.encode(self._pixels(query, box)[None]).pooled
        if lens.fit is None:
            return codes.pooled(pooled)
        return lens.fit.embed(lens.space, pooled, self.encoder.logits(pooled))

    def _pixels(self, query: Query, box: Box | None) -> NDArray[np.uint8]:
        """Return a query as the network takes it; box: the part of it that counts, cut out already if prepared."""
        if isinstance(query, Prepared):
            return query.pixels
        source = self.original(self._row(query)) if isinstance(query, int) else query
        return self.encoder.preprocess(open_query(source, self.encoder.resized_side, box))

    def _row(self, id: int) -> Row:
        row = self.find(id)
        if row is None:
            raise UnknownImageError(id)
        return row

    def find(self, id: int) -> Row | None:
        """Return the catalogue's row of an image, or None."""
        return self._ask(lambda store: store.find(id=id))

    def file(self, id: int) -> Path:
        """Return the file of the image with this id. Raises GalleryError for an unknown one."""
        return self.folder / self._row(int(id)).path

    def original(self, row: Row) -> Original:
        """Return the file of an image, to be read only while it holds what was indexed."""
        return Original(os.path.abspath(self.folder / row.path), row.content)

    def verified(self, ids: Sequence[int]) -> dict[int, Row]:
        """Return the catalogue's rows of images by id, they and their embeddings checked; none that is gone."""
        return self._ask(lambda store: store.verified(ids))

    def kept(self, query: Query) -> int | None:
        """Return the id of a query that is an image of the gallery, unchanged since it was indexed, or None."""
        row = None if isinstance(query, Prepared) else self.member(query)
        if row is not None and not isinstance(query, int):
            try:
                if not still_holds(self.folder / row.path, row):
                    return None
            except (OSError, ImageError):
                return None
        return None if row is None or not self.verified([row.id]) else row.id

    def member(self, query: Query) -> Row | None:
        """Return the catalogue's row of a query that is an image of the gallery, by path or id: the first of them."""
        rows = self.members(query)
        return rows[0] if rows else None

    def members(self, query: Query) -> list[Row]:
        """Return the catalogue's rows of a query that is an image of the gallery, or several: names of one file."""
        id = query.id if isinstance(query, Prepared) else query
        if isinstance(id, int):
            row = self._row(id)
            file = self.folder / row.path
            return [row, *(each for each in self._images_of(file) if each.id != id)]
        return self._images_of(id) if isinstance(id, str | os.PathLike) else []

    def _images_of(self, file: str | os.PathLike[str]) -> list[Row]:
        return self._ask(lambda store: images_of(store, self.folder, file))

    def stamps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids, rising (n,), and stamps (n, 4) of images, where they are known."""
        return self._ask(lambda store: store.stamps())


def _other_encoder(folder: Path, made_by: dict[str, Any], encoder: Encoder) -> str:
    return (
        f"the gallery {folder} was made by {Identity(**made_by)}, not by {encoder.identity}: open it with the encoder "
        "that made it, or keep another gallery with --gallery PATH"
    )
