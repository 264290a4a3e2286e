"""A gallery kept elsewhere belongs to the folder that it was made from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from congener import Gallery
from congener.errors import GalleryError

from .conftest import MeanColour, write
from .test_cli import Run, run

__all__ = ["run"]  # a fixture

OTHER = r"was made from \S*colours, not from \S+: if that has moved here, say --moved"


@pytest.fixture
def store(tmp_path: Path, colours: Path) -> Path:
    """A gallery of five colours that is kept elsewhere."""
    with Gallery(colours, store=tmp_path / "kept/gallery", encoder=MeanColour()) as gallery:
        gallery.update()
    return tmp_path / "kept/gallery"


def images(folder: Path, store: Path, *, moved: bool = False) -> int:
    with Gallery(folder, store=store, encoder=MeanColour(), moved=moved) as gallery:
        return gallery.update().images


def state(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def test_another_folder_is_said_and_nothing_is_done(store: Path, colours: Path) -> None:
    write(colours.with_name("others") / "black.png", "black")
    before = state(store)
    with pytest.raises(GalleryError, match=OTHER) as said:
        images(colours.with_name("others"), store)
    assert "\n" not in str(said.value)
    assert state(store) == before


def test_where_it_has_moved_is_remembered(store: Path, colours: Path) -> None:
    there = colours.rename(colours.with_name("there"))
    with pytest.raises(GalleryError, match=OTHER):
        images(there, store)
    assert images(there, store, moved=True) == 5
    assert images(there, store) == 5
    write(colours / "black.png", "black")  # what lies now where it was is another one
    with pytest.raises(GalleryError, match="was made from"):
        images(colours, store)


def test_a_folder_in_the_place_of_one_that_was_deleted_is_another_only_by_its_path(store: Path, colours: Path) -> None:
    """The number of the deleted one's inode may be given again."""
    shutil.rmtree(colours)
    write(colours.with_name("new") / "black.png", "black")
    with pytest.raises(GalleryError, match=OTHER):
        images(colours.with_name("new"), store)


def test_folder_and_gallery_moved_or_copied_together_are_silent(store: Path, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    shutil.copytree(colours, tmp_path / "disk/colours", copy_function=shutil.copy2)
    shutil.copytree(store.parent, tmp_path / "disk/kept")
    assert images(tmp_path / "disk/colours", tmp_path / "disk/kept/gallery") == 5
    shutil.rmtree(colours)
    (tmp_path / "disk").rename(tmp_path / "drive")
    assert images(tmp_path / "drive/colours", tmp_path / "drive/kept/gallery") == 5


def test_a_gallery_moved_alone_is_silent(store: Path, colours: Path, tmp_path: Path) -> None:
    store.rename(tmp_path / "moved")
    assert images(colours, tmp_path / "moved") == 5


def test_the_same_folder_by_another_path_is_silent(
    store: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(colours)
    assert images(tmp_path / "link", store) == 5
    assert images(colours / "warm" / "..", store) == 5
    monkeypatch.chdir(colours)
    assert images(Path(), store) == 5
    (tmp_path / "link").unlink()
    assert images(colours, store) == 5  # which didn't become the link's


def test_a_bind_mount_is_silent_also_when_it_is_gone(store: Path, colours: Path, tmp_path: Path) -> None:
    if sys.platform != "linux" or not shutil.which("mount"):
        pytest.skip("needs Linux's mount")
    mounted = tmp_path / "elsewhere/mounted"
    mounted.mkdir(parents=True)
    done = subprocess.run(["mount", "--bind", colours, mounted], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"may not mount: {done.stderr.strip()}")
    try:
        assert images(mounted, store) == 5
    finally:
        subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)
    assert images(colours, store) == 5
    with pytest.raises(GalleryError, match=OTHER):
        images(mounted, store)


def test_a_folder_that_is_away_is_still_the_one(store: Path, colours: Path) -> None:
    colours.rename(colours.with_name("away"))
    with pytest.raises(GalleryError, match="is missing; its 5 images stay"):
        images(colours, store)
    colours.mkdir()  # as a mount point is
    with Gallery(colours, store=store, encoder=MeanColour()) as gallery:
        assert gallery.update().missing == 5


def test_names_of_any_bytes_are_kept(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(b"\xff\xfe-" + os.fsencode(tmp_path.name)))
    write(tmp_path / folder / "red.png", "red")
    assert images(tmp_path / folder, tmp_path / "kept") == 1
    assert images(tmp_path / folder, tmp_path / "kept") == 1


def test_every_command_that_takes_a_gallery_says_so(run: Run, tmp_path: Path) -> None:
    folder, other, store = tmp_path / "pictures", tmp_path / "others", tmp_path / "kept"
    for number, name in enumerate(["a/1", "a/2", "b/3", "b/4"]):
        write(folder / f"{name}.png", (60 * number, 10, 200 - 40 * number))
    shutil.copytree(folder, other)
    assert run("index", folder, "--gallery", store).code == 0
    picture, before = other / "a/1.png", state(store)
    commands = [
        ["index", other],
        ["info", other],
        ["check", other],
        ["check", other, "--repair"],
        ["adapt", other],
        ["duplicates", other],
        ["evaluate", other],
        ["compare", other, "--with", "pooled", "--with", "blend"],
        ["explain", picture, folder / "a/2.png", "--in", other],
        ["serve", other, "--port", "0"],
        ["search", picture, "--in", other],
        ["search", picture, "--in", other, "--no-update"],
    ]
    for command in commands:
        done = run(*command, "--gallery", store)
        assert (done.code, done.err.count("\n"), "--moved" in done.err) == (2, 1, True), command
        assert state(store) == before, command
    assert run("search", picture, "--in", other, "--gallery", store, "--moved", "--json").code == 0
    assert run("info", other, "--gallery", store).code == 0
