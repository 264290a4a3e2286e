"""Near copies: which of the pictures that a hash proposes are copies, by a close look at pairs of them."""

import os
from collections import defaultdict
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from congener.duplicates import difference
from congener.duplicates.contents import Content
from congener.duplicates.difference import Verdict
from congener.duplicates.fingerprint import apart
from congener.errors import ImageError
from congener.update import Progress
from congener.workers import Workers


class Near(NamedTuple):
    """A picture of a group: how far from the first in bits, and whether it is that one with a mark."""

    content: Content
    bits: int
    marked: bool


Pair = tuple[int, int]
_Steps = Generator[list[Pair], list[Verdict], list[list[Near]]]


def near_groups(
    folder: Path,
    there: Mapping[int, Content],
    pairs: NDArray[np.int64],
    threshold: int,
    workers: Workers,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> tuple[list[list[Near]], dict[int, str]]:
    """Return groups of near copies, with what each is to the first, and why contents can't be read again.

    pairs: (m, 2), keys of contents whose hashes are to be compared. Only those are opened again that these propose.
    A chain of small steps may lead from one picture to quite another. So each is held against the first of its group;
    what remains alone is near to nothing that is kept of a group, and is not listed.
    """
    unread: dict[int, str] = {}

    def compare(pair: Pair) -> Verdict:
        first, second = (os.path.abspath(folder / there[at].files[0].row.path) for at in pair)
        if unread.keys().isdisjoint(pair):
            try:
                verdict: Verdict = workers.call(difference.compare, first, second)
                return verdict
            except ImageError as error:
                unread.update(_unreadable(pair, (first, second), workers) or {pair[1]: str(error)})
        return "other"

    beside = _beside(_close(there, pairs, threshold))
    components = list(_components(beside))
    searches = [_search({at: there[at] for at in each}, beside, threshold) for each in components]
    sizes = [len(each) for each in components]
    groups = _in_rounds(searches, sizes, lambda asked: pool.map(compare, asked), progress)
    return _without(groups, {there[at].files[0].row.path for at in unread}), unread


def _unreadable(pair: Pair, files: tuple[str, str], workers: Workers) -> dict[int, str]:
    """Return which of a pair's files can't be read, and why."""
    reasons = {}
    for at, file in zip(pair, files, strict=True):
        try:
            workers.call(difference.compare, file, file)
        except ImageError as error:
            reasons[at] = str(error)
    return reasons


def _without(groups: Sequence[Sequence[Near]], gone: Container[str]) -> list[list[Near]]:
    """Return the groups without files that are told as skipped: no group may rest on what can't be read."""
    left = [[near for near in group if near.content.files[0].row.path not in gone] for group in groups]
    return [now for now, group in zip(left, groups, strict=True) if len(now) > 1 and now[0] is group[0]]


def _close(there: Mapping[int, Content], pairs: NDArray[np.int64], threshold: int) -> list[list[int]]:
    """Return the pairs of pictures whose fingerprints are that close."""
    if not there:
        return []
    keys = np.array(sorted(there))
    looks = np.stack([there[at].look for at in keys.tolist()])
    pairs = pairs[np.isin(pairs, keys).all(axis=1)]
    ends = looks[np.searchsorted(keys, pairs)]
    close: list[list[int]] = pairs[apart(ends[:, 0], ends[:, 1], threshold) <= threshold].tolist()
    return close


def _beside(pairs: Iterable[Sequence[int]]) -> dict[int, set[int]]:
    beside: defaultdict[int, set[int]] = defaultdict(set)
    for a, b in pairs:
        beside[a].add(b)
        beside[b].add(a)
    return beside


def _components(beside: Mapping[int, set[int]]) -> Iterator[set[int]]:
    """Yield the sets that are connected."""
    done: set[int] = set()
    for start in beside:
        if start in done:
            continue
        component, pending = {start}, [start]
        while pending:
            fresh = beside[pending.pop()] - component
            component |= fresh
            pending += fresh
        done |= component
        yield component


def _search(there: Mapping[int, Content], beside: Mapping[int, set[int]], threshold: int) -> _Steps:
    """Yield pairs to be compared, receive what they are, and return the groups of one component.

    The best is first, but where it turns out to be another one with a mark: the clean one is. From the first we go
    on to what is beside those that are its copies, so that a folder of one form doesn't cost each pair.
    """
    paths = [content.files[0].row.path for content in there.values()]
    rest = sorted(there, key=lambda at: there[at].worth(paths))
    groups: list[list[Near]] = []
    put_off: set[int] = set()
    while len(rest) > 1:
        first = rest[0]
        bits, verdicts = yield from _held_against(first, rest[1:], there, beside, threshold)
        clean = [at for at in rest if verdicts.get(at) == "first marked"]
        if clean and first not in put_off:
            put_off.add(first)
            rest = [clean[0], *(at for at in rest if at not in (first, clean[0])), first]
            continue
        found = [at for at in rest if verdicts.get(at) in ("copy", "marked")]
        if found:
            others = [Near(there[at], bits[at], verdicts[at] == "marked") for at in found]
            groups.append([Near(there[first], 0, False), *sorted(others, key=lambda near: near.marked)])
        rest = [at for at in rest[1:] if at not in found]
    return groups


def _held_against(
    first: int, rest: Sequence[int], there: Mapping[int, Content], beside: Mapping[int, set[int]], threshold: int
) -> Generator[list[Pair], list[Verdict], tuple[dict[int, int], dict[int, Verdict]]]:
    """Yield pairs of the first and others; return how far they are and what they are, of those that were reached."""
    differ = apart(np.stack([there[at].look for at in rest]), there[first].look, threshold)
    bits = {at: each for at, each in zip(rest, differ.tolist(), strict=True) if each <= threshold}
    verdicts: dict[int, Verdict] = {}
    wave = sorted(beside[first] & bits.keys())
    while wave:
        verdicts |= zip(wave, (yield [(first, at) for at in wave]), strict=True)
        reached = [beside[at] for at in wave if verdicts[at] != "other"]
        wave = sorted((set().union(*reached) & bits.keys()) - verdicts.keys())
    return bits, verdicts


def _in_rounds(
    searches: Sequence[_Steps],
    sizes: Sequence[int],
    compare: Callable[[list[Pair]], Iterator[Verdict]],
    progress: Progress | None,
) -> list[list[Near]]:
    """Run searches side by side, so that what all of them ask is compared at once; return their groups."""
    groups: list[list[Near]] = []
    answers: dict[int, list[Verdict]] = {number: [] for number in range(len(searches))}
    begun = False
    while answers:
        asked: dict[int, list[Pair]] = {}
        for number, answer in answers.items():
            try:
                asked[number] = searches[number].send(answer) if begun else next(searches[number])
            except StopIteration as done:
                groups += done.value
        begun = True
        told = compare([pair for pairs in asked.values() for pair in pairs])
        answers = {number: [next(told) for _ in pairs] for number, pairs in asked.items()}
        if progress:
            progress(sum(sizes) - sum(sizes[number] for number in answers), sum(sizes))
    return groups
