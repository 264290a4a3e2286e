import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from congener import Gallery
from congener.duplicates.find import Duplicates, find_duplicates
from congener.duplicates.worth import is_marked

from ..conftest import MeanColour
from .test_find import cells, of, paths


@pytest.mark.parametrize(
    "path",
    [
        "IMG_1 - Copy.jpg",
        "Copy of IMG_1.jpg",
        "Kopie von IMG_1.jpg",
        "IMG_1 - Kopie (2).jpg",
        "IMG_1 copie.jpg",
        "IMG_1_copia.jpg",
        "копия IMG_1.jpg",
        "IMG_1のコピー.jpg",
        "IMG_1.bak.jpg",
        "backup/IMG_1.jpg",
        "2019/Sicherung 3/a/IMG_1.jpg",
        "Old/IMG_1.jpg",
    ],
)
def test_words_for_copies_are_marks(path: str) -> None:
    assert is_marked(path)


@pytest.mark.parametrize(
    "path", ["IMG_1.jpg", "copyright/IMG_1.jpg", "old church.jpg", "golden/a.jpg", "photocopier.jpg"]
)
def test_words_that_only_contain_one_are_not(path: str) -> None:
    assert not is_marked(path)


@pytest.mark.parametrize("name", ["a (1).jpg", "a-2.jpg", "a_2.jpg", "a 2.jpg", "A(3).JPG", "a~1.jpg"])
def test_a_number_is_a_mark_beside_the_name_without_it_alone(name: str) -> None:
    assert is_marked(name, ["other/a.png", name])
    assert not is_marked(name, ["a-1.jpg", name])


def _saved(folder: Path, *names: str) -> None:
    """Save one picture under names, the first the youngest."""
    for age, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cells(1).save(folder / name)
        os.utime(folder / name, (1_000_000 - age, 1_000_000 - age))


def found(folder: Path) -> Duplicates:
    return of(Gallery(folder, encoder=MeanColour()))


def test_the_original_comes_before_its_backup_though_that_is_older_or_shorter(tmp_path: Path) -> None:
    _saved(tmp_path, "2024/IMG_0001.png", "backup/1.png", "Kopie von 1.png", "2024/IMG_0001 (1).png")
    assert paths(found(tmp_path))[0][0] == "2024/IMG_0001.png"


def test_then_the_older_then_the_shorter_path_comes_first(tmp_path: Path) -> None:
    _saved(tmp_path, "a.png", "folder/older.png")
    assert paths(found(tmp_path)) == [["folder/older.png", "a.png"]]
    os.utime(tmp_path / "folder/older.png", (1_000_000, 1_000_000))
    assert paths(found(tmp_path)) == [["a.png", "folder/older.png"]]


def test_a_camera_counts_more_than_bytes_and_pixels_more_than_a_camera(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    cells(1).save(tmp_path / "a.png")
    cells(1).save(tmp_path / "taken.jpg", quality=60, exif=exif)
    cells(1).resize((256, 256)).save(tmp_path / "large.jpg", quality=30)
    assert (tmp_path / "a.png").stat().st_size > (tmp_path / "taken.jpg").stat().st_size
    assert paths(found(tmp_path)) == [["large.jpg", "taken.jpg", "a.png"]]


def test_a_link_is_no_copy(tmp_path: Path) -> None:
    _saved(tmp_path, "2024/originals/one.png")
    cells(2).save(tmp_path / "2024/two.png")
    (tmp_path / "1.png").symlink_to("2024/originals/one.png")
    (tmp_path / "2.png").hardlink_to(tmp_path / "2024/two.png")
    told = found(tmp_path)
    assert (told.images, told.distinct, told.links, told.copies, told.groups, told.bytes) == (4, 2, 2, 0, (), 0)


def test_links_beside_copies_are_told_and_count_no_bytes(tmp_path: Path) -> None:
    _saved(tmp_path, "originals/one.png", "originals/copy of one.png")
    (tmp_path / "1.png").symlink_to("originals/one.png")
    (tmp_path / "2.png").hardlink_to(tmp_path / "originals/one.png")
    told = found(tmp_path)
    (group,) = told.groups
    links = {member.path: member.link for member in group.images}
    assert [member.link for member in group.images].count(None) == 2
    assert links["1.png"] == "symbolic"
    assert sorted(link or "" for link in links.values()) == ["", "", "hard", "symbolic"]
    assert group.images[0].link is None
    assert (told.copies, told.links) == (1, 2)
    assert told.bytes == (tmp_path / "originals/one.png").stat().st_size


def test_what_lies_behind_a_linked_folder_is_told_as_a_link_and_not_kept(tmp_path: Path) -> None:
    folder, outside = tmp_path / "pictures", tmp_path / "outside"
    _saved(folder, "deep/down/one of ours.png")
    shutil.copytree(folder / "deep/down", outside)
    (outside / "one of ours.png").rename(outside / "a.png")
    (folder / "l").symlink_to(outside, target_is_directory=True)
    told = found(folder)
    (group,) = told.groups
    assert [(member.path, member.link) for member in group.images] == [
        ("deep/down/one of ours.png", None),
        ("l/a.png", "symbolic"),
    ]
    assert (told.bytes, told.links, told.copies) == (0, 1, 0)


def test_a_linked_picture_is_never_first_among_near_copies(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cells(1, 200).save(tmp_path / "large.png")
    cells(1).save(folder / "small.png")
    (folder / "link.png").symlink_to(tmp_path / "large.png")
    gallery = Gallery(folder, encoder=MeanColour())
    gallery.update()
    (group,) = find_duplicates(gallery).groups
    assert [(member.path, member.link) for member in group.images] == [("small.png", None), ("link.png", "symbolic")]
    assert group.bytes == 0
