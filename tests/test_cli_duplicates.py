import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from congener.duplicates.fingerprint import apart, read

from . import test_cli
from .conftest import write
from .test_cli import Run

run = test_cli.run  # the fixture


@pytest.fixture
def twice(colours: Path) -> Path:
    """The five pictures, one of them with a copy, another with a smaller version."""
    shutil.copy(colours / "warm/red.png", colours / "warm/red again.png")
    blue = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    blue.resize((80, 64), Image.Resampling.BICUBIC).save(colours / "cold/blue.png")
    blue.resize((60, 48), Image.Resampling.BICUBIC).save(colours / "cold/blue small.png")
    return colours


def test_groups_for_people(run: Run, twice: Path) -> None:
    done = run("duplicates", twice)
    assert (done.code, done.err) == (0, "")
    one, other = (read(str(twice / "cold" / name))[3] for name in ("blue.png", "blue small.png"))
    bits = int(apart(one, other))
    assert 0 < bits < 40
    red, blue, small = ((twice / f"{name}.png").stat().st_size for name in ("warm/red", "cold/blue", "cold/blue small"))
    assert done.lines == [
        "group\tkind\tbits\tsize\tbytes\tpath",
        f"1\tcopies\t0\t12 × 12\t{red}\twarm/red.png",
        f"1\tcopies\t0\t12 × 12\t{red}\twarm/red again.png",
        f"2\tnear\t0\t80 × 64\t{blue:,}\tcold/blue.png",
        f"2\tnear\t{bits}\t60 × 48\t{small:,}\tcold/blue small.png",
        "7 images = 5 distinct + 1 exact copies + 1 near ones + 0 links + 0 skipped",
        f"2 groups; {(red + small) / 1000:.1f} kB could be saved",
    ]


def test_groups_as_json(run: Run, twice: Path) -> None:
    found = run("duplicates", twice, "--threshold", 12, "--json").json
    assert found.keys() == {
        *("images", "distinct", "copies", "near", "marked", "links", "bytes", "threshold", "groups", "skipped"),
        *("seconds", "label_table"),
    }
    assert (found["images"], found["copies"], found["near"], found["threshold"]) == (7, 1, 1, 12)
    assert [group["kind"] for group in found["groups"]] == ["copies", "near"]
    first = found["groups"][0]["images"][0]
    size = (twice / "warm/red.png").stat().st_size
    assert first.pop("id") >= 1
    assert (first.pop("link"), first.pop("marked")) == (None, False)
    assert first == {"path": "warm/red.png", "label": "warm", "bytes": size, "width": 12, "height": 12, "distance": 0}


def test_nothing_twice(run: Run, colours: Path) -> None:
    done = run("duplicates", colours)
    assert done.lines == [
        "5 images = 5 distinct + 0 exact copies + 0 near ones + 0 links + 0 skipped",
        "0 groups; 0 bytes could be saved",
    ]


def test_it_deletes_nothing_and_keeps_the_gallery_elsewhere_if_asked(run: Run, twice: Path, tmp_path: Path) -> None:
    before = sorted(twice.rglob("*"))
    assert run("duplicates", twice, "--gallery", tmp_path / "elsewhere").code == 0
    assert sorted(twice.rglob("*")) == before
    assert (tmp_path / "elsewhere").is_dir()


def test_names_are_escaped_for_a_terminal(run: Run, twice: Path) -> None:
    (twice / "warm/red again.png").rename(twice / "warm/red \x1b[2J.png")
    assert "warm/red \\x1b[2J.png" in run("duplicates", twice).out.decode()


def test_a_file_that_goes_meanwhile_is_told(run: Run, twice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("index", twice).code == 0
    (twice / "warm/red.png").unlink()
    monkeypatch.setattr(sys.modules["congener.cli.duplicates"], "update_first", lambda gallery: None)
    done = run("duplicates", twice)
    assert done.code == 0
    assert done.err == "congener: skipped warm/red.png: can't be read: No such file or directory\n"
    assert done.lines[-2] == "7 images = 5 distinct + 0 exact copies + 1 near ones + 0 links + 1 skipped"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--threshold", "257"), "threshold must be from 0 to 256 of 512 bits, not 257"),
        (("--threshold", "-1"), "threshold must be from 0 to 256"),
        (("--threshold", "few"), "'few' is not a valid integer"),
    ],
)
def test_mistakes_are_one_line(run: Run, colours: Path, words: tuple[str, ...], told: str) -> None:
    done = run("duplicates", colours, *words)
    assert (done.code, done.out) == (2, b"")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert not (colours / ".congener").exists()  # nothing was indexed for it


def test_a_folder_without_images_is_told(run: Run, tmp_path: Path) -> None:
    done = run("duplicates", tmp_path)
    assert done.code == 2
    assert "nothing to search" in done.err


def test_sizes_are_readable(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.png", "red")
    with (tmp_path / "a.png").open("ab") as file:
        file.write(bytes(1_234_567))  # behind the picture's end
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    assert run("duplicates", tmp_path).lines[-1] == "1 group; 1.2 MB could be saved"
