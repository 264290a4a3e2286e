"""Comparison: several ways of searching judged on the same queries."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from congener import codes
from congener.encoders import ENCODERS
from congener.errors import CongenerError
from congener.evaluation import Evaluation, Report, evaluate
from congener.gallery import Gallery
from congener.metrics import Difference, paired_difference
from congener.rerank import parse
from congener.truth import Task

ADAPT = "adapt"
"""In place of a code: what is learned from the labels."""


@dataclass(frozen=True)
class Spec:
    """One way of searching: [ENCODER/]CODE[+RERANK…]."""

    encoder: str | None
    code: str
    rerank: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Raise CongenerError for unknown names, listing the valid ones."""
        first, *rerank = text.split("+")
        encoder, _, code = first.rpartition("/")
        if code not in (*codes.CODES, ADAPT) or (encoder and encoder not in ENCODERS):
            raise CongenerError(
                f"{text!r} is no [ENCODER/]CODE[+RERANK…]: encoders are {', '.join(ENCODERS)}; "
                f"codes {', '.join((*codes.CODES, ADAPT))}"
            )
        for each in rerank:
            parse(each)
        return cls(encoder or None, code, tuple(rerank))


@dataclass(frozen=True)
class Comparison:
    """Reports in the order of the specs, and how each differs from the first."""

    specs: tuple[str, ...]
    reports: tuple[Report, ...]
    differences: tuple[dict[str, Difference], ...]
    """Measure to the mean of the differences by query and its 95 % interval; empty for the first."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        return {
            "with": [
                {"spec": spec, "difference": {name: asdict(each) for name, each in differences.items()}}
                | report.as_dict()
                for spec, report, differences in zip(self.specs, self.reports, self.differences, strict=True)
            ]
        }


def parse_specs(texts: Sequence[str]) -> list[Spec]:
    """Return what each text means. Raises CongenerError for unknown names, or fewer than two."""
    if len(texts) < 2:
        raise CongenerError("a comparison takes two ways at least: --with SPEC --with SPEC")
    return [Spec.parse(text) for text in texts]


def compare(
    gallery: Gallery, task_of: Callable[[Gallery], Task], specs: Sequence[str], *, k: Sequence[int]
) -> Comparison:
    """Judge each way of searching on the queries of the same task; another encoder indexes into a place of its own."""
    parsed = parse_specs(specs)
    own = gallery.encoder.identity.name
    with ExitStack() as stack:
        galleries = {own: gallery}
        for spec in parsed:
            if (spec.encoder or own) not in galleries:
                place = Path(stack.enter_context(TemporaryDirectory()))
                other = stack.enter_context(Gallery(gallery.folder, store=place, encoder=spec.encoder))
                other.update(exclude=gallery.excluded, default_exclude=gallery.default_exclude, heads=False)
                galleries[spec.encoder or own] = other
        results = [_judge(galleries[spec.encoder or own], task_of, spec, k) for spec in parsed]
    if len({(each.report.queries, each.report.unjudged, each.report.gallery) for each in results}) > 1:
        raise CongenerError(
            f"the encoders don't have the same images of {gallery.folder}: {gallery.command('index', '--prune')}"
        )
    first = results[0]
    differences = (
        {name: paired_difference(values, first.values[name]) for name, values in each.values.items()}
        for each in results[1:]
    )
    return Comparison(tuple(specs), tuple(each.report for each in results), ({}, *differences))


def _judge(gallery: Gallery, task_of: Callable[[Gallery], Task], spec: Spec, k: Sequence[int]) -> Evaluation:
    adapted = spec.code == ADAPT
    code = codes.DEFAULT if adapted else spec.code
    return evaluate(task_of(gallery), gallery.encoder, k=k, code=code, rerank=spec.rerank, adapted=adapted)
