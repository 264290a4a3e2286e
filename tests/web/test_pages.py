"""The pages: what they show, that the address holds the question, and that text from files stays text."""

import os
import re
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from congener.rerank import RERANKERS
from congener.web import pages
from tests.web.conftest import asking, indexed, png, wait_until

VOID = {"input", "img", "link", "meta", "path", "rect"}
PLACES = ("/", "/?label=warm", "/search?id=5", "/images/5", "/duplicates", "/evaluation", "/images/999", "/nowhere")
MARKUP = "<b onclick='x'>&\"quoted\""


class Page(HTMLParser):
    """A page's elements, each as its name and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def role(self, name: str) -> list[dict[str, str | None]]:
        """Return the attributes of the elements with a role."""
        return [attributes for _, attributes in self.elements if attributes.get("data-role") == name]

    def links(self, name: str) -> list[str]:
        """Return where the elements with a role lead."""
        return [each["href"] or "" for each in self.role(name)]


def page(client: TestClient, address: str, status: int = 200) -> Page:
    """Return a page; its status is checked."""
    response = client.get(address)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Page(response.text)


def question(address: str) -> list[tuple[str, str]]:
    """Return what an address asks."""
    return parse_qsl(urlsplit(address).query)


def hits(found: Page) -> list[int]:
    """Return the ids of the hits in order."""
    return [int(each["data-id"] or 0) for each in found.role("hit")]


def title(client: TestClient, address: str) -> str:
    """Return a page's title."""
    found = re.search("<title>(.*?)</title>", client.get(address).text)
    assert found
    return unescape(found[1])


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client over pictures whose names and labels hold markup; no name can hold a slash, so its tags stay open."""
    folder = tmp_path_factory.mktemp("marked") / "odd"
    (folder / MARKUP).mkdir(parents=True)
    for number, colour in enumerate(("red", "blue", "lime")):
        (folder / MARKUP / f"{number}{MARKUP}.png").write_bytes(png(colour))
    with indexed(folder) as gallery, asking(gallery) as client:
        yield client


@pytest.mark.parametrize("address", PLACES)
def test_nothing_on_a_page_needs_a_looser_policy(shared: TestClient, address: str) -> None:
    response = shared.get(address)
    found = Page(response.text)

    assert "script-src 'self'" in response.headers["content-security-policy"]
    for tag, attributes in found.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag not in {"style", "base"}
        if tag == "script":
            assert attributes["src"] == "/static/main.js"
        for name in ("href", "src", "action"):
            address = attributes.get(name) or ""
            assert not urlsplit(address).netloc
            assert not urlsplit(address).scheme
    assert not re.search(r"<script[^>]*>[^<]", response.text)


@pytest.mark.parametrize("address", PLACES)
def test_pages_can_be_read_by_all(shared: TestClient, address: str) -> None:
    found = Page(shared.get(address).text)

    assert [attributes["lang"] for tag, attributes in found.elements if tag == "html"] == ["en"]
    assert [tag for tag, _ in found.elements].count("h1") == 1
    assert [tag for tag, _ in found.elements].count("main") == 1
    assert all(attributes.get("alt") for tag, attributes in found.elements if tag == "img")
    named = {attributes.get("for") for tag, attributes in found.elements if tag == "label"}
    for tag, attributes in found.elements:
        if tag in {"input", "select"} and attributes.get("type") != "hidden":
            assert attributes["id"] in named
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_pages_refer_to_is_there(shared: TestClient) -> None:
    found = page(shared, "/search?id=5")
    files = {
        each for _, attributes in found.elements for each in attributes.values() if (each or "").startswith("/static/")
    }

    assert len(files) >= 4
    assert {shared.get(each or "").status_code for each in files} == {200}


def test_modules_import_what_is_there() -> None:
    static = Path(pages.__file__).parent / "static"
    for module in static.glob("*.js"):
        for imported in re.findall(r'from "(.+?)"', module.read_text("utf-8")):
            assert (static / imported).is_file(), f"{module.name}: {imported}"


def test_the_start_shows_wall_labels_and_counts(shared: TestClient) -> None:
    found = page(shared, "/")

    assert found.links("tile") == [f"/search?id={id}" for id in range(1, 6)]
    assert found.links("label") == ["/?label=cold", "/?label=warm"]
    assert "5 images in 2 kinds, 1 without a label" in " ".join(found.text.split())
    assert all(attributes["loading"] == "lazy" for tag, attributes in found.elements if tag == "img")
    assert title(shared, "/") == "colours · Congener"


def test_the_wall_of_a_label(shared: TestClient) -> None:
    found = page(shared, "/?label=warm")

    assert [each["data-id"] for each in found.role("tile")] == ["4", "5"]
    assert title(shared, "/?label=warm") == "warm · colours · Congener"
    assert [each.get("aria-current") for each in found.role("label")] == [None, "true"]


def test_labels_are_found_by_a_part_of_their_name(shared: TestClient) -> None:
    assert page(shared, "/?find=WAR").links("label") == ["/?label=warm"]
    assert page(shared, "/?find=zebra").links("label") == []


def test_a_wall_of_many_pages_links_on_without_javascript(tmp_path: Path) -> None:
    (tmp_path / "many/a & b").mkdir(parents=True)
    for number in range(61):
        (tmp_path / f"many/a & b/{number:02}.png").write_bytes(png((number, 0, 0)))
    with indexed(tmp_path / "many") as gallery, asking(gallery) as client:
        first = page(client, "/?label=a+%26+b")
        (more,) = first.links("more")
        second = page(client, more)

        assert len(first.role("tile")) == 60
        assert question(more) == [("label", "a & b"), ("page", "2")]
        assert len(second.role("tile")) == 1
        assert second.links("more") == []
        assert "first" in second.text


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", "9" * 30])
def test_a_page_that_is_no_number_is_said(shared: TestClient, wrong: str) -> None:
    found = page(shared, f"/?page={wrong}", 422)

    assert f"not '{wrong}'" in found.text


def test_an_answer_shows_rank_score_label_and_name(shared: TestClient) -> None:
    found = page(shared, "/search?id=5&k=3")

    assert hits(found)[0] == 4
    assert [each["data-rank"] for each in found.role("hit")] == ["1", "2", "3"]
    assert len(found.role("similarity")) == len(found.role("score")) == 3
    assert "orange.png" in found.text
    assert "warm" in found.text
    assert title(shared, "/search?id=5&k=3") == "3 like red.png · Congener"


def test_a_hit_leads_to_its_facts_the_original_and_more_like_it(shared: TestClient) -> None:
    (first, *_) = page(shared, "/search?id=5").links("open")
    found = page(shared, first)

    assert first == "/images/4"
    assert found.links("more-like-this") == ["/search?id=4"]
    assert found.links("original") == ["/api/images/4/file"]
    assert "12 × 12 pixels" in found.text
    assert "warm/orange.png" in found.text


def test_the_target_is_shown_with_its_size(shared: TestClient) -> None:
    (target,) = page(shared, "/search?id=5").role("target")

    assert (target["data-width"], target["data-height"]) == ("12", "12")
    assert "data-box" not in target


def test_the_address_holds_the_whole_question(shared: TestClient) -> None:
    asked = "id=5&box=1,2,6,7&k=4&label=cold&label=warm&min_score=0.01&rerank=aqe&positive=4&negative=1"
    found = page(shared, f"/search?{asked}")
    (up, *_) = found.links("thumb-up")
    fields = [
        (attributes["name"], attributes.get("value"))
        for tag, attributes in found.elements
        if tag == "input" and attributes.get("name") not in {None, "find"}
    ]
    chosen = [attributes["value"] for tag, attributes in found.elements if tag == "option" and "selected" in attributes]

    expected = {
        ("id", "5"),
        ("box", "1,2,6,7"),
        ("k", "4"),
        ("label", "cold"),
        ("label", "warm"),
        ("min_score", "0.01"),
    }
    assert expected | {("rerank", "aqe"), ("negative", "1")} <= set(question(up))
    assert {("id", "5"), ("k", "4"), ("label", "cold"), ("label", "warm"), ("min_score", "0.01")} <= set(fields)
    assert {("positive", "4"), ("negative", "1")} <= set(fields)
    assert chosen == ["aqe"]


def test_the_forms_own_address_asks_the_same(shared: TestClient) -> None:
    found = page(shared, "/search?id=5&k=3&box=1,2,6,7&positive=4")
    fields = [
        (attributes["name"] or "", attributes.get("value") or "")
        for tag, attributes in found.elements
        if tag == "input" and attributes.get("name") not in {None, "find"}
    ]
    again = shared.get("/search", params=[*fields, ("rerank", "")])

    assert hits(Page(again.text)) == hits(found)
    assert question(Page(again.text).links("undo")[0]) == question(found.links("undo")[0])


def test_thumbs_add_to_the_address_and_undo_takes_back_the_last(shared: TestClient) -> None:
    first = page(shared, "/search?id=5")
    yes = first.links("thumb-up")[1]
    second = page(shared, yes)
    no = second.links("thumb-down")[2]
    third = page(shared, no)

    liked, unliked = hits(first)[1], hits(second)[2]
    assert question(no) == [("id", "5"), ("positive", str(liked)), ("negative", str(unliked))]
    assert unliked not in hits(third)
    assert [each["data-kind"] for each in third.role("chip")] == ["positive", "negative"]
    assert third.links("undo") == [yes]
    assert page(shared, yes).links("undo") == ["/search?id=5"]
    assert first.links("undo") == []


def test_the_order_of_thumbs_is_that_of_the_address(shared: TestClient) -> None:
    found = page(shared, "/search?negative=1&id=5&positive=4")

    assert [each["data-id"] for each in found.role("chip")] == ["1", "4"]
    assert [question(each) for each in found.links("undo")] == [[("id", "5"), ("negative", "1")]]


def test_what_was_liked_stays_and_can_be_taken_back(shared: TestClient) -> None:
    found = page(shared, "/search?id=5&positive=4&negative=1")
    place = hits(found).index(4)

    assert "liked" in (found.role("hit")[place]["class"] or "")
    assert question(found.links("thumb-up")[place]) == [("id", "5"), ("negative", "1")]
    assert question(found.links("chip-remove")[0]) == [("id", "5"), ("negative", "1")]


def test_a_thumb_changes_its_mind(shared: TestClient) -> None:
    found = page(shared, "/search?id=5&positive=4")
    place = hits(found).index(4)

    assert question(found.links("thumb-down")[place]) == [("id", "5"), ("negative", "4")]


def test_a_box_is_drawn_and_can_be_removed(shared: TestClient) -> None:
    found = page(shared, "/search?id=5&box=1,2,6,7&positive=4")
    (target,) = found.role("target")

    assert target["data-box"] == "1,2,6,7"
    assert target["data-whole"] == "/search?id=5&positive=4"
    assert found.links("box-remove") == ["/search?id=5&positive=4"]


def test_each_reranker_can_be_chosen(shared: TestClient) -> None:
    found = page(shared, "/search?id=5&rerank=aqe:n=3&rerank=qe")
    options = [attributes["value"] for tag, attributes in found.elements if tag == "option"]
    chosen = [attributes["value"] for tag, attributes in found.elements if tag == "option" and "selected" in attributes]

    assert {*RERANKERS, ""} <= set(options)
    assert chosen == ["aqe:n=3", "qe"]


def test_labels_of_the_question_can_be_removed_one_by_one(shared: TestClient) -> None:
    found = page(shared, "/search?id=5&label=cold&label=warm")

    assert [question(each) for each in found.links("label-remove")] == [
        [("id", "5"), ("label", "warm")],
        [("id", "5"), ("label", "cold")],
    ]


def test_an_answer_without_hits_says_how_to_widen_it(shared: TestClient) -> None:
    found = page(shared, "/search?id=5&label=cold&min_score=1")
    ways = [attributes.get("href") for _, attributes in found.elements if "data-swap" in attributes]

    assert hits(found) == []
    assert len(found.role("empty")) == 1
    assert {"/search?id=5&label=cold", "/search?id=5&min_score=1"} <= set(ways)


def test_an_uploaded_picture_is_the_target(shared: TestClient) -> None:
    sent = shared.post("/api/uploads", files={"image": ("<b onclick='x'>&.png", png("red", (30, 20)))}).json()
    address = f"/search?upload={sent['upload']}"
    found = page(shared, address)

    assert hits(found)[0] == 5
    assert title(shared, address) == "5 like <b onclick='x'>&.png · Congener"
    assert [each["data-upload"] for each in found.role("answer")] == [sent["upload"]]
    assert [(each["data-width"], each["data-height"]) for each in found.role("target")] == [("30", "20")]
    assert found.role("target-facts") == []


def test_a_search_for_nothing_goes_to_the_start(shared: TestClient) -> None:
    response = shared.get("/search")

    assert (response.status_code, response.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/images/999", 404, "999"),
        ("/images/none", 422, "id"),
        ("/images/0", 422, "id"),
        ("/nowhere", 404, "at this address"),
        ("/search?id=999", 404, "999"),
        ("/search?id=5&positive=999", 404, "999"),
        ("/search?id=5&k=0", 422, "k must be from 1"),
        ("/search?id=5&rerank=none", 422, "kreciprocal"),
        ("/search?id=5&label=zebra", 422, "zebra"),
        (f"/search?upload={'0' * 32}", 404, "upload it again"),
        ("/search?upload=%FF%FE", 422, "key of a picture"),
        ("/search?k=5", 422, "ask with one picture"),
    ],
)
def test_what_is_wrong_is_said_on_a_page(shared: TestClient, address: str, status: int, said: str) -> None:
    found = page(shared, address, status)

    assert len(found.role("error")) == len(found.role("detail")) == 1
    assert said.casefold() in found.text.casefold()


@pytest.mark.parametrize("address", ["/", "/search?id=1", "/images/1", "/search?id=1&positive=2", "/?find=%3Cb%3E"])
def test_markup_in_names_is_text(marked: TestClient, address: str) -> None:
    response = marked.get(address)
    found = Page(response.text)

    assert response.status_code == 200
    assert not [attributes for _, attributes in found.elements if "onclick" in attributes]
    assert MARKUP in found.text or "find=" in address


def test_markup_in_the_address_is_text(shared: TestClient) -> None:
    for address in ("/?find=%3Cscript%3E", "/?label=%22%3E%3Cscript%3E", "/search?id=5&label=%3Cscript%3E"):
        found = Page(shared.get(address).text)
        assert [tag for tag, _ in found.elements].count("script") == 1


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="names are text there")
def test_names_that_no_page_may_hold_are_shown_as_far_as_they_can(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    label = os.fsdecode(b"caf\xe9")
    (folder / label).mkdir(parents=True)
    (folder / label / os.fsdecode(b"\xff.png")).write_bytes(png("red"))
    (folder / "two\nlines\x07.png").write_bytes(png("blue"))
    with indexed(folder) as gallery, asking(gallery) as client:
        start = page(client, "/")
        (link,) = start.links("label")

        assert "caf\ufffd" in start.text
        assert "two\ufffdlines\ufffd.png" in start.text
        assert link == "/?label=caf%E9"
        assert len(page(client, link).role("tile")) == 1
        ids = [each["data-id"] for each in start.role("tile")]
        for id in ids:
            assert "\ufffd" in page(client, f"/search?id={id}").text
            assert "\ufffd" in page(client, f"/images/{id}").text
        answer = page(client, f"/search?id={ids[0]}&label=caf%E9")
        assert "label=caf%E9" not in answer.links("label-remove")[0]


def test_the_report_is_a_page_of_its_own_that_may_be_framed_here_only(client: TestClient) -> None:
    before = page(client, "/evaluation/report", 404)
    assert "/evaluation" in before.text

    client.post("/api/evaluation")
    wait_until(lambda: client.get("/api/evaluation").json()["state"] == "done")
    response = client.get("/evaluation/report")

    assert "Evaluation of" in Page(response.text).text
    assert "<style>" in response.text
    policy = response.headers["content-security-policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
    assert response.headers["x-frame-options"] == "SAMEORIGIN"


def test_an_empty_gallery_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with indexed(tmp_path / "none") as gallery, asking(gallery) as client:
        found = page(client, "/")

        assert len(found.role("empty")) == 1
        assert "congener index" in found.text
        assert not found.role("wall")
        assert not page(client, "/evaluation").role("start")


def test_a_gallery_without_labels_has_neither_filter_nor_evaluation(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/red.png").write_bytes(png("red"))
    with indexed(tmp_path / "flat") as gallery, asking(gallery) as client:
        found = page(client, "/")

        assert not found.role("label-filter")
        assert "/evaluation" not in [attributes.get("href") for _, attributes in found.elements]
        assert page(client, "/evaluation").role("empty")


def test_an_image_whose_file_is_gone_is_still_shown(colours: Path, client: TestClient) -> None:
    (colours / "warm/red.png").unlink()

    assert "warm/red.png" in page(client, "/images/5").text
    answer = page(client, "/search?id=5")
    assert "can't be read" in answer.text
    assert not answer.role("box-start")
