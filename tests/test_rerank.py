"""Each method against its paper's formula; what all of them promise."""

import numpy as np
import pytest
from numpy.typing import NDArray

from congener.errors import CongenerError
from congener.indexes import ExactIndex, Neighbours
from congener.rerank import RERANKERS, Diffusion, Method, Space, compose, depth, parse

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]


def unit(vectors: NDArray[np.floating]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def random(count: int, dimension: int = 8, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)) + 0.5)


class Gallery:
    """Image i has the id 10 * i + 3; counts what it is asked for."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.ids = np.arange(len(vectors)) * 10 + 3
        self.index = ExactIndex(vectors.shape[1])
        self.index.add(self.ids, vectors)
        self.searches: list[tuple[int, int]] = []
        self.fetches: list[int] = []

    def search(self, queries: Vectors, k: int) -> Neighbours:
        self.searches.append((len(queries), k))
        return self.index.search(queries, k)

    def fetch(self, ids: Ids) -> Vectors:
        self.fetches.append(len(ids))
        assert np.isin(ids, self.ids).all()
        vectors: Vectors = self.vectors[(ids - 3) // 10]
        return vectors

    def space(self, exclude: Ids | None = None) -> Space:
        return Space(self.search, self.fetch, exclude)

    def answer(self, queries: Vectors, k: int) -> Neighbours:
        return self.index.search(queries, k)

    def without_itself(self, k: int) -> Neighbours:
        """Every image as a query, less itself."""
        scores, ids = self.index.search(self.vectors, k + 1)
        others = ids != self.ids[:, None]
        others &= np.cumsum(others, axis=1) <= k
        return Neighbours(scores[others].reshape(-1, k), ids[others].reshape(-1, k))


def assert_in_order(answer: Neighbours) -> None:
    scores, ids = answer
    assert scores.dtype == np.float32
    assert ids.dtype == np.int64
    assert scores.shape == ids.shape
    assert np.isfinite(scores).all()
    falls, ties = scores[:, 1:] < scores[:, :-1], scores[:, 1:] == scores[:, :-1]
    assert (falls | (ties & (ids[:, 1:] > ids[:, :-1]))).all()
    assert all(len(set(row)) == len(row) for row in ids.tolist())


def scores_by_id(answer: Neighbours, row: int = 0) -> dict[int, float]:
    return dict(zip(answer.ids[row].tolist(), answer.scores[row].tolist(), strict=True))


FIVE = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1], [-0.6, 0.8]], np.float32)  # ids 3, 13, 23, 33, 43


def test_qe_is_the_mean_of_query_and_top_n() -> None:
    gallery = Gallery(FIVE)
    query = np.array([[0.96, 0.28]], np.float32)  # cosines .96, .936, .8, .28, -.352
    expanded, answer = parse("qe:n=2")(query, gallery.answer(query, 2), gallery.space())
    by_hand = np.array([0.96 + 1 + 0.8, 0.28 + 0 + 0.6]) / 3
    by_hand /= np.hypot(*by_hand)
    np.testing.assert_allclose(expanded[0], by_hand, atol=1e-6)
    assert answer.ids[0].tolist() == [3, 13, 23, 33]  # 2 old, 2 new
    np.testing.assert_allclose(answer.scores[0], FIVE[:4] @ by_hand, atol=1e-6)


def test_aqe_weights_by_the_cosine_to_the_alpha() -> None:
    gallery = Gallery(FIVE)
    query = np.array([[1, 0]], np.float32)  # cosines 1, .8, .6, 0, -.6
    expanded, _ = parse("aqe:n=5,alpha=2")(query, gallery.answer(query, 5), gallery.space())
    by_hand = np.array([1 + 1 + 0.64 * 0.8 + 0.36 * 0.6, 0.64 * 0.6 + 0.36 * 0.8])  # the last two weigh nothing
    np.testing.assert_allclose(expanded[0], by_hand / np.hypot(*by_hand), atol=1e-6)


def test_aqe_of_alpha_0_is_qe() -> None:
    gallery, queries = Gallery(random(40)), random(6, seed=1)
    answer = gallery.answer(queries, 12)
    left, right = (parse(spec)(queries, answer, gallery.space()) for spec in ("aqe:n=7,alpha=0", "qe:n=7"))
    np.testing.assert_array_equal(left[0], right[0])
    np.testing.assert_array_equal(left[1].ids, right[1].ids)


def test_dba_scores_the_candidates_mixed_with_their_neighbours() -> None:
    gallery = Gallery(FIVE)
    query = np.array([[1, 0]], np.float32)
    _, answer = parse("dba:n=1,alpha=2,m=2")(query, gallery.answer(query, 4), gallery.space())
    first = np.array([1 + 0.64 * 0.8, 0.64 * 0.6])  # of 3 the nearest is 13, by .8
    second = np.array([0.8 + 0.96**2 * 0.6, 0.6 + 0.96**2 * 0.8])  # of 13 it is 23, by .96
    expected = [first[0] / np.hypot(*first), second[0] / np.hypot(*second)]
    assert answer.ids[0].tolist() == [3, 13, 23, 33]
    np.testing.assert_allclose(answer.scores[0], [*expected, 0.6, 0], atol=1e-6)  # the rest as they were


def test_a_new_search_brings_in_all_that_is_near_now() -> None:
    gallery, queries = Gallery(random(200)), random(6, seed=1)
    first = gallery.answer(queries, 9)
    onward, answer = parse("qe:n=9")(queries, first, gallery.space())
    assert answer.ids[:, :9].tolist() == gallery.answer(onward, 9).ids.tolist()
    assert answer.ids[:, :9].tolist() != first.ids.tolist()
    assert answer.ids.shape == (6, 18)


def naive_kreciprocal(query: Vectors, vectors: Vectors, top: list[int], k1: int, k2: int, lam: float) -> list[float]:
    """Zhong et al., set by set; the query is number 0; `top`: the numbers of the images that count."""
    points = np.vstack([query, vectors]).astype(np.float64)
    lists = [sorted(range(len(points)), key=lambda j: (j != i, -points[i] @ points[j])) for i in range(len(points))]
    world = {0} | {1 + i for i in top}

    def near(x: int, k: int) -> set[int]:
        return set(lists[x][: k + 1]) & world

    def reciprocal(x: int, k: int) -> set[int]:
        return {g for g in near(x, k) if x in near(g, k)}

    def encode(x: int) -> dict[int, float]:
        base = reciprocal(x, k1)
        members = set(base)
        for c in base:
            other = reciprocal(c, round(k1 / 2))
            if len(base & other) >= 2 / 3 * len(other) - 1e-9:
                members |= other
        return {j: float(np.exp(-(1 - points[x] @ points[j]))) for j in members}

    codes = {x: encode(x) for x in world}

    def expand(x: int) -> dict[int, float]:
        group = near(x, k2 - 1)
        return {j: sum(codes[g].get(j, 0) for g in group) / len(group) for j in world}

    code, scores = expand(0), []
    for image in top:
        other = expand(1 + image)
        jaccard = 1 - sum(min(code[j], other[j]) for j in world) / sum(max(code[j], other[j]) for j in world)
        distance = (1 - lam) * jaccard + lam * (1 - points[0] @ points[1 + image])
        scores.append(1 - distance)
    return scores


@pytest.mark.parametrize("m", [30, 14])
@pytest.mark.parametrize(("k1", "k2", "lam"), [(6, 3, 0.3), (9, 1, 0.0), (5, 4, 1.0)])
def test_kreciprocal_is_the_papers(m: int, k1: int, k2: int, lam: float) -> None:
    gallery, queries = Gallery(random(30)), random(4, seed=2)
    first = gallery.answer(queries, 30)
    _, answer = parse(f"kreciprocal:k1={k1},k2={k2},lam={lam},m={m}")(queries, first, gallery.space())
    for row, query in enumerate(queries):
        top = ((first.ids[row, :m] - 3) // 10).tolist()
        expected = naive_kreciprocal(query, gallery.vectors, top, k1, k2, lam)
        found = scores_by_id(answer, row)
        np.testing.assert_allclose([found[10 * i + 3] for i in top], expected, atol=1e-5)


def naive_diffusion(
    query: Vectors, vectors: Vectors, top: list[int], k: int, n: int, alpha: float, gamma: float
) -> list[float]:
    """Iscen et al.: f <- αSf + (1 - α)y until it stands still."""
    points = vectors.astype(np.float64)
    near = {i: sorted((j for j in range(len(points)) if j != i), key=lambda j: -points[i] @ points[j])[:k] for i in top}
    weight = {(i, j): max(points[i] @ points[j], 0) ** gamma for i in top for j in near[i] if j in top and i in near[j]}
    degree = {i: sum(w for (a, _), w in weight.items() if a == i) for i in top}
    start = {i: max(points[i] @ query, 0) ** gamma if place < n else 0.0 for place, i in enumerate(top)}
    f = dict(start)
    for _ in range(400):
        g = {i: (1 - alpha) * start[i] for i in top}
        for (i, j), w in weight.items():
            g[i] += alpha * w / np.sqrt(degree[i] * degree[j]) * f[j]
        f = g
    return [f[i] for i in top]


@pytest.mark.parametrize("m", [30, 14])
def test_diffusion_is_the_papers(m: int) -> None:
    gallery, queries = Gallery(random(30)), random(3, seed=2)
    first = gallery.answer(queries, 30)
    _, answer = parse(f"diffusion:k=6,n=4,alpha=0.9,gamma=3,m={m}")(queries, first, gallery.space())
    for row, query in enumerate(queries):
        top = ((first.ids[row, :m] - 3) // 10).tolist()
        expected = naive_diffusion(query, gallery.vectors, top, 6, 4, 0.9, 3)
        reached = {10 * i + 3: score for i, score in zip(top, expected, strict=True) if score}
        found = list(scores_by_id(answer, row).items())[: len(reached)]
        assert dict(found) == pytest.approx(reached, abs=1e-6)


def test_what_diffusion_does_not_reach_stays_below_in_its_order() -> None:
    angles = np.radians([0, 2, 4, 40, 42, 44])
    gallery = Gallery(unit(np.stack([np.cos(angles), np.sin(angles)], axis=1)))
    query = np.array([[1, 0]], np.float32)
    _, answer = Diffusion(k=2, n=2)(query, gallery.answer(query, 6), gallery.space())
    assert set(answer.ids[0, :3].tolist()) == {3, 13, 23}
    assert answer.ids[0, 3:].tolist() == [33, 43, 53]
    assert_in_order(answer)


def arcs() -> tuple[Vectors, NDArray[np.int64]]:
    """Two noisy arcs along a sphere, nearer to each other than each is long."""
    rng = np.random.default_rng(3)
    along = np.tile(np.linspace(0, np.radians(120), 40), 2) + rng.normal(0, 0.01, 80)
    across = np.repeat([-0.17, 0.17], 40) + rng.normal(0, 0.03, 80)
    vectors = [np.cos(across) * np.cos(along), np.cos(across) * np.sin(along), np.sin(across)]
    return unit(np.stack(vectors, axis=1)), np.repeat([0, 1], 40)


@pytest.mark.parametrize("spec", ["diffusion:k=8,n=5,alpha=0.99", "kreciprocal:k1=12,k2=4", "aqe:n=3+diffusion"])
def test_along_a_curve_they_beat_plain_ranking(spec: str) -> None:
    vectors, labels = arcs()
    gallery = Gallery(vectors)
    first = gallery.without_itself(79)
    _, answer = compose(spec.split("+"))(vectors, first, gallery.space(gallery.ids))

    def precision(found: Neighbours) -> float:
        return float((labels[(found.ids[:, :30] - 3) // 10] == labels[:, None]).mean())

    assert precision(answer) > precision(first) + 0.02


@pytest.fixture(params=sorted(RERANKERS))
def method(request: pytest.FixtureRequest) -> Method:
    return RERANKERS[request.param]()


@pytest.mark.parametrize("k", [1, 7, 40, 119])
def test_nothing_is_lost_and_all_is_in_order(method: Method, k: int) -> None:
    gallery, queries = Gallery(random(120)), random(9, seed=1)
    first = gallery.answer(queries, k)
    for array in (*first, queries):
        array.flags.writeable = False  # nothing is changed in place
    onward, answer = method(queries, first, gallery.space())
    assert_in_order(answer)
    np.testing.assert_allclose(np.linalg.norm(onward, axis=1), 1, atol=1e-6)
    for old, new in zip(first.ids.tolist(), answer.ids.tolist(), strict=True):
        assert set(old) <= set(new)


def test_one_query_is_answered_as_in_a_batch(method: Method) -> None:
    gallery, queries = Gallery(random(120)), random(5, seed=1)
    _, batch = method(queries, gallery.answer(queries, 30), gallery.space())
    for row in range(5):
        _, alone = method(queries[[row]], gallery.answer(queries[[row]], 30), gallery.space())
        assert alone.ids[0].tolist() == batch.ids[row].tolist()
        np.testing.assert_allclose(alone.scores[0], batch.scores[row], atol=1e-6)


@pytest.mark.parametrize(("queries", "k"), [(0, 5), (3, 0), (0, 0)])
def test_no_queries_and_empty_answers(method: Method, queries: int, k: int) -> None:
    gallery, vectors = Gallery(random(20)), random(queries)
    _, answer = method(vectors, gallery.answer(vectors, k), gallery.space())
    assert answer.ids.shape == (queries, k)


@pytest.mark.parametrize("gallery", [Gallery(random(1)), Gallery(random(2)), Gallery(np.repeat(random(8), 5, axis=0))])
def test_few_images_and_equal_ones(method: Method, gallery: Gallery) -> None:
    queries, count = random(3, seed=1), len(gallery.ids)
    _, answer = method(queries, gallery.answer(queries, count), gallery.space())
    assert answer.ids.shape == (3, count)
    assert_in_order(answer)


@pytest.mark.parametrize("k", [12, 59])
@pytest.mark.parametrize("spec", [*sorted(RERANKERS), "aqe+dba", "dba+aqe+kreciprocal", "qe+diffusion"])
def test_the_query_itself_is_neither_found_nor_used(spec: str, k: int) -> None:
    vectors = random(60)
    rerank = compose(spec.split("+"))
    gallery = Gallery(vectors)
    first = gallery.without_itself(k)
    _, answer = rerank(vectors, first, gallery.space(gallery.ids))
    assert (answer.ids != gallery.ids[:, None]).all()
    assert_in_order(answer)
    for image in range(0, 60, 7):
        for other in (vectors[(image + 1) % 60], -vectors[image], vectors[first.ids[image, 3] // 10]):
            changed = vectors.copy()
            changed[image] = other  # what the gallery holds in its place must not matter
            world = Gallery(changed)
            one = Neighbours(first.scores[[image]], first.ids[[image]])
            _, again = rerank(vectors[[image]], one, world.space(world.ids[[image]]))
            assert again.ids[0].tolist() == answer.ids[image].tolist()
            np.testing.assert_allclose(again.scores[0], answer.scores[image], atol=1e-5)


def test_how_far_a_new_search_sees_is_not_the_excluded_images_doing() -> None:
    query = np.array([[1, 0]], np.float32)
    far = Neighbours(np.array([[0.9]], np.float32), np.array([[23]]))  # such as another method may have put first
    answers = []
    for excluded in ([1, 0], [-1, 0]):
        gallery = Gallery(np.array([[0.96, 0.28], [0.8, 0.6], [0.28, 0.96], excluded], np.float32))
        answers.append(parse("aqe:n=1,alpha=100")(query, far, gallery.space(np.array([33])))[1])
    assert answers[0].ids.tolist() == answers[1].ids.tolist() == [[3, 23]]
    assert answers[0].scores.tolist() == answers[1].scores.tolist()


def test_excluding_is_as_good_as_removing(method: Method) -> None:
    vectors = random(60)
    gallery, rest = Gallery(vectors), Gallery(vectors[:-1])
    query = vectors[[-1]]
    first = rest.answer(query, 20)
    _, expected = method(query, first, rest.space())
    for world, exclude in ((gallery, gallery.ids[[-1]]), (rest, np.array([-1]))):  # -1: nothing
        _, answer = method(query, first, world.space(exclude))
        assert answer.ids.tolist() == expected.ids.tolist()
        np.testing.assert_allclose(answer.scores, expected.scores, atol=1e-6)


@pytest.mark.parametrize("name", sorted(RERANKERS))
def test_only_the_top_and_its_neighbours_are_asked_for(name: str) -> None:
    gallery, queries = Gallery(random(2000)), random(3, seed=1)
    spec = name if name in {"qe", "aqe"} else f"{name}:m=20"
    _, answer = parse(spec)(queries, gallery.answer(queries, 50), gallery.space())
    assert answer.ids.shape[1] <= 100
    assert len(gallery.searches) == 1  # one look-up for a whole batch
    assert gallery.searches[0][0] <= 3 * 20
    assert gallery.searches[0][1] <= 101
    assert sum(gallery.fetches) <= 3 * 20 * 6


def test_below_the_top_m_the_order_stays() -> None:
    gallery, queries = Gallery(random(60)), random(5, seed=1)
    first = gallery.answer(queries, 40)
    for spec in ("dba:m=10", "kreciprocal:m=10,k1=4,k2=2"):
        _, answer = parse(spec)(queries, first, gallery.space())
        assert answer.ids[:, 10:].tolist() == first.ids[:, 10:].tolist()
        assert_in_order(answer)


@pytest.mark.parametrize("spec", ["qe:n=0", "aqe:n=0", "dba:n=0"])
def test_of_no_neighbours_they_are_the_identity(spec: str) -> None:
    gallery, queries = Gallery(random(30)), random(4, seed=1)
    first = gallery.answer(queries, 9)
    onward, answer = parse(spec)(queries, first, gallery.space())
    assert onward is queries
    assert answer is first


def test_composing_goes_on_with_the_last_ones_queries_and_answer() -> None:
    gallery, queries = Gallery(random(60)), random(4, seed=1)
    first = gallery.answer(queries, 20)

    def run(*specs: str) -> tuple[Vectors, Neighbours]:
        return compose(specs)(queries, first, gallery.space())

    by_steps = parse("dba")(*parse("aqe")(queries, first, gallery.space()), gallery.space())
    np.testing.assert_array_equal(run("aqe", "dba")[1].ids, by_steps[1].ids)
    np.testing.assert_array_equal(run("aqe", "dba")[1].scores, by_steps[1].scores)
    assert run("dba", "aqe")[1].ids.tolist() != by_steps[1].ids.tolist()
    assert run()[0] is queries
    assert run()[1] is first


@pytest.mark.parametrize("spec", ["aqe:n=5,alpha=2", "aqe:n=5:alpha=2", " aqe : alpha = 2.0 , n = 5 "])
def test_settings_follow_the_name(spec: str) -> None:
    assert parse(spec.replace(" :", ":")) == RERANKERS["aqe"](n=5, alpha=2.0)  # type: ignore[call-arg]
    assert parse("aqe") == RERANKERS["aqe"]()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("qee", ["qee", "qe (n=4)", "aqe (n=4, alpha=3.0)", "dba (", "kreciprocal (", "diffusion ("]),
        ("", ["unknown re-ranker ''", "qe (n=4)"]),
        ("aqe:beta=1", ["beta", "n=4, alpha=3.0"]),
        ("aqe:n=1,n=2", ["'n'", "twice"]),
        ("aqe:n=x", ["whole number", "'x'", "n=4, alpha=3.0"]),
        ("aqe:n=1.5", ["whole number", "1.5"]),
        ("aqe:n", ["n must be", "''"]),
        ("aqe:n=-1", ["from 0 to 1000", "-1"]),
        ("aqe:alpha=nan", ["alpha must be a number"]),
        ("diffusion:alpha=1", ["alpha must be a number from 0 to 0.9999", "k=8, n=10"]),
        ("kreciprocal:m=1001", ["m must be a whole number from 1 to 1000"]),
    ],
)
def test_what_is_unknown_lists_the_valid(spec: str, expected: list[str]) -> None:
    with pytest.raises(CongenerError) as caught:
        compose([spec])
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("setting", "default", "least", "most"),
    [
        ("qe:n", 4, 0, 1000),
        ("aqe:n", 4, 0, 1000),
        ("aqe:alpha", 3.0, 0, 100),
        ("dba:n", 4, 0, 100),
        ("dba:alpha", 3.0, 0, 100),
        ("dba:m", 100, 1, 10_000),
        ("kreciprocal:k1", 8, 1, 200),
        ("kreciprocal:k2", 3, 1, 200),
        ("kreciprocal:lam", 0.3, 0, 1),
        ("kreciprocal:m", 100, 1, 1000),
        ("diffusion:k", 8, 1, 200),
        ("diffusion:n", 10, 1, 200),
        ("diffusion:alpha", 0.8, 0, 0.9999),
        ("diffusion:gamma", 3.0, 0, 100),
        ("diffusion:m", 100, 1, 1000),
    ],
)
def test_each_setting_has_its_default_and_its_ends(setting: str, default: float, least: float, most: float) -> None:
    name, field = setting.split(":")
    assert getattr(parse(name), field) == default
    assert [getattr(parse(f"{setting}={value}"), field) for value in (least, most)] == [least, most]
    for beyond in (least - 1, most + 1):
        with pytest.raises(CongenerError, match=rf"{field} must be a .*from {least} to {most}, not {beyond}"):
            parse(f"{setting}={beyond}")


def test_depth_is_the_longest_answer_made_use_of() -> None:
    assert depth([]) == 0
    assert depth(["aqe:n=7"]) == 7
    assert depth(["aqe:n=7", "dba:m=50"]) == 50
