import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from congener import load_encoder
from congener.encoders import ENCODERS, Encoder
from congener.errors import EncoderError


@pytest.fixture(scope="module", params=sorted(ENCODERS))
def loaded(request: pytest.FixtureRequest) -> Encoder:
    return load_encoder(request.param)


def test_an_unknown_encoder_lists_the_valid_ones() -> None:
    with pytest.raises(EncoderError, match=r"'lite1'; choose one of: .*lite0"):
        load_encoder("lite1")


@pytest.mark.parametrize("count", [1, 3])
def test_features_have_the_stated_shape(loaded: Encoder, count: int) -> None:
    pixels = loaded.preprocess(Image.new("RGB", (40, 30), "teal"))
    features = loaded.encode(np.stack([pixels] * count))
    assert features.pooled.shape == (count, loaded.identity.dimension)
    assert features.pooled.dtype == np.float32
    assert np.isfinite(features.pooled).all()


def test_features_do_not_depend_on_the_batch(loaded: Encoder) -> None:
    generator = np.random.default_rng(1)
    side = loaded.input_side
    pixels = generator.integers(0, 256, (5, side, side, 3), np.uint8)
    together = loaded.encode(pixels).pooled
    alone = np.concatenate([loaded.encode(pixels[i : i + 1]).pooled for i in range(5)])
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (500, 375), (65500, 8), (8, 65500)])
def test_pictures_of_any_shape_are_preprocessed(loaded: Encoder, size: tuple[int, int]) -> None:
    pixels = loaded.preprocess(Image.new("RGB", size, (10, 200, 30)))
    assert pixels.shape == (loaded.input_side, loaded.input_side, 3)
    assert (pixels == (10, 200, 30)).all()


def test_the_middle_of_the_picture_is_what_counts() -> None:
    encoder = load_encoder()
    picture = Image.new("RGB", (512, 256), "white")
    picture.paste("black", (144, 16, 368, 240))  # the central square of 224
    inner = encoder.preprocess(picture)
    assert (inner[4:-4, 4:-4] < 2).all()


def test_preprocessing_travels_without_the_network(loaded: Encoder) -> None:
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (60, 90, 3), np.uint8))
    sent = pickle.dumps(loaded.preprocessing)
    assert len(sent) < 1000
    assert (np.asarray(pickle.loads(sent)(picture)) == loaded.preprocess(picture)).all()


def test_an_encoder_that_would_be_preprocessed_otherwise_by_an_update_is_refused() -> None:
    with pytest.raises(TypeError, match="Own overrides preprocess: override the property preprocessing"):

        class Own(Encoder):
            def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:  # type: ignore[misc]
                return np.asarray(image)
