"""What several test files share: a fake encoder, pictures of one colour, the real photos."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from congener.encoders import Encoder, Features, Identity
from congener.workers import Workers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the browser's tests come first: beside a process that has run all others, it may draw no frames."""
    items.sort(key=lambda item: "browser" not in item.path.parts)


class MeanColour(Encoder):
    """Its feature is the mean colour (red, green, blue), each 0 to 1: computed in one's head."""

    identity = Identity("mean-colour", "0" * 64, "none", "float32", 3)
    input_side = 8
    resized_side = 8

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        self.encoded += len(pixels)
        return Features((pixels.mean(axis=(1, 2)) / 255).astype(np.float32))


@pytest.fixture
def encoder() -> MeanColour:
    return MeanColour()


def plain(colour: str | tuple[int, int, int], size: tuple[int, int] = (12, 12)) -> Image.Image:
    """Return a picture of one colour."""
    return Image.new("RGB", size, colour)


def write(path: Path, colour: str | tuple[int, int, int]) -> Path:
    """Write a picture of one colour; PNG, so that the colour is exact."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain(colour).save(path, "PNG")
    return path


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A folder of five pictures in three kinds."""
    folder = tmp_path / "colours"
    write(folder / "warm/red.png", "red")
    write(folder / "warm/orange.png", (255, 128, 0))
    write(folder / "cold/blue.png", "blue")
    write(folder / "cold/cyan.png", "cyan")
    write(folder / "green.png", "lime")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Have Ctrl-C reach what tests start, though they run in a background where a shell has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Build models into a folder of the test run's own, not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONGENER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class _Shared(Workers):
    """Workers that go on from one update to the next: to start them takes longer than most tests."""

    def pair(self) -> None:
        """Keep none for a thread of one update."""

    def close(self) -> None:
        """Stay: `end` closes them."""

    def end(self) -> None:
        """Close them."""
        super().close()


@pytest.fixture(scope="session")
def _shared_workers() -> Iterator[_Shared]:
    workers = _Shared()
    yield workers
    workers.end()


@pytest.fixture(autouse=True)
def _few_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _shared_workers: _Shared) -> None:
    """Have updates share their workers, but for tests that are marked with own_workers."""
    if request.node.get_closest_marker("own_workers") is None:
        monkeypatch.setattr("congener.update.Workers", lambda *_, **__: _shared_workers)


@pytest.fixture(scope="session")
def cabinet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Painted specimens, four of each kind."""
    from congener.cabinet import paint_cabinet

    folder = tmp_path_factory.mktemp("painted") / "cabinet"
    paint_cabinet(folder, specimens=4)
    return folder


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos; tests that need it are skipped where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("CONGENER_DATA") or root.parent / "shared" / "data")
    if not (folder / "animals100").is_dir():
        pytest.skip(f"no photos at {folder}: set CONGENER_DATA to the folder that holds animals100")
    return folder


@pytest.fixture
def few_kinds(monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the demo paint one kind only, plain and soon; return its name."""
    from congener import cabinet

    monkeypatch.setattr(cabinet, "KINDS", cabinet.KINDS[:1])
    monkeypatch.setattr(cabinet, "paint", lambda _, specimen: plain((specimen, 2 * specimen, 9)))
    return cabinet.KINDS[0].name
