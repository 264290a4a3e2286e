"""Any call on a file may fail: one line or a retry, a sound gallery, and the next run completes.

The n-th call of a run of the command fails, with each of `FAILURES` in turn: opening, reading, writing, syncing,
renaming, locking, mapping, looking, those of SQLite's own included.
"""

import random
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from congener import Gallery
from congener.store import Store

from .faults.failing import FAILURES, Outcome, Runs, Trial
from .faults.kills import PATH, colour_of
from .faults.replay import Tree, digest, read_tree, write_tree
from .faults.trial import QUERIES, Colour, Fresh, ReadHere, check_answer, check_sound, paint
from .faults.workload import APPROXIMATE, contents
from .test_crash import fast_folder, shim

__all__ = ["fast_folder", "shim"]  # fixtures


@dataclass
class Scene:
    """A folder of pictures, its gallery, and the process that runs the command on it."""

    place: Path
    runs: Runs
    colours: dict[str, Colour] = field(default_factory=dict)
    """By content, of all pictures that there ever were."""

    @property
    def pictures(self) -> Path:
        return self.place / "pictures"

    @property
    def store(self) -> Path:
        return self.pictures / ".congener"

    def files(self) -> list[Path]:
        """Return the pictures, those behind the link last."""
        return [*self.pictures.rglob("*.png"), *self.pictures.glob("linked/*")]

    def run(self, arguments: Sequence[str], failure: str = "EIO", at: int = 0) -> Outcome:
        """Run the command; `{}` among its arguments is the folder."""
        said = [argument.format(self.pictures) for argument in arguments]
        return self.runs.run(Trial(said, failure, at))

    def paint(self, **colours: Colour) -> None:
        paint({f"{name.replace('_', '/')}.png": colour for name, colour in colours.items()}, self.pictures)
        for path in self.files():
            self.colours[sha256(path.read_bytes()).hexdigest().upper()] = colour_of(path)


def paint_first(scene: Scene) -> None:
    scene.paint(warm_a=(250, 9, 5), warm_b=(240, 99, 3), warm_c=(200, 40, 90), warm_d=(233, 150, 20))
    scene.paint(cold_a=(3, 20, 250), cold_b=(9, 190, 230), cold_c=(90, 40, 190), grey=(128, 128, 128))
    elsewhere = scene.place / "elsewhere"
    paint({"linked.png": (10, 240, 20)}, elsewhere)
    (scene.pictures / "linked").symlink_to(elsewhere)
    scene.paint()


def paint_changes(scene: Scene) -> None:
    scene.paint(warm_a=(255, 0, 70), cold_d=(0, 255, 255))
    (scene.pictures / "warm/b.png").rename(scene.pictures / "warm/renamed.png")
    shutil.copy2(scene.pictures / "cold/b.png", scene.pictures / "cold/copied.png")
    (scene.pictures / "warm/d.png").unlink()


def paint_more(scene: Scene) -> None:
    scene.paint(warm_e=(140, 70, 10), cold_e=(10, 70, 140))


def remove_most(scene: Scene) -> None:
    for path in sorted(scene.pictures.rglob("*.png"))[::2]:
        path.unlink()


def damage(scene: Scene) -> None:
    """Spoil a feature and an embedding."""
    for glob, at in (("features-*.f16", 7), ("embeddings-*.i8", 8)):
        path, *_ = sorted(scene.store.glob(glob))
        data = bytearray(path.read_bytes())
        data[at] ^= 4
        path.write_bytes(data)


def unpack(scene: Scene) -> None:
    """Take a gallery of the first format."""
    shutil.rmtree(scene.pictures, ignore_errors=True)
    with zipfile.ZipFile(Path(__file__).parent / "data/format-1.zip") as stored:
        stored.extractall(scene.pictures)
    scene.paint()


def nothing(scene: Scene) -> None:
    pass


@dataclass(frozen=True)
class Job:
    """A run of the command, what is done to the folder before it, and the jobs before that."""

    arguments: Sequence[str]
    prepare: Callable[[Scene], None] = nothing
    after: str | None = None
    """The job that comes before."""
    completes: Sequence[str] = ("index", "{}", "--prune")
    """What completes the gallery afterwards."""


INDEX = ("index", "{}")

JOBS: dict[str, Job] = {
    "first": Job(("index", "{}", "--encoder", "mean-colour", "--exclude", "*.gif"), paint_first),
    "changed": Job(INDEX, paint_changes, "first"),
    "adapted": Job(("adapt", "{}", "--force"), after="changed"),
    "graph": Job(("index", "{}", "--index", APPROXIMATE), after="adapted"),
    "grown": Job(INDEX, paint_more, "graph"),
    "refitted": Job(("index", "{}", "--refit"), after="grown"),
    "shrunk": Job(("index", "{}", "--prune"), remove_most, "refitted"),
    "forgotten": Job(("adapt", "{}", "--undo"), after="grown"),
    "repaired": Job(("check", "{}", "--repair"), damage, "grown"),
    "searched": Job(("search", "{}/grey.png", "--in", "{}"), paint_more, "adapted"),
    "migrated": Job(INDEX, unpack),
}

JOBS["first"] = Job(JOBS["first"].arguments, paint_first, completes=("index", "{}", "--encoder", "mean-colour"))


def prepare(scene: Scene, name: str) -> None:
    """Do the jobs before this one, and what comes before it."""
    job = JOBS[name]
    if job.after:
        prepare(scene, job.after)
        outcome = scene.run(JOBS[job.after].arguments)
        assert outcome.status == 0, outcome
    job.prepare(scene)


@pytest.fixture(scope="module")
def runs(shim: Path, fast_folder: Path) -> Iterator[Runs]:
    place = fast_folder / "failing"
    place.mkdir()
    runs = Runs(shim, place, PATH)
    yield runs
    runs.close()


@pytest.fixture
def scene(runs: Runs, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr("congener.update.Workers", ReadHere)
    place = runs.place / request.node.name.translate(str.maketrans("[]", "--"))
    place.mkdir()
    return Scene(place, runs)


class Trials:
    """Runs of a job from one and the same state."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene, self.job = scene, JOBS[name]
        prepare(scene, name)
        self.before = read_tree(scene.store) if scene.store.exists() else None
        self.kept = self._unchanged()
        self.fresh = Fresh.of(scene.pictures, scene.runs.place.with_name(f"{scene.place.name}-fresh"))
        self.seen: set[bytes] = set()
        self.failed: dict[str, str] = {}

    def _unchanged(self) -> dict[str, str]:
        """Return the content by path of the images whose files are as they were indexed."""
        if self.before is None or not Store.exists(self.scene.store):
            return {}
        there = {
            path.relative_to(self.scene.pictures).as_posix(): sha256(path.read_bytes()).hexdigest().upper()
            for path in self.scene.files()
        }
        held = held_in(self.scene.store)
        self.restore()
        return {path: content for path, content in there.items() if held.get(path) == content}

    def restore(self) -> None:
        shutil.rmtree(self.scene.store, ignore_errors=True)
        if self.before is not None:
            write_tree(self.before, self.scene.store)

    def calls(self, failure: str) -> list[str]:
        """Return the calls that may fail, with their files: numbers in names are all the same."""
        self.restore()
        outcome = self.scene.run(self.job.arguments, failure)
        assert outcome.status == 0, outcome
        return [re.sub(r"\d+", "0", call) for call in self.scene.runs.calls()]

    def try_out(self, failure: str, at: int) -> Outcome:
        """Let one call fail, and look at what is left."""
        self.restore()
        outcome = self.scene.run(self.job.arguments, failure, at)
        left: Tree = read_tree(self.scene.store) if self.scene.store.exists() else {}
        try:
            self._look_at(outcome)
            key = digest(left) + bytes([outcome.status != 0])
            if key not in self.seen:
                self.seen.add(key)
                self._look_at_gallery(outcome)
        except Exception as error:
            what = f"{failure} {at}: {outcome.failed.replace(str(self.scene.place), '')}"
            self.failed[what] = f"{type(error).__name__}: {error}; status {outcome.status}, said {outcome.said!r}"
        return outcome

    def _look_at(self, outcome: Outcome) -> None:
        assert outcome.status in ((0, 1, 2) if self.job.arguments[0] == "check" else (0, 2))
        lines = outcome.said.splitlines()
        assert all(line.startswith("congener: ") for line in lines), "more than one line"
        assert outcome.status != 2 or lines, "silent"
        assert "delete" not in outcome.said, "advises to delete"

    def _look_at_gallery(self, outcome: Outcome) -> None:
        scene = self.scene
        if Store.exists(scene.store):
            held = held_in(scene.store)
            repaired = self.job.arguments[0] == "check"  # which drops what is damaged
            assert repaired or self.kept.items() <= held.items(), "images are lost"
            if not repaired or outcome.status == 0:
                with Gallery(scene.pictures) as gallery:
                    for query in QUERIES:
                        check_answer(gallery, query, {path: scene.colours[of] for path, of in held.items()})
                    complete = Fresh.found_in(gallery) == self.fresh
                check_sound(scene.store)
                is_whole = complete or outcome.said or repaired or self.job.arguments[0] == "adapt"
                assert outcome.status != 0 or is_whole, "said to be done, and isn't"
        else:
            assert self.before is None, "the gallery is gone"
            assert outcome.status != 0, "said to be done, and there is no gallery"
        if self.job.arguments[0] == "check":
            mended = scene.run(self.job.arguments)
            assert mended.status == 0, mended
        done = scene.run(self.job.completes)
        assert (done.status, done.said) == (0, ""), done
        with Gallery(scene.pictures) as gallery:
            assert Fresh.found_in(gallery) == self.fresh, "not completed"
            for query in QUERIES:
                check_answer(gallery, query, {path: scene.colours[of] for path, of in self.fresh.content.items()})
        check_sound(scene.store, unused=())


def held_in(store: Path) -> dict[str, str]:
    """Return the content by path that a gallery holds."""
    with closing(Store.open(store)) as opened:
        return {path: content for path, (content, *_) in contents(opened.connection)["images"].items()}


def try_out(scene: Scene, name: str, chosen: Callable[[Trials], Iterator[tuple[str, int]]]) -> None:
    """Let chosen calls of a job fail, each in one run."""
    trials = Trials(scene, name)
    ended = Counter(trials.try_out(failure, at).status for failure, at in chosen(trials))
    failed = "\n".join(f"{what}: {why}" for what, why in trials.failed.items())
    assert not failed, f"{len(trials.failed)} of {ended.total()} runs:\n{failed}"
    print(f"{name}: {ended.total()} runs, {ended[0]} of them done, {len(trials.seen)} different states")  # noqa: T201


def some(trials: Trials, count: int = 6) -> Iterator[tuple[str, int]]:
    """Yield so many, each of another call or file, in one of the ways."""
    rng = random.Random(1)
    once = trials.calls("EIO")
    calls = dict.fromkeys(FAILURES, once) | {failure: trials.calls(failure) for failure in ("full", "short")}
    kinds = sorted({(failure, call) for failure, found in calls.items() for call in found})
    for failure, call in rng.sample(kinds, count):
        yield failure, rng.choice([at for at, each in enumerate(calls[failure], 1) if each == call])


def every(trials: Trials) -> Iterator[tuple[str, int]]:
    for failure in FAILURES:
        for at in range(1, len(trials.calls(failure)) + 1):
            yield failure, at


@pytest.fixture(autouse=True)
def _known_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.encoders.ENCODERS", {"mean-colour": "tests.conftest:MeanColour"})


@pytest.mark.parametrize("name", JOBS)
def test_a_call_that_fails_is_survived(scene: Scene, name: str) -> None:
    try_out(scene, name, some)


@pytest.mark.long
@pytest.mark.parametrize("name", JOBS)
def test_every_call_that_fails_is_survived(scene: Scene, name: str) -> None:
    try_out(scene, name, every)
