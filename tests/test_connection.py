"""Who may not write a gallery reads it as it is: beside its writer, after a kill, and where nobody writes."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from congener import Gallery
from congener.check import check
from congener.connection import CATALOGUE, LOG, SHARED_MEMORY, connect
from congener.errors import GalleryBusyError

from .conftest import MeanColour, write
from .test_faults import MANY, Run, many, posix

__all__ = ["many"]  # a fixture

NOBODY = 65534
ROOT = Path(__file__).resolve().parents[1]

_READER = """
import json, os, shutil, sys, tempfile
from congener import Gallery
from tests.conftest import MeanColour
folder, store, user = sys.argv[1:]
with tempfile.TemporaryDirectory() as copy:  # asked once, so that all is imported
    shutil.copytree(folder, copy + "/pictures"), shutil.copytree(store, copy + "/store")
    with Gallery(copy + "/pictures", store=copy + "/store", encoder=MeanColour(), moved=True) as gallery:
        gallery.search(copy + "/pictures/0000.png", k=1)
os.setgid(int(user))
os.setuid(int(user))  # only now, for it may not even read what it has imported
with Gallery(folder, store=store, encoder=MeanColour()) as gallery:
    for line in sys.stdin:
        hits = gallery.search((line.strip() or folder + "/0000.png"), k=3)
        print(json.dumps([len(gallery), [hit.path for hit in hits]]), flush=True)
"""


class Reader:
    """Asks a gallery in a process that may write nothing of it."""

    def __init__(self, folder: Path, store: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _READER, str(folder), str(store), str(NOBODY)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def images(self) -> int:
        """Search; return how many images there are."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1].splitlines()[-1]
        count, _, _ = line[1:].partition(",")
        return int(count)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may look into."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def pictures(place: Path) -> Path:
    """Five pictures, and what indexes them."""
    for number in range(5):
        write(place / f"pictures/{number:04}.png", (number, 0, 7))
    index(place / "pictures", place / "store")
    return place / "pictures"


def index(folder: Path, store: Path) -> None:
    with Gallery(folder, store=store, encoder=MeanColour()) as gallery:
        gallery.update()


needs_users = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root may become somebody else"
)


def killed(pictures: Path, store: Path) -> None:
    """Leave a sixth picture in the log alone, as a kill does."""
    write(pictures / "0005.png", (5, 0, 7))
    there = store.with_name("before-the-end")
    with Gallery(pictures, store=store, encoder=MeanColour()) as reader, reader._open_store().one_state():
        len(reader)  # a reader keeps the log from being drawn in
        index(pictures, store)
        shutil.copytree(store, there)
    shutil.rmtree(store)
    there.rename(store)
    assert (store / LOG).stat().st_size


@needs_users
@posix
def test_searches_by_a_reader_without_rights_never_fail_during_runs(place: Path, many: Path) -> None:
    folder, store = Path(shutil.copytree(many, place / "pictures")), place / "store"
    seen = []
    with Run(folder, store) as run:
        run.hold_after(10)
        with Reader(folder, store) as reader:
            seen.append(reader.images())
            run.go_on()
            while seen[-1] < MANY and len(seen) < 5000:
                seen.append(reader.images())
        assert run.end() == ""
    assert seen == sorted(seen)
    with Reader(folder, store) as reader:  # it opens where there is no log, and stays while others come and go
        assert reader.images() == MANY
        for _ in range(3):
            (folder / f"{MANY}.png").unlink(missing_ok=True)
            with Run(folder, store) as run:
                while run.is_running:
                    assert MANY <= reader.images() <= MANY + 1
                assert run.end() == ""
            write(folder / f"{MANY}.png", "red")
            index(folder, store)
            assert reader.images() == MANY + 1


@needs_users
@pytest.mark.parametrize("left", [(LOG, SHARED_MEMORY), (LOG,)])
def test_after_a_kill_a_reader_without_rights_sees_all_that_was_committed(
    place: Path, pictures: Path, left: tuple[str, ...]
) -> None:
    store = place / "store"
    killed(pictures, store)
    if SHARED_MEMORY not in left:
        (store / SHARED_MEMORY).unlink()
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    with Reader(pictures, store) as reader:
        assert reader.images() == 6
        assert {path.name: path.read_bytes() for path in store.iterdir()} == before
        write(pictures / "0006.png", (6, 0, 7))  # the next run takes the log up
        index(pictures, store)
        assert reader.images() == 7


@needs_users
def test_shared_memory_that_may_not_be_read_is_no_hindrance(place: Path, pictures: Path) -> None:
    killed(pictures, place / "store")
    (place / "store" / SHARED_MEMORY).chmod(0)
    with Reader(pictures, place / "store") as reader:
        assert reader.images() == 6


@needs_users
def test_a_log_that_may_not_be_read_is_said(place: Path, pictures: Path) -> None:
    killed(pictures, place / "store")
    (place / "store" / LOG).chmod(0)
    with Reader(pictures, place / "store") as reader, pytest.raises(AssertionError, match="give rights"):
        reader.images()


def test_a_read_only_mount_is_searched(place: Path, pictures: Path) -> None:
    if sys.platform != "linux" or not shutil.which("mount"):
        pytest.skip("needs Linux's mount")
    for log in (False, True):
        if log:
            killed(pictures, place / "store")
        mounted = place / "mounted"
        mounted.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "--bind", place / "store", mounted], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"may not mount: {done.stderr.strip()}")
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", mounted], capture_output=True, check=True)
            with Gallery(pictures, store=mounted, encoder=MeanColour()) as gallery:
                assert len(gallery) == 5 + log
                assert not gallery.writable
                assert len(gallery.search(pictures / "0000.png", k=9)) == 4 + log
            assert check(mounted, encoder=MeanColour()).sound
        finally:
            subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)


# races, one at a time: a process that may not write, without being another user


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr("congener.connection.is_writable", lambda folder: False)


def count(folder: Path) -> int:
    with closing(connect(folder)) as connection:
        (number,) = connection.db.execute("SELECT count(*) FROM images").fetchone()
        return int(number)


def test_a_copy_taken_while_a_writer_checkpoints_is_taken_again(
    place: Path, pictures: Path, unwritable: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place / "store"
    killed(pictures, store)
    (store / SHARED_MEMORY).unlink()
    copied = shutil.copyfileobj
    tries: list[object] = []

    def beside_a_writer(source: IO[bytes], target: IO[bytes]) -> None:
        tries.append(source)
        if len(tries) == 1:  # the log is drawn in before it is copied
            with closing(sqlite3.connect(store / CATALOGUE)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        copied(source, target)

    monkeypatch.setattr("shutil.copyfileobj", beside_a_writer)
    unwritable()
    assert count(store) == 6


def test_a_writer_that_begins_or_ends_between_look_and_open_is_no_hindrance(
    place: Path, pictures: Path, unwritable: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from congener import connection

    store, opened = place / "store", connection._open
    writer = sqlite3.connect(store / CATALOGUE, isolation_level=None)
    writer.execute("DELETE FROM images WHERE id = 1")
    assert (store / SHARED_MEMORY).exists()
    hows = []

    def ending(folder: Path, how: str) -> sqlite3.Connection:
        hows.append(how)
        writer.close()
        if how == "mode=ro" and not (folder / SHARED_MEMORY).exists():  # as for whom nobody lets make one
            raise sqlite3.OperationalError("unable to open database file")
        return opened(folder, how)

    monkeypatch.setattr(connection, "_open", ending)
    unwritable()
    assert count(store) == 4
    assert hows == ["mode=ro", "mode=ro&immutable=1"]


def test_what_is_read_as_it_lies_is_opened_again_when_somebody_has_written(
    place: Path, pictures: Path, unwritable: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    unwritable()
    with Gallery(pictures, store=place / "store", encoder=MeanColour()) as reader:
        assert len(reader.search(pictures / "0000.png", k=9)) == 4
        monkeypatch.undo()
        write(pictures / "0005.png", (5, 0, 7))
        index(pictures, place / "store")
        unwritable()
        assert len(reader) == 6
        assert len(reader.search(pictures / "0000.png", k=9)) == 5


def test_a_check_beside_a_writer_that_it_cant_keep_out_says_so(
    place: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from congener.examination import Examination

    looked = Examination.report

    def beside(self: Examination) -> object:
        with sqlite3.connect(place / "store" / CATALOGUE) as db:
            db.execute("DELETE FROM images WHERE id = 1")
        db.close()
        return looked(self)

    monkeypatch.setattr(Examination, "report", beside)
    for module in ("connection", "check"):
        monkeypatch.setattr(f"congener.{module}.is_writable", lambda folder: False)
    with pytest.raises(GalleryBusyError, match="check it when it has ended"):
        check(place / "store", encoder=MeanColour())
