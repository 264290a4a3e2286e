"""What may be changed: one operator, number, condition, loop or decorator at a time, by cosmic-ray."""

import ast
import difflib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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

    def lines(self, root: Path) -> tuple[str, str]:
        """Return what is changed first, before and after."""
        source = (root / self.file).read_text()
        before, after = source.splitlines(), self.code(source).splitlines()
        changes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        for kind, start, end, first, last in changes:
            if kind != "equal":
                return "; ".join(before[start:end]).strip(), "; ".join(after[first:last]).strip()
        return "", ""


def sample(root: Path, files: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Return so many mutants of files, or fewer where there aren't as many: one of a place, all places alike likely.

    The same seed and files give the same ones; a larger count gives more of them.
    """
    generator = random.Random(seed)
    places = [options for file in sorted(files) for options in _by_place(root, file)]
    generator.shuffle(places)
    return [generator.choice(options) for options in places[:count]]


def _by_place(root: Path, file: str) -> Iterator[list[Mutant]]:
    """Yield what may be done at each place of a file."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = (root / file).read_text()
    nodes, passed_over = list(ast_nodes(get_ast(source))), _annotations(source)
    found: dict[Place, list[Mutant]] = defaultdict(list)
    for name in sorted(operator_names()):
        if any(word in name for word in ("Variable", "NoOp", "_IsNot", "_Is")):  # of numbers it says what == says
            continue
        operator = get_operator(name)()
        places = [place for node in nodes for place, _ in operator.mutation_positions(node)]
        for occurrence, place in enumerate(places):
            if not any(start <= place < end for start, end in passed_over):
                found[place].append(Mutant(file, place, name, occurrence))
    for place in sorted(found):
        yield found[place]


def _annotations(source: str) -> list[tuple[Place, Place]]:
    """Return where the types are, which change nothing that runs, or end it on import."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        spans += [
            ((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)) for part in parts if part
        ]
    return spans
