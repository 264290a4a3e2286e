"""Draw the answer to one target in each step of docs/how-it-works.md, as result sheets.

python benchmarks/sheets.py                          # the painted target of the docs, into docs/steps
python benchmarks/sheets.py FOLDER TARGET [PLACE]    # your own photos, sorted into folders, into ./steps
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from common import ROOT
from congener import Gallery
from congener.cabinet import paint, paint_cabinet
from congener.evaluation import evaluate
from congener.images import open_image
from congener.marks import SHEET
from congener.outputs import Output
from congener.pictures import draw_sheet
from congener.truth import queries_from
from quality import WAYS, centred

HITS = 7
STEPS = ("flatten", "pooled", "centred", "blend (default)", "+ dba + aqe", "adapt")


def draw(folder: Path, target: Path, place: Path) -> None:
    """Search in every step, write a sheet for each and print how many hits are right.

    The target's name, or its folder's, must be a label of the gallery.
    """
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as aside, Gallery(folder, store=Path(aside) / "gallery") as gallery:
        gallery.update()
        copy = Path(aside) / target.parent.name / target.name
        copy.parent.mkdir()
        shutil.copy(target, copy)
        task = queries_from(gallery, copy.parent)
        for number, name in enumerate(STEPS, 1):
            asked = centred(task) if name == "centred" else task
            (outcome,) = evaluate(asked, gallery.encoder, k=[HITS], **WAYS[name]).report.outcomes
            short = name.split(" (")[0].strip("+ ").replace(" + ", "-")
            sheet = draw_sheet(outcome.results, open_image(copy), similarity=False)
            Output(place / f"{number}-{short}.jpg", SHEET, force=True).write_picture(sheet)
            print(f"{name}: {round(HITS * outcome.precision)} of {HITS} are of the target's kind")


def main() -> None:
    """Draw the target of the docs, or one of your own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("target", nargs="?", type=Path)
    parser.add_argument("place", nargs="?", type=Path, default=Path("steps"))
    options = parser.parse_args()
    if options.folder and not options.target:
        parser.error("FOLDER needs a TARGET")
    if options.folder:
        draw(options.folder, options.target, options.place)
        return
    with tempfile.TemporaryDirectory() as painted:
        paint_cabinet(Path(painted) / "cabinet")
        (Path(painted) / "targets").mkdir()
        paint("oak-leaf", 101).save(Path(painted) / "targets" / "oak-leaf.png")
        draw(Path(painted) / "cabinet", Path(painted) / "targets" / "oak-leaf.png", ROOT / "docs" / "steps")


if __name__ == "__main__":
    main()
