"""What the page keeps of pictures: gone with them, made anew where it is damaged, done without on a full disk."""

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient

from congener.cache import NAME
from congener.cli import cli
from congener.gallery import Gallery
from congener.web.darkroom import key_of
from tests.conftest import MeanColour
from tests.web.conftest import asking, indexed, png, problem, wait_until


def draw(folder: Path, count: int = 4) -> list[bytes]:
    """Write pictures of noise, each another; return their thumbnails once they are asked for."""
    folder.mkdir()
    for number in range(count):
        noise = Image.frombytes("RGB", (64, 64), random.Random(number).randbytes(3 * 64 * 64))
        noise.save(folder / f"{number}.png")
    with indexed(folder) as gallery, asking(gallery) as client:
        return [client.get(f"/api/images/{id}/thumbnail").content for id in range(1, count + 1)]


def on_disk(store: Path, thumbnail: bytes) -> bool:
    """Tell whether a gallery's files hold any part of a thumbnail."""
    held = b"".join(path.read_bytes() for path in store.iterdir())
    return any(thumbnail[at : at + 48] in held for at in range(100, len(thumbnail) - 48, 400))


def by_update(folder: Path) -> None:
    with Gallery(folder, encoder=MeanColour()) as gallery:
        gallery.update()


def by_the_page(folder: Path) -> None:
    with Gallery(folder, encoder=MeanColour()) as gallery, asking(gallery, update=True) as client:
        wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "idle")
        wait_until(lambda: client.get("/api/gallery").json()["images"] < 4)


@pytest.mark.parametrize(("update", "how"), [(by_update, "removed"), (by_update, "edited"), (by_the_page, "removed")])
def test_the_thumbnails_of_a_picture_go_with_it(tmp_path: Path, update: Callable[[Path], None], how: str) -> None:
    folder = tmp_path / "photos"
    thumbnails = draw(folder)
    assert all(on_disk(folder / ".congener", each) for each in thumbnails)

    if how == "removed":
        (folder / "1.png").unlink()
    else:
        (folder / "1.png").write_bytes(png("red"))
    update(folder)

    left = [on_disk(folder / ".congener", each) for each in thumbnails]
    assert left == [True, False, True, True]


def test_the_command_line_drops_them_while_a_page_is_served(tmp_path: Path) -> None:
    """Its own process has the same file open, and goes on keeping."""
    folder = tmp_path / "photos"
    thumbnails = draw(folder)
    with Gallery(folder, encoder=MeanColour()) as gallery, asking(gallery) as client:
        assert client.get("/api/images/2/thumbnail").content == thumbnails[1]
        (folder / "1.png").unlink()
        by_update(folder)

        assert not on_disk(folder / ".congener", thumbnails[1])
        problem(client.get("/api/images/2/thumbnail"), 404)
        assert client.get("/api/images/3/thumbnail").content == thumbnails[2]


def test_a_thumbnail_made_while_its_picture_is_removed_goes_too(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(3 * 64 * 64)).save(folder / "0.png")
    for colour in ("red", "lime"):
        (folder / f"{colour}.png").write_bytes(png(colour))
    with indexed(folder) as gallery, asking(gallery) as client:
        darkroom: Any = client.app.state.desk._darkroom  # type: ignore[attr-defined]
        paint = darkroom.paint

        def slowly(source: Any, side: int) -> bytes:
            made: bytes = paint(source, side)
            (folder / "0.png").unlink()
            gallery.update()
            return made

        darkroom.paint = slowly
        thumbnail = client.get("/api/images/1/thumbnail").content

        assert len(thumbnail) > 1000
        assert not on_disk(folder / ".congener", thumbnail)


def test_index_drops_them(tmp_path: Path) -> None:
    """By the command that people use, with the real network."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        noise = Image.frombytes("RGB", (64, 64), random.Random(number).randbytes(3 * 64 * 64))
        noise.save(folder / f"{number}.png")
    assert CliRunner().invoke(cli, ["index", str(folder)]).exit_code == 0
    with Gallery(folder) as gallery, asking(gallery) as client:
        thumbnails = [client.get(f"/api/images/{id}/thumbnail").content for id in (1, 2, 3)]
    (folder / "1.png").unlink()
    assert CliRunner().invoke(cli, ["index", str(folder)]).exit_code == 0

    assert [on_disk(folder / ".congener", each) for each in thumbnails] == [True, False, True]


@pytest.mark.parametrize("number", range(3))
def test_a_damaged_page_of_it_stops_nothing(tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "photos"
    thumbnails = draw(folder, 12)
    place = folder / ".congener" / NAME
    pages = place.stat().st_size // 4096
    with place.open("r+b") as file:
        file.seek((pages * number // 3 + 1) * 4096)
        file.write(random.Random(number).randbytes(4096))
    with Gallery(folder, encoder=MeanColour()) as gallery, asking(gallery) as client:
        for _ in range(2):
            for id, thumbnail in enumerate(thumbnails, 1):
                assert client.get(f"/api/images/{id}/thumbnail").content == thumbnail
            sent = client.post("/api/uploads", files={"image": png("red")})
            assert sent.status_code == 201
            assert client.get("/search", params={"upload": sent.json()["upload"]}).status_code == 200
    assert [each.message for each in caplog.records if "made anew" in each.message] == [
        f"{place}, which keeps the page's thumbnails and uploads, was damaged: it is made anew"
    ]


def test_on_a_full_disk_only_what_must_be_kept_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    thumbnails = draw(folder)
    with Gallery(folder, encoder=MeanColour()) as gallery, asking(gallery) as client:
        fill(client)
        large = Image.frombytes("RGB", (200, 200), os.urandom(3 * 200 * 200))
        large.save(tmp_path / "large.png")
        content = (tmp_path / "large.png").read_bytes()

        refused = client.post("/api/uploads", files={"image": content})
        assert "no room" in problem(refused, 503)
        assert "retry-after" in refused.headers
        assert client.post("/api/search", files={"image": content}).status_code == 200
        assert client.get("/api/images/1/thumbnail").content == thumbnails[0]
        assert client.get("/api/images/1/thumbnail?size=1280").status_code == 200
        assert client.get("/").status_code == client.get("/search?id=1").status_code == 200


def fill(client: TestClient) -> None:
    """Let the cache's file grow no more: SQLite says of it what it says of a full disk."""
    client.get("/api/images/1/thumbnail")
    app: Any = client.app
    db: sqlite3.Connection = app.state.desk._darkroom._kept._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages + 1}")


def test_an_upload_is_named_by_all_of_it(tmp_path: Path) -> None:
    """Pictures of one camera begin with the same bytes."""
    files = []
    for colour in ("red", "blue"):
        noise = Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(3 * 64 * 64))
        noise.paste(colour, (0, 60, 64, 64))  # its last rows
        path = tmp_path / f"{colour}.bmp"
        noise.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)  # which a BMP begins with: now its last bytes
        files.append(path.read_bytes())
    assert files[0][:4096] == files[1][:4096]
    assert len(files[0]) == len(files[1])
    assert key_of(files[0]) != key_of(files[1])
    folder = tmp_path / "photos"
    draw(folder, 2)
    with Gallery(folder, encoder=MeanColour()) as gallery, asking(gallery) as client:
        sent = [client.post("/api/uploads", files={"image": file}).json()["upload"] for file in files]
        shown = [client.get(f"/api/uploads/{key}/thumbnail").content for key in sent]
    assert sent[0] != sent[1]
    assert shown[0] != shown[1]
