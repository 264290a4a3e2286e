"""A gallery that lives: its folder is changed, its runs are killed, and it is checked, again and again.

`python -m tests.living PLACE [--rounds N] [--seed N] [--sample SAMPLE]` has one live in an empty folder PLACE; with
SAMPLE, a folder of plain pictures with its `.congener` or a zip of one (as in tests/data), as a copy of that: an older
format goes on from where it was. In the end, and every few rounds, it must be what a gallery that is made anew of its
folder is. The same seed does the same, but for the instants of the kills.
"""

import argparse
import csv
import json
import os
import random
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from congener import Gallery
from tests.conftest import MeanColour
from tests.faults.kills import Victim, colour_of, look_at_killed
from tests.faults.trial import QUERIES, Colour, Fresh, check_answer, check_sound, paint
from tests.faults.victim import JOBS

FOLDERS = ("warm", "cold", ".", "warm/deep")
GLOBS = ("*.tif", "cold", "warm/deep/*", "*7.png")
FEW, MANY = 12, 60
"""Pictures: so few get more, so many get fewer."""

EACH = 6
"""Rounds after which it is completed, and compared."""


class Life:
    """One gallery and its folder."""

    def __init__(self, place: Path, seed: int, sample: Path | None = None) -> None:
        """place: an empty folder, or none yet; sample: what it starts as a copy of."""
        self.pictures, self.place = place / "pictures", place
        self.store = self.pictures / ".congener"
        self.rng = random.Random(seed)
        self.victim: Victim | None = None
        self.colours: dict[str, Colour] = {}
        self.untouched: dict[str, int] = {}
        """Ids by path of images whose files are as they were when it was complete."""
        self.given: set[int] = set()
        """Ids of all images that it was ever seen with."""
        self.excluded: list[str] = []
        self.counts: Counter[str] = Counter()
        self._seconds = dict.fromkeys(JOBS, 0.5)
        place.mkdir(parents=True, exist_ok=True)
        if sample is None:
            self.pictures.mkdir()
        else:
            _copy(sample, self.pictures)
            self._take_over()

    def _take_over(self) -> None:
        """Learn what a sample leaves out."""
        self._look_at_pictures()
        shutil.copytree(self.store, self.place / "looked at")  # opening it would bring it to today's format
        with Gallery(self.pictures, store=self.place / "looked at", encoder=MeanColour()) as gallery:
            self.excluded = list(gallery.excluded)
            self.untouched = {row.path: row.id for row in gallery.rows()}
            self.given = set(self.untouched.values())

    def live(self, rounds: int) -> None:
        """Go through so many rounds. Raises AssertionError where something is not as it must be."""
        self.victim = Victim(self.place)
        try:
            for number in range(rounds):
                for _ in range(self.rng.randint(1, 4)):
                    self._change_folder()
                self._look_at_pictures()
                self._run()
                if number % EACH == EACH - 1 or number == rounds - 1:
                    self._complete()
        finally:
            self.victim.close()

    # what happens to the folder

    def _paths(self) -> list[Path]:
        return sorted(self.pictures.rglob("*.png"))

    def _change_folder(self) -> None:
        count = len(self._paths())
        kinds = [*CHANGES] if FEW < count < MANY else (["add"] if count <= FEW else ["remove", "swap"])
        kind = self.rng.choice(kinds)
        CHANGES[kind](self)
        self.counts[kind] += 1

    def _one(self) -> Path:
        return self.rng.choice(self._paths())

    def _new(self) -> Path:
        return self.pictures / self.rng.choice(FOLDERS) / f"{self.rng.randrange(10**6):06}.png"

    def _colour(self) -> Colour:
        return self.rng.randrange(256), self.rng.randrange(256), self.rng.randrange(256)

    def _paint(self, path: Path) -> None:
        self._touch(path)
        paint({path.relative_to(self.pictures).as_posix(): self._colour()}, self.pictures)

    def _touch(self, *paths: Path) -> None:
        for path in paths:
            self.untouched.pop(path.relative_to(self.pictures).as_posix(), None)

    def add(self) -> None:
        self._paint(self._new())

    def edit(self) -> None:
        """In place: the file stays the same one, and if its size does, its time does too."""
        path = self._one()
        self._touch(path)
        fresh = self.place / "painted.png"
        paint({fresh.name: self._colour()}, self.place)
        before, status = path.stat(), fresh.stat()
        with path.open("r+b") as file:
            file.write(fresh.read_bytes())
            file.truncate()
        kept = before if before.st_size == status.st_size else status
        os.utime(path, ns=(kept.st_mtime_ns, kept.st_mtime_ns))

    def replace(self) -> None:
        """By another file of its name, as most programs save."""
        path = self._one()
        path.unlink()
        self._paint(path)

    def rename(self) -> None:
        path, new = self._one(), self._new()
        self._touch(path, new)
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)

    def swap(self) -> None:
        """Two files change their names."""
        one, other = self._one(), self._one()
        self._touch(one, other)
        beside = self.pictures / "swapped"
        one.rename(beside)
        if other != one:
            other.rename(one)
        beside.rename(other)

    def copy(self) -> None:
        path, new = self._one(), self._new()
        self._touch(new)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, new)

    def remove(self) -> None:
        for path in self.rng.sample(self._paths(), self.rng.randint(1, 8)):
            self._touch(path)
            path.unlink()

    def relabel(self) -> None:
        """Say of some that they are of another kind."""
        some = self.rng.sample(self._paths(), 3)
        with (self.pictures / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            rows = [[path.relative_to(self.pictures).as_posix(), self.rng.choice(["warm", "mild"])] for path in some]
            csv.writer(file).writerows([["path", "label"], *rows])

    def _look_at_pictures(self) -> None:
        for path in self._paths():
            self.colours[sha256(path.read_bytes()).hexdigest().upper()] = colour_of(path)

    # what happens to the gallery

    def _run(self) -> None:
        """Do a job, and perhaps kill it; look at what it leaves."""
        assert self.victim is not None
        job = self.rng.choice([*JOBS, "index"])
        exclude = None
        if job == "index" and self.rng.random() < 0.2:
            self.excluded = exclude = sorted(self.rng.sample(GLOBS, self.rng.randint(0, 2)))
        after = self.rng.random() * self._seconds[job] if self.rng.random() < 0.6 else None
        killed = self.victim.run(job, self.store, self.pictures, after, exclude)
        self.counts["killed" if killed else "done"] += 1
        self.counts[job] += 1
        if after is not None:
            self._seconds[job] = self._seconds[job] * 1.05 if killed else after
        look_at_killed(self.store, self.pictures, self.colours, self.victim.last_told())
        if self.rng.random() < 0.1 and not exclude:
            self._damage()

    def _damage(self) -> None:
        """Flip a bit of a file beside the catalogue, which a repair makes good."""
        assert self.victim is not None
        files = [path for path in self.store.glob("*-[0-9]*") if path.stat().st_size]
        if not files:
            return
        path = self.rng.choice(sorted(files))
        data = bytearray(path.read_bytes())
        data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        path.write_bytes(data)
        self.victim.run("check", self.store, self.pictures)
        check_sound(self.store)
        self.untouched.clear()  # an image that is dropped comes back with another id
        self.counts["damaged"] += 1

    def _complete(self) -> None:
        """Bring the gallery up to date, and compare it with a new one."""
        assert self.victim is not None
        self.victim.run("index", self.store, self.pictures, exclude=self.excluded)
        self.victim.run("refit", self.store, self.pictures)
        fresh = self.place / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        self.victim.run("index", fresh, self.pictures, exclude=self.excluded)
        with Gallery(self.pictures, store=fresh, encoder=MeanColour()) as gallery:
            expected = Fresh.found_in(gallery)
        with Gallery(self.pictures, store=self.store, encoder=MeanColour()) as gallery:
            assert Fresh.found_in(gallery) == expected, "it isn't what a new gallery is"
            ids = {row.path: row.id for row in gallery.rows()}
            for query in QUERIES:
                check_answer(gallery, query, {path: self.colours[of] for path, of in expected.content.items()})
        check_sound(self.store, unused=())
        kept = {path: id for path, id in self.untouched.items() if path in ids}
        assert all(ids[path] == id for path, id in kept.items()), "an image has another id than before"
        new = set(ids.values()) - self.given
        assert min(new, default=sys.maxsize) > max(self.given, default=0), "an id is given again"
        self.given |= new
        self.untouched = ids
        self.counts["compared"] += 1


CHANGES: dict[str, Callable[[Life], None]] = {
    kind.__name__: kind
    for kind in (
        *(Life.add, Life.edit, Life.replace, Life.rename, Life.swap, Life.copy, Life.remove),
        Life.relabel,
    )
}


def _copy(sample: Path, to: Path) -> None:
    if sample.is_dir():
        shutil.copytree(sample, to)
        return
    with zipfile.ZipFile(sample) as stored:
        stored.extractall(to)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=Path)
    chosen = parser.parse_args(arguments)
    life = Life(chosen.place, chosen.seed, chosen.sample)
    life.live(chosen.rounds)
    print(json.dumps(life.counts))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
