"""What the command line prints for people: progress, reports and hits. Notes go to stderr."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from congener.results import Results

if TYPE_CHECKING:
    from congener.comparison import Comparison
    from congener.duplicates.find import Duplicates, Member
    from congener.evaluation import Report
    from congener.gallery import Gallery
    from congener.memory import Skipped
    from congener.update import UpdateReport

_SHOWN_SKIPS = 20
_SHOWN_WORST = 10


def note(message: str) -> None:
    """Print one line on stderr, where that can be."""
    with suppress(OSError, ValueError):
        print(f"congener: {printable(message)}", file=sys.stderr, flush=True)


def print_json(value: dict[str, Any]) -> None:
    """Print a JSON object on one line, ASCII only."""
    print(json.dumps(value))


def printable(text: str) -> str:
    """Escape what would disturb a terminal: control characters, undecodable bytes of a file name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar with rate and time left, where a person looks on."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(what), total=None, rate="")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            rate = f"{speed:.0f} images/s" if speed else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield show


def print_report(report: "UpdateReport") -> None:
    """Print what an update did, in counts that add up, and on stderr each file skipped."""
    print(
        f"{report.found:,} found = {report.indexed:,} indexed + {report.unchanged:,} unchanged + "
        f"{report.renamed:,} renamed or copied + {len(report.skipped):,} skipped; "
        f"{report.removed:,} removed"
    )
    if report.passed_over:
        counts = ", ".join(f"{count:,} × {what}" for what, count in report.passed_over.items())
        print(printable(f"passed over: {counts}"))
    if report.unread:
        print(printable(f"pictures of kinds that aren't read: {_counted(report.unread)}"))
    if report.misnamed:
        print(f"pictures under other names, read once they end in .jpg or the like: {_counted(report.misnamed)}")
    rate = f", {report.images_per_second:.0f} images indexed a second" if report.indexed else ""
    print(f"{report.images:,} images can be searched; {report.seconds:.2f} s in all{rate}")
    _note_skipped(report.skipped)


def _counted(counts: "Mapping[str, int]") -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _note_skipped(files: "Sequence[Skipped]") -> None:
    for skipped in files[:_SHOWN_SKIPS]:
        note(f"skipped {skipped.path}: {skipped.reason}")
    if files[_SHOWN_SKIPS:]:
        note(f"skipped {len(files) - _SHOWN_SKIPS:,} more: --json lists all")


def missing_note(gallery: "Gallery", report: "UpdateReport") -> str:
    """Return what to say when many files are gone."""
    return (
        f"{report.missing} of {report.images} images are gone from {gallery.folder}; is a drive absent? "
        f"They stay in the gallery until: {gallery.command('index', '--prune')}"
    )


def print_hits(results: Results, *, several: bool, folders: bool) -> None:
    """Print a table for a person, tab-separated lines for a pipe.

    several: there are more queries than this; folders: hits come from more than one folder.
    """
    rows = [
        (
            str(hit.rank),
            f"{hit.score:.3f}",
            f"{hit.similarity:.2f}",
            printable(hit.label_name or ""),
            printable(str(hit.file) if folders else hit.path),
        )
        for hit in results
    ]
    if several:
        print(f"{printable(results.query)}:")
    if sys.stdout.isatty():
        _print_table(("rank", "score", "similarity", "name", "path"), rows)
    else:
        for row in rows:
            print("\t".join(row))


def print_evaluation(report: "Report") -> None:
    """Print the figures of an evaluation with their 95 % intervals, and the worst labels and queries."""
    reranked = "".join(f" + {name}" for name in report.rerank)
    print(f"{report.encoder}, {report.code}{reranked}: {report.queries:,} queries to {report.gallery:,} images")
    if report.unjudged:
        print(f"{report.unjudged:,} more queries have no relevant image there, and are not counted")
    rows = [("mAP", report.map, report.ci95["map"])]
    rows.append(("R-precision", report.r_precision, report.ci95["r_precision"]))
    for name, values in (("precision", report.precision), ("recall", report.recall), ("hit", report.hit)):
        rows += [(f"{name}@{k}", value, report.ci95[f"{name}@{k}"]) for k, value in values.items()]
    for name, values in (("mAP", report.map_at), ("NDCG", report.ndcg)):
        rows += [(f"{name}@{k}", value, report.ci95[f"{name.lower()}@{k}"]) for k, value in values.items()]
    _print_table(
        ("measure", "mean", "95 % interval"),
        [(name, f"{value:.3f}", f"{low:.3f} to {high:.3f}") for name, value, (low, high) in rows],
    )
    k = max(report.precision)
    _print_table(
        ("worst labels", "queries", f"precision@{k}", "mAP"),
        [
            (printable(each.name), str(each.queries), f"{each.precision:.3f}", f"{each.average_precision:.3f}")
            for each in report.per_class[:_SHOWN_WORST]
        ],
    )
    _print_table(
        ("worst queries", "label", "AP"),
        [
            (printable(each.results.query), printable(each.label), f"{each.average_precision:.3f}")
            for each in report.outcomes[:_SHOWN_WORST]
        ],
    )


def print_comparison(comparison: "Comparison") -> None:
    """Print several evaluations side by side, and how each differs from the first on the same queries."""
    reports = comparison.reports
    print(f"{reports[0].queries:,} queries to {reports[0].gallery:,} images; differences to the first, paired by query")
    rows = []
    for spec, report, differences in zip(comparison.specs, reports, comparison.differences, strict=True):
        figures = {"map": report.map} | {f"precision@{k}": value for k, value in report.precision.items()}
        cells = [spec]
        for name, value in figures.items():
            difference = differences.get(name)
            cells.append(
                f"{value:.3f}"
                + (f" ({difference.mean:+.3f}, {difference.low:+.3f} to {difference.high:+.3f})" if difference else "")
            )
        rows.append(tuple(cells))
    _print_table(("", "mAP", *(f"precision@{k}" for k in reports[0].precision)), rows)


def _member_kind(kind: str, member: "Member") -> str:
    """Return what a line says of an image: a link is no copy, and a marked one isn't quite the same."""
    if member.link:
        return f"{member.link} link"
    return "marked" if member.marked else kind


def print_duplicates(duplicates: "Duplicates") -> None:
    """Print each group's images, what is worth keeping first, then the counts; on stderr each file skipped."""
    if duplicates.groups:
        _print_table(
            ("group", "kind", "bits", "size", "bytes", "path"),
            [
                (
                    str(number),
                    _member_kind(group.kind, member),
                    str(member.distance),
                    f"{member.width} × {member.height}",
                    f"{member.bytes:,}",
                    printable(member.path),
                )
                for number, group in enumerate(duplicates.groups, 1)
                for member in group.images
            ],
        )
    print(
        f"{duplicates.images:,} images = {duplicates.distinct:,} distinct + {duplicates.copies:,} exact copies + "
        f"{duplicates.near:,} near ones + {duplicates.links:,} links + {len(duplicates.skipped):,} skipped"
    )
    many = "group" if len(duplicates.groups) == 1 else "groups"
    print(f"{len(duplicates.groups):,} {many}; {_readable(duplicates.bytes)} could be saved")
    if duplicates.marked:
        print(f"{duplicates.marked:,} of the near ones bear a mark, and don't count among what could be saved")
    _note_skipped(duplicates.skipped)


def _readable(size: int) -> str:
    """Return a number of bytes in the unit that fits."""
    if size < 1000:
        return f"{size} bytes"
    value, unit = next((size / factor, unit) for factor, unit in _UNITS if size >= factor)
    return f"{value:,.1f} {unit}"


_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def _print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    if not sys.stdout.isatty():
        for row in (header, *rows):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, header_style="dim")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
