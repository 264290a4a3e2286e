"""What the tests of the page and the API share: clients in the process, and servers whose wire can be seen."""

import http.client
import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from congener.gallery import Gallery
from congener.web.app import create_app
from congener.web.server import server
from tests.conftest import MeanColour, plain

with warnings.catch_warnings():  # it would like another client than httpx
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

HERE = "http://localhost"


def png(colour: str | tuple[int, int, int], size: tuple[int, int] = (12, 12)) -> bytes:
    """Return a picture of one colour as a file's contents."""
    file = BytesIO()
    plain(colour, size).save(file, "PNG")
    return file.getvalue()


def indexed(folder: Path) -> Gallery:
    """Return a gallery over a folder, indexed by its mean colours."""
    gallery = Gallery(folder, encoder=MeanColour())
    gallery.update()
    return gallery


@contextmanager
def asking(gallery: Gallery, **settings: Any) -> Iterator[TestClient]:
    """Yield a client of the app over a gallery."""
    app = create_app(gallery, **{"update": False} | settings)
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        yield client


@contextmanager
def listening(app: FastAPI, **config: Any) -> Iterator[int]:
    """Serve an app on a port of the loopback; yield the port."""
    made = server(app, **{"log_level": "critical"} | config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            wait_until(lambda: made.started)
            yield listener.getsockname()[1]
        finally:
            made.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def wait_until(true: Any, seconds: float = 60) -> None:
    """Wait until something is true; fail when it isn't in time."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)


def exchange(port: int, sent: bytes, seconds: float = 60) -> bytes:
    """Send bytes to a server, and return all it answers until it closes the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), seconds) as wire:
        wire.sendall(sent)
        while block := wire.recv(65536):
            answer += block
    return answer


def get(port: int, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask a server for a target that is sent as it is; return status, headers, content."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def problem(response: Any, status: int) -> str:
    """Check that a response is a problem of this status; return the line that says what is wrong."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = json.loads(response.text)
    assert told.keys() == {"type", "title", "status", "detail"}
    assert told["status"] == status
    assert told["detail"]
    assert "\n" not in told["detail"]
    assert len(told["detail"]) < 1000
    detail: str = told["detail"]
    return detail


@pytest.fixture
def client(colours: Path) -> Iterator[TestClient]:
    """A client of the app over five pictures of one colour each.

    Ids: 1 cold/blue, 2 cold/cyan, 3 green, 4 warm/orange, 5 warm/red.
    """
    with indexed(colours) as gallery, asking(gallery) as client:
        yield client


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same for tests that change nothing: its processes start once."""
    folder = tmp_path_factory.mktemp("shared") / "colours"
    paint(folder)
    with indexed(folder) as gallery, asking(gallery) as client:
        yield client


def paint(folder: Path) -> Path:
    """Write the pictures of the fixture `colours`."""
    of: dict[str, str | tuple[int, int, int]] = {
        "warm/red": "red",
        "warm/orange": (255, 128, 0),
        "cold/blue": "blue",
        "cold/cyan": "cyan",
        "green": "lime",
    }
    for name, colour in of.items():
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(colour))
    return folder
