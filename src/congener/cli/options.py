"""Options and small steps that several commands share."""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
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

MOST_HITS = 2**63 - 1


class _Place(click.Path):
    """The name of a file or folder. An empty one, as of a variable that isn't set, would mean the folder one is in."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        text = os.fspath(value)
        if not text:
            self.fail("the name is empty; give that of a file or folder", param, context)
        try:
            valid = b"\0" not in os.fsencode(text)
        except UnicodeEncodeError:
            valid = False
        if not valid:
            self.fail(f"no file or folder can be called {text[:80]!r}", param, context)
        return super().convert(value, param, context)


class _Fraction(click.FloatRange):
    """A number from 0 to 1; not one that is none (NaN)."""

    def __init__(self, *, above_0: bool = False) -> None:
        super().__init__(0, 1, min_open=above_0)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the number; fail with the range of those that are valid."""
        number = super().convert(value, param, context)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, context)
        return number


PLACE, PICTURE = _Place(path_type=Path), _Place()
FRACTION, FRACTION_ABOVE_0 = _Fraction(), _Fraction(above_0=True)

folder_argument = click.argument("folder", type=PLACE)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_stores_option = click.option(
    "--gallery",
    "stores",
    multiple=True,
    type=PLACE,
    help="Where the gallery is kept, instead of FOLDER/.congener: for folders that can't be written.",
)
_MOVED = "congener.moved"


def _note_moved(context: click.Context, _: click.Parameter, moved: bool) -> None:
    context.meta[_MOVED] = moved


_moved_option = click.option(
    "--moved",
    is_flag=True,
    expose_value=False,
    callback=_note_moved,
    help="With --gallery: FOLDER is the one that it was made from, though it has moved.",
)


def gallery_option(command: Callable[..., object]) -> Callable[..., object]:
    """Add --gallery, as `stores`, and --moved, which `is_moved` tells."""
    return _stores_option(_moved_option(command))


def is_moved() -> bool:
    """Tell whether the running command was given --moved."""
    return bool(click.get_current_context().meta.get(_MOVED))


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
    type=FRACTION_ABOVE_0,
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
k_option = click.option("-k", default=10, show_default=True, type=click.IntRange(1, MOST_HITS), help="How many hits.")


def open_gallery(
    folder: Path, store: Path | None, encoder: str | None = None, precision: str | None = None
) -> "Gallery":
    """Open a gallery; what is heavy is loaded only now."""
    from congener.gallery import Gallery

    return Gallery(folder, store=store, encoder=encoder, precision=precision, moved=is_moved())


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


def place_of(folder: Path, stores: Sequence[Path]) -> Path:
    """Return where the gallery of a folder is kept. Raises GalleryError where it is that of another folder."""
    from congener.errors import DamagedGalleryError
    from congener.gallery import STORE_NAME
    from congener.origin import check_origin
    from congener.store import Store

    place = single(stores) or folder / STORE_NAME
    if not is_moved() and Store.exists(place):
        with suppress(DamagedGalleryError), closing(Store.open(place, trusting=True)) as store:
            check_origin(store, folder)
    return place


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
            report = gallery.update(build_index=False, heads=False, progress=show)
    except GalleryBusyError:
        note(f"another process is indexing {gallery.folder}: searching what it has so far")
        return
    if report.news:
        note(
            f"{len(report.skipped):,} of {report.found:,} files in {gallery.folder} can't be read: "
            f"{gallery.command('index')} tells why"
        )
    if report.missing:
        note(missing_note(gallery, report))
    if not report.images:
        raise CongenerError(
            f"nothing to search in {gallery.folder}: {report.found} image files found, "
            f"{len(report.skipped)} of them unreadable"
        )
