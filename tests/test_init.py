import subprocess
import sys

import pytest

import congener


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


HEAVY = {"numpy", "PIL", "onnx", "onnxruntime", "rich", "torch", "sqlite3"}


def test_import_is_free() -> None:
    assert not modules_after("import congener") & (HEAVY | {"click"})


def test_help_loads_nothing_heavy() -> None:
    code = "from congener.cli import cli\ncli.main(['--help'], standalone_mode=False)"
    assert not modules_after(code) & HEAVY


def test_a_search_does_not_load_what_only_builds_the_model() -> None:
    code = "import congener.gallery, congener.encoders.lite0, congener.encoders.onnx"
    assert "onnx" not in modules_after(code)


def test_every_public_name_resolves() -> None:
    for name in congener.__all__:
        assert getattr(congener, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        congener.nothing  # noqa: B018
