"""A file is known however it is named: by a link, another mount, a second name, from another gallery."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from congener import Gallery
from congener.encoders import Encoder
from congener.membership import seen_before
from congener.searcher import search

from .conftest import MeanColour, plain, write


@pytest.fixture
def gallery(colours: Path, encoder: MeanColour) -> Iterator[Gallery]:
    """Five colours, one of which is a link to a file elsewhere."""
    real = write(colours.parent / "elsewhere/pink.png", (255, 128, 128))
    (colours / "warm/pink.png").symlink_to(real)
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update()
        yield gallery


def found(gallery: Gallery, query: Path | int, *, include_self: bool = False) -> set[str]:
    return {hit.path for hit in gallery.search(query, 20, include_self=include_self)}


ALL = {"warm/red.png", "warm/orange.png", "warm/pink.png", "cold/blue.png", "cold/cyan.png", "green.png"}


def test_the_real_file_of_a_link_is_left_out(gallery: Gallery, colours: Path) -> None:
    real = colours.parent / "elsewhere/pink.png"
    assert found(gallery, real) == ALL - {"warm/pink.png"}
    assert found(gallery, real, include_self=True) == ALL


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_another_name_of_an_image_is_left_out_and_asked_with_what_is_kept(
    gallery: Gallery, colours: Path, link: Callable[[Path, Path], None], encoder: MeanColour
) -> None:
    other = colours.parent / "other name.png"
    link(colours / "green.png", other)
    gallery.update()  # a second name changes the ctime
    before = encoder.encoded
    assert found(gallery, other) == ALL - {"green.png"}
    assert encoder.encoded == before


def test_a_folder_seen_through_a_link_is_the_same(gallery: Gallery, colours: Path) -> None:
    (colours.parent / "mount").symlink_to(colours)
    assert found(gallery, colours.parent / "mount/warm/red.png") == ALL - {"warm/red.png"}


def test_all_names_of_one_file_are_left_out_however_it_is_asked_for(gallery: Gallery, colours: Path) -> None:
    os.link(colours / "green.png", colours / "second.png")
    (colours / "third.png").symlink_to("green.png")
    gallery.update()
    rows = {row.path: row.id for row in gallery.rows()}
    for query in (colours / "green.png", colours / "third.png", rows["second.png"]):
        assert found(gallery, query) == ALL - {"green.png"}


def test_a_copy_is_another_file(gallery: Gallery, colours: Path) -> None:
    copy = shutil.copy2(colours / "green.png", colours.parent / "copy.png")
    assert found(gallery, Path(copy)) == ALL
    assert gallery.member(copy) is None


def test_a_file_of_the_same_number_on_another_file_system_is_another(gallery: Gallery, colours: Path) -> None:
    other = write(colours.parent / "other.png", "purple")
    with gallery._writing() as store, store.transaction() as changes:
        row = store.find(path="green.png")
        assert row is not None
        changes.put(row._replace(inode=other.stat().st_ino))
    assert gallery.member(other) is None


# several galleries


@pytest.fixture
def inner(gallery: Gallery, colours: Path, encoder: Encoder) -> Iterator[Gallery]:
    """A gallery of a folder within the other's."""
    with Gallery(colours / "warm", encoder=encoder) as inner:
        inner.update()
        yield inner


def test_each_file_counts_once_though_folders_lie_in_one_another(gallery: Gallery, inner: Gallery) -> None:
    for galleries in ([gallery, inner], [inner, gallery]):
        files = [hit.file for hit in search(galleries, plain("red"), 20)]
        assert {file.name for file in files} == {Path(path).name for path in ALL}
        assert len(files) == len(ALL)
        assert [hit.file.name for hit in search(galleries, plain("red"), 2)] == ["red.png", "orange.png"]


def test_a_gallery_given_twice_counts_once(gallery: Gallery, colours: Path, encoder: MeanColour) -> None:
    with Gallery(colours, encoder=encoder) as again:
        hits = search([gallery, again], plain("red"), 20)
    assert [hit.rank for hit in hits] == [*range(1, 7)]
    assert {hit.path for hit in hits} == ALL


def test_of_a_label_each_file_counts_once(gallery: Gallery, inner: Gallery, colours: Path) -> None:
    for name in ("ruby", "flame"):
        write(colours / f"warm/hot/{name}.png", (255, len(name), 0))
    gallery.update()
    inner.update()
    hits = search([gallery, inner], plain("red"), 20, labels=["hot"])
    assert [hit.path for hit in hits] == ["warm/hot/ruby.png", "warm/hot/flame.png"]


def test_files_are_the_same_only_if_all_of_their_stamps_are() -> None:
    stamps = np.array([[1, 2, 3, 4], [1, 2, 3, 5], [9, 2, 3, 4]], np.int64)
    assert seen_before(stamps, [stamps[[1]]]).tolist() == [False, True, False]
    assert seen_before(stamps, []).tolist() == [False] * 3
    assert seen_before(stamps[:0], [stamps]).tolist() == []
