"""The gallery on disk: a catalogue in SQLite and the pooled features beside it.

FOLDER/.congener/
    catalogue.sqlite    one row an image; WAL; the rows that are committed are the truth
    features-N.f16      a raw matrix (slots, d) of little-endian float16, only ever appended to
    embeddings-G-*.f16  the same for what was fitted on the gallery, its generation G; made from the features

New features are appended and synced before the rows that point to them are committed. What lies behind
the last committed slot is the rest of an interrupted run: a hole, like those that removed rows leave.
When holes are the greater part, the matrix is written anew under the next N, and the catalogue switches
to it in one transaction. A new generation is written beside the old one and switched to likewise; slots that
its matrices don't reach yet are embedded from their features when they are asked for.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedWriter, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.catalogue import FORMAT_VERSION, Catalogue, Changes, Row
from congener.disk import DTYPE, explained, locked, map_matrix, sync, sync_folder

__all__ = ["FORMAT_VERSION", "Changes", "Embed", "Row", "Store"]

Embed = Callable[[NDArray[np.float16]], dict[str, NDArray[np.float32]]]
"""Pooled features (n, d) to embeddings (n, d'), L2-normalised, by the name of their space."""

_BLOCK = 4096  # features embedded at once
_COMPACT_BYTES = 2**20  # below this, holes aren't worth the work


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
        """Delete matrices that a compaction, interrupted or not, has left behind."""
        generation = self.generation()
        kept = {self._matrix_path()}
        if generation:
            kept |= {self._embeddings_path(generation, space) for space in generation["spaces"]}
        for path in {*self.folder.glob("features-*.f16"), *self.folder.glob("embeddings-*.f16")} - kept:
            with suppress(OSError):  # a reader's map may hold it on some systems
                path.unlink()

    # what is fitted on the gallery

    def generation(self) -> dict[str, Any] | None:
        """Return the facts of what was fitted last, or None: number, slots, spaces (name -> dimension), …"""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        return json.loads(row[0]) if row else None

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

        dimensions: of each space of embeddings; embed: see `Embed`.
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
                file.truncate(generation["slots"] * dimension * DTYPE.itemsize)
                files[space] = file
            for start in range(generation["slots"], total, _BLOCK):
                for space, block in embed(matrix[start : min(start + _BLOCK, total)]).items():
                    files[space].write(block.astype(DTYPE).tobytes())
            for file in files.values():
                sync(file)
        sync_folder(self.folder)
        return total

    def embeddings(self, space: str, embed: Embed) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Return all ids, rising, and their embeddings (n, d) in a space of the generation.

        embed: for the slots that an interrupted run has left without. Raises GalleryError as `features` does.
        """
        with explained(self.folder):
            try:
                return self._embeddings(space, embed)
            except FileNotFoundError:  # a writer may just have moved to a new generation
                return self._embeddings(space, embed)

    def _embeddings(self, space: str, embed: Embed) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        with self._reading():
            generation = self.generation()
            assert generation is not None
            table = self._slots()
            path, slots = self._embeddings_path(generation, space), generation["slots"]
            dimension = generation["spaces"][space]
            embedded = map_matrix(path, slots, dimension) if slots else np.empty((0, dimension), DTYPE)
            fresh = np.unique(table[table[:, 1] >= slots, 1])
            features = self._matrix(int(fresh[-1]) + 1)[fresh] if len(fresh) else None
        ids, wanted = table[:, 0], table[:, 1]
        if features is None:
            in_order = bool((wanted == np.arange(len(wanted))).all())
            return ids, embedded[: len(wanted)] if in_order else embedded[wanted]
        result = np.empty((len(wanted), dimension), DTYPE)
        old = wanted < slots
        result[old] = embedded[wanted[old]]
        result[~old] = embed(features)[space].astype(DTYPE)[np.searchsorted(fresh, wanted[~old])]
        return ids, result

    def _embeddings_path(self, generation: dict[str, Any], space: str) -> Path:
        return self.folder / f"embeddings-{generation['number']}-{space}.f16"

    def compact(self) -> bool:
        """Write the matrix anew without its holes, when they are the greater part of it."""
        with explained(self.folder):
            slots = [s for (s,) in self._db.execute("SELECT DISTINCT slot FROM images ORDER BY slot")]
            taken = self._matrix_path().stat().st_size if self._matrix_path().exists() else 0
            if taken <= 2 * len(slots) * self._row_bytes or taken < _COMPACT_BYTES:
                return False
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


def _as_bytes(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
