"""Change one thing at a time in a copy of the tree, and see whether a test that covers it fails.

    python -m tests.mutants.run [--count 100] [--seed 13] [--skip 0] [--part exact --part codes] [--minutes 120]

Needs cosmic-ray: pip install -c constraints.txt cosmic-ray. A mutant is killed by a test that fails or that runs three
times as long as it should. tests/mutants/SURVIVORS.md says of those that lived why they are harmless.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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
    seconds: float

    def __str__(self) -> str:
        line = f"{self.mutant.file}:{self.mutant.place[0]}"
        return f"{self.outcome:8} {self.seconds:5.0f} s  {line}: {self.before}  ->  {self.after}"


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


def outcome_of(tree: Path, tests: Sequence[str], limit: float | None) -> tuple[str, float]:
    """Run tests in a tree, up to the first that fails; return killed, timeout or survived, and the seconds."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return "timeout", time.perf_counter() - started
    return ("killed" if code else "survived"), time.perf_counter() - started


def trials(
    parts: Sequence[str], count: int, seed: int, minutes: float = float("inf"), skip: int = 0
) -> Iterator[Trial]:
    """Try so many mutants of the parts, in no order, so that what is done by the end is a sample too.

    skip: how many of them were tried before.
    """
    ends = time.monotonic() + 60 * minutes
    part_of = {file: part for part in parts for file in files_of(part)}
    limits: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        tree = copy(Path(folder))
        for mutant in sample(ROOT, list(part_of), count, seed)[skip:]:
            if time.monotonic() > ends:
                return
            part, file = part_of[mutant.file], tree / mutant.file
            tests = COVERING[part][1]
            if part not in limits:
                outcome, seconds = outcome_of(tree, tests, None)
                assert outcome == "survived", f"the tests of {part} fail on the code as it is"
                limits[part] = 3 * seconds + 20
            source = file.read_text()
            try:
                file.write_text(mutant.code(source))
                outcome, seconds = outcome_of(tree, tests, limits[part])
            finally:
                file.write_text(source)
            yield Trial(part, mutant, *mutant.lines(ROOT), outcome, seconds)


def table(done: Sequence[Trial]) -> str:
    """Return the outcome by part, and the survivors."""
    lines = ["| part | tried | killed |", "|---|---|---|"]
    for part in [*dict.fromkeys(trial.part for trial in done), "all"]:
        some = [trial for trial in done if part in ("all", trial.part)]
        lines.append(f"| {part} | {len(some)} | {sum(trial.outcome != 'survived' for trial in some)} |")
    return "\n".join([*lines, "", *(str(trial) for trial in done if trial.outcome == "survived")])


def main() -> None:
    """Try, print one line each, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--part", action="append", choices=list(COVERING))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    done = []
    for trial in trials(options.part or list(COVERING), options.count, options.seed, options.minutes, options.skip):
        print(trial, flush=True)  # noqa: T201
        done.append(trial)
        if options.json:
            options.json.write_text(json.dumps([asdict(each) for each in done], indent=1))
    print(table(done))  # noqa: T201


if __name__ == "__main__":
    main()
