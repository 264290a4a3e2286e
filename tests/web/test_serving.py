"""The command serve: what it prints, what it refuses, how it ends."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from PIL import Image

from congener.cli import cli, serving
from congener.errors import CongenerError
from congener.gallery import Gallery
from tests.test_faults import congener, rights
from tests.web.conftest import exchange, get, listening, paint, wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the real network has indexed."""
    folder = paint(tmp_path_factory.mktemp("served") / "colours")
    with Gallery(folder) as gallery:
        gallery.update()
    return folder


@contextmanager
def serving_at(*args: str | Path) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Run the command in a process group of its own; yield it, what it printed first, and its port."""
    command = [sys.executable, "-m", "congener", "serve", *map(str, args)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            said += line
        found = re.search(r":(\d+)/", said)
        assert found
        yield process, said, int(found[1])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def nothing_is_left_of(process: subprocess.Popen[str]) -> bool:
    """Tell whether no process of its group lives on."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def refused(*args: str | Path) -> str:
    """Return the one line with which a command is refused."""
    with pytest.raises(CongenerError) as caught:
        CliRunner().invoke(cli, ["serve", *map(str, args)], catch_exceptions=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and groups are others there")


@posix
def test_the_printed_address_answers_and_ctrl_c_ends_it(folder: Path) -> None:
    with serving_at(folder, "--port", "0") as (process, said, port):
        assert f"http://127.0.0.1:{port}/" in said
        assert "token" not in said.lower()
        assert get(port, "/")[0] == 200
        status, headers, content = get(port, "/api/images")
        assert (status, json.loads(content)["total"]) == (200, 5)
        assert "server" not in headers
        assert get(port, "/api/images/1/thumbnail")[0] == 200
        assert get(port, "/", Host="evil.example")[0] == 400
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)

    assert process.returncode == 0
    assert errors == "congener: ended\n"
    wait_until(lambda: nothing_is_left_of(process))


@posix
def test_other_ends(folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with serving_at(folder, "--port", "0", "--no-update") as (process, _, port):
            wire = socket.create_connection(("127.0.0.1", port), 20)
            wire.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")  # someone looks on
            assert wire.recv(10)
            process.send_signal(number)
            process.wait(120)
            wire.close()
        assert process.returncode in (0, -number, 128 + number)
        wait_until(lambda made=process: nothing_is_left_of(made))


@posix
def test_ctrl_c_while_it_indexes_ends_it_soon_and_the_gallery_is_sound(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    file = io.BytesIO()
    Image.radial_gradient("L").resize((2400, 1800)).convert("RGB").save(file, "JPEG", quality=90)
    for number in range(400):
        (folder / f"{number:03}.jpg").write_bytes(file.getvalue() + b"%d" % number)  # each another file
    with serving_at(folder, "--port", "0") as (process, _, port):
        wait_until(lambda: json.loads(get(port, "/api/gallery")[2])["indexing"]["done"] > 4, 60)
        assert get(port, "/")[0] == 200
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)

    assert process.returncode == 0
    wait_until(lambda: nothing_is_left_of(process))
    with Gallery(folder) as gallery:
        assert 0 <= len(gallery) < 400
        if len(gallery):
            assert list(gallery.search(folder / "000.jpg", 3, include_self=True))


HEADS = {
    "a form": b"POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 5000000\r\n\r\n--x\r\nContent-Disposition: form-data; name=image; filename=a.png\r\n\r\n",
    "a question": b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 5000000\r\n\r\n",
    "in parts": b"POST /api/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1388\r\n",
    "what nobody reads": b"POST /api/update HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n",
    "what is refused": b"POST /nothing HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5000000\r\n\r\n",
    "a stream": b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a file": b"GET /api/images/1/file HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half a head": b"GET / HTTP/1.1\r\nHost: loc",
}


def begun(port: int, head: bytes) -> socket.socket:
    """Return a connection over which a part of a request was sent."""
    wire = socket.create_connection(("127.0.0.1", port), 20)
    wire.sendall(head + b" " * 4000 if head.startswith(b"POST") else head)
    return wire


@posix
def test_what_clients_break_off_is_no_news(folder: Path) -> None:
    with serving_at(folder, "--port", "0", "--no-update") as (process, _, port):
        for number in range(120):
            wire = begun(port, list(HEADS.values())[number % len(HEADS)])
            if number % 3 == 0:
                get(port, "/healthz")  # the server has seen it
            if number % 2:  # with a reset rather than an end
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.close()
        assert get(port, "/healthz")[0] == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)

    assert errors == "congener: ended\n"


@posix
def test_ctrl_c_twice_while_pictures_are_sent_ends_it_as_once_does(folder: Path) -> None:
    content = b"--x\r\nContent-Disposition: form-data; name=image; filename=a.png\r\n\r\n%s\r\n--x--\r\n"
    content %= (folder / "green.png").read_bytes() + bytes(2**21)
    ended = threading.Event()

    def ask(port: int) -> None:
        while not ended.is_set():
            with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port, timeout=20)) as wire:
                wire.request("POST", "/api/search", content, {"Content-Type": "multipart/form-data; boundary=x"})
                wire.getresponse().read()

    with serving_at(folder, "--port", "0", "--no-update") as (process, _, port), ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(ask, port)
        try:
            for _ in range(5):
                assert get(port, "/healthz")[0] == 200
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            ended.set()

    assert process.returncode == 0
    assert errors == "congener: ended\n"


def test_a_request_that_the_end_cuts_off_goes_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Though its client waits on, and the app doesn't begin to answer."""
    begun, seen = threading.Event(), []
    app = FastAPI()
    app.state.ending = asyncio.Event()

    @app.get("/")
    async def never() -> None:
        begun.set()
        while True:  # about to go on, whenever it is cancelled
            await asyncio.sleep(0)

    with listening(app, log_level="warning") as port:
        wire = socket.create_connection(("127.0.0.1", port), 20)
        wire.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert begun.wait(20)
    seen.append(wire.recv(100))
    wire.close()

    assert seen == [b""]
    assert capsys.readouterr().err == ""


def test_a_client_that_offers_another_protocol_is_answered_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    app = FastAPI()
    app.state.ending = asyncio.Event()
    with listening(app, log_level="warning") as port:
        for offer in ("h2c", "websocket"):
            asked = f"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: {offer}\r\n\r\n"
            assert exchange(port, asked.encode()).startswith(b"HTTP/1.1 404")

    assert capsys.readouterr().err == ""


@posix
def test_a_form_that_is_none_is_told_to_its_sender_alone(folder: Path) -> None:
    with serving_at(folder, "--port", "0", "--no-update") as (process, _, port):
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as wire:
            wire.request("POST", "/api/search", b"\xff" * 99, {"Content-Type": "multipart/form-data; boundary=x"})
            assert wire.getresponse().status == 400
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[1] == "congener: ended\n"


@posix
def test_ctrl_c_waits_for_no_upload(folder: Path) -> None:
    seconds = min(seconds_to_end(folder) for _ in range(2))  # the machine may be busy

    assert seconds < 2


def seconds_to_end(folder: Path) -> float:
    """Return how long a server takes to end, quietly, while requests are on their way to it."""
    with serving_at(folder, "--port", "0", "--no-update") as (process, _, port):
        wires = [begun(port, head) for head in HEADS.values() for _ in range(3)]
        assert get(port, "/api/images")[0] == 200
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        seconds = time.monotonic() - started
        for wire in wires:
            wire.close()
    assert process.returncode == 0
    assert errors == "congener: ended\n"
    wait_until(lambda: nothing_is_left_of(process))
    return seconds


@posix
def test_a_host_for_others_asks_for_a_token(folder: Path) -> None:
    with serving_at(folder, "--host", "0.0.0.0", "--port", "0", "--no-update") as (_, said, port):
        found = re.search(r"http://127\.0\.0\.1:(\d+)(/login\?token=([\w-]{20,}))", said)
        assert found
        token = found[3]
        assert f"Authorization: Bearer {token}" in said
        assert get(port, "/api/images")[0] == 401
        assert get(port, "/")[0] == 401
        assert get(port, "/healthz")[0] == 200
        assert get(port, "/api/images", Authorization=f"Bearer {token}")[0] == 200
        status, headers, _ = get(port, found[2])
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"].split(";")[0]
        assert get(port, "/", Cookie=cookie)[0] == 200
        assert get(port, "/", Cookie=cookie, Host=f"{socket.gethostname()}:{port}")[0] == 200
        assert get(port, "/", Cookie=cookie, Host="evil.example")[0] == 400


@posix
def test_a_token_of_ones_own_and_a_name(folder: Path) -> None:
    args = ("--port", "0", "--no-update", "--token", "my-own-token", "--allow-host", "pictures.example")
    with serving_at(folder, *args) as (_, said, port):
        assert "/login?token=my-own-token" in said
        assert get(port, "/api/images")[0] == 401
        headers = {"Authorization": "Bearer my-own-token", "Host": "pictures.example"}
        assert get(port, "/api/images", **headers)[0] == 200


@posix
def test_a_gallery_that_is_new_is_shown_at_once(tmp_path: Path) -> None:
    folder = paint(tmp_path / "colours")
    with serving_at(folder, "--port", "0", "--gallery", tmp_path / "store") as (_, _, port):
        assert get(port, "/")[0] == 200
        wait_until(lambda: json.loads(get(port, "/api/gallery")[2])["images"] == 5, 60)
        wire = HTTPConnection("127.0.0.1", port, timeout=20)
        wire.request("POST", "/api/search", json.dumps({"id": 1}), {"Content-Type": "application/json"})
        assert len(json.loads(wire.getresponse().read())["hits"]) == 4
        wire.close()
    assert not (folder / ".congener").exists()
    assert (tmp_path / "store").is_dir()


@rights
def test_a_folder_that_may_not_be_written_and_has_no_gallery_is_said_at_once(tmp_path: Path) -> None:
    folder = paint(tmp_path / "colours")
    folder.chmod(0o500)
    try:
        code, printed, noted = congener("serve", folder, "--port", "0", within=60)
    finally:
        folder.chmod(0o700)

    assert (code, printed) == (2, "")
    assert noted.count("\n") == 1
    assert str(folder) in noted
    assert "--gallery PATH" in noted


def test_a_folder_without_a_gallery_has_nothing_to_show_without_an_update(tmp_path: Path) -> None:
    folder = paint(tmp_path / "colours")
    line = refused(folder, "--port", "0", "--no-update")

    assert "not indexed yet" in line
    assert f"congener index {folder}" in line
    assert not (folder / ".congener").exists()


@posix
def test_below_a_path(folder: Path) -> None:
    args = ("--port", "0", "--no-update", "--root-path", "/photos/", "--trust-proxy", "127.0.0.1,::1", "--token")
    with serving_at(folder, *args, "my-own-token") as (_, said, port):
        assert f"http://127.0.0.1:{port}/photos/login?token=my-own-token" in said
        status, headers, _ = get(port, "/photos/login?token=my-own-token", **{"X-Forwarded-Proto": "https"})
        assert (status, headers["location"]) == (303, "/photos/")
        assert "Secure" in headers["set-cookie"]


@pytest.mark.parametrize(
    ("option", "value"), [("--root-path", "photos"), ("--trust-proxy", "localhost"), ("--trust-proxy", "1.2.3.4/x")]
)
def test_what_no_proxy_can_be_is_said(folder: Path, option: str, value: str) -> None:
    line = refused(folder, "--port", "0", option, value)

    assert option in line
    assert value in line


def test_a_port_in_use_is_said(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        line = refused(folder, "--port", port)

    assert port in line
    assert "--port 0" in line


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "1.2.3.4.5", "http://localhost", "a b", "", "é" * 70, "x" * 300]
)
def test_a_host_that_is_none_is_said(folder: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(name: str, *_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    if host != "é" * 70:
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)  # no test asks a name server
    assert "--host" in refused(folder, "--host", host)


def test_an_address_of_another_machine_is_said(folder: Path) -> None:
    assert "192.0.2.1" in refused(folder, "--host", "192.0.2.1", "--port", "0")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "8 characters"),
        ("short", "8 characters"),
        ("with a blank", "ASCII"),
        ("ümläüte-ü", "ASCII"),
        ("newline\nnewline", "ASCII"),
    ],
)
def test_weak_tokens_are_refused(folder: Path, token: str, said: str) -> None:
    line = refused(folder, "--token", token)

    assert "--token" in line
    assert said in line


def test_what_needs_signs_in_an_address_is_quoted(folder: Path) -> None:
    assert serving._login("http://localhost:1", "a+b&c=d#e%f") == "http://localhost:1/login?token=a%2Bb%26c%3Dd%23e%25f"


def test_no_folder_and_no_gallery(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nothing", "--port", "0")


@pytest.mark.parametrize("missing", ["uvicorn", "fastapi", "jinja2", "prometheus_client", "multipart", "httptools"])
def test_without_the_extra_it_says_how_to_get_it(folder: Path, missing: str) -> None:
    script = (
        "import sys\n"
        "blocked = sys.argv[1].split(',')\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in blocked:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from congener.cli import main\n"
        "sys.argv[:] = ['congener', 'serve', sys.argv[2], '--port', '0']\n"
        "main()\n"
    )
    names = "multipart,python_multipart" if missing == "multipart" else missing
    told = subprocess.run(
        [sys.executable, "-c", script, names, folder], capture_output=True, text=True, timeout=120, check=False
    )

    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert "pip install 'congener[web]'" in told.stderr


def test_the_command_line_loads_no_web_framework() -> None:
    names = "('fastapi', 'starlette', 'uvicorn', 'jinja2')"
    script = f"import sys; from congener.cli import cli; print([name for name in {names} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert told.stdout.strip() == "[]"
