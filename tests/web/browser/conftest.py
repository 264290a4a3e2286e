"""What the tests in a real browser share: Debian's Chromium, and a window that is watched.

The browser ends with each module of tests: as long as it is there, its driver has an event loop in this thread.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)
from playwright.sync_api import Error as BrowserError

from congener.cabinet import paint, paint_cabinet
from congener.gallery import Gallery
from congener.web.app import create_app
from tests.web.conftest import listening

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
WIDE, NARROW = (1440, 900), (375, 740)
SECONDS = 20
MARKUP = "<img src=x onerror=\"document.title='run'\">"
"""A label, and the beginning of a file's name; no name can hold a slash."""
_UNDER_WAY = "net::ERR_ABORTED"  # what a page that is left was still asking for

expect.set_options(timeout=1000 * SECONDS)


class Window:
    """A page in the browser. What goes wrong on it is noted: errors on the console, refusals, requests elsewhere."""

    def __init__(self, page: Page, home: str) -> None:
        self.page, self.home = page, home
        self.troubles: list[str] = []
        page.set_default_timeout(1000 * SECONDS)
        page.bring_to_front()  # a page in the background draws no frames
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"console: {message.text} ({message.location['url']})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.home}/", "blob:", "data:")):
            self.troubles.append(f"elsewhere: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != _UNDER_WAY:
            self.troubles.append(f"failed: {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"refused: {response.status} {response.url}")

    def expected(self, pattern: str) -> None:
        """Take away the troubles that a test has made itself; fail when there are none."""
        found = [each for each in self.troubles if re.search(pattern, each)]
        assert found, f"nothing like {pattern!r} in {self.troubles}"
        self.troubles = [each for each in self.troubles if each not in found]

    def goto(self, address: str) -> None:
        """Open an address of the server."""
        self.page.goto(self.home + address)

    def role(self, name: str, within: Locator | None = None) -> Locator:
        """Find what has a role."""
        return (within or self.page).locator(f'[data-role="{name}"]')

    def hit(self, number: int) -> Locator:
        """Find a hit by its place, from 0."""
        return self.role("hit").nth(number)

    def texts(self, name: str) -> list[str]:
        """Return what the elements of a role say."""
        return [text.strip() for text in self.role(name).all_inner_texts()]

    def hits(self) -> list[tuple[str, str]]:
        """Return id and score of every hit that is shown."""
        ids: list[str] = self.role("hit").evaluate_all("all => all.map(each => each.dataset.id)")
        return list(zip(ids, self.texts("score"), strict=True))

    def names(self) -> list[str]:
        """Return the file names of the hits."""
        names: list[str] = self.role("hit").evaluate_all("all => all.map(each => each.dataset.name)")
        return names

    def asked(self) -> list[tuple[str, str]]:
        """Return the names and values that the address holds."""
        return parse_qsl(urlsplit(self.page.url).query)

    def shows(self, *pairs: str) -> None:
        """Wait until the address holds these, in any order and nothing else, and the answer to it is there."""
        wanted = sorted(tuple(pair.split("=", 1)) for pair in pairs)
        with suppress(BrowserError):
            self.page.wait_for_url(lambda url: sorted(parse_qsl(urlsplit(url).query)) == wanted)
        assert sorted(self.asked()) == wanted
        expect(self.page.locator("main[aria-busy]")).to_have_count(0)

    def focused(self, name: str, id: str | None = None) -> None:
        """Wait until something of a role, or that of a hit, has the focus."""
        on = self.page.locator(f'[data-id="{id}"]') if id else None
        expect(self.role(name, on)).to_be_focused()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = os.environ.get("CONGENER_BROWSER") or shutil.which("chromium")
    if not path:
        reason = "no browser: install Debian's chromium, or set CONGENER_BROWSER"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Painted specimens, four of each kind, an equal file, a near copy and an odd name; the real network."""
    folder = tmp_path_factory.mktemp("browser") / "cabinet"
    paint_cabinet(folder, specimens=4)
    shutil.copy(folder / "starfish/starfish-01.jpg", folder / "starfish/starfish-again.jpg")
    with Image.open(folder / "feather/feather-02.jpg") as image:
        image.resize((image.width // 2, image.height // 2)).save(folder / "feather/feather-small.jpg")
    (folder / MARKUP).mkdir()
    paint("morpho-butterfly", 9).save(folder / MARKUP / f"{MARKUP}.png")
    with Gallery(folder) as gallery:
        gallery.update()
        yield gallery


@contextmanager
def serving(gallery: Gallery, **settings: Any) -> Iterator[str]:
    """Serve the page over a gallery; yield its address."""
    with listening(create_app(gallery, **{"update": False} | settings)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def home(painted: Gallery) -> Iterator[str]:
    """The address of the page over the painted specimens."""
    with serving(painted) as home:
        yield home


@contextmanager
def watched(browser: Browser, home: str, size: tuple[int, int] = WIDE, **options: Any) -> Iterator[Window]:
    """Open a window of a profile of its own; at the end nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    try:
        window = Window(context.new_page(), home)
        yield window
        assert not window.troubles
    finally:
        context.close()


@pytest.fixture
def window(browser: Browser, home: str) -> Iterator[Window]:
    """A window of usual width, over the painted specimens."""
    with watched(browser, home) as window:
        yield window


def id_of(gallery: Gallery, path: str) -> int:
    """Return the id of a file of a gallery."""
    return next(row.id for row in gallery.rows() if row.path == path)


def problems_for_readers(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical; its script is put in by the browser's driver."""
    page.evaluate(f"() => {{ if (!window.axe) {{ {AXE} }} }}")
    # a colour on its way to another is neither; this browser may draw no frame for long, so nothing waits for one
    settled = """() => Promise.race([
        new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
        new Promise((resolve) => setTimeout(resolve, 2000)),
    ]).then(() => {
        for (const each of document.getAnimations()) {
            if (each.effect.getComputedTiming().endTime === Infinity) each.cancel();
            else each.finish();
        }
    })"""
    page.evaluate(settled)
    run = """() => Promise.race([
        axe.run(document, {resultTypes: ['violations']}),
        new Promise((_, reject) => setTimeout(() => reject(new Error('axe takes longer than 60 s')), 60000)),
    ])"""
    found = page.evaluate(run)
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag with the mouse from a point of the window to another."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


def file_of(kind: str, specimen: int, folder: Path) -> Path:
    """Write a specimen that no gallery of the tests holds; return its file."""
    file = folder / f"{kind}-{specimen}.jpg"
    paint(kind, specimen).save(file)
    return file
