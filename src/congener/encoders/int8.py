"""Write a network as an ONNX graph of 8-bit integers, without looking at a single image.

Weights become 7-bit integers with a scale for each output channel, activations 8-bit ones. How far activations reach
is known from the batch norms: they say the mean and the deviation of each channel over all the images that the
network was trained on. (M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019: sections 4.2.1 for ranges, 4.1 for a scale of each channel, 4.2 for the correction of biases.)

7 bits for weights, since processors without VNNI add two products of 8 bits in 16, which 8-bit weights overflow.
So the same integers come out everywhere, and a gallery can move from one processor to another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.encoders.layers import MICROSOFT, Graph, Layer, in_squares

Vector = NDArray[np.float64]

_DEVIATIONS = 6
"""From the mean to the end of a range. Measured on photos of two sets: 4 clip too much, 8 are too coarse."""
_LARGEST_WEIGHT = 63
_LARGEST_BIAS = 2.0**28
_SMALLEST_CEILING = 0.06  # of a channel that hardly ever exceeds 0


@dataclass(frozen=True)
class _Activation:
    """What the integers of a tensor mean: value = spread * scale * (integer - zero) + offset."""

    name: str
    scale: float
    zero: int
    spread: Vector
    """(channels,)."""
    offset: Vector
    """(channels,)."""
    mean: Vector
    """(channels,) expected value."""
    deviation: Vector
    """(channels,) of a sum of layers; only where there is no ReLU6."""

    def declared(self, graph: Graph) -> list[str]:
        """Return the names of scale and zero point as constants of the graph."""
        scale = graph.constant(f"{self.name}.scale", self.scale)
        return [scale, graph.constant(f"{self.name}.zero", self.zero, np.uint8)]


def int8_graph(layers: Sequence[Layer]) -> bytes:
    """Return the serialised model: see `Graph.finish`. The first layer takes (x - 127) / 128 of the pixels."""
    graph = Graph()
    squares = _squares(graph, layers[0].side)
    none, one = np.zeros(12), np.ones(12)
    x = last = _Activation(squares, 1 / 128, 127, one, none, none, none)  # as they are, not a bit is lost
    for layer, following in zip([in_squares(layers[0]), *layers[1:]], [*layers[1:], None], strict=True):
        if layer.relu6:
            # who reads each channel by itself takes any scale for each
            alone = following is None or following.group > 1
            x = _convolve(graph, layer, x, _after_relu6(layer, alone))
            continue
        x = _convolve(graph, layer, x, _linear(layer.name, layer.mean, layer.deviation))
        last = _add(graph, layer.name, last, x) if layer.adds else x
        x = last
    scales = graph.constant("map.scale", x.spread * x.scale)
    zeros = graph.constant("map.zero", np.full(len(x.spread), x.zero), np.uint8)
    graph.node("Transpose", [x.name], "planes", perm=[0, 3, 1, 2])
    graph.node("DequantizeLinear", ["planes", scales, zeros], "map", axis=1)
    return graph.finish(layers[0].side, len(layers[-1].weight))


def _squares(graph: Graph, side: int) -> str:
    """Append what lays each square of 2 × 2 pixels into one position: see `in_squares`.

    Twelve channels are gathered sooner than three, for the same sums: .03 of 2.05 ms an image.
    """
    half = side // 2
    cut = graph.constant("squares.cut", [0, half, 2, half, 6], np.int64)
    whole = graph.constant("squares.whole", [0, half, half, 12], np.int64)
    rows = graph.node("Reshape", ["pixels", cut], "squares.rows")
    columns = graph.node("Transpose", [rows], "squares.columns", perm=[0, 1, 3, 2, 4])
    return graph.node("Reshape", [columns, whole], "squares")


def _after_relu6(layer: Layer, alone: bool) -> _Activation:
    """Return what the integers of a layer's output mean; alone: with a scale for each channel."""
    ceiling = np.clip(layer.mean + _DEVIATIONS * layer.deviation, _SMALLEST_CEILING, 6)
    spread = ceiling if alone else np.full_like(ceiling, ceiling.max())
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / 501) for i in range(501)])
    values = layer.mean[:, None] + layer.deviation[:, None] * quantiles
    mean = np.clip(values, 0, spread[:, None]).mean(axis=1)
    return _Activation(layer.name, 1 / 255, 0, spread, np.zeros_like(spread), mean, layer.deviation)


def _linear(name: str, mean: Vector, deviation: Vector) -> _Activation:
    """Return what the integers of a tensor without a ReLU6 mean: each channel's mean is in the middle."""
    scale = _DEVIATIONS * float(deviation.max()) / 127
    return _Activation(name, scale, 128, np.ones_like(mean), mean, mean, deviation)


def _convolve(graph: Graph, layer: Layer, x: _Activation, y: _Activation) -> _Activation:
    """Append a layer that takes x to y, with the scale and offset of each channel drawn into its weights."""
    weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
    if layer.group > 1:
        weight = weight * x.spread[:, None, None, None]
        expected = x.mean / x.spread
    else:
        if x.offset.any():  # only where no padding, which is 0, comes between
            assert weight.shape[-1] == 1
            bias = bias + weight[:, :, 0, 0] @ x.offset
        weight = weight * x.spread[:, None, None]
        expected = (x.mean - x.offset) / x.spread
    weight, bias = weight / y.spread[:, None, None, None], (bias - y.offset) / y.spread
    largest = np.abs(weight).max(axis=(1, 2, 3))
    scale = np.maximum(largest / _LARGEST_WEIGHT, np.abs(bias) / (x.scale * _LARGEST_BIAS))
    rounded = np.rint(weight / scale[:, None, None, None])
    error = (rounded * scale[:, None, None, None] - weight).sum(axis=(2, 3))  # (out, in / group)
    bias = bias - (error[:, 0] * expected if layer.group > 1 else error @ expected)
    inputs = [
        x.name,
        *x.declared(graph),
        graph.constant(f"{layer.name}.weight", rounded, np.int8),
        graph.constant(f"{layer.name}.weight.scale", scale),
        graph.constant(f"{layer.name}.weight.zero", np.zeros(len(scale)), np.int8),
        *y.declared(graph),
        graph.constant(f"{layer.name}.bias", np.rint(bias / (x.scale * scale)), np.int32),
    ]
    attributes: dict[str, Any] = layer.attributes
    graph.node("QLinearConv", inputs, y.name, domain=MICROSOFT, channels_last=1, **attributes)
    return y


def _add(graph: Graph, name: str, a: _Activation, b: _Activation) -> _Activation:
    """Append the sum of two tensors without a ReLU6."""
    deviation = np.sqrt(a.deviation**2 + b.deviation**2)
    total = _linear(f"{name}.sum", a.mean + b.mean, deviation)
    inputs = [part for x in (a, b, total) for part in (x.name, *x.declared(graph))]
    graph.node("QLinearAdd", inputs[:-3] + inputs[-2:], total.name, domain=MICROSOFT)
    return total
