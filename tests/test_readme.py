"""What the README shows runs as it stands there, from top to bottom, and shows something good.

What it sets up with is run by .ci/run, with all the rest: see `tests.readme`.
"""

import os
import re
import sys
from pathlib import Path

import pytest

from . import readme
from .readme import Done, Step

README = (readme.ROOT / "README.md").read_text(encoding="utf-8")
STEPS = list(readme.steps(README))
DEMO = STEPS[0]
SAID = {"congener: ended"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What came of each step, by its code without its comment; its environment is the one that tests run in."""
    folder = tmp_path_factory.mktemp("readme")
    activate = folder / ".venv/bin/activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    demo = Step("sh", f"{Path(sys.executable).parent}/congener demo")
    todo = [demo, *(step for step in STEPS if not step.sets_up)]
    done = readme.run(todo, folder, os.defpath)
    for each in done:
        assert (each.code, [line for line in each.err.splitlines() if line not in SAID]) == (0, []), each
    assert len(done) == len(todo)
    return {re.sub(r"\s+#.*", "", each.step.code): each for each in done}


def answer(ran: dict[str, Done], *words: str) -> list[str]:
    """Return the names of the hits, best first, of the one command that has these words."""
    (done,) = [done for code, done in ran.items() if all(f" {word} " in f"{code} " for word in words)]
    return [line.split("\t")[3] for line in done.out.splitlines()]


def test_it_begins_with_the_demo_and_the_way_to_the_program() -> None:
    assert DEMO.code.startswith("python3 -m venv .venv && ")
    assert DEMO.code.endswith("&& .venv/bin/congener demo")
    assert STEPS[1].code == ". .venv/bin/activate"
    assert sum(step.sets_up for step in STEPS) == 3
    assert len(STEPS) > 20
    shown = {kind for kind, _ in re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)}
    assert shown == {"sh", "python"}  # all of it is run


def test_all_that_it_shows_runs_from_top_to_bottom(ran: dict[str, Done]) -> None:
    assert len(ran) > 20
    served = ran["congener serve congener-demo/cabinet --open"]
    assert "200" in served.out.splitlines()


def test_the_answers_are_good(ran: dict[str, Done]) -> None:
    assert answer(ran, "congener-demo/rose-chafer.jpg", "-k", "11")[:9] == ["Rose chafer"] * 9
    assert answer(ran, "--not", "congener-demo/maple-leaf.jpg")[:5] == ["Oak leaf"] * 5
    assert answer(ran, "--rerank", "aqe:n=5")[:8] == ["Oak leaf"] * 8
    assert set(answer(ran, "--combine")) == {"Oak leaf", "Maple leaf"}
    assert set(answer(ran, "--box", "60,40,200,200")) == {"Feather"}
    assert set(answer(ran, "--label", "maple-leaf,feather")) <= {"Maple leaf", "Feather"}
    assert answer(ran, "--no-adapt")[:3] == ["Oak leaf"] * 3


def test_no_example_spoils_a_later_one(ran: dict[str, Done]) -> None:
    assert "192 images can be searched" in ran["congener index congener-demo/cabinet --no-exclude"].out
    assert "images    192 searchable" in ran["congener info congener-demo/cabinet"].out


def test_the_python_shows_the_same(ran: dict[str, Done]) -> None:
    (*_, last) = (done for code, done in ran.items() if code.startswith("from congener"))
    assert [line.split()[2:4] for line in last.out.splitlines()][:9] == [["Rose", "chafer"]] * 9
    assert len(last.out.splitlines()) == 10


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (readme.ROOT / link).exists(), link
