"""The gallery on disk: a catalogue in SQLite and the pooled features beside it.

FOLDER/.congener/
    catalogue.sqlite    one row an image; WAL; the rows that are committed are the truth
    features-N.f16      a raw matrix (slots, d) of little-endian float16, only ever appended to
    embeddings-G-*      the same for what was fitted on the gallery, its generation G; made from the features:
                        .f16 embeddings, .i8 what is searched of them
    graph-G-*           of embeddings, for an approximate search; a cache that can be made again

New features are appended and synced before the rows that point to them are committed. What lies behind
the last committed slot is the rest of an interrupted run: a hole, like those that removed rows leave.
When holes are the greater part, the matrix is written anew under the next N, and the catalogue switches
to it in one transaction. A new generation is written beside the old one and switched to likewise; slots that
its matrices don't reach yet are embedded from their features when they are asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedWriter, BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from congener.catalogue import FORMAT_VERSION, Catalogue, Changes, Row
from congener.disk import DTYPE, explained, locked, map_matrix, sync, sync_folder

__all__ = ["FORMAT_VERSION", "PACKED", "Changes", "Embed", "Embedded", "Row", "Store"]

Embed = Callable[[NDArray[np.float16]], dict[str, NDArray[Any]]]
"""Pooled features (n, d) to embeddings (n, d'), L2-normalised, by the name of their space.

Under the space's name and `PACKED` there may be bytes that are made of these embeddings, (n, p) int8.
"""

PACKED = ".packed"

_BLOCK = 4096  # features embedded at once
_MADE = ("features-*", "embeddings-*", "graph-*")
_COMPACT_BYTES = 2**20  # below this, holes aren't worth the work


class Embedded(NamedTuple):
    """A gallery's embeddings in a space, by row; images of equal content share one."""

    keys: NDArray[np.int64]
    """(r,) the id of each row's image, the least where there are several; -1 where none is left."""
    ids: NDArray[np.int64]
    """(n,) of all images, rising."""
    rows: NDArray[np.int64]
    """(n,) the row of each."""
    matrix: NDArray[np.float16] | NDArray[np.float32]
    """(r, d)."""
    packed: NDArray[np.int8] | None = None
    """(r, p) bytes that were made of them."""

    @classmethod
    def of(
        cls,
        ids: NDArray[np.int64],
        rows: NDArray[np.int64],
        matrix: NDArray[np.float16] | NDArray[np.float32],
        packed: NDArray[np.int8] | None = None,
    ) -> Self:
        """Return the same with its keys."""
        keys = np.full(len(matrix), -1, np.int64)
        keys[rows[::-1]] = ids[::-1]  # the least id is written last
        return cls(keys, ids, rows, matrix, packed)


class Store(Catalogue):
    """One gallery's files. Open it with `Store.open` or `Store.create`; one thread at a time."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out, in this and other processes; readers go on.

        Raises GalleryBusyError when another writer is at work.
        """
        with explained(self.folder), locked(self.folder):
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Delete files that a compaction or a new generation, interrupted or not, has left behind."""
        generation = self.generation()
        kept = {self._matrix_path()}
        if generation:
            kept |= {self._embeddings_path(generation, space) for space in generation["spaces"]}
            kept |= {self.graph_path(space) for space in generation["spaces"]}
        for path in {found for glob in _MADE for found in self.folder.glob(glob)} - kept:
            with suppress(OSError):  # a reader's map may hold it on some systems
                path.unlink()

    # what is fitted on the gallery

    def generation(self) -> dict[str, Any] | None:
        """Return the facts of what was fitted last, or None: number, slots, spaces (name -> dimension), …"""
        generation: dict[str, Any] | None = self.get("generation", None)
        return generation

    def fitted(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that were fitted, by name."""
        rows = self._db.execute("SELECT name, value FROM fitted ORDER BY name")
        return {name: np.load(BytesIO(value), allow_pickle=False) for name, value in rows}

    def sample(self, count: int) -> tuple[list[int], NDArray[np.float16]]:
        """Return ids and features (n, d) of up to `count` different images, chosen by content alone."""
        with explained(self.folder), self._reading():
            rows = self._db.execute(
                "SELECT min(id), slot FROM images GROUP BY content ORDER BY content LIMIT ?", (count,)
            ).fetchall()
            matrix = self._matrix(max((slot for _, slot in rows), default=-1) + 1)
        return [id for id, _ in rows], matrix[[slot for _, slot in rows]]

    def new_generation(
        self,
        facts: dict[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        dimensions: dict[str, int],
        embed: Embed,
    ) -> None:
        """Write what was fitted and all images' embeddings, and switch to it; inside `writing`.

        dimensions: the columns of all that `embed` gives; embed: see `Embed`.
        """
        with explained(self.folder):
            last = self.generation() or {"number": 0}
            generation = facts | {"number": last["number"] + 1, "spaces": dimensions, "slots": 0}
            generation["slots"] = self._append_embeddings(generation, embed)
            with self.transaction():
                self._db.execute("DELETE FROM fitted")
                rows = [(name, _as_bytes(array)) for name, array in arrays.items()]
                self._db.executemany("INSERT INTO fitted VALUES (?, ?)", rows)
                self.set("generation", generation)
                self.set("changed", 0)
            self._sweep()

    def extend_generation(self, embed: Embed) -> None:
        """Embed the slots that the generation's matrices don't reach yet; inside `writing`."""
        with explained(self.folder):
            generation = self.generation()
            if generation is None:
                return
            if not generation["slots"]:  # the slots have moved: write anew, under a new number
                generation["number"] += 1
            slots = self._append_embeddings(generation, embed)
            if slots != generation["slots"]:
                with self.transaction():
                    self.set("generation", generation | {"slots": slots})
                self._sweep()

    def _append_embeddings(self, generation: dict[str, Any], embed: Embed) -> int:
        """Append the embeddings of all slots from generation["slots"] on; return how many slots there are."""
        (highest,) = self._db.execute("SELECT max(slot) FROM images").fetchone()
        total = 0 if highest is None else highest + 1
        matrix = self._matrix(total)
        with ExitStack() as stack:
            files: dict[str, BufferedWriter] = {}
            for space, dimension in generation["spaces"].items():
                file = stack.enter_context(self._embeddings_path(generation, space).open("ab"))
                file.truncate(generation["slots"] * dimension * _dtype(space).itemsize)
                files[space] = file
            for start in range(generation["slots"], total, _BLOCK):
                made = embed(matrix[start : min(start + _BLOCK, total)])
                for space, file in files.items():
                    file.write(made[space].astype(_dtype(space)).tobytes())
            for file in files.values():
                sync(file)
        sync_folder(self.folder)
        return total

    def embeddings(self, space: str, embed: Embed) -> Embedded:
        """Return all embeddings in a space of the generation.

        embed: for the slots that an interrupted run has left without. Raises GalleryError as `features` does.
        """
        with explained(self.folder):
            try:
                return self._embeddings(space, embed)
            except FileNotFoundError:  # a writer may just have moved to a new generation
                return self._embeddings(space, embed)

    def _embeddings(self, space: str, embed: Embed) -> Embedded:
        with self._reading():
            generation = self.generation()
            assert generation is not None
            ids, slots = self._slots()
            total, done = int(slots.max(initial=-1)) + 1, generation["slots"]
            names = [name for name in (space, space + PACKED) if name in generation["spaces"]]
            matrices = {name: self._embedded(generation, name) for name in names}
            fresh = self._matrix(total)[done:total] if total > done else None
        if fresh is not None:
            made = embed(fresh)
            matrices = {name: np.concatenate([old, made[name].astype(old.dtype)]) for name, old in matrices.items()}
        return Embedded.of(ids, slots, matrices[space], matrices.get(space + PACKED))

    def _embedded(self, generation: dict[str, Any], name: str) -> NDArray[Any]:
        """Map a matrix of the generation."""
        count, columns, dtype = generation["slots"], generation["spaces"][name], _dtype(name)
        if not count:
            return np.empty((0, columns), dtype)
        return map_matrix(self._embeddings_path(generation, name), count, columns, dtype)[:count]

    def _embeddings_path(self, generation: dict[str, Any], name: str) -> Path:
        space = name.removesuffix(PACKED)
        return self.folder / f"embeddings-{generation['number']}-{space}.{'f16' if space == name else 'i8'}"

    def graph_path(self, space: str) -> Path:
        """Return where the graph over a space of this generation is, or would be."""
        number = (self.generation() or {"number": 0})["number"]
        return self.folder / f"graph-{number}-{space}"

    def compact(self) -> bool:
        """Write the matrix anew without its holes, when they are the greater part of it."""
        with explained(self.folder):
            (used,) = self._db.execute("SELECT count(DISTINCT slot) FROM images").fetchone()
            taken = self._matrix_path().stat().st_size if self._matrix_path().exists() else 0
            if taken <= 2 * used * self._row_bytes or taken < _COMPACT_BYTES:
                return False
            slots = [s for (s,) in self._db.execute("SELECT DISTINCT slot FROM images ORDER BY slot")]
            number = self.get("matrix") + 1
            fresh = self._matrix_path(number)
            matrix = self._matrix(slots[-1] + 1 if slots else 0)
            with fresh.open("wb") as file:
                for start in range(0, len(slots), 4096):
                    file.write(matrix[slots[start : start + 4096]].tobytes())
                sync(file)
            sync_folder(self.folder)
            with self.transaction():
                moved = [(new, slot) for new, slot in enumerate(slots)]
                # slots only fall, in rising order: none is overwritten before it has moved
                self._db.executemany("UPDATE images SET slot = ? WHERE slot = ?", moved)
                self.set("matrix", number)
                if generation := self.generation():  # its matrices go by the old slots
                    self.set("generation", generation | {"slots": 0})
            self._sweep()
            return True


def _dtype(name: str) -> np.dtype[Any]:
    """Return the type of what is kept under a name of `Embed`."""
    return np.dtype(np.int8) if name.endswith(PACKED) else DTYPE


def _as_bytes(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
