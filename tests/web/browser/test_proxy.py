"""In a real browser: below a path, with a token. A window notes every request that isn't below the path."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from congener.gallery import Gallery
from tests.web.browser.conftest import NARROW, WIDE, file_of, problems_for_readers, serving, watched

TOKEN = "a-token-of-the-tests"


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_all_that_the_page_does_stays_below_its_path(
    browser: Browser, painted: Gallery, tmp_path: Path, size: tuple[int, int]
) -> None:
    with (
        serving(painted, root_path="/photos", token=TOKEN) as site,
        watched(browser, f"{site}/photos", size) as window,
    ):
        window.goto(f"/login?token={TOKEN}")
        expect(window.page).to_have_url(f"{window.home}/")
        expect(window.role("tile").first.locator("img")).to_be_visible()
        assert not problems_for_readers(window.page)
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert window.page.evaluate(overflow) == 0

        window.role("file").set_input_files(file_of("starfish", 7, tmp_path))
        expect(window.page).to_have_url(re.compile(rf"^{window.home}/search\?upload="))
        window.role("thumb-up", window.hit(1)).click()
        expect(window.page).to_have_url(re.compile(r"upload=\w+&positive=\d+$"))
        window.page.go_back()
        expect(window.page).to_have_url(re.compile(r"upload=\w+$"))
        window.role("why", window.hit(0)).click()
        expect(window.hit(0).locator("canvas")).to_be_visible()
        window.role("open", window.hit(0)).click()
        expect(window.role("larger").locator("dl")).to_be_visible()
        window.goto("/duplicates")
        window.role("start").click()
        expect(window.role("group").first.locator("img").first).to_be_visible()
        window.goto("/evaluation")
        window.role("start").click()
        expect(window.page.frame_locator("iframe").locator("h1")).to_be_visible()

        window.role("logout").get_by_role("button").click()
        expect(window.page.locator("body")).to_contain_text("You are logged out")
        window.goto("/")
        expect(window.page.locator("body")).to_contain_text("a token is needed")
        window.expected(r"401")
