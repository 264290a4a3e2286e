"""The command search, and what becomes of its answers."""

import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from congener.cli.options import (
    FRACTION,
    PICTURE,
    PLACE,
    box_of,
    check_queries,
    force_option,
    gallery_option,
    index_option,
    json_option,
    k_option,
    open_gallery,
    output,
    precision_option,
    recall_option,
    rerank_option,
    tell_labels,
    update_first,
)
from congener.errors import CongenerError
from congener.terminal import note, print_hits, print_json

if TYPE_CHECKING:
    from congener.outputs import Output
    from congener.results import Results
    from congener.searcher import SearchOptions

USER_MISTAKE = 2


@click.command()
@click.argument("queries", nargs=-1, required=True, type=PICTURE, metavar="QUERY...")
@click.option(
    "--in",
    "folders",
    multiple=True,
    required=True,
    type=PLACE,
    metavar="FOLDER",
    help="Where to search; may be repeated, to search several folders at once.",
)
@gallery_option
@k_option
@rerank_option
@click.option("--combine", is_flag=True, help="Take all queries as one: what do they have in common?")
@click.option(
    "--not", "unlike", multiple=True, type=PICTURE, metavar="PICTURE", help="The hits should not be like this one."
)
@click.option("--box", metavar="X,Y,W,H", help="Search with this part of QUERY, in pixels.")
@click.option("--min-score", default=0.0, type=FRACTION, help="Leave out hits of less similarity.")
@click.option("--no-adapt", is_flag=True, help="Search without what was learned from labels.")
@click.option("--include-self", is_flag=True, help="Let QUERY be its own hit if it is in FOLDER.")
@click.option(
    "--label", "labels", multiple=True, metavar="A,B", help="Search only images of these labels; may be repeated."
)
@precision_option
@index_option
@recall_option
@click.option("--no-update", is_flag=True, help="Search what is indexed, without a look at FOLDER.")
@json_option
@click.option("--paths", is_flag=True, help="Print the paths of the hits alone, one a line.")
@click.option("-0", "zero", is_flag=True, help="With --paths: end each with NUL, for xargs -0.")
@click.option("--copy-to", type=PLACE, help="Copy the hits into this folder.")
@click.option("--sheet", type=PLACE, help="Draw the answer as this picture (.png, …).")
@force_option
@click.option("--open", "open_sheet", is_flag=True, help="Show the sheet.")
def search(
    queries: tuple[str, ...],
    folders: tuple[Path, ...],
    stores: tuple[Path, ...],
    k: int,
    rerank: tuple[str, ...],
    combine: bool,
    unlike: tuple[str, ...],
    box: str | None,
    min_score: float,
    no_adapt: bool,
    include_self: bool,
    labels: tuple[str, ...],
    precision: str | None,
    index: str | None,
    recall: float | None,
    no_update: bool,
    **shown: Any,
) -> None:
    """Find the images in FOLDER that are most like each QUERY, a picture from anywhere.

    Indexes first what is new or changed in FOLDER. Several queries are answered one by one, or --combine as one.
    """
    from congener.graph import AUTO, check
    from congener.rerank import compose
    from congener.searcher import Searcher

    if stores and len(stores) != len(folders):
        raise CongenerError(f"--gallery goes with --in: give it {len(folders)} times, or not at all")
    how: SearchOptions = {
        "include_self": include_self,
        "unlike": unlike,
        "box": box_of(box),
        "rerank": rerank,
        "min_similarity": min_score,
        "adapted": False if no_adapt else None,
        "labels": labels,
        "index": None if index == AUTO else index,
        "recall": recall,
    }
    compose(rerank)  # a wrong name is said before the work of indexing, as is a wrong query
    if index is not None:
        check(index, auto=True)
    check_queries([*queries, *unlike])
    questions = [list(queries)] if combine else [[query] for query in queries]
    kept = list(zip(folders, stores or [None] * len(folders), strict=True))
    show = _Answer(k, len(questions), kept, [*queries, *unlike], min_score, **shown)
    show.check()
    with ExitStack() as stack:
        galleries = [stack.enter_context(open_gallery(*each, precision=precision)) for each in kept]
        for gallery in galleries:
            if not no_update:
                update_first(gallery)
            tell_labels(gallery)
        searcher = Searcher(galleries)
        failed = False
        for number, question in enumerate(questions, 1):
            try:
                results = searcher.search(question, k, **how)
            except CongenerError as error:
                if len(questions) == 1:
                    raise
                note(str(error))
                failed = True
                continue
            show(number, question[0], results)
    if failed:
        raise SystemExit(USER_MISTAKE)


@dataclass(frozen=True)
class _Answer:
    """What becomes of each answer: printed, copied, drawn."""

    k: int
    questions: int
    galleries: list[tuple[Path, Path | None]]
    """Folders, and where each gallery is kept."""
    asked: list[str]
    min_score: float
    as_json: bool
    paths: bool
    zero: bool
    copy_to: Path | None
    sheet: Path | None
    force: bool
    open_sheet: bool

    @property
    def several(self) -> bool:
        """Whether there are more answers than one."""
        return self.questions > 1

    def check(self) -> None:
        """Fail before the work where an answer can't go to its place. Raises CongenerError."""
        from congener.outputs import within

        if self.copy_to and (folder := within(self.copy_to, [each for each, _ in self.galleries], linked=True)):
            raise CongenerError(f"--copy-to {self.copy_to} is in {folder}, where the copies would be found next time")
        for number in range(1, self.questions + 1) if self.sheet else ():
            self._sheet(number)

    def __call__(self, number: int, query: str, results: "Results") -> None:
        self._print(results)
        if not results and self.min_score:
            note(f"no match for {results.query}: nothing has a similarity of {self.min_score:g} or more")
        if self.copy_to:
            folder = self.copy_to / f"{number:02d}-{Path(query).stem}" if self.several else self.copy_to
            _copy(results, folder, self.force)
        if self.sheet or self.open_sheet:
            draw(results, query, self._sheet(number), self.open_sheet)

    def _sheet(self, number: int) -> "Output":
        """Return the place of a sheet. Raises CongenerError where it may not or can't be written."""
        from congener.marks import SHEET

        sheet = self.sheet or _temporary_sheet()
        place = sheet.with_stem(f"{sheet.stem}-{number}") if self.several else sheet
        return output(place, SHEET, force=self.force, asked=self.asked, galleries=self.galleries)

    def _print(self, results: "Results") -> None:
        if self.as_json:
            print_json(results_as_dict(results, self.k, len(self.galleries) > 1))
        elif self.paths or self.zero:
            for hit in results:
                sys.stdout.buffer.write(os.fsencode(hit.file) + (b"\0" if self.zero else b"\n"))
            sys.stdout.flush()
        else:
            print_hits(results, several=self.several, folders=len(self.galleries) > 1)


def results_as_dict(results: "Results", k: int, folders: bool = False) -> dict[str, Any]:
    """Return an answer as plain values; folders: with the folder of each hit."""
    hits = [hit.as_dict() | ({"folder": str(hit.folder)} if folders else {}) for hit in results]
    return {"query": results.query, "k": k, "hits": hits}


def _copy(results: "Results", folder: Path, force: bool) -> None:
    """Copy the hits, their rank before their name; over another file only with force."""
    from congener.outputs import copy

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for hit in results:
            copy(hit.file, folder / f"{hit.rank:02d}-{hit.file.name}", content=hit.content, force=force)
    except (OSError, ValueError) as error:
        raise CongenerError(f"can't copy to {folder}: {error}") from None


def draw(results: "Results", query: str, out: "Output", show: bool) -> None:
    """Draw an answer as a sheet, and show it if asked to."""
    from congener.images import open_image
    from congener.pictures import draw_sheet

    out.write_picture(draw_sheet(results, open_image(query)))
    if show:
        click.launch(str(out.place))


def _temporary_sheet() -> Path:
    return Path(tempfile.mkdtemp(prefix="congener-")) / "sheet.png"
