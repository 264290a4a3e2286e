"""A network as a chain of convolutions, and the ONNX graph that is written of one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET = 17
MICROSOFT = "com.microsoft"
"""ONNX Runtime's own operators."""


@dataclass(frozen=True)
class Layer:
    """A convolution with SAME padding, its batch norm folded in; then a ReLU6, or nothing, or an addition."""

    name: str
    weight: NDArray[np.float32]
    """(out, in / group, kernel, kernel)."""
    bias: NDArray[np.float32]
    """(out,)."""
    mean: NDArray[np.float64]
    """(out,) of the output before any ReLU6, over the images that the network was trained on: its batch norm's beta."""
    deviation: NDArray[np.float64]
    """(out,) standard deviation of the same: its batch norm's gamma."""
    side: int
    """Of the input, in positions."""
    stride: int = 1
    group: int = 1
    """1, or the number of channels: each is then convolved by itself."""
    relu6: bool = True
    adds: bool = False
    """Whether the output of the last layer without a ReLU6 is added."""

    @property
    def attributes(self) -> dict[str, Any]:
        """What ONNX's Conv and its kin want to know."""
        kernel = self.weight.shape[-1]
        return {
            "kernel_shape": [kernel, kernel],
            "pads": same_padding(self.side, kernel, self.stride),
            "strides": [self.stride, self.stride],
            "group": self.group,
        }


def in_squares(layer: Layer) -> Layer:
    """Return a layer of stride 2 as one of stride 1 that finds each square of 2 × 2 positions in its channels.

    They are, in order, the square's rows, columns and channels. For a layer that pads after its input only.
    """
    out, channels, kernel, _ = layer.weight.shape
    size = -(-kernel // 2)
    weight = np.zeros((out, channels, 2 * size, 2 * size), np.float32)
    weight[:, :, :kernel, :kernel] = layer.weight
    squares = weight.reshape(out, channels, size, 2, size, 2).transpose(0, 3, 5, 1, 2, 4)
    return replace(layer, weight=squares.reshape(out, 4 * channels, size, size), side=layer.side // 2, stride=1)


def same_padding(side: int, kernel: int, stride: int) -> list[int]:
    """Return TensorFlow's SAME padding as ONNX pads [top, left, bottom, right]: the odd one last."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return [total // 2, total // 2, total - total // 2, total - total // 2]


class Graph:
    """ONNX nodes and constants in the making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Keep an array under a name; return the name."""
        from onnx import numpy_helper

        array = np.array(values, dtype, order="C")
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append an operation; return the name of its output."""
        from onnx import helper

        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def finish(self, side: int, dimension: int) -> bytes:
        """Return the serialised model, after the head's output, named map (n, d, h, w), was pooled.

        Input: pixels (n, side, side, 3) uint8 RGB. Outputs, float32: map, pooled (n, d).
        """
        from onnx import TensorProto, checker, helper

        self.node("GlobalAveragePool", ["map"], "pool")
        self.node("Flatten", ["pool"], "pooled", axis=1)
        outputs: dict[str, list[str | int]] = {
            "map": ["n", dimension, "h", "w"],
            "pooled": ["n", dimension],
        }
        model = helper.make_model(
            helper.make_graph(
                self._nodes,
                "network",
                [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", side, side, 3])],
                [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
                list(self._constants.values()),
            ),
            producer_name="congener",
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
            ir_version=8,
        )
        checker.check_model(model)
        serialised: bytes = model.SerializeToString()
        return serialised
