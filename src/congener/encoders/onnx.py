"""Run an ONNX model through ONNX Runtime."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.encoders.base import Encoder, Features


class OnnxEncoder(Encoder):
    """An ONNX model with the input pixels (n, side, side, 3) uint8 and the outputs map, pooled, logits.

    One thread a call: whoever has many images calls from several threads at once, which keeps more
    cores busy than threads inside a call do, since those wait for each other at every layer.
    """

    def __init__(self, model: bytes) -> None:
        """model: serialised ONNX."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = ort.InferenceSession(model, options, ["CPUExecutionProvider"])

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        """pixels: (n, side, side, 3) RGB."""
        pooled, logits = self._session.run(["pooled", "logits"], {"pixels": pixels})
        return Features(pooled, logits)

    def feature_map(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """pixels: (n, side, side, 3) RGB. Returns (n, d, h, w), whose mean over positions is the pooled feature."""
        (maps,) = self._session.run(["map"], {"pixels": pixels})
        return np.asarray(maps)
