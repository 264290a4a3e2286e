"""The command that lists images which are there more than once."""

from pathlib import Path

import click

from congener.cli.options import (
    folder_argument,
    gallery_option,
    json_option,
    open_gallery,
    single,
    tell_labels,
    update_first,
)
from congener.terminal import print_duplicates, print_json, progress


@click.command()
@folder_argument
@gallery_option
@click.option(
    "--threshold",
    type=int,
    metavar="BITS",
    help="By how many bits of 512 near copies may differ: 120 by default, 0 to 256.",
)
@json_option
def duplicates(folder: Path, stores: tuple[Path, ...], threshold: int | None, as_json: bool) -> None:
    """List groups of near-identical images in FOLDER; it deletes nothing.

    Exact copies, and near ones: another size, format, quality or brightness, a slight crop, a frame, a tint, a mark.
    The first of a group is the one worth keeping. Links are no copies. Indexes first what is new or changed.
    """
    from congener.duplicates.find import DEFAULT, check, find_duplicates

    threshold = DEFAULT if threshold is None else threshold
    check(threshold)
    with open_gallery(folder, single(stores)) as gallery:
        update_first(gallery)
        tables = tell_labels(gallery)
        with progress("comparing") as show:
            found = find_duplicates(gallery, threshold, show)
    if as_json:
        print_json(found.as_dict() | tables)
    else:
        print_duplicates(found)
