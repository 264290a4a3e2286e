"""The versions of what is depended on: as declared, as pinned, and the newest of everything."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
OFFLINE = ("error sending request", "dns error", "could not connect", "failed to fetch", "timed out", "network")


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    return [Requirement(text) for text in [*project["dependencies"], *extras] if not text.startswith("congener")]


def pinned(file: str) -> dict[str, str]:
    lines = [line.split(";")[0].rstrip(" \\") for line in (ROOT / file).read_text().splitlines() if "==" in line]
    return dict(line.split("==") for line in lines if line[0].isalnum())


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_each_requirement_says_its_least_version_and_holds_for_what_the_tests_ran_with(
    requirement: Requirement,
) -> None:
    assert any(each.operator in (">=", "==") for each in requirement.specifier)
    version = pinned("constraints.txt")[requirement.name.replace("_", "-").lower()]
    assert requirement.specifier.contains(version)


def test_what_is_installed_by_hash_is_what_is_pinned() -> None:
    constraints = pinned("constraints.txt")
    assert {name: constraints.get(name) for name in pinned("requirements.txt")} == pinned("requirements.txt")


@pytest.mark.long
def test_the_newest_of_everything_passes_the_subset(tmp_path: Path) -> None:
    """What others release must not stop a landing, so this isn't part of what each change runs."""
    if importlib.util.find_spec("uv") is None:
        pytest.skip("needs uv: pip install uv")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "newest"], check=True)
    python = str(tmp_path / "newest/bin/python")
    install = [sys.executable, "-m", "uv", "pip", "install", "-q", "--upgrade", "--python", python, f"{ROOT}[test]"]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode and any(word in installed.stderr.lower() for word in OFFLINE):
        pytest.skip(f"no package index within reach: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    environment = {**os.environ, "PYTHONPATH": ""}
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "@.ci/subset"]
    done = subprocess.run(tests, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
