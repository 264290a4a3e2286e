"""The pages that people see, made on the server; JavaScript adds to them and isn't needed to read them."""

import unicodedata
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Path, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from congener.errors import CongenerError
from congener.rerank import RERANKERS
from congener.web.desk import Desk
from congener.web.problems import RefusedError
from congener.web.question import LARGEST_ID, MOST, Question, box_text

router = APIRouter(include_in_schema=False)

_LAST_PAGE = 10**9
_NAMES = {field.name for field in fields(Question)}
_TITLES = {404: "Not here", 422: "That can't be asked", 503: "One moment, please"}
_REPORT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}
_SHOWN = 352, 352  # CSS pixels into which the picture that is asked with is fitted
_LABELS = 500  # links to labels in one page; the rest is found by typing
_RERANKERS = {  # what a person may want of each
    "qe": "follow the best hits",
    "aqe": "follow the best hits by likeness",
    "dba": "smooth the gallery",
    "kreciprocal": "mutual neighbours first",
    "diffusion": "from neighbour to neighbour",
}


@router.get("/")
def start(request: Request) -> Response:
    """Show the gallery: a `page` of all of it or of one `label`'s images; `find` narrows the list of labels."""
    asked = dict(_pairs(request))
    label, page, find = asked.get("label", ""), asked.get("page", "1"), asked.get("find", "")
    if not (page.isascii() and page.isdigit() and len(page) <= 10 and 1 <= int(page) <= _LAST_PAGE):
        raise CongenerError(f"page takes a whole number from 1 on; not {page[:80]!r}")
    facts = _desk(request).facts()
    wall = _desk(request).wall(label or None, int(page))
    found = [each for each in facts.labels if find.casefold() in f"{each.name}\0{each.label}".casefold()]
    name = next((each.name for each in facts.labels if each.label == label), label)
    labels, more = found[:_LABELS], max(len(found) - _LABELS, 0)
    shown: dict[str, Any] = {"labels": labels, "more": more, "label": label, "label_name": name, "find": find}
    return _page(request, "start.html", facts=facts, wall=wall, **shown)


@router.get("/search")
def search(request: Request) -> Response:
    """Answer the question that the address holds; without one, go to the start."""
    desk, pairs = _desk(request), _pairs(request)
    if not pairs:
        return RedirectResponse(f"{_root(request)}/", 303)
    question = Question.parse(pairs)
    address = Address(question, _thumbs(question, pairs), _root(request))
    with desk.counted():
        answer = desk.answer(question)
    facts = desk.facts()
    chips = [(kind, desk.row(id)) for kind, id in address.thumbs]
    shown: dict[str, Any] = {"question": question, "address": address, "answer": answer, "chips": chips}
    shown |= {"target": _target(desk, question, _root(request)), "most": MOST}
    rerankers = {name: _RERANKERS.get(name, name) for name in RERANKERS}
    rerankers |= {spec: spec for spec in question.rerank if spec not in rerankers}
    return _page(request, "answer.html", facts=facts, labels=facts.labels[:_LABELS], rerankers=rerankers, **shown)


@router.get("/images/{id}")
def image(request: Request, id: Annotated[int, Path(ge=1, le=LARGEST_ID)]) -> Response:
    """Show one image, larger, and its facts; the answer's dialog shows the same."""
    desk = _desk(request)
    return _page(request, "image.html", facts=desk.facts(), image=desk.image(id))


@router.get("/evaluation")
def evaluation(request: Request) -> Response:
    """Show how well the gallery answers, judged by its own labels."""
    return _page(request, "evaluation.html", facts=_desk(request).facts())


@router.get("/evaluation/report")
def report(request: Request) -> Response:
    """Return the last evaluation's report: a page of its own, with its own policy, for a frame of `/evaluation`."""
    made = request.app.state.jobs["evaluation"].result
    if made is None:
        raise RefusedError(404, f"no evaluation was made yet: start one at {_root(request)}/evaluation")
    return HTMLResponse(made, headers=_REPORT_HEADERS)


@router.get("/duplicates")
def duplicates(request: Request) -> Response:
    """List copies and near copies."""
    return _page(request, "duplicates.html", facts=_desk(request).facts())


def error_page(request: Request, status: int, title: str, detail: str) -> Response:
    """Return a page that says what went wrong, in a line, and the ways on."""
    is_name = detail.partition(" ")[0] in _NAMES  # "k must be …" keeps its small letter
    said = detail if is_name else detail[:1].upper() + detail[1:]
    shown = {"status": status, "title": _TITLES.get(status, title), "detail": said}
    return _page(request, "error.html", status, facts=None, **shown)


@dataclass(frozen=True)
class Address:
    """The address of a question, and of those that are one step away."""

    question: Question
    thumbs: tuple[tuple[str, int], ...]
    """("positive" | "negative", id) in the order given, which the address keeps: the last one is undone first."""
    root: str = ""
    """Before every path of the page: see `congener.web.proxy`."""

    def __call__(self, **changes: Any) -> str:
        """Return the address with some of the question changed."""
        return self._join(self.thumbs, changes)

    def thumb(self, kind: str, id: int) -> str:
        """Return the address with this thumb as the last one."""
        return self._join((*self._others(id), (kind, id)), {})

    def without(self, id: int) -> str:
        """Return the address without the thumb on an image."""
        return self._join(self._others(id), {})

    def undone(self) -> str:
        """Return the address without the last thumb."""
        return self._join(self.thumbs[:-1], {})

    def _others(self, id: int) -> tuple[tuple[str, int], ...]:
        return tuple(each for each in self.thumbs if each[1] != id)

    def _join(self, thumbs: tuple[tuple[str, int], ...], changes: dict[str, Any]) -> str:
        rest = self.question.query_string(**{"positive": (), "negative": ()} | changes)
        return f"{self.root}/search?" + "&".join(part for part in (rest, urlencode(thumbs)) if part)


@dataclass(frozen=True)
class Target:
    """The picture that is asked with, to be shown."""

    name: str
    label_name: str | None
    width: int | None
    """In pixels, upright; None where the file can't be read now."""
    height: int | None
    thumbnail: str
    """Its address, without the size."""
    page: str | None
    """The address of the image's own page, where it is of the gallery."""

    @property
    def shown(self) -> tuple[int, int] | None:
        """Return width and height at which it is shown, in CSS pixels."""
        if not (self.width and self.height):
            return None
        scale = min(_SHOWN[0] / self.width, _SHOWN[1] / self.height)
        return max(round(self.width * scale), 1), max(round(self.height * scale), 1)


def _target(desk: Desk, question: Question, root: str) -> Target:
    if question.id is not None:
        found = desk.image(question.id)
        name, path = found.path.rpartition("/")[2], f"/images/{found.id}"
        return Target(name, found.label_name, found.width, found.height, f"{root}/api{path}/thumbnail", root + path)
    assert question.upload is not None
    sent = desk.upload(question.upload)
    return Target(sent.name, None, sent.width, sent.height, f"{root}/api/uploads/{sent.key}/thumbnail", None)


def _thumbs(question: Question, pairs: list[tuple[str, str]]) -> tuple[tuple[str, int], ...]:
    """Return the question's thumbs in the order of the address, each once."""
    asked = [("positive", id) for id in question.positive] + [("negative", id) for id in question.negative]
    order = {pair: place for place, pair in enumerate(pairs)}
    return tuple(dict.fromkeys(sorted(asked, key=lambda thumb: order.get((thumb[0], str(thumb[1])), -1))))


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _pairs(request: Request) -> list[tuple[str, str]]:
    """Return the names and values of the address; a label may hold bytes that are no text."""
    return parse_qsl(request.url.query, keep_blank_values=True, errors="surrogateescape")


def _root(request: Request) -> str:
    root: str = request.app.state.root
    return root


def _page(request: Request, template: str, code: int = 200, **context: Any) -> Response:
    context |= {"root": _root(request), "can_log_out": request.app.state.asks_token}
    return _templates.TemplateResponse(request, template, context, status_code=code)


def _clean(value: object) -> object:
    """Replace what no page may hold (control characters, surrogates) by �; markup from templates stays."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cs") else c for c in value)


def _size(bytes: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if bytes < 1000:
            return f"{bytes:,.0f} {unit}" if unit == "bytes" or bytes >= 10 else f"{bytes:.1f} {unit}"
        bytes /= 1000
    return f"{bytes:.1f} GB"


def _date(text: str) -> str:
    """Return an ISO time as a day that people read."""
    day = datetime.fromisoformat(text)
    return f"{day.day} {day:%B %Y}"


def _environment() -> Environment:
    loader = PackageLoader("congener.web")
    made = Environment(autoescape=True, loader=loader, undefined=StrictUndefined, finalize=_clean)
    made.trim_blocks = made.lstrip_blocks = True
    made.filters |= {"size": _size, "date": _date, "file_name": lambda path: path.rpartition("/")[2]}
    made.filters |= {"box": box_text, "without": lambda values, one: tuple(each for each in values if each != one)}
    made.filters |= {"query": lambda values: urlencode(values, errors="surrogateescape")}
    made.filters |= {"count": "{:,}".format, "percent": lambda share: f"{100 * share:.0f}"}
    return made


_templates = Jinja2Templates(env=_environment())
