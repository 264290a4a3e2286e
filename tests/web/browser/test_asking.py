"""In a real browser: ways to ask, the wall, and what a page does without a script, without a token, with odd names."""

import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, JSHandle, Page, expect

from congener.encoders import Features
from congener.gallery import Gallery
from tests.conftest import MeanColour
from tests.web.browser.conftest import MARKUP, NARROW, WIDE, Window, file_of, id_of, serving, watched
from tests.web.conftest import indexed, paint, png


class Slow(MeanColour):
    """It waits at the red picture, the last one, until it may go on."""

    batch = 1

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        if tuple(pixels[0, 0, 0]) == (255, 0, 0):
            assert self.go_on.wait(60)
        return super().encode(pixels)


UPLOAD = re.compile(r"/search\?upload=[0-9a-f]{32}$")
SHEETS, SHEET = 9, 60


def dragged(page: Page, name: str, content: bytes, kind: str) -> JSHandle:
    """Return a drag of a file, as the browser tells the page of it."""
    return page.evaluate_handle(
        """([name, content, type]) => {
            const data = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
            data.items.add(new File([bytes], name, {type}));
            return data;
        }""",
        [name, b64encode(content).decode(), kind],
    )


def tell(window: Window, name: str, data: JSHandle) -> bool:
    """Tell the page of a drag's event; return whether it took it, so that the browser doesn't open the file itself."""
    taken: bool = window.page.locator("main").evaluate(
        """(main, [name, dataTransfer]) =>
            !main.dispatchEvent(new DragEvent(name, {dataTransfer, bubbles: true, cancelable: true}))""",
        [name, data],
    )
    return taken


def is_answered(window: Window, name: str, kind: str) -> None:
    """Check that the page answers an upload, with a hit of its kind first."""
    expect(window.page).to_have_url(UPLOAD)
    expect(window.page.locator("h1")).to_have_text(name)
    expect(window.role("hit")).to_have_count(10)
    assert window.names()[0].startswith(kind)
    shown = window.role("target").locator("img")
    assert shown.evaluate("each => each.decode().then(() => each.naturalWidth)") > 100


def test_a_picture_is_dropped(window: Window, tmp_path: Path) -> None:
    file = file_of("oak-leaf", 9, tmp_path)
    window.goto("/")
    data = dragged(window.page, file.name, file.read_bytes(), "image/jpeg")
    there = window.role("drop-here")

    tell(window, "dragenter", data)
    expect(there).to_be_visible()
    tell(window, "dragleave", data)
    expect(there).to_be_hidden()
    tell(window, "dragenter", data)
    assert tell(window, "dragover", data)
    assert tell(window, "drop", data)

    is_answered(window, file.name, "oak-leaf")


def test_a_picture_is_dropped_on_an_answer(window: Window, tmp_path: Path) -> None:
    file = file_of("dragonfly", 9, tmp_path)
    window.goto("/search?id=1&k=3")
    data = dragged(window.page, file.name, file.read_bytes(), "image/jpeg")

    assert tell(window, "drop", data)

    is_answered(window, file.name, "dragonfly")


def test_a_file_is_chosen(window: Window, tmp_path: Path) -> None:
    file = file_of("scallop-shell", 9, tmp_path)
    window.goto("/")

    with window.page.expect_file_chooser() as choosing:
        window.role("drop").get_by_text("choose a file").click()
    choosing.value.set_files(file)

    is_answered(window, file.name, "scallop-shell")


def test_a_picture_is_pasted(browser: Browser, home: str, tmp_path: Path) -> None:
    picture = file_of("angelfish", 9, tmp_path)
    with watched(browser, home, permissions=["clipboard-read", "clipboard-write"]) as window:
        window.goto("/")
        copy = """async (content) => {
            const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
            const bitmap = await createImageBitmap(new Blob([bytes]));
            const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
            canvas.getContext("2d").drawImage(bitmap, 0, 0);
            const blob = await canvas.convertToBlob({type: "image/png"});
            await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
        }"""
        window.page.evaluate(copy, b64encode(picture.read_bytes()).decode())

        window.page.keyboard.press("Control+v")

        is_answered(window, "image.png", "angelfish")


def test_text_is_pasted_where_text_goes(browser: Browser, home: str) -> None:
    with watched(browser, home, permissions=["clipboard-read", "clipboard-write"]) as window:
        window.goto("/")
        window.page.evaluate("() => navigator.clipboard.writeText('oak')")
        window.page.keyboard.press("/")
        window.page.keyboard.press("Control+v")

        expect(window.role("label-filter")).to_have_value("oak")
        expect(window.role("label").locator("visible=true")).to_have_count(1)
        expect(window.role("problem")).to_be_empty()


def test_what_is_no_picture_is_said(window: Window, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    window.goto("/")
    window.role("file").set_input_files(tmp_path / "notes.png")

    expect(window.role("problem")).to_contain_text("notes.png")
    window.role("problem").get_by_role("button", name="Close").click()
    expect(window.role("problem")).to_be_hidden()
    window.role("file").set_input_files(file_of("feather", 9, tmp_path))

    is_answered(window, "feather-9.jpg", "feather")
    window.expected("/api/uploads")


def test_a_picture_of_the_wall_is_asked_with(window: Window) -> None:
    window.goto("/")
    tile = window.role("tile").nth(7)
    id = tile.get_attribute("data-id")
    assert id
    tile.click()

    window.shows(f"id={id}")
    expect(window.role("answer")).to_have_attribute("data-id", id)
    expect(window.role("hit")).to_have_count(10)
    window.page.go_back()
    expect(window.page.locator("main")).to_have_attribute("data-page", "start")
    expect(window.role("tile").nth(7)).to_be_focused()


def test_labels_narrow_the_wall(window: Window) -> None:
    window.goto("/")
    expect(window.role("label")).to_have_count(17)
    window.role("label-filter").fill("AGARIC")
    expect(window.role("label").locator("visible=true")).to_have_count(1)
    window.role("label-filter").press("Enter")

    expect(window.page).to_have_url(re.compile(r"/\?label=fly-agaric$"))
    expect(window.role("tile")).to_have_count(4)
    window.role("label-filter").fill("unheard of")
    expect(window.role("no-label")).to_contain_text("unheard of")


@pytest.fixture(scope="module")
def plenty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page over many small pictures, nine sheets of the wall."""
    folder = tmp_path_factory.mktemp("plenty") / "colours"
    folder.mkdir()
    for number in range(SHEETS * SHEET):
        (folder / f"{number:04}.png").write_bytes(png((number % 251, number // 3 % 256, 90), (8, 8)))
    with indexed(folder) as gallery, serving(gallery) as home:
        yield home


def to_the_end(window: Window) -> None:
    """Scroll until the wall's last sheet is there."""
    while (sheets := window.role("page").count()) < SHEETS:
        window.role("page").last.evaluate("each => each.scrollIntoView({block: 'end'})")
        expect(window.role("page").nth(sheets)).to_be_attached()
    window.role("page").last.evaluate("each => each.scrollIntoView({block: 'end'})")
    expect(window.page.locator("[data-role=page]:empty").first).to_be_attached()


def test_the_wall_grows_by_scrolling(browser: Browser, plenty: str) -> None:
    with watched(browser, plenty) as window:
        window.goto("/")
        expect(window.role("tile").first).to_be_visible()
        assert window.role("tile").count() < 8 * SHEET

        to_the_end(window)

        expect(window.role("page")).to_have_count(SHEETS)
        expect(window.role("more")).to_have_count(0)
        assert window.role("tile").count() <= 7 * SHEET
        expect(window.page).to_have_url(re.compile(r"\?page=[89]$"))
        window.role("page").first.evaluate("each => each.scrollIntoView()")
        expect(window.role("page").first.locator("[data-role=tile]")).to_have_count(SHEET)
        expect(window.page).to_have_url(f"{plenty}/")


def test_sheets_that_were_emptied_are_as_high_as_others_at_any_width(browser: Browser, plenty: str) -> None:
    with watched(browser, plenty) as window:
        window.goto("/")
        to_the_end(window)
        for width in (WIDE[0], 800, NARROW[0]):
            window.page.set_viewport_size({"width": width, "height": 900})
            heights = "all => all.map(each => Math.round(each.getBoundingClientRect().height))"
            sheets = window.role("page").evaluate_all(heights)
            assert window.page.locator("[data-role=page]:empty").count()
            assert max(sheets) - min(sheets) <= 1, width


def test_a_scroll_right_after_the_wall_has_grown_makes_it_grow_again(browser: Browser, plenty: str) -> None:
    """Before a frame is drawn, so that none shows that its end was out of sight."""
    with watched(browser, plenty) as window:
        window.goto("/")
        window.page.evaluate("""() => {
            const end = () => [...document.querySelectorAll("[data-role=page]")].at(-1).scrollIntoView({block: "end"});
            const more = document.querySelector("[data-role=more]");
            const isFar = () => more.getBoundingClientRect().top >= innerHeight + 3000;
            document.addEventListener("congener:grown", () => queueMicrotask(() => isFar() && end()));
            end();
        }""")
        expect(window.role("page")).to_have_count(SHEETS)


def test_a_picture_deep_in_the_wall_is_found_again(browser: Browser, plenty: str) -> None:
    with watched(browser, plenty) as window:
        window.goto("/")
        to_the_end(window)
        tile = window.page.locator(f'[data-role=page][data-page="{SHEETS}"] [data-role=tile]').nth(30)
        id = tile.get_attribute("data-id")
        tile.click()
        window.shows(f"id={id}")
        window.page.go_back()

        again = window.page.locator(f'[data-role=tile][data-id="{id}"]')
        expect(again).to_be_focused()
        expect(again).to_be_in_viewport()


def test_progress_of_indexing_and_what_is_new(browser: Browser, tmp_path: Path) -> None:
    encoder = Slow()
    folder = paint(tmp_path / "colours")
    with (
        Gallery(folder, encoder=encoder) as gallery,
        serving(gallery, update=True) as home,
        watched(browser, home) as window,
    ):
        try:
            window.goto("/")
            expect(window.role("progress")).to_be_visible()
            expect(window.role("progress-text")).to_have_text("Indexing: 4 of 5")
            expect(window.role("empty")).to_contain_text("on their way")
        finally:
            encoder.go_on.set()

        expect(window.role("fresh")).to_have_text("5 new images: show")
        expect(window.role("tile")).to_have_count(0)  # nothing moves by itself
        window.role("fresh").click()
        expect(window.role("tile")).to_have_count(5)
        expect(window.role("progress")).to_be_hidden()


def test_what_indexing_says_can_be_put_away(browser: Browser, tmp_path: Path) -> None:
    folder = paint(tmp_path / "colours")
    (folder / "broken.png").write_bytes(b"no picture")
    with (
        Gallery(folder, encoder=MeanColour()) as gallery,
        serving(gallery, update=True) as home,
        watched(browser, home) as window,
    ):
        window.goto("/")
        expect(window.role("progress-text")).to_contain_text("1 of 6 files can't be read")
        window.role("progress-close").click()
        expect(window.role("progress-text")).to_be_empty()
        with window.page.expect_response("**/events"):
            window.page.reload()
        expect(window.role("tile")).to_have_count(5)
        expect(window.role("progress-close")).to_be_hidden()


def test_names_with_markup_are_text(window: Window, painted: Gallery) -> None:
    id = id_of(painted, f"{MARKUP}/{MARKUP}.png")
    window.goto("/")
    title = window.page.title()
    expect(window.role("label").filter(has_text=MARKUP)).to_have_count(1)
    window.goto(f"/search?id={id}&k=3")
    expect(window.page.locator("h1")).to_have_text(f"{MARKUP}.png")
    window.role("target-facts").click()
    expect(window.role("specimen").locator("h1")).to_have_text(f"{MARKUP}.png")
    window.page.keyboard.press("Escape")
    window.hit(0).locator("[data-role=thumb-up]").click()
    expect(window.role("chip")).to_have_count(1)
    window.role("label-filter").fill(MARKUP)
    window.role("label-filter").press("Enter")
    expect(window.page.locator(".chosen-labels bdi")).to_have_text(MARKUP)
    expect(window.role("empty")).to_be_visible()  # only what is asked with has this label

    assert window.page.locator('img[src="x"]').count() == 0
    assert "run" != window.page.title() != title


def test_a_login_link_lets_the_browser_in(browser: Browser, painted: Gallery) -> None:
    with serving(painted, token="abc def/%") as home, watched(browser, home) as window:
        window.goto("/")
        expect(window.page.locator("body")).to_contain_text("a token is needed")
        window.goto("/login?token=wrong")
        expect(window.role("tile")).to_have_count(0)
        window.expected("401")

        window.goto("/login?token=abc%20def%2F%25")

        expect(window.page).to_have_url(f"{home}/")
        (cookie,) = window.page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        window.role("tile").first.click()
        expect(window.role("hit")).to_have_count(10)
        assert window.hit(0).locator("img").evaluate("each => each.decode().then(() => each.naturalWidth)")


def test_without_a_script_the_page_answers(browser: Browser, home: str) -> None:
    with watched(browser, home, java_script_enabled=False) as window:
        window.goto("/")
        expect(window.role("drop")).to_be_hidden()
        window.role("more").click()
        expect(window.role("wall")).to_have_attribute("data-page", "2")
        window.role("tile").first.click()
        expect(window.role("hit")).to_have_count(10)
        expect(window.role("why").first).to_be_hidden()
        window.hit(2).locator("[data-role=thumb-up]").click()
        expect(window.role("chip")).to_have_count(1)
        window.role("undo").click()
        expect(window.role("chip")).to_have_count(0)
        window.role("k").fill("4")
        window.page.get_by_role("button", name="Apply").click()
        expect(window.role("hit")).to_have_count(4)
        window.hit(1).locator("[data-role=open]").click()
        expect(window.role("specimen")).to_be_visible()
        window.role("more-like-this").click()
        expect(window.role("hit")).to_have_count(10)
