import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from congener.preprocessing import Preprocessing
from congener.reading import ACCESS, CHANCE, CONTENTS, File, Outcome, read_files
from congener.stamp import Stamp
from congener.workers import Workers

from . import light
from .conftest import write

SMALL = Preprocessing(8, 8)


def found(path: Path) -> File:
    return str(path), Stamp.of(path.stat())


def unknown(contents: list[bytes]) -> list[bool]:
    return [False] * len(contents)


def as_it_is(pixels: object) -> object:
    return pixels


def read(path: Path, status: Stamp) -> Outcome:
    (outcome,), pixels = read_files([(str(path), status)], 8, SMALL, ask=unknown, lay=as_it_is)
    assert len(pixels) == outcome[1]
    return outcome


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return write(tmp_path / "red.png", "red")


def test_a_file_gives_its_hash_and_its_pixels(red: Path) -> None:
    outcomes, (pixels,) = read_files([found(red)], 8, SMALL, ask=unknown, lay=as_it_is)
    assert outcomes == [(hashlib.sha256(red.read_bytes()).digest(), True, None, "")]
    assert isinstance(pixels, Image.Image)
    assert (np.asarray(pixels) == np.full((8, 8, 3), (255, 0, 0))).all()


def test_what_is_known_is_not_decoded(red: Path, tmp_path: Path) -> None:
    other = tmp_path / "no picture.png"
    other.write_bytes(b"known")
    digests = [hashlib.sha256(each).digest() for each in (b"known", red.read_bytes())]
    asked: list[list[bytes]] = []

    def ask(contents: list[bytes]) -> list[bool]:
        asked.append(contents)
        return [True, False]

    outcomes, pixels = read_files([found(other), found(red)], 8, SMALL, ask=ask, lay=as_it_is)
    assert outcomes == [(digests[0], False, None, ""), (digests[1], True, None, "")]
    assert len(pixels) == 1
    assert asked == [digests]


def test_what_has_changed_or_is_gone_is_said(red: Path) -> None:
    _, before = found(red)
    os.utime(red, (1, 1))
    content = hashlib.sha256(red.read_bytes()).digest()
    assert read(red, before) == (content, False, "changed while it was read: run again", CHANCE)
    red.unlink()
    assert read(red, before) == (b"", False, "No such file or directory", ACCESS)


def test_one_that_fails_leaves_the_others(red: Path, tmp_path: Path) -> None:
    broken, gone = tmp_path / "broken.png", tmp_path / "gone.png"
    broken.write_bytes(b"no picture")
    files = [found(broken), (str(gone), Stamp(1, 1)), found(red)]
    outcomes, pixels = read_files(files, 8, SMALL, ask=unknown, lay=as_it_is)
    assert [problem is None for _, _, problem, _ in outcomes] == [False, False, True]
    assert [cause for *_, cause in outcomes] == [CONTENTS, ACCESS, ""]
    assert [is_decoded for _, is_decoded, *_ in outcomes] == [False, False, True]
    assert len(pixels) == 1


def test_a_process_that_reads_photos_imports_little(tmp_path: Path) -> None:
    """One is started for a single new photo, and what it imports is most of the time that this takes."""
    photo = write(tmp_path / "red.jpg", "red")
    with Workers(1) as workers:
        workers.call(read_files, [found(photo)], 8, SMALL, answer=unknown)
        loaded = workers.call(light.loaded, ["PIL", "numpy", "dataclasses", "pathlib"])
    assert loaded == ["PIL"]
