"""Runs of the command of which one call fails: `python -m tests.faults.failing`, with `record.c` preloaded.

For each line on standard input, a `Trial` as JSON, it forks a process that runs the command line once, with the
MeanColour encoder, and answers with an `Outcome`. What fails is the call with the trial's number, of those on files of
the recorded folder: pictures, gallery, and the files of SQLite's own.
"""

import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.replay import read_log

SECONDS = 300
"""After which a run is ended that hangs."""

FAILURES: dict[str, tuple[int, int]] = {
    "EIO": (errno.EIO, 1),
    "ENOSPC": (errno.ENOSPC, 1),
    "EINTR": (errno.EINTR, 1),
    "full": (errno.ENOSPC, 2),
    "short": (errno.ENOSPC, 3),
}
"""What a call fails with, and which do, as in record.h: one; each that needs room, from one on; a write, by half."""


@dataclass(frozen=True)
class Trial:
    """A run of the command."""

    arguments: Sequence[str]
    failure: str
    at: int
    """The call that fails, from 1 on; 0: none."""


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    status: int
    """Its exit status; below 0: the signal that ended it."""
    said: str
    """On standard error."""
    failed: str
    """The call that failed, and its file."""


class Runs:
    """The process that runs trials; to be closed."""

    def __init__(self, library: Path, place: Path, path: str) -> None:
        """library: what was made of record.c; place: the folder in which calls may fail; path: of the tests."""
        self.place = place
        self._log = place.with_name(f"{place.name}.log")
        environment = {"LD_PRELOAD": str(library), "RECORD_FOLDER": str(place), "RECORD_LOG": str(self._log)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.failing"],
            env=os.environ | environment | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            stdin=pipe,
            stdout=pipe,
            text=True,
        )

    def run(self, trial: Trial) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(trial)) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def calls(self) -> list[str]:
        """Return the calls of the last run that might have failed, with their files, if none was to."""
        return [operation.paths[0] for operation in read_log(self._log) if operation.kind == "f"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


class InTurn:
    """In place of a pool of threads: calls are made at once and in order, so that the n-th is always the same."""

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_: object) -> None:
        pass

    def __enter__(self) -> "InTurn":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _prepare() -> None:
    """Load all that a run needs, and have it do its work here, in order, in commits as small as can be."""
    import congener.check
    import congener.cli
    import congener.encoders
    import congener.indexes.approximate
    import congener.store
    import congener.update
    from tests.faults.trial import ReadHere

    congener.encoders.ENCODERS["mean-colour"] = "tests.conftest:MeanColour"
    congener.update.Workers = ReadHere  # type: ignore[attr-defined]
    congener.update.ThreadPoolExecutor = InTurn  # type: ignore[attr-defined,assignment]
    congener.update.COMMIT_SECONDS = 0
    congener.store._COMPACT_BYTES = 1


def _run(trial: Trial, said: Path, told: Path) -> None:
    """Run the command, in a process of its own that this ends."""
    signal.alarm(SECONDS)
    for number, path in ((1, os.devnull), (2, said)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    library = ctypes.CDLL(None)
    library.fail_what.restype = ctypes.c_char_p
    from congener.cli import main

    sys.argv[1:] = trial.arguments
    status = 0
    os.truncate(os.environ["RECORD_LOG"], 0)
    library.fail_arm(ctypes.c_long(trial.at), *FAILURES[trial.failure])
    try:
        main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    told.write_bytes(library.fail_what())
    os._exit(status)


def main() -> None:
    _prepare()
    with tempfile.TemporaryDirectory() as folder:
        said, told = Path(folder) / "said", Path(folder) / "told"
        for line in sys.stdin:
            process = os.fork()
            if not process:
                _run(Trial(**json.loads(line)), said, told)
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            failed = os.fsdecode(told.read_bytes()) if told.exists() else ""
            told.unlink(missing_ok=True)
            print(json.dumps(asdict(Outcome(status, said.read_text(), failed))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
