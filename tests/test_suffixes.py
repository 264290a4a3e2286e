import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from congener.files import list_images
from congener.suffixes import HEAD_BYTES, SUFFIXES, UNREAD, kind_by_head, suffix_of

from .conftest import write


def encoded(format: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, format)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_pictures_that_are_read_are_known_by_their_heads(format: str) -> None:
    assert kind_by_head(encoded(format)[:HEAD_BYTES]) == (format, True)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"8BPS\0\1" + bytes(6), ".psd"),
        (bytes.fromhex("0000000c4a584c200d0a870a"), ".jxl"),
        (bytes.fromhex("0000000c6a5020200d0a870a"), ".jp2"),
        (b"FUJIFILMCCD-RAW 0201", "raw"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "raw"),
    ],
)
def test_pictures_that_are_not_read_are_known_too(head: bytes, kind: str) -> None:
    assert kind_by_head(head) == (kind, False)


@pytest.mark.parametrize("head", [b"", b"\xff\xd8", b"BM is a word", b"GIF as text", b"RIFF0000WAVEfmt ", b"%PDF-1.7"])
def test_other_files_are_no_pictures(head: bytes) -> None:
    assert kind_by_head(head) is None


def test_no_suffix_is_both_read_and_not() -> None:
    assert not SUFFIXES & UNREAD.keys()
    assert suffix_of("a.B.JPG") == ".jpg"
    assert suffix_of("download") == ""


def test_kinds_that_are_not_read_are_counted(tmp_path: Path) -> None:
    for name in ("a.dng", "b.CR2", "c.Nef", "d.jxl", "e.psd", "f.psd", "g.txt", "h.jpg", "sub/i.ppm", "._j.psd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    (tmp_path / "folder.psd").mkdir()
    listing = list_images(tmp_path, heads=True)
    assert listing.unread == {"raw": 3, ".jxl": 1, ".psd": 2, ".ppm": 1}
    assert [image.path for image in listing.images] == ["h.jpg"]
    assert listing.misnamed == {}


def test_pictures_under_other_names_are_counted_when_asked(tmp_path: Path) -> None:
    for name in ("download", "photo.jpg_large", "photo.jpg~", "notes.txt", "._twin"):
        (tmp_path / name).write_bytes(encoded("JPEG"))
    (tmp_path / "image.bin").write_bytes(encoded("PNG"))
    (tmp_path / "painting").write_bytes(b"8BPS\0\1" + bytes(20))
    (tmp_path / "text").write_text("JPEG")
    (tmp_path / "empty").touch()
    (tmp_path / "film.mov").write_bytes(encoded("JPEG"))  # not looked into
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    write(tmp_path / "right.png", "red")
    listing = list_images(tmp_path, heads=True)
    assert (listing.misnamed, listing.unread) == ({"JPEG": 4, "PNG": 1}, {".psd": 1})
    assert list_images(tmp_path).misnamed == {}


def test_nothing_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert list_images(tmp_path, heads=True).misnamed == {}
