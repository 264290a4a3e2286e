"""Label tables as people have them: what fits nothing is told, whatever the command, and once."""

import json
import unicodedata
from pathlib import Path

import pytest

from . import test_cli
from .conftest import write
from .test_cli import Run

run = test_cli.run  # the fixture

COMMANDS = {
    "index": ("index", "{folder}"),
    "info": ("info", "{folder}"),
    "search": ("search", "{query}", "--in", "{folder}"),
    "evaluate": ("evaluate", "{folder}"),
    "compare": ("compare", "{folder}", "--with", "blend", "--with", "pooled"),
    "adapt": ("adapt", "{folder}"),
    "duplicates": ("duplicates", "{folder}"),
}


def words(command: str, folder: Path) -> list[str]:
    return [word.format(folder=folder, query=folder / "warm/red.png") for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_line_that_fits_nothing_is_told_once(run: Run, colours: Path, command: str) -> None:
    lines = [
        "warm\\red.png,a",
        "./warm/orange.png,a",
        "cold/blue.png,b",
        "cold/cyan.png,b",
        "gone/1.png,a",
        "gone/2.png,a",
    ]
    (colours / "labels.csv").write_text("\n".join(["path,label", *lines, "cold\\blue.png,c"]))
    run("index", colours)
    done = run(*words(command, colours), "--json")
    assert done.code == 0
    told = [line for line in done.err.splitlines() if "labels.csv" in line]
    assert [line.partition("labels.csv: ")[2] for line in told] == [
        "2 of 7 lines fit no image; the first: gone/1.png",
        "1 of 7 lines contradict another; the first: cold\\blue.png",
    ]
    if command != "search":
        table = done.json["label_table"]
        assert (table["lines"], table["unfit"]) == (7, {"count": 2, "first": "gone/1.png"})
        assert table["contradictory"] == {"count": 1, "first": "cold\\blue.png"}
    else:
        assert {hit["label"] for hit in done.json["hits"]} == {"a", "b", None}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_of_which_nothing_fits_is_an_error(run: Run, colours: Path, command: str) -> None:
    run("index", colours)
    (colours / "labels.csv").write_text("path,label\nphotos/warm/red.png,a\n")
    done = run(*words(command, colours))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "none of its 1 lines fits an image, the first being photos/warm/red.png" in done.err


def test_rose_and_rose_are_two_labels_and_one_with_commas_is_one(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "flowers"
    for number, label in enumerate(("Rose", "rose", "rose, wild", "lily")):
        write(folder / label / "1.png", (200, 40 * number, 0))
    query = write(tmp_path / "query.png", "red")

    def labels(*asked: str) -> list[str]:
        options = [word for label in asked for word in ("--label", label)]
        done = run("search", query, "--in", folder, "--json", *options)
        return sorted(hit["label"] for hit in done.json["hits"])

    assert labels("Rose") == ["Rose"]
    assert labels("rose") == ["rose"]
    assert labels("rose, wild") == ["rose, wild"]
    assert labels("rose, wild,LILY") == ["lily", "rose, wild"]
    assert labels("rose", "lily") == ["lily", "rose"]
    done = run("search", query, "--in", folder, "--label", "ROSE")
    assert (done.code, done.err) == (2, "congener: the label 'ROSE' may be Rose or rose: write it exactly so\n")


def test_a_split_and_the_labels_of_queries_fit_however_they_are_written(run: Run, tmp_path: Path) -> None:
    folder, queries = tmp_path / "gallery", tmp_path / "queries"
    name = unicodedata.normalize("NFD", "bär")
    for number in range(4):
        write(folder / name / f"{number}.png", (200, number, 0))
        write(folder / "löwe" / f"{number}.png", (0, number, 200))
    rows = [f"bär\\{number}.png,bär,{int(number < 2)}" for number in range(4)]
    rows += [f".\\löwe\\{number}.png,löwe,{int(number < 2)}" for number in range(4)]
    (folder / "split.csv").write_text("\n".join(["path,label,is_query", *rows]), encoding="utf-8-sig")
    assert run("evaluate", folder, "--split", folder / "split.csv", "--json").json["queries"] == 4
    for number in range(2):
        write(queries / f"{number}.png", (200, 9 * number, 0))
    table = tmp_path / "labels.csv"
    words = ("evaluate", folder, "--queries", queries, "--labels", table, "--json")
    table.write_text(f"path,label\nqueries\\0.png,{name}\n./queries/1.png,{name}\nqueries/2.png,x\n")
    done = run(*words)
    assert (done.json["queries"], done.json["query_table"]["unfit"]) == (2, {"count": 1, "first": "queries/2.png"})
    assert "1 of 3 lines fit no image; the first: queries/2.png" in done.err
    table.write_text("path,label\n0.png,x\n")
    done = run(*words)
    assert done.code == 2
    assert "none of its 1 lines fits a query" in done.err


def test_a_query_has_the_label_that_is_spelt_as_its_folder(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    for number, label in enumerate(("Rose", "rose")):
        write(folder / label / "1.png", (200, 99 * number, 0))
        write(tmp_path / "queries" / label / "1.png", (200, 99 * number, 9))
    report = json.loads(run("evaluate", folder, "--queries", tmp_path / "queries", "-k", 1, "--json").out)
    assert (report["queries"], report["precision"]) == (2, {"1": 1.0})
