"""Who may ask: hosts, other sites, tokens; how much may be sent, how slowly; nothing outside the folder is served."""

import hmac
import os
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from congener.gallery import Gallery
from congener.web import access
from congener.web.app import create_app
from congener.web.facts import Limits
from congener.web.server import Impatient
from tests.web.conftest import HERE, asking, exchange, get, indexed, listening, paint, png, problem, wait_until

TOKEN = "a-token-of-the-tests"
HEADERS = {
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "x-frame-options",
    "permissions-policy",
    "cache-control",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("guarded") / "colours")


@pytest.fixture(scope="module")
def gallery(folder: Path) -> Iterator[Gallery]:
    with indexed(folder) as gallery:
        yield gallery


@pytest.fixture(scope="module")
def guarded(gallery: Gallery) -> Iterator[TestClient]:
    """A client of an app that asks for a token."""
    with asking(gallery, token=TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def port(gallery: Gallery) -> Iterator[int]:
    """A server with small limits."""
    limits = Limits(upload_bytes=2**20, upload_seconds=1.0)
    with listening(create_app(gallery, update=False, limits=limits)) as port:
        yield port


# hosts


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "[::1]", "192.168.1.7:80", "box.lan"],
)
def test_known_hosts_are_answered(gallery: Gallery, host: str) -> None:
    with asking(gallery, hosts=["Box.lan"]) as client:
        assert client.get("/api/images", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "localhost:port", "evil@localhost", "localhost/x",
     "[::1", "[localhost]", "", "localhost:8000:8000", "127.0.0.1.evil.example", "0x7f.1", "localhost evil.example"],
)  # fmt: skip
def test_other_hosts_are_refused(shared: TestClient, host: str) -> None:
    assert "congener serve printed" in problem(shared.get("/api/images", headers={"Host": host}), 400)
    page = shared.get("/", headers={"Host": host})
    assert page.status_code == 400
    assert page.headers["content-type"].startswith("text/plain")
    assert shared.get("/static/page.css", headers={"Host": host}).status_code == 400


def test_a_request_without_a_host_or_with_two_is_refused(port: int) -> None:
    for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        answer = exchange(port, b"GET /api/images HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
    assert exchange(port, b"GET /api/images HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:81", "http://[", "http://localhost.evil.example", "x"]
)
def test_another_site_changes_nothing(shared: TestClient, origin: str) -> None:
    for path, sent in (("/api/search", {"id": 1}), ("/api/update", None), ("/api/duplicates", None)):
        assert "another site" in problem(shared.post(path, json=sent, headers={"Origin": origin}), 403)
    refused = shared.post("/api/uploads", files={"image": png("red")}, headers={"Origin": origin})
    problem(refused, 403)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
def test_no_method_that_changes_something_is_another_sites(shared: TestClient, method: str) -> None:
    for path in ("/api/update", "/api/images/1", "/", "/nothing"):
        assert shared.request(method, path, headers={"Origin": "http://evil.example"}).status_code == 403


def test_what_a_browser_says_of_the_site_counts_too(shared: TestClient) -> None:
    for site, status in (("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)):
        asked = {"Origin": HERE, "Sec-Fetch-Site": site}
        assert shared.post("/api/search", json={"id": 1}, headers=asked).status_code == status


def test_the_page_itself_may_ask(shared: TestClient) -> None:
    assert shared.post("/api/search", json={"id": 1}, headers={"Origin": HERE}).status_code == 200
    assert shared.get("/", headers={"Origin": "http://evil.example"}).status_code == 200  # it can't read the answer


def test_no_other_site_may_read(shared: TestClient) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for response in (
        shared.options("/api/search", headers=asked),
        shared.get("/api/images", headers=asked),
        shared.get("/api/images/1/file", headers=asked),
    ):
        assert not [name for name in response.headers if name.startswith("access-control-")]
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


# tokens


@pytest.mark.parametrize("path", ["/", "/search?id=1", "/images/1", "/static/page.css", "/api/images", "/api/gallery",
                                  "/api/images/1/file", "/events", "/metrics", "/openapi.json", "/nothing", "/healthz/",
                                  "//healthz", "/healthz/../api/images", "/login/"])  # fmt: skip
def test_without_the_token_nothing_is_told(guarded: TestClient, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer"},
                    {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer é".encode()},
                    {"Cookie": f"congener={TOKEN}"}, {"Cookie": "=;;=\"'"}):  # fmt: skip
        response = guarded.get(path, headers=headers)
        assert response.status_code == 401, (path, headers)
        assert "blue" not in response.text
    response = guarded.get(f"{path}?token={TOKEN}")
    assert response.status_code == 401  # it isn't taken from an address but for the login


def test_the_refusal_says_what_to_do(guarded: TestClient) -> None:
    response = guarded.post("/api/search", json={"id": 1})

    assert "token" in problem(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in response.text


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_is_let_in(guarded: TestClient, kind: str) -> None:
    assert guarded.get("/api/images", headers={"Authorization": f"{kind} {TOKEN}"}).status_code == 200


def test_whether_it_lives_is_told_without_the_token(guarded: TestClient) -> None:
    response = guarded.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert guarded.get("/healthz", headers={"Host": "evil.example"}).status_code == 400


def test_a_browser_that_is_refused_gets_its_icon_all_the_same(guarded: TestClient) -> None:
    """It asks for one unbidden; a second refusal would stand in its console."""
    response = guarded.get("/favicon.ico")

    assert (response.status_code, response.headers["content-type"]) == (200, "image/svg+xml")
    assert guarded.get("/favicon.ico", headers={"Host": "evil.example"}).status_code == 400


def test_a_login_link_sets_a_cookie(gallery: Gallery) -> None:
    with asking(gallery, token=TOKEN) as client:
        response = client.get(f"/login?token={TOKEN}")

        assert response.status_code == 303
        assert response.headers["location"] == "/"  # the token leaves the address bar
        cookie = response.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert f"Max-Age={30 * 24 * 3600};" in cookie
        assert "samesite=strict" in cookie.lower()
        assert "Path=/" in cookie
        assert TOKEN not in cookie
        assert response.headers["cache-control"] in ("no-cache", "no-store")
        assert client.get("/").status_code == 200  # the client keeps it
        assert client.post("/api/search", json={"id": 1}).status_code == 200
        both = {"Cookie": f'odd={{"a": "b;c"}}; ;; {cookie.split(";")[0]}'}  # as another server may have set
        client.cookies.clear()
        assert client.get("/api/images", headers=both).status_code == 200
        name, _, value = cookie.split(";")[0].partition("=")
        for other in (value[:-1], value[1:], value.partition(".")[0], f".{value.partition('.')[2]}", f"0{value}", "."):
            assert client.get("/api/images", headers={"Cookie": f"{name}={other}"}).status_code == 401


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_login_link_is_only_followed(guarded: TestClient, method: str) -> None:
    response = guarded.request(method, f"/login?token={TOKEN}")

    assert response.status_code == 401
    assert "set-cookie" not in response.headers


def log_in(client: TestClient) -> dict[str, str]:
    """Return the header that sends the cookie of a login."""
    cookie = client.get(f"/login?token={TOKEN}").headers["set-cookie"].split(";")[0]
    client.cookies.clear()
    return {"Cookie": cookie}


def test_logging_out_ends_the_login_and_no_other(gallery: Gallery) -> None:
    with asking(gallery, token=TOKEN) as client:
        mine, other = log_in(client), log_in(client)
        assert mine != other
        page = client.get("/", headers=mine).text
        assert re.search(r'<form action="/logout" method="post"[^>]*><button[^>]*>Log out<', page)
        assert client.get("/logout", headers=mine).status_code == 404  # no link and no picture logs anybody out
        response = client.post("/logout", headers=mine | {"Origin": HERE})

        assert response.status_code == 200
        assert "logged out" in response.text
        dropped = response.headers["set-cookie"]
        assert dropped.startswith(mine["Cookie"].split("=")[0] + '=""')
        assert "Max-Age=0" in dropped
        assert response.headers["cache-control"] == "no-store"
        for path in ("/", "/api/images", "/static/page.css", "/events"):  # a copy of the cookie is of no use
            assert client.get(path, headers=mine).status_code == 401
        assert client.post("/logout", headers=mine).status_code == 401
        assert client.get("/", headers=other).status_code == 200
        assert client.get("/", headers=log_in(client)).status_code == 200


def test_another_site_logs_nobody_out(gallery: Gallery) -> None:
    with asking(gallery, token=TOKEN) as client:
        mine = log_in(client)
        assert client.post("/logout", headers=mine | {"Origin": "http://evil.example"}).status_code == 403
        assert client.get("/", headers=mine).status_code == 200


def test_without_a_token_nobody_logs_out(shared: TestClient) -> None:
    assert "logout" not in shared.get("/").text
    assert shared.post("/logout").status_code == 404


def test_a_cookie_lasts_no_longer_than_the_server(gallery: Gallery) -> None:
    with asking(gallery, token=TOKEN) as client:
        mine = log_in(client)
    with asking(gallery, token=TOKEN) as client:
        assert client.get("/", headers=mine).status_code == 401


def test_the_token_is_in_no_log_and_in_no_referrer(gallery: Gallery, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(gallery, update=False, token=TOKEN)
    caplog.set_level("INFO", "uvicorn.access")

    def requests() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.name == "uvicorn.access"]

    with listening(app, access_log=True, log_config=None, log_level="info") as port:
        status, headers, _ = get(port, f"/login?token={TOKEN}")
        assert (status, headers["referrer-policy"]) == (303, "no-referrer")
        assert get(port, "/search?id=1")[0] == 401
        assert get(port, f"/login?token=x{TOKEN}&token={TOKEN}")[0] == 401
        wait_until(lambda: len(requests()) >= 3)
    said = requests()
    assert [each.split('"')[1].split()[1] for each in said] == ["/login", "/search?id=1", "/login"]
    assert not any(TOKEN in each for each in said)


def test_the_cookie_of_one_gallery_lets_into_no_other(gallery: Gallery) -> None:
    with asking(gallery, token=TOKEN) as one, asking(gallery, token="another-token") as other:
        cookie = one.get(f"/login?token={TOKEN}").headers["set-cookie"].split(";")[0]
        second = other.get("/login?token=another-token").headers["set-cookie"].split(";")[0]

        assert cookie.split("=")[0] != second.split("=")[0]  # a browser keeps both: it tells no ports apart
        other.cookies.clear()
        assert other.get("/", headers={"Cookie": cookie}).status_code == 401


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%FF%00", f"?token=wrong&token={TOKEN}",
                                   f"?tokens={TOKEN}", f"?token={TOKEN}%20"])  # fmt: skip
def test_a_wrong_login_link_lets_nobody_in(guarded: TestClient, query: str) -> None:
    response = guarded.get(f"/login{query}")

    assert response.status_code == 401
    assert "set-cookie" not in response.headers


def test_tokens_are_compared_in_constant_time(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, known: bytes) -> bool:
        compared.append((given, known))
        return hmac.compare_digest(given, known)

    monkeypatch.setattr(access, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    with asking(gallery, token=TOKEN) as client:
        client.get("/api/images", headers={"Authorization": f"Bearer {TOKEN}"})
        cookie = client.get(f"/login?token={TOKEN}").headers["set-cookie"].split(";")[0]
        client.cookies.clear()
        client.get("/api/images", headers={"Cookie": cookie})

    assert [known for _, known in compared] == [TOKEN.encode(), TOKEN.encode(), cookie.split("=")[1].encode()]
    assert all(given == known for given, known in compared)


def test_made_tokens_differ_and_are_long() -> None:
    tokens = {access.new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 32


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.1", False), ("", False), ("example.org", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host: str, alone: bool) -> None:
    assert access.is_loopback(host) is alone


# headers


def test_every_answer_has_the_security_headers(guarded: TestClient) -> None:
    known = {"Authorization": f"Bearer {TOKEN}"}
    etag = guarded.get("/api/images/1/thumbnail", headers=known).headers["etag"]
    style = guarded.get("/static/page.css", headers=known).headers["etag"]
    answers = {
        200: guarded.get("/", headers=known),
        401: guarded.get("/"),
        400: guarded.get("/", headers={"Host": "evil.example"}),
        403: guarded.post("/api/search", headers={"Origin": "http://evil.example"}),
        404: guarded.get("/nothing", headers=known),
        405: guarded.put("/api/search", headers=known),
        422: guarded.get("/api/images/0", headers=known),
        415: guarded.post("/api/search", headers=known, content=b"x"),
        413: guarded.post("/api/search", headers=known | {"Content-Length": str(2**40)}),
        303: guarded.get(f"/login?token={TOKEN}"),
        304: guarded.get("/api/images/1/thumbnail", headers=known | {"If-None-Match": etag}),
    }
    more = [
        guarded.get("/static/page.css", headers=known | {"If-None-Match": style}),
        guarded.get("/static/page.css", headers=known),
        guarded.get("/static/nothing.css", headers=known),
        guarded.get("/api/images/1/file", headers=known),
        guarded.get("/api/images/1/thumbnail", headers=known),
        guarded.get("/metrics", headers=known),
        guarded.get("/openapi.json", headers=known),
        guarded.get("/healthz"),
    ]

    assert more[0].status_code == 304
    for status, answer in [*answers.items(), *((each.status_code, each) for each in more)]:
        assert answer.status_code == status
        assert answer.headers.keys() >= HEADERS, status
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers.get("server") is None


def test_a_fault_of_ours_has_them_too_and_tells_nothing(colours: Path) -> None:
    with indexed(colours) as gallery:
        app = create_app(gallery, update=False)

        def broken(id: int) -> None:
            raise ZeroDivisionError("a secret")

        app.state.desk.image = broken
        with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
            response = client.get("/api/images/1")
            page = client.get("/images/1")

    assert "secret" not in problem(response, 500)
    assert page.status_code == 500
    assert "secret" not in page.text
    assert response.headers.keys() >= HEADERS
    assert page.headers.keys() >= HEADERS


def test_what_was_uploaded_or_found_can_run_nothing(shared: TestClient) -> None:
    policy = shared.get("/api/images/1/file").headers["content-security-policy"]

    assert policy == "default-src 'none'; sandbox"


@pytest.mark.parametrize("path", ["/", "/search?id=1", "/images/1", "/evaluation", "/duplicates", "/nothing"])
def test_no_page_has_a_script_or_style_in_it(shared: TestClient, path: str) -> None:
    page = shared.get(path).text

    assert not re.search(r"<style|\sstyle=|\son\w+\s*=|\"javascript:", page, re.IGNORECASE)
    for script in re.findall(r"<script[^>]*>", page):
        assert re.search(r'src="/static/[\w.]+"', script)
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page)


# paths


@pytest.mark.parametrize(
    "target",
    [
        "/static/../api.py", "/static/%2e%2e/api.py", "/static/..%2fapi.py", "/static/%2e%2e%2fapi.py",
        "/static/....//api.py", "/static/..\\api.py", "/static/%2e%2e%5capi.py", "/static//etc/passwd",
        "/static/%2fetc%2fpasswd", "/static/%00", "/static/page.css%00.html", "/static/", "/static/.", "/static/..",
        "/static/../../../../../../../../etc/passwd", "//etc/passwd", "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd",
        "/static/%252e%252e/api.py", "/static/%c0%ae%c0%ae/api.py", "/static/" + "a" * 3000, "/static/%ff",
        "/api/images/../../etc/passwd", "/api/images/1/../../../../etc/passwd", "/api/images/..%2f1/file",
        "/api/images/warm%2fred.png/file", "/api/images/%2e%2e/file", "/api/images/1%00/file", "/api/images/1/file/",
        "/api/images//1/file", "/api/images/1%2f..%2f2/file", "/api/images/%2fetc%2fpasswd/thumbnail",
        "/api/uploads/../images/1", "/api/uploads/..%2f..%2fetc%2fpasswd/thumbnail", "/api/uploads/%00",
        "/api/uploads/" + "0" * 31 + "/thumbnail", "/api/uploads/" + "A" * 32, "/api/uploads/" + "0" * 32 + "%0a",
        "/images/..%2f..%2fetc%2fpasswd", "/images/../1", "/.congener/catalogue.sqlite", "/colours/warm/red.png",
        "/warm/red.png", "/api/../static/../api.py", "/file:///etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
    ],
)  # fmt: skip
def test_path_tricks_find_nothing(port: int, target: str) -> None:
    status, headers, content = get(port, target)

    assert status in (400, 404, 405, 422)
    assert b"root:" not in content
    assert b"import " not in content
    assert b"SQLite" not in content
    assert headers["content-security-policy"]


@pytest.mark.parametrize("target", ["http://evil.example/etc/passwd", "*", "etc/passwd", "/\r\nX: y", "/ x", "/\0"])
def test_odd_request_lines_find_nothing(port: int, target: str) -> None:
    sent = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()

    answer = exchange(port, sent)

    assert re.match(rb"HTTP/1.1 (400|404|405|422) ", answer) or target in ("/\r\nX: y", "/ x"), answer[:200]
    assert b"root:" not in answer


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with links: to a picture outside, to a folder outside, and to a picture inside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(png("red"))
    folder = tmp_path / "linked"
    (folder / "sub").mkdir(parents=True)
    (folder / "inside.png").write_bytes(png("blue"))
    (folder / "out.png").symlink_to(outside / "secret.png")
    (folder / "through").symlink_to(outside)
    (folder / "sub/in.png").symlink_to(folder / "inside.png")
    # its name begins as the folder's does
    (tmp_path / "linked-too").mkdir()
    (tmp_path / "linked-too/beside.png").write_bytes(png("lime"))
    (folder / "beside.png").symlink_to(tmp_path / "linked-too/beside.png")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_what_links_lead_out_to_is_not_served(linked: Path) -> None:
    with indexed(linked) as gallery, asking(gallery) as client:
        images = {each["path"]: each["id"] for each in client.get("/api/images").json()["images"]}

        assert images.keys() == {"beside.png", "inside.png", "out.png", "sub/in.png", "through/secret.png"}
        for path, id in images.items():
            for what in ("file", "thumbnail", "thumbnail?size=1280"):
                response = client.get(f"/api/images/{id}/{what}")
                if path in ("inside.png", "sub/in.png"):
                    assert response.status_code == 200
                else:
                    assert "link" in problem(response, 403)
                    assert str(linked.parent) not in response.text
            assert client.get(f"/images/{id}").status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_the_report_shows_nothing_that_links_lead_out_to(linked: Path) -> None:
    (linked / "labels.csv").write_text("path,label\ninside.png,a\nout.png,a\nbeside.png,a\n")
    with indexed(linked) as gallery, asking(gallery) as client:
        client.post("/api/evaluation")
        wait_until(lambda: client.get("/api/evaluation").json()["state"] == "done")
        report = client.get("/evaluation/report").text
    tiles = re.findall(r'title="([^"]+)"><span class="frame">(.*?)</span>', report)
    assert {path for path, _ in tiles} >= {"inside.png", "out.png", "through/secret.png"}
    for path, shown in tiles:
        assert ("data:image/jpeg" in shown) == (path in ("inside.png", "sub/in.png"))
        assert ("behind a link: not served" in shown) == (path not in ("inside.png", "sub/in.png"))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_put_in_place_of_an_image_is_not_served(tmp_path: Path) -> None:
    folder = paint(tmp_path / "colours")
    secret = tmp_path / "secret.png"
    secret.write_bytes(png("red", (64, 64)))
    with indexed(folder) as gallery, asking(gallery) as client:
        assert client.get("/api/images/1/thumbnail").status_code == 200  # and is kept
        for name in ("cold/blue.png", "cold/cyan.png"):
            (folder / name).unlink()
            (folder / name).symlink_to(secret)

        for id in (1, 2):
            problem(client.get(f"/api/images/{id}/file"), 403)
            problem(client.get(f"/api/images/{id}/thumbnail"), 403)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_put_in_place_of_an_image_keeps_nobody_waiting(colours: Path) -> None:
    with indexed(colours) as gallery, asking(gallery) as client:
        for name in ("cold/blue.png", "cold/cyan.png"):
            (colours / name).unlink()
        os.mkfifo(colours / "cold/blue.png")
        (colours / "cold/cyan.png").mkdir()

        for id in (1, 2):
            assert "read" in problem(client.get(f"/api/images/{id}/file"), 404)
            assert "read" in problem(client.get(f"/api/images/{id}/thumbnail"), 404)
            facts = client.get(f"/api/images/{id}").json()
            assert (facts["width"], facts["height"]) == (None, None)
            assert client.get(f"/images/{id}").status_code == 200
            assert client.post("/api/search", json={"id": id}).status_code == 200
            problem(client.post("/api/search", json={"id": id, "box": [0, 0, 5, 5]}), 404)


# what is sent


def bomb() -> bytes:
    """Return a small PNG whose header says that it is 100,000 pixels square."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(2**20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bomb(), "pixels"),
        (b"", ""),
        (b"no picture", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not an image"),
        (png("red")[:40], ""),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(1000), "damaged"),
        (b"GIF89a", "damaged"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(shared: TestClient, content: bytes, said: str) -> None:
    for path in ("/api/uploads", "/api/search"):
        assert said in problem(shared.post(path, files={"image": ("a.png", content)}), 422)


def upload(content: bytes) -> bytes:
    """Return a form of one picture, whose boundary is B."""
    head = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    return head + content + b"\r\n--B--\r\n"


POST = b"POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"


def test_an_upload_over_the_limit_is_refused_once_it_has_come(port: int) -> None:
    whole = upload(bytes(2**21))

    answer = exchange(port, POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"limit of 1 MiB" in answer


def test_a_promised_size_is_enough_to_refuse(port: int) -> None:
    answer = exchange(port, POST + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")

    answer = exchange(port, POST + b"Content-Length: 99999999999\r\n\r\nsome")  # and no more: it waits for none
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_an_upload_of_unknown_size_is_cut_off_at_the_limit(port: int) -> None:
    block = b"10000\r\n" + bytes(2**16) + b"\r\n"
    head = upload(b"")[:-8]
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", port), 20) as wire:
        wire.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(head), head))
        try:
            for _ in range(400):  # 25 MiB
                wire.sendall(block)
                sent += len(block)
            while more := wire.recv(65536):
                answer += more
        except OSError:  # it closed the connection while this was sending
            pass
    assert sent < 400 * len(block) or answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (POST, 408),
        (POST.replace(b"boundary=B", b"boundary=C"), 400),  # refused for other reasons, and ended all the same
        (POST.replace(b"/api/uploads", b"/nothing"), 404),
        (POST.replace(b"localhost", b"evil.example"), 400),
        (POST.replace(b"POST /api/uploads", b"GET /api/images"), 200),
    ],
    ids=["upload", "damaged", "nowhere", "other host", "GET"],
)
def test_a_slow_upload_is_ended(port: int, head: bytes, status: int) -> None:
    content = iter(upload(bytes(5000)))
    with socket.create_connection(("127.0.0.1", port), 20) as wire:
        wire.sendall(head + b"Content-Length: 6000\r\n\r\n")
        answer, until = b"", time.monotonic() + 60
        wire.settimeout(0.1)
        while time.monotonic() < until:
            try:
                wire.sendall(bytes([next(content)]))  # a byte now and then
                more = wire.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if not more:
                break
            answer += more
        else:
            pytest.fail("the connection was left open")

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"longer than 1 s" in answer or status != 408
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_request_that_never_comes_is_waited_for_no_longer(
    port: int, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(Impatient, "head_seconds", 0.3)

    assert exchange(port, begun) == b""
    if begun:  # as the second one
        with socket.create_connection(("127.0.0.1", port), 20) as wire:
            wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")
            wire.sendall(begun)
            while wire.recv(65536):
                pass


def test_a_body_that_never_comes_is_ended_too(port: int) -> None:
    for path in (b"/api/uploads", b"/api/search"):
        head = POST.replace(b"/api/uploads", path)
        answer = exchange(port, head + b"Content-Length: 1000\r\n\r\n--B\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")
    json = POST.replace(b"multipart/form-data; boundary=B", b"application/json").replace(b"uploads", b"search")
    assert exchange(port, json + b'Content-Length: 1000\r\n\r\n{"id"').startswith(b"HTTP/1.1 408 ")


def test_slow_uploads_keep_nobody_waiting(gallery: Gallery) -> None:
    limits = Limits(upload_seconds=30, searches=2)
    with listening(create_app(gallery, update=False, limits=limits)) as port:
        slow = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(60)]
        try:
            for wire in slow:
                wire.sendall(POST + b"Content-Length: 100000\r\n\r\n--B\r\n")
            search = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            search += b'Connection: close\r\nContent-Length: 9\r\n\r\n{"id": 1}'
            assert exchange(port, search).startswith(b"HTTP/1.1 200 ")
            assert get(port, "/")[0] == 200
            whole = upload(png("red"))
            sent = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole
            assert exchange(port, sent).startswith(b"HTTP/1.1 201 ")
        finally:
            for wire in slow:
                wire.close()


def test_a_client_that_hangs_up_leaves_nothing_behind(port: int) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), 20) as wire:
            wire.sendall(POST + b"Content-Length: 1000\r\n\r\n--B\r\n")
    assert get(port, "/api/images")[0] == 200
    flying = re.search(rb"(?m)^congener_requests_in_flight (\S+)", get(port, "/metrics")[2])
    assert flying
    assert float(flying[1]) <= 2  # this one, and one that is on its way out


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"x" * 2**21 + b"\r\n",
        b"".join(b"X-%d: x\r\n" % number for number in range(200_000)),
        b"".join(b"X-%d: x\r\n" % number for number in range(6000)),
        b"X: " + b"x" * 40_000 + b"\r\n",
    ],
    ids=["endless", "endlessly many", "many", "large"],
)
def test_headers_without_bounds_are_refused(port: int, headers: bytes) -> None:
    head, answer = b"GET /api/images HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", b""
    with suppress(OSError):  # the connection may be closed while this is sending
        answer = exchange(port, head + headers + b"\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ") or answer == b""
    assert get(port, "/healthz", X="x" * 20_000)[0] == 200


def test_made_up_methods_fill_no_memory(port: int) -> None:
    for number in range(20):
        exchange(port, b"MADE%d / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % number)

    assert b"MADE" not in get(port, "/metrics")[2]


def test_many_requests_at_once_are_all_answered(port: int) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.extend(get(port, f"/api/images/{1 + i % 5}/thumbnail")[0] for i in range(10))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert answers == [200] * 80
