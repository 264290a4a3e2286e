"""Where ONNX Runtime has a GPU, and where it hasn't."""

from typing import Any

import numpy as np
import pytest

from congener import load_encoder


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for an ONNX Runtime with CUDA: note what sessions are made with, run on the CPU."""
    import onnxruntime as ort

    used: list[Any] = []
    make = ort.InferenceSession

    def session(model: bytes, options: Any, wanted: list[Any]) -> Any:
        used.extend(wanted)
        return make(model, options, wanted[-1:])

    monkeypatch.setattr(ort, "InferenceSession", session)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    return used


def test_float32_takes_the_gpu_and_larger_batches(providers: list[Any]) -> None:
    encoder = load_encoder("lite0", "float32")
    encoder.encode(np.zeros((1, 224, 224, 3), np.uint8))
    assert providers == [("CUDAExecutionProvider", {"use_tf32": 0}), "CPUExecutionProvider"]
    assert encoder.batch == 64


def test_integers_stay_on_the_cpu(providers: list[Any]) -> None:
    encoder = load_encoder("lite0", "int8")
    encoder.encode(np.zeros((1, 224, 224, 3), np.uint8))
    assert providers == ["CPUExecutionProvider"]
    assert encoder.batch == 1
