"""A backup is a sound gallery, whatever is written while it is taken; restoring is what the docs say."""

import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from congener import Gallery
from congener import backup as backup_module
from congener.backup import back_up
from congener.check import check
from congener.errors import DamagedGalleryError, GalleryBusyError, GalleryError
from congener.removal import holdings, remove_gallery
from congener.store import Row, Store

from .conftest import MeanColour, write
from .faults.workload import APPROXIMATE
from .test_cli import Run, run

__all__ = ["run"]  # a fixture
DOCS = Path(__file__).resolve().parents[1] / "docs/backup.md"


@pytest.fixture
def store(colours: Path) -> Path:
    with Gallery(colours, encoder=MeanColour()) as gallery:
        gallery.update(index=APPROXIMATE)
        gallery.adapt(force=True)
    return colours / ".congener"


def answer(folder: Path, store: Path) -> list[tuple[str, float]]:
    with Gallery(folder, store=store, encoder=MeanColour()) as gallery:
        return [(hit.path, hit.score) for hit in gallery.search(folder / "green.png", 9)]


def test_a_backup_is_the_gallery_and_is_told(store: Path, colours: Path, tmp_path: Path) -> None:
    report = back_up(store, tmp_path / "backups/monday")
    there = {path.name: path.stat().st_size for path in (tmp_path / "backups/monday").iterdir()}
    assert (report.images, set(report.files), report.bytes) == (5, set(there), sum(there.values()))
    assert there.keys() == {path.name for path in store.iterdir()} - {"lock"}
    found = check(tmp_path / "backups/monday", encoder=MeanColour())
    assert (found.images, found.findings, found.unused) == (5, (), ())
    assert answer(colours, tmp_path / "backups/monday") == answer(colours, store)


def test_what_an_interrupted_run_has_left_is_not_copied(store: Path, tmp_path: Path) -> None:
    with closing(Store.open(store)) as opened:
        opened.claim(store / "embeddings-9-blend.f16")
        (store / "embeddings-9-blend.f16").write_bytes(b"rest")
        with opened._matrix_path().open("ab") as matrix:
            matrix.write(b"torn")
    (store / "holiday.jpg").write_bytes(b"mine")
    back_up(store, tmp_path / "backup")
    assert check(tmp_path / "backup", encoder=MeanColour()).unused == ()
    assert not {"embeddings-9-blend.f16", "holiday.jpg"} & {path.name for path in (tmp_path / "backup").iterdir()}


@pytest.mark.parametrize(("total", "goes_along"), [(None, True), (0, True), (1, False)])
def test_a_graph_goes_along_unless_it_is_known_to_be_another(
    store: Path, tmp_path: Path, total: int | None, goes_along: bool
) -> None:
    with closing(Store.open(store)) as opened, opened.writing():
        facts = {key: value for key, value in opened.get("graph").items() if key != "sum"}  # as of older galleries
        opened.set("graph", facts if total is None else facts | {"sum": total})
    assert (facts["file"] in back_up(store, tmp_path / "backup").files) is goes_along


def test_a_backup_goes_only_where_nothing_is(store: Path, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert back_up(store, tmp_path / "empty").images == 5
    (tmp_path / "file").write_bytes(b"mine")
    for place in (colours, tmp_path / "file", tmp_path / "empty", store):
        before = sorted(place.iterdir()) if place.is_dir() else place.read_bytes()
        with pytest.raises(GalleryError, match="goes into a folder that is new, or empty"):
            back_up(store, place)
        assert (sorted(place.iterdir()) if place.is_dir() else place.read_bytes()) == before
    with pytest.raises(GalleryError, match="there is no gallery"):
        back_up(tmp_path / "nowhere", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_a_killed_backup_has_left_is_called_that(store: Path, tmp_path: Path) -> None:
    killed = """
import os, sys
from pathlib import Path
from congener import backup
backup._copy_file = lambda *_: os.kill(os.getpid(), 9)
backup.back_up(*map(Path, sys.argv[1:]))
"""
    subprocess.run([sys.executable, "-c", killed, store, tmp_path / "backup"], check=False)
    assert list((tmp_path / "backup").iterdir())
    with pytest.raises(GalleryError, match="holds a backup that was broken off: delete it"):
        back_up(store, tmp_path / "backup")


def test_a_backup_in_the_gallery_itself_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store)
    before = sorted(store.iterdir())
    for place in (store / "backup", store / "a/b", tmp_path / "link/backup", store / "../.congener/backup"):
        with pytest.raises(GalleryError, match="lies in the gallery itself"):
            back_up(store, place)
    assert sorted(store.iterdir()) == before


def test_an_interrupted_backup_says_that_there_is_none(
    store: Path, colours: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup_module, "_copy_file", interrupt)
    said = run("backup", colours, tmp_path / "backup")
    assert said.code == 130
    assert said.err == "congener: interrupted; there is no backup, nothing of it is left\n"
    assert not (tmp_path / "backup").exists()


def test_room_is_advised_only_where_it_is_lacking(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(GalleryError, match=r"Not a directory; choose another place$"):
        back_up(store, tmp_path / "file/backup")


@pytest.mark.parametrize("damaged", [1, 30])
def test_a_damaged_gallery_has_no_backup(store: Path, tmp_path: Path, damaged: int) -> None:
    (features,) = store.glob("features-*")
    content = bytearray(features.read_bytes())
    content[:damaged] = bytes(byte ^ 0x55 for byte in content[:damaged])
    features.write_bytes(content)
    with pytest.raises(GalleryError, match=r"there is no backup of it.*not what was written"):
        back_up(store, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_what_can_t_be_written_leaves_nothing_and_says_where(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backup_module, "sync", full)
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "backup", tmp_path / "empty"):
        with pytest.raises(GalleryError, match=f"can't write the backup {place}: No space left"):
            back_up(store, place)
    assert not (tmp_path / "backup").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_all_is_synced_before_it_is_a_gallery(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    from congener.disk import sync, sync_folder

    def noted(file: Any) -> None:
        assert not Store.exists(tmp_path / "backup")
        synced.append(Path(file.name).name)
        sync(file)

    def noted_folder(folder: Path) -> None:
        synced.append("folder" if Store.exists(folder) else "too early")
        sync_folder(folder)

    monkeypatch.setattr(backup_module, "sync", noted)
    monkeypatch.setattr(backup_module, "sync_folder", noted_folder)
    report = back_up(store, tmp_path / "backup")
    assert synced[-1] == "folder"
    assert {name.removesuffix(".new") for name in synced[:-1]} == set(report.files)


def test_files_that_a_writer_has_swept_meanwhile_begin_it_anew(
    store: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = backup_module._copy_file

    def beside(*args: Any) -> int:
        monkeypatch.undo()
        with Gallery(colours, encoder=MeanColour()) as gallery:
            gallery.update(refit=True)
        return copied(*args)

    monkeypatch.setattr(backup_module, "_copy_file", beside)
    assert back_up(store, tmp_path / "backup").images == 5
    assert answer(colours, tmp_path / "backup") == answer(colours, store)


def test_catalogue_and_files_are_of_one_state(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = Store.sizes

    def beside(self: Store) -> dict[str, int]:
        monkeypatch.undo()
        before = sizes(self)
        with closing(Store.open(store)) as other, other.writing(), other.transaction() as changes:
            slot, checksum = changes.append(np.ones(3, np.float16))
            changes.put(Row(0, "white.png", 1, 1, b"w" * 32, slot, checksum))
        return before

    monkeypatch.setattr(Store, "sizes", beside)
    assert back_up(store, tmp_path / "backup").images == 5


def test_backups_taken_while_it_is_written_are_sound(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(colours, monkeypatch):
        for number in range(15):
            report = back_up(colours / ".congener", tmp_path / f"backup-{number}")
            found = check(tmp_path / f"backup-{number}", encoder=MeanColour())
            assert (found.images, found.findings, found.unused) == (report.images, (), ())


@contextmanager
def writing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Change a folder and index it all the time."""
    monkeypatch.setattr("congener.update.COMMIT_SECONDS", 0)
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 1)
    done = threading.Event()

    def write_all_the_time() -> None:
        turn = 0
        with Gallery(folder, encoder=MeanColour()) as gallery:
            while not done.is_set():
                turn += 1
                for number in range(12):
                    path = write(folder / f"cold/{number}.png", (number, turn % 256, 90))
                    if (number + turn) % 3 == 0:
                        path.unlink()
                gallery.update(prune=True)

    with Gallery(folder, encoder=MeanColour()) as gallery:
        gallery.update()
    writer = threading.Thread(target=write_all_the_time)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def test_a_plain_copy_that_lacks_files_is_called_that(store: Path, colours: Path, tmp_path: Path) -> None:
    for glob in ("embeddings-*-adapted.f16", "features-*"):
        copy = Path(shutil.copytree(store, tmp_path / f"copy-{glob[:4]}"))
        (missing,) = copy.glob(glob)
        os.truncate(missing, 2)
        for is_there in (True, False):
            if not is_there:
                missing.unlink()
            with pytest.raises(GalleryError, match="as in a copy that was taken while it was written") as said:
                answer(colours, copy)
            assert "room" not in str(said.value)
            assert "rights" not in str(said.value)


def test_plain_copies_taken_while_it_is_written_are_sound_or_said_to_be_damaged(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = 0
    with writing(colours, monkeypatch):
        for number in range(40):
            copy = tmp_path / f"copy-{number}"
            with suppress(shutil.Error):  # a file that was there when it was listed
                shutil.copytree(colours / ".congener", copy)
            try:
                answer(colours, copy)
            except DamagedGalleryError as error:
                damaged += 1
                assert not re.search("make room|rights|delete|another process", str(error)), error  # noqa: PT017
    assert damaged < 40


# as the docs say


def console(text: str) -> list[str]:
    """Return the commands of a page."""
    return [
        line[2:]
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line[0] == "$"
    ]


def test_the_docs_commands_back_up_and_restore(cabinet: Path, tmp_path: Path) -> None:
    shutil.copytree(cabinet, tmp_path / "photos")
    (tmp_path / "photos/swallowtail").mkdir(exist_ok=True)
    shutil.copy(next(cabinet.rglob("*.jpg")), tmp_path / "photos/swallowtail/01.jpg")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/congener").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m congener "$@"\n')
    (tmp_path / "bin/congener").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def do(command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    before = do("congener index photos --json && congener search photos/swallowtail/01.jpg --in photos --json")
    commands = console(DOCS.read_text())
    assert len(commands) == 6
    printed = [do(command) for command in commands]
    assert "copied to backups/photos-monday, and checked" in printed[0]
    assert ", 0 indexed" in printed[3] or "= 0 indexed" in printed[3]
    assert "nothing is wrong" in printed[4]
    after = do("congener search photos/swallowtail/01.jpg --in photos --json")
    assert before.endswith(after)


# what is kept of a folder is forgotten


def test_forget_deletes_what_is_kept_and_only_that(run: Run, tmp_path: Path) -> None:
    folder, place = tmp_path / "pictures", tmp_path / "kept"
    for name in ("red", "blue", "lime"):
        write(folder / f"{name}.png", name)
    pictures = {path: path.read_bytes() for path in folder.iterdir()}
    assert run("index", folder, "--gallery", place).code == 0
    mine = {"features-2023.csv": b"a", "embeddings-8-blend.f16": b"b", "notes.txt": b"c"}
    for name, content in mine.items():
        (place / name).write_bytes(content)
    own = {path.name for path in place.iterdir()} - mine.keys()
    done = run("forget", folder, "--gallery", place)
    assert (done.code, done.err.count("\n"), "--yes" in done.err, "3 images" in done.err) == (2, 1, True, True)
    assert {path.name for path in place.iterdir()} == own | mine.keys()
    done = run("forget", folder, "--gallery", place, "--yes", "--json")
    assert done.code == 0
    assert (set(done.json["files"]), done.json["images"], done.json["left"]) == (own, 3, sorted(mine))
    assert {path.name: path.read_bytes() for path in place.iterdir()} == mine
    assert {path: path.read_bytes() for path in folder.iterdir()} == pictures
    assert run("forget", folder, "--gallery", place, "--yes").code == 2


def test_forget_leaves_another_program_s_database_of_the_catalogue_s_name(run: Run, colours: Path) -> None:
    place = colours.parent / "things"
    place.mkdir()
    with closing(sqlite3.connect(place / "catalogue.sqlite")) as db:
        db.execute("CREATE TABLE photos (title)")
    before = (place / "catalogue.sqlite").read_bytes()
    done = run("forget", colours, "--gallery", place, "--yes")
    assert (done.code, done.err.count("\n"), "nothing is deleted" in done.err) == (2, 1, True)
    assert (place / "catalogue.sqlite").read_bytes() == before


def test_forget_leaves_no_folder_where_nothing_else_is(run: Run, colours: Path, store: Path) -> None:
    (store / "web.sqlite").write_bytes(b"SQLite format 3\0damaged")
    done = run("forget", colours, "--yes")
    assert (done.code, "5 images" in done.lines[0]) == (0, True)
    assert not store.exists()
    assert run("forget", colours, "--yes").code == 2
    with Gallery(colours, encoder=MeanColour()) as gallery:
        assert gallery.update().indexed == 5


def test_a_database_of_somebody_s_stays(colours: Path, store: Path) -> None:
    import sqlite3

    with closing(sqlite3.connect(store / "web.sqlite", isolation_level=None)) as db:
        db.execute("CREATE TABLE visitors (name TEXT)")
    assert holdings(store).left == ("web.sqlite",)
    assert remove_gallery(store).left == ("web.sqlite",)
    assert [path.name for path in store.iterdir()] == ["web.sqlite"]


def test_a_gallery_that_is_written_is_not_forgotten(store: Path, colours: Path) -> None:
    before = sorted(store.iterdir())
    with closing(Store.open(store)) as other, other.writing(), pytest.raises(GalleryBusyError):
        remove_gallery(store)
    assert {path.name for path in before} <= {path.name for path in store.iterdir()} | {"catalogue.sqlite-wal"}
    assert len(answer(colours, store)) == 4


def test_a_damaged_gallery_is_forgotten_where_nothing_else_lies(store: Path) -> None:
    (store / "catalogue.sqlite").write_bytes(b"garbage" * 1000)
    (store / "notes.txt").write_bytes(b"mine")
    before = sorted(store.iterdir())
    with pytest.raises(GalleryError, match="can't tell what is its own, so nothing is deleted"):
        remove_gallery(store)
    assert sorted(store.iterdir()) == before
    (store / "notes.txt").unlink()
    remove_gallery(store)
    assert not store.exists()


def test_what_is_interrupted_is_done_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink
    left = [3]

    def interrupted(self: Path, missing_ok: bool = False) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    for _ in range(3):
        left[0] = 3
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", interrupted)
            with pytest.raises(KeyboardInterrupt):
                remove_gallery(store)
    remove_gallery(store)
    assert not store.exists()


def test_elapsed_time_is_told(store: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    assert 0 < back_up(store, tmp_path / "backup").seconds <= time.perf_counter() - began
