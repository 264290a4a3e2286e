"""Write a network as a float32 ONNX graph."""

from collections.abc import Sequence

import numpy as np

from congener.encoders.layers import Graph, Layer


def float32_graph(layers: Sequence[Layer]) -> bytes:
    """Return the serialised model: see `Graph.finish`. The first layer takes (x - 127) / 128 of the pixels."""
    from onnx import TensorProto

    graph = Graph()
    graph.constant("zero", 0), graph.constant("six", 6), graph.constant("mean", [127])
    graph.node("Transpose", ["pixels"], "planes", perm=[0, 3, 1, 2])
    graph.node("Cast", ["planes"], "float", to=TensorProto.FLOAT)
    x = last = graph.node("Sub", ["float", "mean"], "image")
    for number, layer in enumerate(layers):
        # / 128 is drawn into the first weights; a power of two, so that not a bit of the result changes
        weight = layer.weight / np.float32(1 if number else 128)
        inputs = [x, graph.constant(f"{layer.name}.weight", weight), graph.constant(f"{layer.name}.bias", layer.bias)]
        x = graph.node("Conv", inputs, layer.name, **layer.attributes)
        if layer.relu6:
            x = graph.node("Clip", [x, "zero", "six"], f"{layer.name}.relu6")
            continue
        if layer.adds:
            x = graph.node("Add", [last, x], f"{layer.name}.sum")
        last = x
    graph.node("Identity", [x], "map")
    return graph.finish(layers[0].side, len(layers[-1].weight))
