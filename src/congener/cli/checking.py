"""The command check."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from congener.cli.options import folder_argument, gallery_option, json_option, place_of
from congener.terminal import print_json, printable, progress

if TYPE_CHECKING:
    from congener.check import CheckReport

DAMAGED = 1
"""Exit code where something is wrong and isn't mended."""

_SHOWN = 50


@click.command()
@folder_argument
@gallery_option
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option("--images", is_flag=True, help="Read and encode every image again, too: as slow as indexing.")
@json_option
def check(folder: Path, stores: tuple[Path, ...], repair: bool, images: bool, as_json: bool) -> None:
    """Look at all that the gallery of FOLDER holds: is it what was written, and does it agree?

    Exit code 0: it is, or all was mended; 1: it isn't; 2: there is nothing to look at. --repair makes again what is
    derived (embeddings, index), and drops images whose own data are damaged, so that congener index reads them again.
    """
    from congener.check import check as run

    place = place_of(folder, stores)
    with progress(f"checking {folder.resolve().name}") as show:
        report = run(place, folder=folder if images else None, repair=repair, progress=show)
    if as_json:
        print_json(report.as_dict())
    else:
        _print(report)
    if not report.sound:
        raise SystemExit(DAMAGED)


def _print(report: "CheckReport") -> None:
    embeddings = ", ".join(f"{count:,} {space}" for space, count in report.embeddings.items()) or "none"
    print(
        f"{report.images:,} images, {report.features:,} features, embeddings compared with fresh ones: {embeddings}; "
        f"{report.waiting:,} not embedded yet; {report.graph:,} in the approximate index; {report.seconds:.1f} s"
    )
    if report.pictures:
        print(f"{report.pictures:,} files read again, {report.changed:,} of them gone or changed since")
    for name in report.unused:
        print(f"left behind by an interrupted run, harmless: {printable(name)}")
    for finding in report.findings[:_SHOWN]:
        print(printable(str(finding)))
    if report.findings[_SHOWN:]:
        print(f"and {len(report.findings) - _SHOWN:,} more: --json lists all")
    if not report.findings:
        print("nothing is wrong")
    elif report.sound:
        print("all of it was mended; congener index reads again what was dropped")
