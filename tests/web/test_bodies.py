"""What is sent at once takes bounded memory, whatever it is and however it ends."""

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi import FastAPI

from congener.gallery import Gallery
from congener.web.app import create_app
from congener.web.bodies import JSON_WEIGHT, WEIGHT, Budget
from congener.web.facts import Limits
from tests.web.conftest import exchange, get, indexed, listening, paint, png, wait_until

MIB = 2**20
AT_ONCE = 40
ALLOWED = 64 * MIB
"""Of memory for bodies, in the tests that count it."""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with indexed(paint(tmp_path_factory.mktemp("bodies") / "colours")) as gallery:
        yield gallery


@pytest.fixture
def app(gallery: Gallery) -> FastAPI:
    return create_app(gallery, update=False, limits=Limits(upload_bytes=MIB, body_memory=8 * MIB))


def head(kind: str, length: int, path: str = "/api/search") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


def send_part(port: int, kind: str, count: int) -> socket.socket:
    """Return a connection over which a part of a body was sent."""
    wire = socket.create_connection(("127.0.0.1", port), 20)
    wire.sendall(head(kind, MIB) + (FORM if "form" in kind else b"").ljust(count))
    return wire


def test_a_budget_is_shared() -> None:
    budget = Budget(100)

    assert budget.take(60, 0)
    assert not budget.take(60, 0)
    assert budget.take(40, 0)
    assert not budget.take(1, 60)  # another has some
    budget.taken -= 40
    assert budget.take(1000, 60)  # alone, it may go on: nobody's end would make room for it
    assert budget.taken == 1060


@pytest.mark.parametrize(("kind", "weight"), [("application/json", JSON_WEIGHT), ("multipart/form-data", WEIGHT)])
def test_who_comes_when_there_is_no_room_is_told_to_come_again(app: FastAPI, kind: str, weight: int) -> None:
    kind = f"{kind}; boundary=x"
    each, budget = MIB // 2, app.state.budget
    with listening(app) as port, ExitStack() as stack:
        before = []
        for number in range(1, 8 * MIB // weight // each + 1):
            before.append(stack.enter_context(send_part(port, kind, each)))
            wait_until(lambda number=number: budget.taken == number * each * weight)
        answer = exchange(port, head(kind, each) + (FORM if "form" in kind else b"").ljust(each))

        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer.lower()
        assert b"too much is being sent at once" in answer
        assert get(port, "/api/images/1/thumbnail")[0] == get(port, "/")[0] == 200
        for wire in before:
            wire.close()
        wait_until(lambda: budget.taken == 0)
        question = json.dumps({"id": 1}).encode()
        assert exchange(port, head("application/json", len(question)) + question).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: budget.taken == 0)


def test_nothing_is_kept_back_whatever_becomes_of_a_request(app: FastAPI) -> None:
    picture = json.dumps({"image": base64.b64encode(png("red")).decode()}).encode()
    ends = [
        head("application/json", MIB) + b" " * 5000,  # and no more
        head("application/json", 3) + b"{x}",
        head("application/json", len(picture)) + picture,
        head("application/json", 2 * MIB) + b" " * 2 * MIB,
        head("text/plain", 5000) + b" " * 5000,
        head("multipart/form-data; boundary=x", 5000) + b" " * 5000,
        head("multipart/form-data", 5000) + b" " * 5000,
        head("multipart/form-data; boundary=x", MIB, "/api/uploads") + b"--x\r\nContent-Disposition: form-d",
        head("application/json", 5000, "/nothing") + b" " * 5000,
        head("application/json", MIB, "/api/update") + b" " * 5000,
    ]
    with listening(app) as port:
        for number in range(60):
            wire = socket.create_connection(("127.0.0.1", port), 20)
            wire.sendall(ends[number % len(ends)])
            if number % 2:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.close()
        wait_until(lambda: app.state.budget.taken == 0 and get(port, "/healthz")[0] == 200)
        answer = exchange(port, ends[2])
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert app.state.budget.taken == 0


def large(what: str) -> tuple[str, bytes]:
    """Return a body of 4 MiB less a little, and its kind."""
    length = 4 * MIB - 1000
    if what == "form":
        return "multipart/form-data; boundary=x", FORM + b"a" * length + b"\r\n--x--\r\n"
    texts = {
        "image": '{"image": "' + "A" * (length // 4 * 4) + '"}',
        "data": '{"image": "data:image/png;base64,' + "A" * (length // 4 * 4) + '"}',
        "values": '{"id": 1, "positive": [' + "[]," * (length // 3) + "1]}",
        "objects": '{"id": 1, "positive": [' + '{"":0},' * (length // 7) + "1]}",
        "text": '{"id": 1, "label": "' + "\\ud83d\\ude00" * (length // 12) + '"}',
    }
    return "application/json", texts[what].encode()


_SERVER = """
import sys
from pathlib import Path
from congener.web.app import create_app
from congener.web.facts import Limits
from congener.web.memory import give_back
from tests.web.conftest import indexed, listening

give_back()

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

limits = Limits(upload_bytes=4 * 2**20, body_memory=int(sys.argv[2]))
with indexed(Path(sys.argv[1])) as gallery, listening(create_app(gallery, update=False, limits=limits)) as port:
    print(port, peak(), flush=True)
    for line in sys.stdin:
        print(peak(), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_forty_large_bodies_at_once_take_bounded_memory(gallery: Gallery) -> None:
    statuses: list[bytes] = []
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _SERVER, str(gallery.folder), str(ALLOWED)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port, before = map(int, server.stdout.readline().split())
        for what in ("image", "data", "values", "objects", "text", "form"):
            kind, body = large(what)

            def ask(sent: bytes = head(kind, len(body)) + body) -> None:
                statuses.append(exchange(port, sent, 60)[9:12])

            threads = [threading.Thread(target=ask) for _ in range(AT_ONCE)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        print("peak", file=server.stdin, flush=True)
        after = int(server.stdout.readline())
        server.stdin.close()

    assert len(statuses) == 6 * AT_ONCE
    assert set(statuses) <= {b"422", b"503"}
    assert statuses.count(b"422") >= 6  # some of each are looked at
    assert after - before < ALLOWED + 64 * MIB  # forty times the body, as it came, are 160 MiB
