"""The tests see what is changed in the code: a sample of mutants, as a long run; how they are made, in a moment."""

from pathlib import Path

import pytest

from .mutants.changes import Mutant
from .mutants.covering import COVERING
from .mutants.run import ROOT, SEED, Trial, files_of, read, table, trials, write


def test_every_file_and_test_that_is_named_is_there() -> None:
    for part, (_, tests) in COVERING.items():
        assert files_of(part)
        assert all((ROOT / test).exists() for test in tests), part


def test_mutants_differ_from_the_code_in_one_line_and_are_the_same_again(tmp_path: Path) -> None:
    pytest.importorskip("cosmic_ray", reason="mutants are made by cosmic-ray: pip install cosmic-ray")
    from .mutants.changes import sample

    source = "def least(a: int | None, b: int = 3) -> int | None:\n    return a if a and a < b else b\n"
    (tmp_path / "some.py").write_text(source)
    found = sample(tmp_path, ["some.py"], 50, seed=1)
    assert found == sample(tmp_path, ["some.py"], 50, seed=1)
    assert found[:3] == sample(tmp_path, ["some.py"], 3, seed=1)
    (tmp_path / "some.py").write_text("OTHER = 7\n" + source)
    later = [mutant.place for mutant in sample(tmp_path, ["some.py"], 50, seed=1) if mutant.place[0] > 1]
    assert later == [(line + 1, column) for line, column in (mutant.place for mutant in found)]
    assert {mutant.place[0] for mutant in found} == {1, 2}
    for mutant in found:
        assert mutant.code(source) != source
        assert mutant.code(source).count("int | None") == 2  # types aren't changed
        compile(mutant.code(source), "some.py", "exec")


def test_what_was_done_is_read_again(tmp_path: Path) -> None:
    mutants = [Mutant("src/congener/fit.py", (line, 4), "core/NumberReplacer", 2) for line in (9, 7)]
    done = [Trial("fit", mutant, "a = 1", "a = 2", "survived", "", 3.0) for mutant in mutants]
    write(tmp_path / "done.json", done)
    assert read(tmp_path / "done.json") == done[::-1]


@pytest.mark.long
def test_nine_mutants_of_ten_are_killed() -> None:
    pytest.importorskip("cosmic_ray", reason="mutants are made by cosmic-ray: pip install cosmic-ray")
    from .mutants.changes import sample

    done = list(trials(sample(ROOT, [file for part in COVERING for file in files_of(part)], 100, SEED)))
    assert len(done) == 100
    assert sum(trial.outcome != "survived" for trial in done) >= 90, table(done)
