"""The same digits whichever way BLAS multiplies: for other processors it has other kernels, which add up otherwise."""

import json
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = "the processor's own"
KERNELS = ["Prescott", "Haswell"]
"""Of OpenBLAS: without and with AVX2. A processor's own is another from AVX-512 on."""


def child(kernel: str, *command: str) -> str:
    """Run Python with a kernel of OpenBLAS; return what it prints."""
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernel} if kernel != OWN else dict(os.environ)
    program = [sys.executable, *command]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def digits(kernel: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(child(kernel, "-m", "tests.indexes.branches"))
    return found


def avx2() -> bool:
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx2" in flags.read_text()


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> str:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("kernels are chosen by name on x86-64 only")
    if request.param == "Haswell" and not avx2():
        pytest.skip("this processor has no AVX2")
    return str(request.param)


def test_every_way_to_a_score_gives_the_same_digits_under_another_kernel(kernel: str) -> None:
    assert digits(kernel)["digest"] == digits(OWN)["digest"]


def test_the_kernels_that_are_tried_are_two() -> None:
    """Or the test above would compare one with itself."""
    if platform.machine() not in ("x86_64", "AMD64") or not digits(OWN)["kernels"]:
        pytest.skip("kernels are chosen by name on x86-64 only, and told by threadpoolctl of OpenBLAS")
    assert len({str(digits(kernel)["kernels"]) for kernel in [OWN, *KERNELS[: 1 + avx2()]]}) > 1


def test_the_tests_of_determinism_pass_under_another_kernel(kernel: str) -> None:
    child(
        kernel, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_determinism.py", "-k", "before or workers"
    )
