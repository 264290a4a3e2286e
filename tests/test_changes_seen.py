"""What an update sees of changes that keep a file's size and time; and what it drops."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from congener.stamp import Stamp
from congener.store import Row, Store
from congener.update import UpdateReport, update_store

from .conftest import MeanColour, write
from .test_update import counts, features


@pytest.fixture
def store(tmp_path: Path, encoder: MeanColour) -> Iterator[Store]:
    store = Store.create(tmp_path / "store", encoder.identity.as_dict())
    yield store
    store.close()


@pytest.fixture
def colours(colours: Path) -> Path:
    """Five colours in files of one size and one time."""
    for path in colours.rglob("*.png"):
        level(path)
    return colours


def level(path: Path) -> None:
    """Give a file the same size and time as all others."""
    with path.open("ab") as file:
        file.write(bytes(200 - path.stat().st_size))
    os.utime(path, (10**9, 10**9))


def row_of(store: Store, path: str) -> Row:
    row = store.find(path=path)
    assert row is not None
    return row


def put(store: Store, row: Row) -> None:
    with store.transaction() as changes:
        changes.put(row)


def stamp(path: Path) -> Stamp:
    return Stamp.of(path.stat())


def test_a_file_changed_in_place_that_keeps_size_and_time_is_read_again(
    store: Store, colours: Path, encoder: MeanColour
) -> None:
    update_store(store, colours, encoder)
    before = stamp(colours / "green.png")
    write(colours / "green.png", "white")
    level(colours / "green.png")
    assert stamp(colours / "green.png")[:2] == before[:2]
    assert counts(update_store(store, colours, encoder)) == (1, 4, 0, 0, 0)
    assert features(store)["green.png"] == (1, 1, 1)


def test_files_that_swap_their_names_are_noticed(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    red, blue, aside = colours / "warm/red.png", colours / "cold/blue.png", colours.parent / "aside"
    red.rename(aside)
    blue.rename(red)
    aside.rename(blue)
    assert counts(update_store(store, colours, encoder)) == (0, 3, 2, 0, 0)
    assert features(store)["warm/red.png"] == (0, 0, 1)
    assert features(store)["cold/blue.png"] == (1, 0, 0)
    assert counts(update_store(store, colours, encoder)) == (0, 5, 0, 0, 0)
    assert encoder.encoded == 5


def test_folders_that_swap_their_names_are_noticed_though_all_times_are_alike(
    store: Store, colours: Path, encoder: MeanColour
) -> None:
    """As where many files are written within a tick of the clock: the ctime of none of them changes."""
    for folder, colour in (("one", "navy"), ("two", "gold")):
        write(colours / folder / "a.png", colour)
        level(colours / folder / "a.png")
    update_store(store, colours, encoder)
    for old, new in (("one", "aside"), ("two", "one"), ("aside", "two")):
        (colours / old).rename(colours / new)
    for folder in ("one", "two"):
        row = row_of(store, f"{folder}/a.png")
        put(store, row._replace(ctime_ns=stamp(colours / folder / "a.png").ctime_ns))
    assert counts(update_store(store, colours, encoder)) == (0, 5, 2, 0, 0)
    assert features(store)["two/a.png"] == pytest.approx((0, 0, 0.5), abs=0.01)


def test_a_file_of_other_rights_is_hashed_and_not_decoded(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    (colours / "green.png").chmod(0o600)
    assert row_of(store, "green.png").ctime_ns != stamp(colours / "green.png").ctime_ns
    assert counts(update_store(store, colours, encoder)) == (0, 5, 0, 0, 0)
    assert encoder.encoded == 5
    assert row_of(store, "green.png").ctime_ns == stamp(colours / "green.png").ctime_ns


def unread(store: Store, colours: Path, monkeypatch: pytest.MonkeyPatch) -> UpdateReport:
    """Return the report of an update that may read no file."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was read")

    with monkeypatch.context() as patch:
        patch.setattr("congener.update.read", refuse)
        return update_store(store, colours, MeanColour())


def test_a_file_system_that_gives_new_numbers_to_old_files_costs_a_hash_once(
    store: Store, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_store(store, colours, encoder)
    for _ in range(2):
        for row in list(store.rows()):
            put(store, row._replace(inode=row.inode and row.inode + 1))
        assert counts(update_store(store, colours, encoder)) == (0, 5, 0, 0, 0)
        assert {row.inode for row in store.rows()} == {0}
        assert counts(unread(store, colours, monkeypatch)) == (0, 5, 0, 0, 0)
    assert encoder.encoded == 5


def test_what_an_older_gallery_does_not_know_is_not_read_again_but_known_from_then_on(
    store: Store, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_store(store, colours, encoder)
    for row in list(store.rows()):
        put(store, row._replace(ctime_ns=0, inode=0))
    assert counts(unread(store, colours, monkeypatch)) == (0, 5, 0, 0, 0)
    for row in store.rows():
        assert (row.ctime_ns, row.inode) == stamp(colours / row.path)[2:]
    write(colours / "green.png", "white")
    level(colours / "green.png")
    assert counts(update_store(store, colours, encoder)) == (1, 4, 0, 0, 0)


def test_another_size_at_the_same_time_is_seen_though_nothing_else_is_known(
    store: Store, colours: Path, encoder: MeanColour
) -> None:
    update_store(store, colours, encoder)
    put(store, row_of(store, "green.png")._replace(ctime_ns=0, inode=0))
    write(colours / "green.png", "white")
    os.utime(colours / "green.png", (10**9, 10**9))
    assert stamp(colours / "green.png").size != 200
    assert counts(update_store(store, colours, encoder)) == (1, 4, 0, 0, 0)


# what is dropped


def folder_of(root: Path, **counts: int) -> Path:
    """Make folders of so many pictures each."""
    for name, count in counts.items():
        for number in range(count):
            write(root / name / f"{number}.png", (len(name), number, 0))
    return root


@pytest.mark.parametrize(("gone", "removed", "missing"), [(2, 2, 0), (3, 0, 3)])
def test_half_of_a_folder_may_go_and_no_more(
    store: Store, tmp_path: Path, encoder: MeanColour, gone: int, removed: int, missing: int
) -> None:
    folder = folder_of(tmp_path / "folder", a=4)
    update_store(store, folder, encoder)
    for number in range(gone):
        (folder / f"a/{number}.png").unlink()
    report = update_store(store, folder, encoder)
    assert (report.removed, report.missing, report.images) == (removed, missing, 4 - removed)


@pytest.mark.parametrize(("gone", "removed", "missing"), [(2, 2 + 6, 0), (3, 6, 3)])
def test_what_is_excluded_counts_for_neither_half(
    store: Store, tmp_path: Path, encoder: MeanColour, gone: int, removed: int, missing: int
) -> None:
    folder = folder_of(tmp_path / "folder", a=4, other=6)
    update_store(store, folder, encoder)
    for number in range(gone):
        (folder / f"a/{number}.png").unlink()
    report = update_store(store, folder, encoder, exclude=["other"])
    assert (report.removed, report.missing, report.images) == (removed, missing, 10 - removed)


def test_an_exclusion_with_a_slash_drops_all_that_lies_below(store: Store, tmp_path: Path, encoder: MeanColour) -> None:
    folder = folder_of(tmp_path / "folder", **{"a/b/c/d": 6, "a/x": 2, "b": 1})
    update_store(store, folder, encoder)
    report = update_store(store, folder, encoder, exclude=["a/b"])
    assert (report.removed, report.missing, report.images) == (6, 0, 3)


def test_what_is_passed_over_by_now_is_dropped_and_comes_back(
    store: Store, tmp_path: Path, encoder: MeanColour
) -> None:
    folder = folder_of(tmp_path / "folder", **{"@eaDir/a.jpg": 6, "a": 2})
    shutil.copy(folder / "a/0.png", folder / "._0.png")
    report = update_store(store, folder, encoder, default_exclude=False)
    assert (report.found, report.images, report.passed_over) == (9, 9, {})
    assert update_store(store, folder, encoder).images == 9  # it is remembered
    report = update_store(store, folder, encoder, default_exclude=True)
    assert (report.found, report.removed, report.missing, report.images) == (2, 7, 0, 2)
    assert report.passed_over == {"@eaDir/": 1, "._*": 1}
    assert update_store(store, folder, encoder).images == 2
