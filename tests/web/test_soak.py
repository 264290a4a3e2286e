"""A server that is used from all sides at once for long takes no more memory than at first."""

import base64
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.web.test_bodies import head

SECONDS = float(os.environ.get("CONGENER_SOAK_SECONDS", "600"))
SIDES = 8
IMAGES = 24

_SERVER = """
import sys
from pathlib import Path
from congener.gallery import Gallery
from congener.web.app import create_app
from congener.web.memory import give_back
from tests.web.conftest import listening

give_back()
with Gallery(sys.argv[1]) as gallery:
    gallery.update()
    with listening(create_app(gallery, update=False)) as port:
        print(port, flush=True)
        sys.stdin.read()
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, and glibc"),
]


def draw(folder: Path) -> list[bytes]:
    """Write small and large pictures; return the large ones' files."""
    folder.mkdir()
    files = []
    for number in range(IMAGES):
        side = 1200 + 90 * number if number < 12 else 64
        Image.effect_noise((side, side), 60).convert("RGB").save(folder / f"{number:02}.jpg", quality=90)
        files.append((folder / f"{number:02}.jpg").read_bytes())
    return files[:12]


def request(rng: random.Random, files: list[bytes]) -> tuple[str, str, bytes | None, str]:
    """Return one of all that may be asked: method, address, body and its kind."""
    id = rng.randrange(1, IMAGES + 1)
    picture = rng.choice(files) + rng.randbytes(4)  # each another
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture + b"\r\n--x--\r\n"
    questions: list[dict[str, Any]] = [
        {"id": id, "k": 24},
        {"id": id, "box": [1, 2, 20 + rng.randrange(40), 60]},
        {"image": base64.b64encode(picture).decode()},
    ]
    asked: list[tuple[str, str, bytes | None, str]] = [
        ("GET", f"/api/images/{id}/thumbnail?size={rng.choice([320, 1280])}", None, ""),
        *(("GET", path, None, "") for path in ("/", f"/search?id={id}", f"/images/{id}", "/metrics")),
        ("GET", f"/api/images/{id}/file", None, ""),
        *(("POST", "/api/search", json.dumps(each).encode(), "application/json") for each in questions),
        *(("POST", path, form, "multipart/form-data; boundary=x") for path in ("/api/search", "/api/uploads")),
        ("POST", "/api/explain", json.dumps({"id": id, "hit": 1 + id % IMAGES}).encode(), "application/json"),
        ("POST", "/api/duplicates", None, ""),
    ]
    return rng.choice(asked)


def use(port: int, seed: int, until: float, files: list[bytes], statuses: list[int]) -> None:
    """Ask for this and that, one after the other."""
    rng = random.Random(seed)
    while time.monotonic() < until:
        method, address, body, kind = request(rng, files)
        wire = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            if body is not None and rng.random() < 0.1:  # it is broken off
                wire.connect()
                wire.send(head(kind, len(body), address) + body[: len(body) // 2])
                continue
            wire.request(method, address, body, {"Content-Type": kind} if body else {})
            answer = wire.getresponse()
            answer.read()
            statuses.append(answer.status)
        except (OSError, HTTPException):
            statuses.append(0)
        finally:
            wire.close()


def test_a_soak(tmp_path: Path) -> None:
    files = draw(tmp_path / "pictures")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _SERVER, str(tmp_path / "pictures")]
    statuses: list[int] = []
    memory: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port, until = int(server.stdout.readline()), time.monotonic() + SECONDS
        sides = [threading.Thread(target=use, args=(port, seed, until, files, statuses)) for seed in range(SIDES)]
        for side in sides:
            side.start()
        while time.monotonic() < until:
            sides[0].join(1.0)
            status = Path(f"/proc/{server.pid}/status").read_text()
            memory.append(int(status.split("VmRSS:")[1].split()[0]) // 1024)
        for side in sides:
            side.join()
        server.stdin.close()
        assert server.wait(30) == 0

    fifth = max(len(memory) // 5, 1)
    first, last = statistics.median(memory[fifth : 2 * fifth]), statistics.median(memory[-fifth:])
    told = f"{first:.0f} MB in the second fifth, {last:.0f} in the last, {max(memory)} at most"
    print(f"{len(statuses)} requests; {told}")  # noqa: T201
    assert set(statuses) <= {200, 201, 202, 503}
    assert statuses.count(503) < len(statuses) / 4
    assert last - first < 40
    assert max(memory) < 280
