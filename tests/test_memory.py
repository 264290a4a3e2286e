"""What can't be read is remembered, and tried again only when it or the decoders change."""

import importlib.util
import os
import shlex
import sqlite3
import subprocess
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import PIL
import pytest

from congener import Gallery, update
from congener.check import check
from congener.decoders import DECODING, _version, decoders
from congener.encoders import Encoder
from congener.errors import command, quoted
from congener.files import FoundImage
from congener.memory import Memory
from congener.reading import ACCESS, CAUSES, CHANCE, CONTENTS, STATUS
from congener.store import Store
from congener.update import Reading, UpdateReport, update_store

from .conftest import MeanColour, write
from .test_cli import Run, run
from .test_update import Otherwise
from .troublesome import Bad, Short

__all__ = ["run"]  # a fixture


@pytest.fixture
def store(tmp_path: Path, encoder: MeanColour) -> Iterator[Store]:
    store = Store.create(tmp_path / "store", encoder.identity.as_dict())
    yield store
    store.close()


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that updates have read, or found to have a problem."""
    paths: list[str] = []
    read_all = update.read_all

    def noted(folder: Path, images: Any, encoder: Encoder, slots: Any) -> Generator[Reading]:
        paths.extend(image.path for image in images)
        return read_all(folder, images, encoder, slots)

    monkeypatch.setattr(update, "read_all", noted)
    return paths


@pytest.fixture
def folder(colours: Path) -> Path:
    """Five colours, and two that can't be read."""
    (colours / "broken.jpg").write_text("no picture")
    whole = (colours / "green.png").read_bytes()
    (colours / "warm/cut.png").write_bytes(whole[: len(whole) // 2])
    return colours


def skipped(report: UpdateReport) -> list[tuple[str, bool]]:
    """Return path, and whether it is remembered; check that the counts add up."""
    assert report.found == report.indexed + report.unchanged + report.renamed + len(report.skipped)
    assert report.news == sum(not each.remembered for each in report.skipped)
    return [(each.path, each.remembered) for each in report.skipped]


def again(
    store: Store, folder: Path, tried: list[str], *, retry: bool = False
) -> tuple[list[tuple[str, bool]], list[str]]:
    """Return what an update skipped, and what it tried."""
    tried.clear()
    return skipped(update_store(store, folder, MeanColour(), retry=retry)), list(tried)


NEW = [("broken.jpg", False), ("warm/cut.png", False)]
KNOWN = [("broken.jpg", True), ("warm/cut.png", True)]


def test_what_cannot_be_read_is_not_tried_again(store: Store, folder: Path, tried: list[str]) -> None:
    first = update_store(store, folder, MeanColour())
    assert skipped(first) == NEW
    assert again(store, folder, tried) == (KNOWN, [])
    second = update_store(store, folder, MeanColour())
    assert [each.reason for each in second.skipped] == [each.reason for each in first.skipped]
    assert (second.found, second.unchanged, second.images) == (7, 5, 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.utime(path, (1, 1)),
        lambda path: path.chmod(0o600),  # the ctime alone
        lambda path: os.replace(path.with_suffix(".new"), path),  # another file
        lambda path: path.write_text("no picture, still"),
    ],
)
def test_what_has_changed_is_tried_again(store: Store, folder: Path, tried: list[str], change: Any) -> None:
    path = folder / "broken.jpg"
    update_store(store, folder, MeanColour())
    path.with_suffix(".new").write_bytes(path.read_bytes())
    change(path)
    assert again(store, folder, tried) == ([("broken.jpg", False), ("warm/cut.png", True)], ["broken.jpg"])
    assert again(store, folder, tried) == (KNOWN, [])


def test_all_are_tried_again_when_decoders_change(
    store: Store, folder: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    update_store(store, folder, MeanColour())
    monkeypatch.setattr("congener.memory.decoders", lambda: {"congener": "later"})
    assert again(store, folder, tried) == (NEW, ["broken.jpg", "warm/cut.png"])
    assert again(store, folder, tried) == (KNOWN, [])


def test_all_are_tried_again_when_asked(store: Store, folder: Path, tried: list[str]) -> None:
    update_store(store, folder, MeanColour())
    assert again(store, folder, tried, retry=True) == (NEW, ["broken.jpg", "warm/cut.png"])
    assert again(store, folder, tried) == (KNOWN, [])


def test_what_is_mended_or_gone_is_forgotten(store: Store, folder: Path, tried: list[str]) -> None:
    update_store(store, folder, MeanColour())
    write(folder / "broken.jpg", "white")
    (folder / "warm/cut.png").unlink()
    assert again(store, folder, tried) == ([], ["broken.jpg"])
    assert list(store.unread()) == []


def test_what_was_indexed_and_is_no_picture_any_more_is_remembered(
    store: Store, colours: Path, tried: list[str]
) -> None:
    update_store(store, colours, MeanColour())
    (colours / "green.png").write_text("no picture")
    assert again(store, colours, tried) == ([("green.png", False)], ["green.png"])
    assert again(store, colours, tried) == ([("green.png", True)], [])
    assert len(store) == 4


def test_what_needs_no_reading_is_told_each_time_and_is_news_once(
    store: Store, colours: Path, tried: list[str]
) -> None:
    (colours / "empty.png").touch()
    (colours / "gone.png").symlink_to(colours / "nowhere")
    assert skipped(update_store(store, colours, MeanColour())) == [("empty.png", False), ("gone.png", False)]
    assert again(store, colours, tried)[0] == [("empty.png", True), ("gone.png", True)]
    assert not any(unread.lasting for unread in store.unread())


def test_want_of_memory_is_not_the_files_fault(store: Store, colours: Path, tried: list[str]) -> None:
    assert skipped(update_store(store, colours, Otherwise(Short(8, 8)))) == [("warm/red.png", False)]
    assert again(store, colours, tried) == ([], ["warm/red.png"])


@pytest.mark.own_workers
def test_decoders_that_crash_or_hang_are_tried_again(
    store: Store, colours: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("congener.update.DECODE_SECONDS", 2.0)
    both = ["cold/blue.png", "warm/red.png"]
    assert skipped(update_store(store, colours, Otherwise(Bad(8, 8)))) == [(path, False) for path in both]
    assert again(store, colours, tried) == ([], both)


@pytest.mark.parametrize("cause", CAUSES)
def test_only_what_the_contents_cause_is_remembered(store: Store, colours: Path, cause: str) -> None:
    image = FoundImage("green.png", 1, 2, ctime_ns=3, inode=4)
    with store.transaction() as changes:
        Memory(store).note(image, "a reason", cause, changes)
    assert len(Memory(store).known([image])) == (cause == CONTENTS)
    assert {ACCESS, CHANCE, CONTENTS, STATUS} == set(CAUSES)


def test_a_row_that_is_not_what_was_written_is_found_and_its_file_tried_again(
    store: Store, folder: Path, tried: list[str], encoder: MeanColour
) -> None:
    update_store(store, folder, encoder)
    with closing(sqlite3.connect(store.folder / "catalogue.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE unread SET reason = 'none' WHERE path = ?", (b"broken.jpg",))
    assert again(store, folder, tried) == ([("broken.jpg", False), ("warm/cut.png", True)], ["broken.jpg"])
    with closing(sqlite3.connect(store.folder / "catalogue.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE unread SET size = 1 WHERE path = ?", (b"broken.jpg",))
    report = check(store.folder, encoder=encoder, repair=True)
    assert [(each.what, each.where, each.mended) for each in report.findings] == [("unread", "broken.jpg", True)]
    assert [each.path for each in store.unread()] == ["warm/cut.png"]


# the command line


def test_a_search_tells_of_what_is_new_only(run: Run, folder: Path) -> None:
    (folder / "empty.png").touch()
    query = folder / "green.png"
    assert "3 of 8 files in" in run("search", query, "--in", folder).err
    assert run("search", query, "--in", folder).err == ""
    (folder / "new.jpg").write_text("no picture")
    assert "4 of 9 files in" in run("search", query, "--in", folder).err
    assert run("search", query, "--in", folder).err == ""


def test_index_tells_of_each_every_time(run: Run, folder: Path) -> None:
    for _ in range(2):
        assert run("index", folder).err.count("skipped") == 2
    files = run("index", folder, "--json").json["skipped"]
    assert [(each["path"], each["remembered"]) for each in files] == KNOWN
    files = run("index", folder, "--json", "--retry").json["skipped"]
    assert [(each["path"], each["remembered"]) for each in files] == NEW


def test_of_many_the_first_twenty_are_printed_and_all_are_in_json(run: Run, colours: Path) -> None:
    for number in range(25):
        (colours / f"{number:02}.jpg").write_text("no picture")
    for _ in range(2):
        lines = run("index", colours).err.splitlines()
        assert len(lines) == 21
        assert "skipped 00.jpg" in lines[0]
        assert "5 more" in lines[20]
        assert len(run("index", colours, "--json").json["skipped"]) == 25


@pytest.mark.parametrize("name", ["plain", "two words", "it's", "$HOME `x`", "new\nline", "käfer", "-x"])
def test_advice_can_be_pasted(run: Run, tmp_path: Path, colours: Path, name: str) -> None:
    folder = colours.rename(tmp_path / name)
    (folder / "broken.jpg").write_text("no picture")
    told = run("search", folder / "green.png", "--in", folder).err
    advice = told.strip().split("can't be read: ")[1].removesuffix(" tells why")
    assert words(advice) == ["congener", "index", str(folder)]


def words(line: str) -> list[str]:
    """Return a line's words as bash takes them."""

    script = f'for word in {line}; do printf "%s\\0" "$word"; done'
    return subprocess.check_output(["bash", "-c", script]).decode().split("\0")[:-1]


def test_advice_names_another_place_of_the_gallery(colours: Path, tmp_path: Path, encoder: MeanColour) -> None:
    with Gallery(colours, store=tmp_path / "my store", encoder=encoder) as gallery:
        assert shlex.split(gallery.command("index", "--prune")) == [
            *("congener", "index", str(colours), "--gallery", str(tmp_path / "my store"), "--prune")
        ]
    with Gallery(colours, encoder=encoder) as gallery:
        assert shlex.split(gallery.command("adapt")) == ["congener", "adapt", str(colours)]


def test_a_path_is_no_option_and_odd_bytes_stay() -> None:
    assert command("index", Path("-x")) == "congener index ./-x"
    assert command("index", "--prune") == "congener index --prune"
    odd = os.fsdecode(b"a\xff'b")
    assert quoted(odd) == "$'a\\xff\\'b'"


def test_decoders_are_told_by_their_versions() -> None:
    assert decoders()["pillow"] == PIL.__version__
    assert decoders()["congener"] == DECODING
    installed = importlib.util.find_spec("pi_heif") is not None
    assert bool(decoders()["pi-heif"]) == installed
    assert _version("no_such_package") == ""
    assert _version("PIL") == "unknown"  # its package is called otherwise


@pytest.mark.parametrize("table", ["unread", "files"])
@pytest.mark.parametrize("at", [0, 3, 4, 8])
def test_lists_whose_pages_are_damaged_are_made_anew(
    store: Store, folder: Path, encoder: MeanColour, table: str, at: int
) -> None:
    update_store(store, folder, encoder)
    place = store.folder
    store.close()
    catalogue = place / "catalogue.sqlite"
    with closing(sqlite3.connect(catalogue)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    pages = bytearray(catalogue.read_bytes())
    pages[(root - 1) * size + at] ^= 0xFF
    catalogue.write_bytes(pages)
    found = check(place, encoder=encoder)
    assert not found.sound
    assert check(place, encoder=encoder, repair=True).sound
    after = check(place, encoder=encoder)
    assert (after.findings, after.images) == ((), 5)


def test_decoders_are_not_looked_up_for_what_they_do_not_cause(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up() -> dict[str, str]:
        raise AssertionError("decoders are looked up, which takes their import")

    monkeypatch.setattr("congener.memory.decoders", looked_up)
    memory = Memory(store)
    with store.transaction() as changes:
        memory.note(FoundImage("red.png", 1, 2), "Input/output error", ACCESS, changes)
    assert [(each.path, each.lasting) for each in store.unread()] == [("red.png", False)]
