import numpy as np
import pytest

from congener import codes


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
