from pathlib import Path

import pytest

from congener.errors import GalleryError
from congener.labels import Labels


def test_the_label_is_the_parent_folder(tmp_path: Path) -> None:
    labels = Labels(tmp_path)
    assert labels.of("a/b/c.jpg") == "b"
    assert labels.of("a/c.jpg") == "a"
    assert labels.of("c.jpg") is None


def test_a_table_comes_before_the_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\na/c.jpg,x\nd.jpg,y\n", encoding="utf-8-sig")
    labels = Labels(tmp_path)
    assert [labels.of(path) for path in ("a/c.jpg", "d.jpg", "a/e.jpg")] == ["x", "y", "a"]


def test_names_come_from_the_folder_or_beside_it(tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    (tmp_path / "label_names.csv").write_text('label,name\nn1,"tench, Tinca"\nn2,beside\n')
    (gallery / "label_names.csv").write_text("label,name\nn2,inside\n")
    labels = Labels(gallery)
    assert labels.name("n1") == "tench, Tinca"
    assert labels.name("n2") == "inside"
    assert labels.name("n3") == "n3"
    assert labels.name(None) is None


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file;kind\n")
    with pytest.raises(GalleryError, match="path,label"):
        Labels(tmp_path)
