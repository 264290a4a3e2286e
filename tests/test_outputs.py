import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

from congener.errors import ChangedError, CongenerError
from congener.marks import HEAT, REPORT, SHEET, generator, mark_of
from congener.outputs import Output, copy, made_by, within

from .conftest import plain, write

EARLIER = "isn't an earlier output"


def page(text: str = "") -> str:
    return f"<!DOCTYPE html>\n<html><head>{generator(REPORT)}</head>{text}</html>"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tif", ".gif"])
def test_a_picture_is_written_in_the_format_of_its_suffix_and_over_its_like(tmp_path: Path, suffix: str) -> None:
    place = tmp_path / f"sheet{suffix}"
    for side in (12, 13):
        Output(place, SHEET).write_picture(plain("red", (side, side)))
        with Image.open(place) as picture:
            assert (picture.size, mark_of(picture)) == ((side, side), SHEET)
    with pytest.raises(CongenerError, match=EARLIER):
        Output(place, HEAT).write_picture(plain("blue"))
    assert list(tmp_path.iterdir()) == [place]


def test_a_page_is_written_over_its_like(tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    for text in ("one", "two"):
        Output(place, REPORT).write_page(page(text))
        assert place.read_text() == page(text)
    place.write_text("<html>mine</html>")
    with pytest.raises(CongenerError, match=EARLIER):
        Output(place, REPORT).write_page(page())
    with pytest.raises(CongenerError, match="a page"):
        Output(tmp_path / "report.jpg", REPORT).check()


Stranger = Callable[[Path], object]
STRANGERS: dict[str, Stranger] = {
    "a picture": lambda path: write(path, "red"),
    "a text": lambda path: path.write_text("mine"),
    "nothing yet": lambda path: path.touch(),
    "a link to a picture": lambda path: path.symlink_to(write(path.with_name("real"), "red")),
    "a hard link to a picture": lambda path: os.link(write(path.with_name("real"), "red"), path),
}


@pytest.mark.parametrize("name", ["sheet.png", "SHEET.PNG", "report.html"])
@pytest.mark.parametrize("make", STRANGERS.values(), ids=STRANGERS.keys())
def test_what_is_somebody_else_s_stays(tmp_path: Path, make: Stranger, name: str) -> None:
    place = tmp_path / name
    make(place)
    before = place.read_bytes()
    mark = REPORT if name.endswith("html") else SHEET

    def put(output: Output) -> None:
        output.write_page(page()) if mark == REPORT else output.write_picture(plain("blue"))

    with pytest.raises(CongenerError, match=EARLIER):
        Output(place, mark).check()
    with pytest.raises(CongenerError, match=EARLIER):
        put(Output(place, mark))
    assert place.read_bytes() == before
    put(Output(place, mark, force=True))
    assert made_by(place) == mark
    if (real := tmp_path / "real").exists():  # what a link led to isn't written through
        assert real.read_bytes() == before


def test_a_link_to_an_earlier_output_leads_on_to_it(tmp_path: Path) -> None:
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    Output(real, SHEET).write_picture(plain("red"))
    link.symlink_to(real)
    Output(link, SHEET).write_picture(plain("red", (13, 13)))
    assert link.is_symlink()
    with Image.open(real) as picture:
        assert picture.size == (13, 13)


def test_what_the_command_reads_stays_though_it_be_an_earlier_output(tmp_path: Path) -> None:
    place, other = tmp_path / "a.png", tmp_path / "b.png"
    Output(place, SHEET).write_picture(plain("red"))
    os.link(place, other)
    for asked in (place, other):
        with pytest.raises(CongenerError, match="what this command reads"):
            Output(place, SHEET, asked=[asked]).check()
    Output(place, SHEET, asked=[other], force=True).check()


def test_a_gallery_keeps_its_own_folder_and_its_label_tables(tmp_path: Path) -> None:
    folder, store = tmp_path / "photos", tmp_path / "photos" / "kept"
    store.mkdir(parents=True)
    place = partial(Output, folders=[folder], stores=[store])
    place(folder / "a.png", SHEET).check()
    for name in ("labels.csv", "label_names.csv", "Labels.csv"):
        with pytest.raises(CongenerError, match="labels are read"):
            place(folder / name, REPORT).check()
    for force in (False, True):
        with pytest.raises(CongenerError, match="the gallery itself"):
            place(store / "a.png", SHEET, force=force).check()
        with pytest.raises(CongenerError, match=r"\.bmp holds no mark"):
            place(folder / "a.bmp", SHEET, force=force).check()


def test_a_format_without_marks_is_refused_below_any_gallery(tmp_path: Path) -> None:
    (tmp_path / "photos/sub").mkdir(parents=True)
    Output(tmp_path / "photos/sub/a.bmp", SHEET).check()
    (tmp_path / "photos/.congener").mkdir()
    with pytest.raises(CongenerError, match=r"\.bmp holds no mark"):
        Output(tmp_path / "photos/sub/a.bmp", SHEET).check()
    Output(tmp_path / "photos/sub/a.png", SHEET).check()


def test_a_format_without_marks_is_written_once(tmp_path: Path) -> None:
    place = tmp_path / "a.bmp"
    Output(place, SHEET).write_picture(plain("red"))
    with pytest.raises(CongenerError, match=EARLIER):
        Output(place, SHEET).write_picture(plain("blue"))
    Output(place, SHEET, force=True).write_picture(plain("blue"))


@pytest.mark.parametrize("stage", ["save", "fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    place = tmp_path / "a.png"
    Output(place, SHEET).write_picture(plain("red"))
    before = place.read_bytes()

    def half(self: Image.Image, file: IO[bytes], *_: object, **__: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if stage == "save":
        monkeypatch.setattr(Image.Image, "save", half)
    else:
        monkeypatch.setattr(os, stage, fail)
    with pytest.raises(CongenerError, match=r"^can't write .*a.png: No space left on device$"):
        Output(place, SHEET).write_picture(plain("blue"))
    assert place.read_bytes() == before
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(
    "name", ["sheet.doc", "sheet", "none/sheet.png", "folder.png", "red.png/sheet.png", "a\0b.png", "x" * 300 + ".png"]
)
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    write(tmp_path / "red.png", "red")
    for force in (False, True):
        with pytest.raises(CongenerError, match=r"^can't write ") as caught:
            Output(tmp_path / name, SHEET, force=force).write_picture(plain("red"))
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "red.png"]


def test_a_copy_goes_over_nothing_else_and_through_no_link(tmp_path: Path) -> None:
    source, place = write(tmp_path / "red.png", "red"), tmp_path / "copy.png"
    os.utime(source, (1, 1))
    copy(source, place)
    assert (place.read_bytes(), place.stat().st_mtime) == (source.read_bytes(), 1)
    copy(source, place)
    place.unlink()
    place.symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(CongenerError, match="is there already and differs"):
        copy(source, place)
    assert not (tmp_path / "nowhere.png").exists()
    place.unlink()
    place.write_text("mine")
    with pytest.raises(CongenerError, match="--force"):
        copy(source, place)
    assert place.read_text() == "mine"
    copy(source, place, force=True)
    assert place.read_bytes() == source.read_bytes()


def test_a_copy_is_of_what_was_indexed_or_is_none(tmp_path: Path) -> None:
    source, place = write(tmp_path / "red.png", "red"), tmp_path / "copy.png"
    content = hashlib.sha256(source.read_bytes()).digest()
    copy(source, place, content=content)
    copy(source, place, content=content)
    before = place.read_bytes()
    write(source, "lime")
    for other in (place, tmp_path / "new.png"):
        with pytest.raises(ChangedError, match=r"red\.png: changed since it was indexed"):
            copy(source, other, content=content, force=True)
    write(place, "lime")
    with pytest.raises(ChangedError):
        copy(source, place, content=content)
    write(place, "red")
    assert place.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"red.png", "copy.png"}


def test_a_place_is_within_a_folder_by_whatever_name(tmp_path: Path) -> None:
    folder, other = tmp_path / "photos", tmp_path / "other"
    (folder / "sub").mkdir(parents=True)
    other.mkdir()
    (tmp_path / "link").symlink_to(folder)
    (folder / "sub" / "more").symlink_to(other)
    for place in (folder, folder / "sub", folder / "new" / "newer", tmp_path / "link" / "new", other / ".." / "photos"):
        assert within(place, [folder]) == folder
    for place in (tmp_path, other, tmp_path / "photos2"):
        assert within(place, [folder]) is None
    assert within(other / "new", [folder], linked=True) == folder
    assert within(tmp_path / "new", [folder], linked=True) is None
