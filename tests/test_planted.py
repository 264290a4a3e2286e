"""Faults are planted in a copy of the tree: for each, a test that is named turns red, and says why.

A patch in `faults/planted` begins with the tests that must fail, then with what they must say; a fault that goes unseen
is a missing test. Whoever moves the code moves the patch: one that no longer applies is red.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PATCHES = sorted((ROOT / "tests/faults/planted").glob("*.patch"))

git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git, which applies patches anywhere")


@dataclass(frozen=True)
class Fault:
    """A patch."""

    path: Path
    tests: list[str]
    """Their ids, one of which at least must fail."""
    says: re.Pattern[str]
    """What is found in pytest's report then."""

    @classmethod
    def read(cls, path: Path) -> "Fault":
        first, second, *_ = path.read_text(encoding="utf-8").splitlines()
        assert first.startswith("tests: "), path
        assert second.startswith("says: "), path
        return cls(path, first.split()[1:], re.compile(second.partition(" ")[2]))

    def apply(self, tree: Path, *options: str) -> None:
        """Apply the patch to a tree; fail where that can't be."""
        environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tree.parent)}
        command = ["git", "apply", *options, str(self.path)]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{self.path.name} no longer applies: move it with the code\n{done.stderr}"


FAULTS = [Fault.read(path) for path in PATCHES]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree."""
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def run(tree: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests of a tree."""
    paths = [str(tree / "src"), str(tree), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_there_are_enough() -> None:
    assert len(FAULTS) >= 12


@git
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.path.stem)
def test_a_patch_applies(fault: Fault) -> None:
    fault.apply(ROOT, "--check")
    for test in fault.tests:
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(encoding="utf-8"), f"there is no {test}"


@git
@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.path.stem)
def test_a_planted_fault_is_seen(tree: Path, fault: Fault) -> None:
    fault.apply(tree)
    done = run(tree, *fault.tests)
    failed = [line.split(" - ")[0].removeprefix("FAILED ") for line in done.stdout.splitlines() if "FAILED " in line]
    assert done.returncode == 1, f"nobody sees it:\n{done.stdout[-3000:]}"
    assert any(test in name for name in failed for test in fault.tests), done.stdout[-3000:]
    assert "\nERROR " not in done.stdout, done.stdout[-3000:]
    assert fault.says.search(done.stdout), f"it fails for another reason:\n{done.stdout[-5000:]}"


@pytest.mark.long
def test_without_a_fault_all_of_these_tests_are_green(tree: Path) -> None:
    done = run(tree, *sorted({test for fault in FAULTS for test in fault.tests}))
    assert done.returncode == 0, done.stdout[-3000:]
