"""In a real browser: an answer, a part of the picture, yes and no, why, settings, history."""

import re

import pytest
from playwright.sync_api import Browser, Locator, expect

from congener.gallery import Gallery
from tests.web.browser.conftest import Window, drag, watched


def canvases(window: Window) -> Locator:
    """Find the heat maps."""
    return window.page.locator("canvas.heat")


def is_drawn(canvas: Locator) -> bool:
    """Tell whether a canvas holds a map: many different pixels."""
    count = """each => {
        const {data} = each.getContext("2d").getImageData(0, 0, each.width, each.height);
        return new Set(new Uint32Array(data.buffer)).size;
    }"""
    colours: int = canvas.evaluate(count)
    return colours > 50


# the larger picture


def test_a_hit_is_shown_larger(window: Window, painted: Gallery) -> None:
    window.goto("/search?id=5")
    name = window.names()[1]
    id = window.hits()[1][0]
    window.hit(1).locator("[data-role=open]").click()
    dialog = window.role("larger")
    expect(dialog).to_be_visible()
    expect(dialog.locator("h1")).to_have_text(name)
    row = painted.find(int(id))
    assert row
    expect(dialog.locator("dl")).to_contain_text(row.path)
    expect(dialog.locator("dl")).to_contain_text("pixels")
    original = window.role("original", dialog).get_attribute("href")
    assert window.page.request.get(f"{window.home}{original}").body() == (painted.folder / row.path).read_bytes()

    window.role("next").click()
    expect(dialog.locator("h1")).to_have_text(window.names()[2])
    window.role("previous").click()
    expect(dialog.locator("h1")).to_have_text(name)
    window.role("close").click()
    expect(dialog).to_be_hidden()
    window.hit(1).locator("[data-role=open]").click()
    window.role("more-like-this").click()

    window.shows(f"id={id}")
    expect(window.role("answer")).to_have_attribute("data-id", id)


def test_why_in_the_larger_picture(window: Window) -> None:
    window.goto("/search?id=5")
    window.hit(0).locator("[data-role=open]").click()
    expect(window.role("previous")).to_be_disabled()
    window.role("why-larger").click()

    expect(window.role("why-larger")).to_have_attribute("aria-pressed", "true")
    expect(window.role("specimen").locator("canvas.heat")).to_have_count(2)
    assert is_drawn(window.role("specimen").locator(".mat canvas"))
    window.role("next").click()
    expect(window.role("specimen").locator("canvas.heat")).to_have_count(0)
    window.page.keyboard.press("Escape")
    expect(canvases(window)).to_have_count(0)


# a part of the picture


def test_a_box_is_dragged_changed_and_removed(window: Window) -> None:
    window.goto("/search?id=5")
    whole = window.hits()
    target = window.role("target").bounding_box()
    assert target
    x, y = target["x"], target["y"]
    drag(window.page, (x + 40, y + 60), (x + 200, y + 180))

    expect(window.page).to_have_url(re.compile("box="))
    scale = int(window.role("target").get_attribute("data-width") or 0) / target["width"]
    left, top, width, height = map(float, dict(window.asked())["box"].split(","))
    assert [left, top, width, height] == pytest.approx([each * scale for each in (40, 60, 160, 120)], abs=2)
    expect(window.role("box-text")).to_have_text(f"A part of {width:g} × {height:g} pixels")
    part = window.hits()
    assert part != whole

    corner = window.role("box").locator("[data-corner=se]").bounding_box()
    assert corner
    middle = corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2
    drag(window.page, middle, (middle[0] + 50, middle[1] + 40))
    wider = f"{left:g},{top:g}"
    expect(window.page).not_to_have_url(re.compile(f"{width:g}(,|%2C){height:g}"))
    expect(window.role("target")).to_have_attribute("data-box", re.compile(f"^{wider},"))
    assert window.hits() not in (part, whole)

    window.role("box-remove").click()
    window.shows("id=5")
    assert window.hits() == whole
    window.page.go_back()
    window.page.go_back()
    expect(window.role("target")).to_have_attribute("data-box", f"{left:g},{top:g},{width:g},{height:g}")
    assert window.hits() == part


def test_a_click_on_the_picture_is_no_box(window: Window) -> None:
    window.goto("/search?id=5")
    window.role("target").click()
    expect(window.role("box")).to_be_hidden()
    window.shows("id=5")


def test_a_box_by_the_keyboard(window: Window) -> None:
    window.goto("/search?id=5")
    whole = window.hits()
    page = window.page
    page.keyboard.press("b")
    expect(window.role("box")).to_be_focused()
    before = window.role("box").bounding_box()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    after = window.role("box").bounding_box()
    assert before
    assert after
    assert after["x"] > before["x"]
    assert after["y"] > before["y"]
    assert after["width"] < before["width"]
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile("box="))
    expect(window.role("box")).to_be_focused()
    assert window.hits() != whole
    page.keyboard.press("Delete")
    window.shows("id=5")
    expect(window.role("box-start")).to_be_focused()
    assert window.hits() == whole


# yes and no


def test_yes_and_no_again_and_again_with_undo(window: Window) -> None:
    window.goto("/search?id=5")
    first = window.hits()
    yes, no = window.hits()[6][0], window.hits()[2][0]
    window.hit(6).locator("[data-role=thumb-up]").click()
    window.shows("id=5", f"positive={yes}")
    second = window.hits()
    assert second != first
    expect(window.page.locator(f'.liked[data-id="{yes}"]')).to_be_visible()

    window.page.locator(f'[data-role=hit][data-id="{no}"] [data-role=thumb-down]').click()
    window.shows("id=5", f"positive={yes}", f"negative={no}")
    third = window.hits()
    assert third != second
    assert no not in dict(third)
    chips = window.role("chip").evaluate_all("all => all.map(each => [each.dataset.kind, each.dataset.id])")
    assert chips == [["positive", yes], ["negative", no]]

    again = window.hits()[4][0]
    window.hit(4).locator("[data-role=thumb-down]").click()
    window.shows("id=5", f"positive={yes}", f"negative={no}", f"negative={again}")
    window.role("undo").click()
    window.shows("id=5", f"positive={yes}", f"negative={no}")
    assert window.hits() == third
    window.page.locator(f'[data-role=chip][data-id="{yes}"] [data-role=chip-remove]').click()
    window.shows("id=5", f"negative={no}")
    window.role("undo").click()
    window.shows("id=5")
    assert window.hits() == first
    expect(window.role("refined")).to_have_count(0)


def test_a_yes_is_taken_back_by_its_thumb(window: Window) -> None:
    window.goto("/search?id=5")
    thumb = window.hit(3).locator("[data-role=thumb-up]")
    id = window.hits()[3][0]
    thumb.click()
    window.shows("id=5", f"positive={id}")
    window.page.locator(".liked [data-role=thumb-up]").click()
    window.shows("id=5")


def test_thumbs_faster_than_answers_add_up(window: Window) -> None:
    window.goto("/search?id=5")
    ids = [id for id, _ in window.hits()]
    clicks = """() => {
        const thumb = (place, name) => document.querySelectorAll(`[data-role=${name}]`)[place].click();
        thumb(1, "thumb-up");
        thumb(4, "thumb-up");
        thumb(6, "thumb-down");
    }"""
    window.page.evaluate(clicks)
    window.shows("id=5", f"positive={ids[1]}", f"positive={ids[4]}", f"negative={ids[6]}")
    expect(window.role("chip")).to_have_count(3)


# why


def test_why_on_hover(window: Window) -> None:
    window.goto("/search?id=5")
    frame = window.hit(1).locator("[data-role=open]")
    with window.page.expect_response("**/api/explain") as asked:
        frame.hover()
    answer = asked.value.json()
    expect(canvases(window)).to_have_count(2)
    for canvas in canvases(window).all():
        assert is_drawn(canvas)
    expect(frame.locator("canvas.heat")).to_be_visible()
    expect(window.role("target").locator("canvas.heat")).to_be_visible()
    share = round(100 * answer["pooled"] / answer["score"])
    expect(window.role("why-text")).to_contain_text(f"{share} % of the score lies in")
    expect(window.role("why-text")).to_contain_text(f"{window.names()[1]}, raw score {window.hits()[1][1]}.")
    assert answer["pooled"] + answer["classes"] == pytest.approx(answer["score"], abs=1e-4)

    window.page.locator("h1").hover()
    expect(canvases(window)).to_have_count(0)
    expect(window.role("why-panel")).to_be_hidden()


def test_why_by_key_and_by_button(window: Window) -> None:
    window.goto("/search?id=5")
    window.hit(2).locator("[data-role=open]").focus()
    window.page.keyboard.press("w")
    expect(window.hit(2).locator("canvas.heat")).to_be_visible()
    expect(window.hit(2).locator("[data-role=why]")).to_have_attribute("aria-pressed", "true")
    window.page.keyboard.press("w")
    expect(canvases(window)).to_have_count(0)

    window.hit(4).locator("[data-role=why]").click()
    expect(window.hit(4).locator("canvas.heat")).to_be_visible()
    window.page.locator("h1").hover()  # what was asked for stays
    expect(window.role("why-text")).to_contain_text(window.names()[4])
    window.page.keyboard.press("Escape")
    expect(canvases(window)).to_have_count(0)
    expect(window.hit(4).locator("[data-role=why]")).to_have_attribute("aria-pressed", "false")


def test_why_of_a_part(window: Window) -> None:
    window.goto("/search?id=5&box=60,50,160,150")
    window.hit(0).locator("[data-role=why]").click()
    expect(window.role("target").locator("canvas.heat")).to_be_visible()
    with_box = window.role("why-text").inner_text()
    assert f"raw score {window.hits()[0][1]}." in with_box


# settings, and the address


def test_settings_are_in_the_address_and_the_answer(window: Window) -> None:
    window.goto("/search?id=5")
    window.role("k").fill("24")
    window.role("k").press("Enter")
    window.shows("id=5", "k=24")
    expect(window.role("hit")).to_have_count(24)

    plain = window.hits()
    window.role("rerank").select_option("kreciprocal")
    window.shows("id=5", "k=24", "rerank=kreciprocal")
    assert window.hits() != plain
    window.role("rerank").select_option("")
    window.shows("id=5", "k=24")
    assert window.hits() == plain

    likeness = [int(each.removesuffix(" %")) for each in window.texts("similarity")]
    least = likeness[1] - 1  # what is shown is rounded
    window.role("min-score").fill(f"{least / 100}")
    window.shows("id=5", "k=24", f"min_score={least / 100:g}")
    expect(window.role("min-score-text")).to_have_text(str(least))
    left = window.hits()
    assert 2 <= len(left) < 24
    assert left == plain[: len(left)]
    window.role("min-score").fill("0")
    window.shows("id=5", "k=24")

    window.role("label-filter").fill("Starfish")
    window.role("label-filter").press("Enter")
    window.shows("id=5", "k=24", "label=Starfish")
    assert all(name.startswith("starfish") for name in window.names())
    window.role("label-filter").fill("feather")
    window.role("label-filter").press("Enter")
    window.shows("id=5", "k=24", "label=Starfish", "label=feather")
    assert {name.partition("-")[0] for name in window.names()} == {"starfish", "feather"}
    window.role("label-remove").first.click()
    window.shows("id=5", "k=24", "label=feather")


def test_a_label_that_is_none_is_said(window: Window) -> None:
    window.goto("/search?id=5")
    before = window.hits()
    window.role("label-filter").fill("unheard of")
    window.role("label-filter").press("Enter")

    expect(window.role("problem")).to_contain_text("unheard of")
    window.shows("id=5")
    assert window.hits() == before
    window.expected("label=unheard")


def test_nothing_that_alike(window: Window) -> None:
    window.goto("/search?id=5&min_score=1")
    expect(window.role("empty")).to_be_visible()
    window.role("empty").get_by_text("Any likeness").click()
    window.shows("id=5")
    expect(window.role("hit")).to_have_count(10)


def test_a_bookmark_gives_the_same_answer(window: Window, browser: Browser) -> None:
    window.goto("/search?id=5")
    yes = window.hits()[5][0]
    window.hit(5).locator("[data-role=thumb-up]").click()
    window.shows("id=5", f"positive={yes}")
    window.role("k").fill("7")
    window.role("k").press("Enter")
    window.shows("id=5", f"positive={yes}", "k=7")
    window.role("rerank").select_option("aqe")
    window.shows("id=5", f"positive={yes}", "k=7", "rerank=aqe")
    expect(window.role("hit")).to_have_count(7)
    hits = window.hits()

    with watched(browser, window.home) as other:
        other.page.goto(window.page.url)
        assert other.hits() == hits
        expect(other.role("k")).to_have_value("7")
        expect(other.role("rerank")).to_have_value("aqe")
    window.page.reload()
    assert window.hits() == hits


def test_back_and_forward(window: Window) -> None:
    window.goto("/")
    window.page.locator('[data-role=tile][data-id="5"]').click()
    window.shows("id=5")
    first = window.hits()
    no = first[0][0]
    window.hit(0).locator("[data-role=thumb-down]").click()
    window.shows("id=5", f"negative={no}")
    second = window.hits()
    window.role("k").fill("3")
    window.role("k").press("Enter")
    window.shows("id=5", f"negative={no}", "k=3")
    third = window.hits()

    window.page.go_back()
    window.shows("id=5", f"negative={no}")
    expect(window.role("hit")).to_have_count(10)
    assert window.hits() == second
    expect(window.role("k")).to_have_value("10")
    window.page.go_back()
    expect(window.role("chip")).to_have_count(0)
    assert window.hits() == first
    window.page.go_back()
    expect(window.role("tile").first).to_be_visible()
    window.page.go_forward()
    expect(window.role("hit")).to_have_count(10)
    assert window.hits() == first
    window.page.go_forward()
    expect(window.role("chip")).to_have_count(1)
    window.page.go_forward()
    expect(window.role("hit")).to_have_count(3)
    assert window.hits() == third
