import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from congener import codes
from congener.adapt import Inputs, learn
from congener.encoders import load_encoder
from congener.errors import CongenerError
from congener.evaluation import Outcome, Report, evaluate, fit_blend
from congener.gallery import Gallery
from congener.indexes import ExactIndex
from congener.rerank import Space, parse
from congener.truth import Items, Task, leave_one_out, queries_from, split_by

from .conftest import MeanColour, write

Vectors = NDArray[np.float32]


def items(pooled: Vectors, labels: Sequence[str | None], *, first: int | None = 0, name: str = "g") -> Items:
    """Return images that exist as features alone; first: the first one's id, None for images from elsewhere."""
    n = len(labels)
    paths = [f"{name}{number:03}.png" for number in range(n)]
    ids = np.full(n, -1) if first is None else np.arange(first, first + n)
    contents = np.array([f"{value:064x}" for value in np.random.default_rng(n).permutation(n)], "S64")
    return Items([Path(path) for path in paths], paths, list(labels), pooled, None, ids, contents)


def task_of(queries: Items, gallery: Items) -> Task:
    names = {label: label.upper() for label in gallery.labels if label is not None}
    return Task(Path("folder"), queries, gallery, names, None)


def random_task(*, apart: bool, n: int = 60, asking: int = 20, labels: int = 5) -> Task:
    """Return queries to a gallery of random features; apart: queries from elsewhere, else each of the gallery."""
    draw = np.random.default_rng(1)
    centres = draw.standard_normal((labels, 8))

    def some(count: int, first: int | None, name: str) -> Items:
        numbers = draw.integers(labels, size=count)
        pooled = (centres[numbers] + 1.5 * draw.standard_normal((count, 8))).astype(np.float32)
        return items(pooled, [f"label{number}" for number in numbers], first=first, name=name)

    gallery = some(n, 100, "g")
    return task_of(some(asking, None, "q") if apart else gallery, gallery)


def answers(report: Report) -> dict[str, list[tuple[str, float]]]:
    """Return each query's hits and their scores."""
    return {each.results.query: [(hit.path, hit.score) for hit in each.results] for each in report.outcomes}


def outcome_of(report: Report, name: str) -> Outcome:
    return next(each for each in report.outcomes if Path(each.results.query).stem == name)


# by hand: the angle between two colours decides, red at 0° and green at 90°

ANGLES = {"warm/a": 0, "warm/b": 10, "warm/c": 40, "cold/d": 30, "cold/e": 90}


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    folder = tmp_path / "slices"
    for name, angle in ANGLES.items():
        colour = [round(255 * part) for part in (math.cos(math.radians(angle)), math.sin(math.radians(angle)))]
        write(folder / f"{name}.png", (colour[0], colour[1], 0))
    return folder


@pytest.fixture
def by_angle(slices: Path, encoder: MeanColour) -> Iterator[Gallery]:
    with Gallery(slices, encoder=encoder) as gallery:
        gallery.update()
        yield gallery


# a: b d c e    b: a d c e    c: d b a e    d: c b a e    e: c d b a
APS = {"a": (1 + 2 / 3) / 2, "b": (1 + 2 / 3) / 2, "c": (1 / 2 + 2 / 3) / 2, "d": 1 / 4, "e": 1 / 2}


def test_the_figures_of_five_colours(by_angle: Gallery, encoder: MeanColour) -> None:
    report = evaluate(leave_one_out(by_angle), encoder, k=[2, 1, 10, 2], code="pooled").report
    assert (report.queries, report.unjudged, report.gallery) == (5, 0, 5)
    assert {Path(each.results.query).stem: each.average_precision for each in report.outcomes} == pytest.approx(APS)
    assert report.map == pytest.approx(sum(APS.values()) / 5)
    assert report.precision == pytest.approx({1: 2 / 5, 2: 4 * 0.5 / 5, 10: (3 * 0.2 + 2 * 0.1) / 5})
    assert report.recall == pytest.approx({1: 2 * 0.5 / 5, 2: (3 * 0.5 + 1) / 5, 10: 1})
    assert report.hit == pytest.approx({1: 2 / 5, 2: 4 / 5, 10: 1})
    assert report.r_precision == pytest.approx(3 * 0.5 / 5)
    assert report.map_at == pytest.approx({1: 2 * 0.5 / 5, 2: (0.5 + 0.5 + 0.25 + 0 + 0.5) / 5, 10: report.map})
    low = 1 / math.log2(3)
    assert report.ndcg[1] == pytest.approx(2 / 5)
    assert report.ndcg[2] == pytest.approx((2 / (1 + low) + low / (1 + low) + low) / 5)
    assert [k for k, _, _ in report.curve] == [1, 2, 3, 4]
    assert report.curve[1] == pytest.approx((2, report.precision[2], report.recall[2]))
    assert report.curve[3][2] == pytest.approx(1)


def test_the_query_is_never_among_its_own_results(by_angle: Gallery, encoder: MeanColour) -> None:
    for rerank in ((), ("aqe",), ("dba", "aqe"), ("kreciprocal",), ("diffusion",)):
        report = evaluate(leave_one_out(by_angle), encoder, k=[10], rerank=rerank).report
        for query, hits in answers(report).items():
            paths = [path for path, _ in hits]
            assert len(set(paths)) == 4
            assert not any(query.endswith(path) for path in paths)


def test_hits_come_with_rank_label_name_and_id(by_angle: Gallery, encoder: MeanColour) -> None:
    (by_angle.folder / "label_names.csv").write_text("label,name\nwarm,of the sun\n")
    report = evaluate(leave_one_out(by_angle), encoder, k=[3], code="pooled").report
    hits = outcome_of(report, "c").results
    assert [(hit.rank, hit.path, hit.label, hit.label_name) for hit in hits] == [
        (1, "cold/d.png", "cold", "cold"),
        (2, "warm/b.png", "warm", "of the sun"),
        (3, "warm/a.png", "warm", "of the sun"),
    ]
    assert [hit.score for hit in hits] == pytest.approx(
        [math.cos(math.radians(angle)) for angle in (10, 30, 40)], abs=0.01
    )
    assert all(by_angle.file(hit.id) == hit.file for hit in hits)
    assert outcome_of(report, "c").precision == pytest.approx(2 / 3)


def test_classes_and_confusions_by_hand(by_angle: Gallery, encoder: MeanColour) -> None:
    report = evaluate(leave_one_out(by_angle), encoder, k=[1, 2], code="pooled").report
    assert [(each.label, each.queries) for each in report.per_class] == [("cold", 2), ("warm", 3)]
    cold, warm = report.per_class
    assert (cold.precision, cold.average_precision) == pytest.approx((0.25, (1 / 4 + 1 / 2) / 2))
    assert (warm.precision, warm.average_precision) == pytest.approx((0.5, (APS["a"] + APS["b"] + APS["c"]) / 3))
    # cold ones find c b, c d; warm ones b d, a d, d b
    assert [(each.label, each.found) for each in report.confusions] == [("cold", "warm"), ("warm", "cold")]
    assert [each.share for each in report.confusions] == pytest.approx([3 / 4, 3 / 6])
    assert [each.label for each in report.outcomes][:2] == ["cold", "cold"]
    precisions = [each.average_precision for each in report.outcomes]
    assert precisions == sorted(precisions)


def test_an_unlabelled_image_is_found_but_does_not_ask(by_angle: Gallery, encoder: MeanColour) -> None:
    write(by_angle.folder / "f.png", (255, 20, 0))  # at 4.5°, between a and b
    by_angle.update()
    report = evaluate(leave_one_out(by_angle), encoder, k=[1], code="pooled").report
    assert (report.queries, report.unjudged, report.gallery) == (5, 0, 6)
    assert report.precision[1] == 0
    (hit,) = outcome_of(report, "a").results
    assert (hit.path, hit.label, hit.label_name) == ("f.png", None, None)
    assert all(each.found is not None for each in report.confusions)


def test_an_empty_label_is_none(by_angle: Gallery, encoder: MeanColour) -> None:
    write(by_angle.folder / "f.png", (255, 20, 0))
    by_angle.update()
    table = by_angle.folder / "split.csv"
    table.write_text(
        "path,label,is_query\nwarm/a.png,warm,1\nwarm/b.png,warm,0\ncold/d.png,,0\ncold/e.png,,1\nf.png,,0\n"
    )
    report = evaluate(split_by(by_angle, table), encoder, k=[1], code="pooled").report
    assert (report.queries, report.unjudged, report.gallery) == (1, 1, 3)
    assert report.precision[1] == 0


def test_a_query_without_a_relevant_image_is_counted_and_not_judged(
    by_angle: Gallery, encoder: MeanColour, tmp_path: Path
) -> None:
    write(by_angle.folder / "alone/g.png", (255, 255, 0))
    by_angle.update()
    report = evaluate(leave_one_out(by_angle), encoder, k=[1]).report
    assert (report.queries, report.unjudged, report.gallery) == (5, 1, 6)
    assert "alone" not in {each.label for each in report.per_class}
    for name in ("warm", "purple", "alone"):
        write(tmp_path / f"queries/{name}.png", "red")
    report = evaluate(queries_from(by_angle, tmp_path / "queries"), encoder, k=[1], code="pooled").report
    assert (report.queries, report.unjudged, report.gallery) == (2, 1, 6)
    assert outcome_of(report, "warm").average_precision == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_where_nothing_can_be_judged_it_says_so(encoder: MeanColour) -> None:
    each_its_own = items(np.eye(3, dtype=np.float32), ["a", "b", None])
    with pytest.raises(CongenerError, match="nothing can be judged"):
        evaluate(task_of(each_its_own, each_its_own), encoder)


# against the plainest computation


def naive(task: Task, k: int) -> dict[str, float]:
    """Return the figures of the pooled features, query by query, from the definitions."""
    unit = [vector / np.linalg.norm(vector) for vector in task.gallery.pooled.astype(float)]
    sums: dict[str, list[float]] = {}
    for asking, label, id in zip(task.queries.pooled, task.queries.labels, task.queries.ids, strict=True):
        rows = [row for row in range(len(unit)) if id < 0 or task.gallery.ids[row] != id]
        rows.sort(key=lambda row: -float(unit[row] @ asking))
        right = [task.gallery.labels[row] == label for row in rows]
        total = sum(right)
        if not total:
            continue
        gains = [1 / math.log2(rank + 1) for rank in range(1, len(rows) + 1)]
        found_at = [rank for rank, is_right in enumerate(right, 1) if is_right]
        figures = {
            "precision": sum(right[:k]) / k,
            "recall": sum(right[:k]) / total,
            "hit": float(any(right[:k])),
            "map": sum(number / rank for number, rank in enumerate(found_at, 1)) / total,
            "map_at": sum(number / rank for number, rank in enumerate(found_at, 1) if rank <= k) / total,
            "r_precision": sum(right[:total]) / total,
            "ndcg": sum(gain for gain, is_right in zip(gains[:k], right, strict=False) if is_right)
            / sum(gains[: min(k, total)]),
        }
        for name, value in figures.items():
            sums.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in sums.items()}


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("block", [1, 60 * 7, 2**23])
def test_random_features_have_the_figures_of_the_definitions(
    encoder: MeanColour, monkeypatch: pytest.MonkeyPatch, apart: bool, block: int
) -> None:
    monkeypatch.setattr("congener.evaluation._BLOCK", block)
    task = random_task(apart=apart)
    evaluation = evaluate(task, encoder, k=[1, 5, 100], code="pooled")
    report = evaluation.report
    for k in (1, 5, 100):
        expected = naive(task, k)
        got = {name: getattr(report, name)[k] for name in ("precision", "recall", "hit", "map_at", "ndcg")}
        assert got | {"map": report.map, "r_precision": report.r_precision} == pytest.approx(expected)
    assert all(len(values) == report.queries for values in evaluation.values.values())
    judged = [label for label in task.queries.labels if task.gallery.labels.count(label) > (not apart)]
    averages = [each.average_precision for each in sorted(report.outcomes, key=lambda each: each.results.query)]
    assert averages == pytest.approx(evaluation.values["map"].tolist())  # in the task's order
    assert len(judged) == report.queries


def test_the_intervals_hold_the_means_and_all_keys_are_there(encoder: MeanColour) -> None:
    report = evaluate(random_task(apart=False), encoder, k=[1, 5], code="pooled").report
    means = {"map": report.map, "r_precision": report.r_precision}
    for name in ("precision", "recall", "hit", "ndcg"):
        means |= {f"{name}@{k}": value for k, value in getattr(report, name).items()}
    means |= {f"map@{k}": value for k, value in report.map_at.items()}
    assert report.ci95.keys() == means.keys()
    for name, mean in means.items():
        low, high = report.ci95[name]
        assert low < mean < high, name


def test_as_dict_is_plain_and_has_what_was_promised(encoder: MeanColour) -> None:
    report = evaluate(random_task(apart=True), encoder, k=[1, 5], rerank=["dba", "aqe"]).report
    plain = report.as_dict()
    assert plain.keys() >= {
        *("queries", "gallery", "precision", "recall", "hit", "map", "ci95", "per_class", "encoder", "code", "rerank")
    }
    assert (plain["queries"], plain["gallery"]) == (20, 60)
    for name in ("precision", "recall", "hit"):
        assert plain[name].keys() == {"1", "5"}
        assert all(0 <= value <= 1 for value in plain[name].values())
    assert (plain["encoder"], plain["code"], plain["rerank"]) == ("mean-colour", "blend", ["dba", "aqe"])
    assert plain["adapted"] is False
    assert [each["map"] for each in plain["per_class"]] == [each.average_precision for each in report.per_class]
    assert plain["per_class"][0]["name"] == plain["per_class"][0]["label"].upper()
    assert len(plain["worst"]) == 10
    assert plain["worst"][0]["ap"] == report.outcomes[0].average_precision


# a split: the gallery part alone is fitted and searched


def split_table(folder: Path, queries: dict[str, str], gallery: dict[str, str]) -> Path:
    """Write a table: paths to labels, of queries and of those asked."""
    table = folder / "split.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "is_query"))
        rows.writerows((path, label, 1) for path, label in queries.items())
        rows.writerows((path, label, 0) for path, label in gallery.items())
    return table


PAIRS: dict[str, tuple[int, int, int]] = {
    "a/1": (200, 40, 90),
    "a/2": (180, 60, 10),
    "a/3": (220, 90, 50),
    "a/4": (150, 20, 30),
    "b/1": (30, 200, 90),
    "b/2": (60, 180, 20),
    "b/3": (90, 210, 60),
    "b/4": (20, 150, 70),
}
ASKING = ("a/4", "b/4")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    for name, colour in PAIRS.items():
        write(folder / f"{name}.png", colour)
    return folder


def judge_pairs(folder: Path, labels: Sequence[str] = ("a", "b"), **options: Any) -> Report:
    """Index, and judge by a split; labels: of the two queries."""
    queries = {f"{name}.png": label for name, label in zip(ASKING, labels, strict=True)}
    gallery = {f"{name}.png": name[0] for name in PAIRS if name not in ASKING}
    with Gallery(folder, encoder=MeanColour()) as opened:
        opened.update()
        opened.adapt(force=True)  # which has seen them all, and must not judge
        return evaluate(
            split_by(opened, split_table(folder, queries, gallery)), opened.encoder, k=[10], **options
        ).report


@pytest.mark.parametrize("options", [{}, {"rerank": ["dba", "aqe"]}, {"adapted": True}])
def test_what_a_query_looks_like_changes_no_other_querys_answer(pairs: Path, options: dict[str, Any]) -> None:
    before = answers(judge_pairs(pairs, **options))
    assert {len(hits) for hits in before.values()} == {6}
    write(pairs / "b/4.png", (255, 0, 60))  # as those of the other label: between two, a learned score is 1 or -1
    after = answers(judge_pairs(pairs, **options))
    asking, changed = str(pairs / "a/4.png"), str(pairs / "b/4.png")
    assert before[asking] == after[asking]
    assert before[changed] != after[changed]


@pytest.mark.parametrize("options", [{}, {"rerank": ["dba", "aqe"]}, {"adapted": True}])
def test_what_a_query_is_called_changes_no_answer(pairs: Path, options: dict[str, Any]) -> None:
    right, wrong = judge_pairs(pairs, **options), judge_pairs(pairs, ["b", "a"], **options)
    assert answers(right) == answers(wrong)
    assert right.map > wrong.map


def test_the_code_is_fitted_on_the_gallery_part_alone(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[list[str]] = []

    def spy(part: Items) -> codes.Blend:
        fitted.append(part.paths)
        return fit_blend(part)

    monkeypatch.setattr("congener.evaluation.fit_blend", spy)
    judge_pairs(pairs)
    judge_pairs(pairs, adapted=True)
    assert fitted == [[f"{name}.png" for name in PAIRS if name not in ASKING]] * 2


def test_the_fit_on_a_part_depends_on_its_contents_alone() -> None:
    part = random_task(apart=False).gallery
    shuffled = part.chosen(np.random.default_rng(2).permutation(len(part)).tolist())
    for name, value in fit_blend(part).arrays().items():
        assert (value == fit_blend(shuffled).arrays()[name]).all()


def test_a_gallery_asked_for_its_own_is_judged_with_its_own_code(by_angle: Gallery, encoder: MeanColour) -> None:
    task = leave_one_out(by_angle)
    assert by_angle.fit is not None
    embeddings = by_angle.fit.blend.embed(task.queries.pooled, None)
    report = evaluate(task, encoder, k=[10]).report
    for query, hits in answers(report).items():
        row = [str(file) for file in task.queries.files].index(query)
        for path, score in hits:
            assert score == pytest.approx(float(embeddings[row] @ embeddings[task.gallery.paths.index(path)]), abs=1e-6)


# re-ranking


def test_re_rankers_are_applied_in_order_and_recorded(encoder: MeanColour) -> None:
    task = random_task(apart=True)
    queries, gallery = codes.pooled(task.queries.pooled), codes.pooled(task.gallery.pooled)
    index = ExactIndex(gallery.shape[1])
    index.add(np.arange(len(gallery)), gallery)
    space = Space(index.search, lambda ids: gallery[ids])
    found = []
    for names in (("dba", "aqe:n=3"), ("aqe:n=3", "dba")):
        report = evaluate(task, encoder, k=[60], code="pooled", rerank=names).report
        assert report.rerank == names
        asking, answer = queries, index.search(queries, 60)
        for name in names:
            asking, answer = parse(name)(asking, answer, space)
        rows = [[int(path[1:4]) for path, _ in answers(report)[f"q{number:03}.png"]] for number in range(20)]
        assert rows == answer.ids.tolist()
        found.append(rows)
    assert found[0] != found[1]


# learning from labels


def refitted(task: Task, strength: float, share: float) -> NDArray[np.float64]:
    """Return the cosines (n, n) of each image with all, by a ridge regression fitted anew without it."""
    labels = sorted({label for label in task.gallery.labels if label})
    inputs = Inputs.fit(task.gallery.pooled, task.gallery.logits, len(labels), share)
    rows = inputs(task.gallery.pooled, task.gallery.logits).astype(float)
    targets = np.array([[label == each for each in labels] for label in task.gallery.labels], float)
    cosines = np.empty((len(rows), len(rows)))
    for asking in range(len(rows)):
        others = np.arange(len(rows)) != asking
        offset = rows[others].mean(axis=0)
        centred, wanted = rows[others] - offset, targets[others] - targets[others].mean(axis=0)
        # in its dual form, which is quicker where an image has more numbers than there are images
        weights = centred.T @ np.linalg.solve(centred @ centred.T + strength * np.eye(len(centred)), wanted)
        embedded = (rows - offset) @ weights
        embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
        cosines[asking] = embedded @ embedded[asking]
    return cosines


@pytest.mark.parametrize("block", [60 * 7, 2**23])
def test_leaving_one_out_is_as_if_fitted_anew_without_it(
    encoder: MeanColour, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("congener.evaluation._BLOCK", block)
    task = random_task(apart=False)
    gallery = task.gallery
    embedded = fit_blend(gallery).embed(gallery.pooled, None)
    chosen = learn(gallery.pooled, None, [label or "" for label in gallery.labels], embedded)[1]
    report = evaluate(task, encoder, k=[100], adapted=True).report
    cosines = refitted(task, chosen.strength, chosen.share)
    for query, hits in answers(report).items():
        asking = gallery.paths.index(query)
        assert len(hits) == 59
        assert query not in [path for path, _ in hits]
        for path, score in hits:
            assert score == pytest.approx(cosines[asking, gallery.paths.index(path)], abs=2e-4)
    assert (report.adapted, report.code) == (True, "adapted")


def test_learning_helps_where_the_labels_say_what_counts(encoder: MeanColour) -> None:
    """One label is redder than the other; both are of any blue, which is what the pictures differ in most."""
    draw = np.random.default_rng(3)

    def some(first: int | None, name: str) -> Items:
        blue = draw.random(40)
        red = np.tile([0.36, 0.34], 20)
        pooled = np.stack([red, 0.7 - red, blue], axis=1).astype(np.float32)
        return items(pooled, ["red", "green"] * 20, first=first, name=name)

    task = task_of(some(None, "q"), some(0, "g"))
    plain, adapted = (evaluate(task, encoder, k=[5], adapted=adapted).report for adapted in (False, True))
    assert plain.precision[5] < 0.9
    assert adapted.precision[5] > 0.98
    reranked = evaluate(task, encoder, k=[5], adapted=True, rerank=["aqe"]).report
    assert (reranked.rerank, reranked.code) == (("aqe",), "adapted")


def test_learning_takes_the_unlabelled_as_found_only(encoder: MeanColour) -> None:
    task = random_task(apart=True)
    labels = [None if row % 4 == 0 else label for row, label in enumerate(task.gallery.labels)]
    report = evaluate(replace(task, gallery=replace(task.gallery, labels=labels)), encoder, k=[60], adapted=True).report
    assert {len(hits) for hits in answers(report).values()} == {60}


# mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code": "polled"}, "unknown code 'polled'; choose one of: pooled, gem, posterior, blend, flatten"),
        ({"rerank": ["aqa"]}, r"unknown re-ranker 'aqa'; choose one of: .*aqe.*diffusion"),
        ({"k": [0, 5]}, "k must be at least 1"),
        ({"k": []}, "k must be at least 1"),
        ({"code": "posterior"}, "posterior needs class probabilities"),
        ({"code": "gem"}, r"g000\.png: "),
        ({"adapted": True, "code": "pooled"}, "leave out --code pooled"),
        ({"adapted": True, "rerank": ["aqe"]}, "use --split"),
    ],
)
def test_a_mistake_is_one_line(encoder: MeanColour, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CongenerError, match=message) as caught:
        evaluate(random_task(apart=False), encoder, **options)
    assert "\n" not in str(caught.value)


def test_learning_leaving_one_out_needs_a_label_for_every_image(encoder: MeanColour) -> None:
    task = random_task(apart=False)
    unlabelled = replace(task, gallery=replace(task.gallery, labels=[None, *task.gallery.labels[1:]]))
    with pytest.raises(CongenerError, match="a label for every image: use --split"):
        evaluate(unlabelled, encoder, adapted=True)


def test_a_network_without_a_feature_map_says_so(by_angle: Gallery, encoder: MeanColour) -> None:
    with pytest.raises(CongenerError, match="shows no feature map: choose another code"):
        evaluate(leave_one_out(by_angle), encoder, code="flatten")


# the real network


@pytest.fixture(scope="session")
def specimens(cabinet: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """The painted cabinet, indexed by the default network."""
    with Gallery(cabinet, store=tmp_path_factory.mktemp("specimens") / "store", encoder=load_encoder()) as gallery:
        gallery.update()
        yield gallery


@pytest.fixture(scope="session")
def few_specimens(specimens: Gallery) -> Task:
    """Four kinds of specimens, a query of each."""
    task = leave_one_out(specimens)
    kinds = sorted({label for label in task.gallery.labels if label})[:4]
    rows = [row for row, label in enumerate(task.gallery.labels) if label in kinds]
    return replace(task, blend=None, queries=task.gallery.chosen(rows[::4]), gallery=task.gallery.chosen(rows))


@pytest.mark.parametrize("code", codes.CODES)
def test_every_code_finds_painted_specimens(few_specimens: Task, specimens: Gallery, code: str) -> None:
    report = evaluate(few_specimens, specimens.encoder, k=[3], code=code).report
    assert (report.encoder, report.code, report.queries, report.gallery) == ("lite0", code, 4, 16)
    assert report.precision[3] > 0.8
    if code == "blend":
        task = replace(few_specimens, blend=fit_blend(few_specimens.gallery))
        assert task.blend is not None
        assert task.blend.weight > 0
        assert evaluate(task, specimens.encoder, k=[3]).report.map == report.map


def test_codes_of_the_feature_map_look_at_the_pixels_again(
    few_specimens: Task, specimens: Gallery, tmp_path: Path
) -> None:
    files = few_specimens.gallery.files
    swapped = [file for start in range(4) for file in files[start::4]]  # each label has all four kinds now:
    # only the codes of the map see it
    elsewhere = np.zeros(len(swapped), "S64")  # nobody knows what such a file should hold
    task = replace(few_specimens, gallery=replace(few_specimens.gallery, files=swapped, contents=elsewhere))
    for code, is_fooled in (("pooled", False), ("blend", False), ("gem", True), ("flatten", True)):
        report = evaluate(task, specimens.encoder, k=[3], code=code).report
        assert (report.precision[3] < 0.5) == is_fooled, code


def test_codes_of_the_feature_map_see_no_other_pictures_than_were_indexed(
    few_specimens: Task, specimens: Gallery
) -> None:
    files = few_specimens.gallery.files
    task = replace(few_specimens, gallery=replace(few_specimens.gallery, files=[files[1], files[0], *files[2:]]))
    with pytest.raises(CongenerError, match=r"changed since it was indexed"):
        evaluate(task, specimens.encoder, code="gem")


def test_a_file_that_is_gone_is_named(few_specimens: Task, specimens: Gallery, tmp_path: Path) -> None:
    files = [tmp_path / "gone.jpg", *few_specimens.gallery.files[1:]]
    with pytest.raises(CongenerError, match=r"gone\.jpg: No such file"):
        evaluate(
            replace(few_specimens, gallery=replace(few_specimens.gallery, files=files)), specimens.encoder, code="gem"
        )


def test_learning_from_specimens_leaving_one_out_is_as_if_fitted_anew(specimens: Gallery) -> None:
    """With class probabilities, and more numbers an image than images."""
    task = leave_one_out(specimens)
    labels = [label or "" for label in task.gallery.labels]
    assert task.blend is not None
    embedded = task.blend.embed(task.gallery.pooled, task.gallery.logits)
    chosen = learn(task.gallery.pooled, task.gallery.logits, labels, embedded)[1]
    report = evaluate(task, specimens.encoder, k=[3], adapted=True).report
    assert report.precision[3] > 0.9
    cosines = refitted(task, chosen.strength, chosen.share)
    np.fill_diagonal(cosines, -np.inf)
    rows = {str(file): row for row, file in enumerate(task.gallery.files)}
    for each in report.outcomes:
        best = np.sort(cosines[rows[each.results.query]])[::-1][:3]
        assert [hit.score for hit in each.results] == pytest.approx(best.tolist(), abs=1e-3)


# real photos


def indexed(folder: Path, store: Path) -> Gallery:
    gallery = Gallery(folder, store=store, encoder="lite0")
    gallery.update()
    return gallery


def test_on_the_split_of_the_animals(photos: Path, tmp_path: Path) -> None:
    with indexed(photos / "animals100/gallery", tmp_path / "store") as gallery:
        task = split_by(gallery, photos / "animals100/split.csv")
        assert (len(task.queries), len(task.gallery)) == (200, 800)
        for options, least in (({}, 0.765), ({"rerank": ["dba", "aqe"]}, 0.79), ({"adapted": True}, 0.90)):
            report = evaluate(task, gallery.encoder, k=[8], **options).report
            assert report.queries == 200
            assert report.precision[8] >= least, options


@pytest.mark.long
def test_on_groceries_the_default_costs_nothing(photos: Path, tmp_path: Path) -> None:
    with indexed(photos / "grocery/gallery", tmp_path / "store") as gallery:
        task = leave_one_out(gallery)
        pooled, blend = (
            evaluate(task, gallery.encoder, k=[9], code=code).report.precision[9] for code in ("pooled", "blend")
        )
        assert blend > pooled - 0.01
