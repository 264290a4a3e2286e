"""Commands that judge and learn: evaluate, compare, adapt."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from congener.cli.options import (
    PLACE,
    folder_argument,
    force_option,
    gallery_option,
    json_option,
    open_gallery,
    output,
    precision_option,
    rerank_option,
    single,
    tell_labels,
    tell_table,
    update_first,
)
from congener.errors import CongenerError
from congener.terminal import print_comparison, print_evaluation, print_json

if TYPE_CHECKING:
    from congener.gallery import Gallery
    from congener.truth import Task

_split = click.option("--split", type=PLACE, help="A table (path,label,is_query): these ask, the others are asked.")
_queries = click.option("--queries", type=PLACE, help="A folder of pictures from elsewhere that ask.")
_labels = click.option("--labels", type=PLACE, help="With --queries: a table (path,label) of their labels.")
_k = click.option("-k", default="1,5,10", show_default=True, metavar="K,K,…", help="Where to cut the answers.")


def _cuts(text: str) -> list[int]:
    try:
        cuts = [int(part) for part in text.split(",")]
    except ValueError:
        raise CongenerError(f"-k takes whole numbers, as in -k 1,5,10; not {text!r}") from None
    if min(cuts) < 1:
        raise CongenerError(f"-k takes numbers from 1 on; not {text!r}")
    return cuts


def _task(gallery: "Gallery", split: Path | None, queries: Path | None, labels: Path | None) -> "Task":
    from congener.truth import leave_one_out, queries_from, split_by

    if split and queries:
        raise CongenerError("--split and --queries exclude each other")
    if labels and not queries:
        raise CongenerError("--labels goes with --queries")
    if split:
        return split_by(gallery, split)
    return queries_from(gallery, queries, labels) if queries else leave_one_out(gallery)


@click.command()
@folder_argument
@gallery_option
@_split
@_queries
@_labels
@_k
@click.option("--code", default="blend", show_default=True, help="blend, pooled, gem, posterior or flatten.")
@rerank_option
@click.option("--adapt", is_flag=True, help="Learn from the labels of those that are asked first.")
@click.option("--report", type=PLACE, help="Write all of it as one HTML page.")
@force_option
@precision_option
@json_option
def evaluate(
    folder: Path,
    stores: tuple[Path, ...],
    split: Path | None,
    queries: Path | None,
    labels: Path | None,
    k: str,
    code: str,
    rerank: tuple[str, ...],
    adapt: bool,
    report: Path | None,
    force: bool,
    precision: str | None,
    as_json: bool,
) -> None:
    """Judge the answers that FOLDER gives by its labels.

    By default each labelled image asks for the others of its label. Indexes first what is new or changed.
    """
    from congener.evaluation import check
    from congener.evaluation import evaluate as run
    from congener.marks import REPORT
    from congener.reports import render

    cuts = _cuts(k)
    check(cuts, code, rerank, adapt)
    asked = [table for table in (split, labels) if table]
    page = report and output(report, REPORT, force=force, asked=asked, galleries=[(folder, single(stores))])
    with open_gallery(folder, single(stores), precision=precision) as gallery:
        update_first(gallery)
        tables = tell_labels(gallery)
        task = _task(gallery, split, queries, labels)
        if task.labels:
            tables |= {"query_table": tell_table(task.labels)}
        judged = run(task, gallery.encoder, k=cuts, code=code, rerank=rerank, adapted=adapt).report
    if page:
        page.write_page(render(judged))
    if as_json:
        print_json(judged.as_dict() | tables)
    else:
        print_evaluation(judged)
        if report:
            print(f"the whole report: {report}")


@click.command()
@folder_argument
@gallery_option
@click.option(
    "--with",
    "specs",
    multiple=True,
    required=True,
    metavar="SPEC",
    help="[ENCODER/]CODE[+RERANK…], or adapt in place of CODE; twice at least. The first is what others are held to.",
)
@_split
@_queries
@_labels
@_k
@json_option
def compare(
    folder: Path,
    stores: tuple[Path, ...],
    specs: tuple[str, ...],
    split: Path | None,
    queries: Path | None,
    labels: Path | None,
    k: str,
    as_json: bool,
) -> None:
    """Judge several ways of searching FOLDER side by side, on the same queries."""
    from congener.comparison import compare as run
    from congener.comparison import parse_specs

    cuts = _cuts(k)
    parse_specs(specs)
    with open_gallery(folder, single(stores)) as gallery:
        update_first(gallery)
        tables = tell_labels(gallery)
        compared = run(gallery, lambda each: _task(each, split, queries, labels), specs, k=cuts)
    if as_json:
        print_json(compared.as_dict() | tables)
    else:
        print_comparison(compared)


@click.command()
@folder_argument
@gallery_option
@click.option("--undo", is_flag=True, help="Forget what was learned.")
@click.option("--force", is_flag=True, help="Use it even if it doesn't help.")
@json_option
def adapt(folder: Path, stores: tuple[Path, ...], undo: bool, force: bool, as_json: bool) -> None:
    """Learn from the labels of FOLDER what makes images of one kind alike.

    Searches use it from then on, if it helps by leave-one-out on FOLDER's own images; --undo forgets it.
    """
    with open_gallery(folder, single(stores)) as gallery:
        if undo:
            had = gallery.forget()
            print_json({"forgotten": had}) if as_json else print("forgotten" if had else "nothing was learned")
            return
        update_first(gallery)
        tables = tell_labels(gallery)
        report = gallery.adapt(force=force)
    if as_json:
        print_json(report.as_dict() | tables)
        return
    verdict = "in use from now on" if report.kept else "not used, for it doesn't help (--force uses it all the same)"
    print(
        f"learned from {report.images:,} images of {report.labels:,} labels; R-precision, each image asking for the "
        f"others of its label with a map fitted without it: {report.before:.3f} before, {report.after:.3f} after; "
        f"{verdict}"
    )
