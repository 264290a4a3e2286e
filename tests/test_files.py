import errno
import os
from pathlib import Path
from typing import Any

import pytest

from congener import Gallery
from congener.errors import GalleryError
from congener.files import FoundImage, find_images
from congener.store import Store

from .conftest import MeanColour, write


def found(root: Path, *exclude: str) -> list[str]:
    return [image.path for image in find_images(root, exclude)]


def problems(root: Path) -> dict[str, str | None]:
    return {image.path: image.problem for image in find_images(root)}


def test_every_entry_with_an_image_suffix_is_found_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.WebP", "sub/deep/d.tiff", "a.d/e.jpeg", "notes.txt", "jpg", ".jpg"):
        write(tmp_path / name, "red")
    assert found(tmp_path) == ["a.d/e.jpeg", "a.png", "b.JPG", "sub/c.WebP", "sub/deep/d.tiff"]


def test_size_times_and_inode_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", "red")
    status = path.stat()
    (image,) = find_images(tmp_path)
    assert image == FoundImage(
        "a.png", status.st_size, status.st_mtime_ns, ctime_ns=status.st_ctime_ns, inode=status.st_ino
    )


def test_hidden_folders_and_the_gallerys_own_are_left_out(tmp_path: Path) -> None:
    for name in (".trash/a.png", "store/b.png", "c.png", ".hidden.png"):
        write(tmp_path / name, "red")
    images = find_images(tmp_path, skip=tmp_path / "store")
    assert [image.path for image in images] == [".hidden.png", "c.png"]


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    target = write(tmp_path / "elsewhere/a.png", "red")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/link.png").symlink_to(target)
    assert problems(tmp_path / "photos") == {"link.png": None}


def test_each_real_folder_is_walked_once_where_it_lies(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write(root / "z-real/a.png", "red")
    write(tmp_path / "outside/b.png", "red")
    (root / "a-link").symlink_to(root / "z-real")
    (root / "loop").symlink_to(root)
    (root / "out-1").symlink_to(tmp_path / "outside")
    (root / "out-2").symlink_to(tmp_path / "outside")
    assert found(root) == ["out-1/b.png", "z-real/a.png"]


def test_odd_entries_are_found_with_their_problem(tmp_path: Path) -> None:
    write(tmp_path / "folder.jpg/inside.png", "red")  # a folder's name says nothing of pictures
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.gif").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.gif").symlink_to(tmp_path / "round.gif")
    (tmp_path / "empty.bmp").touch()
    seen = problems(tmp_path)
    assert seen.pop("folder.jpg/inside.png") is None
    assert seen.keys() == {"pipe.png", "gone.gif", "round.gif", "empty.bmp"}
    for name, word in {
        "pipe.png": "pipe",
        "gone.gif": "link",
        "empty.bmp": "empty",
    }.items():
        assert word in str(seen[name])
    assert seen["round.gif"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "locked/a.png", "red")
    (tmp_path / "locked").chmod(0)
    try:
        assert "can't be listed" in str(problems(tmp_path)["locked"])
    finally:
        (tmp_path / "locked").chmod(0o700)


@pytest.mark.parametrize(
    ("glob", "left"),
    [
        ("*.png", ["a/c.jpg", "b/a/d.jpg"]),
        ("a", ["b/e.png"]),
        ("a/*", ["b/a/d.jpg", "b/e.png"]),
        ("b/", ["a/a.png", "a/c.jpg"]),
        ("b/a", ["a/a.png", "a/c.jpg", "b/e.png"]),
    ],
)
def test_globs_leave_out_names_folders_or_paths(tmp_path: Path, glob: str, left: list[str]) -> None:
    for name in ("a/a.png", "a/c.jpg", "b/a/d.jpg", "b/e.png"):
        write(tmp_path / name, "red")
    assert found(tmp_path, glob) == left


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    names = ["Käfer.png", "蝶.png", "new\nline.png", os.fsdecode(b"\xff\xfe.png")]
    for name in names:
        write(tmp_path / name, "red")
    assert sorted(found(tmp_path)) == sorted(names)


# formats


def test_a_path_of_too_many_links_is_no_broken_link(tmp_path: Path) -> None:
    (tmp_path / "round.gif").symlink_to(tmp_path / "round.gif")
    (tmp_path / "gone.gif").symlink_to(tmp_path / "nowhere")
    assert problems(tmp_path) == {"round.gif": "a loop of links", "gone.gif": "broken link"}


def failing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have looks at files of these names fail as on a disk that gives errors."""
    look = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        if isinstance(path, str | os.PathLike) and Path(path).name in names:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return look(path, **options)

    monkeypatch.setattr(os, "stat", stat)


def test_a_link_that_can_t_be_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lead to a folder: what lies there is unknown, not gone."""
    write(tmp_path / "elsewhere/a.png", "red")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/linked").symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path / "photos") == ["linked/a.png"]

    class Entry:
        name, path = "linked", str(tmp_path / "photos/linked")

        def is_dir(self) -> bool:
            raise OSError(errno.EIO, "Input/output error")

        def is_symlink(self) -> bool:
            return True

    monkeypatch.setattr("congener.files._list_folder", lambda root, folder, *_: [Entry()])
    (image,) = find_images(tmp_path / "photos")
    assert (image.path, image.problem, image.unreadable) == ("linked", "can't be looked at: Input/output error", True)


def test_what_a_disk_doesn_t_give_isn_t_absent(
    colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a new gallery would be put in the place of one that is there."""
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update()
    before = {path: path.read_bytes() for path in (colours / ".congener").glob("*.*")}
    with monkeypatch.context() as patch:
        failing(patch, "catalogue.sqlite", "features-1.f16")
        with pytest.raises(GalleryError, match=r"can't use the gallery .*: Input/output error"):
            Gallery(colours, encoder=encoder)
        with pytest.raises(GalleryError, match=r"can't use the gallery .*: Input/output error"):
            Store.create(colours / ".congener", encoder.identity.as_dict())
        failing(patch, colours.name)
        with pytest.raises(GalleryError, match=r"can't look at the folder .*: Input/output error"):
            Gallery(colours, encoder=encoder)
    assert before == {path: path.read_bytes() for path in before}
    with Gallery(colours, encoder=encoder) as gallery:
        assert len(gallery) == 5
