import numpy as np
import pytest
from numpy.typing import NDArray

from congener.indexes import ExactIndex
from congener.scope import Part, Scope, own_id, unique_id
from congener.store import Embedded


def circle(*degrees: float) -> NDArray[np.float32]:
    """Return unit vectors (n, 2) at these angles."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def ids_of(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def part(number: int, embedded: Embedded) -> Part:
    return Part(number, embedded, ExactIndex.over(embedded.keys, embedded.matrix))


def plain(number: int, ids: list[int], *degrees: float) -> Part:
    return part(number, Embedded.of(ids_of(ids), np.arange(len(ids)), circle(*degrees)))


NONE = ids_of([])


def test_images_of_equal_content_are_each_a_hit_in_order_of_id() -> None:
    # row 0 is a hole; images 5 and 9 share row 2
    embedded = Embedded.of(ids_of([3, 5, 9]), ids_of([1, 2, 2]), circle(10, 20, 30))
    assert embedded.keys.tolist() == [-1, 3, 5]
    space = Scope([part(0, embedded)]).space(NONE)
    found = space.search(circle(40), 10)
    assert found.ids.tolist() == [[5, 9, 3]]
    assert found.scores[0] == pytest.approx(np.cos(np.radians([10, 10, 20])), abs=1e-6)
    assert space.search(circle(40), 2).ids.tolist() == [[5, 9]]
    assert space.search(circle(40), 1).ids.tolist() == [[5]]
    assert space.fetch(ids_of([9, 3])) == pytest.approx(circle(30, 20))


def test_a_hidden_image_makes_room_for_another() -> None:
    embedded = Embedded.of(ids_of([3, 5, 9]), ids_of([1, 2, 2]), circle(10, 20, 30))
    scope = Scope([part(0, embedded)])
    assert scope.space(ids_of([5])).search(circle(40), 2).ids.tolist() == [[9, 3]]


def test_only_those_asked_for_are_searched() -> None:
    embedded = Embedded.of(ids_of([3, 5, 9]), ids_of([1, 2, 2]), circle(10, 20, 30))
    scope = Scope([part(0, embedded)])
    assert scope.space(NONE, ids_of([9, 3])).search(circle(40), 10).ids.tolist() == [[9, 3]]
    assert scope.space(NONE, NONE).search(circle(40), 10).ids.tolist() == [[]]


def test_several_galleries_answer_as_one() -> None:
    scope = Scope([plain(0, [1, 2], 0, 50), plain(1, [1, 7], 40, 90)])
    space = scope.space(ids_of([unique_id(0, 2)]))
    found = space.search(circle(45, 0), 2)
    assert [[own_id(id) for id in row] for row in found.ids.tolist()] == [[(1, 1), (0, 1)], [(0, 1), (1, 1)]]
    assert space.fetch(ids_of([unique_id(1, 7), 2])) == pytest.approx(circle(90, 50))
    among = ids_of([unique_id(1, 7), 1])
    assert [own_id(id) for id in scope.space(NONE, among).search(circle(45), 3).ids[0].tolist()] == [(0, 1), (1, 7)]


def equal(*keys_and_ids: tuple[int, int]) -> Scope:
    """Return images, by row and id, of which all rows hold one embedding: contents that look the same."""
    rows, ids = zip(*sorted(keys_and_ids, key=lambda each: each[1]), strict=True)
    embedded = Embedded.of(ids_of(list(ids)), ids_of(list(rows)), circle(*[30] * (max(rows) + 1)))
    return Scope([part(0, embedded)])


def test_two_contents_with_one_embedding_tie_and_come_in_order_of_id() -> None:
    scope = equal((0, 4), (0, 9), (1, 2), (1, 6), (2, 5))
    for k in range(1, 7):
        found = scope.space(NONE).search(circle(40), k)
        assert found.ids.tolist() == [[2, 4, 5, 6, 9][:k]]
        assert np.ptp(found.scores) == 0


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
def test_they_do_so_among_some_too_where_the_oldest_copy_is_left_out(k: int) -> None:
    scope = equal((0, 1), (0, 9), (1, 2), (1, 8), (2, 5), (3, 7))
    some = ids_of([9, 8, 5, 7])
    assert scope.space(NONE, some).search(circle(40), k).ids.tolist() == [[5, 7, 8, 9][:k]]
    assert scope.space(ids_of([7]), some).search(circle(40), k).ids.tolist() == [[5, 8, 9][:k]]


def test_scores_of_images_are_those_of_a_search() -> None:
    scope = Scope([plain(0, [1, 2], 0, 50), plain(1, [1, 7], 40, 90)])
    found = scope.space(NONE).search(circle(45), 4)
    assert scope.scores(circle(45), found.ids[0]).tolist() == found.scores[0].tolist()
