from pathlib import Path

import pytest

from congener.encoders.cache import cached_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "models"))
    return tmp_path / "models"


def test_a_model_is_built_once(folder: Path) -> None:
    built: list[int] = []

    def build() -> bytes:
        built.append(1)
        return b"model"

    assert [cached_model("net", build) for _ in range(2)] == [b"model", b"model"]
    assert len(built) == 1
    assert len(list(folder.iterdir())) == 1  # and no temporary file stays


def test_a_damaged_model_is_built_anew(folder: Path) -> None:
    cached_model("net", lambda: b"model")
    (path,) = folder.iterdir()
    path.write_bytes(b"modem")
    assert cached_model("net", lambda: b"model") == b"model"
    assert path.read_bytes() == b"model"


def test_a_folder_that_cannot_be_made_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "file" / "models"))
    assert cached_model("net", lambda: b"model") == b"model"
