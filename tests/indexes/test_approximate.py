"""The approximate index: near all of the nearest, exact where it must be, and no crash from a bad file."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from congener.errors import GalleryError
from congener.indexes import ApproximateIndex, ExactIndex, Neighbours
from congener.indexes.approximate import (
    GraphError,
    build_graph,
    effort_for,
    extend_graph,
    measure,
    open_graph,
)
from congener.indexes.quantise import pack
from tests.indexes.oracle import agree, brute_force, kinds

COUNT, BUILT = 3000, 2600
IDS = np.random.default_rng(2).permutation(9000)[:COUNT].astype(np.int64)
EMBEDDINGS = kinds(COUNT).astype(np.float16)
PACKED = pack(EMBEDDINGS)
ASKED = kinds(40, seed=5)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of all but the last rows."""
    path = tmp_path_factory.mktemp("graph") / "graph"
    build_graph(PACKED[:BUILT], path, threads=1)
    return path


@pytest.fixture
def copy(graph: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(graph, tmp_path / "graph"))


def over(path: Path, ids: np.ndarray[tuple[int], np.dtype[np.int64]] = IDS) -> ApproximateIndex:
    return ApproximateIndex.over(ids, EMBEDDINGS, PACKED, path, effort=128)


def recall(found: Neighbours, expected: Neighbours) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(found.ids, expected.ids, strict=True)]))


@pytest.mark.parametrize("queries", [1, 40])
def test_nearly_all_of_the_nearest_are_found(graph: Path, queries: int) -> None:
    expected = brute_force(IDS, EMBEDDINGS, ASKED[:queries], 10)
    found = over(graph).search(ASKED[:queries], 10)
    assert found.ids.shape == found.scores.shape == (queries, 10)
    assert found.ids.dtype == np.int64
    assert recall(found, expected) > 0.97


def test_scores_are_exact_and_fall(graph: Path) -> None:
    found = over(graph).search(ASKED, 10)
    row = {int(id): row for row, id in enumerate(IDS)}
    for query, ids, scores in zip(ASKED, found.ids, found.scores, strict=True):
        chosen = EMBEDDINGS[[row[int(id)] for id in ids]].astype(np.float32)
        np.testing.assert_allclose(scores, chosen @ query / np.linalg.norm(chosen, axis=1), atol=1e-6)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_the_graph_is_what_answers(graph: Path) -> None:
    elsewhere = ApproximateIndex.over(IDS[:BUILT], EMBEDDINGS[:BUILT][::-1], PACKED[:BUILT], graph)
    assert recall(elsewhere.search(ASKED, 10), elsewhere.exact.search(ASKED, 10)) < 0.5


def test_rows_that_the_graph_does_not_hold_are_found(graph: Path) -> None:
    for queries in (1, 40):  # of which each is its own nearest
        asked = EMBEDDINGS[BUILT : BUILT + queries].astype(np.float32)
        assert over(graph).search(asked, 3).ids[:, 0].tolist() == IDS[BUILT : BUILT + queries].tolist()


def test_holes_and_removed_ids_are_not_found(graph: Path) -> None:
    ids = IDS.copy()
    ids[: COUNT // 2] = -1
    index = over(graph, ids)
    gone = index.search(ASKED, 10).ids[:, 0]
    index.remove(gone)
    ids[np.isin(ids, gone)] = -1
    found = index.search(ASKED, 10)
    assert len(index) == (ids >= 0).sum()
    assert not np.isin(found.ids, gone).any()
    assert recall(found, brute_force(ids, EMBEDDINGS, ASKED, 10)) > 0.95


def test_where_a_walk_finds_too_few_the_scan_answers(graph: Path) -> None:
    ids = IDS.copy()
    # whoever is near the first query is gone: the walk ends among holes
    ids[np.argsort(-(EMBEDDINGS.astype(np.float32) @ ASKED[0]))[:200]] = -1
    ids[BUILT:] = -1
    found = over(graph, ids).search(ASKED[:1], 10)
    agree(found, brute_force(ids, EMBEDDINGS, ASKED[:1], 10))


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("left", [1, 4, 9])
@pytest.mark.parametrize("queries", [1, 3])
def test_holes_around_a_query_cost_none_of_its_nearest(graph: Path, queries: int, left: int, tail: bool) -> None:
    """Some of the nearest are there, so that the walk comes back with those, but with fewer than k."""
    ids = IDS.copy()
    likeness = EMBEDDINGS.astype(np.float32) @ ASKED[0]
    ids[np.argsort(-likeness[:BUILT])[left:200]] = -1
    ids[BUILT:][likeness[BUILT:] >= likeness[:BUILT][ids[:BUILT] < 0].min()] = -1
    if not tail:
        ids[BUILT:] = -1
    found = over(graph, ids).search(ASKED[:queries], 10)
    expected = brute_force(ids, EMBEDDINGS, ASKED[:queries], 10)
    assert (found.ids >= 0).all()
    assert found.ids[0].tolist() == expected.ids[0].tolist()
    np.testing.assert_allclose(found.scores[0], expected.scores[0], atol=1e-6)


@pytest.mark.parametrize("k", [0, 1, 100, 3000, 5000])
def test_any_k_is_answered(graph: Path, k: int) -> None:
    found = over(graph).search(ASKED, k)
    assert found.ids.shape == (40, min(k, COUNT))
    if k >= 100:  # so much of the gallery that all of it is looked at
        agree(found, brute_force(IDS, EMBEDDINGS, ASKED, k))


def test_a_search_among_some_is_exact(graph: Path) -> None:
    among = IDS[::7]
    there = np.where(np.isin(IDS, among), IDS, -1)
    agree(over(graph).search(ASKED, 10, among), brute_force(there, EMBEDDINGS, ASKED, 10))


def test_rows_may_be_added(graph: Path) -> None:
    index = over(graph)
    index.add(np.array([99_999]), ASKED[:1])
    assert index.search(ASKED[:1], 1).ids.tolist() == [[99_999]]
    assert len(index) == COUNT + 1


def test_rows_that_are_added_leave_the_graph_to_answer(graph: Path) -> None:
    index = ApproximateIndex.over(IDS[:BUILT], EMBEDDINGS[:BUILT][::-1], PACKED[:BUILT], graph)  # of other rows
    index.add(np.array([99_999]), ASKED[:1])
    assert recall(index.search(ASKED[1:], 10), index.exact.search(ASKED[1:], 10)) < 0.5


def test_a_graph_grows(copy: Path) -> None:
    told: list[tuple[int, int]] = []
    extend_graph(PACKED, copy, progress=lambda done, of: told.append((done, of)))
    assert told == [(COUNT, COUNT)]
    assert open_graph(copy, 24).rows == COUNT
    assert recall(over(copy).search(ASKED, 10), brute_force(IDS, EMBEDDINGS, ASKED, 10)) > 0.97


def test_an_empty_graph_grows(tmp_path: Path) -> None:
    build_graph(PACKED[:0], tmp_path / "graph")
    agree(over(tmp_path / "graph").search(ASKED, 5), brute_force(IDS, EMBEDDINGS, ASKED, 5))
    extend_graph(PACKED[:100], tmp_path / "graph")
    assert open_graph(tmp_path / "graph", 24).rows == 100


def test_no_other_file_is_left_beside(copy: Path) -> None:
    extend_graph(PACKED, copy)
    assert [path.name for path in copy.parent.iterdir()] == ["graph"]


def test_a_build_that_fails_leaves_the_graph_as_it_was(copy: Path) -> None:
    before = copy.read_bytes()

    def interrupted(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extend_graph(PACKED, copy, progress=interrupted)
    assert copy.read_bytes() == before


def test_recall_is_measured_and_an_effort_chosen(graph: Path) -> None:
    index = over(graph)
    measured = measure(index, ASKED, k=5, efforts=(256, 16))
    assert [effort for effort, _ in measured] == [16, 256]
    assert 0.9 < measured[0][1] <= measured[1][1] <= 1
    assert index.effort == 128


def test_the_least_effort_that_reaches_the_target() -> None:
    measured = [(32, 0.9), (64, 0.96), (128, 0.99)]
    assert [effort_for(measured, target) for target in (0.5, 0.95, 0.96, 0.97, 0.999)] == [32, 64, 64, 128, 128]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no-graph"):
        over(tmp_path / "no-graph")


@pytest.mark.parametrize("left", [0, 1, 30, 44, 1000, -1])
def test_a_torn_file_is_recognised(copy: Path, left: int) -> None:
    copy.write_bytes(copy.read_bytes()[:left])
    with pytest.raises(GraphError, match="build it again"):
        over(copy)


@pytest.mark.parametrize("where", [slice(0, 4000), slice(-4000, None), slice(-44, -30), slice(None)])
def test_garbage_is_recognised(copy: Path, where: slice) -> None:
    content = bytearray(copy.read_bytes())
    content[where] = np.random.default_rng(0).bytes(len(content[where]))
    copy.write_bytes(content)
    with pytest.raises(GraphError, match="damaged"):
        over(copy)


@pytest.mark.parametrize("at", np.linspace(0.02, 0.98, 7))
def test_a_byte_changed_anywhere_in_a_graph_of_this_size_is_recognised(copy: Path, at: float) -> None:
    content = bytearray(copy.read_bytes())
    content[int(at * len(content))] ^= 4
    copy.write_bytes(content)
    with pytest.raises(GraphError, match="damaged"):
        over(copy)


def test_a_graph_of_other_embeddings_is_recognised(copy: Path) -> None:
    with pytest.raises(GraphError, match="dimension 24, not 8"):
        ApproximateIndex.over(IDS, EMBEDDINGS[:, :8], None, copy)
    with pytest.raises(GraphError, match="2600 rows, the gallery 100"):
        ApproximateIndex.over(IDS[:100], EMBEDDINGS[:100], None, copy)
    with pytest.raises(GraphError, match="2600 rows, the gallery 100"):
        extend_graph(PACKED[:100], copy)


def test_without_usearch_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    for ask in (lambda: build_graph(PACKED, tmp_path / "graph"), lambda: over(tmp_path / "graph")):
        with pytest.raises(GalleryError, match=r"pip install 'congener\[fast\]'"):
            ask()
    index = ApproximateIndex(24)  # all the rest works
    index.add(IDS, EMBEDDINGS)
    agree(index.search(ASKED, 5), ExactIndex.over(IDS, EMBEDDINGS).search(ASKED, 5))


def test_a_graph_that_was_not_written_whole_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """usearch passes over what its last write says; such a file would end the process that maps it."""
    from usearch.index import Index as Usearch

    save = Usearch.save

    def torn(walker: Usearch, path: Path) -> None:
        save(walker, path)
        os.truncate(path, path.stat().st_size - 100)

    monkeypatch.setattr(Usearch, "save", torn)
    with pytest.raises(OSError, match="could not be written whole"):
        build_graph(PACKED[:100], tmp_path / "graph")
    assert list(tmp_path.iterdir()) == []


def test_who_has_a_graph_mapped_keeps_it_while_it_grows(copy: Path) -> None:
    reader = open_graph(copy, EMBEDDINGS.shape[1])
    assert reader.mapped is not None
    before = bytes(reader.mapped)
    extend_graph(PACKED, copy, threads=1)
    assert open_graph(copy, EMBEDDINGS.shape[1]).rows == COUNT
    assert bytes(reader.mapped) == before
