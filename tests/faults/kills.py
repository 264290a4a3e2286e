"""Real kills: a process to be killed, what is changed between kills, and a look at what they leave."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from PIL import Image

from congener import Gallery
from congener.store import Store
from tests.conftest import MeanColour
from tests.faults.trial import Colour, Contents, check_answer, check_sound, paint
from tests.faults.workload import contents

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
"""Where a process that is started here finds the tests."""

OWN = "CONGENER_TEST_CRASH"
"""In the environment of all processes that are started here."""


class Victim:
    """Jobs on a gallery that are killed: see `faults.victim`."""

    def __init__(self, folder: Path) -> None:
        self.acknowledged = folder / "acknowledged"
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": PATH, OWN: str(os.getpid())}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim"], env=environment, stdin=pipe, stdout=pipe, text=True
        )

    def run(
        self,
        job: str,
        store: Path,
        pictures: Path,
        kill_after: float | None = None,
        exclude: Sequence[str] | None = None,
    ) -> bool:
        """Do a job; kill it after so many seconds; return whether that came in time.

        exclude: what "index" leaves out from then on.
        """
        asked = [str(store), str(pictures), str(self.acknowledged), job, exclude]
        process = int(self._ask(json.dumps(asked)))
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process, signal.SIGKILL)
        status = int(self._ask("end"))
        assert status in (0, -signal.SIGKILL), f"{job}: {status}"
        return status != 0

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def last_told(self) -> Contents | None:
        lines = self.acknowledged.read_text().split("\n")[:-1]
        return json.loads(lines[-1]) if lines else None

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


def alter(pictures: Path, colours: dict[str, Colour], rng: random.Random) -> None:
    """Add, change, rename or remove a few pictures."""
    paths = sorted(path for path in pictures.rglob("*.png"))
    for _ in range(rng.randint(1, 4)):
        colour = rng.randrange(256), rng.randrange(256), rng.randrange(256)
        kind = rng.choice(["add", "change", "rename", "remove"] if len(paths) > 20 else ["add"])
        new = pictures / rng.choice(["warm", "cold", "."]) / f"{rng.randrange(10**6):06}.png"
        if kind == "rename" or (kind == "remove" and len(paths) > 40):
            path = paths.pop(rng.randrange(len(paths)))
            if kind == "remove":
                path.unlink()
            else:
                path.rename(new)
            continue
        paint({str((rng.choice(paths) if kind == "change" else new).relative_to(pictures)): colour}, pictures)
    for path in pictures.rglob("*.png"):
        colours[sha256(path.read_bytes()).hexdigest().upper()] = colour_of(path)


def colour_of(path: Path) -> Colour:
    """Return the colour of a picture of one colour."""
    with Image.open(path) as image:
        first = image.convert("RGB").getpixel((0, 0))
    assert isinstance(first, tuple)
    return first[0], first[1], first[2]


def look_at_killed(store: Path, pictures: Path, colours: dict[str, Colour], told: Contents | None) -> None:
    """Check a gallery whose writer was killed. told: what was committed last, for sure."""
    if not Store.exists(store):
        assert told is None
        return
    with Gallery(pictures, store=store, encoder=MeanColour()) as gallery:
        held = contents(gallery._open_store().connection)
        by_path = {path: colours[content] for path, (content, _) in held["images"].items()}
        check_answer(gallery, (200, 90, 30), by_path)
    check_sound(store)
    if told is not None and held != told:  # the commit after it
        assert json.loads(held["meta"]["matrix"]) >= json.loads(told["meta"]["matrix"])
        of, before = (json.loads(each["meta"]["generation"]) or {"number": 0} for each in (held, told))
        assert of["number"] >= before["number"]


def left_over(own: str) -> list[int]:
    """Return the processes that were started here and live on."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{OWN}={own}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
