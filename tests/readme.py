"""Run all that the README shows, from top to bottom, in one fresh shell: python3 -m tests.readme.

In the folder one is in, a copy of a checkout. What sets up and what tests is run too: it takes the network and a while.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SERVED_SECONDS = 120

# asks the page that a server has opened in a browser of ours, and ends that server as Ctrl-C does
_SERVE = """set -m; {line} & pid=$!
for i in $(seq {tries}); do [ -s "$OPENED" ] && break; sleep .1; done
python -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).status)' "$(cat "$OPENED")"
asked=$?; kill -INT $pid; wait $pid; ended=$?; set +m; (exit $((asked + ended)))"""


class Step(NamedTuple):
    """A line for the shell, or what has been shown of Python so far."""

    kind: str
    code: str

    @property
    def sets_up(self) -> bool:
        """Whether it installs things, or runs the tests."""
        return self.kind == "sh" and ("pip install" in self.code)

    def for_shell(self) -> str:
        """Return what a shell is given."""
        if self.kind == "python":
            return f"python -c {shlex.quote(self.code)}"
        if self.code.startswith("congener serve"):
            return _SERVE.format(line=self.code, tries=10 * _SERVED_SECONDS)
        return self.code


class Done(NamedTuple):
    """What came of a step."""

    step: Step
    code: int
    out: str
    err: str


def steps(text: str) -> Iterator[Step]:
    """Yield what a text in Markdown shows, in order."""
    python = ""
    for kind, block in _BLOCK.findall(text):
        if kind == "python":
            python += block
            yield Step(kind, python)
        elif kind == "sh":
            for line in block.splitlines():
                if line.strip():
                    yield Step(kind, line)


def run(todo: list[Step], folder: Path, path: str, *, live: bool = False) -> list[Done]:
    """Run steps in one shell that knows nothing of this one; stop at the first that fails.

    folder: where; path: to look for programs in; live: show each step and its output at once, on stderr.
    """
    with tempfile.TemporaryDirectory() as aside:
        opened = Path(aside) / "opened"
        browser = Path(aside) / "xdg-open"
        browser.write_text(f'#!/bin/sh\necho "$1" >"{opened}"\n')
        browser.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=kept | {"PATH": f"{aside}{os.pathsep}{path}", "OPENED": str(opened)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with shell:
            done: list[Done] = []
            for number, step in enumerate(todo):
                if live:
                    sys.stderr.write(f"$ {step.code}\n")
                done.append(_run(shell, step, Path(aside) / str(number), live))
                if done[-1].code:
                    break
        return done


def _run(shell: "subprocess.Popen[str]", step: Step, place: Path, live: bool) -> Done:
    """Run a step in the shell; place: where its output goes, unless it is shown."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    out, err = place.with_suffix(".out"), place.with_suffix(".err")
    for file in (out, err):
        file.touch()
    to = ">&2" if live else f"> {out} 2> {err}"
    shell.stdin.write(f"{{ {step.for_shell()}\n}} {to} < /dev/null\necho $?\n")
    shell.stdin.flush()
    code = int(shell.stdout.readline())
    return Done(step, code, out.read_text(), err.read_text())


def main() -> None:
    """Run the README as it stands."""
    folder = Path.cwd()
    todo = list(steps((folder / "README.md").read_text("utf-8")))
    done = run(todo, folder, os.environ["PATH"], live=True)
    if done[-1].code:
        raise SystemExit(f"the README's line ends with {done[-1].code}: {done[-1].step.code}")
    sys.stderr.write(f"{len(done)} steps of the README run as they stand\n")


if __name__ == "__main__":
    main()
