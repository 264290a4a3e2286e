"""Change one thing at a time in a copy of the tree, and see whether a test that covers it fails.

    python -m tests.mutants.run [--count 100] [--seed 13] [--skip 0] [--part exact --part codes] [--minutes 120]
                                [--jobs 1] [--json done.json] [--again done.json]

Needs cosmic-ray: pip install -c constraints.txt cosmic-ray. A mutant is killed by a test that fails or that runs three
times as long as it should. tests/mutants/SURVIVORS.md says of those that lived why they are harmless. `--again` tries
those that lived once more, when there are new tests.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from tests.mutants.changes import Mutant, sample
from tests.mutants.covering import COVERING

ROOT = Path(__file__).resolve().parents[2]
SEED = 13


@dataclass(frozen=True)
class Trial:
    """What became of a mutant."""

    part: str
    mutant: Mutant
    before: str
    """Its line."""
    after: str
    outcome: str
    """killed, timeout or survived."""
    by: str
    """The test that failed, empty where none did."""
    seconds: float

    def __str__(self) -> str:
        line = f"{self.mutant.file}:{self.mutant.place[0]}"
        return f"{self.outcome:8} {self.seconds:5.0f} s  {line}: {self.before}  ->  {self.after}  {self.by}".rstrip()


def files_of(part: str) -> list[str]:
    """Return the files of a part, relative to the tree. Raises LookupError for a pattern that fits none."""
    found = []
    for pattern in COVERING[part][0]:
        files = sorted((ROOT / "src/congener").glob(pattern))
        if not files:
            raise LookupError(f"tests/mutants/covering.py: {part} names {pattern}, which isn't there")
        found += [str(file.relative_to(ROOT)) for file in files]
    return found


def copy(place: Path) -> Path:
    """Return a copy of what git tracks, and what it doesn't ignore."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT)
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    return place


def outcome_of(tree: Path, tests: Sequence[str], limit: float | None) -> tuple[str, str, float]:
    """Run tests up to the first that fails; return killed, timeout or survived, which test that was, and seconds."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["CONGENER_DATA"] = str(tree / "none")  # photos are slow
    plugins = ["-p", "no:cacheprovider", "-p", "tests.mutants.hasty"]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", *plugins, *tests]
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        encoding="utf-8",
    ) as process:
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return "timeout", "", time.perf_counter() - started
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    outcome = "killed" if process.returncode else "survived"
    return outcome, failed[1] if failed else "", time.perf_counter() - started


class Trees:
    """Copies of the tree, each for one mutant at a time, and how long the tests of a part may take."""

    def __init__(self, folder: Path, count: int) -> None:
        self._free: SimpleQueue[Path] = SimpleQueue()
        for number in range(count):
            self._free.put(copy(folder / str(number)))
        self._limits: dict[str, float] = {}
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)

    def attempt(self, part: str, mutant: Mutant) -> Trial:
        """Try a mutant."""
        tree = self._free.get()
        file, tests = tree / mutant.file, COVERING[part][1]
        source = file.read_text()
        try:
            limit = self._limit(tree, part)
            file.write_text(mutant.code(source))
            outcome, by, seconds = outcome_of(tree, tests, limit)
            return Trial(part, mutant, *mutant.lines(source), outcome, by, seconds)
        finally:
            file.write_text(source)
            self._free.put(tree)

    def _limit(self, tree: Path, part: str) -> float:
        """Return the seconds that the tests of a part may take, by those that they take on the code as it is."""
        with self._locks[part]:
            if part not in self._limits:
                outcome, by, seconds = outcome_of(tree, COVERING[part][1], None)
                assert outcome == "survived", f"the tests of {part} fail on the code as it is: {by}"
                self._limits[part] = 3 * seconds + 20
            return self._limits[part]


def trials(mutants: Sequence[Mutant], minutes: float = float("inf"), jobs: int = 1) -> Iterator[Trial]:
    """Try mutants in their order, so many at a time, until none is begun any more: what is done is a sample too."""
    ends = time.monotonic() + 60 * minutes
    part_of = {file: part for part in COVERING for file in files_of(part)}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        trees = Trees(Path(folder), jobs)

        def attempt(mutant: Mutant) -> Trial | None:
            return trees.attempt(part_of[mutant.file], mutant) if time.monotonic() < ends else None

        for future in as_completed([pool.submit(attempt, mutant) for mutant in mutants]):
            if trial := future.result():
                yield trial


def table(done: Sequence[Trial]) -> str:
    """Return the outcome by part, and the survivors."""
    lines = ["| part | tried | killed |", "|---|---|---|"]
    for part in [*dict.fromkeys(trial.part for trial in done), "all"]:
        some = [trial for trial in done if part in ("all", trial.part)]
        lines.append(f"| {part} | {len(some)} | {sum(trial.outcome != 'survived' for trial in some)} |")
    return "\n".join([*lines, "", *(str(trial) for trial in done if trial.outcome == "survived")])


def read(path: Path) -> list[Trial]:
    """Return what an earlier run wrote."""
    return [
        Trial(**fields, mutant=Mutant(**{**mutant, "place": tuple(mutant["place"])}))
        for fields in json.loads(path.read_text())
        for mutant in [fields.pop("mutant")]
    ]


def write(path: Path, done: Sequence[Trial]) -> None:
    """Write what was done, to be read again: a line each, by part and file."""
    found = sorted(done, key=lambda trial: (list(COVERING).index(trial.part), trial.mutant.file, trial.mutant.place))
    lines = [json.dumps(asdict(trial) | {"seconds": round(trial.seconds)}) for trial in found]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main() -> None:
    """Try, print one line each, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--part", action="append", choices=list(COVERING))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--again", type=Path)
    options = parser.parse_args()
    files = [file for part in options.part or COVERING for file in files_of(part)]
    mutants = sample(ROOT, files, options.count, options.seed)[options.skip :]
    if options.again:
        mutants = [trial.mutant for trial in read(options.again) if trial.outcome == "survived"]
    done = []
    for trial in trials(mutants, options.minutes, options.jobs):
        print(trial, flush=True)  # noqa: T201
        done.append(trial)
        if options.json:
            write(options.json, done)
    print(table(done))  # noqa: T201


if __name__ == "__main__":
    main()
