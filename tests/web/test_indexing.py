"""The gallery is indexed while the app answers, and whoever looks on sees how far it is."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from congener import disk
from congener.gallery import Gallery
from congener.web import indexing as module
from congener.web.app import create_app
from congener.web.indexing import Indexing
from tests.conftest import MeanColour
from tests.web.conftest import asking, get, indexed, listening, paint, png, wait_until


class Gated(MeanColour):
    """Its network waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def encode(self, pixels: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(30)
        return super().encode(pixels)


@contextmanager
def events(port: int) -> Iterator[Iterator[dict[str, Any]]]:
    """Connect to a server's events; yield them as they come."""
    with socket.create_connection(("127.0.0.1", port), 20) as wire:
        wire.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        file = wire.makefile("rb")
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
        headers = {}
        while (line := file.readline()) != b"\r\n":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value.strip()
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] in ("no-cache", "no-store")

        def read() -> Iterator[dict[str, Any]]:
            name = None
            for line in file:
                text = line.decode().strip()
                if text.startswith("event:"):
                    name = text.partition(":")[2].strip()
                if text.startswith("data:"):
                    assert name == "progress"
                    told = json.loads(text.partition(":")[2])
                    assert told.keys() == {"state", "done", "total", "images", "message"}
                    yield told

        with file:
            yield read()


def until(told: Iterator[dict[str, Any]], state: str) -> dict[str, Any]:
    """Return the first event of a state."""
    return next(each for each in told if each["state"] == state)


def test_progress_is_told_at_once_and_as_it_changes(colours: Path) -> None:
    encoder = Gated()
    with Gallery(colours, encoder=encoder) as gallery, listening(create_app(gallery)) as port:
        with events(port) as told:
            assert encoder.begun.wait(20)
            first = next(told)
            assert first["state"] == "indexing"
            assert first["images"] == 0
            assert get(port, "/")[0] == 200  # the page works meanwhile
            assert json.loads(get(port, "/api/gallery")[2])["indexing"]["state"] == "indexing"
            encoder.go_on.set()
            last = until(told, "idle")
            assert (last["images"], last["message"]) == (5, "")
        with events(port) as told:
            assert next(told) == {"state": "idle", "done": 0, "total": 0, "images": 5, "message": ""}
        status, _, content = get(port, "/api/images")
        assert (status, json.loads(content)["total"]) == (200, 5)


def test_what_is_searched_grows_while_it_is_indexed(colours: Path) -> None:
    indexed(colours).close()
    (colours / "warm/pink.png").write_bytes(png((255, 100, 150)))
    encoder = Gated()
    with Gallery(colours, encoder=encoder) as gallery, listening(create_app(gallery)) as port, events(port) as told:
        assert encoder.begun.wait(20)
        assert until(told, "indexing")["images"] == 5
        assert json.loads(get(port, "/api/images")[2])["total"] == 5
        encoder.go_on.set()
        assert until(told, "idle")["images"] == 6


def test_what_cannot_be_read_is_said(colours: Path) -> None:
    (colours / "broken.png").write_bytes(b"no picture")
    with Gallery(colours, encoder=MeanColour()) as gallery, asking(gallery, update=True) as client:
        wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "idle")

        assert "1 of 6 files" in client.get("/api/gallery").json()["indexing"]["message"]


def test_images_that_are_gone_are_said(colours: Path) -> None:
    with indexed(colours) as gallery:
        shutil.rmtree(colours / "warm")
        shutil.rmtree(colours / "cold")
        with asking(gallery, update=True) as client:
            wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "idle")

            told = client.get("/api/gallery").json()
            assert "--prune" in told["indexing"]["message"]
            assert told["images"] == 5


def test_it_waits_while_another_process_indexes(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.1)
    with indexed(colours) as gallery:
        (colours / "pink.png").write_bytes(png((255, 100, 150)))
        with disk.locked(colours / ".congener"), asking(gallery, update=True) as client:
            wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "busy")
            assert "another process" in client.get("/api/gallery").json()["indexing"]["message"]
            assert len(client.post("/api/search", json={"id": 1}).json()["hits"]) == 4  # what there is
            assert client.get("/").status_code == 200
        with asking(gallery, update=True) as client:
            wait_until(lambda: client.get("/api/gallery").json()["images"] == 6)


def test_busy_becomes_idle_when_the_other_process_ends(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.1)
    script = (
        "import sys; from pathlib import Path; from congener import disk\n"
        "with disk.locked(Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    )
    with indexed(colours) as gallery:
        other = subprocess.Popen(
            [sys.executable, "-c", script, colours / ".congener"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with other, asking(gallery, update=True) as client:
            assert other.stdout is not None
            assert other.stdin is not None
            assert other.stdout.readline() == b"locked\n"
            client.post("/api/update")
            wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "busy")
            other.stdin.close()
            wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "idle")


def test_a_folder_that_vanishes_is_said(colours: Path, tmp_path: Path) -> None:
    gallery = Gallery(colours, store=tmp_path / "store", encoder=MeanColour())
    gallery.update()
    with gallery, asking(gallery) as client:
        shutil.rmtree(colours)
        client.post("/api/update")
        wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] in ("failed", "idle"))

        told = client.get("/api/gallery").json()
        assert str(colours) in told["indexing"]["message"] or "gone" in told["indexing"]["message"]
        assert "\n" not in told["indexing"]["message"]
        assert told["images"] == 5
        assert client.get("/").status_code == 200
        paint(colours)
        client.post("/api/update")
        wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "idle")
        assert client.get("/api/gallery").json()["indexing"]["message"] == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_ours_is_said_too(colours: Path) -> None:
    class Broken(MeanColour):
        def encode(self, pixels: Any) -> Any:
            raise ZeroDivisionError("a fault")

    with Gallery(colours, encoder=Broken()) as gallery, asking(gallery, update=True) as client:
        wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "failed")

        assert client.get("/api/gallery").json()["indexing"]["message"]
        assert client.get("/").status_code == 200


def test_one_update_runs_at_a_time(colours: Path) -> None:
    opened: list[int] = []
    encoder = Gated()

    def opening() -> Gallery:
        opened.append(1)
        return Gallery(colours, encoder=encoder)

    indexing = Indexing(opening)
    assert indexing.start()
    assert not indexing.start()
    encoder.go_on.set()
    wait_until(lambda: indexing.progress.state == "idle")
    assert indexing.progress.images == 5
    assert len(opened) == 1
    wait_until(indexing.start)
    indexing.end()
    assert not indexing.start()


def test_an_end_comes_soon_and_what_is_committed_stays(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03}.png").write_bytes(png((number, 0, 0)))
    encoder = Gated()
    indexing = Indexing(lambda: Gallery(folder, encoder=encoder))
    indexing.start()
    assert encoder.begun.wait(20)
    threading.Timer(0.3, encoder.go_on.set).start()

    indexing.end()

    with Gallery(folder, encoder=MeanColour()) as gallery:
        gallery.update()
        assert len(gallery) == 200


def test_more_listeners_than_are_served_are_told_to_come_again(colours: Path) -> None:
    with indexed(colours) as gallery:
        app = create_app(gallery, update=False)
        app.state.most_listeners = 2
        with listening(app) as port:
            with events(port) as one, events(port) as two:
                next(one), next(two)
                status, headers, _ = get(port, "/events")
                assert status == 503
                assert headers["retry-after"]
                assert get(port, "/api/images")[0] == 200
            wait_until(lambda: app.state.listeners == 0)  # who hangs up is forgotten
            with events(port) as three:
                next(three)


def test_an_end_of_the_server_ends_the_events(colours: Path) -> None:
    with indexed(colours) as gallery, listening(create_app(gallery, update=False)) as port:
        wire = socket.create_connection(("127.0.0.1", port), 20)
        wire.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.recv(100)
    with wire:
        while wire.recv(65536):
            pass


def test_a_gallery_in_a_folder_that_cannot_be_written(colours: Path) -> None:
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere")
    indexed(colours).close()
    store = colours / ".congener"
    store.chmod(0o500)
    try:
        with Gallery(colours, encoder=MeanColour()) as gallery, asking(gallery) as client:
            assert len(client.post("/api/search", json={"id": 1}).json()["hits"]) == 4
            assert client.get("/api/images/1/thumbnail").status_code == 200
    finally:
        store.chmod(0o700)


def test_where_nothing_changes_nothing_more_is_told(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.web.api._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("congener.web.api._ALIVE_SECONDS", 0.2)
    with (
        indexed(colours) as gallery,
        listening(create_app(gallery, update=False)) as port,
        socket.create_connection(("127.0.0.1", port), 20) as wire,
    ):
        wire.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = b""
        while b": alive" not in told:
            told += wire.recv(4096)
    assert told.count(b"event: progress") == 1
