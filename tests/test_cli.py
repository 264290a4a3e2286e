import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from congener.cli import cli, main
from congener.store import Store

from .conftest import write


class Done(NamedTuple):
    code: int | str
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.decode().splitlines()


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run the command line in this process; new galleries are made by the fake encoder."""
    monkeypatch.setitem(
        sys.modules["congener.encoders"].__dict__["ENCODERS"], "mean-colour", "tests.conftest:MeanColour"
    )
    monkeypatch.setattr("congener.gallery.DEFAULT", "mean-colour")

    def run(*words: object) -> Done:
        capfdbinary.readouterr()
        monkeypatch.setattr(sys, "argv", ["congener", *map(str, words)])
        with pytest.raises(SystemExit) as exit:
            main()
        out, err = capfdbinary.readouterr()
        return Done(exit.value.code or 0, out, err.decode())

    return run


INDEX_KEYS = {
    *("found", "indexed", "unchanged", "renamed", "removed", "skipped", "label_table"),
    *("images", "missing", "passed_over", "unread", "misnamed", "seconds", "images_per_second", "encoder"),
}
HIT_KEYS = {"rank", "score", "similarity", "id", "path", "label", "label_name"}


# index


def test_index_tells_what_it_did(run: Run, colours: Path) -> None:
    (colours / "text.jpg").write_text("no picture")
    done = run("index", colours)
    assert done.code == 0
    assert "6 found = 5 indexed + 0 unchanged + 0 renamed or copied + 1 skipped; 0 removed" in done.lines[0]
    assert "5 images can be searched" in done.lines[1]
    assert done.err.count("\n") == 1
    assert "skipped text.jpg: not an image" in done.err


def test_index_as_json(run: Run, colours: Path) -> None:
    (colours / "text.jpg").write_text("no picture")
    first, second = run("index", colours, "--json").json, run("index", colours, "--json").json
    assert first.keys() == second.keys() == INDEX_KEYS
    assert (first["found"], first["indexed"], first["images"]) == (6, 5, 5)
    assert (second["indexed"], second["unchanged"], second["images_per_second"]) == (0, 5, 0)
    assert first["images_per_second"] == pytest.approx(first["indexed"] / first["seconds"])
    assert [skipped.keys() for skipped in first["skipped"]] == [{"path", "reason", "remembered"}]
    assert first["encoder"] == "mean-colour"


def test_excluded_globs_are_remembered_added_to_and_forgotten(run: Run, colours: Path) -> None:
    assert run("index", colours, "--exclude", "warm", "--json").json["found"] == 3
    assert run("index", colours, "--json").json["found"] == 3
    assert run("index", colours, "--exclude", "cold", "--json").json["found"] == 1
    assert run("info", colours, "--json").json["exclude"] == ["warm", "cold"]
    assert run("index", colours, "--no-exclude", "--json").json["found"] == 5


def test_index_keeps_what_is_gone_until_told_to_prune(run: Run, colours: Path) -> None:
    run("index", colours)
    shutil.rmtree(colours / "warm")
    shutil.rmtree(colours / "cold")
    done = run("index", colours, "--json")
    assert (done.code, done.json["removed"], done.json["missing"], done.json["images"]) == (0, 0, 4, 5)
    assert "--prune" in done.err
    assert run("index", colours, "--prune", "--json").json["removed"] == 4


def test_index_with_an_encoder_that_did_not_make_the_gallery(run: Run, colours: Path) -> None:
    run("index", colours)
    done = run("index", colours, "--encoder", "lite0")
    assert done.code == 2
    assert "mean-colour" in done.err
    assert "lite0" in done.err


# search


def test_search_indexes_first_and_then_what_is_new(run: Run, colours: Path) -> None:
    query = write(colours.parent / "query.png", (250, 5, 0))
    done = run("search", query, "--in", colours, "-k", 2)
    assert (done.code, done.err) == (0, "")
    assert [line.split("\t")[0::4] for line in done.lines] == [
        ["1", "warm/red.png"],
        ["2", "warm/orange.png"],
    ]
    write(colours / "new.png", (250, 5, 0))
    assert run("search", query, "--in", colours, "-k", 1, "--no-update").lines[0].endswith("warm/red.png")
    assert run("search", query, "--in", colours, "-k", 1).lines[0].endswith("new.png")


def test_search_as_json_is_one_line_a_query(run: Run, colours: Path) -> None:
    queries = [colours / "warm/red.png", colours / "cold/blue.png"]
    lines = [json.loads(line) for line in run("search", *queries, "--in", colours, "-k", 3, "--json").lines]
    assert [line["query"] for line in lines] == [str(query) for query in queries]
    for line in lines:
        assert line.keys() == {"query", "k", "hits"}
        assert line["k"] == 3
        assert [hit["rank"] for hit in line["hits"]] == [1, 2, 3]
        assert all(hit.keys() == HIT_KEYS for hit in line["hits"])
    assert lines[0]["hits"][0]["path"] == "warm/orange.png"
    assert lines[0]["hits"][0]["label"] == "warm"


def test_json_is_ascii_whatever_the_names(run: Run, colours: Path) -> None:
    names = ["Käfer.png", "蝶.png", "new\nline.png", os.fsdecode(b"\xff\xfe.png")]
    for number, name in enumerate(names):
        write(colours / name, (255, number, 0))
    done = run("search", colours / "warm/red.png", "--in", colours, "-k", 4, "--json")
    assert done.out.isascii()
    assert sorted(hit["path"] for hit in done.json["hits"]) == sorted(names)
    plain = run("search", colours / "warm/red.png", "--in", colours, "-k", 4)
    assert (plain.code, len(plain.lines)) == (0, 4)
    paths = run("search", colours / "warm/red.png", "--in", colours, "-k", 4, "--paths", "-0")
    assert set(paths.out.split(b"\0")[:-1]) == {os.fsencode(colours / name) for name in names}


def test_paths_can_be_piped(run: Run, colours: Path) -> None:
    done = run("search", colours / "warm/red.png", "--in", colours, "-k", 2, "--paths")
    assert done.lines == [str(colours / "warm/orange.png"), str(colours / "cold/blue.png")]


def test_include_self(run: Run, colours: Path) -> None:
    done = run("search", colours / "warm/red.png", "--in", colours, "-k", 1, "--include-self", "--paths")
    assert done.lines == [str(colours / "warm/red.png")]


def test_several_folders_at_once(run: Run, colours: Path, tmp_path: Path) -> None:
    write(tmp_path / "more/dark.png", (128, 10, 0))
    query = write(tmp_path / "query.png", (128, 12, 0))
    words = ("search", query, "--in", colours, "--in", tmp_path / "more", "-k", 2)
    hits = run(*words, "--json").json["hits"]
    assert [(hit["path"], hit["folder"]) for hit in hits] == [
        ("dark.png", str(tmp_path / "more")),
        ("warm/red.png", str(colours)),
    ]
    assert str(tmp_path / "more/dark.png") in run(*words).lines[0]


def test_a_gallery_kept_elsewhere(run: Run, colours: Path, tmp_path: Path) -> None:
    store = tmp_path / "elsewhere"
    assert run("index", colours, "--gallery", store).code == 0
    assert not (colours / ".congener").exists()
    words = ("search", colours / "warm/red.png", "--in", colours, "--gallery", store, "--no-update")
    assert len(run(*words).lines) == 4
    assert run("info", colours, "--gallery", store, "--json").json["images"] == 5
    assert run(*words, "--gallery", store).code == 2


def test_hits_are_copied_with_their_rank_and_never_over_another_file(run: Run, colours: Path, tmp_path: Path) -> None:
    words = ("search", colours / "warm/red.png", "--in", colours, "-k", 2, "--copy-to", tmp_path / "hits")
    for _ in range(2):
        assert run(*words).code == 0
        assert sorted(os.listdir(tmp_path / "hits")) == ["01-orange.png", "02-blue.png"]
    (tmp_path / "hits/01-orange.png").write_text("mine")
    done = run(*words)
    assert done.code == 2
    assert "is there already and differs" in done.err
    assert (tmp_path / "hits/01-orange.png").read_text() == "mine"


def test_hits_of_several_queries_are_copied_and_drawn_apart(run: Run, colours: Path, tmp_path: Path) -> None:
    queries = [colours / "warm/red.png", colours / "cold/blue.png"]
    words = ("--copy-to", tmp_path / "hits", "--sheet", tmp_path / "sheet.png")
    assert run("search", *queries, "--in", colours, "-k", 1, *words).code == 0
    assert sorted(os.listdir(tmp_path / "hits")) == ["01-red", "02-blue"]
    for number in (1, 2):
        with Image.open(tmp_path / f"sheet-{number}.png") as sheet:
            assert sheet.format == "PNG"


def test_open_shows_the_sheet(run: Run, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("click.launch", shown.append)
    assert run("search", colours / "warm/red.png", "--in", colours, "--open").code == 0
    with Image.open(shown[0]) as sheet:
        assert sheet.width > 1000


def test_while_another_process_indexes_what_there_is_is_searched(run: Run, colours: Path) -> None:
    run("index", colours)
    other = Store.open(colours / ".congener")
    with other.writing():
        done = run("search", colours / "warm/red.png", "--in", colours)
        assert (done.code, len(done.lines)) == (0, 4)
        assert "another process is indexing" in done.err
        assert run("index", colours).code == 2
    other.close()


def test_a_gallery_that_cannot_be_written_is_searched_as_it_is(
    run: Run, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("index", colours)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    done = run("search", colours / "warm/red.png", "--in", colours)
    assert (done.code, len(done.lines)) == (0, 4)
    assert "can't be written" in done.err
    assert run("index", colours).code == 2


# info


def test_info_for_people_and_as_json(run: Run, colours: Path) -> None:
    run("index", colours)
    done = run("info", colours)
    assert "images    5 searchable" in done.lines
    assert any("mean-colour" in line for line in done.lines)
    facts = run("info", colours, "--json").json
    assert (facts["images"], facts["labels"], facts["unlabelled"]) == (5, 2, 1)
    assert facts["encoder"]["dimension"] == 3


# demo


def test_demo_paints_indexes_searches_and_draws(tmp_path: Path, run: Run) -> None:
    done = run("demo", tmp_path / "demo", "--json")
    assert done.code == 0
    assert done.json["images"] == 192
    assert len(done.json["queries"]) == 16
    with Image.open(done.json["sheet"]) as sheet:
        assert sheet.width > 1000
    assert "192 painted specimens of 16 kinds" in run("demo", tmp_path / "demo").lines[0]


# mistakes: one line, exit code 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("search", "QUERY"),
        ("search {query}", "--in"),
        ("search {query} --in {none}", "no such folder"),
        ("search {none} --in {folder}", "none: No such file"),
        ("search {text} --in {folder}", "not an image"),
        ("search {query} --in {folder} -k 0", "range"),
        ("search {query} --in {folder} -k many", "integer"),
        ("search {query} --in {empty}", "nothing to search"),
        ("search {query} --in {folder} --sheet {empty}/a.doc", "can't write"),
        ("search {query} --in {empty} --no-update", "not indexed yet"),
        ("index {none}", "no such folder"),
        ("index {folder} --encoder resnet", "choose one of: lite0"),
        ("info {empty}", "not indexed yet"),
        ("find {folder}", f"choose one of: {', '.join(sorted(cli.commands))}"),
        ("index {folder} --jsn", "--json"),
        ("index", "FOLDER"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    run: Run, colours: Path, tmp_path: Path, words: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    names = {
        "query": colours / "warm/red.png",
        "folder": colours,
        "none": tmp_path / "none",
        "empty": tmp_path / "empty",
        "text": tmp_path / "text.jpg",
    }
    done = run(*words.format(**names).split())
    assert done.code == 2
    assert message in done.err
    assert done.err.startswith("congener: ")
    assert done.err.count("\n") == 1


def test_of_several_queries_the_good_ones_are_answered(run: Run, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    done = run("search", tmp_path / "text.jpg", colours / "warm/red.png", "--in", colours, "--json")
    assert done.code == 2
    assert done.json["query"].endswith("red.png")
    assert "text.jpg" in done.err


def test_an_interruption_is_said_in_one_line(run: Run, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("congener.gallery.update_store", interrupt)
    done = run("index", colours)
    assert done.code == 130
    assert "what was done is kept" in done.err


# the whole process


def test_an_interruption_while_it_is_being_loaded_is_no_traceback() -> None:
    loading = """
import sys

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
from congener.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", loading], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"congener": "congener.__main__:main"}  # what is tried here is what runs


def process(*words: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "congener", *map(str, words)]
    return subprocess.run(command, capture_output=True, check=False, **options)


def test_the_command_runs_and_help_names_every_command() -> None:
    done = process("--help")
    assert done.returncode == 0
    for name in (b"index", b"search", b"info", b"demo"):
        assert name in done.stdout
    assert process("--version").stdout.startswith(b"congener")


def test_a_reader_that_has_seen_enough_is_no_error(cabinet: Path, tmp_path: Path) -> None:
    query = next(cabinet.glob("*/*.jpg"))
    words = f"'{sys.executable}' -m congener search '{query}' --in '{cabinet}' --gallery '{tmp_path}/g' --paths"
    done = subprocess.run(["sh", "-c", f"{words} | true"], capture_output=True, check=False)
    assert done.stderr == b""


def test_the_default_encoder_finds_painted_specimens(cabinet: Path, tmp_path: Path) -> None:
    query = cabinet / "starfish/starfish-01.jpg"
    done = process("search", query, "--in", cabinet, "--gallery", tmp_path / "g", "-k", 3, "--json")
    assert done.returncode == 0
    assert [hit["label"] for hit in json.loads(done.stdout)["hits"]] == ["starfish"] * 3
    assert (
        json.loads(process("info", cabinet, "--gallery", tmp_path / "g", "--json").stdout)["encoder"]["name"] == "lite0"
    )
