"""No command writes over what is its user's; what it writes in the gallery's folder is never found there."""

import os
from pathlib import Path

import pytest
from PIL import Image

from congener.marks import DEMO_SHEET, HEAT, REPORT, SHEET, SPECIMEN
from congener.outputs import made_by

from . import test_cli
from .conftest import write
from .test_cli import Run

run = test_cli.run  # the fixture


def words(folder: Path, output: str, place: Path) -> list[object]:
    """Return a command that writes an output at a place."""
    query, other = folder / "warm/red.png", folder / "cold/blue.png"
    return {
        "--sheet": ["search", query, "--in", folder, "--sheet", place],
        "--out": ["explain", query, other, "--out", place],
        "--report": ["evaluate", folder, "--report", place],
    }[output]


OUTPUTS = {"--sheet": SHEET, "--out": HEAT, "--report": REPORT}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("victim", ["warm/red.png", "warm/orange.png", "labels.csv", "label_names.csv", "notes.html"])
def test_what_is_the_user_s_is_not_written_over(run: Run, colours: Path, output: str, victim: str) -> None:
    (colours / "labels.csv").write_text("path,label\nwarm/red.png,warm\n")
    (colours / "label_names.csv").write_text("label,name\nwarm,Warm\n")
    (colours / "notes.html").write_text("<html>mine</html>")
    before = (colours / victim).read_bytes()
    done = run(*words(colours, output, colours / victim))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "can't write" in done.err
    assert (colours / victim).read_bytes() == before
    assert not (colours / ".congener").exists()  # told before the work


@pytest.mark.parametrize(("output", "mark"), OUTPUTS.items())
def test_an_earlier_output_is_written_over_and_another_s_only_with_force(
    run: Run, colours: Path, tmp_path: Path, output: str, mark: str
) -> None:
    place = tmp_path / ("a.html" if output == "--report" else "a.png")
    for _ in range(2):
        assert run(*words(colours, output, place)).code == 0
        assert made_by(place) == mark
    place.write_bytes((colours / "warm/red.png").read_bytes())
    assert run(*words(colours, output, place)).code == 2
    assert made_by(place) is None
    assert run(*words(colours, output, place), "--force").code == 0
    assert made_by(place) == mark


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "gif", "avif"])
def test_an_answer_in_the_gallery_s_folder_is_not_found_there(run: Run, colours: Path, suffix: str) -> None:
    query = colours / "warm/red.png"
    sheet, heat = colours / f"answer.{suffix}", colours / f"why.{suffix}"
    for _ in range(2):
        assert run(*words(colours, "--sheet", sheet)).code == 0
        assert run(*words(colours, "--out", heat)).code == 0
    report = run("index", colours, "--json").json
    assert (report["found"], report["images"], report["skipped"]) == (5, 5, [])
    assert report["passed_over"] == {
        "output of congener search --sheet": 1,
        "output of congener explain --out": 1,
    }
    done = run("search", query, "--in", colours, "--paths")
    assert (done.err, len(done.lines)) == ("", 4)
    assert "1 × output of congener search --sheet" in run("index", colours).out.decode()
    assert run("search", sheet, "--in", colours, "--paths").lines  # it may ask


def test_an_answer_in_the_place_of_an_image_takes_it_out_of_the_gallery(run: Run, colours: Path) -> None:
    run("index", colours)
    place = colours / "warm/orange.png"
    assert run(*words(colours, "--sheet", place), "--force").code == 0
    assert made_by(place) == SHEET
    assert run("index", colours, "--json").json["images"] == 4


@pytest.mark.parametrize("place", [".", "hits", "warm/hits", "../link/hits", "../linked/hits"])
def test_copies_do_not_go_into_a_folder_that_is_searched(run: Run, colours: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(colours)
    (tmp_path / "linked").mkdir()
    (colours / "more").symlink_to(tmp_path / "linked")
    write(tmp_path / "second/lime.png", "lime")
    before = sorted(colours.rglob("*"))
    for force in ([], ["--force"]):
        done = run(
            *("search", colours / "warm/red.png", "--in", tmp_path / "second", "--in", colours),
            *("--copy-to", colours / place, *force),
        )
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "would be found next time" in done.err
    assert sorted(colours.rglob("*")) == before


def test_copies_go_over_nothing_without_force(run: Run, colours: Path, tmp_path: Path) -> None:
    words = ("search", colours / "warm/red.png", "--in", colours, "-k", 1, "--copy-to", tmp_path / "hits")
    assert run(*words).code == 0
    copy = tmp_path / "hits/01-orange.png"
    copy.write_text("mine")
    assert run(*words).code == 2
    assert copy.read_text() == "mine"
    assert run(*words, "--force").code == 0
    assert copy.read_bytes() == (colours / "warm/orange.png").read_bytes()
    copy.unlink()
    os.link(colours / "warm/orange.png", copy)
    assert run(*words).code == 0


def test_the_demo_paints_over_nothing_of_the_user_s(run: Run, tmp_path: Path, few_kinds: str) -> None:
    mine = {name: write(tmp_path / name, "red").read_bytes() for name in (f"{few_kinds}.jpg", "sheet.png")}
    for name, contents in mine.items():
        done = run("demo", tmp_path)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"{name}: it is there already, and isn't an earlier output of congener demo" in done.err
        assert (tmp_path / name).read_bytes() == contents
        assert not (tmp_path / "cabinet").exists()
        (tmp_path / name).unlink()
    for name, contents in mine.items():
        (tmp_path / name).write_bytes(contents)
    assert run("demo", tmp_path, "--force").code == 0
    assert made_by(tmp_path / f"{few_kinds}.jpg") == SPECIMEN
    assert run("demo", tmp_path).code == 0
    assert made_by(tmp_path / "sheet.png") == DEMO_SHEET


def test_the_demo_is_not_painted_among_other_things(run: Run, tmp_path: Path, few_kinds: str) -> None:
    picture = write(tmp_path / "cabinet/mine.png", "red")
    (tmp_path / "cabinet/label_names.csv").write_text("label,name\nrose,Rose\n")
    done = run("demo", tmp_path)
    assert done.code == 2
    assert "isn't the demo's" in done.err
    assert sorted(path.name for path in picture.parent.iterdir()) == ["label_names.csv", "mine.png"]
    done = run("demo", picture)
    assert (done.code, done.err.count("\n")) == (2, 1)
    with Image.open(picture) as kept:
        assert kept.size == (12, 12)
    assert few_kinds
