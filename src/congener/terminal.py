"""What the command line prints for people: progress, reports and hits. Notes go to stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from congener.results import Results

if TYPE_CHECKING:
    from congener.update import UpdateReport

_SHOWN_SKIPS = 20


def note(message: str) -> None:
    """Print one line on stderr."""
    print(f"congener: {printable(message)}", file=sys.stderr)


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
    rate = f", {report.images_per_second:.0f} images indexed a second" if report.indexed else ""
    print(f"{report.images:,} images can be searched; {report.seconds:.2f} s in all{rate}")
    shown = _SHOWN_SKIPS if sys.stderr.isatty() else len(report.skipped)
    for skipped in report.skipped[:shown]:
        note(f"skipped {skipped.path}: {skipped.reason}")
    if report.skipped[shown:]:
        note(f"skipped {len(report.skipped) - shown} more: --json lists all")


def missing_note(folder: Path, report: "UpdateReport") -> str:
    """Return what to say when many files are gone."""
    return (
        f"{report.missing} of {report.images} images are gone from {folder}; is a drive absent? "
        f"They stay in the gallery until: congener index {folder} --prune"
    )


def print_hits(results: Results, *, several: bool, folders: bool) -> None:
    """Print a table for a person, tab-separated lines for a pipe.

    several: there are more queries than this; folders: hits come from more than one folder.
    """
    rows = [
        (
            str(hit.rank),
            f"{hit.score:.3f}",
            printable(hit.label_name or ""),
            printable(str(hit.file) if folders else hit.path),
        )
        for hit in results
    ]
    if several:
        print(f"{printable(results.query)}:")
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("rank", "score", "name", "path", box=None, header_style="dim")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
