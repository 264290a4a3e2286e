"""Learning from labels: the closed form against refitting by brute force; when the map is kept."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from congener.adapt import SHARES, STRENGTHS, Adaptation, Inputs, Ridge, learn
from congener.codes import Array, probabilities, unit
from congener.errors import CongenerError

Floats = NDArray[np.float64]
ALL = slice(None)


@dataclass(frozen=True)
class Data:
    """Random images: features (n, d), logits (n, c), labels (n)."""

    features: Array
    logits: Array
    labels: list[str]

    def ridge(self, share: float = 1.0) -> Ridge:
        return Ridge(self.features, self.logits, self.labels, share)


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def random(n: int, d: int, c: int, kinds: int, seed: int = 0) -> Data:
    kind = np.random.default_rng(seed).permutation(np.arange(n) % kinds)
    features = noise(n, d, seed=seed + 1) + np.float32(0.7) * noise(kinds, d, seed=seed + 2)[kind]
    return Data(features, noise(n, c, seed=seed + 3), [f"kind {number}" for number in kind])


TALL = {f"n > width, {kinds} labels": random(30, 6, 4, kinds, seed=kinds) for kinds in (3, 4, 5)}
WIDE = {f"n <= width, {kinds} labels": random(14, 25, 4, kinds, seed=kinds) for kinds in (3, 4, 5)}
SETS = TALL | WIDE
each_set = pytest.mark.parametrize("data", SETS.values(), ids=SETS.keys())
each_strength = pytest.mark.parametrize("strength", STRENGTHS)


class Brute:
    """Ridge regression with an intercept, by the normal equations, in float64."""

    def __init__(self, rows: Floats, targets: Floats, strength: float) -> None:
        self.offset, self.shares = rows.mean(axis=0), targets.mean(axis=0)
        centred = rows - self.offset
        square = centred.T @ centred + strength * np.eye(rows.shape[1])
        self.weights = np.linalg.solve(square, centred.T @ (targets - self.shares))
        self.hat = centred @ np.linalg.solve(square, centred.T) + 1 / len(rows)

    def __call__(self, rows: Floats) -> Floats:
        """Predictions, less the labels' shares."""
        return np.asarray((rows - self.offset) @ self.weights)


def problem(data: Data, ridge: Ridge) -> tuple[Floats, Floats]:
    """What the regression looks at and should say, from the inputs as they were fitted."""
    rows = ridge.inputs(data.features, data.logits).astype(np.float64)
    names = np.array(sorted(set(data.labels)))
    return rows, (np.array(data.labels)[:, None] == names).astype(np.float64)


def cosines(one: Floats, others: Floats) -> Floats:
    return np.asarray(others @ one / np.linalg.norm(one) / np.linalg.norm(others, axis=1))


def r_precision(scores: NDArray[np.floating], labels: list[str]) -> float:
    """Mean over those whose label others have, by the plainest loop."""
    values = []
    for asking, row in enumerate(scores):
        order = [image for image in np.argsort(-row, kind="stable") if image != asking]
        relevant = [labels[image] == labels[asking] for image in order]
        if any(relevant):
            values.append(sum(relevant[: sum(relevant)]) / sum(relevant))
    return float(np.mean(values))


# --- inputs


def test_inputs_are_their_formula() -> None:
    data = random(20, 5, 6, 3)
    inputs = Inputs(unit(data.features).mean(axis=0), np.array([1, 4]), 2.0)
    rows = inputs(data.features, data.logits)
    assert rows[:, :5] == pytest.approx(unit(unit(data.features) - inputs.mean), abs=1e-6)
    among = np.exp(data.logits[:, [1, 4]])
    assert rows[:, 5:] == pytest.approx(2 * among / among.sum(axis=1, keepdims=True), abs=1e-6)


def test_only_classes_that_the_gallery_shows_count() -> None:
    """12 images of 3 labels: a class counts from a sum of 0.25 * 12 / 3 = 1."""
    chances = np.full((12, 4), 1e-9)
    chances[:, 0] = 0.5
    chances[:, 1], chances[:, 2] = 1.1 / 12, 0.9 / 12
    chances[:, 3] = 1 - chances[:, :3].sum(axis=1)
    inputs = Inputs.fit(noise(12, 5), np.log(chances).astype(np.float32), 3, 1.0)
    assert inputs.kept.tolist() == [0, 1, 3]


def test_without_classes_or_a_share_of_them_inputs_are_the_features() -> None:
    data = random(20, 5, 6, 3)
    for logits, share in ((None, 1.0), (data.logits, 0.0)):
        inputs = Inputs.fit(data.features, logits, 3, share)
        assert inputs.share == 0
        assert inputs(data.features, logits).shape == (20, 5)


# --- the regression


@each_strength
@each_set
def test_predictions_and_leverage_are_brute_forces(data: Data, strength: float) -> None:
    ridge = data.ridge()
    rows, targets = problem(data, ridge)
    brute = Brute(rows, targets, strength)
    assert ridge.predictions(strength) == pytest.approx(brute(rows), abs=1e-5)
    assert ridge.leverage(strength) == pytest.approx(brute.hat.diagonal(), abs=1e-5)


@each_strength
@each_set
def test_without_an_image_is_refitting_without_it(data: Data, strength: float) -> None:
    ridge = data.ridge()
    rows, targets = problem(data, ridge)
    residuals, scores = ridge.residuals_without(strength, ALL), ridge.scores_without(strength, ALL)
    for image in range(len(rows)):
        others = np.arange(len(rows)) != image
        refitted = Brute(rows[others], targets[others], strength)
        predicted = refitted(rows)
        assert residuals[image] == pytest.approx(targets[image] - predicted[image] - refitted.shares, abs=1e-5)
        assert scores[image] == pytest.approx(cosines(predicted[image], predicted), abs=5e-5)  # in float32


@each_set
def test_some_rows_are_rows_of_all(data: Data) -> None:
    ridge, some = data.ridge(), slice(0, 7)
    assert ridge.predictions(0.1, some) == pytest.approx(ridge.predictions(0.1)[some], abs=1e-6)
    assert ridge.leverage(0.1, some) == pytest.approx(ridge.leverage(0.1)[some], abs=1e-6)
    assert ridge.residuals_without(0.1, some) == pytest.approx(ridge.residuals_without(0.1, ALL)[some], abs=1e-6)
    assert ridge.scores_without(0.1, some).shape == (7, len(ridge))
    assert ridge.scores_without(0.1, some) == pytest.approx(ridge.scores_without(0.1, ALL)[some], abs=1e-5)
    assert ridge.one_hot(some).argmax(axis=1).tolist() == ridge.targets[some].tolist()


@each_set
def test_an_images_own_label_changes_nothing_of_its_answer(data: Data) -> None:
    """The fit without it never saw the label: it could be any of those there are."""
    names = sorted(set(data.labels))
    before = data.ridge().scores_without(0.1, ALL)
    for image in range(0, len(data.labels), 3):
        for name in names:
            labels = [*data.labels[:image], name, *data.labels[image + 1 :]]
            assert sorted(set(labels)) == names
            after = Data(data.features, data.logits, labels).ridge().scores_without(0.1, ALL)
            assert after[image] == pytest.approx(before[image], abs=1e-5)
            if name != data.labels[image]:
                assert np.abs(np.delete(after - before, image, axis=0)).max() > 1e-2  # others' answers do change


def test_a_label_of_one_image_is_left_out_with_it() -> None:
    """Without its only image the label has a share of nothing, as if it were not there."""
    data = random(24, 6, 4, 3)
    data = Data(data.features, data.logits, ["alone", *data.labels[1:]])
    ridge = data.ridge()
    rows, targets = problem(data, ridge)
    refitted = Brute(rows[1:], targets[1:, 1:], 0.2)
    predicted = refitted(rows)
    assert ridge.scores_without(0.2, slice(0, 1))[0] == pytest.approx(cosines(predicted[0], predicted), abs=1e-5)


def test_identical_images_of_two_labels_can_be_fitted() -> None:
    ridge = Ridge(np.ones((6, 4), np.float32), None, ["a", "b"] * 3, 0.0)
    assert ridge.predictions(0.1) == pytest.approx(np.zeros((6, 2)), abs=1e-5)
    assert np.isfinite(ridge.scores_without(0.1, ALL)).all()
    assert np.isfinite(ridge.adaptation(0.1).embed(noise(3, 4), None)).all()


@pytest.mark.parametrize("labels", [["a", "a", "a"], []])
def test_learning_needs_two_labels(labels: list[str]) -> None:
    with pytest.raises(CongenerError, match=rf"at least two labels, this gallery has {len(set(labels))}: "):
        Ridge(noise(len(labels), 4), None, labels, 0.0)


# --- the map


@each_set
def test_the_map_embeds_as_the_regression_predicts(data: Data) -> None:
    ridge = data.ridge()
    adaptation = ridge.adaptation(0.2)
    embeddings = adaptation.embed(data.features, data.logits)
    assert embeddings.shape == (len(ridge), adaptation.dimension) == (len(ridge), len(ridge.labels))
    assert embeddings == pytest.approx(unit(ridge.predictions(0.2)), abs=1e-4)
    rows, targets = problem(data, ridge)
    new = random(9, data.features.shape[1], 4, 3, seed=77)
    predicted = Brute(rows, targets, 0.2)(ridge.inputs(new.features, new.logits).astype(np.float64))
    assert adaptation.embed(new.features, new.logits) == pytest.approx(unit(predicted), abs=1e-4)


@pytest.mark.parametrize("classes", [True, False])
def test_the_map_comes_back_from_its_arrays(classes: bool) -> None:
    data = random(30, 6, 5, 4)
    logits = data.logits if classes else None
    adaptation = Ridge(data.features, logits, data.labels, 1.0).adaptation(0.1)
    restored = Adaptation.restored(adaptation.arrays())
    assert restored is not None
    assert restored.dimension == adaptation.dimension
    expected = adaptation.embed(data.features, logits)
    assert restored.embed(data.features, logits).tobytes() == expected.tobytes()


def test_there_is_no_map_where_none_was_kept() -> None:
    assert Adaptation.restored({"mean": np.zeros(3)}) is None


def test_more_than_256_labels_are_projected() -> None:
    kind = np.arange(600) % 300
    features = noise(300, 280)[kind] + np.float32(0.3) * noise(600, 280, seed=1)
    ridge = Ridge(features, None, [f"{number:03}" for number in kind], 0.0)
    adaptation = ridge.adaptation(0.1)
    assert len(ridge.labels) == 300
    assert adaptation.dimension == 256
    embeddings, whole = adaptation.embed(features, None), unit(ridge.predictions(0.1))
    assert embeddings.shape == (600, 256)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(600), abs=1e-5)
    alike, expected = embeddings @ embeddings.T, whole @ whole.T
    assert np.sqrt(np.mean((alike - expected) ** 2)) < 0.02
    np.fill_diagonal(alike, -1)
    assert (kind[alike.argmax(axis=1)] == kind).mean() > 0.99


# --- learn


def separable(n: int = 60, kinds: int = 4) -> Data:
    """Kinds along a few weak directions of features that vary much more along others."""
    kind = np.arange(n) % kinds
    features = np.hstack([2 * noise(n, 6), np.float32(3) * np.eye(kinds, dtype=np.float32)[kind]])
    features += np.float32(0.05) * noise(n, features.shape[1], seed=1)
    return Data(features, noise(n, 5, seed=2), [f"kind {number}" for number in kind])


def test_learn_takes_the_best_of_its_tables() -> None:
    data = random(40, 8, 5, 4)
    ridge, report = learn(data.features, data.logits, data.labels, unit(data.features))
    table = {
        (share, strength): r_precision(data.ridge(share).scores_without(strength, ALL), data.labels)
        for share in SHARES
        for strength in STRENGTHS
    }
    assert report.after == pytest.approx(max(table.values()))
    assert table[report.share, report.strength] == pytest.approx(report.after)
    assert ridge.inputs.share == report.share
    before = unit(data.features) @ unit(data.features).T
    assert report.before == pytest.approx(r_precision(before, data.labels))
    assert (report.images, report.labels) == (40, 4)


def test_a_map_that_helps_is_kept() -> None:
    data = separable()
    _, report = learn(data.features, data.logits, data.labels, unit(noise(60, 10, seed=9)))
    assert report.kept is True
    assert report.before < 0.5
    assert report.after > 0.95


def test_a_map_is_not_kept_where_nothing_is_to_gain() -> None:
    data = separable()
    perfect = np.eye(4, dtype=np.float32)[np.arange(60) % 4]
    _, report = learn(data.features, data.logits, data.labels, perfect)
    assert report.before == 1
    assert report.kept is False


def test_a_map_that_is_better_by_chance_is_not_kept() -> None:
    """Better on average, but the same images might as well have shown the contrary."""
    data = Data(noise(30, 12), noise(30, 5, seed=1), [f"kind {number}" for number in np.arange(30) % 3])
    found = [learn(data.features, None, data.labels, unit(noise(30, 12, seed=seed)))[1] for seed in range(20, 26)]
    better = [report for report in found if report.after > report.before + 0.01]
    assert len(better) >= 2
    assert [report.kept for report in better] == [False] * len(better)


def test_a_map_of_random_labels_is_not_kept() -> None:
    """A fit that had seen the labels of those who ask would find them again."""
    data = Data(noise(60, 80), noise(60, 5, seed=1), [f"kind {number}" for number in np.arange(60) % 4])
    _, report = learn(data.features, data.logits, data.labels, unit(data.features))
    assert report.after < 0.4
    assert report.kept is False


def test_classes_get_a_share_where_they_know_more() -> None:
    kind = np.arange(60) % 4
    logits = (6 * np.eye(4)[kind] + noise(60, 4)).astype(np.float32)
    labels = [f"kind {number}" for number in kind]
    _, report = learn(noise(60, 8, seed=1), logits, labels, unit(noise(60, 8, seed=1)))
    assert report.share > 0
    assert report.after > 0.9
    assert probabilities(logits).argmax(axis=1).tolist() == kind.tolist()


def test_learn_works_without_classes() -> None:
    data = separable()
    ridge, report = learn(data.features, None, data.labels, unit(data.features))
    assert report.share == 0
    assert report.strength in STRENGTHS
    assert ridge.adaptation(report.strength).embed(data.features, None).shape == (60, 4)


def test_learn_is_the_same_again() -> None:
    data = random(40, 8, 5, 4)
    first, second = (learn(data.features, data.logits, data.labels, unit(data.features)) for _ in range(2))
    assert first[1] == second[1]
    for name, array in first[0].adaptation(0.1).arrays().items():
        assert array.tobytes() == second[0].adaptation(0.1).arrays()[name].tobytes(), name


@pytest.mark.parametrize("n", [2, 3, 12])
def test_learning_needs_a_label_that_several_share(n: int) -> None:
    with pytest.raises(CongenerError, match="labels that several images share"):
        learn(noise(n, 6), noise(n, 4, seed=1), [str(i) for i in range(n)], unit(noise(n, 6)))


def test_images_whose_label_nobody_shares_are_learned_from_but_do_not_ask() -> None:
    data = separable()
    labels = ["alone", *data.labels[1:]]
    _, report = learn(data.features, None, labels, unit(data.features))
    assert (report.images, report.labels) == (60, 5)
    assert report.before == pytest.approx(r_precision(unit(data.features) @ unit(data.features).T, labels))


def test_a_report_is_plain_values() -> None:
    data = separable()
    _, report = learn(data.features, data.logits, data.labels, unit(data.features))
    values = report.as_dict()
    assert set(values) == {"images", "labels", "share", "strength", "before", "after", "kept"}
    assert {type(value) for value in values.values()} <= {int, float, bool}


# --- the parts that an embedding is the sum of


@pytest.mark.parametrize("share", [0.0, 2.0])
def test_parts_sum_to_the_embedding(share: float) -> None:
    data = random(30, 6, 4, 3)
    ridge = data.ridge(share)
    adaptation = ridge.adaptation(0.1)
    maps = noise(5, 6, 2, 3, seed=9)
    parts, classes = adaptation.parts(maps, data.logits[:5])
    assert parts.shape == (5, 2, 3, adaptation.dimension)
    expected = adaptation.embed(maps.mean(axis=(2, 3)), data.logits[:5])
    assert parts.sum(axis=(1, 2)) + classes == pytest.approx(expected, abs=1e-5)
    assert bool(np.abs(classes).max() > 0.01) == bool(share)


def test_the_offset_is_shared_by_all_positions() -> None:
    inputs = Inputs(np.zeros(2, np.float32), np.empty(0, np.int64), 0.0)
    adaptation = Adaptation(inputs, np.array([0.2, 0.4], np.float32), np.eye(2, dtype=np.float32))
    parts, _ = adaptation.parts(np.array([[[[0, 2]], [[0, 0]]]], np.float32), None)
    whole = np.array([1 - 0.2, -0.4])  # the pooled feature at unit length is (1, 0)
    expected = np.array([[-0.1, -0.2], [0.9, -0.2]]) / np.linalg.norm(whole)
    assert parts[0, 0] == pytest.approx(expected, abs=1e-6)
