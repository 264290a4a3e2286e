"""The page, the API, the command line and Python give the same hits in the same order with the same scores."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from congener.cli import cli
from congener.gallery import Gallery
from tests.web.conftest import asking

Hits = list[dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """One question, in the words of each side."""

    api: dict[str, Any] = field(default_factory=dict)
    cli: tuple[str, ...] = ()
    python: dict[str, Any] = field(default_factory=dict)
    k: int = 10


QUESTIONS = {
    "plain": Asked(),
    "three": Asked(k=3),
    "all": Asked(k=1000),
    "box": Asked({"box": [30, 20, 120, 90]}, ("--box", "30,20,120,90"), {"box": (30, 20, 120, 90)}),
    "label": Asked({"label": ["stag-beetle"]}, ("--label", "stag-beetle"), {"labels": ["stag-beetle"]}),
    "labels": Asked(
        {"label": ["stag-beetle", "rose-chafer"]},
        ("--label", "stag-beetle,rose-chafer"),
        {"labels": ["stag-beetle", "rose-chafer"]},
    ),
    "min score": Asked({"min_score": 0.5}, ("--min-score", "0.5"), {"min_similarity": 0.5}),
    "qe": Asked({"rerank": ["qe"]}, ("--rerank", "qe"), {"rerank": ["qe"]}),
    "two": Asked(
        {"rerank": ["aqe:n=3", "kreciprocal"]},
        ("--rerank", "aqe:n=3", "--rerank", "kreciprocal"),
        {"rerank": ["aqe:n=3", "kreciprocal"]},
    ),
    "diffusion": Asked(
        {"rerank": ["diffusion"], "label": ["stag-beetle"]},
        ("--rerank", "diffusion", "--label", "stag-beetle"),
        {"rerank": ["diffusion"], "labels": ["stag-beetle"]},
    ),
}


@pytest.fixture(scope="module")
def gallery(cabinet: Path) -> Iterator[Gallery]:
    with Gallery(cabinet) as gallery:
        gallery.update()
        yield gallery


@pytest.fixture(scope="module")
def client(gallery: Gallery) -> Iterator[TestClient]:
    with asking(gallery) as client:
        yield client


@pytest.fixture(scope="module")
def outside(cabinet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is in no gallery, to be turned upright."""
    from PIL import Image

    with Image.open(next(cabinet.glob("stag-beetle/*"))) as picture:
        changed = picture.convert("RGB").resize((300, 260)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path_factory.mktemp("outside") / "from outside.jpg"
    changed.save(file, quality=80, exif=exif)
    return file


def in_python(gallery: Gallery, query: Any, asked: Asked) -> Hits:
    return [hit.as_dict() for hit in gallery.search(query, asked.k, **asked.python)]


def in_api(response: Any, asked: Asked) -> Hits:
    assert response.status_code == 200, response.text
    assert response.json()["k"] == asked.k
    hits: Hits = response.json()["hits"]
    return hits


def in_form(asked: Asked) -> dict[str, Any]:
    box = {"box": ",".join(map(str, asked.api["box"]))} if "box" in asked.api else {}
    return {"k": str(asked.k)} | asked.api | box


def on_command_line(gallery: Gallery, query: Path, asked: Asked, *more: str) -> Hits:
    args = [str(query), "--in", str(gallery.folder), "--no-update", "--json", "-k", str(asked.k), *asked.cli, *more]
    result = CliRunner().invoke(cli, ["search", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    hits: Hits = json.loads(result.stdout)["hits"]
    return hits


def on_page(client: TestClient, query: dict[str, Any], asked: Asked) -> list[tuple[int, int, str, str, str]]:
    """Return of each hit on the page: rank, id, score, similarity and name, as they are read."""
    response = client.get("/search", params=query | in_form(asked))
    assert response.status_code == 200, response.text
    page = response.text
    heads = re.findall(r'data-role="hit" data-id="(\d+)" data-rank="(\d+)" data-name="([^"]*)"', page)
    scores = re.findall(r'data-role="score"[^>]*>([^<]*)<', page)
    similarities = re.findall(r'data-role="similarity"[^>]*>([^<]*)<', page)
    assert len(heads) == len(scores) == len(similarities)
    return [
        (int(rank), int(id), score, similarity, unescape(name))
        for (id, rank, name), score, similarity in zip(heads, scores, similarities, strict=True)
    ]


def as_read(hits: Hits) -> list[tuple[int, int, str, str, str]]:
    """Return hits as the page shows them."""
    return [
        (hit["rank"], hit["id"], f"{hit['score']:.3f}", f"{100 * hit['similarity']:.0f} %", Path(hit["path"]).name)
        for hit in hits
    ]


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_picture_from_outside(gallery: Gallery, client: TestClient, outside: Path, name: str) -> None:
    asked = QUESTIONS[name]
    content = outside.read_bytes()
    key = client.post("/api/uploads", files={"image": (outside.name, content)}).json()["upload"]
    sent = {"k": asked.k} | asked.api

    python = in_python(gallery, outside, asked)

    assert python
    assert on_command_line(gallery, outside, asked) == python
    assert in_api(client.post("/api/search", json=sent | {"upload": key}), asked) == python
    assert in_api(client.post("/api/search", json=sent | {"image": b64encode(content).decode()}), asked) == python
    form = client.post("/api/search", data=in_form(asked), files={"image": (outside.name, content)})
    assert in_api(form, asked) == python
    assert on_page(client, {"upload": key}, asked) == as_read(python)


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_image_of_the_gallery(gallery: Gallery, client: TestClient, name: str) -> None:
    asked = QUESTIONS[name]
    id = next(row.id for row in gallery.rows() if row.path.startswith("rose-chafer/"))

    python = in_python(gallery, id, asked)

    assert python
    assert id not in [hit["id"] for hit in python]
    assert in_api(client.post("/api/search", json={"k": asked.k, "id": id} | asked.api), asked) == python
    form = in_form(asked) | {"id": str(id)}
    as_form = client.post("/api/search", data=form, files={"image": ("", b"")})
    assert in_api(as_form, asked) == python
    assert on_page(client, {"id": id}, asked) == as_read(python)
    # the command line knows it by its file, which is looked at anew: what is stored has half the digits
    by_file = on_command_line(gallery, gallery.file(id), asked)
    assert by_file == in_python(gallery, gallery.file(id), asked)
    if name != "box":
        assert [hit["score"] for hit in by_file] == pytest.approx([hit["score"] for hit in python], abs=1e-3)
        assert [hit["id"] for hit in by_file][:5] == [hit["id"] for hit in python][:5]
    else:
        assert by_file == python


def test_yes_and_no(gallery: Gallery, client: TestClient, outside: Path) -> None:
    beetles = [row.id for row in gallery.rows() if row.path.startswith("stag-beetle/")]
    leaves = [row.id for row in gallery.rows() if row.path.startswith("oak-leaf/")]
    marked = {"positive": leaves[:2], "negative": beetles[:1]}
    key = client.post("/api/uploads", files={"image": (outside.name, outside.read_bytes())}).json()["upload"]
    asked = Asked(marked, (), {"like": leaves[:2], "unlike": beetles[:1]})

    python = in_python(gallery, outside, asked)

    assert in_api(client.post("/api/search", json={"upload": key} | marked), asked) == python
    assert on_page(client, {"upload": key}, asked) == as_read(python)
    assert beetles[0] not in [hit["id"] for hit in python]
    assert leaves[0] in [hit["id"] for hit in python]


def test_no_alone_on_the_command_line_too(gallery: Gallery, client: TestClient, outside: Path) -> None:
    unwanted = next(row.id for row in gallery.rows() if row.path.startswith("stag-beetle/"))
    file = gallery.file(unwanted)
    key = client.post("/api/uploads", files={"image": (outside.name, outside.read_bytes())}).json()["upload"]

    by_file = on_command_line(gallery, outside, Asked(), "--not", str(file))
    by_id = in_api(client.post("/api/search", json={"upload": key, "negative": [unwanted]}), Asked())

    assert by_file == in_python(gallery, outside, Asked(python={"unlike": [file]}))
    assert [hit["score"] for hit in by_file] == pytest.approx([hit["score"] for hit in by_id], abs=1e-3)
    assert [hit["id"] for hit in by_file] == [hit["id"] for hit in by_id]


def test_labels_and_paths_are_those_of_the_gallery(gallery: Gallery, client: TestClient) -> None:
    hits = client.post("/api/search", json={"id": 1, "k": 1000}).json()["hits"]

    for hit in hits:
        row = gallery.find(hit["id"])
        assert row is not None
        assert hit["path"] == row.path
        assert hit["label"] == gallery.labels.of(row.path)
        assert hit["label_name"] == gallery.labels.name(hit["label"])
        shown = client.get(f"/api/images/{hit['id']}").json()
        assert (shown["path"], shown["label"], shown["label_name"]) == (hit["path"], hit["label"], hit["label_name"])
