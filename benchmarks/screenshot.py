"""Take the README's picture of the page: an answer over painted specimens, in Debian's Chromium.

python benchmarks/screenshot.py            # into docs/page.png
python benchmarks/screenshot.py PLACE
"""

import argparse
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from common import ROOT
from congener import Gallery
from congener.cabinet import paint_cabinet
from congener.web.app import create_app
from congener.web.server import server

TARGET = "swallowtail-butterfly/swallowtail-butterfly-03.jpg"
SIZE = ViewportSize(width=1440, height=960)
SHOWN = 1200
"""Pixels of the picture's width."""


@contextmanager
def serving(gallery: Gallery) -> Iterator[str]:
    """Serve the page over a gallery; yield its address."""
    made = server(create_app(gallery))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not made.started:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            made.should_exit = True
            thread.join()


def refined(page: Page, address: str) -> None:
    """Ask, say yes to one hit and no to another, and rest on a third, as a visitor would."""
    page.goto(address)
    role = "[data-role=hit] [data-role=thumb-{}]"
    page.locator(role.format("up")).nth(4).click()
    expect(page.locator("[data-role=chip]")).to_have_count(1)
    page.locator(role.format("down")).last.click()
    expect(page.locator("[data-role=chip]")).to_have_count(2)
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    expect(page.locator("[data-role=progress]")).to_be_hidden()
    page.locator("[data-role=hit] [data-role=open]").nth(1).hover()
    expect(page.locator("canvas.heat")).to_have_count(2)
    page.evaluate("() => Promise.all([...document.images].map((each) => each.decode()))")


def take(place: Path) -> None:
    """Take the picture and write it as PNG, in few colours so that it stays small."""
    path = os.environ.get("CONGENER_BROWSER") or shutil.which("chromium")
    if not path:
        raise SystemExit("no browser: install Debian's chromium, or set CONGENER_BROWSER")
    with tempfile.TemporaryDirectory() as aside, sync_playwright() as playwright:
        folder = Path(aside) / "cabinet"
        paint_cabinet(folder)
        with Gallery(folder) as gallery:
            gallery.update()
            id = next(row.id for row in gallery.rows() if row.path == TARGET)
            with serving(gallery) as home:
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
                page = browser.new_page(viewport=SIZE, reduced_motion="reduce", color_scheme="light")
                refined(page, f"{home}/search?id={id}")
                shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
                browser.close()
    small = shot.resize((SHOWN, round(shot.height * SHOWN / shot.width)), Image.Resampling.LANCZOS)
    few = small.quantize(256, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    few.save(place, optimize=True)
    print(f"{place}: {place.stat().st_size:,} bytes")


def main() -> None:
    """Take it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("place", nargs="?", type=Path, default=ROOT / "docs" / "page.png")
    take(parser.parse_args().place)


if __name__ == "__main__":
    main()
