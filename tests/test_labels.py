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
    calls = {"n1": {"n1", "tench, Tinca tinca", "tench", "Tinca tinca"}, "n2": {"n2", "bulbul"}, "n3": {"n3", "tench"}}
    assert choose(["Tench, Tinca tinca"], calls) == {"n1"}
    assert choose(["tench"], calls) == {"n1", "n3"}
    assert choose(["n3,bulbul"], calls) == {"n2", "n3"}
    assert choose(["n3", " n2 "], calls) == {"n2", "n3"}
    with pytest.raises(GalleryError, match="unknown label 'bulb'; choose one of: bulbul, n1, n2"):
        choose(["n3,bulb"], calls)


def test_what_is_spelt_exactly_so_comes_first() -> None:
    calls = {each: {each} for each in ("Rose", "rose", "Iris", "B\u00e4r")}
    assert choose(["Rose"], calls) == {"Rose"}
    assert choose(["rose"], calls) == {"rose"}
    assert choose(["iris"], calls) == {"Iris"}
    assert choose(["ba\u0308r"], calls) == {"B\u00e4r"}
    with pytest.raises(GalleryError, match="the label 'ROSE' may be Rose or rose: write it exactly so"):
        choose(["ROSE"], calls)
    named = {"rose": {"rose"}, "n7": {"n7", "rose"}}
    assert choose(["rose"], named) == {"rose"}
    assert choose(["ROSE"], named) == {"rose", "n7"}


def test_a_label_with_commas_is_one() -> None:
    calls = {each: {each, *each.split(",")} for each in ("a", "b", "a,b", "a,b,c", "salt, pepper", "salt")}
    assert choose(["a,b"], calls) == {"a,b"}
    assert choose(["a,b", "a"], calls) == {"a,b", "a"}
    assert choose(["a,b,c"], calls) == {"a,b,c"}
    assert choose(["b,a"], calls) == {"a", "b"}
    assert choose(["salt, pepper,a,b"], calls) == {"salt, pepper", "a,b"}
    assert choose(["salt"], calls) == {"salt"}
    assert choose(["a,,b,"], calls) == {"a", "b"}
    for nothing in ("", ",", " , "):
        with pytest.raises(GalleryError, match="unknown label ''"):
            choose([nothing], calls)


WRITTEN = {
    "as it is": ("sub/\u00e4.jpg", "sub/\u00e4.jpg"),
    "backslashes": ("sub\\\u00e4.jpg", "sub/\u00e4.jpg"),
    "dots": ("./sub/../sub//\u00e4.jpg", "sub/\u00e4.jpg"),
    "backslashes and a dot": (".\\sub\\\u00e4.jpg", "sub/\u00e4.jpg"),
    "decomposed in the table": ("sub/a\u0308.jpg", "sub/\u00e4.jpg"),
    "decomposed in the folder": ("sub/\u00e4.jpg", "sub/a\u0308.jpg"),
    "absolute": ("{folder}/sub/\u00e4.jpg", "sub/\u00e4.jpg"),
    "absolute, by another way": ("{link}/sub/\u00e4.jpg", "sub/\u00e4.jpg"),
    "absolute, decomposed, with backslashes": ("{back}\\sub\\a\u0308.jpg", "sub/\u00e4.jpg"),
}


@pytest.mark.parametrize(("written", "path"), WRITTEN.values(), ids=WRITTEN.keys())
def test_a_path_fits_however_it_is_written(tmp_path: Path, written: str, path: str) -> None:
    folder, link = tmp_path / "f\u00f6lder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    written = written.format(folder=folder.resolve(), link=link, back=str(folder.resolve()).replace("/", "\\"))
    (folder / "labels.csv").write_text(f"path,label\r\n{written},x\r\n", encoding="utf-8-sig")
    labels = Labels(link if "link" in written else folder)
    assert (labels.of(path), labels.of("sub/other.jpg")) == ("x", "sub")
    fit = ImageLabels.of([(1, path)], labels).fit
    assert (fit.lines, fit.unfit, fit.contradictory, fit.notes()) == (1, (), (), [])


def test_an_exact_path_comes_first(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\na/b.jpg,slash\na\\b.jpg,backslash\n\u00e4,one\na\u0308,two\n")
    labels = Labels(tmp_path)
    paths = ["a/b.jpg", "a\\b.jpg", "\u00e4", "a\u0308"]
    assert [labels.of(path) for path in paths] == ["slash", "backslash", "one", "two"]
    assert ImageLabels.of(enumerate(paths, 1), labels).fit.notes() == []


def test_lines_that_fit_nothing_or_contradict_are_told(tmp_path: Path) -> None:
    lines = [
        "x.jpg,1",
        "./x.jpg,2",
        "y.jpg,1",
        "y.jpg,2",
        "y.jpg,2",
        "z.jpg,3",
        ".\\z.jpg,3",
        "gone/1.jpg,1",
        "gone/2.jpg,1",
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]))
    (tmp_path / "label_names.csv").write_text("label,name\n1,one\n2,two\n1,uno\n")
    labels = ImageLabels.of(enumerate(["x.jpg", "y.jpg", "z.jpg", "other.jpg"], 1), Labels(tmp_path))
    assert labels.counts() == {"1": 1, "2": 1, "3": 1}
    assert labels.fit.as_dict() == {
        "lines": 9,
        "unfit": {"count": 2, "first": "gone/1.jpg"},
        "contradictory": {"count": 2, "first": "./x.jpg"},
        "ambiguous": {"count": 0, "first": None},
        "names": {"count": 1, "first": "1"},
    }
    assert labels.fit.notes() == [
        f"{tmp_path / 'labels.csv'}: 2 of 9 lines fit no image; the first: gone/1.jpg",
        f"{tmp_path / 'labels.csv'}: 2 of 9 lines contradict another; the first: ./x.jpg",
        "label_names.csv: 1 labels have two names each; the first: 1",
    ]


def test_a_line_that_may_mean_several_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n\u00e4.jpg,x\n")
    labels = ImageLabels.of([(1, "\u00e4.jpg"), (2, "a\u0308.jpg")], Labels(tmp_path))
    assert labels.fit.ambiguous == ("\u00e4.jpg",)


def test_a_table_of_which_nothing_fits_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\nphotos/a.jpg,x\nphotos/b.jpg,y\n")
    with pytest.raises(GalleryError, match=r"none of its 2 lines fits an image, the first being photos/a\.jpg"):
        ImageLabels.of([(1, "a.jpg")], Labels(tmp_path))
    assert ImageLabels.of([], Labels(tmp_path)).fit.lines == 2  # nothing is indexed yet
    (tmp_path / "labels.csv").write_text("path,label\n")
    assert ImageLabels.of([(1, "a.jpg")], Labels(tmp_path)).fit.lines == 0


def test_a_name_is_found_whichever_letters_are_composed(tmp_path: Path) -> None:
    (tmp_path / "label_names.csv").write_text("label,name\nb\u00e4r,Bear\nlo\u0308we,Lion\n")
    labels = Labels(tmp_path)
    assert [labels.name(each) for each in ("b\u00e4r", "ba\u0308r", "l\u00f6we", "\u00fc")] == [
        "Bear",
        "Bear",
        "Lion",
        "\u00fc",
    ]


def test_a_label_with_a_comma_and_no_quotes_is_told_and_empty_cells_are_not(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\na.jpg,x,,\nb.jpg,Apple, green\n")
    with pytest.raises(GalleryError, match="line 3 has more cells than columns: put what has commas between quotes"):
        Labels(tmp_path)
    (tmp_path / "labels.csv").write_text('path,label\na.jpg,x,,\nb.jpg,"Apple, green"\n')
    assert [Labels(tmp_path).of(path) for path in ("a.jpg", "b.jpg")] == ["x", "Apple, green"]


def test_a_table_with_a_nul_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"path,label\na\0.jpg,x\n")
    with pytest.raises(GalleryError, match="line 2 holds a NUL"):
        Labels(tmp_path)


def test_of_many_labels_the_nearest_are_shown() -> None:
    calls = {f"kind {number:03d}": {f"kind {number:03d}"} for number in range(500)} | {"zebra": {"zebra"}}
    with pytest.raises(GalleryError, match=r"choose one of: zebra, … \(500 more\)"):
        choose(["zebr"], calls)


def test_a_name_is_called_by_its_parts(tmp_path: Path) -> None:
    (tmp_path / "label_names.csv").write_text('label,name\nn1,"Tench, Tinca tinca"\n')
    assert Labels(tmp_path).calls("n1") == {"n1", "Tench, Tinca tinca", "Tench", "Tinca tinca"}
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
