"""In a real browser: the keyboard, and a phone."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.web.browser.conftest import NARROW, Window, watched

ADDRESSES = (
    "/",
    "/?label=starfish",
    "/search?id=5",
    "/search?id=5&box=40,60,200,180&positive=6&positive=9&negative=12&label=Monarch+butterfly&label=Starfish&rerank=aqe",
    "/search?id=5&label=Starfish&min_score=1",
    "/images/5",
    "/duplicates",
    "/evaluation",
    "/images/999",
)


# the keyboard


def test_the_wall_by_the_keyboard(window: Window) -> None:
    window.goto("/")
    press = window.page.keyboard.press
    press("ArrowRight")
    expect(window.role("tile").nth(0)).to_be_focused()
    press("ArrowRight")
    press("ArrowDown")
    columns = window.role("page").first.evaluate("each => getComputedStyle(each).gridTemplateColumns.split(' ').length")
    expect(window.role("tile").nth(1 + columns)).to_be_focused()
    press("ArrowUp")
    press("ArrowLeft")
    expect(window.role("tile").nth(0)).to_be_focused()
    press("ArrowRight")
    id = window.role("tile").nth(1).get_attribute("data-id")
    press("Enter")
    window.shows(f"id={id}")


def test_an_answer_by_the_keyboard(window: Window) -> None:
    window.goto("/search?id=5")
    press = window.page.keyboard.press
    press("ArrowRight")
    press("ArrowRight")
    expect(window.hit(1).locator("[data-role=open]")).to_be_focused()
    id = window.hits()[1][0]
    press("y")
    window.shows("id=5", f"positive={id}")
    window.focused("open", id)
    press("ArrowRight")
    other = window.page.evaluate("() => document.activeElement.closest('[data-id]').dataset.id")
    press("n")
    window.shows("id=5", f"positive={id}", f"negative={other}")
    press("u")
    window.shows("id=5", f"positive={id}")
    press("u")
    window.shows("id=5")

    press("/")
    expect(window.role("label-filter")).to_be_focused()
    press("y")  # what is typed is text
    expect(window.role("label-filter")).to_have_value("y")
    window.role("label-filter").fill("")
    window.page.locator("h1").click()
    press("?")
    expect(window.role("keys")).to_be_visible()
    press("Escape")
    expect(window.role("keys")).to_be_hidden()
    window.role("show-keys").click()
    expect(window.role("keys")).to_be_visible()
    window.role("keys").get_by_role("button", name="Close").click()
    expect(window.role("keys")).to_be_hidden()


def test_the_larger_picture_by_the_keyboard(window: Window) -> None:
    window.goto("/search?id=5")
    press = window.page.keyboard.press
    window.hit(2).locator("[data-role=open]").focus()
    press("Enter")
    heading = window.role("larger").locator("h1")
    expect(heading).to_have_text(window.names()[2])
    press("ArrowRight")
    expect(heading).to_have_text(window.names()[3])
    press("ArrowLeft")
    expect(heading).to_have_text(window.names()[2])
    press("ArrowLeft")
    expect(heading).to_have_text(window.names()[1])
    press("w")
    expect(window.role("specimen").locator(".mat canvas.heat")).to_be_visible()
    press("Escape")
    expect(window.role("larger")).to_be_hidden()
    expect(window.hit(1).locator("[data-role=open]")).to_be_focused()


# a phone


@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_is_wider_than_a_phone(browser: Browser, home: str, address: str) -> None:
    with watched(browser, home, NARROW) as window:
        window.goto(address)
        wide = """() => [
            document.documentElement.scrollWidth,
            ...[...document.querySelectorAll("a, button, input, select, label, h1, img")]
                .filter((each) => each.checkVisibility() && !each.matches(".skip, .labels *"))
                .map((each) => each.getBoundingClientRect().right),
        ]"""
        assert max(window.page.evaluate(wide)) <= NARROW[0]
        if "999" in address:
            window.expected("/images/999")


def test_a_finger_drags_a_box(browser: Browser, home: str) -> None:
    with watched(browser, home, NARROW, has_touch=True, is_mobile=True) as window:
        window.goto("/search?id=5")
        window.role("target").scroll_into_view_if_needed()
        place = window.role("target").bounding_box()
        assert place
        scrolled = window.page.evaluate("scrollY")
        touch = window.page.context.new_cdp_session(window.page)
        for kind, way in (("touchStart", 0.0), *(("touchMove", step / 8) for step in range(1, 9)), ("touchEnd", None)):
            points = [] if way is None else [{"x": place["x"] + 30 + 100 * way, "y": place["y"] + 40 + 90 * way}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        expect(window.page).to_have_url(re.compile("box="))
        scale = int(window.role("target").get_attribute("data-width") or 0) / place["width"]
        found = [float(side) for side in dict(window.asked())["box"].split(",")]
        assert found == pytest.approx([side * scale for side in (30, 40, 100, 90)], abs=2 * scale)
        assert window.page.evaluate("scrollY") == scrolled


def test_all_controls_work_on_a_phone(browser: Browser, home: str) -> None:
    with watched(browser, home, NARROW, has_touch=True, is_mobile=True) as window:
        window.goto("/")
        window.role("tile").nth(4).tap()
        expect(window.role("hit")).to_have_count(10)
        asked = dict(window.asked())["id"]
        yes = window.hits()[8][0]
        window.hit(8).locator("[data-role=thumb-up]").tap()
        window.shows(f"id={asked}", f"positive={yes}")
        window.role("hit").last.scroll_into_view_if_needed()
        window.role("undo-again").tap()
        window.shows(f"id={asked}")
        expect(window.role("undo-float")).to_be_hidden()
        window.hit(9).locator("[data-role=why]").tap()
        expect(window.role("why-panel")).to_be_in_viewport()
        expect(window.role("why-picture").locator("canvas.heat")).to_be_visible()
        expect(window.hit(9)).to_be_in_viewport()
        window.role("why-close").tap()
        expect(window.role("why-panel")).to_be_hidden()
        window.role("k").fill("3")
        window.role("k").press("Enter")
        expect(window.role("hit")).to_have_count(3)
        window.role("box-start").tap()
        window.page.keyboard.press("Enter")
        expect(window.role("box-remove")).to_be_visible()
        window.hit(1).locator("[data-role=open]").tap()
        expect(window.role("larger")).to_be_visible()
        window.role("close").tap()
        expect(window.role("larger")).to_be_hidden()
