"""One byte of a gallery's files is changed: no wrong answer, no crash, and `check` finds it wherever it matters."""

import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from congener import Gallery
from congener.check import check
from congener.errors import GalleryError
from congener.store import Row, Store

from .conftest import MeanColour, plain, write

ENCODER = MeanColour()
COLOURS = {
    "warm/red.png": (255, 0, 0),
    "warm/orange.png": (255, 128, 0),
    "warm/gold.png": (255, 215, 0),
    "cold/blue.png": (0, 0, 255),
    "cold/cyan.png": (0, 255, 255),
    "cold/navy.png": (0, 0, 128),
    "gone.png": (9, 9, 9),
    "grey.png": (128, 128, 128),
    "copy of grey.png": (128, 128, 128),
}
QUERY = plain((250, 60, 10))


@dataclass
class Outcome:
    flips: int = 0
    found: int = 0
    """By check."""
    refused: int = 0
    """By a search or another question."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutation") / "photos"
    for name, colour in COLOURS.items():
        write(folder / name, colour)
    with Gallery(folder, encoder=ENCODER) as gallery:
        gallery.update(exclude=["*.gif"], index="approximate")
        (folder / "gone.png").unlink()
        gallery.update()
        gallery.adapt(force=True)
    return folder


def everything(folder: Path) -> list[Any]:
    """Return what searches, `info` and an update would read of a gallery."""
    with Gallery(folder, encoder=ENCODER) as gallery:
        answers: list[Any] = [
            list(gallery.search(QUERY, 20)),
            list(gallery.search(folder / "warm/red.png", 2, labels=["warm"], adapted=False)),
        ]
        facts = gallery.info().as_dict()
        del facts["bytes"]
        store = gallery._open_store()
        answers += [facts, list(gallery.rows()), store.slots(), store.changed(), store.get("graph", None)]
        return answers


class Files:
    """The sound files of a gallery, to be put back."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.contents = {path.name: path.read_bytes() for path in sorted(store.iterdir()) if path.stat().st_size}

    def spoil(self, name: str, at: int, by: int) -> None:
        data = bytearray(self.contents[name])
        data[at] ^= by
        (self.store / name).write_bytes(data)

    def put_back(self) -> None:
        for path in self.store.iterdir():
            if path.name not in self.contents:
                path.unlink()
        for name, content in self.contents.items():
            path = self.store / name
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)


def try_out(folder: Path, flips: Iterator[tuple[str, int, int]]) -> Outcome:
    """Change a byte, ask everything, check, put it back; for each flip."""
    files, expected, outcome = Files(folder / ".congener"), everything(folder), Outcome()
    assert check(folder / ".congener", encoder=ENCODER).sound
    for name, at, by in flips:
        files.spoil(name, at, by)
        what = f"{name}, byte {at} ^ {by:#x}"
        outcome.flips += 1
        try:
            answers = everything(folder)
        except GalleryError:
            answers = None
            outcome.refused += 1
        except Exception as error:
            raise AssertionError(f"{what}: a search crashed") from error
        else:
            assert answers == expected, f"{what}: a wrong answer"
        try:
            sound = check(folder / ".congener", encoder=ENCODER).sound
        except GalleryError:
            sound = False
        except Exception as error:
            raise AssertionError(f"{what}: the check crashed") from error
        outcome.found += not sound
        assert answers is not None or not sound, f"{what}: a search is refused, and check finds nothing"
        files.put_back()
    assert everything(folder) == expected
    return outcome


def test_a_byte_changed_anywhere_gives_no_wrong_answer_and_is_found_where_it_matters(folder: Path) -> None:
    generator = random.Random(6)

    def flips() -> Iterator[tuple[str, int, int]]:
        for name, content in Files(folder / ".congener").contents.items():
            used = [at for at in range(100, len(content)) if content[at]]
            unused = [at for at in range(100, len(content)) if not content[at]]  # as most of SQLite's pages is here
            chosen = generator.sample(used, min(len(used), 1500)) + generator.sample(unused, min(len(unused), 600))
            for at in [*range(min(len(content), 100)), *sorted(chosen)]:
                yield name, at, 1 << generator.randrange(8)

    outcome = try_out(folder, flips())
    assert outcome.flips > 3000, outcome
    assert outcome.found > outcome.flips / 2, outcome


def test_of_a_large_gallery_each_hit_is_true_though_others_may_be_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What opening can't look at, since it costs the same at any size: `check` finds it."""
    monkeypatch.setattr("congener.catalogue.SEEN_WHOLE", 0)
    monkeypatch.setattr("congener.store._SEEN_WHOLE", -1)
    generator, files = random.Random(8), Files(folder / ".congener")

    def hits() -> set[tuple[str, float, float, int, str | None]]:
        with Gallery(folder, encoder=ENCODER) as gallery:
            return {(h.path, h.score, h.similarity, h.id, h.label) for h in gallery.search(QUERY, 20)}

    expected, fewer = hits(), 0
    for name, content in files.contents.items():
        used = [at for at in range(len(content)) if content[at]]
        for at in generator.sample(used, min(len(used), 400)):
            files.spoil(name, at, 1 << generator.randrange(8))
            try:
                found = hits()
            except GalleryError:
                found = set()
            assert found <= expected, f"{name}, byte {at}"
            fewer += found < expected
            files.put_back()
    assert fewer > 100


def test_a_damaged_log_takes_back_what_was_committed_in_it_and_no_more(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", ENCODER.identity.as_dict())
    states: list[list[str]] = [[]]
    for number in range(3):  # each a transaction; the store isn't closed, as after a kill
        with store.transaction() as changes:
            feature = np.full(3, number, np.float32)
            changes.put(Row(0, f"{number}.png", 1, 2, bytes(32), *changes.append(feature)))
        states.append([row.path for row in store.rows()])
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("catalogue.sqlite", "catalogue.sqlite-wal", "features-1.f16"):
        shutil.copy(tmp_path / "store" / name, killed)
    store.close()
    files, generator, seen = Files(killed), random.Random(9), set()
    log = "catalogue.sqlite-wal"
    for at in [*range(64), *generator.sample(range(64, len(files.contents[log])), 300)]:
        files.spoil(log, at, 1 << generator.randrange(8))
        with closing(Store.open(killed)) as opened:
            paths = [row.path for row in opened.rows()]
        assert paths in states
        seen.add(len(paths))
        assert check(killed, encoder=ENCODER).sound
        files.put_back()
    assert seen == {0, 1, 2}  # of the three


@pytest.mark.long
def test_every_byte_changed(folder: Path) -> None:
    generator = random.Random(7)

    def flips() -> Iterator[tuple[str, int, int]]:
        for name, content in Files(folder / ".congener").contents.items():
            for at in range(len(content)):
                yield name, at, 1 << generator.randrange(8)

    outcome = try_out(folder, flips())
    assert outcome.found > outcome.flips / 4, outcome
