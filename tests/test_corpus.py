"""Every file of the corpus is read, or refused with a reason: no crash, no hang, bounded memory, no other error."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from . import corpus

TRIAL = Path(__file__).parent / "fuzz/trial.py"
HANG = 60.0
"""Seconds after which a picture counts as holding up the process."""
MOST = 300 * 2**20
"""Bytes that a process may take for any picture of the corpus, Python and its libraries included."""


MOST_LARGE = 2200 * 2**20
"""The same for pictures of as many pixels as are allowed: a TIFF of three times 16 bits in one strip takes most."""


class Outcome(NamedTuple):
    """What became of a picture."""

    outcome: str
    """read, or the reason why not."""
    raised: str = ""
    """The kind of error, where it wasn't an ImageError; crash or hang."""
    seconds: float = 0
    bytes: int = 0


def attempt(paths: Sequence[Path]) -> list[Outcome]:
    """Open pictures in another process, begun anew when one ends it."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(paths):
        outcomes += _attempt_once(paths[len(outcomes) :])
    return outcomes


def _attempt_once(paths: Sequence[Path]) -> list[Outcome]:
    command = [sys.executable, "-W", "ignore", str(TRIAL)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    outcomes: list[Outcome] = []
    hung = threading.Event()

    def end() -> None:
        hung.set()
        process.kill()

    with process:
        for path in paths:
            try:
                process.stdin.write(os.fsencode(path).hex().encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                pass
            timer = threading.Timer(HANG, end)
            timer.start()
            lines = process.stdout.readline(), process.stdout.readline()  # begun, and done
            timer.cancel()
            if not lines[1]:
                kind = "hang" if hung.is_set() else f"crash ({process.wait()})"
                outcomes.append(Outcome(f"{path.name}: {kind}", kind))
                break
            outcomes.append(Outcome(**json.loads(lines[1])))
        process.stdin.close()
    return outcomes


def verdicts(folder: Path, samples: dict[str, corpus.Sample], most: int = MOST) -> dict[str, Outcome]:
    """Try all samples, two processes at once, and check what must hold of each."""
    names = list(samples)
    halves = names[0::2], names[1::2]
    with ThreadPoolExecutor(2) as pool:
        tried = pool.map(attempt, ([folder / name for name in half] for half in halves))
    found = {
        name: outcome
        for half, part in zip(halves, tried, strict=True)
        for name, outcome in zip(half, part, strict=True)
    }
    wrong = [f"{name!r}: {what}: {found[name]}" for name in names for what in _wrong(samples[name], found[name], most)]
    assert not wrong, "\n".join(wrong)
    return found


def _wrong(sample: corpus.Sample, found: Outcome, most: int = MOST) -> Iterator[str]:
    """Yield what is wrong with an outcome."""
    if found.raised:
        yield "something else than an ImageError was raised"
    if sample.readable is not None and sample.readable != (found.outcome == "read"):
        yield "must be read" if sample.readable else "must be refused"
    if found.bytes > most:
        yield "takes too much memory"
    if not found.outcome.strip() or not found.outcome.isprintable():
        yield "the reason is no line of text"


def summary(found: dict[str, Outcome]) -> str:
    """Return the figures that the page of promises states."""
    kinds = Counter("read" if one.outcome == "read" else "refused" for one in found.values())
    slowest = max(found, key=lambda path: found[path].seconds)
    largest = max(found, key=lambda path: found[path].bytes)
    return (
        f"{len(found)} files: {dict(kinds)}; slowest {found[slowest].seconds:.2f} s ({slowest!r}); "
        f"most memory {found[largest].bytes / 2**20:.0f} MB ({largest!r})"
    )


def fuzz(*options: str) -> str:
    """Run the fuzz target by chance alone, in a process of its own; return what it printed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.open_image", "--plain", *options]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return done.stdout.decode()


def test_a_thousand_mutations_raise_nothing_but_image_errors() -> None:
    assert "1000 inputs" in fuzz("--runs", "1000")


@pytest.mark.long
def test_many_mutations_raise_nothing_but_image_errors() -> None:
    print(fuzz("--runs", "50000", "--seed", "7"))  # noqa: T201


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status for the peak of memory")


@linux
def test_every_file_is_read_or_refused_with_a_reason(tmp_path: Path) -> None:
    samples = corpus.write(tmp_path, corpus.samples())
    print(summary(verdicts(tmp_path, samples)))  # noqa: T201


@linux
@pytest.mark.long
def test_every_file_of_the_whole_corpus_is_read_or_refused(tmp_path: Path) -> None:
    samples = corpus.write(tmp_path, corpus.samples(full=True))
    print(summary(verdicts(tmp_path, samples)))  # noqa: T201


def index(folder: Path) -> tuple[dict[str, Any], str]:
    """Index a folder by the command line; return its report and what it printed on stderr."""
    command = [sys.executable, "-m", "congener", "index", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout), done.stderr.decode()


def check_index(folder: Path, samples: dict[str, corpus.Sample]) -> str:
    """Index the corpus and what isn't even a file; check that all of it is accounted for. Return the counts."""
    specials = corpus.specials(folder)
    report, said = index(folder)
    skipped = {entry["path"]: entry["reason"] for entry in report["skipped"]}
    assert said == ""
    assert report["found"] == len(samples) + len(specials)
    assert report["found"] == report["indexed"] + report["renamed"] + len(skipped)
    assert report["images"] == report["found"] - len(skipped)
    assert {name for name, word in specials.items() if word in skipped.pop(name)} == specials.keys()
    assert {name for name, sample in samples.items() if sample.readable is False} <= skipped.keys()
    assert not [name for name, sample in samples.items() if sample.readable and name in skipped]
    assert all(reason.isprintable() for reason in skipped.values())
    assert not [reason for reason in skipped.values() if "crashed" in reason or "longer than" in reason]
    return (
        f"{report['found']} found = {report['indexed']} indexed + {report['renamed']} copies + {len(skipped)} skipped"
    )


def test_the_whole_corpus_is_indexed_or_skipped_with_its_reason(tmp_path: Path) -> None:
    kept = (sample for sample in corpus.samples() if sample.readable is not None or len(sample.name) % 4 == 0)
    print(check_index(tmp_path, corpus.write(tmp_path, kept)))  # noqa: T201


@pytest.mark.long
def test_the_full_corpus_is_indexed_or_skipped_with_its_reason(tmp_path: Path) -> None:
    print(check_index(tmp_path, corpus.write(tmp_path, corpus.samples(full=True))))  # noqa: T201


@linux
@pytest.mark.long
def test_pictures_as_large_as_allowed_are_read_in_bounded_memory(tmp_path: Path) -> None:
    samples = corpus.write(tmp_path, corpus.large())
    print(summary(verdicts(tmp_path, samples, MOST_LARGE)))  # noqa: T201
