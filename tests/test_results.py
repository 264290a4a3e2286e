from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from congener import Hit, Results


def hit(rank: int, score: float) -> Hit:
    return Hit(rank, score, 0.8, 7, "a/b.jpg", "a", "Kind A", Path("photos"))


def test_results_are_a_sequence_of_hits() -> None:
    results = Results("q.jpg", [hit(1, 0.9), hit(2, 0.9), hit(3, 0.1)])
    assert len(results) == 3
    assert results[-1].score == 0.1
    assert [h.rank for h in results[:2]] == [1, 2]
    assert results.query == "q.jpg"


def test_a_hit_knows_its_file_and_shows_as_plain_values() -> None:
    assert hit(1, 0.5).file == Path("photos/a/b.jpg")
    assert hit(1, 0.5).as_dict() == {
        "rank": 1,
        "score": 0.5,
        "similarity": 0.8,
        "id": 7,
        "path": "a/b.jpg",
        "label": "a",
        "label_name": "Kind A",
    }


def test_a_hit_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        hit(1, 0.5).score = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "hits",
    [
        pytest.param([hit(2, 0.5)], id="first rank isn't 1"),
        pytest.param([hit(1, 0.5), hit(1, 0.5)], id="rank twice"),
        pytest.param([hit(1, 0.5), hit(2, 0.6)], id="rising score"),
        pytest.param([hit(1, float("nan"))], id="no number"),
    ],
)
def test_results_that_do_not_fit_are_refused(hits: list[Hit]) -> None:
    with pytest.raises(ValueError, match="must"):
        Results("q", hits)
