import re
from pathlib import Path

import pytest

from congener.exclusion import DEFAULT_EXCLUDE, Exclusion
from congener.files import list_images

from .conftest import write

FILES = ["._IMG_1.JPG", ".trashed-1790000000-IMG_9.jpg", ".pending-1790000000-IMG_8.jpg", "Thumbs.db", ".DS_Store"]
FOLDERS = [
    *("@eaDir", "@tmp", "@Recycle", "@Recently-Snapshot", "#recycle", "#snapshot", "$RECYCLE.BIN", "RECYCLER"),
    *("@SynoResource", "@SynoEAStream", "Recycled", "iPod Photo Cache"),
    *("System Volume Information", "lost+found", "__MACOSX", "Network Trash Folder", "Temporary Items"),
    *(".thumbnails", ".Trash", ".Trash-1000", ".Trashes", ".AppleDouble", ".@__thumb", ".git", ".fseventsd"),
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("case", [str, str.lower, str.upper])
def test_files_of_other_programs_are_passed_over(name: str, case: type[str]) -> None:
    exclusion = Exclusion([], default=True)
    assert exclusion(case(name))
    assert exclusion(f"2024/{case(name)}")
    assert not Exclusion([])(case(name))


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("case", [str, str.lower, str.upper])
def test_folders_of_other_programs_are_passed_over_and_what_lies_in_them(name: str, case: type[str]) -> None:
    exclusion = Exclusion([], default=True)
    assert exclusion(f"{case(name)}/a.jpg")
    assert exclusion(f"2024/{case(name)}/deep/a.jpg")
    assert not Exclusion([])(f"{case(name)}/a.jpg")


@pytest.mark.parametrize(
    "path",
    [
        *("IMG_1.JPG", "_IMG_1.jpg", ".hidden.jpg", "trashed-1.jpg", "a/.IMG.jpg", "recycle/a.jpg", "eaDir/a.jpg"),
        *(
            "lost and found/a.jpg",
            "my #recycle/a.jpg",
            "@eaDir.jpg",
            "@eaDir",
            "RECYCLER",
            "thumbs.db.jpg",
            "tmp/a.jpg",
        ),
    ],
)
def test_what_only_looks_like_them_is_not(path: str) -> None:
    assert not Exclusion([], default=True)(path)


@pytest.mark.parametrize("glob", ["a/b", "a/b/", "a/*", "?/b"])
def test_a_glob_with_a_slash_covers_all_that_lies_below(glob: str) -> None:
    excluded = Exclusion([glob])
    assert excluded("a/b/c/d.png")
    assert excluded("a/b")
    assert not excluded("b/c/d.png")
    assert not excluded("x/a/b/c.png")


def test_a_users_globs_are_of_a_case_and_told_as_they_were_given() -> None:
    exclusion = Exclusion(["*.PNG", "raw/"])
    assert exclusion.glob_of("a/b.PNG", "b.PNG", is_folder=False) == "*.PNG"
    assert exclusion.glob_of("a/b.png", "b.png", is_folder=False) is None
    assert exclusion.glob_of("a/raw", "raw", is_folder=True) == "raw/"


def test_what_is_passed_over_is_counted_by_its_glob(tmp_path: Path) -> None:
    for name in ("a.jpg", "._a.jpg", "b/._b.jpg", "@eaDir/a.jpg/XL.jpg", "b/@EADIR/c.jpg", "b/c.gif", "skip/a.jpg"):
        write(tmp_path / name, "red")
    listing = list_images(tmp_path, ["*.gif", "skip"])
    assert [image.path for image in listing.images] == ["a.jpg"]
    assert listing.passed_over == {"._*": 2, "@eaDir/": 2, "*.gif": 1, "skip": 1}


def test_all_is_looked_at_where_asked_but_the_gallery(tmp_path: Path) -> None:
    for name in ("._a.jpg", "@eaDir/a.jpg", ".thumbnails/a.jpg", ".congener/a.jpg", "b/.congener/a.jpg"):
        write(tmp_path / name, "red")
    listing = list_images(tmp_path, default_exclude=False)
    assert [image.path for image in listing.images] == ["._a.jpg", ".thumbnails/a.jpg", "@eaDir/a.jpg"]
    assert listing.passed_over == {}


def test_the_folder_that_is_asked_for_is_never_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "@eaDir/a.jpg/XL.jpg", "red")
    write(tmp_path / "@eaDir/.trashed-1.jpg", "red")
    assert [image.path for image in list_images(tmp_path / "@eaDir").images] == ["a.jpg/XL.jpg"]


def test_each_default_says_why() -> None:
    assert all(DEFAULT_EXCLUDE.values())


def test_the_table_in_the_docs_is_the_one_that_holds() -> None:
    text = (Path(__file__).parents[1] / "docs/files.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", text.split("## What is passed over")[1], re.MULTILINE)
    assert dict(rows) == DEFAULT_EXCLUDE
