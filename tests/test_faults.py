"""Full disks, missing rights, two at once, and folders that change while they are read: reported, never fatal."""

import ctypes
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from congener import Gallery
from congener.encoders import Features, Identity
from congener.errors import GalleryBusyError, GalleryError
from congener.store import Store
from congener.update import Progress, UpdateReport

from .conftest import MeanColour, write


class Wide(MeanColour):
    """Its feature is as long as a real one, so that a small disk is soon full."""

    identity = Identity("wide", "0" * 64, "none", "float32", 1200)

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        return Features(np.tile(super().encode(pixels).pooled, 400))


def paint(folder: Path, count: int) -> list[str]:
    """Write pictures of different colours; return their names, sorted."""
    for number in range(count):
        write(folder / f"{number:04}.png", (number % 256, number // 256, 7))
    return [f"{number:04}.png" for number in range(count)]


def update(folder: Path, store: Path, prune: bool = False, progress: Progress | None = None) -> UpdateReport:
    """Bring a gallery up to date and check that its counts add up."""
    with Gallery(folder, store=store, encoder=MeanColour()) as gallery:
        report = gallery.update(prune=prune, progress=progress)
    assert report.found == report.indexed + report.unchanged + report.renamed + len(report.skipped)
    return report


def reasons(report: UpdateReport) -> dict[str, str]:
    return {skipped.path: skipped.reason for skipped in report.skipped}


def check(folder: Path, store: Path, encoder: MeanColour | None = None) -> set[str]:
    """Check that each image's feature is a fresh one's, and that it finds itself; return the paths."""
    encoder = encoder or MeanColour()
    with Gallery(folder, store=store, encoder=encoder) as gallery:
        ids, features = gallery.features()
        paths = {row.id: row.path for row in gallery.rows()}
        assert ids.tolist() == sorted(paths)
        for id, feature in zip(ids.tolist(), features, strict=True):
            number = int(paths[id][:4])
            colour = np.array([number % 256, number // 256, 7]) / 255
            assert feature[:3] == pytest.approx(colour, abs=1e-3)
        if paths:
            first = min(paths.values())
            assert len(gallery.search(folder / first, k=3)) == min(3, len(paths) - 1)
    return set(paths.values())


# disk full, read-only, no rights


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    with mounted(tmp_path / "disk", "2m") as place:
        yield place


@contextmanager
def mounted(place: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory until the end of a `with`; skip the test where that isn't allowed."""
    place.mkdir()
    if sys.platform != "linux" or not shutil.which("mount"):
        pytest.skip("needs Linux's mount")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"may not mount a file system: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)


@pytest.mark.parametrize("free", [0, 10, 30, 60, 100, 150, 200, 300, 400])
def test_a_full_disk_is_one_line_and_harms_nothing(tmp_path: Path, small_disk: Path, free: int) -> None:
    folder, store = tmp_path / "pictures", small_disk / "gallery"
    paint(folder, 20)
    with Gallery(folder, store=store, encoder=Wide()) as gallery:
        gallery.update()
    before = check(folder, store, Wide())
    names = paint(folder, 150)
    left = shutil.disk_usage(small_disk).free - free * 1024
    (small_disk / "ballast").write_bytes(bytes(max(0, left)))
    with pytest.raises(GalleryError) as caught, Gallery(folder, store=store, encoder=Wide()) as gallery:
        gallery.update()
    assert "\n" not in str(caught.value)
    if free > SHARED:
        assert any(word in str(caught.value) for word in ("room", "No space left"))
        assert check(folder, store, Wide()) >= before
    (small_disk / "ballast").unlink()
    assert check(folder, store, Wide()) >= before
    with Gallery(folder, store=store, encoder=Wide()) as gallery:
        assert gallery.update().images == 150
    assert check(folder, store, Wide()) == set(names)


SHARED = 32
"""Kilobytes that SQLite needs to open a catalogue: its file of shared memory."""


def test_a_gallery_on_a_full_disk_is_opened_or_said_to_lack_room(tmp_path: Path, small_disk: Path) -> None:
    folder, store = tmp_path / "pictures", small_disk / "gallery"
    paint(folder, 20)
    assert update(folder, store).images == 20
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    try:
        check(folder, store)
    except GalleryError as error:
        assert "delete" not in str(error)  # noqa: PT017
        assert "room" in str(error)  # noqa: PT017


def test_a_disk_that_is_full_from_the_start_says_so(tmp_path: Path, small_disk: Path) -> None:
    folder = tmp_path / "pictures"
    paint(folder, 5)
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(GalleryError, match=r"room|No space left"):
        update(folder, small_disk / "gallery")
    (small_disk / "ballast").unlink()
    assert update(folder, small_disk / "gallery").images == 5


def without_rights() -> None:
    """Give up root's right to read and write everything, before another program is run: its files it still owns."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def congener(*arguments: object, within: float = 300) -> tuple[int, str, str]:
    """Run the command line without root's rights; return its exit code, what it printed and what it noted."""
    command = [sys.executable, "-m", "congener", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=within, check=False, preexec_fn=without_rights
    )
    return done.returncode, done.stdout, done.stderr


rights = pytest.mark.skipif(
    sys.platform != "linux" and (not hasattr(os, "geteuid") or os.geteuid() == 0), reason="root may do everything"
)


@rights
def test_files_that_may_not_be_read_are_skipped_with_the_reason(tmp_path: Path) -> None:
    names = paint(tmp_path / "pictures", 6)
    (tmp_path / "pictures/0002.png").chmod(0)
    locked = tmp_path / "pictures/locked"
    write(locked / "a.png", "red")
    locked.chmod(0)
    try:
        code, printed, noted = congener("index", tmp_path / "pictures")
    finally:
        locked.chmod(0o700)
    assert code == 0, noted
    assert f"{len(names) + 1} found = 5 indexed" in printed
    assert "skipped 0002.png: Permission denied" in noted
    assert "skipped locked: folder can't be listed: Permission denied" in noted


@rights
def test_a_folder_that_may_not_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    paint(folder, 3)
    folder.chmod(0o500)
    try:
        code, _, noted = congener("index", folder)
        assert code == 2
        assert noted.count("\n") == 1
        assert "--gallery" in noted
        assert congener("index", folder, "--gallery", tmp_path / "elsewhere")[0] == 0
    finally:
        folder.chmod(0o700)


@rights
def test_a_gallery_that_may_not_be_written_is_searched_and_not_changed(tmp_path: Path) -> None:
    folder, store = tmp_path / "pictures", tmp_path / "store"
    paint(folder, 5)
    assert congener("index", folder, "--gallery", store)[0] == 0
    write(folder / "0005.png", (5, 0, 7))
    (store / "lock").unlink(missing_ok=True)
    for path in store.iterdir():
        path.chmod(0o400)
    store.chmod(0o500)
    kept = {path.name: path.read_bytes() for path in store.iterdir()}
    try:
        code, _, noted = congener("index", folder, "--gallery", store)
        assert code == 2
        assert noted.count("\n") == 1
        assert "can't" in noted
        code, printed, noted = congener("search", folder / "0001.png", "--in", folder, "--gallery", store, "--json")
        assert code == 0, noted
        assert "0002.png" in printed
        assert {path.name: path.read_bytes() for path in store.iterdir()} == kept
    finally:
        store.chmod(0o700)


# two at once


_RUN = """
import sys
from pathlib import Path
import congener.update
from congener import Gallery
from congener.errors import GalleryBusyError
from tests.conftest import MeanColour
congener.update.COMMIT_SECONDS = 0.02
try:
    with Gallery(sys.argv[1], store=sys.argv[2], encoder=MeanColour()) as gallery:
        sys.exit(0 if gallery.update().images else 1)
except GalleryBusyError as error:
    sys.exit(f"busy: {error}")
"""


class Run:
    """An index run in a process of its own, which can be held up; it ends with the `with`."""

    def __init__(self, folder: Path, store: Path) -> None:
        root = Path(__file__).resolve().parents[1]
        command = [sys.executable, "-c", _RUN, str(folder), str(store)]
        self._process = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
        self._store = store

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()

    def hold_after(self, count: int) -> None:
        """Stop it once it has committed so many images."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the run ended before it could be held up"
            if Store.exists(self._store):
                with closing(sqlite3.connect(self._store / "catalogue.sqlite", timeout=30)) as db:
                    (done,) = db.execute("SELECT count(*) FROM images").fetchone()
                if done >= count:
                    self._process.send_signal(signal.SIGSTOP)
                    return
            time.sleep(0.005)
        raise AssertionError("the run committed nothing")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def children(self) -> list[Path]:
        """Return the places in /proc of the processes that it has started."""
        pids = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [Path(f"/proc/{pid}") for pid in pids.read_text().split()] if pids.exists() else []

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def end(self) -> str:
        """Wait for its end; return what it said of a busy gallery, or nothing."""
        _, said = self._process.communicate(timeout=120)
        assert self._process.returncode == 0 or said.startswith("busy: "), said
        return said


def gone(processes: list[Path]) -> bool:
    """Wait until processes have ended; tell whether they have."""
    deadline = time.monotonic() + 60
    while any(process.exists() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


MANY = 600


@pytest.fixture(scope="module")
def many() -> Iterator[Path]:
    """A folder of so many pictures that a run takes a second or two."""
    with tempfile.TemporaryDirectory() as place:
        paint(Path(place) / "pictures", MANY)
        yield Path(place) / "pictures"


posix = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="holds up a process by SIGSTOP")


@posix
def test_a_second_run_says_that_another_is_at_work(tmp_path: Path, many: Path) -> None:
    with Run(many, tmp_path / "store") as first:
        first.hold_after(1)
        with Run(many, tmp_path / "store") as second:
            assert "another process is indexing" in second.end()
        with pytest.raises(GalleryBusyError):
            update(many, tmp_path / "store")
        first.go_on()
        assert first.end() == ""
    assert len(check(many, tmp_path / "store")) == MANY


def test_runs_that_begin_at_once_harm_nothing(tmp_path: Path, many: Path) -> None:
    with ExitStack() as stack:
        runs = [stack.enter_context(Run(many, tmp_path / "store")) for _ in range(4)]
        said = [run.end() for run in runs]
    assert "" in said  # at least one has done it
    report = update(many, tmp_path / "store")
    assert (report.indexed, report.unchanged) == (0, MANY)
    assert len(check(many, tmp_path / "store")) == MANY


@posix
def test_searches_go_on_during_a_run_and_see_one_state(tmp_path: Path, many: Path) -> None:
    store = tmp_path / "store"
    with Run(many, store) as run:
        run.hold_after(10)
        half = check(many, store)
        assert 10 <= len(half) < MANY
        run.go_on()
        seen = [len(half)]
        with Gallery(many, store=store, encoder=MeanColour()) as gallery:
            while seen[-1] < MANY and len(seen) < 5000:
                ids, features = gallery.features()
                assert features[:, 2] == pytest.approx(7 / 255, abs=1e-3)
                hits = gallery.search(many / "0003.png", k=5)
                assert len({hit.id for hit in hits}) == 5
                seen.append(len(ids))
        assert run.end() == ""
    assert seen == sorted(seen)
    assert len(check(many, store)) == MANY


@posix
def test_the_lock_of_a_killed_run_blocks_nobody(tmp_path: Path, many: Path) -> None:
    with Run(many, tmp_path / "store") as run:
        run.hold_after(1)
        children = run.children()
        run.kill()
        assert gone(children)
        kept = check(many, tmp_path / "store")
        report = update(many, tmp_path / "store")
    assert report.unchanged >= len(kept) > 0
    assert report.images == MANY
    assert len(check(many, tmp_path / "store")) == MANY


# the folder changes while it is read


AHEAD = 400
"""Pictures in a folder of which the last ones surely aren't read yet when the first is done."""


def changing(change: Callable[[], object]) -> Callable[[int, int], None]:
    """Return a progress that makes a change once the first file is done."""

    def progress(done: int, _: int) -> None:
        if done == 1:
            change()

    return progress


def test_files_that_change_while_others_are_read_are_reported(tmp_path: Path) -> None:
    folder, store = tmp_path / "pictures", tmp_path / "store"
    paint(folder, AHEAD)
    gone, grown, replaced, renamed, turned, pipe, cut = (folder / f"{AHEAD - n:04}.png" for n in range(1, 8))

    def change() -> None:
        gone.unlink()
        with grown.open("ab") as file:
            file.write(b"more")
        write(folder / "new.tmp", (9, 9, 7)).replace(replaced)
        renamed.rename(folder / "0999.png")
        turned.unlink()
        turned.mkdir()
        pipe.unlink()
        os.mkfifo(pipe)
        os.truncate(cut, 30)

    report = update(folder, store, progress=changing(change))
    said = reasons(report)
    assert report.indexed == AHEAD - 7
    for path, word in {
        gone: "No such file",
        grown: "changed while it was read",
        replaced: "changed while it was read",
        renamed: "No such file",
        turned: "a folder, not a file",
        pipe: "a pipe",
    }.items():
        assert word in said.pop(path.name), path
    assert said.keys() == {cut.name}
    write(replaced, ((AHEAD - 3) % 256, (AHEAD - 3) // 256, 7))
    write(folder / "0999.png", (999 % 256, 999 // 256, 7))
    report = update(folder, store)  # all has settled
    assert reasons(report).keys() == {pipe.name, cut.name}  # a folder is no picture, whatever its name
    assert report.images == AHEAD - 4 == len(check(folder, store))


def test_a_folder_that_becomes_a_file_is_reported(tmp_path: Path) -> None:
    folder, store = tmp_path / "pictures", tmp_path / "store"
    paint(folder, AHEAD)
    paint(folder / "z", 5)

    def change() -> None:
        shutil.rmtree(folder / "z")
        (folder / "z").write_bytes(b"a file")

    report = update(folder, store, progress=changing(change))
    assert report.indexed + report.renamed == AHEAD
    assert [path for path in reasons(report) if path.startswith("z/")] == [f"z/{n:04}.png" for n in range(5)]
    assert all("Not a directory" in reason for reason in reasons(report).values())


def test_a_folder_that_vanishes_during_its_first_run_is_reported(tmp_path: Path) -> None:
    folder, store = tmp_path / "pictures", tmp_path / "store"
    paint(folder, AHEAD)
    report = update(folder, store, progress=changing(lambda: folder.rename(tmp_path / "away")))
    assert report.indexed + len(report.skipped) == AHEAD
    assert report.skipped
    (tmp_path / "away").rename(folder)
    assert update(folder, store).images == AHEAD == len(check(folder, store))


def test_a_drive_that_vanishes_while_changed_files_are_read_loses_nothing(tmp_path: Path) -> None:
    folder, store = tmp_path / "pictures", tmp_path / "store"
    paint(folder, AHEAD)
    assert update(folder, store).images == AHEAD
    for path in folder.iterdir():
        os.utime(path, (1, 1))  # as after a restore from a backup
    report = update(folder, store, progress=changing(lambda: folder.rename(tmp_path / "away")))
    assert report.images == AHEAD


def test_an_unmounted_drive_loses_nothing_without_prune(tmp_path: Path) -> None:
    drive, store = tmp_path / "drive", tmp_path / "store"
    with mounted(drive, "4m"):
        names = paint(drive, 30)
        assert update(drive, store).images == 30
        away = tmp_path / "away"
        away.mkdir()
        subprocess.run(["mount", "--move", drive, away], check=False, capture_output=True)
        if any(drive.iterdir()):  # a shared mount can't be moved
            shutil.copytree(drive, away, dirs_exist_ok=True)
            subprocess.run(["umount", drive], check=True)
        try:
            report = update(drive, store)
            assert (report.found, report.removed, report.missing, report.images) == (0, 0, 30, 30)
            code, _, noted = congener("info", drive, "--gallery", store)
            assert code in (0, 2), noted
            for name in names:  # mounted again
                shutil.copy2(away / name, drive / name)
            report = update(drive, store)
            assert (report.unchanged + report.renamed, report.images) == (30, 30)
        finally:
            subprocess.run(["umount", "--lazy", away], check=False, capture_output=True)


def test_a_missing_folder_is_an_error_and_prune_empties_its_gallery(tmp_path: Path) -> None:
    folder, store = tmp_path / "pictures", tmp_path / "store"
    paint(folder, 8)
    update(folder, store)
    folder.rename(tmp_path / "away")
    with pytest.raises(GalleryError, match=r"is missing; its 8 images stay .*--prune"):
        update(folder, store)
    (tmp_path / "away").rename(folder)
    assert update(folder, store).unchanged == 8
    shutil.rmtree(folder)
    report = update(folder, store, prune=True)
    assert (report.removed, report.images) == (8, 0)


def test_half_of_a_folder_gone_stays_until_prune(tmp_path: Path) -> None:
    folder, store = tmp_path / "pictures", tmp_path / "store"
    names = paint(folder, 9)
    update(folder, store)
    for name in names[:5]:
        (folder / name).unlink()
    report = update(folder, store)
    assert (report.missing, report.removed, report.images) == (5, 0, 9)
    report = update(folder, store, prune=True)
    assert (report.missing, report.removed, report.images) == (0, 5, 4)
    assert check(folder, store) == set(names[5:])
