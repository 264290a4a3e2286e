from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from congener.errors import CongenerError
from congener.gallery import Gallery
from congener.truth import Items, gallery_items, leave_one_out, queries_from, split_by

from .conftest import MeanColour, write


@pytest.fixture
def gallery(colours: Path, encoder: MeanColour) -> Iterator[Gallery]:
    """Five pictures: two warm, two cold, one without a label."""
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update()
        yield gallery


def table(gallery: Gallery, *lines: str, header: str = "path,label,is_query") -> Path:
    """Write a table beside the gallery's folder."""
    path = gallery.folder.parent / "table.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8-sig")
    return path


def labelled(items: Items) -> dict[str, str | None]:
    return dict(zip(items.paths, items.labels, strict=True))


# a gallery's images


def test_items_are_in_order_of_path_whenever_they_were_indexed(gallery: Gallery) -> None:
    write(gallery.folder / "cold/azure.png", (0, 128, 255))
    gallery.update()
    items = gallery_items(gallery)
    assert items.paths == sorted(items.paths)
    assert items.paths[0] == "cold/azure.png"
    assert items.ids[0] == items.ids.max()
    assert items.pooled[0] == pytest.approx([0, 128 / 255, 1], abs=1e-3)
    assert items.contents[0].decode() == next(row.content.hex() for row in gallery.rows() if row.id == items.ids[0])
    assert len(set(items.contents.tolist())) == 6


# leave one out


def test_each_labelled_image_asks_and_all_are_asked(gallery: Gallery) -> None:
    task = leave_one_out(gallery)
    assert task.leaves_one_out
    assert labelled(task.queries) == {
        "cold/blue.png": "cold",
        "cold/cyan.png": "cold",
        "warm/orange.png": "warm",
        "warm/red.png": "warm",
    }
    assert labelled(task.gallery) == labelled(task.queries) | {"green.png": None}
    assert [task.gallery.paths[row] for row in task.own_rows()] == task.queries.paths
    assert task.blend is not None
    assert task.queries.files == [gallery.folder / path for path in task.queries.paths]


def test_names_to_show_come_from_the_table_of_names(gallery: Gallery) -> None:
    (gallery.folder / "label_names.csv").write_text('label,name\nwarm,"warm, of the sun"\n')
    assert leave_one_out(gallery).names == {"warm": "warm, of the sun", "cold": "cold"}


def test_without_a_label_there_is_nothing_to_judge_by(tmp_path: Path, encoder: MeanColour) -> None:
    write(tmp_path / "red.png", "red")
    with Gallery(tmp_path, encoder=encoder) as gallery:
        gallery.update()
        with pytest.raises(CongenerError, match=r"no labels to judge by: sort its images into folders") as caught:
            leave_one_out(gallery)
    assert "\n" not in str(caught.value)


# a split


def test_a_split_says_who_asks_and_its_labels_win(gallery: Gallery) -> None:
    task = split_by(
        gallery,
        table(
            gallery,
            "colours/warm/red.png,hot,1",
            "colours/warm/orange.png,hot,0",
            "colours/green.png,cold,0",
            "colours/cold/cyan.png,,0",
        ),
    )
    assert labelled(task.queries) == {"warm/red.png": "hot"}
    assert labelled(task.gallery) == {"warm/orange.png": "hot", "green.png": "cold", "cold/cyan.png": None}
    assert task.names == {"hot": "hot", "cold": "cold"}
    assert task.blend is None
    assert not task.leaves_one_out
    assert task.own_rows().tolist() == [-1]


def test_paths_of_a_split_are_relative_to_it(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(gallery, "../split.d/../colours/warm/red.png,hot,yes", "colours/warm/orange.png,hot, FALSE ")
    inner = gallery.folder.parent / "split.d" / "table.csv"
    inner.parent.mkdir()
    inner.write_text(path.read_text("utf-8-sig").replace("\ncolours", "\n../colours"))
    monkeypatch.chdir(gallery.folder.parent)
    for place in (inner, Path("split.d/table.csv")):
        task = split_by(gallery, place)
        assert (task.queries.paths, task.gallery.paths) == (["warm/red.png"], ["warm/orange.png"])


RED, BLUE = "colours/warm/red.png,warm,1", "colours/cold/blue.png,cold,0"


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("path,label,is_query", [RED, "colours/none.png,warm,0"], r"none\.png is not among the images of .*colours"),
        ("path,label", ["colours/warm/red.png,warm"], "columns: path,label,is_query"),
        ("", [], "columns: path,label,is_query"),
        ("path,label,is_query", [RED, "colours/cold/blue.png"], "line 3 must have path,label,is_query"),
        ("path,label,is_query", [RED, BLUE, "colours/warm/red.png,warm,0"], r"red\.png is there twice"),
        ("path,label,is_query", [RED, "colours/cold/blue.png,cold,query"], "is_query is 0 or 1, not 'query'"),
        ("path,label,is_query", [RED], "no labels to judge by"),
    ],
)
def test_a_split_of_another_form_is_refused_in_one_line(
    gallery: Gallery, header: str, lines: list[str], message: str
) -> None:
    path = table(gallery, *lines, header=header)
    with pytest.raises(CongenerError, match=message) as caught:
        split_by(gallery, path)
    assert "\n" not in str(caught.value)


def test_a_split_that_cannot_be_read_is_refused(gallery: Gallery) -> None:
    with pytest.raises(CongenerError, match=r"^can't read .*none\.csv: "):
        split_by(gallery, gallery.folder / "none.csv")
    (gallery.folder / "bytes.csv").write_bytes(b"path,label,is_query\n\xff\xfe,warm,1\n")
    with pytest.raises(CongenerError, match=r"^can't read .*bytes\.csv: "):
        split_by(gallery, gallery.folder / "bytes.csv")


# queries from elsewhere


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("warm.png", "warm"),
        ("COLD.png", "cold"),
        ("warm/any.png", "warm"),
        ("sun light.png", "warm"),
        ("Sun_Light/any.png", "warm"),
        ("sun.png", "warm"),  # the name's first part
        ("light.png", None),
        ("green.png", None),
        ("cold/warm.png", "cold"),  # the folder before the file
    ],
)
def test_a_query_is_labelled_by_its_folder_or_file(
    gallery: Gallery, tmp_path: Path, path: str, label: str | None
) -> None:
    (gallery.folder / "label_names.csv").write_text('label,name\nwarm,"Sun, light"\n')
    write(tmp_path / "queries" / path, "red")
    task = queries_from(gallery, tmp_path / "queries")
    assert task.queries.labels == [label]
    assert task.queries.paths == [str(tmp_path / "queries" / path)]


def test_queries_from_elsewhere_ask_all_images(gallery: Gallery, tmp_path: Path) -> None:
    write(tmp_path / "queries/warm.png", (250, 5, 0))
    write(tmp_path / "queries/b/cold.png", "navy")
    task = queries_from(gallery, tmp_path / "queries")
    assert len(task.queries) == 2
    assert len(task.gallery) == 5
    assert task.own_rows().tolist() == [-1, -1]
    assert not task.leaves_one_out
    order = [Path(path).name for path in task.queries.paths]
    assert task.queries.pooled[order.index("warm.png")] == pytest.approx(np.array([250, 5, 0]) / 255)
    assert task.queries.logits is None
    assert task.blend == (gallery.fit and gallery.fit.blend)


def test_a_table_of_labels_comes_before_the_names(gallery: Gallery, tmp_path: Path) -> None:
    for name in ("warm", "other", "unknown", "cold"):
        write(tmp_path / f"queries/{name}.png", "red")
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nqueries/warm.png,cold\nqueries/other.png,warm\nqueries/unknown.png,purple\n")
    with labels.open("a") as file:
        file.write("queries/cold.png,\n,warm\n")  # an empty cell: counts for nothing
    task = queries_from(gallery, tmp_path / "queries", labels)
    assert task.labels is not None
    assert task.labels.lines == 3
    found = labelled(task.queries)
    assert {Path(path).stem: label for path, label in found.items()} == {
        "warm": "cold",
        "other": "warm",
        "unknown": "purple",
        "cold": "cold",
    }


def test_what_cannot_ask_is_refused_in_one_line(gallery: Gallery, tmp_path: Path) -> None:
    folder = tmp_path / "queries"
    with pytest.raises(CongenerError, match="no such folder of queries"):
        queries_from(gallery, folder)
    folder.mkdir()
    with pytest.raises(CongenerError, match="no images in the folder of queries"):
        queries_from(gallery, folder)
    write(folder / "warm.png", "red")
    (tmp_path / "labels.csv").write_text("file,label\n")
    with pytest.raises(CongenerError, match="columns: path,label"):
        queries_from(gallery, folder, tmp_path / "labels.csv")
    (folder / "broken.png").write_text("no picture")
    with pytest.raises(CongenerError, match=r"broken\.png: .*not an image"):
        queries_from(gallery, folder)


def test_an_image_of_the_gallery_is_not_from_elsewhere(gallery: Gallery) -> None:
    with pytest.raises(CongenerError, match=r"in .*colours itself: leave out --queries"):
        queries_from(gallery, gallery.folder / "warm")
