"""The configuration of nginx in docs/proxy.md, as it stands there, in front of the command that stands there."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest

from congener.gallery import Gallery
from congener.web.app import create_app
from tests.conftest import MeanColour
from tests.web.conftest import listening, paint, png, wait_until
from tests.web.test_proxy import Addresses

DOCS = (Path(__file__).parents[2] / "docs/proxy.md").read_text("utf-8")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
TOKEN = "a-token-of-the-tests"
SETTINGS = """
daemon off;
pid {place}/pid;
error_log {place}/error.log;
events {{}}
http {{
    access_log {place}/access.log;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{port}{tls};
        {block}
    }}
}}
"""

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx-light"),
    pytest.mark.skipif(sys.platform == "win32", reason="nginx is another there"),
]


def option(name: str) -> str:
    """Return what the command of the docs gives an option."""
    found = re.search(rf"congener serve .*--{name} (\S+)", DOCS)
    assert found
    return found[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def behind_nginx(place: Path, ours: int, tls: str = "") -> Iterator[int]:
    """Run nginx with the block of the docs in front of a port; yield its own."""
    found = re.search(r"```nginx\n(.*?)```", DOCS, re.DOTALL)
    assert found
    block, port = found[1].replace("127.0.0.1:8000", f"127.0.0.1:{ours}"), free_port()
    config = place / "nginx.conf"
    config.write_text(SETTINGS.format(place=place, port=port, tls=" ssl" if tls else "", block=tls + block))
    place.chmod(0o755)
    command = [str(NGINX), "-p", str(place), "-c", str(config), "-g", "user root;" if _is_root() else ""]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: process.poll() is None and _listens(port))
            yield port
        finally:
            process.terminate()


def _is_root() -> bool:
    return os.geteuid() == 0


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("nginx") / "colours")


@contextmanager
def serving(folder: Path, token: str | None = TOKEN) -> Iterator[int]:
    """Serve a folder with the options of the docs; yield the port."""
    with Gallery(folder, encoder=MeanColour()) as gallery:
        gallery.update()
        names, proxies = [option("allow-host")], [option("trust-proxy")]
        app = create_app(
            gallery, update=False, token=token, hosts=names, root_path=option("root-path"), proxies=proxies
        )
        with listening(app) as port:
            yield port


def ask(
    wire: HTTPConnection, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[HTTPResponse, bytes]:
    wire.request(method, target, body, {"Host": "pictures.example"} | (headers or {}))
    response = wire.getresponse()
    return response, response.read()


def test_all_of_the_page_comes_through(folder: Path, tmp_path: Path) -> None:
    with serving(folder) as ours, behind_nginx(tmp_path, ours) as port:
        wire = HTTPConnection("127.0.0.1", port, timeout=20)
        assert ask(wire, "GET", "/photos/")[0].status == 401
        response, _ = ask(wire, "GET", f"/photos/login?token={TOKEN}")
        assert (response.status, response.headers["location"]) == (303, "/photos/")
        known = {"Cookie": str(response.headers["set-cookie"]).split(";")[0]}
        for page in ("/photos/", "/photos/search?id=1", "/photos/images/2", "/photos/duplicates"):
            response, content = ask(wire, "GET", page, known)
            assert response.status == 200
            for address in Addresses(content.decode()).found:
                if not address.startswith("#"):
                    assert address.startswith("/photos/")
                    alone = {"/photos/search": 303, "/photos/logout": 404}  # forms, without what they send
                    assert ask(wire, "GET", address, known)[0].status == alone.get(address, 200)
        mine = known | {"Origin": f"http://pictures.example:{port}", "Host": f"pictures.example:{port}"}
        asked = json.dumps({"id": 1}).encode()
        json_kind = {"Content-Type": "application/json"}
        assert ask(wire, "POST", "/photos/api/search", mine | json_kind, asked)[0].status == 200
        other = mine | {"Origin": f"http://pictures.example:{port + 1}"}
        assert ask(wire, "POST", "/photos/api/search", other | json_kind, asked)[0].status == 403
        assert ask(wire, "POST", "/photos/logout", mine, b"")[0].status == 200
        assert ask(wire, "GET", "/photos/", known)[0].status == 401
        wire.close()
        wait_until(lambda: "POST /photos/logout" in (tmp_path / "access.log").read_text())
    assert TOKEN not in "".join(each.read_text() for each in tmp_path.glob("*.log"))


def test_what_is_sent_may_be_as_large_as_without(folder: Path, tmp_path: Path) -> None:
    with serving(folder, None) as ours, behind_nginx(tmp_path, ours) as port:
        wire = HTTPConnection("127.0.0.1", port, timeout=30)
        for size, status, said in ((20 * 2**20, 201, b"upload"), (32 * 2**20, 413, b"over the limit of 32 MiB")):
            start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + png("red")
            body = start.ljust(size) + b"\r\n--x--\r\n"
            kind = {"Content-Type": "multipart/form-data; boundary=x"}
            response, content = ask(wire, "POST", "/photos/api/uploads", kind, body)
            assert (response.status, said in content) == (status, True)
        wire.close()


def test_events_come_at_once(folder: Path, tmp_path: Path) -> None:
    with serving(folder, None) as ours, behind_nginx(tmp_path, ours) as port:
        with socket.create_connection(("127.0.0.1", port), 20) as wire:
            wire.sendall(b"GET /photos/events HTTP/1.1\r\nHost: pictures.example\r\n\r\n")
            started, got = time.monotonic(), b""
            while b"event: progress" not in got:
                got += wire.recv(65536)
                assert time.monotonic() < started + 20
        assert b"text/event-stream" in got


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a certificate")
def test_over_tls_the_cookie_is_secure(folder: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    how = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command = ["openssl", *how, "-subj", "/CN=pictures.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    tls = f"ssl_certificate {certificate};\n        ssl_certificate_key {key};\n        "
    trusting = ssl.create_default_context(cafile=certificate)
    trusting.check_hostname = False
    with serving(folder) as ours, behind_nginx(tmp_path, ours, tls) as port:
        wire = HTTPSConnection("127.0.0.1", port, timeout=20, context=trusting)
        response, _ = ask(wire, "GET", f"/photos/login?token={TOKEN}")
        cookie = str(response.headers["set-cookie"])
        assert "Secure" in cookie
        mine = {"Cookie": cookie.split(";", maxsplit=1)[0], "Origin": "https://pictures.example"}
        assert ask(wire, "POST", "/photos/api/duplicates", mine, b"")[0].status == 202
        mine["Origin"] = "https://evil.example"
        assert ask(wire, "POST", "/photos/api/duplicates", mine, b"")[0].status == 403
        wire.close()
