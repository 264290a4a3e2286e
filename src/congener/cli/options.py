"""Options and small steps that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from congener.errors import CongenerError, GalleryBusyError
from congener.terminal import missing_note, note, progress

if TYPE_CHECKING:
    from congener.gallery import Gallery
    from congener.labels import TableFit
    from congener.outputs import Output
    from congener.query import Box

folder_argument = click.argument("folder", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
gallery_option = click.option(
    "--gallery",
    "stores",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where the gallery is kept, instead of FOLDER/.congener: for folders that can't be written.",
)
precision_option = click.option(
    "--precision",
    metavar="NAME",
    help="How the network calculates, for a new gallery: int8 (the default) or float32, slower and no better.",
)
index_option = click.option(
    "--index",
    metavar="NAME",
    help="exact, approximate (for more than a million images; needs the extra fast), or auto, which chooses by size.",
)
recall_option = click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Of the exact answer, what an approximate index should find: .99 by default.",
)
rerank_option = click.option(
    "--rerank",
    multiple=True,
    metavar="NAME[:k=v]",
    help="Re-rank the answers: qe, aqe, dba, kreciprocal or diffusion; may be repeated, applied in order.",
)
force_option = click.option(
    "--force",
    is_flag=True,
    help="Write over what has the output's name, even a picture of yours; without it, only over earlier outputs.",
)
k_option = click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="How many hits.")


def open_gallery(
    folder: Path, store: Path | None, encoder: str | None = None, precision: str | None = None
) -> "Gallery":
    """Open a gallery; what is heavy is loaded only now."""
    from congener.gallery import Gallery

    return Gallery(folder, store=store, encoder=encoder, precision=precision)


def output(
    place: Path, mark: str, *, force: bool, asked: Sequence[str | Path], galleries: Sequence[tuple[Path, Path | None]]
) -> "Output":
    """Return where a command is to write. Raises CongenerError, before the work, where it may not or can't.

    asked: what it reads. galleries: folders and where each is kept, None within it.
    """
    from congener.gallery import STORE_NAME
    from congener.outputs import Output

    stores = [store or folder / STORE_NAME for folder, store in galleries]
    made = Output(place, mark, force=force, asked=asked, folders=[folder for folder, _ in galleries], stores=stores)
    made.check()
    return made


def single(stores: Sequence[Path]) -> Path | None:
    """Return the one place of a gallery, or None."""
    if len(stores) > 1:
        raise CongenerError("--gallery can be given once here")
    return stores[0] if stores else None


def box_of(text: str | None) -> "Box | None":
    """Return the box that --box means."""
    from congener.query import parse_box

    return None if text is None else parse_box("--box", text)


def check_queries(queries: Sequence[str]) -> None:
    """Fail before the work of indexing, rather than after it."""
    from congener.images import open_file

    for query in queries:
        try:
            open_file(query).close()
        except CongenerError as error:
            raise CongenerError(f"{query}: {error}") from None


def tell_labels(gallery: "Gallery") -> dict[str, Any]:
    """Tell on stderr which lines of the label tables fit nothing, or contradict each other; return it all for JSON.

    Raises CongenerError for a table of which nothing fits.
    """
    return {"label_table": tell_table(gallery.label_table())}


def tell_table(fit: "TableFit") -> dict[str, Any]:
    """Tell on stderr which lines of a table fit nothing; return it all for JSON."""
    for line in fit.notes():
        note(line)
    return fit.as_dict()


def update_first(gallery: "Gallery") -> None:
    """Index what is new or changed before a gallery is asked. Raises CongenerError when nothing can be searched."""
    if len(gallery) and not gallery.writable:
        note(f"{gallery.store_folder} can't be written: searching what was indexed before")
        return
    try:
        with progress(f"indexing {gallery.folder.resolve().name}") as show:
            report = gallery.update(build_index=False, progress=show)
    except GalleryBusyError:
        note(f"another process is indexing {gallery.folder}: searching what it has so far")
        return
    if report.skipped:
        note(
            f"{len(report.skipped)} of {report.found} files in {gallery.folder} can't be read: "
            f"congener index {gallery.folder} tells why"
        )
    if report.missing:
        note(missing_note(gallery.folder, report))
    if not report.images:
        raise CongenerError(
            f"nothing to search in {gallery.folder}: {report.found} image files found, "
            f"{len(report.skipped)} of them unreadable"
        )
