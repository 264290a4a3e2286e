"""Similarities: what they mean where there are labels, and where there are none."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression  # type: ignore[import-untyped]

from congener.calibration import Calibration, rising

EVERYWHERE = np.linspace(-1, 1, 501)
Scores = NDArray[np.float32]


def embeddings(n: int, d: int = 5, seed: int = 0) -> Scores:
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def clustered(n: int = 120, kinds: int = 6, spread: float = 0.6) -> tuple[Scores, list[str]]:
    """Scores of images in overlapping kinds, and their labels."""
    kind = np.arange(n) % kinds
    vectors = embeddings(kinds, seed=1)[kind] + spread * embeddings(n)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors @ vectors.T, np.float32), [f"kind {number}" for number in kind]


def levels(right: dict[float, tuple[int, int]], n: int = 60) -> tuple[Scores, list[str]]:
    """Score -> (hits, of which share the label), of each of n images in two kinds; 20 hits in all.

    What is known is exact: at each score the fraction is that given. All others score -0.9.
    """
    generator = np.random.default_rng(0)
    kind = np.arange(n) % 2
    scores = np.full((n, n), -0.9, np.float32)
    for image in range(n):
        same = generator.permutation(np.flatnonzero((kind == kind[image]) & (np.arange(n) != image)))
        other = generator.permutation(np.flatnonzero(kind != kind[image]))
        for score, (hits, alike) in right.items():
            scores[image, same[:alike]] = scores[image, other[: hits - alike]] = score
            same, other = same[alike:], other[hits - alike :]
    return scores, [str(number) for number in kind]


def no_labels(n: int) -> Sequence[str | None]:
    return [None] * n


# --- rising


@pytest.mark.parametrize("seed", range(20))
def test_rising_is_isotonic_regression(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 60))
    values = np.arange(n) * generator.uniform(-0.1, 0.1) + generator.standard_normal(n)
    weights = generator.integers(1, 50, n)
    expected = isotonic_regression(values, sample_weight=weights)
    assert rising(values, weights) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.4, 1.0], [0.0], []])
def test_what_rises_stays(values: list[float]) -> None:
    assert rising(np.array(values), np.ones(len(values))).tolist() == values


def test_what_falls_is_pooled_by_weight() -> None:
    assert rising(np.array([0.9, 0.1, 0.95]), np.array([1, 3, 1])) == pytest.approx(np.array([0.3, 0.3, 0.95]))


def test_pooling_reaches_back() -> None:
    assert rising(np.array([1.0, 2, 3, -6]), np.ones(4)).tolist() == [0, 0, 0, 0]


# --- by label


def test_similarity_is_the_known_fraction() -> None:
    calibration = Calibration.fit(*levels({0.9: (8, 7), 0.6: (8, 4), 0.2: (4, 1)}))
    assert calibration.meaning == "label"
    assert calibration(np.array([0.2, 0.6, 0.9])) == pytest.approx(np.array([1 / 4, 1 / 2, 7 / 8]), abs=0.005)
    assert calibration(1.0) == 7 / 8  # beyond what was seen, as at its end
    assert calibration(-1.0) == 1 / 4
    assert calibration(0.4) == pytest.approx(3 / 8, abs=0.005)  # between, on the line


def test_a_fraction_that_falls_is_levelled() -> None:
    calibration = Calibration.fit(*levels({0.9: (5, 1), 0.6: (15, 12)}))
    assert calibration(np.array([0.6, 0.9])) == pytest.approx(np.full(2, 13 / 20))


@pytest.mark.parametrize("spread", [0.3, 0.8, 1.5])
def test_similarity_by_label_rises_within_0_and_1(spread: float) -> None:
    calibration = Calibration.fit(*clustered(spread=spread))
    assert calibration.meaning == "label"
    found = calibration(EVERYWHERE)
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert found[-1] > found[0]


def test_an_image_is_not_its_own_hit() -> None:
    scores, labels = levels({0.9: (8, 7), 0.6: (12, 4)})
    np.fill_diagonal(scores, 1)
    calibration = Calibration.fit(scores, labels)
    assert calibration(1.0) == 7 / 8


def test_only_the_twenty_nearest_count() -> None:
    """Here all of the 20 are right at 0.9 or half right at 0.6; further down nobody looks."""
    scores, labels = levels({0.9: (10, 10), 0.6: (10, 5), 0.2: (10, 0)})
    assert Calibration.fit(scores, labels).scores.min() == pytest.approx(0.6, abs=0.005)


def test_images_without_a_label_are_left_out() -> None:
    scores, labels = levels({0.9: (8, 7), 0.6: (8, 4), 0.2: (4, 1)})
    n = len(scores)
    more = np.full((n + 40, n + 40), 0.95, np.float32)  # the unlabelled would be everybody's nearest
    more[:n, :n] = scores
    shuffled = np.random.default_rng(0).permutation(n + 40)
    some: list[str | None] = [*labels, *no_labels(40)]
    calibration = Calibration.fit(more[shuffled][:, shuffled], [some[i] for i in shuffled])
    assert calibration.meaning == "label"
    assert calibration(EVERYWHERE) == pytest.approx(Calibration.fit(scores, labels)(EVERYWHERE))


def test_names_of_labels_do_not_matter() -> None:
    scores, labels = clustered()
    renamed: list[str | None] = ["" if label == "kind 0" else label[::-1] for label in labels]
    assert (Calibration.fit(scores, renamed)(EVERYWHERE) == Calibration.fit(scores, labels)(EVERYWHERE)).all()


# --- by percentile


def test_similarity_without_labels_is_the_percentile() -> None:
    vectors = embeddings(80)
    scores = vectors @ vectors.T
    calibration = Calibration.fit(scores, no_labels(80))
    assert calibration.meaning == "percentile"
    pairs = scores[~np.eye(80, dtype=bool)]
    expected = (pairs[:, None] < EVERYWHERE).mean(axis=0)
    assert calibration(EVERYWHERE) == pytest.approx(expected, abs=0.01)
    assert (np.diff(calibration(EVERYWHERE)) >= 0).all()
    assert calibration(-1.0) == 0
    assert calibration(1.0) == 1
    assert calibration.scores == pytest.approx(np.arange(-1, 1.001, 0.005))


@pytest.mark.parametrize("labels", [["one"] * 80, [str(i) for i in range(80)]], ids=["all one", "each its own"])
def test_labels_that_say_nothing_give_the_percentile(labels: list[str]) -> None:
    vectors = embeddings(80)
    found = Calibration.fit(vectors @ vectors.T, labels)
    assert found.meaning == "percentile"
    assert (found(EVERYWHERE) == Calibration.fit(vectors @ vectors.T, no_labels(80))(EVERYWHERE)).all()


def test_few_labels_give_the_percentile() -> None:
    """Two labels of three images each: 12 hits that share the label, too few to count."""
    vectors = embeddings(80)
    labels = ["a"] * 3 + ["b"] * 3
    assert Calibration.fit(vectors @ vectors.T, [*labels, *no_labels(74)]).meaning == "percentile"


# --- whatever the gallery


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "a"], [None, "a"], [None, None]])
@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_images_work(n: int, labels: list[str | None]) -> None:
    vectors = embeddings(n)
    calibration = Calibration.fit(vectors @ vectors.T, labels[:n])
    found = calibration(EVERYWHERE)
    assert calibration.meaning == "percentile"
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()


def test_scores_a_little_over_one_are_one() -> None:
    """Cosines in float32 are not exact."""
    vectors = np.tile(embeddings(1), (4, 1))
    scores = np.full((4, 4), np.nextafter(np.float32(1), np.float32(2)))
    calibration = Calibration.fit(scores, no_labels(4))
    assert calibration(scores) == pytest.approx(np.ones((4, 4)))
    assert calibration(vectors @ vectors.T).max() <= 1


def test_the_scores_given_stay_as_they_are() -> None:
    scores, labels = clustered()
    kept = scores.copy()
    Calibration.fit(scores, labels)
    assert (scores == kept).all()


def test_a_calibration_takes_any_shape() -> None:
    calibration = Calibration.fit(*clustered())
    assert calibration(0.5).shape == ()
    assert calibration(np.zeros(0)).shape == (0,)
    square = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    assert calibration(square).shape == (3, 4)
    assert calibration(square)[1, 2] == calibration(float(square[1, 2]))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_calibration_comes_back_from_its_arrays(labelled: bool) -> None:
    scores, labels = clustered()
    calibration = Calibration.fit(scores, labels if labelled else no_labels(len(labels)))
    other = Calibration.fit(scores[:9, :9], no_labels(9))
    kept = calibration.arrays("one") | other.arrays("another")
    restored = Calibration.restored("one", kept)
    assert restored.meaning == calibration.meaning == ("label" if labelled else "percentile")
    assert (restored(EVERYWHERE) == calibration(EVERYWHERE)).all()
    assert (Calibration.restored("another", kept)(EVERYWHERE) == other(EVERYWHERE)).all()
