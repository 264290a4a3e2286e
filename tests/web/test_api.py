"""The API: what each address answers, and the one line that it says when something is wrong."""

import base64
import json
import os
import re
import shutil
import sys
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from congener.gallery import Gallery
from congener.web.app import create_app
from congener.web.desk import Desk
from congener.web.facts import Limits
from tests.conftest import MeanColour
from tests.web.conftest import asking, indexed, listening, png, problem, wait_until

RED = base64.b64encode(png("red")).decode()


def ids(response: Any) -> list[int]:
    """Return the ids of an answer's hits."""
    assert response.status_code == 200, response.text
    return [hit["id"] for hit in response.json()["hits"]]


def test_the_gallery_tells_its_facts(shared: TestClient) -> None:
    facts = shared.get("/api/gallery").json()

    assert facts["images"] == 5
    assert facts["unlabelled"] == 1
    assert [(each["label"], each["count"]) for each in facts["labels"]] == [("cold", 2), ("warm", 2)]
    assert facts["encoder"]["name"] == "mean-colour"
    assert facts["adapted"] is False
    assert facts["indexing"]["state"] == "idle"
    assert facts["indexing"]["images"] == 5


def test_images_come_in_pages(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    (folder / "kind").mkdir(parents=True)
    for number in range(61):
        (folder / f"kind/{number:02}.png").write_bytes(png((number, 0, 0)))
    with indexed(folder) as gallery, asking(gallery) as client:
        first, second, third = (client.get(f"/api/images?page={page}").json() for page in (1, 2, 3))

        assert (first["page"], first["pages"], first["total"], first["size"]) == (1, 2, 61, 60)
        assert [each["id"] for each in first["images"]] == list(range(1, 61))
        assert [each["path"] for each in second["images"]] == ["kind/60.png"]
        assert third["images"] == []


def test_images_of_a_label(shared: TestClient) -> None:
    found = shared.get("/api/images", params={"label": "WARM"}).json()

    assert [each["path"] for each in found["images"]] == ["warm/orange.png", "warm/red.png"]
    assert found["total"] == 2
    detail = problem(shared.get("/api/images", params={"label": "hot"}), 422)
    assert "'hot'" in detail
    assert "cold, warm" in detail


def test_one_image(shared: TestClient) -> None:
    image = shared.get("/api/images/5").json()

    assert (image["path"], image["label"], image["width"], image["height"]) == ("warm/red.png", "warm", 12, 12)
    assert image["bytes"] == len(png("red"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", image["modified"])


@pytest.mark.parametrize("what", ["", "/file", "/thumbnail"])
@pytest.mark.parametrize(
    ("id", "status"),
    [("6", 404), (str(2**53 - 1), 404), ("0", 422), ("-1", 422), (str(2**53), 422), (str(2**63), 422),
     ("1" + "0" * 5000, 422), ("1.5", 422), ("1e0", 422), ("true", 422), ("one", 422), ("%201", 200), ("٣", 422),
     ("0x1", 422), ("nan", 422), ("null", 422), ("1%00", 422)],
)  # fmt: skip
def test_ids_of_no_image(shared: TestClient, what: str, id: str, status: int) -> None:
    response = shared.get(f"/api/images/{id}{what}")

    if status == 200:  # a blank counts for nothing
        assert response.status_code in (200, 422)
    else:
        assert "id" in problem(response, status)


def test_nothing_in_the_address_is_dropped_in_silence(shared: TestClient) -> None:
    assert "label, page" in problem(shared.get("/api/images?lable=warm"), 422)
    assert "'sise'" in problem(shared.get("/api/images/1/thumbnail?sise=320"), 422)
    assert "takes none" in problem(shared.get("/api/gallery?x=1"), 422)
    assert "takes none" in problem(shared.post("/api/search?k=3", json={"id": 1}), 422)
    for page in ("0", "-1", "1.5", "x", str(10**30)):
        assert "page" in problem(shared.get(f"/api/images?page={page}"), 422)


def test_what_is_nowhere_and_what_is_not_done(shared: TestClient) -> None:
    assert "/openapi.json" in problem(shared.get("/api/nothing"), 404)
    refused = shared.delete("/api/images/1")
    assert problem(refused, 405) == "this address takes GET, not DELETE"
    for path in ("/api/duplicates", "/api/evaluation"):
        refused = shared.put(path)
        assert "GET, POST" in problem(refused, 405)
        assert refused.headers["allow"] == "GET, POST"
    page = shared.put("/search")
    assert page.status_code == 405
    assert page.headers["content-type"].startswith("text/html")


# files and thumbnails


def test_the_file_as_it_is(shared: TestClient) -> None:
    response = shared.get("/api/images/5/file")

    assert response.content == png("red")
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-disposition"] == "inline; filename*=UTF-8''red.png"
    again = shared.get("/api/images/5/file", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]


def test_a_part_of_the_file(shared: TestClient) -> None:
    part = shared.get("/api/images/5/file", headers={"Range": "bytes=1-3"})

    assert (part.status_code, part.content) == (206, b"PNG")
    assert shared.get("/api/images/5/file", headers={"Range": "bytes=99999-"}).status_code == 416
    for odd in ("bytes=", "bytes=x-y", "lines=1-2", "bytes=5-2,", "1-2"):
        assert "bytes=FIRST-LAST" in problem(shared.get("/api/images/5/file", headers={"Range": odd}), 400)


def test_every_format_has_a_thumbnail(tmp_path: Path) -> None:
    folder = tmp_path / "formats"
    folder.mkdir()
    modes = {"a.JPG": "CMYK", "b.tif": "RGB", "c.tiff": "I;16", "d.webp": "RGBA", "e.gif": "P", "f.bmp": "L",
             "g.avif": "RGB", "h.png": "LA", "i.jfif": "L"}  # fmt: skip
    for number, (name, mode) in enumerate(modes.items()):
        Image.new(mode, (400 + number, 200)).save(folder / name)
    with indexed(folder) as gallery, asking(gallery) as client:
        kinds = {}
        for image in client.get("/api/images").json()["images"]:
            thumbnail = client.get(f"/api/images/{image['id']}/thumbnail")
            assert thumbnail.headers["content-type"] == "image/webp"
            assert Image.open(BytesIO(thumbnail.content)).width == 320
            kinds[image["path"]] = client.get(f"/api/images/{image['id']}/file").headers["content-type"]

    assert kinds == {
        "a.JPG": "image/jpeg", "b.tif": "image/tiff", "c.tiff": "image/tiff", "d.webp": "image/webp",
        "e.gif": "image/gif", "f.bmp": "image/bmp", "g.avif": "image/avif", "h.png": "image/png",
        "i.jfif": "image/jpeg",
    }  # fmt: skip


def test_heic_has_one_too(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    folder = tmp_path / "heic"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[1] / "data/red.heic", folder / "a.HEIC")
    with indexed(folder) as gallery, asking(gallery) as client:
        assert client.get("/api/images/1/thumbnail").headers["content-type"] == "image/webp"
        assert client.get("/api/images/1/file").headers["content-type"] == "image/heic"


def test_thumbnails_are_upright_and_of_two_sizes(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    picture = Image.new("RGB", (2000, 1000), "blue")
    picture.paste("red", (0, 0, 1000, 1000))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    picture.save(folder / "turned.jpg", exif=exif)
    with indexed(folder) as gallery, asking(gallery) as client:
        for side in (320, 1280):
            small = Image.open(BytesIO(client.get(f"/api/images/1/thumbnail?size={side}").content)).convert("RGB")
            assert small.size == (side // 2, side)
            red, blue = (small.getpixel((small.width // 2, place)) for place in (10, side - 10))
            assert isinstance(red, tuple)
            assert isinstance(blue, tuple)
            assert (red[0] > 200, red[2] < 60) == (True, True)
            assert (blue[2] > 200, blue[0] < 60) == (True, True)
        facts = client.get("/api/images/1").json()
        assert (facts["width"], facts["height"]) == (1000, 2000)


def test_a_thumbnail_is_made_once_and_known_by_its_etag(client: TestClient) -> None:
    first = client.get("/api/images/1/thumbnail")
    etag = first.headers["etag"]

    assert "private" in first.headers["cache-control"]
    for known in (etag, f'"other", {etag}', f"W/{etag}"):
        again = client.get("/api/images/1/thumbnail", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert client.get("/api/images/1/thumbnail", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/api/images/1/thumbnail?size=1280").headers["etag"] != etag
    assert client.get("/api/images/2/thumbnail").headers["etag"] != etag


@pytest.mark.parametrize("size", ["0", "321", "-320", "1e3", "x", str(2**70), "320.5"])
def test_thumbnails_of_other_sizes_are_refused(shared: TestClient, size: str) -> None:
    assert "size" in problem(shared.get(f"/api/images/1/thumbnail?size={size}"), 422)
    assert "320, 1280" in problem(shared.get("/api/images/1/thumbnail?size=321"), 422)


def test_a_picture_that_is_gone_or_damaged(colours: Path) -> None:
    with indexed(colours) as gallery, asking(gallery) as client:
        (colours / "cold/blue.png").unlink()
        (colours / "cold/cyan.png").write_bytes(png("cyan")[:50])

        for what in ("thumbnail", "file"):
            assert "image 1, cold/blue.png, can't be read now" in problem(client.get(f"/api/images/1/{what}"), 404)
            assert "cold/cyan.png: changed since" in problem(client.get(f"/api/images/2/{what}"), 409)
        assert client.get("/api/images/1").json()["width"] is None
        assert 1 in ids(client.post("/api/search", json={"id": 3}))  # it is still known
        assert "No such file" in problem(client.post("/api/search", json={"id": 1, "box": [0, 0, 5, 5]}), 404)
        assert client.get("/search?id=3").status_code == 200


# searches


def test_an_answer_in_json(shared: TestClient) -> None:
    answer = shared.post("/api/search", json={"id": 5, "k": 2}).json()

    assert answer.keys() == {"query", "k", "hits"}
    assert answer["k"] == 2
    first = answer["hits"][0]
    assert first.keys() == {"rank", "score", "similarity", "id", "path", "label", "label_name"}
    assert (first["rank"], first["id"], first["path"], first["label"]) == (1, 4, "warm/orange.png", "warm")
    assert 0 <= first["similarity"] <= 1


def test_a_picture_may_come_in_several_ways(shared: TestClient) -> None:
    key = shared.post("/api/uploads", files={"image": ("red.png", png("red"))}).json()["upload"]
    ways = [
        shared.post("/api/search", files={"image": ("red.png", png("red"))}),
        shared.post("/api/search", json={"image": RED}),
        shared.post("/api/search", json={"image": f"data:image/png;base64,{RED}"}),
        shared.post("/api/search", json={"upload": key}),
        shared.post("/api/search", data={"upload": key}, files={"image": ("", b"")}),  # none chosen
    ]

    assert [ids(way) for way in ways] == [[5, 4, 1, 3, 2]] * 5
    assert len({json.dumps(way.json()["hits"]) for way in ways}) == 1
    assert ways[0].json()["query"] == "red.png"


def test_a_form_holds_what_json_does(shared: TestClient) -> None:
    form = {"k": "3", "box": "0,0,5,5", "positive": ["1", "2"], "negative": "3", "label": ["cold", "warm"],
            "min_score": "0.01", "rerank": "qe"}  # fmt: skip
    content = {"k": 3, "box": [0, 0, 5, 5], "positive": [1, 2], "negative": [3], "label": ["cold", "warm"],
               "min_score": 0.01, "rerank": ["qe"], "image": RED}  # fmt: skip

    in_form = shared.post("/api/search", data=form, files={"image": ("red.png", png("red"))})
    in_json = shared.post("/api/search", json=content)

    assert ids(in_form) == ids(in_json)
    assert in_form.json()["hits"] == in_json.json()["hits"]


def test_what_is_empty_in_a_form_is_not_given(shared: TestClient) -> None:
    empty = dict.fromkeys(("id", "upload", "box", "k", "label", "min_score", "rerank", "positive", "negative"), "")

    answer = shared.post("/api/search", data=empty, files={"image": ("red.png", png("red"))})

    assert ids(answer) == [5, 4, 1, 3, 2]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "exactly one of: id, upload, image"),
        ({"id": 1, "image": RED}, "exactly one of"),
        ({"id": 1, "upload": "0" * 32}, "exactly one of"),
        ({"id": None}, "exactly one of"),
        ([], "dict"),
        (None, "dict"),
        ("x", "dict"),
        (5, "dict"),
        ({"ID": 1}, "choose one of: id, upload, image, box, positive, negative, k, label, min_score, rerank"),
        ({"id": 1, "a\nb": 1}, "choose one of"),
        ({"id": 1, "x" * 10_000: 1}, "choose one of"),
        ({"id": 0}, "id"),
        ({"id": -1}, "id"),
        ({"id": 2**53}, "id"),
        ({"id": 2**63}, "id"),
        ({"id": 10**400}, "id"),
        ({"id": 1.5}, "id"),
        ({"id": True}, "id"),
        ({"id": "one"}, "id"),
        ({"id": [1]}, "id"),
        ({"id": float("nan")}, "id"),
        ({"upload": "x"}, "upload"),
        ({"upload": "../../etc/passwd"}, "upload"),
        ({"upload": 5}, "upload"),
        ({"image": "no base64!"}, "base64"),
        ({"image": "abc"}, "base64"),
        ({"image": "é"}, "base64"),
        ({"image": "data:image/png;base64"}, ""),
        ({"image": ""}, ""),
        ({"image": base64.b64encode(b"no picture").decode()}, "not an image"),
        ({"image": "http://127.0.0.1/a.png"}, "base64"),
        ({"image": "file:///etc/passwd"}, "base64"),
        ({"image": 5}, "image"),
        ({"id": 1, "k": 0}, "k"),
        ({"id": 1, "k": -1}, "k"),
        ({"id": 1, "k": 1001}, "1000"),
        ({"id": 1, "k": 1.5}, "k"),
        ({"id": 1, "k": True}, "k"),
        ({"id": 1, "k": None}, "k"),
        ({"id": 1, "min_score": -0.1}, "min_score"),
        ({"id": 1, "min_score": 1.1}, "min_score"),
        ({"id": 1, "min_score": float("nan")}, "min_score"),
        ({"id": 1, "min_score": True}, "min_score"),
        ({"id": 1, "box": [0, 0, 0, 5]}, "box"),
        ({"id": 1, "box": [0, 0, 5, -5]}, "box"),
        ({"id": 1, "box": [0, 0, float("inf"), 5]}, "box"),
        ({"id": 1, "box": [float("nan"), 0, 5, 5]}, "box"),
        ({"id": 1, "box": [0, 0, 1e308, float("-inf")]}, "box"),
        ({"id": 1, "box": [0, 0, 5]}, "box"),
        ({"id": 1, "box": [0, 0, 5, 5, 5]}, "box"),
        ({"id": 1, "box": "0,0,5"}, "box"),
        ({"id": 1, "box": [True, 0, 5, 5]}, "box"),
        ({"id": 1, "box": [100, 100, 5, 5]}, "12 × 12 pixels"),
        ({"id": 1, "box": [-10, -10, 5, 5]}, "12 × 12 pixels"),
        ({"id": 1, "positive": [0]}, "positive"),
        ({"id": 1, "positive": 1}, "positive"),
        ({"id": 1, "positive": ["x"]}, "positive"),
        ({"id": 1, "positive": [True]}, "positive"),
        ({"id": 1, "negative": list(range(1, 102))}, "negative"),
        ({"id": 1, "positive": [0] * 100}, "and 97 more"),
        ({"id": 1, "label": ["hot"]}, "cold, warm"),
        ({"id": 1, "label": "hot"}, "cold, warm"),
        ({"id": 1, "label": ["a\nb\u2028<script>"]}, "cold, warm"),
        ({"id": 1, "label": ["\ud800"]}, "label"),
        ({"id": 1, "label": ["x" * 1001]}, "label"),
        ({"id": 1, "label": [5]}, "label"),
        ({"id": 1, "rerank": ["best"]}, "aqe"),
        ({"id": 1, "rerank": ["qe:x=1"]}, ""),
        ({"id": 1, "rerank": ["qe:n=zzz"]}, ""),
        ({"id": 1, "rerank": ["qe:n=-5"]}, ""),
        ({"id": 1, "rerank": ["a\nb"]}, "aqe"),
        ({"id": 1, "rerank": [""]}, ""),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(shared: TestClient, sent: Any, said: str) -> None:
    response = shared.post("/api/search", content=json.dumps(sent), headers={"Content-Type": "application/json"})

    assert said in problem(response, 422)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"id": 1' + b"0" * 5000 + b"}", b'{"id": 1}x'])
def test_what_is_no_json(shared: TestClient, body: bytes) -> None:
    problem(shared.post("/api/search", content=body, headers={"Content-Type": "application/json"}), 422)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/xml", "x"])
def test_other_content_is_refused(shared: TestClient, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    for path in ("/api/search", "/api/explain"):
        assert "application/json" in problem(shared.post(path, content=b'{"id": 1}', headers=headers), 415)
    assert "multipart/form-data" in problem(shared.post("/api/uploads", content=b"x", headers=headers), 415)
    assert ids(shared.post("/api/search", content=b'{"id": 1}', headers={"Content-Type": "Application/JSON; x=y"}))


def test_wrong_forms(shared: TestClient) -> None:
    picture = {"image": ("a.png", png("red"))}
    assert "choose one of: id" in problem(shared.post("/api/search", data={"K": "1"}, files=picture), 422)
    assert "given twice" in problem(shared.post("/api/search", data={"k": ["1", "2"]}, files=picture), 422)
    assert "field image" in problem(shared.post("/api/search", files={"picture": ("a.png", png("red"))}), 422)
    assert "exactly one" in problem(shared.post("/api/search", data={"id": "1"}, files=picture), 422)
    assert "file" in problem(shared.post("/api/search", files={"image": (None, "text")}), 422)
    assert "positive" in problem(shared.post("/api/search", data={"positive": "1,2"}, files=picture), 422)
    assert "box" in problem(shared.post("/api/search", data={"box": "0,0,5"}, files=picture), 422)
    two = [("image", ("a.png", png("red"))), ("image", ("b.png", png("blue")))]
    problem(shared.post("/api/search", files=two), 400)
    many = {f"x{number}": "1" for number in range(1001)}
    problem(shared.post("/api/search", data=many, files=picture), 400)
    headers = {"Content-Type": "multipart/form-data"}
    problem(shared.post("/api/search", content=b"x", headers=headers), 400)
    assert "one field, image" in problem(shared.post("/api/uploads", data={"k": "1"}, files=picture), 422)
    assert "one field, image" in problem(shared.post("/api/uploads", files={"x": (None, "1")}), 422)


def test_the_most_hits_that_there_are(shared: TestClient) -> None:
    assert len(ids(shared.post("/api/search", json={"id": 1, "k": 1000}))) == 4
    assert len(ids(shared.post("/api/search", json={"id": 1, "k": 1}))) == 1


def test_positives_stay_and_negatives_go(shared: TestClient) -> None:
    plain = ids(shared.post("/api/search", json={"id": 5}))
    liked = ids(shared.post("/api/search", json={"id": 5, "positive": [1]}))
    unlike = ids(shared.post("/api/search", json={"id": 5, "negative": [4]}))

    assert plain == [4, 1, 3, 2]
    assert sorted(liked) == sorted(plain)
    assert liked.index(1) < plain.index(1) or liked[0] == 1
    assert 4 not in unlike
    assert sorted(unlike) == [1, 2, 3]
    for name in ("positive", "negative"):
        assert "id 99" in problem(shared.post("/api/search", json={"id": 5, name: [1, 99]}), 404)


def test_labels_narrow_the_answer(shared: TestClient) -> None:
    assert ids(shared.post("/api/search", json={"id": 5, "label": ["warm"]})) == [4]
    assert ids(shared.post("/api/search", json={"id": 5, "label": "cold"})) == [1, 2]
    assert sorted(ids(shared.post("/api/search", json={"id": 5, "label": ["warm,COLD"]}))) == [1, 2, 4]


def test_a_least_score_narrows_the_answer(shared: TestClient) -> None:
    hits = shared.post("/api/search", json={"id": 5}).json()["hits"]
    bar = hits[1]["similarity"]

    assert ids(shared.post("/api/search", json={"id": 5, "min_score": bar})) == [hit["id"] for hit in hits[:2]]


# labels and names that mean harm


ODD = ["<script>alert(1)</script>", "a, b", 'quo"te', "new\nline", "perc%20ent", "ümläut", "a'b;c=d", "\u202egnp"]


@pytest.mark.skipif(sys.platform == "win32", reason="such names can't be there")
def test_odd_labels_and_names_go_through_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    for number, name in enumerate(ODD):
        place = folder / name.replace("/", "∕")
        place.mkdir(parents=True)
        (place / f"{place.name}.png").write_bytes(png((number * 30, 9, 99)))
    bad = os.path.join(os.fsencode(folder), b"by\xfftes")
    os.mkdir(bad)
    Path(os.fsdecode(os.path.join(bad, b"f\xfe\r\nX-Evil: 1.png"))).write_bytes(png("red"))
    with indexed(folder) as gallery, asking(gallery) as client:
        images = client.get("/api/images").json()["images"]
        assert len(images) == len(ODD) + 1
        labels = {each["label"] for each in client.get("/api/gallery").json()["labels"]}
        assert labels >= {name.replace("/", "∕") for name in ODD}
        for image in images:
            label = image["label"]
            found = client.post("/api/search", content=json.dumps({"id": image["id"], "k": 100}),
                                headers={"Content-Type": "application/json"})  # fmt: skip
            assert len(found.json()["hits"]) == len(ODD)
            others = client.post("/api/search", content=json.dumps({"image": RED, "label": [label]}),
                                 headers={"Content-Type": "application/json"})  # fmt: skip
            if label == "by\udcfftes":  # what is no text can't be asked for
                problem(others, 422)
            else:
                assert [hit["label"] for hit in others.json()["hits"]] == [label]
            served = client.get(f"/api/images/{image['id']}/file")
            assert served.status_code == 200
            disposition = served.headers["content-disposition"]
            assert re.fullmatch(r"inline; filename\*=UTF-8''[\w%.~-]+", disposition)
            assert "x-evil" not in served.headers
            for page in (f"/images/{image['id']}", f"/search?id={image['id']}"):
                shown = client.get(page)
                assert shown.status_code == 200
                assert "<script>alert" not in shown.text
        start = client.get("/")
        assert "<script>alert" not in start.text
        assert "&lt;script&gt;alert" in start.text


@pytest.mark.parametrize(
    "name",
    ["<script>.png", 'a"b.png', "../../etc/passwd", "C:\\x\\y.png", "..", "", "x" * 300, "\u202e.png", "a;b=c.png"],
)
def test_an_uploads_name_is_only_a_name(shared: TestClient, name: str) -> None:
    response = shared.post("/api/uploads", files={"image": (name or "x", png("red"))})

    told = response.json()
    assert response.status_code == 201
    assert 0 < len(told["name"]) <= 200
    assert "/" not in told["name"]
    assert "\\" not in told["name"]
    page = shared.get(f"/search?upload={told['upload']}")
    assert page.status_code == 200
    assert "<script>.png" not in page.text


# uploads


def test_an_upload_is_kept_and_found_again(colours: Path) -> None:
    with indexed(colours) as gallery:
        with asking(gallery) as client:
            kept = client.post("/api/uploads", files={"image": ("mine.png", png("red", (40, 20)))})
            assert kept.status_code == 201
            told = kept.json()
            assert told | {"upload": ""} == {"upload": "", "name": "mine.png", "width": 40, "height": 20}
            assert re.fullmatch("[0-9a-f]{32}", told["upload"])
            assert client.post("/api/uploads", files={"image": ("mine.png", png("red", (40, 20)))}).json() == told
        with asking(gallery) as client:  # another day
            assert client.get(f"/api/uploads/{told['upload']}").json()["width"] == 40
            thumbnail = client.get(f"/api/uploads/{told['upload']}/thumbnail")
            assert Image.open(BytesIO(thumbnail.content)).size == (40, 20)
            assert thumbnail.headers["etag"]
            assert ids(client.post("/api/search", json={"upload": told["upload"]}))[0] == 5
            page = client.get(f"/search?upload={told['upload']}")
            assert page.status_code == 200
            assert "mine.png" in page.text


def test_uploads_that_are_not_there(shared: TestClient) -> None:
    gone = "0" * 32
    for path in (f"/api/uploads/{gone}", f"/api/uploads/{gone}/thumbnail"):
        assert "upload it again" in problem(shared.get(path), 404)
    assert "upload it again" in problem(shared.post("/api/search", json={"upload": gone}), 404)
    page = shared.get(f"/search?upload={gone}")
    assert page.status_code == 404
    assert "upload it again" in page.text


def test_the_oldest_upload_goes_first(colours: Path) -> None:
    noise = [os.urandom(3 * 64 * 64) for _ in range(4)]
    files = []
    for pixels in noise:
        file = BytesIO()
        Image.frombytes("RGB", (64, 64), pixels).save(file, "PNG")
        files.append(file.getvalue())
    with indexed(colours) as gallery, asking(gallery, limits=Limits(cache_bytes=3 * len(files[0]) + 99)) as client:
        keys = [client.post("/api/uploads", files={"image": file}).json()["upload"] for file in files]

        statuses = [client.get(f"/api/uploads/{key}").status_code for key in keys]

    assert statuses == [404, 200, 200, 200]


# when it can't be answered


def test_a_gallery_that_is_not_indexed_yet(colours: Path) -> None:
    with Gallery(colours, encoder=MeanColour()) as gallery, asking(gallery) as client:
        for response in (
            client.post("/api/search", json={"id": 1}),
            client.post("/api/search", json={"image": RED}),
            client.get("/api/images/1"),
            client.get("/api/images/1/thumbnail"),
        ):
            assert "indexed" in problem(response, 503)
            assert int(response.headers["retry-after"]) >= 1
        assert client.get("/api/gallery").json()["images"] == 0
        assert client.get("/api/images").json()["images"] == []
        assert client.get("/").status_code == 200
        assert client.get("/search?id=1").status_code == 503
        assert client.get("/metrics").status_code == 200


def test_an_empty_gallery(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with indexed(tmp_path / "empty") as gallery, asking(gallery) as client:
        assert client.get("/api/images").json()["total"] == 0
        assert ids(client.post("/api/search", json={"image": RED})) == []
        problem(client.post("/api/search", json={"id": 1}), 404)
        problem(client.post("/api/search", json={"image": RED, "label": ["x"]}), 422)
        assert client.get("/").status_code == 200
        assert client.post("/api/uploads", files={"image": png("red")}).status_code == 201
        for path in ("/evaluation", "/duplicates"):
            assert client.get(path).status_code == 200


def test_a_gallery_that_is_removed_meanwhile(colours: Path) -> None:
    with indexed(colours) as gallery, asking(gallery) as client:
        assert ids(client.post("/api/search", json={"id": 1}))
        shutil.rmtree(colours / ".congener")

        response = client.post("/api/search", json={"id": 1})
        problem(response, 503)
        assert response.headers["retry-after"]
        assert client.get("/api/gallery").json()["images"] == 0
        assert client.get("/").status_code == 200
        assert client.post("/api/uploads", files={"image": png("red")}).status_code in (201, 503)
        (colours / "warm/red.png").unlink()
        indexed(colours).close()  # made anew
        assert client.get("/api/gallery").json()["images"] == 4
        assert len(ids(client.post("/api/search", json={"image": RED}))) == 4


def test_more_searches_than_may_be_in_flight_are_told_to_come_again(
    colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    search = Desk._search

    def waiting(self: Desk, *args: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return search(self, *args)

    monkeypatch.setattr(Desk, "_search", waiting)
    answers: list[list[int]] = []
    with indexed(colours) as gallery, asking(gallery, limits=Limits(searches=1)) as client:
        first = threading.Thread(target=lambda: answers.append(ids(client.post("/api/search", json={"id": 5}))))
        first.start()
        try:
            assert begun.wait(20)
            for _ in range(5):
                refused = client.post("/api/search", json={"id": 1})
                assert "1 searches are in flight" in problem(refused, 503)
                assert int(refused.headers["retry-after"]) >= 1
            page = client.get("/search?id=1")
            assert page.status_code == 503
            assert page.headers["content-type"].startswith("text/html")
            assert client.get("/api/images/1").status_code == 200  # all else is answered
            assert client.get("/api/images/1/thumbnail").status_code == 200
        finally:
            go_on.set()
            first.join(20)
        assert client.post("/api/search", json={"id": 1}).status_code == 200

    assert answers == [[4, 1, 3, 2]]


def test_searches_are_all_answered_up_to_the_limit(colours: Path) -> None:
    statuses: list[int] = []
    with indexed(colours) as gallery, asking(gallery) as client:

        def ask(id: int) -> None:
            statuses.extend(client.post("/api/search", json={"id": id}).status_code for _ in range(20))

        threads = [threading.Thread(target=ask, args=(1 + number % 5,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert statuses == [200] * 320


# what takes a while


def test_duplicates_are_found(colours: Path) -> None:
    shutil.copy(colours / "warm/red.png", colours / "warm/copy.png")
    with indexed(colours) as gallery, asking(gallery) as client:
        assert client.get("/api/duplicates").json() == {"state": "none", "message": "", "groups": []}
        assert client.post("/api/duplicates").status_code == 202
        wait_until(lambda: client.get("/api/duplicates").json()["state"] != "running")
        told = client.get("/api/duplicates").json()

    assert told["state"] == "done"
    copies = [group for group in told["groups"] if group["kind"] == "copies"]
    assert [sorted(image["path"] for image in group["images"]) for group in copies] == [
        ["warm/copy.png", "warm/red.png"]
    ]


def test_an_evaluation_is_made(colours: Path) -> None:
    with indexed(colours) as gallery, asking(gallery) as client:
        assert client.get("/api/evaluation").json()["state"] == "none"
        assert client.post("/api/evaluation").status_code == 202
        wait_until(lambda: client.get("/api/evaluation").json()["state"] != "running")
        assert client.get("/api/evaluation").json()["state"] == "done"


def test_an_evaluation_without_labels_says_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for colour in ("red", "blue"):
        (folder / f"{colour}.png").write_bytes(png(colour))
    with indexed(folder) as gallery, asking(gallery) as client:
        client.post("/api/evaluation")
        wait_until(lambda: client.get("/api/evaluation").json()["state"] != "running")
        told = client.get("/api/evaluation").json()

    assert told["state"] == "failed"
    assert "label" in told["message"]


def test_a_job_is_done_once_at_a_time(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, times = threading.Event(), []

    def work(self: Desk, say: Any) -> dict[str, Any]:
        times.append(1)
        say("half of it")
        assert go_on.wait(20)
        return {"groups": []}

    monkeypatch.setattr(Desk, "find_duplicates", work)
    with indexed(colours) as gallery, asking(gallery) as client:
        for _ in range(3):
            told = client.post("/api/duplicates").json()
            assert told["state"] == "running"
        wait_until(lambda: client.get("/api/duplicates").json()["message"] == "half of it")
        go_on.set()
        wait_until(lambda: client.get("/api/duplicates").json()["state"] == "done")

    assert len(times) == 1


def test_the_folder_is_looked_at_again(colours: Path) -> None:
    with indexed(colours) as gallery, asking(gallery) as client:
        (colours / "warm/pink.png").write_bytes(png((255, 100, 150)))
        assert client.post("/api/update").status_code == 202
        wait_until(lambda: client.get("/api/gallery").json()["indexing"]["state"] == "idle")

        assert client.get("/api/gallery").json()["images"] == 6
        assert client.get("/api/images/6").json()["path"] == "warm/pink.png"


def test_counts_for_prometheus(client: TestClient) -> None:
    client.post("/api/search", json={"id": 1})
    client.get("/api/images/99")

    told = client.get("/metrics")

    assert told.headers["content-type"].startswith("text/plain")
    assert 'congener_requests_total{method="POST",route="/api/search",status="200"} 1.0' in told.text
    assert 'congener_requests_total{method="GET",route="/api/images/{id}",status="404"} 1.0' in told.text
    assert "congener_images 5.0" in told.text


def test_it_answers_over_the_wire_too(colours: Path) -> None:
    import http.client

    with indexed(colours) as gallery, listening(create_app(gallery, update=False)) as port:
        wire = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for _ in range(3):  # one connection
            wire.request("POST", "/api/search", json.dumps({"id": 5}), {"Content-Type": "application/json"})
            response = wire.getresponse()
            assert [hit["id"] for hit in json.loads(response.read())["hits"]] == [4, 1, 3, 2]
            wire.request("GET", "/api/images/5/file")
            assert wire.getresponse().read() == png("red")
        wire.close()
