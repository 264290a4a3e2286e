"""The command explain."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from congener.cli.options import (
    PICTURE,
    PLACE,
    box_of,
    check_queries,
    force_option,
    gallery_option,
    json_option,
    open_gallery,
    output,
    single,
    update_first,
)
from congener.errors import CongenerError
from congener.terminal import note, print_json, printable

if TYPE_CHECKING:
    from congener.explain import Explanation
    from congener.outputs import Output


@click.command()
@click.argument("a", type=PICTURE)
@click.argument("b", type=PICTURE)
@click.option(
    "--in",
    "folder",
    type=PLACE,
    metavar="FOLDER",
    help="See them as this gallery does; without it, by the plain pooled feature.",
)
@gallery_option
@click.option("--box", metavar="X,Y,W,H", help="The part of A that counts, in pixels.")
@click.option("--no-adapt", is_flag=True, help="Without what was learned from labels.")
@click.option("--no-update", is_flag=True, help="As FOLDER is indexed, without a look at it.")
@json_option
@click.option("--out", type=PLACE, help="Draw both, with heat maps, as this picture (.png, …).")
@force_option
def explain(
    a: str,
    b: str,
    folder: Path | None,
    stores: tuple[Path, ...],
    box: str | None,
    no_adapt: bool,
    no_update: bool,
    as_json: bool,
    out: Path | None,
    force: bool,
) -> None:
    """Show where the likeness of two pictures, A and B, lies.

    They may be from anywhere. What a search in FOLDER would score them is split into what each place of a picture adds.
    """
    from congener import explain as explaining
    from congener.encoders import load_encoder
    from congener.marks import HEAT

    if stores and folder is None:
        raise CongenerError("--gallery goes with --in FOLDER")
    part = box_of(box)
    check_queries([a, b])
    galleries = [] if folder is None else [(folder, single(stores))]
    drawn = out and output(out, HEAT, force=force, asked=[a, b], galleries=galleries)
    with ExitStack() as stack:
        if folder is None:
            note("no --in FOLDER: comparing plain pooled features, without any gallery's code")
            explanation = explaining.explain_with(load_encoder(), explaining.PLAIN, a, b, box=part)
        else:
            gallery = stack.enter_context(open_gallery(folder, single(stores)))
            if not no_update:
                update_first(gallery)
            explanation = explaining.explain(gallery, a, b, box=part, adapted=False if no_adapt else None)
    if drawn:
        _draw(explanation, a, b, drawn)
    if as_json:
        print_json(explanation.as_dict())
    else:
        _print(explanation, a, b)


def _print(explanation: "Explanation", a: str, b: str) -> None:
    print(f"score {explanation.score:z.3f}, similarity {explanation.similarity:.0%}")
    for name, side in ((a, explanation.query), (b, explanation.hit)):
        print(
            f"{printable(name)}: {side.pooled:z.3f} from what it looks like (pooled feature), "
            f"{side.classes:z.3f} from what the network calls it (class probabilities)"
        )


def _draw(explanation: "Explanation", a: str, b: str, out: "Output") -> None:
    from congener.heat import TILE, draw_likeness
    from congener.images import open_image

    pictures = open_image(a, TILE), open_image(b, TILE)
    out.write_picture(draw_likeness(explanation, pictures, (Path(a).name, Path(b).name)))
