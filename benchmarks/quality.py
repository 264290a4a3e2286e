"""How right the answers are: every way of searching on every set of photos, in one table.

    python benchmarks/quality.py [--json]

animals100: 1,000 photos of 100 species (kinds that ImageNet knows); its split of 800 images asked and 200 asking; three
photos from elsewhere. grocery: 972 phone photos of 81 kinds of groceries (kinds that ImageNet does not know); 81 studio
pictures of the same. Where nothing else is said each image asks for the others of its kind (leave-one-out). A fit never
sees what asks: on the split it is made on the 800 alone; leave-one-out with "adapt" refits without the image that asks.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import machine, photos, report
from congener import Encoder, Gallery, codes, load_encoder
from congener.codes import Blend, reciprocity
from congener.evaluation import embed_maps, evaluate, fit_blend
from congener.truth import Task, leave_one_out, queries_from, split_by

WAYS: dict[str, dict[str, Any]] = {
    "flatten": {"code": "flatten"},
    "pooled": {"code": "pooled"},
    "gem": {"code": "gem"},
    "centred": {},
    "posterior": {"code": "posterior"},
    "blend (default)": {},
    "+ qe": {"rerank": ["qe"]},
    "+ aqe": {"rerank": ["aqe"]},
    "+ dba": {"rerank": ["dba"]},
    "+ dba + aqe": {"rerank": ["dba", "aqe"]},
    "+ aqe + dba": {"rerank": ["aqe", "dba"]},
    "+ kreciprocal": {"rerank": ["kreciprocal"]},
    "+ diffusion": {"rerank": ["diffusion"]},
    "adapt": {"adapted": True},
    "adapt + aqe": {"adapted": True, "rerank": ["aqe"]},
}
WEIGHTS = (0.0, 0.3, 0.8, 2.0, 5.0, 10.0, 30.0)


def centred(task: Task) -> Task:
    """Return the task with a code that centres and does nothing else."""
    blend = task.blend or fit_blend(task.gallery)
    whole = np.empty((len(blend.projection), 0), np.float32)
    return replace(task, blend=Blend(blend.mean, 0.0, whole))


def precisions(animals: Path, grocery: Path) -> dict[str, dict[str, float]]:
    """Return the figures of each precision of the network, leave-one-out and on the split."""
    found = {}
    for precision in load_encoder().precisions:
        with (
            tempfile.TemporaryDirectory() as place,
            Gallery(animals / "gallery", store=Path(place) / "animals", precision=precision) as species,
            Gallery(grocery / "gallery", store=Path(place) / "grocery", precision=precision) as goods,
        ):
            species.update()
            goods.update()
            tasks = {
                "animals100": (leave_one_out(species), 9),
                "grocery": (leave_one_out(goods), 9),
                "split": (split_by(species, animals / "split.csv"), 8),
            }
            row: dict[str, float] = {}
            for name, (task, k) in tasks.items():
                for code in ("pooled", "blend"):
                    judged = evaluate(task, species.encoder, k=[k], code=code).report
                    row |= {f"{name} {code} P@{k}": judged.precision[k], f"{name} {code} mAP": judged.map}
            row["split adapt P@8"] = evaluate(tasks["split"][0], species.encoder, k=[8], adapted=True).report.precision[
                8
            ]
            found[precision] = row
    return found


def figures(task: Task, gallery: Gallery, k: list[int]) -> dict[str, dict[str, float]]:
    """Return for each way of searching its figures on a task."""
    found = {}
    for name, way in WAYS.items():
        if task.leaves_one_out and way.get("adapted") and way.get("rerank"):
            continue  # refused: see `evaluate`
        judged = evaluate(centred(task) if name == "centred" else task, gallery.encoder, k=k, **way).report
        found[name] = {f"P@{cut}": value for cut, value in judged.precision.items()} | {"mAP": judged.map}
    return found


def three_queries(task: Task, gallery: Gallery) -> dict[str, str]:
    """Return for each way how many of the ten best are right, for each of the photos from elsewhere."""
    found = {}
    for name, way in WAYS.items():
        judged = evaluate(centred(task) if name == "centred" else task, gallery.encoder, k=[10], **way).report
        by_name = sorted(judged.outcomes, key=lambda outcome: outcome.results.query)
        found[name] = " ".join(str(round(10 * outcome.precision)) for outcome in by_name)
    return found


def weights(task: Task, gallery: Gallery) -> dict[str, Any]:
    """Return for each weight of the class probabilities how mutual neighbours are, and how right the answers."""
    blend = task.blend or fit_blend(task.gallery)
    items = task.gallery
    assert items.logits is not None
    whole = np.empty((len(blend.projection), 0), np.float32)
    rows = {}
    for weight in WEIGHTS:
        code = Blend(blend.mean, weight, whole)
        embeddings = code.embed(items.pooled, items.logits)
        judged = evaluate(replace(task, blend=code), gallery.encoder, k=[9]).report
        rows[str(weight)] = {"reciprocity": reciprocity(embeddings @ embeddings.T), "P@9": judged.precision[9]}
    return {"chosen": blend.weight, "weights": rows}


def choices(task: Task, encoder: Encoder) -> dict[str, dict[str, float]]:
    """Return how mutual neighbours are, and how right the answers, for choices other than the weight."""
    items = task.gallery
    blend = task.blend or fit_blend(items)
    whole = Blend(blend.mean, blend.weight, np.empty((len(blend.projection), 0), np.float32))
    blended = whole.embed(items.pooled, items.logits)
    embeddings = {
        "pooled": codes.pooled(items.pooled),
        "gem": embed_maps(items, encoder, "gem"),
        "flatten": embed_maps(items, encoder, "flatten"),
        "posterior": codes.posterior(encoder.logits(items.pooled)),  # type: ignore[arg-type]
        "blend": blended,
    }
    for dimension in (32, 64, 128, 256, 512):
        directions = codes.leading_directions(blended, dimension)
        embeddings[f"blend, {dimension} numbers"] = codes.unit(blended @ directions)
    embeddings["blend, each moved to its neighbours"] = augmented(blended)
    rows = {}
    for name, vectors in embeddings.items():
        scores = vectors @ vectors.T
        rows[name] = {"reciprocity": reciprocity(scores), "P@9": leave_one_out_precision(scores, items.labels)}
    return rows


def augmented(vectors: NDArray[np.float32], n: int = 4, alpha: float = 3) -> NDArray[np.float32]:
    """Return each vector with its n nearest added, weighted by cosine^alpha: what dba does, for a whole gallery."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -1)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    weights = np.maximum(np.take_along_axis(scores, nearest, axis=1), 0) ** alpha
    return codes.unit(vectors + np.einsum("ij,ijd->id", weights, vectors[nearest]))


def leave_one_out_precision(scores: NDArray[np.float32], labels: list[str | None], k: int = 9) -> float:
    """Return the mean precision@k of each image asking all others, by their scores (n, n)."""
    np.fill_diagonal(scores, -np.inf)
    names = np.array([label or "" for label in labels])
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((names[nearest] == names[:, None]).mean())


def table(columns: dict[str, Callable[[str], str]]) -> list[str]:
    """Return the rows of a Markdown table, a way of searching each."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return lines + [f"| {name} | " + " | ".join(cell(name) for cell in columns.values()) + " |" for name in WAYS]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    animals, grocery = photos() / "animals100", photos() / "grocery"
    with (
        tempfile.TemporaryDirectory() as place,
        Gallery(animals / "gallery", store=Path(place) / "animals") as species,
        Gallery(grocery / "gallery", store=Path(place) / "grocery") as goods,
    ):
        species.update()
        goods.update()
        result: dict[str, Any] = {
            "machine": machine(),
            "precisions": precisions(animals, grocery),
            "split": figures(split_by(species, animals / "split.csv"), species, [1, 4, 8]),
            "three": three_queries(queries_from(species, animals / "queries"), species),
            "animals": figures(leave_one_out(species), species, [1, 9]),
            "grocery": figures(leave_one_out(goods), goods, [1, 9]),
            "studio": figures(queries_from(goods, grocery / "iconic"), goods, [1, 9]),
            "choices": {
                "animals100": choices(leave_one_out(species), species.encoder),
                "grocery": choices(leave_one_out(goods), goods.encoder),
            },
            "weights": {
                "animals100": weights(leave_one_out(species), species),
                "grocery": weights(leave_one_out(goods), goods),
            },
        }

    def cell(part: str, figure: str) -> Callable[[str], str]:
        return lambda name: f"{result[part][name][figure]:.3f}" if name in result[part] else "–"

    columns = {
        "split P@1": cell("split", "P@1"),
        "split P@4": cell("split", "P@4"),
        "split P@8": cell("split", "P@8"),
        "three photos, right in top 10": lambda name: result["three"][name],
        "animals100 P@9": cell("animals", "P@9"),
        "animals100 mAP": cell("animals", "mAP"),
        "grocery P@9": cell("grocery", "P@9"),
        "grocery mAP": cell("grocery", "mAP"),
        "studio → shop P@9": cell("studio", "P@9"),
    }
    lines = [*table(columns), ""]
    for name, chosen in result["weights"].items():
        rows = chosen["weights"].items()
        lines += [
            f"{name}: weight of the class probabilities chosen without labels: {chosen['chosen']:g}",
            *(f"  {weight:>5}  reciprocity {row['reciprocity']:.3f}  P@9 {row['P@9']:.3f}" for weight, row in rows),
        ]
    lines += ["", "precisions of the network: " + ", ".join(result["precisions"])]
    for name in next(iter(result["precisions"].values())):
        lines.append(f"  {name:24}" + "  ".join(f"{row[name]:.4f}" for row in result["precisions"].values()))
    lines += ["", "reciprocity and P@9 of other choices, animals100 and grocery:"]
    for name, row in result["choices"]["animals100"].items():
        other = result["choices"]["grocery"][name]
        figures_of = (row["reciprocity"], row["P@9"], other["reciprocity"], other["P@9"])
        lines.append(f"  {name:36}" + "  ".join(f"{value:.3f}" for value in figures_of))
    report("quality", result, lines, as_json=options.json)


if __name__ == "__main__":
    main()
