import json
from pathlib import Path

import pytest

from . import test_cli
from .conftest import write
from .test_cli import Run

run = test_cli.run  # the fixture

KEYS = {"queries", "gallery", "precision", "recall", "hit", "map", "ci95", "per_class", "encoder", "code", "rerank"}


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Two labels, one redder than the other; the pictures differ most in blue, which no label is about."""
    folder = tmp_path / "shades"
    for number in range(10):
        blue = 20 + 23 * number
        write(folder / f"red/{number}.png", (125, 105, blue))
        write(folder / f"green/{number}.png", (105, 125, blue + 5))
    return folder


def split(folder: Path, asking: int = 3) -> Path:
    """Write a table in which the first few of each label ask."""
    table = folder / "split.csv"
    paths = sorted(folder.glob("*/*.png"))
    rows = [f"{path.relative_to(folder)},{path.parent.name},{int(int(path.stem) < asking)}" for path in paths]
    table.write_text("\n".join(["path,label,is_query", *rows]))
    return table


def hits(run: Run, folder: Path, *words: str) -> list[tuple[str, float]]:
    done = run("search", folder / "red/3.png", "--in", folder, "-k", 19, "--json", *words)
    return [(hit["path"], hit["score"]) for hit in done.json["hits"]]


# evaluate


def test_evaluate_for_people(run: Run, shades: Path) -> None:
    done = run("evaluate", shades, "-k", "1,4")
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "mean-colour, blend: 20 queries to 20 images"
    figures = {line.split("\t")[0] for line in done.lines}
    assert figures >= {"mAP", "R-precision", "precision@1", "recall@4", "hit@4", "NDCG@4", "worst labels", "red"}
    assert "not counted" not in "".join(done.lines)
    write(shades / "alone/0.png", "blue")
    done = run("evaluate", shades, "--rerank", "dba", "--rerank", "aqe")
    assert done.lines[0] == "mean-colour, blend + dba + aqe: 20 queries to 21 images"
    assert done.lines[1].startswith("1 more queries")


def test_evaluate_as_json(run: Run, shades: Path) -> None:
    plain = run("evaluate", shades, "--json").json
    assert plain.keys() >= KEYS
    assert (plain["queries"], plain["gallery"], plain["encoder"], plain["code"]) == (20, 20, "mean-colour", "blend")
    for name in ("precision", "recall", "hit"):
        assert list(plain[name]) == ["1", "5", "10"]
    words = ("--split", split(shades), "-k", "4,2", "--rerank", "dba", "--rerank", "aqe:n=3", "--json")
    plain = run("evaluate", shades, *words).json
    assert (plain["queries"], plain["gallery"], plain["rerank"]) == (6, 14, ["dba", "aqe:n=3"])
    assert list(plain["precision"]) == ["2", "4"]
    assert plain["adapted"] is False


def test_evaluate_by_what_is_learned(run: Run, shades: Path) -> None:
    for words in ((), ("--split", split(shades))):
        plain = run("evaluate", shades, "-k", 4, *words, "--json").json
        adapted = run("evaluate", shades, "-k", 4, *words, "--adapt", "--json").json
        assert adapted["precision"]["4"] > plain["precision"]["4"]
        assert (adapted["adapted"], adapted["code"]) == (True, "adapted")


def test_a_stored_map_judges_no_query_that_it_has_seen(run: Run, shades: Path) -> None:
    table = split(shades)
    before = [run("evaluate", shades, *words, "--json").json for words in ((), ("--split", table))]
    assert run("adapt", shades, "--json").json["kept"]
    after = [run("evaluate", shades, *words, "--json").json for words in ((), ("--split", table))]
    assert [each | {"seconds": 0} for each in before] == [each | {"seconds": 0} for each in after]


def test_evaluate_by_pictures_from_elsewhere(run: Run, shades: Path, tmp_path: Path) -> None:
    write(tmp_path / "queries/red.png", (125, 105, 99))
    write(tmp_path / "queries/other.png", (105, 125, 99))
    words = ("evaluate", shades, "--queries", tmp_path / "queries", "-k", 1, "--json")
    plain = run(*words).json
    assert (plain["queries"], plain["unjudged"], plain["gallery"]) == (1, 1, 20)
    (tmp_path / "labels.csv").write_text("path,label\nqueries/other.png,green\n")
    plain = run(*words, "--labels", tmp_path / "labels.csv").json
    assert (plain["queries"], plain["unjudged"], plain["precision"]["1"]) == (2, 0, 1)


def test_the_report_is_one_page_that_fetches_nothing(run: Run, shades: Path, tmp_path: Path) -> None:
    done = run("evaluate", shades, "--report", tmp_path / "out.html")
    assert (done.code, done.err) == (0, "")
    assert done.lines[-1] == f"the whole report: {tmp_path / 'out.html'}"
    page = (tmp_path / "out.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    assert 'src="data:image/jpeg;base64,' in page
    for loaded in ("http:", "https:", "<link", "<script", "@import", "url("):
        assert loaded not in page
    as_json = run("evaluate", shades, "--report", tmp_path / "again.html", "--json")
    assert as_json.json.keys() >= KEYS
    assert as_json.err == ""
    assert (tmp_path / "again.html").exists()


def test_evaluate_indexes_first(run: Run, shades: Path) -> None:
    run("index", shades)
    write(shades / "red/new.png", (125, 105, 99))
    assert run("evaluate", shades, "--json").json["gallery"] == 21


# compare


def test_compare_for_people_and_as_json(run: Run, shades: Path) -> None:
    words = ("compare", shades, "--with", "blend", "--with", "pooled+aqe", "--with", "adapt", "-k", "1,4")
    done = run(*words)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0].startswith("20 queries to 20 images")
    rows = [line.split("\t") for line in done.lines[1:]]
    assert rows[0] == ["", "mAP", "precision@1", "precision@4"]
    assert [row[0] for row in rows[1:]] == ["blend", "pooled+aqe", "adapt"]
    assert "(" not in "".join(rows[1])
    assert all("(" in cell for row in rows[2:] for cell in row[1:])
    plain = run(*words, "--json").json
    assert [each["spec"] for each in plain["with"]] == ["blend", "pooled+aqe", "adapt"]
    assert all(each.keys() >= KEYS for each in plain["with"])
    assert f"{plain['with'][2]['map']:.3f} (" in rows[3][1]
    assert plain["with"][2]["difference"]["map"]["low"] > 0


def test_compare_by_a_split(run: Run, shades: Path) -> None:
    words = ("--with", "blend", "--with", "adapt+aqe", "--split", split(shades), "--json")
    plain = run("compare", shades, *words).json
    assert [(each["queries"], each["gallery"]) for each in plain["with"]] == [(6, 14)] * 2


# adapt


def test_adapt_says_what_it_learned(run: Run, shades: Path) -> None:
    done = run("adapt", shades)
    assert (done.code, done.err) == (0, "")
    (line,) = done.lines
    assert "learned from 20 images of 2 labels" in line
    assert line.endswith("in use from now on")
    plain = run("adapt", shades, "--json").json
    assert (plain["images"], plain["labels"], plain["kept"]) == (20, 2, True)
    assert plain["after"] > plain["before"]
    assert f"{plain['before']:.3f} before, {plain['after']:.3f} after" in line


def test_searches_use_it_by_default_until_it_is_undone(run: Run, shades: Path) -> None:
    before = hits(run, shades)
    assert hits(run, shades, "--no-adapt") == before
    run("adapt", shades)
    adapted = hits(run, shades)
    assert adapted != before
    assert {path.split("/")[0] for path, _ in adapted[:9]} == {"red"}
    assert {path.split("/")[0] for path, _ in before[:9]} == {"red", "green"}
    assert hits(run, shades, "--no-adapt") == before
    done = run("adapt", shades, "--undo")
    assert (done.code, done.lines) == (0, ["forgotten"])
    assert hits(run, shades) == before
    assert run("adapt", shades, "--undo").lines == ["nothing was learned"]
    assert run("adapt", shades, "--undo", "--json").json == {"forgotten": False}


def test_what_does_not_help_is_used_by_force_only(run: Run, shades: Path) -> None:
    lines = [f"{path.relative_to(shades)},{'ab'[int(path.stem) % 2]}" for path in sorted(shades.glob("*/*.png"))]
    (shades / "labels.csv").write_text("\n".join(["path,label", *lines]))
    before = hits(run, shades)
    assert "not used, for it doesn't help (--force uses it all the same)" in run("adapt", shades).lines[0]
    assert hits(run, shades) == before
    assert run("info", shades, "--json").json["adapted"] is None
    assert run("adapt", shades, "--force").lines[0].endswith("in use from now on")
    assert hits(run, shades) != before


def test_info_says_what_was_learned_and_when_it_is_stale(run: Run, shades: Path) -> None:
    def learned() -> str:
        return next(line for line in run("info", shades).lines if line.startswith("learned"))

    run("index", shades)
    assert "nothing" in learned()
    run("adapt", shades)
    assert learned().endswith("from the labels of 20 images")
    facts = run("info", shades, "--json").json["adapted"]
    assert (facts["images"], facts["stale"]) == (20, False)
    (shades / "red/0.png").rename(shades / "green/moved.png")
    run("index", shades)
    assert learned().endswith("from the labels of 20 images; labels have changed since: congener adapt")
    assert run("info", shades, "--json").json["adapted"]["stale"] is True
    run("adapt", shades)
    assert run("info", shades, "--json").json["adapted"]["stale"] is False


def test_what_is_new_is_learned_with_the_rest(run: Run, shades: Path) -> None:
    run("adapt", shades)
    write(shades / "red/new.png", (125, 105, 99))
    run("index", shades)
    facts = run("info", shades, "--json").json["adapted"]
    assert (facts["images"], facts["stale"]) == (21, False)


# mistakes: one line, exit code 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate", "FOLDER"),
        ("evaluate {none}", "no such folder"),
        ("evaluate {folder} -k 0", "-k takes numbers from 1 on; not '0'"),
        ("evaluate {folder} -k 1,,5", "-k takes whole numbers, as in -k 1,5,10; not '1,,5'"),
        ("evaluate {folder} -k many", "-k takes whole numbers"),
        ("evaluate {folder} -k 1,-5", "-k takes numbers from 1 on"),
        ("evaluate {folder} --code polled", "choose one of: pooled, gem, posterior, blend, flatten"),
        ("evaluate {folder} --code gem", "shows no feature map"),
        ("evaluate {folder} --rerank aqa", "choose one of: "),
        ("evaluate {folder} --rerank aqe --adapt", "use --split"),
        ("evaluate {folder} --code pooled --adapt", "leave out --code pooled"),
        ("evaluate {folder} --split {table} --queries {queries}", "--split and --queries exclude each other"),
        ("evaluate {folder} --split {none}", "can't read"),
        ("evaluate {folder} --queries {none}", "no such folder of queries"),
        ("evaluate {folder} --queries {folder}", "leave out --queries"),
        ("evaluate {folder} --labels {table}", "--labels goes with --queries"),
        ("evaluate {folder} --report {none}/out.html", "can't write"),
        ("evaluate {flat}", "no labels to judge by: sort its images into folders"),
        ("evaluate {folder} --gallery {none} --gallery {none}", "once"),
        ("compare {folder}", "--with"),
        ("compare {folder} --with blend", "two ways at least"),
        ("compare {folder} --with blend --with blnd", "codes pooled, gem, posterior, blend, flatten, adapt"),
        ("compare {folder} --with blend --with blend+aqa", "choose one of: "),
        ("compare {folder} --with blend --with pooled -k x", "-k takes whole numbers"),
        ("compare {folder} --with blend --with pooled --split {table} --queries {queries}", "exclude each other"),
        ("adapt {flat}", "at least two labels, this gallery has 0: sort them into folders, one a kind"),
        ("adapt {single}", "at least two labels, this gallery has 1"),
        ("adapt {apart}", "each has its own"),
        ("adapt {none}", "no such folder"),
        ("adapt {flat} --undo", "not indexed yet"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    run: Run,
    shades: Path,
    tmp_path: Path,
    words: str,
    message: str,
) -> None:
    write(tmp_path / "flat/red.png", "red")
    write(tmp_path / "flat/blue.png", "blue")
    for name in ("single/a/1", "single/a/2", "apart/a/1", "apart/b/1", "queries/red"):
        write(tmp_path / f"{name}.png", (sum(map(ord, name)) % 256, 100, 9 * ord(name[-1]) % 256))
    names = {name: tmp_path / name for name in ("flat", "single", "apart", "none", "queries")}
    done = run(*words.format(folder=shades, table=split(shades), **names).split())
    assert done.code == 2
    assert message in done.err
    assert done.err.startswith("congener: ")
    assert done.err.count("\n") == 1
    assert done.out == b""


def test_another_encoder_can_be_compared(run: Run, cabinet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    for kind in sorted(cabinet.iterdir())[:3]:
        (folder / kind.name).mkdir(parents=True)
        for file in sorted(kind.glob("*.jpg"))[:3]:
            (folder / kind.name / file.name).symlink_to(file)
    words = ("--with", "pooled", "--with", "lite0/posterior", "--with", "lite0/flatten", "-k", 2, "--json")
    done = run("compare", folder, *words)
    first, *others = json.loads(done.out)["with"]
    assert [each["encoder"] for each in (first, *others)] == ["mean-colour", "lite0", "lite0"]
    assert all(each["precision"]["2"] > 0.8 for each in others)
