"""Behind a proxy: below a path, by another name, over TLS."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from congener.errors import CongenerError
from congener.gallery import Gallery
from congener.web.app import create_app
from congener.web.proxy import parse_proxies, parse_root
from tests.web.conftest import asking, get, indexed, listening, paint, png, problem

TOKEN = "a-token-of-the-tests"
STATIC = Path(__file__).parents[2] / "src/congener/web/static"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with indexed(paint(tmp_path_factory.mktemp("proxied") / "colours")) as gallery:
        yield gallery


class Addresses(HTMLParser):
    """All addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src", "action", "data-whole") and value]


@pytest.mark.parametrize("root", ["/photos", "/a/b.c", "/images"])
def test_every_address_of_a_page_lies_below_the_root(gallery: Gallery, root: str) -> None:
    """Whether the proxy hands on the path whole, or cuts the root off."""
    with asking(gallery, root_path=root) as client:
        sent = client.post("/api/uploads", files={"image": png("red")}).json()["upload"]
        asked = "/search?id=1&label=warm&rerank=qe&positive=3&negative=4"
        pages = ["/", "/?label=warm", "/?page=9", asked, "/search?id=999", f"/search?upload={sent}&box=0,0,5,5"]
        pages += ["/images/1", "/evaluation", "/duplicates", "/nothing"]
        for page in pages:
            whole = client.get(root + page)
            if root != "/images":  # which is a name of the page's own: nobody knows then what is cut off
                assert Addresses(client.get(page).text).found == Addresses(whole.text).found
            for address in Addresses(whole.text).found:
                assert address.startswith((f"{root}/", "#", "?")), (page, address)
                if "/static/" in address or "thumbnail" in address:
                    assert client.get(address).status_code == 200
        assert client.get(f"{root}/search").headers["location"] == f"{root}/"
        assert client.get(root).status_code == client.get(f"{root}/healthz").status_code == 200
        assert client.get(f"{root}x/").status_code == 404
        assert client.get("/openapi.json").json()["servers"] == [{"url": root}]
        assert f"the gallery is at {root}/" in client.get(f"{root}/nothing").text
        assert client.get(f"{root}/api/images").headers["cache-control"] == "no-store"


def test_scripts_and_styles_take_no_address_from_the_top() -> None:
    """They go by where they are served from."""
    for path in [*STATIC.glob("*.js"), *STATIC.glob("*.css")]:
        text = re.sub(r"//.*|/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL if path.suffix == ".css" else 0)
        assert not re.search(r"[\"'`(]/(api|search|images|events|evaluation|duplicates|static|\?)", text), path.name


def test_the_cookie_is_the_paths_own_and_the_tls_s(gallery: Gallery) -> None:
    names = ["pictures.example"]
    app = create_app(gallery, update=False, token=TOKEN, root_path="/photos/", proxies=["127.0.0.1"], hosts=names)
    with listening(app) as port:

        def log_in(**headers: str) -> tuple[str, str]:
            status, answer, _ = get(port, f"/photos/login?token={TOKEN}", **headers)
            assert status == 303
            return answer["location"], answer["set-cookie"]

        location, cookie = log_in()
        assert location == "/photos/"
        assert "Path=/photos;" in cookie
        assert "Secure" not in cookie
        secure = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pictures.example"}
        assert "Secure" in log_in(**secure)[1]
        assert "Secure" in log_in(**{"X-Forwarded-Proto": "http, https"})[1]
        assert get(port, "/photos/", Cookie=cookie.split(";")[0])[0] == 200
        assert get(port, "/photos/", **{"X-Forwarded-Host": "evil.example"})[0] == 400


def test_nobody_is_believed_unless_named(gallery: Gallery) -> None:
    for proxies in ([], ["10.0.0.0/8, 192.168.1.7"]):
        app = create_app(gallery, update=False, token=TOKEN, proxies=proxies, hosts=["pictures.example"])
        with listening(app) as port:
            said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "10.0.0.1"}
            status, headers, _ = get(port, f"/login?token={TOKEN}", **said)
            assert status == 303
            assert "Secure" not in headers["set-cookie"]
            hidden = {"Host": "evil.example", "X-Forwarded-Host": "pictures.example"}
            assert get(port, "/healthz", **hidden)[0] == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Forwarded-Host": "pictures.example", "Origin": "https://pictures.example"}, 200),
        ({"X-Forwarded-Host": "pictures.example:8443", "Origin": "https://pictures.example:8443"}, 200),
        ({"Host": "pictures.example:443", "Origin": "https://pictures.example"}, 200),
        ({"Host": "pictures.example", "Origin": "https://pictures.example:8443"}, 200),  # nginx's $host has no port
        ({"Host": "pictures.example", "X-Forwarded-Port": "8443", "Origin": "https://pictures.example:8443"}, 200),
        ({"Host": "pictures.example", "X-Forwarded-Port": "443", "Origin": "https://pictures.example"}, 200),
        ({"Host": "pictures.example", "X-Forwarded-Port": "443", "Origin": "https://pictures.example:8443"}, 403),
        ({"Host": "pictures.example", "X-Forwarded-Port": "8443", "Origin": "https://pictures.example"}, 403),
        ({"X-Forwarded-Host": "pictures.example", "Origin": "https://evil.example"}, 403),
        ({"X-Forwarded-Host": "pictures.example:1", "Origin": "https://pictures.example:2"}, 403),
        ({"Host": "pictures.example", "Origin": "https://pictures.example.evil.example"}, 403),
        ({"X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}, 400),
        ({"X-Forwarded-Host": "evil.example, pictures.example", "Origin": "https://pictures.example"}, 200),
        ({"X-Forwarded-Host": "pictures.example, evil.example", "Origin": "https://pictures.example"}, 400),
    ],
)
def test_a_form_of_the_page_is_known_by_the_name_it_was_asked_by(
    gallery: Gallery, headers: dict[str, str], status: int
) -> None:
    app = create_app(gallery, update=False, proxies=["::1, 127.0.0.0/8"], hosts=["pictures.example"])
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        asked = {"X-Forwarded-Proto": "https"} | headers
        assert client.post("/api/search", json={"id": 1}, headers=asked).status_code == status


def test_events_are_not_held_back(gallery: Gallery) -> None:
    app = create_app(gallery, update=False)
    app.state.ending.set()
    with listening(app) as port:
        assert get(port, "/events")[1]["x-accel-buffering"] == "no"


@pytest.mark.parametrize("root", ["photos", "//photos", "/a/../b", "/a b", "/a?b", "/ä", "/a//b", "http://x/", "/."])
def test_a_root_that_is_no_path_is_refused(root: str) -> None:
    with pytest.raises(CongenerError, match=r"--root-path takes a path such as /photos"):
        parse_root(root)


@pytest.mark.parametrize(("given", "root"), [("", ""), ("/", ""), ("/photos", "/photos"), ("/a/b/", "/a/b")])
def test_roots(given: str, root: str) -> None:
    assert parse_root(given) == root


@pytest.mark.parametrize("given", ["localhost", "*", "10.0.0.1/8", "", "1.2.3", "127.0.0.1,"])
def test_a_proxy_that_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(CongenerError, match=r"--trust-proxy takes an address or network"):
        parse_proxies([given])


def test_two_galleries_of_one_host_keep_their_cookies_apart(gallery: Gallery) -> None:
    with asking(gallery, token=TOKEN, root_path="/a") as one, asking(gallery, token=TOKEN, root_path="/ab") as other:
        mine = one.get(f"/a/login?token={TOKEN}").headers["set-cookie"]
        assert "Path=/a;" in mine
        problem(other.get("/ab/api/images", headers={"Cookie": mine.split(";")[0]}), 401)
