"""Each measure by hand, against scikit-learn and trec_eval, and by its properties."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, ndcg_score  # type: ignore[import-untyped]

from congener import metrics
from congener.metrics import (
    Bools,
    Difference,
    Floats,
    Ints,
    average_precision,
    bootstrap_interval,
    hit_at,
    ndcg_at,
    paired_difference,
    precision_at,
    r_precision,
    recall_at,
)

CUTS = (1, 2, 5, 10, 29, 30, 100)
GALLERY = 30


def rankings(*rows: str) -> Bools:
    """Return rankings as written, best first: + relevant, - not."""
    return np.array([[mark == "+" for mark in row] for row in rows], np.bool_)


def totals(*values: int) -> Ints:
    return np.array(values, np.int64)


def everything(relevant: Bools, total: Ints, k: int) -> dict[str, Floats]:
    return {
        "precision": precision_at(relevant, k),
        "recall": recall_at(relevant, total, k),
        "hit": hit_at(relevant, k),
        "r_precision": r_precision(relevant, total),
        "ap": average_precision(relevant, total),
        "ap_at": average_precision(relevant, total, k),
        "ndcg": ndcg_at(relevant, total, k),
    }


class Searches:
    """Full searches of a small gallery, with many equal scores; the column is the image's id."""

    def __init__(self, seed: int, queries: int = 60) -> None:
        random = np.random.default_rng(seed)
        self.scores = random.integers(0, 6, (queries, GALLERY)) / 5
        share = random.uniform(0, 1, (queries, 1))
        self.truth = random.uniform(size=self.scores.shape) < share
        self.truth[np.arange(queries), random.integers(GALLERY, size=queries)] = True
        self.order = np.argsort(-self.scores, axis=1, kind="stable")
        self.relevant: Bools = np.take_along_axis(self.truth, self.order, axis=1)
        self.total: Ints = self.truth.sum(axis=1)

    def encoded(self) -> NDArray[np.float64]:
        """Return distinct scores by id that give the same order, for libraries with other rules for ties."""
        scores = np.empty(self.order.shape)
        np.put_along_axis(scores, self.order, -np.arange(GALLERY, dtype=np.float64), axis=1)
        return scores


@pytest.fixture(params=range(3))
def searches(request: pytest.FixtureRequest) -> Searches:
    return Searches(request.param)


def trec_eval(searches: Searches, ranked: int, measures: set[str]) -> list[dict[str, float]]:
    """Judge the first `ranked` of each search by trec_eval, which is told of all that is relevant."""
    truth = {
        str(query): {f"i{id:03}": int(known) for id, known in enumerate(row)}
        for query, row in enumerate(searches.truth)
    }
    encoded = searches.encoded()
    run = {
        str(query): {f"i{id:03}": float(encoded[query, id]) for id in row[:ranked]}
        for query, row in enumerate(searches.order)
    }
    judged = pytrec_eval.RelevanceEvaluator(truth, measures).evaluate(run)
    return [judged[str(query)] for query in range(len(truth))]


# by hand


def test_precision_divides_by_k_however_many_were_ranked() -> None:
    relevant = rankings("+-+-", "----", "++++")
    assert precision_at(relevant, 1).tolist() == [1, 0, 1]
    assert precision_at(relevant, 3).tolist() == [2 / 3, 0, 1]
    assert precision_at(relevant, 8).tolist() == [2 / 8, 0, 4 / 8]


def test_recall_divides_by_all_relevant() -> None:
    relevant, total = rankings("+-+-", "----", "++++"), totals(2, 3, 40)
    assert recall_at(relevant, total, 1).tolist() == [1 / 2, 0, 1 / 40]
    assert recall_at(relevant, total, 4).tolist() == [1, 0, 4 / 40]
    assert recall_at(relevant, total, 9).tolist() == [1, 0, 4 / 40]


def test_a_hit_is_anything_relevant_at_all() -> None:
    relevant = rankings("--+-", "----", "++++")
    assert hit_at(relevant, 2).tolist() == [0, 0, 1]
    assert hit_at(relevant, 3).tolist() == [1, 0, 1]
    assert hit_at(relevant, 9).tolist() == [1, 0, 1]


def test_r_precision_cuts_each_query_at_its_own_total() -> None:
    relevant, total = rankings("+-+-", "+-+-", "-+++", "++++"), totals(2, 3, 3, 8)
    assert r_precision(relevant, total).tolist() == [1 / 2, 2 / 3, 2 / 3, 4 / 8]


def test_average_precision_divides_by_all_relevant() -> None:
    relevant, total = rankings("+-+-", "+-+-", "----", "--++"), totals(2, 4, 1, 2)
    expected = [(1 + 2 / 3) / 2, (1 + 2 / 3) / 4, 0, (1 / 3 + 2 / 4) / 2]
    assert average_precision(relevant, total) == pytest.approx(expected, abs=1e-15)


def test_average_precision_at_a_cut_still_divides_by_all_relevant() -> None:
    relevant, total = rankings("+-+-", "--++", "++++"), totals(2, 2, 8)
    assert average_precision(relevant, total, 2) == pytest.approx([1 / 2, 0, 2 / 8], abs=1e-15)
    assert average_precision(relevant, total, 3) == pytest.approx([5 / 6, 1 / 6, 3 / 8], abs=1e-15)


def test_ndcg_takes_its_ideal_from_all_relevant() -> None:
    second, third = 1 / np.log2(3), 1 / 2
    relevant, total = rankings("+-+-", "-+--", "----", "++++", "+---"), totals(2, 1, 1, 9, 2)
    ideal_of_two = 1 + second
    expected = [(1 + third) / ideal_of_two, second, 0, 1, 1 / ideal_of_two]
    assert ndcg_at(relevant, total, 3) == pytest.approx(expected, abs=1e-15)
    assert ndcg_at(relevant, total, 1).tolist() == [1, 0, 0, 1, 1]


# against others


def test_a_stable_sort_breaks_ties_by_id(searches: Searches) -> None:
    ids = np.arange(GALLERY)
    for row, order in zip(searches.scores, searches.order, strict=True):
        assert len(np.unique(row)) < GALLERY
        assert order.tolist() == np.lexsort((ids, -row)).tolist()
        assert order.tolist() == sorted(ids.tolist(), key=lambda i: (-row[i], i))
    assert np.array_equal(np.argsort(-searches.encoded(), axis=1), searches.order)


def test_average_precision_is_that_of_scikit_learn(searches: Searches) -> None:
    expected = [
        average_precision_score(truth, scores) for truth, scores in zip(searches.truth, searches.encoded(), strict=True)
    ]
    found = average_precision(searches.relevant, searches.total)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", CUTS)
def test_ndcg_is_that_of_scikit_learn(searches: Searches, k: int) -> None:
    expected = [
        ndcg_score([truth], [scores], k=k, ignore_ties=True)
        for truth, scores in zip(searches.truth.astype(float), searches.encoded(), strict=True)
    ]
    assert ndcg_at(searches.relevant, searches.total, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ranked", [1, 7, GALLERY])
def test_all_measures_are_those_of_trec_eval(searches: Searches, ranked: int) -> None:
    cuts = ",".join(map(str, CUTS))
    at_cuts = {f"{name}.{cuts}" for name in ("P", "recall", "success", "map_cut", "ndcg_cut")}
    judged = trec_eval(searches, ranked, at_cuts | {"map", "Rprec"})
    relevant, total = searches.relevant[:, :ranked], searches.total
    for k in CUTS:
        theirs = {
            "precision": f"P_{k}",
            "recall": f"recall_{k}",
            "hit": f"success_{k}",
            "r_precision": "Rprec",
            "ap": "map",
            "ap_at": f"map_cut_{k}",
            "ndcg": f"ndcg_cut_{k}",
        }
        for name, ours in everything(relevant, total, k).items():
            expected = [query[theirs[name]] for query in judged]
            assert ours == pytest.approx(expected, abs=1e-12), (name, k)


# properties


@pytest.mark.parametrize("ranked", [0, 1, 12, GALLERY])
@pytest.mark.parametrize("k", CUTS)
def test_there_is_one_value_from_0_to_1_per_query(searches: Searches, ranked: int, k: int) -> None:
    for name, values in everything(searches.relevant[:, :ranked], searches.total, k).items():
        assert values.shape == (len(searches.total),), name
        assert values.dtype == np.float64, name
        assert values.min() >= 0, name
        assert values.max() <= 1, name
        assert ranked or not values.any(), name


@pytest.mark.parametrize("k", CUTS)
def test_precision_and_recall_count_the_same_images(searches: Searches, k: int) -> None:
    count = searches.relevant[:, :k].sum(axis=1)
    assert precision_at(searches.relevant, k) * k == pytest.approx(count, abs=1e-9)
    assert recall_at(searches.relevant, searches.total, k) * searches.total == pytest.approx(count, abs=1e-9)
    assert np.array_equal(hit_at(searches.relevant, k), count > 0)


@pytest.mark.parametrize("ranked", [9, GALLERY])
def test_r_precision_is_precision_and_recall_at_the_total(searches: Searches, ranked: int) -> None:
    relevant, total = searches.relevant[:, :ranked], searches.total
    found = r_precision(relevant, total)
    for query, r in enumerate(total.tolist()):
        row = relevant[query : query + 1]
        assert found[query] == precision_at(row, r)[0] == recall_at(row, total[query : query + 1], r)[0]


def test_recall_hits_and_average_precision_never_fall_with_k(searches: Searches) -> None:
    curves = [everything(searches.relevant, searches.total, k) for k in range(1, GALLERY + 3)]
    for name in ("recall", "hit", "ap_at"):
        assert (np.diff([curve[name] for curve in curves], axis=0) >= 0).all(), name
    assert (curves[-1]["recall"] == 1).all()
    assert np.array_equal(curves[-1]["ap_at"], curves[-1]["ap"])


def test_average_precision_and_ndcg_are_1_only_where_all_relevant_come_first(searches: Searches) -> None:
    perfect = -np.sort(-searches.truth.astype(np.int8), axis=1) > 0
    relevant = np.concatenate([searches.relevant, perfect])
    total = np.concatenate([searches.total, searches.total])
    first = np.array([row[:r].all() for row, r in zip(relevant, total, strict=True)])
    assert len(perfect) <= first.sum() < len(first)
    assert np.array_equal(average_precision(relevant, total) == 1, first)
    assert np.array_equal(ndcg_at(relevant, total, GALLERY) == 1, first)
    assert np.array_equal(r_precision(relevant, total) == 1, first)


def test_one_query_does_not_change_another(searches: Searches) -> None:
    together = everything(searches.relevant, searches.total, 5)
    for query in range(0, len(searches.total), 7):
        alone = everything(searches.relevant[[query]], searches.total[[query]], 5)
        assert {name: values[0] for name, values in alone.items()} == {
            name: values[query] for name, values in together.items()
        }


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_totals_may_be_any_integers(searches: Searches, dtype: type[np.uint8 | np.int32 | np.uint64]) -> None:
    expected = everything(searches.relevant, searches.total, 1000)
    for name, values in everything(searches.relevant, searches.total.astype(dtype), 1000).items():
        assert np.array_equal(values, expected[name]), name


def test_no_queries_have_no_values() -> None:
    for name, values in everything(np.empty((0, 4), np.bool_), totals(), 3).items():
        assert values.shape == (0,), name


# refusals

CUT: dict[str, Callable[[Bools, Ints, int], Floats]] = {
    "precision_at": lambda relevant, total, k: precision_at(relevant, k),
    "recall_at": recall_at,
    "hit_at": lambda relevant, total, k: hit_at(relevant, k),
    "average_precision": average_precision,
    "ndcg_at": ndcg_at,
}
WITH_TOTAL: dict[str, Callable[[Bools, Ints], Floats]] = {
    "recall_at": lambda relevant, total: recall_at(relevant, total, 1),
    "r_precision": r_precision,
    "average_precision": average_precision,
    "ndcg_at": lambda relevant, total: ndcg_at(relevant, total, 1),
}


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("k", [0, -1])
def test_a_cut_before_the_first_rank_is_refused(name: str, k: int) -> None:
    assert refused(lambda: CUT[name](rankings("+-"), totals(1), k)) == f"k must be at least 1: {k}"


@pytest.mark.parametrize("name", CUT)
def test_rankings_of_another_shape_or_type_are_refused(name: str) -> None:
    good = rankings("+-")
    bads: list[NDArray[Any]] = [good[0], good[None], good.astype(np.int64)]
    for bad in bads:
        assert refused(partial(CUT[name], bad, totals(1), 1)).startswith("relevant must be (q, n) bool")


@pytest.mark.parametrize("name", WITH_TOTAL)
def test_totals_that_do_not_fit_are_refused(name: str) -> None:
    relevant = rankings("++--", "+---")

    def message(total: NDArray[np.generic]) -> str:
        return refused(lambda: WITH_TOTAL[name](relevant, total))  # type: ignore[arg-type]

    assert message(totals(2)) == "total must be (2,) int: (1,) int64"
    assert message(totals(2, 1)[:, None]) == "total must be (2,) int: (2, 1) int64"
    assert message(np.array([2.0, 1.0])) == "total must be (2,) int: (2,) float64"
    assert message(totals(2, 0)) == "total must be at least 1: query 1 has 0"
    assert message(totals(1, 1)) == "total must count all relevant: query 0 ranks 2 of 1"


# how sure


def sample(queries: int, seed: int = 7) -> Floats:
    return np.random.default_rng(seed).beta(2, 1, queries)


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


def test_the_interval_holds_the_mean_and_narrows_with_more_queries() -> None:
    widths = []
    for queries in (20, 200, 2000):
        values = sample(queries)
        low, high = bootstrap_interval(values)
        assert low < values.mean() < high
        # near the normal approximation of the same interval
        assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(queries), rel=0.1)
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_a_higher_level_gives_a_wider_interval() -> None:
    values = sample(100)
    widths = [width(bootstrap_interval(values, level=level)) for level in (0.5, 0.8, 0.95, 0.99)]
    assert widths == sorted(widths)


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    intervals = [bootstrap_interval(sample(60, seed), level=0.9, resamples=400) for seed in range(300)]
    share = np.mean([low <= 2 / 3 <= high for low, high in intervals])
    assert 0.84 < share < 0.95


def test_the_same_seed_gives_the_same_interval() -> None:
    values = sample(50)
    assert bootstrap_interval(values) == bootstrap_interval(values, seed=0)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


@pytest.mark.parametrize("block", [1, 250, 1000])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    values = sample(100)
    draws = np.random.default_rng(0).integers(100, size=(2000, 100))
    expected = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    monkeypatch.setattr(metrics, "_BLOCK", block)
    assert bootstrap_interval(values) == pytest.approx(tuple(expected), abs=1e-15)


def test_equal_values_have_no_doubt() -> None:
    assert bootstrap_interval(np.full(9, 0.5)) == (0.5, 0.5)
    assert bootstrap_interval(np.array([0.25])) == (0.25, 0.25)


def test_the_same_queries_tell_small_differences() -> None:
    random = np.random.default_rng(3)
    hard = random.uniform(0, 0.9, 200)
    a, b = hard + random.uniform(0.02, 0.1, 200), hard + random.uniform(0, 0.08, 200)
    found = paired_difference(a, b)
    assert found.mean == pytest.approx((a - b).mean())
    assert 0 < found.low < found.mean < found.high
    assert (found.low, found.high) == bootstrap_interval(a - b)
    # on their own, the intervals overlap and are many times as wide
    alone = bootstrap_interval(a), bootstrap_interval(b)
    assert alone[0][0] < alone[1][1]
    assert found.high - found.low < min(map(width, alone)) / 5


def test_a_difference_has_a_sign_and_may_be_none() -> None:
    a, b = sample(40), sample(40, seed=8)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert back.mean == -there.mean
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-12)
    assert paired_difference(a, a) == Difference(0, 0, 0)
    assert paired_difference(a, b, level=0.5, resamples=100, seed=5) != there


def test_values_that_can_not_be_drawn_from_are_refused() -> None:
    good = sample(4)
    assert refused(lambda: bootstrap_interval(good[:0])).startswith("values must be (q,)")
    assert refused(lambda: bootstrap_interval(good[None])).startswith("values must be (q,)")
    assert refused(lambda: bootstrap_interval(np.array([0.5, np.nan]))) == "values must be finite"
    for level in (0, 1, 95, np.nan):
        assert refused(partial(bootstrap_interval, good, level=level)).startswith("level must be")
    assert refused(lambda: bootstrap_interval(good, resamples=0)).startswith("resamples must be")
    assert refused(lambda: paired_difference(good, good[:1])) == ("a and b must be of the same queries: (4,) and (1,)")
