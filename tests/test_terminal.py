import sys
from pathlib import Path

import pytest

from congener import Hit, Results
from congener.terminal import print_hits, printable, progress


def test_what_disturbs_a_terminal_is_escaped() -> None:
    assert printable("Käfer\n\x1b[31m\udcff蝶") == "Käfer\\n\\x1b[31m\\udcff蝶"


def test_a_person_sees_a_table_in_which_names_are_only_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    hit = Hit(1, 0.5, 0.9, 3, "[red]a.jpg", "[bold]x", "[bold]x", Path("photos"))
    print_hits(Results("q", [hit]), several=True, folders=False)
    out = capsys.readouterr().out
    assert "q:" in out
    assert "rank" in out
    assert "[bold]x" in out
    assert "[red]a.jpg" in out


def test_progress_is_shown_to_a_person_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("indexing") as show:
        assert show is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("indexing") as show:
        assert show is not None
        show(3, 10)
    assert "3/10" in capsys.readouterr().err
