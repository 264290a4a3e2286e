import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from congener.comparison import Comparison, Spec, compare
from congener.encoders import ENCODERS, Features
from congener.errors import CongenerError
from congener.gallery import Gallery
from congener.metrics import Difference, paired_difference
from congener.truth import leave_one_out, split_by

from .conftest import MeanColour, write


class Redness(MeanColour):
    """It sees red and green alone, the first from dark to light in steps: worse than MeanColour."""

    identity = replace(MeanColour.identity, name="redness", weights_sha256="1" * 64, dimension=2)

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        features = super().encode(pixels).pooled[:, :2]
        return Features(np.round(features * 2) / np.float32(2) + np.float32(0.1))


@pytest.fixture(autouse=True)
def encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "mean-colour", "tests.conftest:MeanColour")
    monkeypatch.setitem(ENCODERS, "redness", "tests.test_comparison:Redness")


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    """Sixteen colours of two labels, indexed in another order than that of their paths."""
    draw = np.random.default_rng(4)
    with Gallery(tmp_path, encoder=MeanColour()) as gallery:
        for number in reversed(range(8)):
            for label, centre in (("a", (200, 90, 90)), ("b", (90, 160, 90))):
                red, green, blue = (int(value) for value in np.clip(centre + 60 * draw.standard_normal(3), 0, 255))
                write(tmp_path / label / f"{number}.png", (red, green, blue))
            if number in (5, 0):
                gallery.update()
        yield gallery


def run(gallery: Gallery, *specs: str, k: int = 3) -> Comparison:
    return compare(gallery, leave_one_out, specs, k=[1, k])


# specs


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("blend", Spec(None, "blend", ())),
        ("lite0/gem", Spec("lite0", "gem", ())),
        ("pooled+dba+aqe:n=5,alpha=2", Spec(None, "pooled", ("dba", "aqe:n=5,alpha=2"))),
        ("redness/adapt+diffusion", Spec("redness", "adapt", ("diffusion",))),
    ],
)
def test_a_spec_is_read(text: str, spec: Spec) -> None:
    assert Spec.parse(text) == spec


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("blnd", ["lite0", "redness", "pooled, gem, posterior, blend, flatten, adapt"]),
        ("resnet/blend", ["'resnet/blend'", "lite0"]),
        ("", ["blend"]),
        ("lite0/", ["blend"]),
        ("+aqe", ["blend"]),
        ("blend+aqa", ["aqa", "aqe", "dba", "kreciprocal", "diffusion"]),
        ("blend+", ["aqe"]),
        ("blend+aqe:m=3", ["'m'"]),
    ],
)
def test_a_wrong_spec_lists_the_valid_names(text: str, valid: list[str]) -> None:
    with pytest.raises(CongenerError) as caught:
        Spec.parse(text)
    assert all(name in str(caught.value) for name in valid)
    assert "\n" not in str(caught.value)


def test_one_way_alone_is_no_comparison(gallery: Gallery) -> None:
    with pytest.raises(CongenerError, match="two ways at least: --with SPEC --with SPEC"):
        run(gallery, "blend")


def test_a_wrong_spec_is_said_before_any_work(gallery: Gallery) -> None:
    def never(_: Gallery) -> None:
        raise AssertionError

    with pytest.raises(CongenerError, match="aqa"):
        compare(gallery, never, ["blend", "blend+aqa"], k=[1])  # type: ignore[arg-type]


# differences


def test_the_first_has_no_differences_and_the_same_again_has_none(gallery: Gallery) -> None:
    comparison = run(gallery, "blend", "blend")
    assert comparison.specs == ("blend", "blend")
    first, same = comparison.differences
    assert first == {}
    assert same.keys() == comparison.reports[0].ci95.keys()
    assert set(same.values()) == {Difference(0, 0, 0)}


def test_differences_are_to_the_first_and_paired_by_query(gallery: Gallery) -> None:
    comparison = run(gallery, "pooled", "blend", "pooled+aqe", "adapt")
    first = comparison.reports[0]
    assert [(each.code, each.rerank) for each in comparison.reports] == [
        ("pooled", ()),
        ("blend", ()),
        ("pooled", ("aqe",)),
        ("adapted", ()),
    ]
    for report, differences in list(zip(comparison.reports, comparison.differences, strict=True))[1:]:
        assert report.map != first.map
        assert differences["map"].mean == pytest.approx(report.map - first.map)
        assert differences["precision@3"].mean == pytest.approx(report.precision[3] - first.precision[3])
        averages, own = (
            np.array([each.average_precision for each in sorted(side.outcomes, key=lambda each: each.results.query)])
            for side in (report, first)
        )
        assert differences["map"] == paired_difference(averages, own)


def test_another_encoder_is_judged_on_the_same_queries(gallery: Gallery) -> None:
    """It indexes in order of path, the gallery was indexed in another: still the same queries are paired."""
    comparison = run(gallery, "blend", "redness/blend")
    own, other = comparison.reports
    assert (own.encoder, other.encoder) == ("mean-colour", "redness")
    assert (own.queries, own.gallery) == (other.queries, other.gallery)
    assert own.map != other.map
    averages = [
        np.array([each.average_precision for each in sorted(side.outcomes, key=lambda each: each.results.query)])
        for side in (other, own)
    ]
    assert comparison.differences[1]["map"] == paired_difference(*averages)


def test_another_encoder_leaves_the_gallery_as_it_is(gallery: Gallery) -> None:
    gallery.update(exclude=["b/0.png"])
    before = sorted(path.name for path in gallery.folder.rglob("*"))
    comparison = run(gallery, "redness/pooled", "mean-colour/pooled", "pooled")
    assert {report.gallery for report in comparison.reports} == {15}
    assert set(comparison.differences[2].values()) == set(comparison.differences[1].values())
    assert sorted(path.name for path in gallery.folder.rglob("*")) == before
    assert gallery.info().encoder["name"] == "mean-colour"


def test_encoders_that_have_other_images_cannot_be_compared(gallery: Gallery) -> None:
    for path in list(gallery.folder.glob("?/[0-4].png")):
        path.unlink()
    assert gallery.update().missing == 10
    with pytest.raises(CongenerError, match=r"the same images of .*--prune"):
        run(gallery, "blend", "redness/blend")
    assert run(gallery, "blend", "pooled").reports[0].gallery == 16


def test_all_are_judged_by_the_same_split(gallery: Gallery) -> None:
    table = gallery.folder / "split.csv"
    rows = [f"{label}/{number}.png,{label},{int(number < 2)}" for label in "ab" for number in range(8)]
    table.write_text("\n".join(["path,label,is_query", *rows]))
    comparison = compare(gallery, lambda each: split_by(each, table), ["blend", "adapt+aqe", "redness/blend"], k=[1])
    assert {(report.queries, report.gallery) for report in comparison.reports} == {(4, 12)}
    assert comparison.reports[1].rerank == ("aqe",)


def test_as_dict_is_plain(gallery: Gallery) -> None:
    comparison = run(gallery, "blend", "pooled+aqe")
    plain = json.loads(json.dumps(comparison.as_dict()))
    first, second = plain["with"]
    assert (first["spec"], second["spec"]) == comparison.specs
    assert first["difference"] == {}
    assert second["difference"]["map"].keys() == {"mean", "low", "high"}
    assert second["precision"].keys() == {"1", "3"}
    assert second["rerank"] == ["aqe"]
