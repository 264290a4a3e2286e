"""Odd values for every option of every command, found by asking click; odd streams. Never a traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from congener.cli import cli

from . import test_cli
from .conftest import write
from .test_cli import Run

run = test_cli.run  # the fixture

EXIT_CODES = {0, 1, 2, 130, 141}
ODD_TEXTS = [
    *("", " ", "\t", "\n", "-", "--", "-1", "0", "1", "01", "1e3", "1_000", "0x10", "+1", "1.5", "½", "١٢", "１２"),
    *("nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e308", "1e309", "5e-324", "-0.0", "1,2", "1,,2", ","),
    *("nan,nan,nan,nan", "inf,0,1,1", "0,0,1e308,1e308", "0,0,1e-300,1", "-1e308,0,1e308,1", "1,2,3,4", "1,2,3,4,5"),
    *(str(2**31), str(2**32), str(2**63 - 1), str(2**63), str(-(2**63) - 1), str(2**64), "9" * 400, "9" * 5000),
    *(
        "a" * 300,
        "a/" * 3000,
        "é",
        "e\u0301",
        "蝶",
        "\u202e",
        "\ufeff",
        "\x00",
        "a\x00b",
        "\udcff",
        "\ud800",
        "\x1b[31m",
    ),
    *("*", "[", "[!", "[z-a]", "**/*", "~", "~nobody", "$HOME", "%s", "{}", "{0}", "\\", "C:\\x", "//", "..", "/"),
    *("/dev/null", "/dev/zero", "/proc/self/mem", "/etc/passwd", "/nonexistent/x", "x.png", "file:///x", "https://x/"),
    *("aqe:n=nan", "aqe:n=" + "9" * 30, "aqe:alpha=inf", "aqe:", "aqe:n", "qe:n=-1", "kreciprocal:k1=0", "dba+", "+"),
    *("blend+", "lite0/blend", "lite0/", "adapt+qe", "int8", "float32", "exact", "approximate", "auto", "none"),
]
ODD = st.sampled_from(ODD_TEXTS) | st.text(max_size=40)


class Asked(NamedTuple):
    """One option or argument of a command."""

    command: str
    parameter: click.Parameter

    def __str__(self) -> str:
        return f"{self.command} {self.parameter.name}"


def parameters() -> Iterator[Asked]:
    for name, command in cli.commands.items():
        for parameter in command.params:
            if not (isinstance(parameter, click.Option) and parameter.is_flag):
                yield Asked(name, parameter)


PARAMETERS = list(parameters())
PLACES = [each for each in PARAMETERS if isinstance(each.parameter.type, click.Path)]


def is_folder_or_output(parameter: click.Parameter) -> bool:
    """Tell whether a command may write there; pictures to ask with are read only, and given as text."""
    return isinstance(parameter.type, click.Path) and parameter.type.type is Path


def words(asked: Asked, value: str, folder: Path) -> list[str]:
    """Return the command with this value, and with sound ones for all that it can't do without."""
    if is_folder_or_output(asked.parameter):  # nothing outside is touched
        value = value.replace("..", "x").lstrip("/") if value.strip("/") else value.replace("/", "x")
    before: list[str] = []
    given = isinstance(asked.parameter, click.Option)
    if given:
        before += [asked.parameter.opts[0], value]
    behind: list[str] = []
    for each in cli.commands[asked.command].params:
        if each is asked.parameter:
            behind += [] if given else [value] * (2 if each.nargs == -1 else 1)
        elif isinstance(each, click.Argument):
            behind.append(str(folder if each.name in ("folder", "source") else sound(each, folder)))
        elif each.required:
            before += [each.opts[0], *sound_values(each, folder)]
    return [asked.command, *before, "--", *behind]


def sound(argument: click.Argument, folder: Path) -> Path:
    """Return a picture to ask with; a place to write to where the argument says so."""
    return folder.parent / "new" if argument.name in ("to", "target") else folder / "warm/red.png"


def sound_values(option: click.Parameter, folder: Path) -> list[str]:
    return ["blend", "--with", "pooled"] if option.name == "specs" else [str(folder)]


class _Served:
    def run(self, **_: Any) -> None:
        """End at once."""


@pytest.fixture
def place(colours: Path, run: Run, few_kinds: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An indexed folder; nothing that is written lands outside; the page ends as soon as it is served."""
    monkeypatch.chdir(colours.parent)
    monkeypatch.setenv("HOME", str(colours.parent))
    monkeypatch.setattr("congener.web.server.server", lambda *_, **__: _Served())
    monkeypatch.setattr("click.launch", lambda _: 0)
    assert run("index", colours).code == 0
    assert few_kinds
    return colours


def ask(run: Run, asked: Asked, value: str, folder: Path) -> None:
    """Ask, and hold the answer against what every answer must be."""
    done = run(*words(asked, value, folder))
    assert done.code in EXIT_CODES, done
    assert "Traceback" not in done.err
    if done.code == 2:
        assert done.err.startswith("congener: ")
        assert max(map(len, done.err.splitlines())) < 20_000


@pytest.mark.parametrize("asked", PARAMETERS, ids=str)
def test_an_odd_value_is_answered_or_refused_in_a_line(run: Run, place: Path, asked: Asked) -> None:
    @settings(max_examples=5, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ODD)
    def each(value: str) -> None:
        ask(run, asked, value, place)

    each()


@pytest.mark.long
@pytest.mark.parametrize("asked", PARAMETERS, ids=str)
def test_every_odd_value_is_answered_or_refused_in_a_line(run: Run, place: Path, asked: Asked) -> None:
    for value in ODD_TEXTS:
        ask(run, asked, value, place)


@pytest.mark.parametrize("asked", PLACES, ids=str)
@pytest.mark.parametrize("value", ["", "a\0b"])
def test_no_place_is_empty(run: Run, place: Path, asked: Asked, value: str) -> None:
    """What an unset variable leaves would mean the folder that one is in."""
    before = sorted(place.parent.rglob("*"))
    done = run(*words(asked, value, place))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert ("is empty" in done.err) if not value else ("can be called" in done.err)
    assert sorted(place.parent.rglob("*")) == before


def test_a_number_that_is_none_is_in_no_range(run: Run, place: Path) -> None:
    words = ("search", place / "warm/red.png", "--in", place)
    for option in ("--min-score", "--recall"):
        for value in ("nan", "-nan", "NaN", "inf", "-0.1", "1.1"):
            done = run(*words, option, value)
            assert (done.code, done.err.count("\n")) == (2, 1)
            assert "is not in the range" in done.err


@pytest.mark.parametrize("k", [10, 2**31, 2**62, 2**63 - 1])
@pytest.mark.parametrize("more", [[], ["--rerank", "aqe"], ["--include-self"], ["--label", "warm"]])
def test_more_than_there_are_may_be_asked_for(run: Run, place: Path, k: int, more: list[str]) -> None:
    done = run("search", place / "warm/red.png", "--in", place, "-k", k, "--json", *more)
    assert (done.code, done.json["k"]) == (0, k)
    assert len(done.json["hits"]) == {"--label": 1, "--include-self": 5}.get(more[0] if more else "", 4)
    report = run("evaluate", place, "-k", f"1,{k}", "--json")
    assert (report.code, report.json["precision"][str(k)]) == (0, pytest.approx(1 / k))


@pytest.mark.parametrize("command", ["search", "demo", "evaluate"])
@pytest.mark.parametrize("k", [str(2**63), str(10**30), "9" * 5000])
def test_more_than_can_be_counted_may_not(run: Run, place: Path, command: str, k: str) -> None:
    words: dict[str, list[object]] = {
        "search": ["search", place / "warm/red.png", "--in", place],
        "demo": ["demo", place.parent / "demo"],
        "evaluate": ["evaluate", place],
    }
    done = run(*words[command], "-k", k)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert len(done.err) < 4000


@pytest.mark.parametrize("year", [1600, 1960, 2300, 3000])
def test_times_of_any_year_are_kept(run: Run, colours: Path, year: int) -> None:
    """64 bits of nanoseconds hold 1677 to 2262; some file systems hold more, others put less in its place."""
    for path in colours.rglob("*.png"):
        os.utime(path, ns=(0, (year - 1970) * 31_556_952 * 10**9))
    first, second = (run("index", colours, "--json").json for _ in range(2))
    assert (first["indexed"], first["skipped"], second["unchanged"]) == (5, [], 5)
    for words in (
        ("search", colours / "warm/red.png", "--in", colours),
        ("duplicates", colours),
        ("check", colours, "--images"),
    ):
        assert (run(*words).code, run(*words).err) == (0, "")


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    bare, asked = run(), run("--help")
    assert (bare.code, bare.err, bare.out) == (0, "", asked.out)
    assert bare.out.startswith(b"Usage: congener [OPTIONS] [COMMAND]")
    for name in cli.commands:
        assert run(name, "--help").out.startswith(f"Usage: congener {name}".encode())


# the whole process: streams in whatever state


STREAMS = {
    "info {folder} > /dev/full": (2, "can't write to standard output: No space left on device"),
    "info {folder} --json > /dev/full": (2, "can't write to standard output: No space left on device"),
    "--help > /dev/full": (2, "can't read or write: No space left on device"),
    "info {folder} >&-": (2, "can't write to standard output: Bad file descriptor"),
    "info {folder} | true": (141, ""),
    "check {folder} | true": (141, ""),
    "search {folder}/red.png --label {long} --in {folder} 2>&1 | true": (2, ""),
    "--version | true": (141, ""),
    "--help | true": (141, ""),
    "info {folder} | head -n 1 > /dev/null": ((0, 141), ""),
    "info {folder} 2>&-": (0, ""),
    "info {folder} 2> /dev/full": (0, ""),
    "info nowhere 2>&-": (2, ""),
    "info nowhere 2> /dev/full": (2, ""),
    "info {folder} <&-": (0, ""),
    "info {folder} <&- >&- 2>&-": (2, ""),
}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize(("streams", "expected"), STREAMS.items(), ids=STREAMS.keys())
def test_streams_in_any_state(indexed: Path, streams: str, expected: tuple[Any, str]) -> None:
    words = f"'{sys.executable}' -m congener {streams.format(folder=indexed, long='x' * 9000)}"
    done = subprocess.run(
        ["bash", "-c", f"{words}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        check=False,
    )
    codes, line = expected
    assert done.returncode in (codes if isinstance(codes, tuple) else (codes,))
    assert done.stderr == (f"congener: {line}\n" if line else "")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two pictures, indexed by the default encoder."""
    folder = tmp_path_factory.mktemp("indexed")
    for colour in ("red", "blue"):
        write(folder / f"{colour}.png", colour)
    subprocess.run([sys.executable, "-m", "congener", "index", str(folder)], capture_output=True, check=True)
    return folder
