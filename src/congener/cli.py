"""The command line: parse, call, print."""

import filecmp
import json
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from congener import __version__
from congener.errors import CongenerError, GalleryBusyError, unknown_name
from congener.terminal import missing_note, note, print_hits, print_report, printable, progress

if TYPE_CHECKING:
    from congener.gallery import Gallery
    from congener.results import Results

USER_MISTAKE = 2
INTERRUPTED = 130

_UNSEEN_SPECIMEN = 101


class _Commands(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise CongenerError(unknown_name("command", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="congener")
def cli() -> None:
    """Find the pictures in a folder that are most like a picture."""


_folder = click.argument("folder", type=click.Path(path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_gallery_option = click.option(
    "--gallery",
    "stores",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where the gallery is kept, instead of FOLDER/.congener: for folders that can't be written.",
)


@cli.command()
@_folder
@_gallery_option
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out these paths, folders or names. Remembered, and added to those remembered.",
)
@click.option("--no-exclude", is_flag=True, help="Forget the remembered globs first.")
@click.option("--prune", is_flag=True, help="Remove images whose files are gone, however many.")
@click.option("--encoder", metavar="NAME", help="The network; by default the gallery's, or lite0.")
@_json
def index(
    folder: Path,
    stores: tuple[Path, ...],
    exclude: tuple[str, ...],
    no_exclude: bool,
    prune: bool,
    encoder: str | None,
    as_json: bool,
) -> None:
    """Read the images of FOLDER, so that they can be searched.

    Run it again when the folder has changed: only what is new or changed is read.
    """
    with _open(folder, _single(stores), encoder) as gallery:
        remembered = [] if no_exclude else gallery.excluded
        with progress(f"indexing {folder.resolve().name}") as show:
            report = gallery.update(exclude=list(dict.fromkeys([*remembered, *exclude])), prune=prune, progress=show)
        if as_json:
            _print_json(report.as_dict())
        else:
            print_report(report)
        if report.missing:
            note(missing_note(folder, report))


@cli.command()
@click.argument("queries", nargs=-1, required=True, metavar="QUERY...")
@click.option(
    "--in",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to search; may be repeated, to search several folders at once.",
)
@_gallery_option
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="How many hits.")
@click.option("--include-self", is_flag=True, help="Let QUERY be its own hit if it is in FOLDER.")
@click.option("--no-update", is_flag=True, help="Search what is indexed, without a look at FOLDER.")
@_json
@click.option("--paths", is_flag=True, help="Print the paths of the hits alone, one a line.")
@click.option("-0", "zero", is_flag=True, help="With --paths: end each with NUL, for xargs -0.")
@click.option("--copy-to", type=click.Path(path_type=Path), help="Copy the hits into this folder.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Draw the answer as this picture (.png, …).")
@click.option("--open", "open_sheet", is_flag=True, help="Show the sheet.")
def search(
    queries: tuple[str, ...],
    folders: tuple[Path, ...],
    stores: tuple[Path, ...],
    k: int,
    include_self: bool,
    no_update: bool,
    as_json: bool,
    paths: bool,
    zero: bool,
    copy_to: Path | None,
    sheet: Path | None,
    open_sheet: bool,
) -> None:
    """Find the images in FOLDER that are most like each QUERY, a picture from anywhere.

    Indexes first what is new or changed in FOLDER. Several queries are answered one by one.
    """
    from congener.images import open_file

    if stores and len(stores) != len(folders):
        raise CongenerError(f"--gallery goes with --in: give it {len(folders)} times, or not at all")
    for query in queries:
        _check_query(query, open_file)
    galleries = [_open(folder, store) for folder, store in zip(folders, stores or [None] * len(folders), strict=True)]
    for gallery in galleries:
        if not no_update:
            _update_for_search(gallery)
    if open_sheet and sheet is None:
        sheet = _temporary_sheet()
    failed = False
    for number, query in enumerate(queries, 1):
        try:
            results = search_galleries(galleries, query, k, include_self=include_self)
        except CongenerError as error:
            note(str(error))
            failed = True
            continue
        several = len(queries) > 1
        _print_results(results, k, as_json, paths, zero, several, len(folders) > 1)
        if copy_to:
            _copy(results, copy_to / f"{number:02d}-{Path(query).stem}" if several else copy_to)
        if sheet:
            place = sheet.with_stem(f"{sheet.stem}-{number}") if several else sheet
            _draw(results, query, place, open_sheet)
    for gallery in galleries:
        gallery.close()
    if failed:
        raise SystemExit(USER_MISTAKE)


@cli.command()
@_folder
@_gallery_option
@_json
def info(folder: Path, stores: tuple[Path, ...], as_json: bool) -> None:
    """Tell what is indexed of FOLDER, and by which encoder."""
    with _open(folder, _single(stores)) as gallery:
        facts = gallery.info()
    if as_json:
        _print_json(facts.as_dict())
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
        "excluded": ", ".join(facts.exclude) or "nothing",
    }
    for name, value in lines.items():
        print(f"{name:9} {printable(value)}")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("congener-demo"))
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="How many hits.")
@_json
def demo(folder: Path, k: int, as_json: bool) -> None:
    """Paint a cabinet of natural history into FOLDER, index it, and search it.

    16 kinds of butterflies, beetles, fish, shells, leaves and more, 12 specimens each; the queries are
    specimens that are not in it. FOLDER is ./congener-demo unless you name another.
    """
    from congener.cabinet import KINDS, paint, paint_cabinet
    from congener.gallery import Gallery

    with progress("painting") as show:
        paint_cabinet(folder / "cabinet", progress=show)
    queries = [folder / f"{kind.name}.jpg" for kind in KINDS]
    for kind, query in zip(KINDS, queries, strict=True):
        paint(kind.name, _UNSEEN_SPECIMEN).save(query, quality=90)
    with Gallery(folder / "cabinet") as gallery:
        with progress("indexing") as show:
            report = gallery.update(progress=show)
        answers = [gallery.search(query, k) for query in queries]
    place = folder / "sheet.png"
    _draw(answers[0], str(queries[0]), place, show=False)
    if as_json:
        found = [_results_as_dict(answer, k) for answer in answers]
        _print_json({"folder": str(folder), "images": report.images, "queries": found, "sheet": str(place)})
        return
    print(f"{report.images} painted specimens of {len(KINDS)} kinds in {folder / 'cabinet'}")
    print(f"Of the {k} most alike to a specimen that is not among them, its own kind are:")
    for kind, answer in zip(KINDS, answers, strict=True):
        right = sum(hit.label == kind.name for hit in answer)
        print(f"  {kind.title:24} {right:3} of {len(answer)}  {'■' * right}{'□' * (len(answer) - right)}")
    print(f"The answer to {queries[0]} as a picture: {place}")
    print("Your own: congener search PICTURE --in FOLDER --sheet answer.png")


def _open(folder: Path, store: Path | None, encoder: str | None = None) -> "Gallery":
    from congener.gallery import Gallery

    return Gallery(folder, store=store, encoder=encoder)


def _single(stores: Sequence[Path]) -> Path | None:
    if len(stores) > 1:
        raise CongenerError("--gallery can be given once here")
    return stores[0] if stores else None


def _check_query(query: str, open_file: Any) -> None:
    """Fail before the work of indexing, rather than after it."""
    try:
        open_file(query).close()
    except CongenerError as error:
        raise CongenerError(f"{query}: {error}") from None


def _update_for_search(gallery: "Gallery") -> None:
    try:
        with progress(f"indexing {gallery.folder.resolve().name}") as show:
            report = gallery.update(progress=show)
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


def _print_results(
    results: "Results", k: int, as_json: bool, paths: bool, zero: bool, several: bool, folders: bool
) -> None:
    if as_json:
        _print_json(_results_as_dict(results, k, folders))
    elif paths or zero:
        for hit in results:
            sys.stdout.buffer.write(os.fsencode(hit.file) + (b"\0" if zero else b"\n"))
        sys.stdout.flush()
    else:
        print_hits(results, several=several, folders=folders)


def _results_as_dict(results: "Results", k: int, folders: bool = False) -> dict[str, Any]:
    hits = [hit.as_dict() | ({"folder": str(hit.folder)} if folders else {}) for hit in results]
    return {"query": results.query, "k": k, "hits": hits}


def _copy(results: "Results", folder: Path) -> None:
    """Copy the hits, their rank before their name; never over another file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for hit in results:
            copy = folder / f"{hit.rank:02d}-{hit.file.name}"
            if copy.exists() and not filecmp.cmp(hit.file, copy, shallow=False):
                raise CongenerError(f"{copy} is there already and differs: choose an empty folder")
            shutil.copy2(hit.file, copy)
    except OSError as error:
        raise CongenerError(f"can't copy to {folder}: {error}") from None


def _draw(results: "Results", query: str, place: Path, show: bool) -> None:
    from congener.images import open_image
    from congener.pictures import draw_sheet, save

    save(draw_sheet(results, open_image(query)), place)
    if show:
        click.launch(str(place))


def _temporary_sheet() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="congener-")) / "sheet.png"


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value))


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    if not sys.warnoptions:  # what Pillow thinks of a picture's metadata helps nobody here
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except (click.Abort, KeyboardInterrupt):
        note("interrupted; what was done is kept, run it again to go on")
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        note(error.format_message())
        sys.exit(USER_MISTAKE)
    except CongenerError as error:
        note(str(error))
        sys.exit(USER_MISTAKE)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
