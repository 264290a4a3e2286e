"""Commands for what is kept of a folder: backup, forget."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from congener.cli.options import PLACE, folder_argument, gallery_option, json_option, place_of
from congener.errors import CongenerError
from congener.terminal import print_json, printable

if TYPE_CHECKING:
    from congener.removal import Removal

_SHOWN = 5


@click.command()
@folder_argument
@click.argument("to", type=PLACE)
@gallery_option
@json_option
def backup(folder: Path, to: Path, stores: tuple[Path, ...], as_json: bool) -> None:
    """Copy the gallery of FOLDER into TO, a new folder or an empty one, as it is now: also while it is written.

    What is copied are features, embeddings and labels learned, not the images. The copy is checked. It is a gallery
    itself: search it with --gallery TO, or copy it back to FOLDER/.congener.
    """
    from congener.backup import back_up

    try:
        report = back_up(place_of(folder, stores), to)
    except KeyboardInterrupt:
        raise click.Abort("interrupted; there is no backup, nothing of it is left") from None
    if as_json:
        print_json(report.as_dict())
    else:
        print(
            f"{report.images:,} images, {len(report.files)} files, {report.bytes:,} bytes: copied to "
            f"{printable(report.to)}, and checked"
        )


@click.command()
@folder_argument
@gallery_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
def forget(folder: Path, stores: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Delete all that Congener keeps of FOLDER: its gallery and the page's thumbnails. No image, and nothing else."""
    from congener.removal import holdings, remove_gallery

    place = place_of(folder, stores)
    found = holdings(place)
    if not yes:
        if as_json or sys.stdin is None or not sys.stdin.isatty():
            raise CongenerError(f"{_told(found)} would be deleted: say --yes")
        if not click.confirm(f"delete {_told(found)}?", err=True):
            return
    removed = remove_gallery(place)
    if as_json:
        print_json(removed.as_dict())
        return
    print(f"deleted {_told(removed)}")
    if removed.left:
        others = ", ".join(map(printable, removed.left[:_SHOWN]))
        more = f" and {len(removed.left) - _SHOWN:,} more" if len(removed.left) > _SHOWN else ""
        print(f"left in {printable(removed.gallery)}, for it is not congener's: {others}{more}")


def _told(found: "Removal") -> str:
    return (
        f"the gallery {printable(found.gallery)}: {found.images:,} images' features, {len(found.files)} files, "
        f"{found.bytes:,} bytes"
    )
