import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from congener import Gallery
from congener.encoders import Features
from congener.errors import CongenerError, EncoderError, GalleryError
from congener.preprocessing import Preprocessing
from congener.store import Store
from congener.tray import Tray
from congener.update import UpdateReport, update_store

from .conftest import MeanColour, write
from .faults.kills import wait_until
from .troublesome import Bad, Touching

ROOT = Path(__file__).parents[1]


@pytest.fixture
def store(tmp_path: Path, encoder: MeanColour) -> Iterator[Store]:
    store = Store.create(tmp_path / "store", encoder.identity.as_dict())
    yield store
    store.close()


def counts(report: UpdateReport) -> tuple[int, int, int, int, int]:
    """Return indexed, unchanged, renamed, removed, skipped; check that they add up."""
    skipped = len(report.skipped)
    assert report.found == report.indexed + report.unchanged + report.renamed + skipped
    return report.indexed, report.unchanged, report.renamed, report.removed, skipped


def features(store: Store) -> dict[str, tuple[float, ...]]:
    ids, array = store.features()
    paths = {row.id: row.path for row in store.rows()}
    return {paths[id]: tuple(row.tolist()) for id, row in zip(ids.tolist(), array, strict=True)}


def test_all_is_indexed_once(store: Store, colours: Path, encoder: MeanColour) -> None:
    assert counts(update_store(store, colours, encoder)) == (5, 0, 0, 0, 0)
    assert counts(update_store(store, colours, encoder)) == (0, 5, 0, 0, 0)
    assert encoder.encoded == 5
    assert features(store)["warm/red.png"] == (1, 0, 0)
    assert features(store)["cold/cyan.png"] == (0, 1, 1)


@pytest.mark.own_workers
def test_unchanged_files_are_not_opened_and_nothing_is_started_for_them(
    store: Store, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_store(store, colours, encoder)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen", refuse)
    (colours / "empty.png").touch()  # nor for what needs no opening
    assert counts(update_store(store, colours, encoder)) == (0, 5, 0, 0, 1)
    write(colours / "new.png", "white")
    with pytest.raises(AssertionError, match="started"):
        update_store(store, colours, encoder)


def test_a_changed_file_is_embedded_anew_under_its_id(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    before = {row.path: row.id for row in store.rows()}
    write(colours / "green.png", "white")
    os.utime(colours / "green.png", (1, 1))
    assert counts(update_store(store, colours, encoder)) == (1, 4, 0, 0, 0)
    assert features(store)["green.png"] == (1, 1, 1)
    assert {row.path: row.id for row in store.rows()} == before


def test_a_touched_file_counts_as_unchanged(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    os.utime(colours / "green.png", (1, 1))
    assert counts(update_store(store, colours, encoder)) == (0, 5, 0, 0, 0)
    assert encoder.encoded == 5
    row = store.find(path="green.png")
    assert row is not None
    assert row.mtime_ns == 10**9


def test_a_removed_file_is_dropped(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    (colours / "green.png").unlink()
    report = update_store(store, colours, encoder)
    assert counts(report) == (0, 4, 0, 1, 0)
    assert report.images == 4
    assert "green.png" not in features(store)


def test_a_renamed_folder_keeps_its_ids_and_is_not_embedded_again(
    store: Store, colours: Path, encoder: MeanColour
) -> None:
    update_store(store, colours, encoder)
    before = {row.path: row.id for row in store.rows()}
    for name in ("warm", "cold"):  # four of five: not mistaken for an unmounted drive
        (colours / name).rename(colours / f"very-{name}")
    assert counts(update_store(store, colours, encoder)) == (0, 1, 4, 0, 0)
    assert encoder.encoded == 5
    after = {row.path: row.id for row in store.rows()}
    assert after["very-warm/red.png"] == before["warm/red.png"]
    assert len(after) == 5


def test_copies_count_as_renamed_in_the_same_run_and_later(store: Store, colours: Path, encoder: MeanColour) -> None:
    shutil.copy(colours / "green.png", colours / "a-copy.png")
    report = update_store(store, colours, encoder)
    assert counts(report) == (5, 0, 1, 0, 0)
    shutil.copy(colours / "green.png", colours / "warm/copy.png")
    report = update_store(store, colours, encoder)
    assert counts(report) == (0, 6, 1, 0, 0)
    assert report.images == 7
    assert encoder.encoded <= 6
    assert features(store)["a-copy.png"] == features(store)["warm/copy.png"] == (0, 1, 0)
    (colours / "green.png").unlink()  # the copies stay
    assert update_store(store, colours, encoder).images == 6


def test_files_that_swap_their_contents_are_renamed(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    red, blue = colours / "warm/red.png", colours / "cold/blue.png"
    write(red, "blue")
    write(blue, "red")
    for number, path in enumerate((red, blue), 1):
        os.utime(path, (number, number))
    assert counts(update_store(store, colours, encoder)) == (0, 3, 2, 0, 0)
    assert features(store)["warm/red.png"] == (0, 0, 1)
    assert features(store)["cold/blue.png"] == (1, 0, 0)


def test_an_image_moved_while_its_old_path_gets_another_is_known(
    store: Store, colours: Path, encoder: MeanColour
) -> None:
    update_store(store, colours, encoder)
    (colours / "green.png").rename(colours / "z.png")
    write(colours / "green.png", "white")
    os.utime(colours / "green.png", (1, 1))
    assert counts(update_store(store, colours, encoder)) == (1, 4, 1, 0, 0)
    assert features(store)["z.png"] == (0, 1, 0)
    assert features(store)["green.png"] == (1, 1, 1)


def test_bad_files_are_skipped_with_their_reason(store: Store, colours: Path, encoder: MeanColour) -> None:
    (colours / "text.jpg").write_text("no picture")
    (colours / "empty.png").touch()
    os.mkfifo(colours / "pipe.gif")
    (colours / "folder.bmp").mkdir()
    whole = (colours / "green.png").read_bytes()
    (colours / "cut.png").write_bytes(whole[: len(whole) // 2])
    report = update_store(store, colours, encoder)
    assert counts(report) == (5, 0, 0, 0, 4)  # a folder's name says nothing of pictures
    assert [skipped.path for skipped in report.skipped] == ["cut.png", "empty.png", "pipe.gif", "text.jpg"]
    assert all(skipped.reason for skipped in report.skipped)
    assert counts(update_store(store, colours, encoder)) == (0, 5, 0, 0, 4)


def test_an_image_that_has_become_unreadable_is_no_longer_found(
    store: Store, colours: Path, encoder: MeanColour
) -> None:
    update_store(store, colours, encoder)
    (colours / "green.png").write_text("no picture")
    report = update_store(store, colours, encoder)
    assert counts(report) == (0, 4, 0, 0, 1)
    assert report.images == 4


class Otherwise(MeanColour):
    """The same with another preprocessing, of `tests.troublesome`."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._preprocessing = preprocessing

    @property
    def preprocessing(self) -> Preprocessing:
        return self._preprocessing


@pytest.mark.own_workers
def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(
    store: Store, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONGENER_TEST_TOUCHES", str(colours / "green.png"))
    (skipped,) = update_store(store, colours, Otherwise(Touching(8, 8))).skipped
    assert (skipped.path, skipped.reason) == ("green.png", "changed while it was read: run again")
    assert counts(update_store(store, colours, encoder)) == (1, 4, 0, 0, 0)


@pytest.mark.own_workers
def test_a_picture_that_crashes_or_hangs_its_decoder_is_skipped_and_the_others_are_indexed(
    store: Store, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("congener.update.DECODE_SECONDS", 2.0)
    report = update_store(store, colours, Otherwise(Bad(8, 8)))
    assert counts(report) == (3, 0, 0, 0, 2)
    assert [(skipped.path, skipped.reason) for skipped in report.skipped] == [
        ("cold/blue.png", "took longer than 2 s to decode"),
        ("warm/red.png", "the decoder crashed (signal 11, Segmentation fault)"),
    ]
    assert features(store).keys() == {"cold/cyan.png", "green.png", "warm/orange.png"}
    assert features(store)["cold/cyan.png"] == (0, 1, 1)


@pytest.mark.own_workers
@pytest.mark.parametrize("room", [0, 200, 1 << 20])
def test_pixels_are_the_same_on_a_tray_and_through_a_pipe(
    store: Store, colours: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Also where a tray has room for one picture of 8 × 8 only, and a turn for four."""
    create = Tray.create
    monkeypatch.setattr("congener.workers.Tray.create", lambda _: create(room))
    for number in range(20):
        write(colours / f"{number}.png", (255, 0, 255) if number % 2 else (0, 0, 255))
        Image.new("RGB", (9, 9), (0, number, 0)).save(colours / f"green {number}.png")
    report = update_store(store, colours, MeanColour())
    found = features(store)
    assert report.skipped == ()
    assert found["warm/red.png"] == (1, 0, 0)
    assert found["1.png"] == found["19.png"] == (1, 0, 1)
    for number in range(20):
        assert found[f"green {number}.png"] == pytest.approx((0, number / 255, 0), abs=1e-3)


class Placed(MeanColour):
    """Notes which cores the threads that encode may use."""

    def __init__(self, *, single_threaded: bool) -> None:
        super().__init__()
        self._alone = single_threaded
        self.cores: set[frozenset[int]] = set()

    @property
    def single_threaded(self) -> bool:
        return self._alone

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        self.cores.add(frozenset(os.sched_getaffinity(0)))
        return super().encode(pixels)


@pytest.mark.own_workers
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system doesn't tell its cores")
def test_only_an_encoder_on_one_thread_is_kept_on_a_core(store: Store, colours: Path) -> None:
    before = frozenset(os.sched_getaffinity(0))
    alone, others = Placed(single_threaded=True), Placed(single_threaded=False)
    update_store(store, colours, alone)
    assert {len(cores) for cores in alone.cores} == {1}
    assert set().union(*alone.cores) <= before == frozenset(os.sched_getaffinity(0))
    for image in sorted(colours.rglob("*.png")):
        os.utime(image, (1, 1))
    write(colours / "another.png", "purple")
    update_store(store, colours, others)
    assert others.cores == {before}


@pytest.mark.own_workers
def test_a_python_that_cannot_start_drops_nothing(
    store: Store, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_store(store, colours, encoder)
    os.utime(colours / "green.png", (1, 1))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(CongenerError, match="no process to decode pictures can be started"):
        update_store(store, colours, encoder)
    assert len(store) == 5


def test_a_script_may_update_at_its_top_level(colours: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from congener import Gallery\n"
        "from tests.conftest import MeanColour\n"
        "print('run')\n"
        "gallery = Gallery(sys.argv[1], encoder=MeanColour())\n"
        "print(gallery.update().indexed)\n"
        "gallery.close()\n"
    )
    told = subprocess.run(
        [sys.executable, script, os.path.relpath(colours, tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.stdout, told.stderr) == ("run\n5\n", "")


def test_ctrl_c_ends_a_run_at_once_though_a_decoder_hangs(colours: Path, tmp_path: Path) -> None:
    """It would hang for an hour: that the run ends at all says that it waits for no decoder."""
    script = (
        "import sys\n"
        "import congener.update\n"
        "from congener import Gallery\n"
        "from tests.test_update import Otherwise\n"
        "from tests.troublesome import Stuck\n"
        "congener.update.DECODE_SECONDS = 3600\n"
        "Gallery(sys.argv[1], encoder=Otherwise(Stuck(8, 8))).update()\n"
    )
    stuck = tmp_path / "stuck"
    run = subprocess.Popen(
        [sys.executable, "-c", script, colours],
        cwd=ROOT,
        env=os.environ | {"CONGENER_TEST_STUCK": str(stuck)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: stuck.exists() or run.poll() is not None)
    os.killpg(run.pid, signal.SIGINT)
    try:
        _, told = run.communicate(timeout=300)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert told.rstrip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)  # nobody of the group is left


def test_a_feature_that_is_no_number_is_skipped(
    store: Store, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Features:
        return Features(np.full((len(pixels), 3), np.nan, np.float32))

    monkeypatch.setattr(encoder, "encode", broken)
    report = update_store(store, colours, encoder)
    assert counts(report) == (0, 0, 0, 0, 5)
    assert "finite" in report.skipped[0].reason


def test_nothing_is_removed_when_most_is_gone(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    shutil.rmtree(colours / "warm")
    (colours / "green.png").unlink()
    report = update_store(store, colours, encoder)
    assert counts(report) == (0, 2, 0, 0, 0)
    assert (report.missing, report.images) == (3, 5)
    report = update_store(store, colours, encoder, prune=True)
    assert counts(report) == (0, 2, 0, 3, 0)
    assert (report.missing, report.images) == (0, 2)


def test_nothing_is_removed_when_the_folder_is_missing(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    colours.rename(colours.with_name("unmounted"))
    with pytest.raises(GalleryError, match=r"is missing; its 5 images stay"):
        update_store(store, colours, encoder)
    assert len(store) == 5
    assert update_store(store, colours, encoder, prune=True).removed == 5


def test_what_lies_in_a_folder_that_cannot_be_listed_stays(
    store: Store, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_store(store, colours, encoder)
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "warm":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for prune in (False, True):
        report = update_store(store, colours, encoder, prune=prune)
        assert counts(report) == (0, 3, 0, 0, 1)
        assert report.images == 5


def test_excluded_paths_are_dropped_and_stay_so(store: Store, colours: Path, encoder: MeanColour) -> None:
    update_store(store, colours, encoder)
    report = update_store(store, colours, encoder, exclude=["warm", "c*n.png"])  # three of five
    assert counts(report) == (0, 2, 0, 3, 0)
    assert counts(update_store(store, colours, encoder)) == (0, 2, 0, 0, 0)
    assert counts(update_store(store, colours, encoder, exclude=[])) == (3, 2, 0, 0, 0)


def test_an_interrupted_run_goes_on_where_it_was(
    store: Store, tmp_path: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("congener.update.COMMIT_SECONDS", 0)
    folder = tmp_path / "many"
    for number in range(40):
        write(folder / f"{number:02d}.png", (number, 0, 0))

    def interrupt(done: int, total: int) -> None:
        assert total == 40
        if done == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update_store(store, folder, encoder, progress=interrupt)
    assert len(store) == 17
    assert counts(update_store(store, folder, encoder)) == (23, 17, 0, 0, 0)
    assert features(store)["39.png"] == pytest.approx((39 / 255, 0, 0), abs=1e-3)


def test_the_order_of_paths_decides_ids_however_many_threads(
    tmp_path: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    for number in range(30):
        write(folder / f"{number:02d}.png", (number, 0, 0))
    tables = []
    for threads in (1, 5):
        monkeypatch.setattr("congener.update.cores", lambda threads=threads: threads)
        store = Store.create(tmp_path / f"store-{threads}", encoder.identity.as_dict())
        update_store(store, folder, encoder)
        tables.append([(row.id, row.path, row.slot) for row in store.rows()])
        store.close()
    assert tables[0] == tables[1]
    assert [path for _, path, _ in tables[0]] == [f"{number:02d}.png" for number in range(30)]


class Forgetful(MeanColour):
    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        return Features(super().encode(pixels).pooled[1:])


def test_an_encoder_that_leaves_some_out_is_found_out(store: Store, colours: Path) -> None:
    with pytest.raises(EncoderError, match=r"mean-colour gave \d features for \d pictures"):
        update_store(store, colours, Forgetful())


class Recorded(MeanColour):
    """Notes how many pictures each thread was given in turn, and takes its time with each."""

    batch = 100

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.turns: list[int] = []

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        self.turns.append(len(pixels))
        time.sleep(self.seconds * len(pixels))
        return super().encode(pixels)


def test_turns_are_long_where_pictures_are_quick_and_short_towards_the_end(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("congener.update.TURN_SECONDS", 60)  # by which they are quick on a busy machine, too
    for number in range(1000):
        write(tmp_path / "many" / f"{number:03d}.png", (number % 256, number // 256, 0))
    quick = Recorded(0)
    assert update_store(store, tmp_path / "many", quick).indexed == 1000
    assert max(quick.turns) >= 32
    assert set(quick.turns[-3:]) == {4}


def test_turns_are_short_where_pictures_are_slow(tmp_path: Path, store: Store) -> None:
    for number in range(100):
        write(tmp_path / "many" / f"{number:03d}.png", (number, 0, 0))
    slow = Recorded(0.03)
    assert update_store(store, tmp_path / "many", slow).indexed == 100
    assert set(slow.turns) == {4}


# commits after every turn, of 4 images, each of which takes 10 ms, and tells of each
SLOW_INDEX = """
import sys, time
import congener.update
from congener import Gallery
from tests.conftest import MeanColour

class Slow(MeanColour):
    batch = 1
    def encode(self, pixels):
        time.sleep(0.01)
        return super().encode(pixels)

congener.update.COMMIT_SECONDS = 0
Gallery(sys.argv[1], encoder=Slow()).update(progress=lambda done, total: print(done, flush=True))
"""


def test_killed_at_any_moment_nothing_committed_is_lost(tmp_path: Path, encoder: MeanColour) -> None:
    folder = tmp_path / "many"
    for number in range(400):
        write(folder / f"{number:03d}.png", (number % 256, number // 256, 7))
    generator = random.Random(0)
    committed: set[str] = set()
    partial = 0
    for _ in range(8):
        run = subprocess.Popen(
            [sys.executable, "-c", SLOW_INDEX, str(folder)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert run.stdout is not None
        for _ in range(generator.randint(1, 40)):
            run.stdout.readline()
        run.send_signal(signal.SIGKILL)
        run.stdout.close()
        run.wait()
        if Store.exists(folder / ".congener"):
            store = Store.open(folder / ".congener")
            paths = {row.path for row in store.rows()}
            assert committed <= paths
            assert features(store).keys() == paths
            for row in store.rows():
                store.feature(row)  # raises when it isn't what was written
            partial += len(committed) < len(paths) < 400
            committed = paths
            store.close()
    assert partial >= 2, "the kills came too early or too late to show anything"
    with Gallery(folder, encoder=encoder) as gallery:
        report = gallery.update()
        assert counts(report) == (400 - len(committed), len(committed), 0, 0, 0)
        assert report.images == 400
        assert gallery.search(folder / "123.png", 1, include_self=True)[0].path == "123.png"
