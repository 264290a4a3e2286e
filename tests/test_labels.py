from pathlib import Path

import pytest

from congener.errors import GalleryError
from congener.labels import ImageLabels, Labels, choose


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


def test_labels_are_chosen_by_what_they_are_called() -> None:
    calls = {"n1": {"n1", "tench, tinca tinca", "tench", "tinca tinca"}, "n2": {"n2", "bulbul"}, "n3": {"n3", "tench"}}
    assert choose(["Tench, Tinca tinca"], calls) == {"n1"}
    assert choose(["tench"], calls) == {"n1", "n3"}
    assert choose(["n3,bulbul"], calls) == {"n2", "n3"}
    assert choose(["n3", " n2 "], calls) == {"n2", "n3"}
    with pytest.raises(GalleryError, match="unknown label 'bulb'; choose one of: bulbul, n1, n2"):
        choose(["n3,bulb"], calls)


def test_of_many_labels_the_nearest_are_shown() -> None:
    calls = {f"kind {number:03d}": {f"kind {number:03d}"} for number in range(500)} | {"zebra": {"zebra"}}
    with pytest.raises(GalleryError, match=r"choose one of: zebra, … \(500 more\)"):
        choose(["zebr"], calls)


def test_a_name_is_called_by_its_parts(tmp_path: Path) -> None:
    (tmp_path / "label_names.csv").write_text('label,name\nn1,"Tench, Tinca tinca"\n')
    assert Labels(tmp_path).calls("n1") == {"n1", "tench, tinca tinca", "tench", "tinca tinca"}
    assert Labels(tmp_path).calls("plain") == {"plain"}


def test_every_image_has_its_label_by_number(tmp_path: Path) -> None:
    paths = ["b/1.png", "loose.png", "a/1.png", "b/2.png", "c/1.png"]
    table = ImageLabels.of(enumerate(paths, 10), Labels(tmp_path))
    assert table.labels == ("a", "b", "c")
    assert table.ids.tolist() == [10, 11, 12, 13, 14]
    assert table.numbers.tolist() == [1, -1, 0, 1, 2]
    assert table.counts() == {"a": 1, "b": 2, "c": 1}
    assert table.having({"b", "c"}).tolist() == [10, 13, 14]
    assert table.having({"z"}).tolist() == []


def test_no_images_have_no_labels(tmp_path: Path) -> None:
    table = ImageLabels.of([], Labels(tmp_path))
    assert (table.labels, table.counts(), table.having({"a"}).tolist()) == ((), {}, [])


def test_the_version_changes_with_any_table(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    versions = [Labels.version(folder)]
    for table in (folder / "labels.csv", folder / "label_names.csv", tmp_path / "label_names.csv"):
        table.write_text("path,label,name\n")
        versions.append(Labels.version(folder))
    (folder / "labels.csv").write_text("path,label,name\na,b,c\n")
    versions.append(Labels.version(folder))
    assert len(set(versions)) == 5
