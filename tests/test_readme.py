"""What the README shows runs as it stands there; its two set-up commands are run by .ci/run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from congener.cabinet import KINDS, paint

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line.startswith("congener ")
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, cabinet: Path) -> Path:
    """A folder that looks as `congener demo` leaves it, with fewer specimens."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(cabinet, folder / "congener-demo/cabinet")
    for kind in KINDS:
        paint(kind.name, 101).save(folder / f"congener-demo/{kind.name}.jpg")
    return folder


def run(code: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path}
    done = subprocess.run(code, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(demo: Path, command: str) -> None:
    assert run(["sh", "-c", command], demo)


def test_the_python_runs(demo: Path) -> None:
    code = "".join(block for kind, block in BLOCKS if kind == "python")
    out = run([sys.executable, "-c", f"{code}\nassert len(images) == 10"], demo)
    assert out.splitlines()[0].split()[2:] == ["Rose", "chafer", out.split()[4]]
    assert len(out.splitlines()) == 10


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
