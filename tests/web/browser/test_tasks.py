"""In a real browser: evaluation and duplicates, both colour schemes, the policy, and what axe-core finds."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from congener.gallery import Gallery
from tests.web.browser.conftest import NARROW, Window, problems_for_readers, watched

PAPER = {"light": "rgb(250, 248, 244)", "dark": "rgb(25, 24, 22)"}


def evaluated(window: Window) -> None:
    """Press for the evaluation, and wait for its report."""
    window.goto("/evaluation")
    window.role("start").click()
    expect(window.page.frame_locator("iframe").locator("h1")).to_be_visible()


def compared(window: Window) -> None:
    """Press for the duplicates, and wait for their groups."""
    window.goto("/duplicates")
    with window.page.expect_response(lambda each: each.url.endswith("/api/duplicates") and '"done"' in each.text()):
        window.role("start").click()
    expect(window.role("group")).to_have_count(2)
    expect(window.role("start")).to_be_enabled()


def test_evaluation(window: Window) -> None:
    evaluated(window)
    report = window.page.frame_locator("iframe")
    expect(report.locator("body")).to_contain_text("Starfish")
    expect(window.role("start")).to_be_enabled()
    expect(window.role("start")).to_have_text("Evaluate again")
    window.role("state").get_by_role("link").click()
    expect(window.page).to_have_url(f"{window.home}/evaluation/report")
    expect(window.page.locator("h1")).to_be_visible()


def test_duplicates(window: Window, painted: Gallery) -> None:
    compared(window)
    copies, near = (window.page.locator(f'[data-role=group][data-kind="{kind}"]') for kind in ("copies", "near"))
    expect(copies.locator("h2")).to_have_text("2 equal files")
    expect(copies).to_contain_text("starfish/starfish-again.jpg")
    expect(copies).to_contain_text("starfish/starfish-01.jpg")
    expect(near).to_contain_text("feather/feather-small.jpg")
    expect(near).to_contain_text("feather/feather-02.jpg")
    assert (painted.folder / "starfish/starfish-again.jpg").exists()
    copies.locator("[data-role=open]").first.click()
    expect(window.role("larger")).to_be_visible()
    expect(window.role("larger").locator("dl")).to_contain_text("starfish/starfish-")


def test_the_policy_stays(window: Window) -> None:
    response = window.page.goto(f"{window.home}/search?id=5")
    assert response
    policy = response.header_value("content-security-policy") or ""
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "default-src 'none'" in policy
    add = """() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'run'";
        const image = document.createElement("img");
        image.src = "http://127.0.0.2/elsewhere.png";
        document.body.append(script, image);
    }"""
    with window.page.expect_console_message(lambda message: "127.0.0.2" in message.text):
        window.page.evaluate(add)
    assert window.page.title() != "run"
    window.expected("inline script")
    window.expected("127.0.0.2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes(browser: Browser, home: str, scheme: str) -> None:
    with watched(browser, home, color_scheme=scheme) as window:
        for address in ("/", "/search?id=5"):
            window.goto(address)
            expect(window.page.locator("body")).to_have_css("background-color", PAPER[scheme])


def start(window: Window) -> None:
    window.goto("/")
    expect(window.role("tile").first).to_be_visible()


def answer(window: Window) -> None:
    window.goto("/search?id=5&label=Starfish&label=Angelfish")


def narrowed(window: Window) -> None:
    window.goto("/search?id=5&box=40,60,200,180&positive=6&negative=12&rerank=aqe")
    expect(window.role("chip")).to_have_count(2)


def nothing(window: Window) -> None:
    window.goto("/search?id=5&min_score=1")


def larger(window: Window) -> None:
    window.goto("/search?id=5")
    window.hit(1).locator("[data-role=open]").click()
    window.role("why-larger").click()
    expect(window.role("specimen").locator(".mat canvas")).to_be_visible()


def why(window: Window) -> None:
    window.goto("/search?id=5")
    window.hit(1).locator("[data-role=why]").click()
    expect(window.hit(1).locator("canvas")).to_be_visible()


def keys(window: Window) -> None:
    window.goto("/search?id=5")
    window.page.keyboard.press("?")
    expect(window.role("keys")).to_be_visible()


def problem(window: Window) -> None:
    window.goto("/")
    window.role("file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"none"})
    expect(window.role("problem")).to_contain_text("a.png")
    window.expected("/api/uploads")


def error(window: Window) -> None:
    window.goto("/images/999")
    expect(window.role("error")).to_be_visible()
    window.expected("/images/999")


PLACES: tuple[Callable[[Window], None], ...] = (
    start,
    answer,
    narrowed,
    nothing,
    larger,
    why,
    keys,
    evaluated,
    compared,
    problem,
    error,
)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_axe_finds_nothing_serious(window: Window, place: Callable[[Window], None]) -> None:
    place(window)
    assert problems_for_readers(window.page) == []
    window.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    window.page.emulate_media(color_scheme="dark")
    assert problems_for_readers(window.page) == []
    if place is narrowed:
        window.page.emulate_media(color_scheme="light")
        assert problems_for_readers(window.page) == []


def test_axe_would_find_something(window: Window) -> None:
    window.goto("/search?id=5")
    window.page.evaluate("() => document.querySelectorAll('.frame img').forEach((each) => each.removeAttribute('alt'))")
    assert re.search("image-alt", "".join(problems_for_readers(window.page)))
