"""The exact index does what sorting every score does, whichever way it takes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from congener.indexes import ExactIndex, Neighbours, exact
from congener.indexes.base import Vectors
from congener.indexes.quantise import pack
from congener.indexes.shortlist import Rows
from tests.indexes.oracle import Floats, Ids, agree, brute_force, coarse, kinds, unit

QUERIES = [1, 5, 40]
"""By bytes, by bytes, by product."""


def shuffled(count: int, holes: bool) -> Ids:
    ids = np.random.default_rng(1).permutation(3 * count)[:count].astype(np.int64)
    if holes:
        ids[::3] = -1
        ids[:300] = -1  # nothing in the first blocks
    return ids


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("queries", QUERIES)
@pytest.mark.parametrize("k", [1, 10, 250, 2000, 9999])
def test_it_agrees_with_sorting_everything(k: int, queries: int, dtype: type, holes: bool) -> None:
    ids, asked = shuffled(3000, holes), kinds(queries, seed=5)
    embeddings: Vectors = kinds(3000).astype(dtype)
    agree(ExactIndex.over(ids, embeddings).search(asked, k), brute_force(ids, embeddings, asked, k))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("queries", QUERIES)
@pytest.mark.parametrize("k", [1, 10, 400, 1000, 3000])
def test_equal_scores_come_in_order_of_id(k: int, queries: int) -> None:
    ids, embeddings, asked = shuffled(3000, holes=False), coarse(3000), coarse(queries, seed=5)
    found, expected = ExactIndex.over(ids, embeddings).search(asked, k), brute_force(ids, embeddings, asked, k)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("queries", QUERIES)
@pytest.mark.parametrize("k", [7, 5000])
def test_equal_rows_tie_wherever_they_stand(k: int, queries: int) -> None:
    # a matrix product alone gives them different last digits
    embeddings, ids = kinds(1, 200).repeat(5003, axis=0), np.arange(5003)[::-1].copy()
    found = ExactIndex.over(ids, embeddings).search(kinds(queries, 200, seed=5), k)
    assert (found.ids == np.arange(k)).all()
    assert (found.scores == found.scores[:, :1]).all()


def test_one_query_is_answered_to_the_digit_as_among_many() -> None:
    embeddings, asked = kinds(3000, 200).astype(np.float16), kinds(50, 200, seed=5)
    index = ExactIndex.over(np.arange(3000), embeddings)
    together = index.search(asked, 9)
    for query in range(len(asked)):
        alone = index.search(asked[query : query + 1], 9)
        np.testing.assert_array_equal(alone.ids[0], together.ids[query])
        np.testing.assert_array_equal(alone.scores[0], together.scores[query])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("queries", QUERIES)
@pytest.mark.parametrize("chosen", [0, 1, 40, 2500])
def test_a_search_among_some_is_one_of_those_alone(chosen: int, queries: int, holes: bool) -> None:
    ids, embeddings, asked = shuffled(3000, holes), kinds(3000), kinds(queries, seed=5)
    among = np.append(ids[ids >= 0][:chosen], [12_345_678, -1, -5])  # of which the last are not there
    there = np.where(np.isin(ids, among), ids, -1)
    agree(ExactIndex.over(ids, embeddings).search(asked, 10, among), brute_force(there, embeddings, asked, 10))


@pytest.mark.parametrize("scale", [1e-3, 1, 50])
def test_the_bounds_hold_for_rows_and_queries_of_any_length(scale: float) -> None:
    embeddings = kinds(3000) * np.linspace(0.1, scale, 3000, dtype=np.float32)[:, None]
    asked = kinds(3, seed=5) * np.float32(scale)
    found = ExactIndex.over(np.arange(3000), embeddings).search(asked, 10)
    np.testing.assert_array_equal(found.ids, brute_force(np.arange(3000), embeddings, asked, 10).ids)


def beside(query: Floats, best: Floats, others: Floats) -> Ids:
    """Return the nearest row, by bytes: row 7 is the best, the others are those that the bytes take for it."""
    rows = -kinds(2000, len(query))  # of no account: further away than all others
    rows -= (rows @ query + 0.1)[:, None] * query
    rows[7], rows[100 : 100 + len(others)] = best, others
    return ExactIndex.over(np.arange(2000), rows).search(query[None], 1).ids


@pytest.mark.parametrize("seed", range(5))
def test_a_best_row_whose_rounding_lies_along_the_query_s_signs_is_found(seed: int) -> None:
    """Each of its numbers is half a step nearer to the query than its byte says: as far off as a score can be."""
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1, 1], 256)
    query = unit(signs.astype(np.float64)[None])[0]
    codes = generator.integers(-80, 100, 256) * signs
    codes[0] = 127 * signs[0]
    steps = codes + 0.49 * signs
    steps[0] = codes[0]
    best = unit(steps[None])[0]
    away = generator.standard_normal((9, 256))
    away -= (away @ query)[:, None] * query
    score = float(best @ query) - 1e-4
    others = score * query + (1 - score**2) ** 0.5 * unit(away)
    assert beside(query, best, others.astype(np.float32)).tolist() == [[7]]


@pytest.mark.parametrize("seed", range(5))
def test_the_best_row_of_a_query_whose_bytes_hold_one_number_is_found(seed: int) -> None:
    """All numbers but the largest are below half a step: what of it isn't in its bytes decides."""
    generator = np.random.default_rng(seed)
    rest = 0.49 / 127 * generator.choice([-1, 1], 256)
    rest[0] = 0
    spike = np.eye(256)[0]
    query = unit((spike + rest)[None])[0]
    away = generator.standard_normal((9, 256))
    away -= (away @ rest / (rest @ rest))[:, None] * rest
    away[:, 0] = 0
    others = 0.055 * spike + (1 - 0.055**2) ** 0.5 * unit(away)  # the best row's score is 0.061
    assert beside(query, unit(rest[None])[0], others.astype(np.float32)).tolist() == [[7]]


def test_rows_that_bytes_cannot_tell_apart_are_told_apart() -> None:
    # they differ by less than a step of the codes
    generator = np.random.default_rng(0)
    embeddings = (kinds(1).repeat(2000, axis=0) + generator.uniform(-5e-4, 5e-4, (2000, 24))).astype(np.float32)
    asked = kinds(2, seed=5)
    agree(
        ExactIndex.over(np.arange(2000), embeddings).search(asked, 5),
        brute_force(np.arange(2000), embeddings, asked, 5),
        least=0.5,
    )


@pytest.mark.parametrize("queries", QUERIES)
def test_rows_and_queries_of_zeros(queries: int) -> None:
    index = ExactIndex.over(np.arange(2000), np.zeros((2000, 8), np.float16))
    found = index.search(np.zeros((queries, 8), np.float32), 3)
    assert found.ids.tolist() == [[0, 1, 2]] * queries
    assert not found.scores.any()


def test_most_rows_are_ruled_out_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []

    def scores(self: Rows, queries: Vectors, of: Ids, rows: Ids, compute: object = Rows.scores) -> object:
        scored.append(len(rows))
        return compute(self, queries, of, rows)  # type: ignore[operator]

    monkeypatch.setattr(Rows, "scores", scores)
    index = ExactIndex.over(np.arange(20_000), kinds(20_000, 128))
    index.search(kinds(1, 128, seed=5), 10)
    assert 10 <= sum(scored) < 400


def test_few_queries_are_answered_from_the_bytes() -> None:
    embeddings = kinds(2000)
    upside_down = ExactIndex.over(np.arange(2000), embeddings, pack(-embeddings))
    assert upside_down.search(embeddings[:1], 1).ids.tolist() != [[0]]


def test_what_is_given_is_not_copied(tmp_path: Path) -> None:
    embeddings = kinds(30).astype(np.float16)
    embeddings.tofile(tmp_path / "embeddings")
    mapped = np.memmap(tmp_path / "embeddings", np.float16, "r", shape=embeddings.shape)
    index = ExactIndex(24)
    index.add(np.arange(30)[::-1], mapped)
    assert index.rows.embeddings is mapped
    assert ExactIndex.over(np.arange(30), mapped).rows.embeddings is mapped


def test_what_is_removed_may_come_back_as_another() -> None:
    embeddings = kinds(2000)
    index = ExactIndex.over(np.arange(2000), embeddings)
    given = index.rows.ids
    index.search(embeddings[:1], 1)
    index.remove(np.array([0, 3, 3, 5000]))
    assert len(index) == 1998
    assert given[0] == 0  # the caller's own array is as it was
    index.add(np.array([0]), embeddings[3:4])
    assert index.search(embeddings[3:4], 1).ids.tolist() == [[0]]
    assert index.search(embeddings[3:4], 1, among=np.array([0, 3])).ids.tolist() == [[0]]
    assert len(index) == 1999


def test_rows_added_to_float16_keep_their_digits() -> None:
    index = ExactIndex(24)
    index.add(np.arange(1500), kinds(1500).astype(np.float16))
    index.search(kinds(1), 1)
    later = kinds(1500, seed=7)
    index.add(np.arange(1500, 3000), later)
    assert index.search(later[:1], 1).scores[0, 0] == pytest.approx(1, abs=1e-6)


def test_the_part_from_a_row_on() -> None:
    embeddings = kinds(3000)
    index = ExactIndex.over(np.arange(3000), embeddings)
    part = index.part(2000)
    asked = kinds(3, seed=5)
    agree(part.search(asked, 4), brute_force(np.arange(2000, 3000), embeddings[2000:], asked, 4))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 24\)"):
        ExactIndex.over(np.arange(2), kinds(3))
    with pytest.raises(ValueError, match=r"\(3, 28\)"):
        ExactIndex.over(np.arange(3), kinds(3), pack(kinds(2)))
    with pytest.raises(ValueError, match="negative"):
        ExactIndex(24).add(np.array([-1]), kinds(1))


def test_no_reference_is_lost_in_the_scan() -> None:
    index, asked = ExactIndex.over(np.arange(3000), kinds(3000)), kinds(1, seed=5)
    index.search(asked, 5)
    before = sys.getrefcount(None)
    for _ in range(200):
        index.search(asked, 5)
    assert abs(sys.getrefcount(None) - before) < 100


@pytest.mark.parametrize("k", [1, 24, 25, 26, 100])
def test_all_are_ranked_where_more_than_a_quarter_is_asked_for(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For fewer, that would be slower."""
    ways: list[str] = []

    def noted(name: str) -> Callable[..., Neighbours]:
        way: Callable[..., Neighbours] = getattr(exact, name)

        def search(*values: Any) -> Neighbours:
            ways.append(name)
            return way(*values)

        return search

    for name in ("by_ranking", "by_product"):
        monkeypatch.setattr(exact, name, noted(name))
    rows = kinds(100, 8)
    assert ExactIndex.over(np.arange(100), rows).search(rows[:2], k).ids.shape == (2, k)
    assert ways == ["by_ranking" if k > 25 else "by_product"]
