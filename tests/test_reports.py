import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from congener.evaluation import ClassFigures, Confusion, Outcome, Report
from congener.marks import REPORT, generator
from congener.reports import render
from congener.results import Hit, Results

from .conftest import write

VOID = {"meta", "img", "br", "hr", "link", "input"}
NASTY = "<script>alert('&')</script>\"\udcff"


class Page(HTMLParser):
    """Its tags with their attributes and its text; fails where tags don't pair."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += " " + data

    def styled(self, style: str) -> list[str]:
        """Return the classes of the tags that have this one among theirs."""
        classes = [attributes.get("class") or "" for _, attributes in self.tags]
        return [names for names in classes if style in names.split()]


def hit(folder: Path, rank: int, path: str, label: str | None) -> Hit:
    return Hit(
        rank=rank,
        score=1 - rank / 100,
        similarity=1 - rank / 100,
        id=rank,
        path=path,
        label=label,
        label_name=label and label.title(),
        folder=folder,
    )


def outcome(folder: Path, label: str, *found: str | None, name: str = "red.png") -> Outcome:
    hits = [hit(folder, rank, f"{rank}.png", label) for rank, label in enumerate(found, 1)]
    return Outcome(label, 0.25, 0.5, Results(str(folder / name), hits))


def report(folder: Path, **changes: Any) -> Report:
    """Return a report of two classes; 1.png and red.png can be read, 2.png is missing."""
    write(folder / "red.png", "red")
    write(folder / "1.png", "blue")
    plain = Report(
        folder=str(folder),
        queries=1234,
        unjudged=7,
        gallery=56789,
        precision={1: 0.911, 2: 0.822},
        recall={1: 0.133, 2: 0.244},
        hit={1: 0.955, 2: 0.966},
        map=0.777,
        map_at={2: 0.688},
        ndcg={1: 0.599, 2: 0.588},
        r_precision=0.466,
        ci95={"map": (0.771, 0.783), "precision@2": (0.801, 0.843), "recall@2": (0.211, 0.277)},
        curve=((1, 0.911, 0.133), (2, 0.822, 0.244), (3, 0.733, 0.355)),
        per_class=(ClassFigures("warm", "Warm", 1, 0.311, 0.322), ClassFigures("cold", "Cold", 2, 0.9, 1.0)),
        confusions=(Confusion("warm", "cold", 0.125),),
        outcomes=(outcome(folder, "warm", "warm", "cold"), outcome(folder, "cold", "cold", None)),
        encoder="lite0",
        code="pooled",
        rerank=("diffusion",),
        adapted=True,
        seconds=12.34,
    )
    return replace(plain, **changes)


def classes(number: int) -> tuple[ClassFigures, ...]:
    return tuple(ClassFigures(f"c{i}", f"Class {i}", i + 1, 0.5, i / number) for i in range(number))


def test_the_page_holds_the_figures_and_what_they_count(tmp_path: Path) -> None:
    page = Page(render(report(tmp_path / "zoo")))
    for figure in (
        *("0.911", "0.822", "0.133", "0.244", "0.955", "0.966", "0.777", "0.688", "0.599", "0.588", "0.466"),
        *("0.771 – 0.783", "0.801 – 0.843", "0.311", "0.322", "12.5 %", "0.250", "0.990", "12.3 s"),
        *("1,234 judged", "56,789 images", "7 queries", "1 query", "2 queries", "2 classes"),
        *("zoo", "lite0", "pooled", "diffusion", "yes", "Warm", "Cold", "red.png", "no label"),
        *("P@2", "R@2", "hit@2", "NDCG@2", "mAP@2", "R-precision"),
    ):
        assert figure in page.text, figure


def test_the_parts_come_in_order(tmp_path: Path) -> None:
    page = render(report(tmp_path), sheets=1)
    titles = [
        "Figures",
        "Precision and recall",
        "Classes",
        "Confusions",
        "The worst queries",
        "The best queries",
    ]
    assert re.findall("<h2>(.*?)</h2>", page) == titles


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    text = render(report(tmp_path))
    assert not re.search(r"https?://|<script|<link|@import|url\(|javascript:", text)
    for tag, attributes in Page(text).tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "href" not in attributes
        assert tag != "img" or (attributes["src"] or "").startswith("data:image/jpeg;base64,")


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "<i>&"
    page = render(
        report(
            folder,
            per_class=(ClassFigures(NASTY, NASTY, 1, 0.5, 0.5),),
            confusions=(Confusion(NASTY, NASTY + NASTY, 0.5),),
            outcomes=(outcome(folder, NASTY, NASTY, name=f"{NASTY}.png"),),
            encoder=NASTY,
            code=NASTY,
            rerank=(NASTY,),
        )
    )
    tags = {tag for tag, _ in Page(page).tags}
    assert not tags & {"script", "i"}
    assert "alert('&')" in Page(page).text
    page.encode()


@pytest.mark.parametrize(("number", "style"), [(1, "few"), (5, "few"), (30, "some"), (1000, "many")])
def test_all_classes_are_shown_however_many(tmp_path: Path, number: int, style: str) -> None:
    page = Page(render(report(tmp_path, per_class=classes(number)), sheets=0))
    assert page.styled("classes") == [f"classes {style}"]
    assert len(page.styled("tick")) == number
    assert bool(page.styled("box")) == (style == "many")
    assert f"Class {number - 1} " in page.text


def test_a_tile_shows_its_picture_or_why_there_is_none(tmp_path: Path) -> None:
    text = render(report(tmp_path), sheets=1)
    assert len(Page(text).styled("reason")) == 2
    assert "No such file or directory" in text
    _, blue, *others = re.findall(r'src="data:image/jpeg;base64,(.*?)"', text)
    assert len(others) == 2
    with Image.open(BytesIO(base64.b64decode(blue))) as picture:
        red, _, most = picture.convert("RGB").getpixel((5, 5))  # type: ignore[misc]
        assert (red < 20, most > 230) == (True, True)


def test_thumbnails_are_small(tmp_path: Path) -> None:
    write(tmp_path / "1.png", "blue")
    Image.new("RGB", (1200, 400), "green").save(tmp_path / "wide.png")
    text = render(report(tmp_path, outcomes=(outcome(tmp_path, "warm", name="wide.png"),)))
    (data,) = re.findall(r'src="data:image/jpeg;base64,(.*?)"', text)
    with Image.open(BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (168, 56)


def test_right_and_wrong_hits_differ_by_more_than_colour(tmp_path: Path) -> None:
    page = Page(render(report(tmp_path), sheets=1))
    assert page.styled("right") == ["tile right"] * 2
    assert page.styled("wrong") == ["tile wrong"] * 2
    marks = [attributes["aria-label"] for _, attributes in page.tags if attributes.get("class") == "mark"]
    assert marks == ["right", "wrong"] * 2


@pytest.mark.parametrize(("sheets", "shown"), [(0, 0), (1, 2), (2, 3), (6, 3)])
def test_no_query_is_shown_twice(tmp_path: Path, sheets: int, shown: int) -> None:
    some = tuple(outcome(tmp_path, "warm", "warm", name=f"{name}.png") for name in "abc")
    text = render(report(tmp_path, outcomes=some), sheets=sheets)
    assert len(re.findall(r"\b[abc]\.png", text)) == shown


def test_a_long_answer_is_cut_and_says_so(tmp_path: Path) -> None:
    long = outcome(tmp_path, "warm", *["warm"] * 25)
    page = Page(render(report(tmp_path, outcomes=(long,))))
    assert len(page.styled("right")) == 20
    assert "the first 20 of 25 hits" in page.text


def test_what_there_is_none_of_is_left_out_or_named(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {
        "rerank": (),
        "confusions": (),
        "outcomes": (),
        "per_class": (),
        "curve": (),
        "ci95": {},
    }
    empty: dict[str, Any] = {"precision": {}, "recall": {}, "hit": {}, "ndcg": {}, "map_at": {}, "queries": 0}
    page = Page(render(report(tmp_path, **nothing, **empty, map=float("nan"), adapted=False)))
    assert "none" in page.text
    assert "No images of another class" in page.text
    assert "nan" not in page.text
    assert not {"svg", "img", "article"} & {tag for tag, _ in page.tags}


def test_names_too_long_for_the_matrix_are_cut_and_kept_as_titles(tmp_path: Path) -> None:
    name = "Chambered nautilus of the deep"
    pairs = tuple(Confusion("warm", f"c{i}", 0.5 - i / 100) for i in range(30))
    page = render(report(tmp_path, per_class=(ClassFigures("warm", name, 1, 0.5, 0.5),), confusions=pairs))
    assert f"<title>{name}</title>" in page
    assert ">Chambered naut…<" in page
    assert len(Page(page).styled("cell")) == 10 * 10


def test_the_axis_of_a_low_curve_is_stretched(tmp_path: Path) -> None:
    curve = tuple((k, 0.9, k / 10_000) for k in range(1, 301))
    text = Page(render(report(tmp_path, curve=curve, recall={}))).text
    assert " 0.075 " in text
    assert " 300 " in text


def test_it_says_what_made_it(tmp_path: Path) -> None:
    page = render(report(tmp_path))
    assert generator(REPORT) in page[:512]
