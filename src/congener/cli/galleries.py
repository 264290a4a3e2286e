"""Commands for a gallery as a whole: index, info, demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from congener.cli.options import (
    PLACE,
    folder_argument,
    force_option,
    gallery_option,
    index_option,
    json_option,
    k_option,
    open_gallery,
    precision_option,
    recall_option,
    single,
    tell_labels,
)
from congener.cli.searching import draw, results_as_dict
from congener.terminal import missing_note, note, print_json, print_report, printable, progress

if TYPE_CHECKING:
    from congener.info import GalleryInfo

_UNSEEN_SPECIMEN = 101


@click.command()
@folder_argument
@gallery_option
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out these paths, folders or names. Remembered, and added to those remembered.",
)
@click.option("--no-exclude", is_flag=True, help="Forget the remembered globs first.")
@click.option(
    "--default-exclude/--no-default-exclude",
    default=None,
    help="Pass over hidden twins, bins and thumbnails of other programs, as congener info lists them, or don't. "
    "Remembered; done at first.",
)
@click.option("--prune", is_flag=True, help="Remove images whose files are gone, however many.")
@click.option("--retry", is_flag=True, help="Try again what could not be read, though it hasn't changed.")
@click.option("--refit", is_flag=True, help="Fit the code anew, even if little has changed.")
@click.option("--encoder", metavar="NAME", help="The network; by default the gallery's, or lite0.")
@precision_option
@index_option
@recall_option
@json_option
def index(
    folder: Path,
    stores: tuple[Path, ...],
    exclude: tuple[str, ...],
    no_exclude: bool,
    default_exclude: bool | None,
    prune: bool,
    retry: bool,
    refit: bool,
    encoder: str | None,
    precision: str | None,
    index: str | None,
    recall: float | None,
    as_json: bool,
) -> None:
    """Read the images of FOLDER, so that they can be searched.

    Run it again when the folder has changed: only what is new or changed is read.
    """
    with open_gallery(folder, single(stores), encoder, precision) as gallery:
        remembered = [] if no_exclude else gallery.excluded
        with progress(f"indexing {folder.resolve().name}") as show:
            report = gallery.update(
                exclude=list(dict.fromkeys([*remembered, *exclude])),
                default_exclude=default_exclude,
                prune=prune,
                retry=retry,
                refit=refit,
                index=index,
                recall=recall,
                progress=show,
                index_progress=show,
            )
        if not as_json:
            print_report(report)
        if report.missing:
            note(missing_note(gallery, report))
        labels = tell_labels(gallery)
        if as_json:
            print_json(report.as_dict() | labels)


@click.command()
@folder_argument
@gallery_option
@json_option
def info(folder: Path, stores: tuple[Path, ...], as_json: bool) -> None:
    """Tell what is indexed of FOLDER, and by which encoder."""
    with open_gallery(folder, single(stores)) as gallery:
        facts, labels = gallery.info(), tell_labels(gallery)
    if as_json:
        print_json(facts.as_dict() | labels)
        return
    encoder = facts.encoder
    per_image = f", {facts.bytes / facts.images:,.0f} an image" if facts.images else ""
    lines = {
        "folder": facts.folder,
        "gallery": f"{facts.store} (format {facts.format}, {facts.bytes:,} bytes{per_image})",
        "images": f"{facts.images:,} searchable",
        "labels": f"{facts.labels:,} different; {facts.unlabelled:,} images have none",
        "encoder": f"{encoder['name']}, {encoder['precision']}, {encoder['dimension']} numbers an image",
        "weights": f"SHA-256 {encoder['weights_sha256']}",
        "pixels": encoder["preprocessing"],
        "code": (
            f"{facts.code}, {facts.dimension} numbers an image: {2 * facts.dimension:,} bytes, "
            f"and {facts.dimension + 4:,} that are searched"
        ),
        "fitted": _fitted(facts),
        "learned": _learned(facts),
        "index": _index(facts.index),
        "excluded": ", ".join(facts.exclude) or "nothing",
    }
    for name, value in lines.items():
        print(f"{name:9} {printable(value)}")
    _print_passed_over(facts)


def _print_passed_over(facts: "GalleryInfo") -> None:
    from congener.exclusion import DEFAULT_EXCLUDE

    print("passed    over always: what congener drew itself, known by a mark in it")
    if not facts.default_exclude:
        print("passed    over by default: nothing (--no-default-exclude)")
        return
    print("passed    over by default (until congener index --no-default-exclude):")
    for glob in facts.default_exclude:
        print(f"          {glob:27} {DEFAULT_EXCLUDE[glob]}")


def _fitted(facts: "GalleryInfo") -> str:
    if facts.class_weight is None:
        return "not yet: the first index has not run to its end"
    return f"on {facts.fitted_on:,} images; class probabilities weigh {facts.class_weight:g}"


def _index(facts: dict[str, Any]) -> str:
    if facts["name"] == "exact":
        return f"exact: each query is compared with all images (chosen: {facts['choice']})"
    return (
        f"approximate: finds {facts['recall']:.1%} of the exact 10 nearest, measured on {facts['queries']} of "
        f"its images (asked for: {facts['target']:.1%}); {facts['rows']:,} in the graph, "
        f"built in {facts['seconds']:,.0f} s"
    )


def _learned(facts: "GalleryInfo") -> str:
    if facts.adapted is None:
        return "nothing (congener adapt learns from labels)"
    stale = "; labels have changed since: congener adapt" if facts.adapted["stale"] else ""
    return f"from the labels of {facts.adapted['images']:,} images{stale}"


@click.command()
@click.argument("folder", type=PLACE, default=Path("congener-demo"))
@k_option
@force_option
@json_option
def demo(folder: Path, k: int, force: bool, as_json: bool) -> None:
    """Paint a cabinet of natural history into FOLDER, index it, and search it.

    16 kinds of butterflies, beetles, fish, shells, leaves and more, 12 specimens each; the queries are
    specimens that are not in it. FOLDER is ./congener-demo unless you name another.
    """
    from congener.cabinet import KINDS, paint, paint_cabinet
    from congener.gallery import Gallery
    from congener.marks import DEMO_SHEET, SPECIMEN
    from congener.outputs import Output

    queries = [folder / f"{kind.name}.jpg" for kind in KINDS]
    painted = [Output(query, SPECIMEN, force=force) for query in queries]
    sheet = Output(folder / "sheet.png", DEMO_SHEET, force=force)
    for output in (*painted, sheet):  # before the work
        output.check_what_is_there()
    with progress("painting") as show:
        paint_cabinet(folder / "cabinet", progress=show)
    for kind, output in zip(KINDS, painted, strict=True):
        output.write_picture(paint(kind.name, _UNSEEN_SPECIMEN), quality=90)
    with Gallery(folder / "cabinet") as gallery:
        with progress("indexing") as show:
            report = gallery.update(progress=show)
        answers = [gallery.search(query, k) for query in queries]
    draw(answers[0], str(queries[0]), sheet, show=False)
    if as_json:
        found = [results_as_dict(answer, k) for answer in answers]
        print_json({"folder": str(folder), "images": report.images, "queries": found, "sheet": str(sheet.place)})
        return
    print(f"{report.images} painted specimens of {len(KINDS)} kinds in {folder / 'cabinet'}")
    print(f"Of the {k} most alike to a specimen that is not among them, its own kind are:")
    for kind, answer in zip(KINDS, answers, strict=True):
        right = sum(hit.label == kind.name for hit in answer)
        print(f"  {kind.title:24} {right:3} of {len(answer)}  {'■' * right}{'□' * (len(answer) - right)}")
    print(f"The answer to {queries[0]} as a picture: {sheet.place}")
    print("Your own: congener search PICTURE --in FOLDER --sheet answer.png")
