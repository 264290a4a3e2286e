"""Run an ONNX model through ONNX Runtime."""

import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.encoders.base import Encoder, Features

_GPU_BATCH = 64


class OnnxEncoder(Encoder):
    """An ONNX model with the input pixels (n, side, side, 3) uint8 and the outputs map and pooled.

    One thread a call: whoever has many images calls from several threads at once, which keeps more
    cores busy than threads inside a call do, since those wait for each other at every layer.
    """

    def __init__(self, model: Callable[[], bytes], *, gpu: bool = True) -> None:
        """model: returns the serialised ONNX; called when the first image is encoded.

        gpu: whether to use one where ONNX Runtime has one; it then gets larger batches.
        """
        self._model = model
        self._gpu = gpu
        self._made: Any = None
        self._making = threading.Lock()

    @cached_property
    def _providers(self) -> list[Any]:
        import onnxruntime as ort

        # float32 as float32: TF32 would drop 13 bits of each factor
        cuda = [("CUDAExecutionProvider", {"use_tf32": 0})] if self._gpu else []
        available = ort.get_available_providers()
        return [*(each for each in cuda if each[0] in available), "CPUExecutionProvider"]

    @property
    def batch(self) -> int:
        """Images to encode at once: one, so that what lies between two layers stays in the core's cache; or many."""
        return 1 if self.single_threaded else _GPU_BATCH

    @property
    def single_threaded(self) -> bool:
        """See `Encoder.single_threaded`: without a GPU."""
        return len(self._providers) == 1

    @property
    def _session(self) -> Any:
        with self._making:
            if self._made is None:
                import onnxruntime as ort

                options = ort.SessionOptions()
                options.intra_op_num_threads = 1
                options.inter_op_num_threads = 1
                options.log_severity_level = 3
                self._made = ort.InferenceSession(self._model(), options, self._providers)
            return self._made

    def load(self) -> None:
        """See `Encoder.load`."""
        _ = self._session

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        """pixels: (n, side, side, 3) RGB."""
        (pooled,) = self._session.run(["pooled"], {"pixels": pixels})
        return Features(pooled)

    def feature_map(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """pixels: (n, side, side, 3) RGB. Returns (n, d, h, w), whose mean over positions is the pooled feature."""
        (maps,) = self._session.run(["map"], {"pixels": pixels})
        return np.asarray(maps)
