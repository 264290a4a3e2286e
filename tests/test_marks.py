from pathlib import Path

import pytest
from PIL import Image

from congener.errors import OutputError
from congener.images import open_image
from congener.marks import MARKS, SHEET, SPECIMEN, command_of, is_output, mark_of, options, pass_over

from .conftest import plain

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".avif": "AVIF", ".tif": "TIFF", ".gif": "GIF"}


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".jp2", ".mpo"])
@pytest.mark.parametrize("mark", sorted(MARKS))
def test_a_mark_is_read_where_it_was_written(tmp_path: Path, suffix: str, mark: str) -> None:
    path = tmp_path / f"a{suffix}"
    format = Image.registered_extensions()[suffix]
    plain("red").save(path, format, **options(format, mark))
    with Image.open(path) as picture:
        assert mark_of(picture) == mark


@pytest.mark.parametrize(("suffix", "format"), SUFFIXES.items())
def test_an_answer_is_passed_over_and_a_specimen_is_not(tmp_path: Path, suffix: str, format: str) -> None:
    path = tmp_path / f"a{suffix}"
    plain("red").save(path, format, **options(format, SHEET))
    with pytest.raises(OutputError, match=r"^an output of congener search --sheet$") as caught:
        open_image(path, judge=pass_over)
    assert is_output(str(caught.value))
    assert open_image(path).size == (12, 12)
    plain("red").save(path, format, **options(format, SPECIMEN))
    assert open_image(path, judge=pass_over).size == (12, 12)


def test_what_others_say_is_no_mark(tmp_path: Path) -> None:
    for number, said in enumerate(("GIMP 2.10", "Congener", "Congener search --sheet, edited", "")):
        path = tmp_path / f"{number}.jpg"
        plain("red").save(path, **options("JPEG", said))
        assert open_image(path, judge=pass_over).size == (12, 12)
    plain("red").save(tmp_path / "bare.bmp")
    assert options("BMP", SHEET) == {}
    assert open_image(tmp_path / "bare.bmp", judge=pass_over).size == (12, 12)


def test_absurd_metadata_say_nothing_of_who_made_a_picture(tmp_path: Path) -> None:
    plain("red").save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert open_image(tmp_path / "a.jpg", judge=pass_over).size == (12, 12)


def test_a_mark_names_its_command() -> None:
    assert {command_of(mark) for mark in MARKS} == {
        *("congener search --sheet", "congener explain --out", "congener evaluate --report", "congener demo")
    }
