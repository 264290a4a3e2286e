"""A byte a number."""

from pathlib import Path

import numpy as np

from congener.indexes.quantise import pack, quantise, unpack
from tests.indexes.oracle import kinds


def test_codes_in_ones_head() -> None:
    packed = quantise(np.array([[0.5, -1, 0.25, 0.004], [0, 0, 0, 0], [2, 1, 0, -2]], np.float32))
    codes, scales = unpack(packed)
    assert codes.tolist() == [[64, -127, 32, 1], [0, 0, 0, 0], [127, 64, 0, -127]]
    np.testing.assert_allclose(scales, [1 / 127, 0, 2 / 127], rtol=1e-6)
    assert not packed[1].any()


def test_no_number_is_further_off_than_half_a_scale() -> None:
    embeddings = kinds(40_000)
    codes, scales = unpack(quantise(embeddings))
    off = np.abs(codes * scales[:, None] - embeddings).max(axis=1)
    assert (off <= 0.50001 * scales).all()
    assert np.abs(codes).max(axis=1).min() == 127


def test_later_rows_change_nothing_in_those_that_are_there() -> None:
    embeddings = kinds(50)
    embeddings[30:] *= 9
    np.testing.assert_array_equal(pack(embeddings)[:30], pack(embeddings[:30]))


def test_a_number_too_small_for_steps_is_zero() -> None:
    assert not unpack(quantise(np.full((1, 4), 1e-45, np.float32)))[0].any()


def test_unpacking_copies_nothing_of_a_mapped_file(tmp_path: Path) -> None:
    embeddings = kinds(9)
    pack(embeddings).tofile(tmp_path / "packed")
    packed = np.memmap(tmp_path / "packed", np.int8, "r", shape=(9, 28))
    codes, scales = unpack(packed)
    assert np.shares_memory(codes, packed)
    assert np.shares_memory(scales, packed)
    np.testing.assert_allclose(codes * scales[:, None], embeddings, atol=0.005)


def test_nothing_packs_to_nothing() -> None:
    assert pack(np.empty((0, 5), np.float16)).shape == (0, 9)


def test_packed_rows_are_of_length_1() -> None:
    embeddings = kinds(50)
    codes, scales = unpack(pack(embeddings * np.float32(7)))
    np.testing.assert_allclose(codes * scales[:, None], embeddings, atol=0.005)
