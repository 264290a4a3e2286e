"""One contract for every entry of the table."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from congener.indexes import INDEXES, Index
from tests.indexes.oracle import coarse

Make = Callable[[int], Index]


@pytest.fixture(params=sorted(INDEXES))
def make(request: pytest.FixtureRequest) -> Make:
    return INDEXES[request.param]


def unit(*vectors: tuple[float, ...]) -> NDArray[np.float32]:
    array = np.array(vectors, np.float32)
    array /= np.linalg.norm(array, axis=1, keepdims=True)
    return array


def ids(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


@pytest.fixture
def index(make: Make) -> Index:
    index = make(2)
    index.add(ids(30, 10, 20), unit((1, 0), (0, 1), (1, 1)))
    return index


def test_the_nearest_come_first(index: Index) -> None:
    scores, found = index.search(unit((1, 0.1)), 3)
    assert found.tolist() == [[30, 20, 10]]
    assert scores[0] == pytest.approx([0.995, 0.774, 0.0995], abs=1e-3)


def test_the_shape_is_the_same_for_one_query_and_many(index: Index) -> None:
    for count in (0, 1, 5):
        scores, found = index.search(np.repeat(unit((1, 0)), count, axis=0), 2)
        assert scores.shape == found.shape == (count, 2)
        assert scores.dtype == np.float32
        assert found.dtype == np.int64


def test_fewer_come_back_where_fewer_exist(index: Index, make: Make) -> None:
    assert index.search(unit((1, 0)), 9).ids.shape == (1, 3)
    assert make(2).search(unit((1, 0)), 9).ids.shape == (1, 0)


def test_equal_scores_come_in_order_of_id(make: Make) -> None:
    index = make(2)
    index.add(ids(9, 4, 7, 1, 8), unit((1, 0), (1, 0), (1, 0), (0, 1), (1, 0)))
    assert index.search(unit((1, 0)), 3).ids.tolist() == [[4, 7, 8]]


def test_what_is_removed_is_not_found(index: Index) -> None:
    index.remove(ids(30, 999))
    assert len(index) == 2
    assert index.search(unit((1, 0)), 3).ids.tolist() == [[20, 10]]


def test_what_is_added_later_is_found(index: Index) -> None:
    index.add(ids(5), unit((1, 0.05)))
    assert index.search(unit((1, 0)), 2).ids.tolist() == [[30, 5]]


def test_a_search_among_some_finds_only_those(index: Index) -> None:
    assert index.search(unit((1, 0)), 3, among=ids(10, 20, 77)).ids.tolist() == [[20, 10]]


def test_an_id_that_is_present_is_refused(index: Index) -> None:
    with pytest.raises(ValueError, match="present"):
        index.add(ids(20), unit((1, 0)))
    with pytest.raises(ValueError, match="present"):
        index.add(ids(1, 1), unit((1, 0), (0, 1)))


def test_embeddings_of_another_dimension_are_refused(index: Index) -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        index.add(ids(1), unit((1, 0, 0)))


def test_it_agrees_with_sorting_everything(make: Make) -> None:
    generator = np.random.default_rng(0)
    vectors, queries = coarse(500), coarse(20, seed=5)  # of which many scores tie
    numbers = generator.permutation(5000)[:500]
    index = make(4)
    index.add(numbers, vectors)
    scores = queries @ vectors.T
    expected = [sorted(zip(-row, numbers, strict=True))[:7] for row in scores]
    assert index.search(queries, 7).ids.tolist() == [[n for _, n in row] for row in expected]
