"""The network against a plain torch forward where torch is installed, else against stored figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from congener import Gallery
from congener.encoders import lite0, load_encoder
from congener.encoders.layers import Layer, in_squares, same_padding
from congener.encoders.lite0 import Lite0
from congener.errors import GalleryError


def pattern(number: int) -> NDArray[np.uint8]:
    """Return waves of colour that differ from number to number: (224, 224, 3)."""
    y, x = np.mgrid[0:224, 0:224] / 224
    waves = [np.sin((number + 2) * (x * (c + 1) + y * (3 - c)) + c * number) for c in range(3)]
    return np.rint(127.5 + 127.5 * np.stack(waves, axis=-1)).astype(np.uint8)


PIXELS = np.stack([pattern(number) for number in range(10)])

# of the float32 network on PIXELS: some values by position, their sum, and the best class
REFERENCE: dict[int, tuple[dict[int, float], float, int]] = {
    0: ({113: 5.39389, 398: 0.25859, 400: 0.73061, 814: 0.04985, 1040: 0.12425}, 151.216, 818),
    3: ({113: 5.53087, 209: 0.06062, 964: 0.17097, 1169: 0.55246, 1184: 1.13475}, 207.974, 782),
    7: ({39: 0.60196, 512: 1.24805, 600: 5.18288, 690: 0.25441, 725: 0.12522}, 230.629, 906),
}


@pytest.mark.parametrize("number", sorted(REFERENCE))
def test_features_match_the_stored_figures(number: int) -> None:
    some, total, best = REFERENCE[number]
    encoder = load_encoder("lite0", "float32")
    pooled = encoder.encode(PIXELS[number : number + 1]).pooled
    assert pooled[0, list(some)] == pytest.approx(list(some.values()), abs=1e-4)
    assert pooled.sum() == pytest.approx(total, rel=1e-4)
    logits = encoder.logits(pooled)
    assert logits is not None
    assert logits[0].argmax() == best


def test_logits_are_a_linear_function_of_the_pooled_feature() -> None:
    encoder, weights = load_encoder("lite0", "float32"), lite0.read_weights()
    pooled = encoder.encode(PIXELS).pooled
    expected = pooled.astype(np.float64) @ weights["_fc.weight"].T + weights["_fc.bias"]
    assert encoder.logits(pooled) == pytest.approx(expected, abs=1e-3)


def test_padding_is_tensorflows() -> None:
    assert same_padding(224, 3, 2) == [0, 0, 1, 1]
    assert same_padding(56, 5, 2) == [1, 1, 2, 2]
    assert same_padding(112, 3, 1) == [1, 1, 1, 1]
    assert same_padding(7, 1, 1) == [0, 0, 0, 0]


@pytest.mark.parametrize(("side", "kernel"), [(12, 3), (20, 2)])
def test_a_layer_of_stride_2_in_squares_is_the_same_layer(side: int, kernel: int) -> None:
    drawn = np.random.default_rng(0)
    weight = drawn.standard_normal((5, 3, kernel, kernel)).astype(np.float32)
    layer = Layer("stem", weight, np.zeros(5, np.float32), np.zeros(5), np.ones(5), side, stride=2)
    squares = in_squares(layer)
    image = drawn.standard_normal((side, side, 3)).astype(np.float32)
    half = side // 2
    laid = image.reshape(half, 2, half, 6).transpose(0, 2, 1, 3).reshape(half, half, 12)
    assert (squares.side, squares.stride) == (half, 1)
    assert convolved(laid, squares) == pytest.approx(convolved(image, layer), abs=1e-5)


def convolved(image: NDArray[np.float32], layer: Layer) -> NDArray[np.float32]:
    """Return a layer's sums (h, w, out) of an image (side, side, in)."""
    kernel, (top, left, bottom, right) = layer.weight.shape[-1], layer.attributes["pads"]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(image, [(top, bottom), (left, right), (0, 0)]), (kernel, kernel), axis=(0, 1)
    )
    sums: NDArray[np.float32] = np.einsum("hwiyx,oiyx->hwo", windows[:: layer.stride, :: layer.stride], layer.weight)
    return sums


def test_a_gallery_keeps_the_rule_that_it_was_made_with(colours: Path, tmp_path: Path) -> None:
    hamming, bicubic = Lite0.preparations
    assert "hamming" in hamming
    assert load_encoder().identity.preprocessing == hamming
    picture = Image.effect_noise((400, 300), 80).convert("RGB")
    old = Lite0(preparation=bicubic)
    assert (old.preprocess(picture) != load_encoder().preprocess(picture)).any()
    Gallery(colours, store=tmp_path / "store", encoder=old).update()
    with Gallery(colours, store=tmp_path / "store") as gallery:
        assert gallery.encoder.identity.preprocessing == bicubic
        assert (gallery.encoder.preprocess(picture) == old.preprocess(picture)).all()
        assert gallery.update().unchanged == 5
    with pytest.raises(GalleryError, match=r"was made by lite0 .*bicubic.*, not by lite0 .*hamming"):
        Gallery(colours, store=tmp_path / "store", encoder=load_encoder())


def test_it_agrees_with_a_plain_torch_forward() -> None:
    torch = pytest.importorskip("torch")
    with torch.inference_mode():
        pooled, logits = torch_forward(torch, lite0.read_weights(), PIXELS)
    encoder = load_encoder("lite0", "float32")
    found = encoder.encode(PIXELS).pooled
    assert np.abs(found - pooled.numpy()).max() <= 1e-4
    assert np.abs(encoder.logits(found) - logits.numpy()).max() <= 1e-3


def torch_forward(torch: Any, weights: lite0.Weights, pixels: NDArray[np.uint8]) -> tuple[Any, Any]:
    """Return pooled and logits, layer by layer as the paper has them: batch norms not folded."""
    functional = torch.nn.functional
    tensors = {name: torch.tensor(array) for name, array in weights.items()}

    def convolve(x: Any, conv: str, norm: str, stride: int = 1, act: bool = True) -> Any:
        weight = tensors[f"{conv}.weight"]
        side, kernel = x.shape[-1], weight.shape[-1]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        x = functional.pad(x, (total // 2, total - total // 2) * 2)
        groups = x.shape[1] // weight.shape[1]
        x = functional.conv2d(x, weight, stride=stride, groups=groups)
        mean, variance = tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]
        gamma, beta = tensors[f"{norm}.weight"], tensors[f"{norm}.bias"]
        x = functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)
        return functional.relu6(x) if act else x

    # (blocks, kernel is in the weights, stride, expands): EfficientNet, table 1
    stages = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]
    strides = [s if n == 0 else 1 for blocks, s in stages for n in range(blocks)]
    x = (torch.tensor(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    x = convolve(x, "_conv_stem", "_bn0", 2)
    for index, stride in enumerate(strides):
        block = f"_blocks.{index}"
        y = x
        if index:
            y = convolve(y, f"{block}._expand_conv", f"{block}._bn0")
        y = convolve(y, f"{block}._depthwise_conv", f"{block}._bn1", stride)
        y = convolve(y, f"{block}._project_conv", f"{block}._bn2", act=False)
        x = x + y if x.shape == y.shape else y
    pooled = convolve(x, "_conv_head", "_bn1").mean(dim=(2, 3))
    return pooled, functional.linear(pooled, tensors["_fc.weight"], tensors["_fc.bias"])


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_it_sees_a_tench_in_photos_of_tenches(photos: Path, precision: str) -> None:
    folder = photos / "animals100/gallery/n01440764"
    encoder = load_encoder("lite0", precision)
    pixels = np.stack([encoder.preprocess(Image.open(p).convert("RGB")) for p in sorted(folder.iterdir())])
    logits = encoder.logits(encoder.encode(pixels).pooled)
    assert logits is not None
    assert (logits.argmax(axis=1) == 0).sum() >= 8  # class 0 of ImageNet; 10 photos
