import hashlib
import os
from pathlib import Path

import pytest

from congener.encoders.base import Preprocessing
from congener.errors import ImageError
from congener.reading import read_file

from .conftest import write


def status(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return write(tmp_path / "red.png", "red")


def test_a_file_gives_its_hash_and_its_pixels(red: Path) -> None:
    content, pixels = read_file(str(red), status(red), 8, Preprocessing(8, 8), ask=lambda content: False)
    assert content == hashlib.sha256(red.read_bytes()).digest()
    assert pixels is not None
    assert pixels.shape == (8, 8, 3)
    assert (pixels == (255, 0, 0)).all()


def test_what_is_known_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "no picture.png"
    path.write_bytes(b"known")
    asked: list[bytes] = []

    def ask(content: bytes) -> bool:
        asked.append(content)
        return True

    assert read_file(str(path), (0, 0), 8, Preprocessing(8, 8), ask=ask) == (asked[0], None)
    assert asked == [hashlib.sha256(b"known").digest()]


def test_what_has_changed_or_is_gone_is_said(red: Path) -> None:
    before = status(red)
    os.utime(red, (1, 1))
    with pytest.raises(ImageError, match="changed while it was read"):
        read_file(str(red), before, 8, Preprocessing(8, 8), ask=lambda content: False)
    red.unlink()
    with pytest.raises(ImageError, match="No such file"):
        read_file(str(red), before, 8, Preprocessing(8, 8), ask=lambda content: False)
