"""An evaluation as one self-contained HTML page: nothing is fetched, nothing runs."""

import base64
import math
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from PIL import Image

from congener.errors import ImageError
from congener.evaluation import Outcome, Report
from congener.extent import fitted
from congener.marks import REPORT, generator
from congener.original import Original, Source, of_hit, open_source
from congener.results import Hit

Interval = tuple[float, float]
Figures = dict[int, float]
"""By k."""
Names = dict[str, str]
"""By label."""
Opener = Callable[[Source, int], Image.Image]

_THUMBNAIL = 168  # pixels; shown at 112, so that it stays sharp on fine screens
_SHOWN_HITS = 20  # on a sheet
_SHOWN_PAIRS, _MATRIX_LABELS = 12, 10  # of the confusions
_FEW_CLASSES, _MANY_CLASSES = 8, 60  # up to few: one column; from many: a block of their own that scrolls
_CELL, _HEAD, _SIDE = 36, 112, 146  # of the matrix: a cell's side, the room above, the room to the left
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 316, 40, 204  # of a plot: where k = 1, the last k, the top and 0 lie
_STEPS = [step * 10**power for power in range(12) for step in (1, 2, 5)]  # between the ticks of k
_MARKS = {"right": "M2 6.5 5 9.5 10 2.5", "wrong": "M2.5 2.5 9.5 9.5M9.5 2.5 2.5 9.5"}
_WHOLE = (  # field of the report, name, definition
    ("map", "mAP", "Precision at the rank of each right image, 0 for one not found, averaged over all."),
    (
        "r_precision",
        "R-precision",
        "The share of right images in the first R hits, R being how many there are.",
    ),
)
_AT_K = (  # field of the report, key of its interval, name, definition
    ("precision", "precision", "P", "Precision: the share of the first k hits that are right."),
    ("recall", "recall", "R", "Recall: the share of all right images that are among the first k hits."),
    ("hit", "hit", "hit", "The share of queries with at least one right image among the first k hits."),
    (
        "ndcg",
        "ndcg",
        "NDCG",
        "Right images in the first k, each divided by log2(rank + 1), over the best order's.",
    ),
    ("map_at", "map", "mAP", "As mAP, right images after the first k hits counting as not found."),
)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
{generator}
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of {title}</title>
<style>
{style}</style>
</head><body>
{body}</body></html>
"""


def render(report: Report, *, sheets: int = 6, opener: Opener = open_source) -> str:
    """Return the page.

    sheets: how many of the worst queries, and of the best, are shown with their hits; opener: opens the pictures of
    these at a side in pixels, as `open_source` does, or raises ImageError with the reason that is shown in their place.
    """
    names = _names(report)
    worst = report.outcomes[:sheets]
    best = report.outcomes[len(worst) :][::-1][:sheets]
    parts = (
        *(_headline(report), _figures(report), _curves(report), _classes(report), _confusions(report, names)),
        _sheets("The worst queries", "lowest average precision first", worst, report, names, opener),
        _sheets("The best queries", "highest average precision first", best, report, names, opener),
    )
    style = files("congener").joinpath("report.css").read_text("utf-8")
    title = _text(_folder_name(report))
    return _PAGE.format(generator=generator(REPORT), title=title, style=style, body="".join(parts))


def _text(text: str) -> str:
    """Escape text from files for HTML; what no page may hold (control characters, surrogates) becomes �."""
    return escape("".join("�" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text))


def _fraction(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _count(number: int, one: str = "query", many: str = "queries") -> str:
    return f"{number:,} {one if number == 1 else many}"


def _length(value: float) -> str:
    """Return a fraction as a CSS length; nothing for one that isn't a number."""
    return f"{100 * min(max(value, 0), 1):.1f}%" if math.isfinite(value) else "0%"


def _section(title: str, lead: str, *content: str) -> str:
    return f'<section>\n<h2>{title}</h2>\n<p class="lead">{lead}</p>\n{"".join(content)}</section>\n'


def _scrolling(style: str, name: str, content: str) -> str:
    """Return a block that scrolls, also by keyboard."""
    return f'<div class="{style}" tabindex="0" role="region" aria-label="{name}">\n{content}</div>\n'


def _folder_name(report: Report) -> str:
    return Path(os.path.abspath(report.folder)).name or report.folder


def _largest_k(report: Report) -> int:
    return max(report.precision, default=0)


def _names(report: Report) -> Names:
    """Return the name to show for each label."""
    hits = (hit for outcome in report.outcomes for hit in outcome.results)
    names = {hit.label: hit.label_name for hit in hits if hit.label and hit.label_name}
    return names | {figures.label: figures.name for figures in report.per_class}


def _headline(report: Report) -> str:
    facts = {
        "Queries": f"{report.queries:,} judged",
        "Gallery": _count(report.gallery, "image", "images"),
        "Unjudged": f"{_count(report.unjudged)} with no right image to find",
        "Time": f"{report.seconds:,.1f} s",
        "Encoder": report.encoder,
        "Code": report.code,
        "Re-rankers": ", ".join(report.rerank) or "none",
        "Adapted to labels": "yes" if report.adapted else "no",
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>\n" for name, value in facts.items())
    return f"""<header>
<p class="faint">Evaluation of</p>
<h1 class="name">{_text(_folder_name(report))}</h1>
<p class="path faint">{_text(report.folder)}</p>
<dl class="facts">
{items}</dl>
</header>
"""


def _figures(report: Report) -> str:
    over = f"over {_count(report.queries)}"
    blocks = [
        _measure("whole", name, meaning, [_cell(over, getattr(report, field), report.ci95.get(field))])
        for field, name, meaning in _WHOLE
    ]
    for field, key, name, meaning in _AT_K:
        values: Figures = getattr(report, field)
        cells = [_cell(f"{name}@{k}", values[k], report.ci95.get(f"{key}@{k}")) for k in sorted(values)]
        blocks += [_measure("at-k", f"{name}@k", meaning, cells)] if cells else []
    lead = (
        f"Means {over}, from 0 to 1, higher is better. A right image is one with the query's label. "
        "Below each figure its 95 % interval, bootstrapped over the queries."
    )
    return _section("Figures", lead, '<div class="measures">\n', *blocks, "</div>\n")


def _measure(style: str, name: str, meaning: str, cells: Iterable[str]) -> str:
    head = f"<div><h3>{name}</h3><p>{meaning}</p></div>"
    return f'<div class="measure {style}">\n{head}\n<dl class="cells">\n{"".join(cells)}</dl>\n</div>\n'


def _cell(name: str, value: float, interval: Interval | None) -> str:
    spread = f'<dd class="interval">{" – ".join(map(_fraction, interval))}</dd>' if interval else ""
    return f'<div><dt>{name}</dt><dd class="value">{_fraction(value)}</dd>{spread}</div>\n'


def _curves(report: Report) -> str:
    if len(report.curve) < 2:
        return ""
    precision = _plot("precision", {k: value for k, value, _ in report.curve}, report.precision, report.ci95)
    recall = _plot("recall", {k: value for k, _, value in report.curve}, report.recall, report.ci95)
    lead = f"Means over {_count(report.queries)} as more hits are looked at; upright lines: 95 % intervals."
    plots = f'<div class="plots">\n{precision}{recall}</div>\n'
    return _section("Precision and recall", lead, plots)


@dataclass(frozen=True)
class _Scale:
    """Where k and a value lie in a plot."""

    last: int
    top: float

    def across(self, k: float) -> float:
        return _LEFT + (k - 1) / max(self.last - 1, 1) * (_RIGHT - _LEFT)

    def down(self, value: float) -> float:
        return _BOTTOM - value / self.top * (_BOTTOM - _TOP)


def _plot(what: str, curve: Figures, marked: Iterable[int], ci95: Mapping[str, Interval]) -> str:
    """Draw one curve over k, with dots, values and intervals at the marked k."""
    known = {k: value for k, value in curve.items() if math.isfinite(value)}
    marks = {k: ci95.get(f"{what}@{k}") for k in sorted(known.keys() & marked)}
    highest = max([*known.values(), *(high for _, high in filter(None, marks.values()))], default=1)
    scale = _Scale(max(curve), next((top for top in (0.1, 0.2, 0.5) if highest <= top), 1))
    rises = bool(known) and known[max(known)] > known[min(known)]
    line = " ".join(f"{scale.across(k):.1f},{scale.down(value):.1f}" for k, value in known.items())
    dots = []
    for (k, interval), following in zip(marks.items(), [*list(marks)[1:], math.inf], strict=False):
        x, y = scale.across(k), scale.down(known[k])
        if interval:
            dots.append(_line("whisker", x, scale.down(interval[0]), x, scale.down(interval[1])))
        dots.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>\n')
        if scale.across(following) - x > 41:  # room for the value: below a curve that rises, else above
            level = min(y + 16, _BOTTOM - 6) if rises else y - 7
            dots.append(_words(x + 7, level, f"{known[k]:.3f}", "start", "strong halo"))
    return f"""<figure><svg viewBox="0 0 360 250" role="img" aria-label="{what}@k over k">
{_words(0, 13, f"{what}@k", "start", "strong")}{_axes(scale)}<polyline class="line" points="{line}"/>
{"".join(dots)}</svg></figure>
"""


def _axes(scale: _Scale) -> str:
    parts = []
    for value in (scale.top * quarter / 4 for quarter in range(5)):
        y = scale.down(value)
        parts.append(_line("grid" if value else "axis", _LEFT - 8, y, _RIGHT + 8, y))
        parts.append(_words(_LEFT - 14, y + 4, f"{value:.3g}", "end"))
    step = next(step for step in _STEPS if scale.last / step <= 6)
    for k in [1, *(k for k in range(step, scale.last + 1, step) if k - 1 > step / 2)]:
        x = scale.across(k)
        parts.append(_line("axis", x, _BOTTOM, x, _BOTTOM + 4))
        parts.append(_words(x, _BOTTOM + 18, f"{k:,}", "middle"))
    parts.append(_words((_LEFT + _RIGHT) / 2, _BOTTOM + 38, "k, the number of hits looked at", "middle"))
    return "".join(parts)


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>\n'


def _words(x: float, y: float, text: str, anchor: str, style: str = "", more: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{text}</text>\n'


def _classes(report: Report) -> str:
    number, k = len(report.per_class), _largest_k(report)
    if not number:
        return ""
    rows = []
    for figures in report.per_class:
        name = f'<span class="name" title="{_text(figures.name)}">{_text(figures.name)}</span>'
        ap, precision = figures.average_precision, figures.precision
        numbers = f"AP <b>{_fraction(ap)}</b> · P@{k} <b>{_fraction(precision)}</b> · "
        rows.append(_bar(name, numbers + _count(figures.queries), ap, precision))
    size = "few" if number <= _FEW_CLASSES else "some" if number < _MANY_CLASSES else "many"
    order = {"few": "", "some": ", down the columns", "many": ", along the rows"}[size]
    block = f'<ol class="classes {size}">\n{"".join(rows)}</ol>\n'
    lead = (
        f"{_count(number, 'class', 'classes')}, lowest average precision (AP) first{order}. "
        f"Figures are means over the class's queries. Bar: AP; upright mark: precision@{k}."
    )
    return _section("Classes", lead, _scrolling("box", "All classes", block) if size == "many" else block)


def _bar(name: str, numbers: str, length: float, tick: float | None = None) -> str:
    style, place = ("bar", "") if tick is None else ("bar tick", f";--tick:{_length(tick)}")
    return (
        f'<li><span class="row">{name}<span class="numbers">{numbers}</span></span>'
        f'<span class="{style}" style="--length:{_length(length)}{place}"></span></li>\n'
    )


def _confusions(report: Report, names: Names) -> str:
    if not report.confusions:
        return _section("Confusions", "No images of another class were found for the queries of any class.")
    rows = []
    for pair in report.confusions[:_SHOWN_PAIRS]:
        asked, found = (f"<bdi>{_text(names.get(label, label))}</bdi>" for label in (pair.label, pair.found))
        name = f'<span class="name">{asked} <span class="faint">→</span> {found}</span>'
        rows.append(_bar(name, f"<b>{100 * pair.share:.1f} %</b> of hits", pair.share))
    lead = (
        f"The worst pairs: the share of the first {_largest_k(report)} hits, over all queries of one class, "
        "that show another. In the picture a row is the class asked for, a column the class found, in % of "
        "hits; outlined: right ones. A cell without a number is not among the worst pairs."
    )
    matrix = _scrolling("matrix", "Confusions as a matrix", _matrix(report, names))
    content = f'<div class="confused">\n{matrix}<ol class="pairs">\n{"".join(rows)}</ol>\n</div>\n'
    return _section("Confusions", lead, content)


def _matrix(report: Report, names: Names) -> str:
    """Draw the shares between the labels of the worst pairs, as many as stay readable."""
    labels: list[str] = []
    for pair in report.confusions:
        new = [label for label in (pair.label, pair.found) if label not in labels]
        labels += new if len(labels) + len(new) <= _MATRIX_LABELS else []
    shares = {(pair.label, pair.found): pair.share for pair in report.confusions}
    deepest = max(shares.values()) or 1
    shares |= {(figures.label, figures.label): figures.precision for figures in report.per_class}
    parts = []
    for row, label in enumerate(labels):
        name, y = names.get(label, label), _HEAD + row * _CELL
        x = _SIDE + (row + 0.5) * _CELL
        parts.append(_matrix_name(_SIDE - 10, y + _CELL / 2 + 4, name, "end"))
        turn = f' transform="rotate(-45 {x:.1f} {_HEAD - 10})"'
        parts.append(_matrix_name(x, _HEAD - 10, name, "start", turn))
        for column, found in enumerate(labels):
            share, about = shares.get((label, found)), f"{name} → {names.get(found, found)}"
            depth = 0 if label == found else (share or 0) / deepest
            parts.append(_matrix_cell(_SIDE + column * _CELL, y, about, share, depth))
    size = _SIDE + len(labels) * _CELL + 90, _HEAD + len(labels) * _CELL + 2
    return f'<svg width="{size[0]}" height="{size[1]}">\n{"".join(parts)}</svg>\n'


def _matrix_name(x: float, y: float, name: str, anchor: str, turn: str = "") -> str:
    room = 8 if any(unicodedata.east_asian_width(c) in "WF" for c in name) else 15
    short = name if len(name) <= room else name[: room - 1].rstrip() + "…"
    return f"<g><title>{_text(name)}</title>{_words(x, y, _text(short), anchor, '', turn)}</g>\n"


def _matrix_cell(x: float, y: float, about: str, share: float | None, depth: float) -> str:
    """depth: 0 to 1, how strongly the cell is coloured; at 0 it is outlined when it has a share."""
    place = f'x="{x + 1:.0f}" y="{y + 1:.0f}" width="{_CELL - 2}" height="{_CELL - 2}"'
    if share is None or not math.isfinite(share):
        return f'<g><title>{_text(about)}</title><rect class="cell" {place}/></g>\n'
    style = f'class="heat" fill-opacity="{0.7 * depth:.2f}"' if depth else 'class="same"'
    number = _words(x + _CELL / 2, y + _CELL / 2 + 4, f"{100 * share:.0f}", "middle", "number")
    title = f"<title>{_text(about)}: {100 * share:.1f} % of hits</title>"
    return f'<g>{title}<rect class="cell" {place}/><rect {style} {place}/>{number}</g>\n'


def _sheets(title: str, order: str, outcomes: Sequence[Outcome], report: Report, names: Names, opener: Opener) -> str:
    if not outcomes:
        return ""
    lead = (
        f"{len(outcomes):,} of {_count(report.queries)}, {order}. Green frame and tick: the query's label. "
        "Red frame and cross: another."
    )
    return _section(title, lead, *(_sheet(outcome, report, names, opener) for outcome in outcomes))


def _sheet(outcome: Outcome, report: Report, names: Names, opener: Opener) -> str:
    hits = outcome.results[:_SHOWN_HITS]
    file = Path(outcome.results.query)
    query = Original(os.path.abspath(file), outcome.content) if outcome.content else file
    path = file.relative_to(report.folder) if file.is_relative_to(report.folder) else file
    ap, precision = _fraction(outcome.average_precision), _fraction(outcome.precision)
    about = f"AP {ap} · P@{_largest_k(report)} {precision}"
    cut = f" · the first {len(hits)} of {len(outcome.results):,} hits" if hits != outcome.results[:] else ""
    tiles = "".join(_hit(hit, "right" if hit.label == outcome.label else "wrong", opener) for hit in hits)
    return f"""<article class="sheet">
<h3 class="name">{_text(names.get(outcome.label, outcome.label))}</h3>
<p class="about">{about} · {_text(str(path))}{cut}</p>
<div class="strip">
<figure class="tile">{_picture(query, "the query", opener)}<figcaption class="row"><b>Query</b></figcaption></figure>
<ol class="hits">
{tiles}</ol>
</div>
</article>
"""


def _hit(hit: Hit, kind: str, opener: Opener) -> str:
    name = hit.label_name or hit.label or "no label"
    return (
        f'<li class="tile {kind}" title="{_text(hit.path)}">{_picture(of_hit(hit), name, opener)}'
        f'<svg class="mark" viewBox="0 0 12 12" role="img" aria-label="{kind}">'
        f'<path d="{_MARKS[kind]}"/></svg>'
        f'<span class="row"><b>{hit.rank}</b><span class="faint">{hit.score:.3f}</span></span>'
        f'<span class="label name">{_text(name)}</span></li>\n'
    )


def _picture(source: Source, name: str, opener: Opener) -> str:
    """Return the picture in its frame, or the reason why there is none."""
    try:
        picture = opener(source, _THUMBNAIL)
    except ImageError as error:
        return f'<span class="frame"><span class="reason">{_text(str(error))}</span></span>'
    picture = fitted(picture, _THUMBNAIL, enlarge=False)
    data = BytesIO()
    picture.save(data, "JPEG", quality=80, comment=b"")
    source = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    return f'<span class="frame"><img src="{source}" alt="{_text(name)}"></span>'
