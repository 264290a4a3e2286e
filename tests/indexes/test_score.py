"""One pair, one score: to the last digit, on every branch, in any order of adding up."""

from math import fsum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from congener.indexes.base import Vectors
from congener.indexes.score import Whole, crossed, paired
from tests.indexes.branches import COUNT, QUERIES, answers, embeddings
from tests.indexes.oracle import Floats, kinds


def true_score(query: Floats, row: Floats) -> float:
    """Add up without rounding."""
    products = [float(q) * float(x) for q, x in zip(query, row, strict=True)]
    return float(fsum(products) / fsum(float(x) ** 2 for x in row) ** 0.5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_pair_has_one_score_whatever_the_way_to_it(dtype: type, tmp_path: Path) -> None:
    rows, asked = embeddings(dtype), kinds(QUERIES, 200, seed=5)
    expected = paired(
        Whole.of(asked).take(np.repeat(np.arange(QUERIES), COUNT)),
        Whole.of(rows).take(np.tile(np.arange(COUNT), QUERIES)),
    ).reshape(QUERIES, COUNT)
    for name, queries, found in answers(rows, asked, tmp_path):
        assert found.ids.size, name
        assert (found.scores == expected[queries[:, None], found.ids]).all(), name
        tied = np.diff(found.scores, axis=1) == 0
        assert (np.diff(found.ids, axis=1)[tied] > 0).all(), name


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    dimension=st.sampled_from([1, 2, 3, 7, 8, 16, 100, 256, 1280]),
    half=st.booleans(),
    length=st.sampled_from([1e-3, 0.6, 1.0, 1.34, 50.0]),
)
def test_the_order_of_adding_up_does_not_matter(seed: int, dimension: int, half: bool, length: float) -> None:
    generator = np.random.default_rng(seed)
    asked, rows = kinds(4, dimension, seed=seed), kinds(9, dimension, seed=seed + 1) * np.float32(length)
    if half:
        rows = rows.astype(np.float16).astype(np.float32)
    expected = crossed(Whole.of(asked), Whole.of(rows))
    turned = generator.permutation(dimension)
    assert (crossed(Whole.of(asked[:, turned]), Whole.of(rows[:, turned])) == expected).all()
    assert (crossed(Whole.of(np.asfortranarray(asked)), Whole.of(np.asfortranarray(rows))) == expected).all()
    for query in range(4):
        for row in range(9):
            one, other = Whole.of(asked[query : query + 1]), Whole.of(rows[row : row + 1])
            assert paired(one, other)[0] == expected[query, row]
            assert expected[query, row] == pytest.approx(true_score(asked[query], rows[row]), abs=1e-7)


def test_scores_of_halves_are_right_to_the_last_digit_but_for_the_query_s_rounding() -> None:
    rows = kinds(500, 256).astype(np.float16)
    asked = rows[:20].astype(np.float32)  # which has no digits beyond those that count
    found = crossed(Whole.of(asked), Whole.of(rows))
    for query in range(20):
        for row in range(500):
            assert found[query, row] == np.float32(true_score(asked[query], rows[row].astype(np.float32)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_zeros_are_like_nothing(dtype: type) -> None:
    zeros: Vectors = np.zeros((2, 3), dtype)
    found = crossed(Whole.of(zeros), Whole.of(np.array([[0, 0, 0], [-1, 0, 0]], dtype)))
    assert found.tobytes() == np.zeros((2, 2), np.float32).tobytes()  # nor has a zero a sign


def test_a_power_of_two_more_or_less_of_a_row_changes_nothing() -> None:
    asked, rows = Whole.of(kinds(5, seed=5)), kinds(50)
    expected = crossed(asked, Whole.of(rows))
    for exponent in (-9, -1, 3, 40):
        assert (crossed(asked, Whole.of(np.ldexp(rows, exponent))) == expected).all()
