"""What may be changed: one operator, number, condition, loop or decorator at a time, by cosmic-ray."""

import ast
import difflib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.mutants.covering import AMOUNTS

_SAYINGS = {"strict", "frozen", "slots"}
Place = tuple[int, int]
"""Line and column, from 1 and 0."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    """Relative to the root of the tree."""
    place: Place
    operator: str
    """Of cosmic-ray."""
    occurrence: int

    def code(self, source: str) -> str:
        """Return the changed source."""
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        changed: str | None = mutate_code(source, get_operator(self.operator)(), self.occurrence)
        assert changed is not None
        return changed

    def lines(self, source: str) -> tuple[str, str]:
        """Return what is changed first, before and after."""
        before, after = source.splitlines(), self.code(source).splitlines()
        changes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        for kind, start, end, first, last in changes:
            if kind != "equal":
                return "; ".join(before[start:end]).strip(), "; ".join(after[first:last]).strip()
        return "", ""


def sample(root: Path, files: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Return so many mutants of files, or fewer where there aren't as many: one of a place, all places alike likely.

    The same seed and files give the same ones, a larger count more of them. Which they are depends on the text of
    their lines alone, so that a change of the code leaves those of other lines in the sample.
    """
    places = [place for file in files for place in _by_place(root, file, seed)]
    return [random.Random(key).choice(options) for key, options in sorted(places)[:count]]


def _by_place(root: Path, file: str, seed: int) -> Iterator[tuple[str, list[Mutant]]]:
    """Yield what may be done at each place of a file, and where in the order it comes."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = (root / file).read_text()
    amounts = AMOUNTS.get(file.removeprefix("src/congener/"), set())
    nodes, passed_over = list(ast_nodes(get_ast(source))), _passed_over(source, amounts)
    found: dict[Place, list[Mutant]] = defaultdict(list)
    for name in sorted(operator_names()):
        if any(word in name for word in ("Variable", "NoOp", "_IsNot", "_Is")):  # of numbers it says what == says
            continue
        operator = get_operator(name)()
        places = [place for node in nodes for place, _ in operator.mutation_positions(node)]
        for occurrence, place in enumerate(places):
            if not any(start <= place < end for start, end in passed_over):
                found[place].append(Mutant(file, place, name, occurrence))
    lines, seen = source.splitlines(), Counter[tuple[str, int]]()
    for (line, column), options in sorted(found.items()):
        text = lines[line - 1].lstrip()
        here = text, column - len(lines[line - 1]) + len(text)
        yield sha256(repr((seed, file, *here, seen[here])).encode()).hexdigest(), options
        seen[here] += 1


def _passed_over(source: str, amounts: set[str]) -> list[tuple[Place, Place]]:
    """Return where a change says nothing of the tests.

    These are types, which change nothing that runs, or end it on import; amounts; and what says that something never
    happens, as `strict=True` does.
    """
    parts: list[ast.expr | ast.stmt | None] = []
    for node in ast.walk(ast.parse(source)):
        parts += [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.keyword) and node.arg in _SAYINGS:
            parts.append(node.value)
        if isinstance(node, ast.Assign) and amounts.intersection(ast.unparse(node.targets[0]).split(", ")):
            parts.append(node)
    return [
        ((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)) for part in parts if part
    ]
