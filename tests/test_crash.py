"""A kill or a loss of power at any moment leaves a gallery that opens, answers, and is completed by the next run."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from congener import Gallery
from congener.cabinet import paint_cabinet
from congener.check import check
from congener.store import Store

from .conftest import MeanColour
from .faults.kills import OWN, PATH, Victim, alter, colour_of, left_over, look_at_killed, wait_until
from .faults.replay import LOSSES, Disk, Operation, Tree, digest, read_log, write_tree
from .faults.trial import Colour, Contents, Fresh, ReadHere, check_sound, check_state, paint
from .faults.victim import JOBS
from .faults.workload import APPROXIMATE, STEPS, contents

KILL = "kill"
KINDS = (KILL, *LOSSES)


@pytest.fixture(scope="module")
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of galleries are written."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


# every operation that was recorded


def pictures_of_steps() -> dict[str, dict[str, Colour]]:
    """Return path -> colour for each step: some are added, changed, renamed, copied and removed."""
    rng = random.Random(0)

    def some(prefix: str, count: int) -> dict[str, Colour]:
        names = [f"{prefix}{rng.randrange(10**6):06}.png" for _ in range(count)]
        return {name: (rng.randrange(256), rng.randrange(256), rng.randrange(256)) for name in names}

    now = some("warm/", 5) | some("cold/", 5) | some("", 2)
    steps = {"first": dict(now)}
    first, second, third, fourth, fifth, *_ = now
    now |= {first: (9, 8, 200), second: (255, 254, 3)} | some("warm/", 2) | some("cold/", 1)
    now["warm/renamed.png"] = now.pop(third)
    now["cold/copied.png"] = now[fourth]
    del now[fifth]
    steps |= {name: dict(now) for name in ("changed", "adapted", "approximate")}
    now |= some("cold/", 3)
    steps |= {name: dict(now) for name in ("grown", "refitted")}
    now = dict(list(now.items())[::3])
    steps |= {name: dict(now) for name in ("shrunk", "forgotten")}
    assert steps.keys() == STEPS.keys()
    return steps


@dataclass(frozen=True)
class Recording:
    """What was done to a gallery's files."""

    operations: list[Operation]
    place: Path
    """The folder in which the gallery was."""
    before: Tree
    """What it held at first."""
    first: Contents | None
    """What the gallery held at first; None: there was none."""
    pictures: Path
    colours: dict[str, Colour]
    """By content."""
    fresh: dict[str, Fresh]
    """By step."""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that records."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("shim") / "record.so"
    sources = [Path(__file__).with_name("faults") / name for name in ("record.c", "fail.c")]
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, *sources, "-ldl", "-lpthread"], check=True)
    return library


def record(shim: Path, place: Path, pictures: Path, steps: Sequence[str] = ()) -> list[Operation]:
    """Run the workload, or some steps of it; return what it did to the files in a folder."""
    log = place.with_name(f"{place.name}.log")
    preloaded = {"LD_PRELOAD": str(shim), "RECORD_FOLDER": str(place), "RECORD_LOG": str(log), "PYTHONPATH": PATH}
    command: list[str | Path] = [sys.executable, "-m", "tests.faults.workload", place / "gallery", pictures, *steps]
    done = subprocess.run(command, env=os.environ | preloaded, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return read_log(log)


@pytest.fixture(scope="module")
def recording(shim: Path, fast_folder: Path) -> Recording:
    """All steps of the workload, done once, with the processes that decode."""
    pictures, place = fast_folder / "pictures", fast_folder / "recorded"
    colours: dict[str, Colour] = {}
    fresh: dict[str, Fresh] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("congener.update.Workers", ReadHere)
        for step, painted in pictures_of_steps().items():
            paint(painted, pictures / step)
            for path, colour in painted.items():
                colours[sha256((pictures / step / path).read_bytes()).hexdigest().upper()] = colour
            fresh[step] = Fresh.of(pictures / step, fast_folder / "fresh" / step)
    place.mkdir()
    return Recording(record(shim, place, pictures), place, {}, None, pictures, colours, fresh)


@dataclass(frozen=True)
class State:
    """What is found after a crash."""

    name: str
    tree: Tree
    step: str
    allowed: Sequence[Contents | None]
    """What the catalogue may hold: what was committed, and what was being committed; None: no gallery yet."""


def states(recording: Recording, chosen: Sequence[tuple[int, str]]) -> Iterator[State]:
    """Yield what is left if the crash comes before operation n, of the given kind."""
    disk, done = Disk(recording.place, recording.before), 0
    told = [recording.first, *_told(recording.operations)]
    step, acknowledged = next(iter(STEPS)), 0
    for n, kind in sorted(chosen):
        for operation in recording.operations[done:n]:
            disk.do(operation)
            if operation.kind == "!":
                (text,) = operation.paths
                step = text if text in STEPS else step
                acknowledged += text not in STEPS
        done = n
        rng = random.Random(f"{n} {kind}")
        following = recording.operations[n] if n < len(recording.operations) else None
        tree = disk.killed(following, rng) if kind == KILL else disk.lost(LOSSES[kind], rng)
        yield State(f"{n} {kind}", tree, step, told[acknowledged : acknowledged + 2])


def _told(operations: Sequence[Operation]) -> Iterator[Contents]:
    for operation in operations:
        if operation.kind == "!" and operation.paths[0] not in STEPS:
            yield json.loads(operation.paths[0])


def all_moments(recording: Recording) -> list[tuple[int, str]]:
    return [(n, kind) for n in range(len(recording.operations) + 1) for kind in KINDS]


def try_states(recording: Recording, chosen: Sequence[tuple[int, str]], folder: Path) -> int:
    """Try what crashes at these moments leave; return how many states differed."""
    tried: set[bytes] = set()
    failed: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("congener.update.Workers", ReadHere)
        patch.setattr("congener.store._COMPACT_BYTES", 1)
        for state in states(recording, chosen):
            key = digest(state.tree) + state.step.encode() + str(state.allowed).encode()
            if key in tried:
                continue
            tried.add(key)
            place = folder / f"state-{len(tried)}"
            write_tree(state.tree, place)
            try:
                pictures, fresh = recording.pictures / state.step, recording.fresh[state.step]
                check_state(place / "gallery", pictures, state.allowed, recording.colours, fresh)
            except Exception as error:
                failed[f"{state.name} ({state.step})"] = f"{type(error).__name__}: {error}"
            shutil.rmtree(place)
    assert not failed, f"{len(failed)} of {len(tried)} states: {failed}"
    print(f"{len(recording.operations)} operations recorded, {len(chosen)} crashes, {len(tried)} different states")  # noqa: T201
    return len(tried)


def test_a_recording_holds_all_that_was_done(recording: Recording) -> None:
    """Replayed to its end, it gives the files that are there, so no call goes unseen."""
    (state,) = states(recording, [(len(recording.operations), KILL)])
    written = {path.name: path.read_bytes() for path in (recording.place / "gallery").iterdir()}
    assert state.tree == {"gallery": {name: data for name, data in written.items() if not name.endswith("-shm")}}
    assert state.step == "forgotten"
    assert sum(operation.kind == "s" for operation in recording.operations) > 50
    assert {Path(path).name for o in recording.operations if o.kind == "r" for path in o.paths} >= {"catalogue.sqlite"}


def test_a_crash_at_any_moment_is_survived(recording: Recording, fast_folder: Path) -> None:
    moments = random.Random(1).sample(all_moments(recording), 300)
    assert try_states(recording, moments, fast_folder / "some") > 150


@pytest.mark.long
def test_a_crash_at_every_moment_is_survived(recording: Recording, fast_folder: Path) -> None:
    assert try_states(recording, all_moments(recording), fast_folder / "all") > 2000


def test_a_new_gallery_isn_t_lost_as_a_whole(recording: Recording, fast_folder: Path) -> None:
    moments = [(n, "all dropped") for n in range(0, len(recording.operations), 100)]
    try_states(recording, moments, fast_folder / "top")


@pytest.mark.skipif(APPROXIMATE == "auto", reason="needs usearch")
def test_check_takes_the_graph_of_an_older_generation_for_unused(
    colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there between the switch to a new generation and its own graph."""
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update()
        gallery.adapt(force=True)
        gallery.update(index=APPROXIMATE)
        monkeypatch.setattr(Store, "sweep", lambda store: None)
        monkeypatch.setattr(Gallery, "_refresh_index", lambda *_: None)
        gallery.forget()
    report = check(colours / ".congener", encoder=encoder)
    assert not report.findings
    assert any(name.startswith("graph-") for name in report.unused)


def crash_again(shim: Path, recording: Recording, state: State, place: Path) -> Recording:
    """Record the run that completes what a crash has left."""
    write_tree(state.tree, place)
    first = contents_of(state.tree, place.with_name(f"{place.name}-looked-at"))
    operations = record(shim, place, recording.pictures, [state.step])
    return replace(recording, operations=operations, place=place, before=state.tree, first=first)


def contents_of(tree: Tree, place: Path) -> Contents | None:
    """Return what the gallery in a folder that looks like this holds; place: to look at it, which may change it."""
    write_tree(tree, place)
    if not Store.exists(place / "gallery"):
        return None
    with closing(Store.open(place / "gallery")) as store:
        return contents(store.connection)


def try_crashes_of_crashes(shim: Path, recording: Recording, folder: Path, first: int, second: int) -> None:
    rng = random.Random(2)
    moments = rng.sample(all_moments(recording), first)
    for number, state in enumerate(states(recording, moments)):
        again = crash_again(shim, recording, state, folder / f"crashed-{number}")
        every = all_moments(again)
        try_states(again, rng.sample(every, min(second, len(every))), folder / f"again-{number}")


def test_a_crash_of_the_run_that_follows_a_crash_is_survived(
    shim: Path, recording: Recording, fast_folder: Path
) -> None:
    try_crashes_of_crashes(shim, recording, fast_folder / "twice", 3, 30)


@pytest.mark.long
def test_many_crashes_of_runs_that_follow_a_crash_are_survived(
    shim: Path, recording: Recording, fast_folder: Path
) -> None:
    try_crashes_of_crashes(shim, recording, fast_folder / "often", 20, 200)


@pytest.mark.parametrize("version", [1, 2])
def test_a_crash_of_a_migration_is_survived(shim: Path, fast_folder: Path, version: int) -> None:
    pictures, place = fast_folder / f"format-{version}", fast_folder / f"migrated-{version}"
    with zipfile.ZipFile(Path(__file__).parent / f"data/format-{version}.zip") as stored:
        stored.extractall(pictures / "first")
    old = pictures / "first/.congener"
    before: Tree = {"gallery": {path.name: path.read_bytes() for path in old.iterdir()}}
    shutil.rmtree(old)
    colours: dict[str, Colour] = {}
    for path in (pictures / "first").rglob("*.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        colours[sha256(path.read_bytes()).hexdigest().upper()] = colour_of(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("congener.update.Workers", ReadHere)
        fresh = {"first": Fresh.of(pictures / "first", fast_folder / f"fresh-{version}")}
    write_tree(before, place)
    first = contents_of(before, fast_folder / f"looked-at-{version}")
    operations = record(shim, place, pictures, ["first"])
    recording = Recording(operations, place, before, first, pictures, colours, fresh)
    moments = all_moments(recording)
    assert try_states(recording, random.Random(3).sample(moments, 50), fast_folder / f"migrations-{version}") > 25


# real kills


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(tmp_path)
    yield victim
    victim.close()


def kill_often(victim: Victim, folder: Path, count: int, seed: int) -> None:
    """Kill runs at random instants, one after the other on the same gallery; each fifth time, have it completed."""
    rng = random.Random(seed)
    pictures, store = folder / "pictures", folder / "gallery"
    colours: dict[str, Colour] = {}
    seconds = dict.fromkeys(JOBS, 0.5)
    killed: Counter[str] = Counter()
    for turn in itertools.count():
        alter(pictures, colours, rng)
        job = rng.choice(list(JOBS))
        after = rng.random() * seconds[job]
        was_killed = victim.run(job, store, pictures, after)
        killed[job] += was_killed
        seconds[job] = seconds[job] * 1.05 if was_killed else after  # so most jobs are killed, late ones too
        look_at_killed(store, pictures, colours, victim.last_told())
        if turn % 5 == 4:
            victim.run("index", store, pictures)
            fresh = Fresh.of(pictures, folder / f"fresh-{turn}")
            with Gallery(pictures, store=store, encoder=MeanColour()) as gallery:
                assert Fresh.found_in(gallery) == fresh
            check_sound(store, unused=())
        if killed.total() >= count:
            print(f"{killed.total()} kills in {turn + 1} runs: {dict(killed)}")  # noqa: T201
            break


def test_kills_at_random_instants_are_survived(victim: Victim, fast_folder: Path) -> None:
    kill_often(victim, fast_folder / "kills", 25, seed=0)


@pytest.mark.long
def test_many_kills_at_random_instants_are_survived(victim: Victim, fast_folder: Path) -> None:
    kill_often(victim, fast_folder / "many-kills", 250, seed=1)
    wait_until(lambda: len(left_over(str(os.getpid()))) == 1)  # the victim's own


def test_kills_of_the_command_are_survived(cabinet: Path, tmp_path: Path) -> None:
    kill_command(cabinet, tmp_path, 3, seed=0)


@pytest.mark.long
def test_many_kills_of_the_command_are_survived(tmp_path: Path) -> None:
    paint_cabinet(tmp_path / "painted", specimens=6)
    kill_command(tmp_path / "painted", tmp_path, 200, seed=1)


def kill_command(folder: Path, place: Path, count: int, seed: int) -> None:
    """Kill `congener index` with the real network at random instants; take up a new gallery when one is complete."""
    rng = random.Random(seed)
    environment = os.environ | {OWN: place.name, "PYTHONPATH": PATH}

    def start(store: Path, *options: str) -> subprocess.Popen[bytes]:
        command: list[str | Path] = [sys.executable, "-m", "congener", "index", folder, "--gallery", store, *options]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    begun = time.monotonic()
    assert start(place / "whole").wait(300) == 0
    seconds = time.monotonic() - begun
    with Gallery(folder, store=place / "whole") as gallery:
        whole = Fresh.found_in(gallery)
    killed, galleries, store = 0, 1, place / "gallery-1"
    while killed < count:
        process = start(store, *rng.choice([[], ["--refit"], ["--index", APPROXIMATE]]))
        time.sleep((0.2 + rng.random()) * seconds / 1.2)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        if Store.exists(store):
            report = check(store, folder=folder if rng.random() < 0.2 else None)
            assert not report.findings, report.findings
            assert not report.changed
            if process.returncode == 0 or rng.random() < 0.2:
                with Gallery(folder, store=store) as gallery:
                    gallery.update()
                    assert Fresh.found_in(gallery) == whole
                galleries += 1
                store = place / f"gallery-{galleries}"
    print(f"{killed} kills of congener index, {galleries} galleries")  # noqa: T201
    wait_until(lambda: not left_over(place.name))
