"""Draw the sheets of docs/how-it-works.md: the same painted target, asked for in each of its steps.

python benchmarks/sheets.py
"""

import tempfile
from pathlib import Path

from common import ROOT
from congener import Gallery
from congener.cabinet import KINDS, paint, paint_cabinet
from congener.evaluation import evaluate
from congener.images import open_image
from congener.pictures import draw_sheet, save
from congener.truth import queries_from
from quality import WAYS, centred

TARGET, SPECIMEN, HITS = "oak-leaf", 101, 7
STEPS = ("flatten", "pooled", "centred", "blend (default)", "+ dba + aqe", "adapt")


def main() -> None:
    """Paint, search in every step, write a sheet for each into docs/steps and print how many hits are right."""
    folder = ROOT / "docs" / "steps"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        paint_cabinet(Path(place) / "cabinet")
        (Path(place) / "targets").mkdir()
        for kind in KINDS:
            paint(kind.name, SPECIMEN).save(Path(place) / "targets" / f"{kind.name}.png")
        with Gallery(Path(place) / "cabinet") as gallery:
            gallery.update()
            task = queries_from(gallery, Path(place) / "targets")
            for number, name in enumerate(STEPS, 1):
                asked = centred(task) if name == "centred" else task
                judged = evaluate(asked, gallery.encoder, k=[HITS], **WAYS[name]).report
                (outcome,) = (each for each in judged.outcomes if each.label == TARGET)
                target = open_image(outcome.results.query)
                short = name.split(" (")[0].strip("+ ").replace(" + ", "-")
                save(draw_sheet(outcome.results, target), folder / f"{number}-{short}.jpg")
                right, mean = round(HITS * outcome.precision), judged.precision[HITS]
                print(f"{name}: {right} of {HITS} for the {TARGET}; mean P@{HITS} of 16 kinds {mean:.3f}")


if __name__ == "__main__":
    main()
