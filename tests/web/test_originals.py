"""A picture is shown, asked with and explained only while its file holds what was indexed."""

import hashlib
import itertools
import os
from collections.abc import Callable
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from congener import original
from congener.errors import ChangedError
from congener.original import Verified, open_source, size_of_source
from congener.pictures import draw_sheet
from tests.conftest import plain
from tests.web.conftest import asking, indexed, png, problem

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures of one size: 0.png to 5.png."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        (folder / f"{number}.png").write_bytes(bmp(colour))
    return folder


def bmp(colour: str) -> bytes:
    """Return a file whose length doesn't depend on its colour."""
    file = BytesIO()
    plain(colour, (12, 12)).save(file, "BMP")
    return file.getvalue()


def rotate_names(folder: Path) -> None:
    """Rename each picture to the next one's name, as a batch renaming does: sizes and times of change go along."""
    for number in range(6):
        (folder / f"{number}.png").rename(folder / f"{number}.part")
    for number in range(6):
        (folder / f"{number}.part").rename(folder / f"{(number + 1) % 6}.png")


def overwrite(folder: Path) -> None:
    """Write each picture's contents into the next one's file, which keeps its size and time of change."""
    contents = [(folder / f"{number}.png").read_bytes() for number in range(6)]
    for number, content in enumerate(contents):
        path = folder / f"{(number + 1) % 6}.png"
        status = path.stat()
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def shown(response: Any) -> str:
    """Return the colour that a thumbnail, or a file, shows."""
    pixel = Image.open(BytesIO(response.content)).convert("RGB").getpixel((6, 6))
    assert isinstance(pixel, tuple)
    return min(COLOURS, key=lambda colour: sum(abs(a - b) for a, b in zip(pixel, rgb(colour), strict=True)))


def rgb(colour: str) -> tuple[int, ...]:
    pixel = plain(colour, (1, 1)).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


ASKED: list[Callable[[TestClient, int], Any]] = [
    lambda client, image: client.get(f"/api/images/{image}/thumbnail"),
    lambda client, image: client.get(f"/api/images/{image}/thumbnail?size=1280"),
    lambda client, image: client.get(f"/api/images/{image}/file"),
    lambda client, image: client.get(f"/api/images/{image}/file", headers={"Range": "bytes=0-9"}),
    lambda client, image: client.post("/api/search", json={"id": image, "box": [0, 0, 5, 5]}),
    lambda client, image: client.post("/api/explain", json={"id": image, "hit": 1 + image % 6}),
    lambda client, image: client.post("/api/explain", json={"id": 1 + image % 6, "hit": image}),
]


@pytest.mark.parametrize("change", [rotate_names, overwrite])
def test_no_other_picture_is_taken_for_it(folder: Path, change: Callable[[Path], None]) -> None:
    with indexed(folder) as gallery, asking(gallery) as client:
        change(folder)
        for asked, image in itertools.product(ASKED, range(1, 7)):
            response = asked(client, image)
            assert "changed since it was indexed" in problem(response, 409)
            assert ".png" in problem(response, 409)
            assert response.headers["cache-control"] == "no-store"
        assert client.get("/api/images/1").json()["width"] is None
        assert client.get("/search?id=1").status_code == client.get("/").status_code == 200


@pytest.mark.parametrize("seen_before", [True, False])
def test_after_the_next_update_each_shows_what_it_holds(folder: Path, seen_before: bool) -> None:
    with indexed(folder) as gallery:
        with asking(gallery) as client:
            if seen_before:
                assert [shown(client.get(f"/api/images/{id}/thumbnail")) for id in range(1, 7)] == COLOURS
            rotate_names(folder)
            for id in range(1, 7):  # kept or refused
                client.get(f"/api/images/{id}/thumbnail")
                client.post("/api/search", json={"id": id, "box": [0, 0, 5, 5]})
            gallery.update()
            for _ in range(2):
                check_all(client, folder)
        with asking(gallery) as again:  # from what is kept on disk
            check_all(again, folder)


def check_all(client: TestClient, folder: Path) -> None:
    for image in client.get("/api/images").json()["images"]:
        held = shown(type("File", (), {"content": (folder / image["path"]).read_bytes()}))
        for asked in ASKED[:3]:
            response = asked(client, image["id"])
            assert shown(response) == held
            assert response.headers["cache-control"] == "private, no-cache"
        found = client.post("/api/search", json={"id": image["id"], "box": [0, 0, 12, 12], "k": 5})
        assert found.status_code == 200


def test_a_thumbnail_of_an_older_version_is_not_trusted(folder: Path) -> None:
    """They were made from whatever the path held: what browsers and the disk keep of them is asked for no more."""
    with indexed(folder) as gallery, asking(gallery) as client:
        row = gallery.find(1)
        assert row is not None
        old = {"If-None-Match": f'"{row.content.hex()}-320"'}
        response = client.get("/api/images/1/thumbnail", headers=old)

        assert response.status_code == 200
        again = {"If-None-Match": response.headers["etag"]}
        assert client.get("/api/images/1/thumbnail", headers=again).status_code == 304


def test_a_picture_that_only_was_touched_is_shown(folder: Path) -> None:
    with indexed(folder) as gallery, asking(gallery) as client:
        for number in range(6):
            os.utime(folder / f"{number}.png", (1, 1))
        assert [shown(client.get(f"/api/images/{id}/thumbnail")) for id in range(1, 7)] == COLOURS


def test_a_vanished_picture_is_named_where_it_is_explained(folder: Path) -> None:
    with indexed(folder) as gallery, asking(gallery) as client:
        (folder / "3.png").unlink()
        for question in ({"id": 1, "hit": 4}, {"id": 4, "hit": 1}):
            assert "image 4, 3.png, can't be read now" in problem(client.post("/api/explain", json=question), 404)
        sent = client.post("/api/explain", files={"image": png("red")}, data={"hit": "4"})
        assert "3.png" in problem(sent, 404)


def test_a_sheet_and_an_explanation_show_only_what_was_indexed(folder: Path) -> None:
    with indexed(folder) as gallery:
        results = gallery.search(1, 5)
        sound = draw_sheet(results, plain("red", (12, 12)))
        rotate_names(folder)
        changed = draw_sheet(results, plain("red", (12, 12)))
        with pytest.raises(ChangedError, match=r"changed since"):
            gallery.embed(1, box=(0, 0, 5, 5))

    for column in range(4):  # the middles of the first row's pictures
        at = 36 + column * 262 + 120, 36 + 120
        assert sound.getpixel(at) == rgb(COLOURS[results[column].id - 1])
        assert changed.getpixel(at) not in [*map(rgb, COLOURS)]


def test_what_is_written_to_while_it_is_read_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    path.write_bytes(bmp("red"))
    with indexed(tmp_path) as gallery:
        asked = gallery.original(next(gallery.rows()))
    assert size_of_source(asked) == (12, 12)
    assert open_source(asked).getpixel((0, 0)) == (255, 0, 0)

    with path.open("ab") as other, pytest.raises(ChangedError), asked.opened():
        os.write(other.fileno(), b"x")


def test_a_file_that_just_changed_is_looked_through_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a file system may be so coarse that the next change shows the same time."""
    fine = original.state

    def coarse(file: BufferedReader) -> tuple[int, ...]:
        *which, modified, changed = fine(file)
        return *which, modified // 10**9, changed // 10**9 * 10**9

    monkeypatch.setattr(original, "state", coarse)
    path = tmp_path / "a.bmp"
    path.write_bytes(bmp("red"))
    with indexed(tmp_path) as gallery:
        asked = gallery.original(next(gallery.rows()))
    verified = Verified()
    for _ in range(2):
        with verified.open(asked) as file:
            assert file.read() == bmp("red")
    with path.open("r+b") as other:
        other.write(bmp("lime"))

    with pytest.raises(ChangedError):
        verified.open(asked)


def test_parts_of_a_file(folder: Path) -> None:
    whole = (folder / "0.png").read_bytes()
    with indexed(folder) as gallery, asking(gallery) as client:

        def part(asked: str, **more: str) -> tuple[int, bytes, str | None]:
            response = client.get("/api/images/1/file", headers={"Range": asked} | more)
            assert int(response.headers["content-length"]) == len(response.content)
            return response.status_code, response.content, response.headers.get("content-range")

        size = len(whole)
        assert part("bytes=0-3") == (206, whole[:4], f"bytes 0-3/{size}")
        assert part("bytes=5-") == (206, whole[5:], f"bytes 5-{size - 1}/{size}")
        assert part("bytes=-7") == (206, whole[-7:], f"bytes {size - 7}-{size - 1}/{size}")
        assert part(f"bytes=-{'9' * 30}") == (206, whole, f"bytes 0-{size - 1}/{size}")
        assert part(f"bytes=3-{'9' * 5000}") == (206, whole[3:], f"bytes 3-{size - 1}/{size}")
        assert part("bytes=0-1,5-6")[:2] == (200, whole)
        for none in (f"bytes={size}-", f"bytes={'9' * 5000}-", "bytes=5-3", "bytes=-0"):
            assert part(none) == (416, b"", f"bytes */{size}")
        etag = client.get("/api/images/1/file").headers["etag"]
        assert part("bytes=0-3", **{"If-Range": etag})[0] == 206
        assert part("bytes=0-3", **{"If-Range": '"another"'})[:2] == (200, whole)


def test_no_file_stays_open(folder: Path) -> None:
    def count() -> int:
        return sum(os.path.realpath(f"/proc/self/fd/{each}").endswith(".png") for each in os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    with indexed(folder) as gallery, asking(gallery) as client:
        etag = client.get("/api/images/1/file").headers["etag"]
        client.get("/api/images/1/file", headers={"Range": "bytes=9999999-"})
        client.get("/api/images/1/file", headers={"If-None-Match": etag})
        rotate_names(folder)
        client.get("/api/images/1/file")
        assert count() == 0


@pytest.mark.parametrize(("seconds", "times"), [(1, 2), (3, 1)])
def test_a_file_is_looked_through_again_while_it_may_be_written_within_one_tick_of_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, times: int
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    now = path.stat().st_ctime_ns + seconds * 10**9
    monkeypatch.setattr("congener.original.time.time_ns", lambda: now)
    looks: list[bytes] = []
    check = original._check

    def noted(file: BufferedReader, content: bytes) -> None:
        looks.append(content)
        check(file, content)

    monkeypatch.setattr(original, "_check", noted)
    verified, source = Verified(), original.Original(str(path), hashlib.sha256(b"content").digest())
    for _ in range(2):
        with verified.open(source) as file:
            assert file.read() == b"content"
    assert len(looks) == times
