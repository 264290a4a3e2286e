"""One gallery, asked by several threads beside updates: no errors, and the right answers."""

import itertools
import random
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import congener
from congener import Gallery
from congener.disk import explained
from congener.errors import DamagedGalleryError, GalleryBusyError, GalleryError
from congener.results import Results
from congener.searcher import Searcher
from congener.store import Store

from .conftest import MeanColour, plain, write
from .faults.workload import APPROXIMATE

THREADS = 8
Ask = Callable[[Gallery, Searcher, Path], Results]

# without what was learned: it may make two colours of a label one
ASKED: dict[str, Ask] = {
    "gallery": lambda gallery, _, path: gallery.search(path, 1, adapted=False),
    "searcher": lambda _, searcher, path: searcher.search(path, 1, adapted=False),
    "function": lambda gallery, _, path: congener.search([gallery], path, 1, adapted=False),
    "label": lambda gallery, _, path: gallery.search(path, 1, labels=[path.parent.name], adapted=False),
}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Thirty-two colours, each in two pictures of different sizes: whatever else is there, they find each other."""
    rng = random.Random(1)
    for number in range(32):
        colour = rng.randrange(256), rng.randrange(256), rng.randrange(256)
        folder = tmp_path / "pairs" / ("even" if number % 2 == 0 else "odd")
        write(folder / f"{number:02}.png", colour)
        plain(colour, (20, 20)).save(folder / f"{number:02}-twin.png")
    return tmp_path / "pairs"


@pytest.mark.parametrize("index", ["exact", APPROXIMATE])
def test_eight_threads_search_beside_updates(pairs: Path, encoder: MeanColour, index: str) -> None:
    paths = sorted(path for path in pairs.rglob("*.png") if "twin" not in path.name)
    rng = random.Random(2)
    with Gallery(pairs, encoder=encoder) as gallery:
        gallery.update(index=index)
        searcher = Searcher([gallery])
        done = threading.Event()

        def ask(number: int) -> int:
            for turn in itertools.count():
                path = paths[(number * 5 + turn) % len(paths)]
                name = list(ASKED)[(number + turn) % len(ASKED)]
                (hit,) = ASKED[name](gallery, searcher, path)
                assert hit.file.name == f"{path.stem}-twin.png", name
                assert hit.score == pytest.approx(1, abs=2e-3), name
                if done.is_set():
                    return turn
            raise AssertionError

        with ThreadPoolExecutor(THREADS) as pool:
            asking = [pool.submit(ask, number) for number in range(THREADS)]
            try:
                for turn in range(12):
                    for number in range(6):  # colours that come and go, and change what is fitted
                        colour = rng.randrange(256), rng.randrange(256), rng.randrange(256)
                        write(pairs / f"{('even', 'odd')[number % 2]}/passing-{number}.gif", colour).unlink(
                            turn % 3 == 2
                        )
                    report = gallery.update(prune=True)
                    assert not report.skipped
                    if turn % 4 == 1:
                        gallery.adapt(force=True)
                    if turn % 4 == 3:
                        gallery.forget()
                    if turn % 3 == 0:
                        gallery.close()  # whoever asks next opens it again
            finally:
                done.set()
            assert sum(each.result(60) for each in asking) > 100


def test_what_is_not_committed_is_seen_by_no_search(pairs: Path, encoder: MeanColour) -> None:
    """Though it is by the same gallery that it is written."""
    with Gallery(pairs, encoder=encoder) as gallery:
        gallery.update()
        write(pairs / "new.png", "white")
        seen: list[int] = []

        def look(done: int, to_do: int) -> None:
            with ThreadPoolExecutor(1) as pool:
                seen.append(pool.submit(lambda: len(gallery.search(plain("red"), 1000))).result(30))

        gallery.update(progress=look)
        assert seen == [64]
        assert len(gallery.search(plain("red"), 1000)) == 65


def test_a_second_update_of_the_same_gallery_says_so(pairs: Path, encoder: MeanColour) -> None:
    with Gallery(pairs, encoder=encoder) as gallery:

        def again(done: int, to_do: int) -> None:
            gallery.update()

        with pytest.raises(GalleryBusyError):
            gallery.update(progress=again)


def test_a_label_that_an_update_has_just_brought_is_no_error(
    pairs: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embeddings of a question may be older than its labels."""
    with Gallery(pairs, encoder=encoder) as gallery:
        gallery.update()
        labelled = Searcher._labelled

        def beside_an_update(self: Searcher, asked: list[str]) -> object:
            monkeypatch.undo()
            write(pairs / "zest/new.png", "white")
            gallery.update()
            return labelled(self, asked)

        monkeypatch.setattr(Searcher, "_labelled", beside_an_update)
        assert len(gallery.search(plain("white"), 3, labels=["zest"])) == 0
        assert len(gallery.search(plain("white"), 3, labels=["zest"])) == 1


def test_a_question_that_a_new_fit_overtakes_is_answered_by_one_of_them(
    pairs: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pairs / "even/00.png"
    with Gallery(pairs, encoder=encoder) as gallery, Gallery(pairs, encoder=encoder) as other:
        gallery.update()
        before = {hit.path: hit.score for hit in gallery.search(path, 63)}
        lens, vectors = gallery.lens(), Gallery.vectors

        def overtaken(self: Gallery, *lens: object) -> object:
            monkeypatch.undo()
            for number in range(40):  # so that the code is another
                write(pairs / f"light/{number}.png", (255, 255 - number, 200))
            other.update()
            return vectors(self, *lens)  # type: ignore[arg-type]

        monkeypatch.setattr(Gallery, "vectors", overtaken)
        answer = {hit.path: hit.score for hit in Searcher([gallery]).search(path, 103)}
        assert len(answer) == 103
        assert {of: answer[of] for of in before} == pytest.approx(before, abs=2e-3)
        assert gallery.lens().version != lens.version
        after = {hit.path: hit.score for hit in gallery.search(path, 103)}
        assert {of: after[of] for of in before} != pytest.approx(before, abs=2e-3)


def test_no_index_is_kept_for_a_gallery_that_was_opened_again(
    pairs: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery(pairs, encoder=encoder) as gallery:
        gallery.update()
    with Gallery(pairs, encoder=encoder) as gallery:  # SQLite counts the changes that a connection sees from its start
        searcher = Searcher([gallery])
        searcher.search(plain("white"), 1)
        gallery.close()
        write(pairs / "new.png", "white")
        monkeypatch.setattr("congener.gallery.is_due", lambda *_: False)  # as in a large gallery: the fit stays
        with Gallery(pairs, encoder=encoder) as other:
            other.update()
        assert searcher.search(plain("white"), 1)[0].path == "new.png"


# what an error means


def misuse_a_closed_store(store: Store) -> None:
    store.close()
    len(store)


def interrupt(store: Store) -> None:
    store.connection.set_progress_handler(lambda: 1, 1)
    store.find(id=1)


def begin_twice(store: Store) -> None:
    store.connection.execute("BEGIN IMMEDIATE")
    with store.transaction():
        pass


@pytest.mark.parametrize("misuse", [misuse_a_closed_store, interrupt, begin_twice])
def test_misuse_and_interruption_are_not_called_damage(
    pairs: Path, encoder: MeanColour, misuse: Callable[[Store], None]
) -> None:
    with Gallery(pairs, encoder=encoder) as gallery:
        gallery.update()
    store = Store.open(pairs / ".congener")
    try:
        with pytest.raises(GalleryError, match="can't use the gallery") as raised:
            misuse(store)
    finally:
        store.connection.close()
    assert not isinstance(raised.value, DamagedGalleryError)
    assert "delete" not in str(raised.value)
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "make room"),
        (OSError(122, "Disk quota exceeded"), "make room"),
        (PermissionError(13, "Permission denied", "x"), "give rights"),
        (OSError(30, "Read-only file system", "x"), "give rights"),
        (OSError(5, "Input/output error", "features-1.f16"), "features-1.f16: Input/output error"),
        (OSError(24, "Too many open files", "lock"), "Too many open files"),
        (MemoryError(), "not enough memory"),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), "closed database"),
    ],
)
def test_each_error_says_what_it_is(tmp_path: Path, error: Exception, said: str) -> None:
    with pytest.raises(GalleryError, match=said) as raised, explained(tmp_path):
        raise error
    message = str(raised.value)
    assert "delete" not in message
    for advice in ("make room", "give rights"):
        assert (advice in message) == (advice == said)


def test_a_catalogue_that_can_t_be_opened_is_no_matter_of_rights_where_there_are(
    pairs: Path, encoder: MeanColour
) -> None:
    with Gallery(pairs, encoder=encoder) as gallery:
        gallery.update()
    (pairs / ".congener/lock").unlink(missing_ok=True)
    (pairs / ".congener/lock").mkdir()
    with Gallery(pairs, encoder=encoder) as gallery, pytest.raises(GalleryError, match="unable to open") as said:
        gallery.update()
    assert "rights" not in str(said.value)


def test_a_busy_gallery_is_said_to_be(pairs: Path, encoder: MeanColour) -> None:
    with Gallery(pairs, encoder=encoder) as gallery:
        gallery.update()
    with closing(Store.open(pairs / ".congener")) as store, closing(Store.open(pairs / ".congener")) as other:
        other.connection.execute("PRAGMA busy_timeout = 1")
        with store.transaction(), pytest.raises(GalleryBusyError, match="try again"), other.transaction():
            pass
