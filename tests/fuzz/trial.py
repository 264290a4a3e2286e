"""Open pictures in this process, each with its time and its peak of memory: python trial.py < PATHS, one a line.

Prints a JSON line when a picture is begun and one when it is done, so that whoever started this knows which
picture ended or held up the process. Paths are hexadecimal, since a name may hold any byte.
"""

import json
import os
import sys
import time
from pathlib import Path

from congener.encoders import Encoder, Features
from congener.errors import ImageError
from congener.images import open_image


class _Square(Encoder):
    """Only its preprocessing is wanted: what the real one does to a picture."""

    def encode(self, pixels: object) -> Features:
        raise NotImplementedError


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory(field: str) -> int:
    """Return a field of this process in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def attempt(path: bytes, target: int | None, encoder: Encoder) -> str:
    """Open a picture as indexing does; return "read" or the reason why not."""
    try:
        picture = open_image(os.fsdecode(path), target)
        assert picture.mode == "RGB"
        assert min(picture.size) >= 1
        assert encoder.preprocess(picture).shape == (224, 224, 3)
    except ImageError as error:
        return str(error)
    return "read"


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main() -> None:
    target = None if "--whole" in sys.argv else 256
    encoder = _Square()
    for line in sys.stdin:
        path = bytes.fromhex(line.strip())
        _say(begun=line.strip())
        _reset_peak()
        started = time.perf_counter()
        try:
            outcome, kind = attempt(path, target, encoder), ""
        except BaseException as error:  # nothing but ImageError may come out: reported to the parent
            outcome, kind = repr(error), type(error).__name__
        seconds, peak = time.perf_counter() - started, _memory("VmHWM")
        _say(outcome=outcome, raised=kind, seconds=seconds, bytes=peak)


if __name__ == "__main__":
    main()
