"""A gallery does what a dict does that maps paths to colours: hypothesis looks for a sequence where it doesn't."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from congener import Gallery
from congener.catalogue import Catalogue
from congener.check import check
from congener.errors import CongenerError, GalleryError
from congener.store import Store

from .conftest import MeanColour, plain, write
from .faults.trial import TOLERANCE, Colour, ReadHere, check_sound
from .faults.workload import APPROXIMATE

PATHS = [f"{folder}{name}.png" for folder in ("", "warm/", "cold/") for name in "abcd"]
GLOBS = ("warm", "a.png", "cold/b*")

# few values, so that contents are often equal
colours = st.tuples(*[st.sampled_from([0, 60, 130, 255])] * 3)
paths = st.sampled_from(PATHS)


class CrashError(Exception):
    """What a crash is here."""


class Model:
    """What is known of a folder and its gallery."""

    def __init__(self) -> None:
        self.files: dict[str, Colour] = {}
        self.images: dict[str, Colour] = {}
        """What the last update has found."""
        self.ids: dict[str, int] = {}
        self.exclude: tuple[str, ...] = ()

    @property
    def found(self) -> dict[str, Colour]:
        return {path: colour for path, colour in self.files.items() if not self.is_excluded(path)}

    def is_excluded(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        tests = {"warm": folder == "warm", "a.png": name == "a.png", "cold/b*": path == "cold/b.png"}
        return any(tests[glob] for glob in self.exclude)

    @property
    def is_learnable(self) -> bool:
        """Whether there are two labels, and two different pictures of one."""
        pictures: dict[Colour, str] = {}
        for path in sorted(self.images, key=self.ids.__getitem__):  # of equal ones the first counts
            pictures.setdefault(self.images[path], path.rpartition("/")[0])
        counts = Counter(label for label in pictures.values() if label)
        return len(counts) >= 2 and max(counts.values()) >= 2

    def update(self, *, prune: bool) -> None:
        """Bring images and ids up to date; a file that was renamed keeps its id."""
        found, before = self.found, len(self.images)
        gone = {path: self.images[path] for path in sorted(self.images.keys() - found.keys(), key=self.ids.__getitem__)}
        ids = {path: id for path, id in self.ids.items() if path in found}
        for path in sorted(found.keys() - self.images.keys()):
            same = [old for old, colour in gone.items() if colour == found[path]]
            if same:
                ids[path] = self.ids[same[0]]
                del gone[same[0]]
        left_out = {path for path in gone if self.is_excluded(path)}
        missing = gone.keys() - left_out
        kept = set() if prune or len(missing) <= (before - len(left_out)) / 2 else missing
        self.images = found | {path: gone[path] for path in kept}
        self.ids = ids | {path: self.ids[path] for path in kept}


class GalleryMachine(RuleBasedStateMachine):
    """Changes of a folder, and all that is done to its gallery."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.place = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir=memory)))
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("congener.update.Workers", ReadHere)
        patch.setattr("congener.update.COMMIT_SECONDS", 0)  # each picture is committed by itself
        patch.setattr("congener.store._COMPACT_BYTES", 1)
        self.folder, self.store = self.place / "pictures", self.place / "gallery"
        self.folder.mkdir()
        self.time = 1
        self.model = Model()
        self.highest = 0
        self.kept: tuple[dict[str, Colour], dict[str, int], tuple[str, ...]] | None = None
        self.gallery = self.opened()
        self.reader: Gallery | None = None

    def opened(self) -> Gallery:
        return Gallery(self.folder, store=self.store, encoder=MeanColour())

    def teardown(self) -> None:
        self.gallery.close()
        if self.reader:
            self.reader.close()
        self.stack.close()

    @initialize(files=st.dictionaries(paths, colours, min_size=3))
    def begin(self, files: dict[str, Colour]) -> None:
        for path, colour in files.items():
            self.paint(path, colour)

    # the folder

    @rule(path=paths, colour=colours)
    def paint(self, path: str, colour: Colour) -> None:
        """Add or change."""
        write(self.folder / path, colour)
        self.touch(path)
        self.model.files[path] = colour

    def touch(self, path: str) -> None:
        self.time += 1
        os.utime(self.folder / path, (self.time, self.time))

    def one_of(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.model.files)))

    @precondition(lambda self: self.model.files)
    @rule(data=st.data(), to=paths)
    def rename(self, data: st.DataObject, to: str) -> None:
        path = self.one_of(data)
        (self.folder / to).parent.mkdir(exist_ok=True)
        (self.folder / path).rename(self.folder / to)
        if to != path:
            self.model.files[to] = self.model.files.pop(path)
            self.touch(to)  # else one of equal size and time could stand in its place

    @precondition(lambda self: self.model.files)
    @rule(data=st.data(), to=paths)
    def copy(self, data: st.DataObject, to: str) -> None:
        path = self.one_of(data)
        if to != path:
            (self.folder / to).parent.mkdir(exist_ok=True)
            shutil.copy(self.folder / path, self.folder / to)
            self.model.files[to] = self.model.files[path]
            self.touch(to)

    @precondition(lambda self: self.model.files)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        path = self.one_of(data)
        (self.folder / path).unlink()
        del self.model.files[path]

    @rule(chosen=st.sets(paths, min_size=6))
    def remove_many(self, chosen: set[str]) -> None:
        for path in chosen & self.model.files.keys():
            (self.folder / path).unlink()
            del self.model.files[path]

    # the gallery

    @rule(prune=st.booleans(), refit=st.booleans(), index=st.sampled_from([None, None, "exact", APPROXIMATE]))
    def update(self, prune: bool, refit: bool, index: str | None) -> None:
        self.gallery.update(prune=prune, refit=refit, index=index)
        self.follow(prune)

    @rule(globs=st.sets(st.sampled_from(GLOBS), max_size=2))
    def exclude(self, globs: set[str]) -> None:
        self.model.exclude = tuple(sorted(globs))
        self.gallery.update(exclude=self.model.exclude)
        self.follow(prune=False)

    def follow(self, prune: bool) -> None:
        before = set(self.model.ids.values())
        self.model.update(prune=prune)
        ids = {row.path: row.id for row in self.gallery.rows()}
        assert ids.keys() == self.model.images.keys()
        for path, id in ids.items():
            if path in self.model.ids:
                assert id == self.model.ids[path], path
            else:
                assert id not in before
                assert id > self.highest, "an id is given again"
        self.model.ids = ids
        self.highest = max([self.highest, *ids.values()])

    @rule(force=st.booleans())
    def adapt(self, force: bool) -> None:
        if self.is_fitted and self.model.is_learnable:
            before = self.gallery.adapted
            report = self.gallery.adapt(force=force)
            assert self.gallery.adapted == (report.kept or before)
            assert report.kept or not force
        else:
            with pytest.raises(CongenerError):
                self.gallery.adapt(force=force)

    @property
    def is_fitted(self) -> bool:
        return Store.exists(self.store) and self.gallery.fit is not None

    @precondition(lambda self: self.is_fitted)
    @rule()
    def forget(self) -> None:
        assert self.gallery.adapted == self.gallery.forget()
        assert not self.gallery.adapted

    # questions

    @rule(colour=colours, k=st.integers(1, 12), index=st.sampled_from([None, "exact"]))
    def search(self, colour: Colour, k: int, index: str | None) -> None:
        self.ask(self.gallery, plain(colour), k, index=index)

    @rule(path=paths, k=st.integers(1, 12))
    def search_by_path(self, path: str, k: int) -> None:
        if path in self.model.files:
            self.ask(self.gallery, self.folder / path, k, hidden=path)

    @rule(colour=colours, k=st.integers(1, 12), label=st.sampled_from(["warm", "cold"]))
    def search_by_label(self, colour: Colour, k: int, label: str) -> None:
        if any(path.startswith(label) for path in self.model.images):
            self.ask(self.gallery, plain(colour), k, labels=[label])
        else:
            with pytest.raises(GalleryError):
                self.gallery.search(plain(colour), k, labels=[label])

    @rule(colour=colours, least=st.floats(0, 1))
    def search_by_similarity(self, colour: Colour, least: float) -> None:
        if self.ask(self.gallery, plain(colour), 12):
            everything = self.gallery.search(plain(colour), 12)
            some = self.gallery.search(plain(colour), 12, min_similarity=least)
            assert [hit.path for hit in some] == [hit.path for hit in everything if hit.similarity >= least]

    @rule(colour=colours)
    def search_by_another_handle(self, colour: Colour) -> None:
        """It was opened some time ago."""
        self.reader = self.reader or self.opened()
        self.ask(self.reader, plain(colour), 5)

    def ask(self, gallery: Gallery, query: Any, k: int, *, hidden: str | None = None, **options: Any) -> bool:
        """Ask, and compare with the scores of all images; return whether there was a gallery to ask."""
        if not Store.exists(self.store):
            with pytest.raises(GalleryError, match="not indexed yet"):
                gallery.search(query, k, **options)
            return False
        wanted = options.get("labels", ["warm", "cold", ""])
        asked = [path for path in self.model.images if path != hidden and path.rpartition("/")[0] in wanted]
        results = gallery.search(query, k, **options)
        lens = gallery.lens()
        colours = np.array([self.model.images[path] for path in asked]).reshape(-1, 3) / 255
        features = colours.astype(np.float32).astype(np.float16)
        if lens.fit is None:
            lengths = np.linalg.norm(features.astype(np.float32), axis=1, keepdims=True)
            embeddings = features / np.maximum(lengths, 1e-9)
        else:
            embeddings = lens.fit.embed(lens.space, features, None)
        scores = dict(zip(asked, (embeddings @ gallery.embed(query)[0]).tolist() if asked else [], strict=True))
        assert len({hit.path for hit in results}) == len(results) == min(k, len(asked))
        for hit, score in zip(results, sorted(scores.values(), reverse=True), strict=False):
            assert hit.id == self.model.ids[hit.path]
            assert abs(hit.score - scores[hit.path]) <= TOLERANCE
            assert abs(hit.score - score) <= TOLERANCE
        return True

    # faults

    @rule(at=st.integers(0, 12), prune=st.booleans(), refit=st.booleans(), where=st.sampled_from(["commit", "sync"]))
    def crash(self, at: int, prune: bool, refit: bool, where: str) -> None:
        """An update ends in the middle; the gallery is opened again, and holds the old or the new of each path."""
        with interrupted(at, where):
            try:
                self.gallery.update(prune=prune, refit=refit)
            except CrashError:
                pass
            else:
                self.follow(prune)
        self.reopen()
        if Store.exists(self.store):
            self.take_over(self.gallery)

    def take_over(self, gallery: Gallery) -> None:
        """Learn what an update that did not end has committed."""
        ids, features = gallery.features()
        rows = {row.id: row.path for row in gallery.rows()}
        held = {}
        for id, feature in zip(ids.tolist(), features, strict=True):
            path = rows[id]
            near = [
                colour
                for colour in (self.model.images.get(path), self.model.found.get(path))
                if colour is not None and np.abs(feature - np.array(colour) / 255).max() < 2e-3
            ]
            assert near, f"{path} is neither old nor new"
            held[path] = near[0]
        assert self.model.images.keys() & self.model.found.keys() <= held.keys(), "what stays is lost"
        self.model.images = held
        self.model.ids = {path: id for id, path in rows.items()}
        self.highest = max([self.highest, *rows])

    @rule()
    def reopen(self) -> None:
        self.gallery.close()
        self.gallery = self.opened()

    @precondition(lambda self: Store.exists(self.store))
    @rule()
    def keep(self) -> None:
        """Copy the files as they are, the log beside them."""
        shutil.rmtree(self.place / "kept", ignore_errors=True)
        shutil.copytree(self.store, self.place / "kept")
        self.kept = dict(self.model.images), dict(self.model.ids), self.model.exclude

    @precondition(lambda self: self.kept)
    @rule()
    def put_back(self) -> None:
        """Put the copy in the gallery's place: as it was then, whatever has happened since."""
        assert self.kept is not None
        self.gallery.close()
        if self.reader:
            self.reader.close()
            self.reader = None
        shutil.rmtree(self.store)
        shutil.copytree(self.place / "kept", self.store)
        images, ids, self.model.exclude = self.kept
        self.model.images, self.model.ids = dict(images), dict(ids)
        self.highest = max([0, *ids.values()])
        self.gallery = self.opened()

    @precondition(lambda self: Store.exists(self.store))
    @rule()
    def check(self) -> None:
        check_sound(self.store)

    @invariant()
    def counts(self) -> None:
        assert len(self.gallery) == len(self.model.images)


@contextmanager
def interrupted(at: int, where: str) -> Iterator[None]:
    """Raise CrashError in the place of a commit or a sync, the one with this number."""
    left = at

    def count() -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise CrashError

    with pytest.MonkeyPatch.context() as patch:
        if where == "commit":
            transaction = Catalogue.transaction

            @contextmanager
            def counting(self: Catalogue) -> Iterator[Any]:
                with transaction(self) as changes:
                    yield changes
                    count()

            patch.setattr(Catalogue, "transaction", counting)
        else:
            for module in ("changes", "store", "indexes.approximate"):
                patch.setattr(f"congener.{module}.sync", lambda file: count())
        yield


def test_a_gallery_that_is_emptied_is_compacted(
    colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 1)  # of lite0, 410 images
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update()
        for path in colours.rglob("*.png"):
            path.unlink()
        assert gallery.update(prune=True).images == 0
        write(colours / "new.png", "navy")
        assert gallery.update().images == 1
    check_sound(colours / ".congener", unused=())


def test_no_row_that_a_reader_may_have_mapped_is_written_over(
    colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images with the last slots are removed and others added, too few for a new fit."""
    monkeypatch.setattr("congener.fit.SMALL", 1)
    for number in range(40):
        write(colours / f"{number:02}.png", (6 * number, 0, 9))
    with Gallery(colours, encoder=encoder) as gallery, ExitStack() as stack:
        gallery.update()
        reader = stack.enter_context(Gallery(colours, encoder=encoder))
        mapped = reader.vectors(reader.lens()).matrix
        before = mapped.copy()
        (last,) = [row.path for row in gallery.rows() if row.slot == len(mapped) - 1]
        (colours / last).unlink()
        gallery.update()
        write(colours / "new.png", "navy")
        gallery.update()
        assert gallery.info().fitted_on == 45, "it was fitted anew"
        assert np.array_equal(mapped, before)


def test_check_finds_nothing_where_all_images_are_excluded(colours: Path, encoder: MeanColour) -> None:
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update(index=APPROXIMATE)
        gallery.update(exclude=["*"])
    assert not check(colours / ".congener", encoder=encoder).findings


@pytest.mark.skipif(APPROXIMATE == "auto", reason="needs usearch")
def test_no_graph_is_made_of_no_images(colours: Path, encoder: MeanColour) -> None:
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update()
        gallery.update(exclude=["*"], index=APPROXIMATE)
        assert gallery.info().index["recall"] == 1


def run(examples: int, steps: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        GalleryMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_gallery_does_what_its_model_does() -> None:
    run(15, 40, derandomize=True)


@pytest.mark.long
def test_a_gallery_does_what_its_model_does_for_long() -> None:
    run(300, 50, derandomize=False)
