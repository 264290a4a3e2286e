"""The network in 8-bit integers, held against the float32 one."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from congener import load_encoder
from congener.cabinet import KINDS, paint
from congener.encoders import Encoder, lite0
from congener.errors import EncoderError


@pytest.fixture(scope="module")
def exact() -> Encoder:
    return load_encoder("lite0", "float32")


@pytest.fixture(scope="module")
def whole() -> Encoder:
    return load_encoder("lite0", "int8")


@pytest.fixture(scope="module")
def pixels(exact: Encoder) -> NDArray[np.uint8]:
    return np.stack([exact.preprocess(paint(kind.name, 3)) for kind in KINDS])


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / lengths)


def test_its_features_are_nearly_those_of_float32(exact: Encoder, whole: Encoder, pixels: NDArray[np.uint8]) -> None:
    found = cosines(whole.encode(pixels).pooled, exact.encode(pixels).pooled)
    assert found.mean() > 0.99
    assert found.min() > 0.97


def test_its_features_keep_their_scale(exact: Encoder, whole: Encoder, pixels: NDArray[np.uint8]) -> None:
    lengths = [np.linalg.norm(encoder.encode(pixels).pooled, axis=1) for encoder in (whole, exact)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.1)


def test_the_batch_changes_not_a_bit(whole: Encoder, pixels: NDArray[np.uint8]) -> None:
    together = whole.encode(pixels[:5]).pooled
    assert (together == np.concatenate([whole.encode(pixels[i : i + 1]).pooled for i in range(5)])).all()


def test_the_mean_of_the_map_is_the_pooled_feature(whole: Encoder, pixels: NDArray[np.uint8]) -> None:
    maps = whole.feature_map(pixels[:2])
    assert maps.shape == (2, 1280, 7, 7)
    assert maps.mean(axis=(2, 3)) == pytest.approx(whole.encode(pixels[:2]).pooled, abs=1e-5)


def test_no_pair_of_products_overflows_16_bits() -> None:
    """Processors without VNNI add two products of 8 bits in 16."""
    graph = onnx.load_from_string(lite0.build_graph(lite0.read_weights(), "int8")).graph
    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    weights = [constants[node.input[3]] for node in graph.node if node.op_type == "QLinearConv"]
    assert len(weights) == 49
    for weight in weights:
        assert weight.dtype == np.int8
        assert 2 * 255 * int(np.abs(weight.astype(int)).max()) < 2**15


def test_the_precision_is_part_of_the_identity(exact: Encoder, whole: Encoder) -> None:
    assert load_encoder().identity == whole.identity != exact.identity


def test_an_unknown_precision_lists_the_valid_ones() -> None:
    with pytest.raises(EncoderError, match=r"precision of lite0 'int4'; choose one of: int8, float32"):
        load_encoder("lite0", "int4")
