"""Each code by hand or against its formula; the fitted one on data whose structure is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from congener import codes
from congener.codes import Array, Blend


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def decaying(n: int, d: int, rate: float = 0.9, seed: int = 0) -> Array:
    """Noise whose later columns are ever weaker, in no column's own direction."""
    turned = np.linalg.qr(noise(d, d, seed=seed + 1))[0]
    return np.asarray((noise(n, d, seed=seed) * rate ** np.arange(d, dtype=np.float32)) @ turned, np.float32)


def kinds(n: int, count: int) -> NDArray[np.int64]:
    return np.arange(n) % count


def sure(classes: NDArray[np.int64], count: int, by: float = 6) -> Array:
    """Logits that favour a class."""
    return np.asarray(noise(len(classes), count, seed=5) + by * np.eye(count)[classes], np.float32)


# --- unit, pooled


def test_pooled_has_unit_length_and_keeps_the_direction() -> None:
    embeddings = codes.pooled(np.array([[3, 4], [0, 2]], np.float16))
    assert embeddings.dtype == np.float32
    assert embeddings == pytest.approx(np.array([[0.6, 0.8], [0, 1]]))


def test_pooled_of_zeros_is_like_nothing() -> None:
    assert (codes.pooled(np.zeros((1, 4), np.float32)) == 0).all()


def test_the_features_given_stay_as_they_are() -> None:
    features = np.array([[3.0, 4.0]], np.float32)
    codes.pooled(features)
    assert features.tolist() == [[3, 4]]


def test_unit_takes_any_number_of_axes() -> None:
    vectors = noise(2, 3, 5)
    assert np.linalg.norm(codes.unit(vectors), axis=-1) == pytest.approx(np.ones((2, 3)))
    assert codes.unit(vectors[0, 0]) == pytest.approx(vectors[0, 0] / np.linalg.norm(vectors[0, 0]))


def test_unit_of_large_half_precision_features_does_not_overflow() -> None:
    assert codes.unit(np.full((1, 4), 60000, np.float16)) == pytest.approx(np.full((1, 4), 0.5))


# --- posterior


def test_probabilities_are_the_softmax() -> None:
    logits = np.log(np.array([[1, 2, 5], [1, 1, 2]], np.float32))
    assert codes.probabilities(logits) == pytest.approx(np.array([[1, 2, 5], [2, 2, 4]]) / 8)


def test_probabilities_of_huge_logits_do_not_overflow() -> None:
    assert codes.probabilities(np.array([[1000, 0, -1000]], np.float32)).tolist() == [[1, 0, 0]]


def test_inner_product_of_posteriors_is_bhattacharyyas_coefficient() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.6, 0.3])
    embeddings = codes.posterior(np.log(np.stack([p, q])).astype(np.float32))
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx([1, 1])
    assert embeddings[0] @ embeddings[1] == pytest.approx(np.sum(np.sqrt(p * q)))


# --- codes of the feature map


def test_gem_is_the_third_power_mean() -> None:
    channels = np.array([[[1, 2], [3, 4]], [[0, 0], [0, 2]]], np.float32)
    by_hand = np.array([((1 + 8 + 27 + 64) / 4) ** (1 / 3), (8 / 4) ** (1 / 3)])
    assert codes.gem(channels[None])[0] == pytest.approx(by_hand / np.linalg.norm(by_hand))


def test_gem_lies_between_mean_and_maximum() -> None:
    """Beside a channel that is 1 everywhere, what a channel pools to is the ratio of the two."""
    varied = np.abs(noise(7, 1, 4, 5))
    found = codes.gem(np.concatenate([varied, np.ones_like(varied)], axis=1))
    ratio = found[:, 0] / found[:, 1]
    assert (ratio > varied.mean(axis=(1, 2, 3))).all()
    assert (ratio < varied.max(axis=(1, 2, 3))).all()


def test_gem_takes_half_precision_and_what_is_below_zero_as_nothing() -> None:
    maps = np.array([[[[-5, 1]], [[50, 1]]]], np.float16)  # 50 ** 3 is more than float16 holds
    by_hand = np.array([0.5, (50**3 + 1) / 2]) ** (1 / 3)
    assert codes.gem(maps)[0] == pytest.approx(by_hand / np.linalg.norm(by_hand))


def test_flatten_keeps_every_position() -> None:
    maps = noise(2, 3, 4, 5)
    flat = codes.flatten(maps)
    assert flat.shape == (2, 60)
    for image in range(2):
        length = np.linalg.norm(maps[image])
        assert flat[image].reshape(3, 4, 5) * length == pytest.approx(maps[image], rel=1e-5)


def test_codes_that_need_the_map_are_codes() -> None:
    assert codes.NEED_MAP.issubset(codes.CODES)
    assert codes.DEFAULT in codes.CODES


# --- blend


@pytest.fixture(scope="module")
def many() -> tuple[Array, Array]:
    """300 images of 12 kinds, which the classes tell."""
    return decaying(300, 270) + 1, sure(kinds(300, 12), 20)


def test_blend_is_its_formula() -> None:
    features, logits = noise(9, 4) + 1, noise(9, 3, seed=1)
    blend = Blend.fit(features, logits)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    centred = features / length - (features / length).mean(axis=0)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    blended = np.hstack([centred / np.linalg.norm(centred, axis=1, keepdims=True), blend.weight**0.5 * chances])
    blended /= np.linalg.norm(blended, axis=1, keepdims=True)
    assert blend.embed(features, logits) == pytest.approx(blended, abs=1e-6)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("n", [20, 300])
def test_blend_has_unit_length(many: tuple[Array, Array], n: int, classes: bool) -> None:
    features, logits = many[0][:n], many[1][:n] if classes else None
    embeddings = Blend.fit(features, logits).embed(features, logits)
    assert embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(n), abs=1e-5)


def test_blend_is_fitted_to_the_same_bits_again(many: tuple[Array, Array]) -> None:
    first, second = Blend.fit(*many), Blend.fit(many[0].copy(), many[1].copy())
    for name, array in first.arrays().items():
        assert array.tobytes() == second.arrays()[name].tobytes(), name
    assert first.embed(*many).tobytes() == second.embed(*many).tobytes()


def test_blend_of_half_precision_features_is_as_good(many: tuple[Array, Array]) -> None:
    half = many[0].astype(np.float16)
    alike = np.sum(Blend.fit(half, many[1]).embed(half, many[1]) * Blend.fit(half, many[1]).embed(*many), axis=1)
    assert alike.min() > 0.999


def test_blend_without_classes_is_the_centred_feature() -> None:
    features = noise(12, 5) + 2
    blend = Blend.fit(features, None)
    assert blend.weight == 0
    assert blend.dimension == 5
    centred = codes.unit(features) - codes.unit(features).mean(axis=0)
    assert blend.embed(features, None) == pytest.approx(codes.unit(centred), abs=1e-6)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_blend_works_on_few_images(n: int, classes: bool) -> None:
    features, logits = noise(n, 6) + 1, noise(n, 4, seed=1) if classes else None
    blend = Blend.fit(features, logits)
    assert blend.dimension == (10 if classes else 6)
    embeddings = blend.embed(features, logits)
    assert np.isfinite(embeddings).all()
    lengths = np.linalg.norm(embeddings, axis=1)
    assert lengths == pytest.approx(np.full(n, float(classes or n > 1)), abs=1e-6)  # one alone is its own mean


def test_blend_embeds_one_as_it_embeds_many(many: tuple[Array, Array]) -> None:
    blend = Blend.fit(*many)
    together = blend.embed(*many)
    alone = np.concatenate([blend.embed(many[0][i : i + 1], many[1][i : i + 1]) for i in range(10)])
    assert alone == pytest.approx(together[:10], abs=1e-5)


@pytest.mark.parametrize(("n", "d", "c", "dimension"), [(256, 300, 9, 309), (257, 300, 9, 256), (300, 40, 5, 45)])
def test_blend_projects_what_is_long_and_of_many_images(n: int, d: int, c: int, dimension: int) -> None:
    features, logits = noise(n, d), noise(n, c, seed=1)
    blend = Blend.fit(features, logits)
    assert blend.dimension == dimension
    assert blend.embed(features, logits).shape == (n, dimension)


def test_projection_keeps_cosines(many: tuple[Array, Array]) -> None:
    blend = Blend.fit(*many)
    assert blend.dimension == 256 < many[0].shape[1] + many[1].shape[1]
    projected, whole = blend.embed(*many), Blend(blend.mean, blend.weight, blend.projection[:, :0]).embed(*many)
    assert projected @ projected.T == pytest.approx(whole @ whole.T, abs=1e-3)


def uneven(n: int, d: int) -> Array:
    """Features that are unequally far from their mean: most of them near, in many directions, a few far, in few."""
    near = 0.02 * decaying(n, d, rate=0.999)
    near[:: n // 12] += 3 * noise(1, d, seed=8) + 3 * noise(len(near[:: n // 12]), 1, seed=9) * noise(1, d, seed=10)
    return np.asarray(near + noise(1, d, seed=7), np.float32)


def test_blend_is_fitted_on_what_it_embeds_each_image_at_the_same_length() -> None:
    """A few that are far from the mean count no more than others, in the projection as in the weight."""
    features, logits = uneven(600, 300), sure(kinds(600, 12), 20)
    blend = Blend.fit(features, logits)
    whole = Blend(blend.mean, blend.weight, blend.projection[:, :0]).embed(features, logits)
    assert blend.weight == codes.choose_weight(whole[:, :300], codes.probabilities(logits))[0]
    kept = np.square(whole @ blend.projection).sum()
    best = np.square(np.linalg.svd(whole.astype(np.float64), compute_uv=False)[:256]).sum()
    assert kept == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("n", [20, 300])
def test_blend_comes_back_from_its_arrays(many: tuple[Array, Array], n: int) -> None:
    blend = Blend.fit(many[0][:n], many[1][:n])
    restored = Blend.restored(blend.arrays())
    assert restored.weight == blend.weight
    assert restored.dimension == blend.dimension
    assert restored.embed(*many).tobytes() == blend.embed(*many).tobytes()


# --- the weight of the classes


def test_weight_rises_where_classes_tell_the_kinds() -> None:
    """The features say nothing, only the classes know. No label is given: mutual neighbours are enough."""
    features, classes = codes.unit(noise(200, 16)), kinds(200, 20)
    informed, _ = codes.choose_weight(features, codes.probabilities(sure(classes, 20)))
    assert informed >= 5


def test_weight_stays_smallest_where_classes_are_noise() -> None:
    known = np.repeat(noise(20, 16), 10, axis=0)
    features = codes.unit(known + 0.1 * noise(200, 16, seed=1))
    random = np.random.default_rng(2).dirichlet(np.full(50, 0.2), 200).astype(np.float32)
    weight, cosines = codes.choose_weight(features, random)
    assert weight == 0.3
    blends = codes.unit(np.hstack([features, 0.3**0.5 * random]))
    assert cosines == pytest.approx(blends @ blends.T, abs=1e-6)


def test_weight_is_smallest_where_there_is_nothing_to_judge_by() -> None:
    assert codes.choose_weight(noise(1, 4), np.full((1, 3), 1 / 3, np.float32))[0] == 0.3


# --- reciprocity


def clusters(count: int, size: int) -> Array:
    kind = np.repeat(np.arange(count), size)
    return np.asarray(kind[:, None] == kind, np.float32) + 0.01 * noise(len(kind), len(kind))


def test_reciprocity_of_mutual_clusters_is_one() -> None:
    assert codes.reciprocity(clusters(10, 5)) == pytest.approx(1)  # at k = 4


def test_reciprocity_by_hand() -> None:
    """Five images in a row, with k = 2: each end looks at two, but only its neighbour looks back. Chance is 2 / 4."""
    place = np.array([0, 1, 2.1, 3.1, 4.1])
    scores = np.asarray(-np.abs(place[:, None] - place), np.float32)
    # 0: 1 2; 1: 0 2; 2: 3 1; 3: 2 4; 4: 3 2. Mutual: 0-1, 1-2, 2-3, 3-4
    assert codes.reciprocity(scores) == pytest.approx((8 / 10 - 0.5) / 0.5)


def test_reciprocity_of_chance_is_none() -> None:
    assert codes.reciprocity(noise(400, 400)) < 0.01


def test_hubs_lower_reciprocity() -> None:
    scores = clusters(20, 5)
    good = codes.reciprocity(scores)
    scores[:, :3] += 2  # everybody's nearest
    assert codes.reciprocity(scores) < good - 0.2


def test_reciprocity_does_not_look_at_the_diagonal_nor_change_the_scores() -> None:
    scores = clusters(6, 4)
    other = scores.copy()
    np.fill_diagonal(other, -7)
    kept = other.copy()
    assert codes.reciprocity(other) == codes.reciprocity(scores)
    assert (other == kept).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_reciprocity_of_few_is_a_number_up_to_one(n: int) -> None:
    assert 0 <= codes.reciprocity(noise(n, n)) <= 1


# --- leading directions


def test_leading_directions_are_numpys() -> None:
    vectors = decaying(300, 120, rate=0.8)
    found = codes.leading_directions(vectors, 20)
    expected = np.linalg.svd(vectors.astype(np.float64), full_matrices=False)[2][:20].T
    assert found.T @ found == pytest.approx(np.eye(20), abs=1e-5)
    assert np.abs(np.sum(found * expected, axis=0)) == pytest.approx(np.ones(20), abs=1e-4)


def test_leading_directions_of_few_are_all_that_there_are() -> None:
    vectors = noise(200, 10) @ noise(10, 60)
    found = codes.leading_directions(vectors, 20)  # ten of them lead nowhere
    assert vectors @ found @ found.T == pytest.approx(vectors, abs=1e-4)
    assert found[:, :10].T @ found[:, :10] == pytest.approx(np.eye(10), abs=1e-5)


def test_leading_directions_have_fixed_signs() -> None:
    found = codes.leading_directions(decaying(100, 60), 10)
    assert (found[np.abs(found).argmax(axis=0), np.arange(10)] > 0).all()
    assert codes.leading_directions(-decaying(100, 60), 10) == pytest.approx(found, abs=1e-6)


# --- the parts that an embedding is the sum of


def test_positions_sum_to_the_pooled_feature_at_unit_length() -> None:
    maps = noise(3, 5, 2, 4)
    parts = codes.positions(maps)
    assert parts.shape == (3, 2, 4, 5)
    assert parts.sum(axis=(1, 2)) == pytest.approx(codes.pooled(maps.mean(axis=(2, 3))), abs=1e-6)
    by_hand = codes.positions(np.array([[[[3, 0]], [[0, 4]]]], np.float32))
    assert by_hand == pytest.approx(np.array([[[[0.6, 0], [0, 0.8]]]]))


def test_of_a_mean_each_position_bears_an_equal_share() -> None:
    maps, mean = noise(2, 3, 2, 5), np.array([0.1, 0.2, -0.3], np.float32)
    parts = codes.positions(maps, mean)
    centred = codes.unit(codes.pooled(maps.mean(axis=(2, 3))) - mean)
    assert parts.sum(axis=(1, 2)) == pytest.approx(centred, abs=1e-6)
    bare = codes.positions(maps) - mean / 10
    assert codes.unit(parts) == pytest.approx(codes.unit(bare), abs=1e-5)


@pytest.mark.parametrize("n", [20, 400], ids=["not projected", "projected"])
@pytest.mark.parametrize("classes", [0, 7])
def test_the_parts_of_a_blend_sum_to_its_embeddings(n: int, classes: int) -> None:
    features, logits = decaying(n, 300), sure(kinds(n, 7), 7) if classes else None
    blend = Blend.fit(features, logits)
    assert blend.projection.shape[1] == (256 if n == 400 else 0)
    maps = features[:5, :, None, None] * (1 + noise(5, 300, 3, 3) / 2)
    some = None if logits is None else logits[:5]
    parts, of_classes = blend.parts(maps, some)
    assert parts.shape == (5, 3, 3, blend.dimension)
    expected = blend.embed(maps.mean(axis=(2, 3)), some)
    assert parts.sum(axis=(1, 2)) + of_classes == pytest.approx(expected, abs=1e-5)
    assert bool(np.abs(of_classes).max() > 0.01) == bool(classes)


def test_without_a_projection_the_parts_lie_beside_each_other() -> None:
    maps, logits = noise(2, 4, 3, 3), noise(2, 3)
    blend = Blend(noise(4), 2.0, np.empty((7, 0), np.float32))
    parts, classes = blend.parts(maps, logits)
    assert not parts[..., 4:].any()
    assert not classes[:, :4].any()


def test_a_map_of_zeros_has_parts_without_a_nan() -> None:
    parts, _ = Blend(np.zeros(4, np.float32), 0.0, np.empty((4, 0), np.float32)).parts(np.zeros((1, 4, 2, 2)), None)
    assert not parts.any()
