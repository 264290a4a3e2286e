"""The gallery on disk: a catalogue in SQLite and the pooled features beside it.

FOLDER/.congener/
    catalogue.sqlite    one row an image; WAL; the rows that are committed are the truth
    features-N.f16      a raw matrix (slots, d) of little-endian float16, only ever appended to
    embeddings-G-*      the same for what was fitted on the gallery, its generation G; made from the features:
                        .f16 embeddings, .i8 what is searched of them, .crc a CRC-32 of each of their rows
    graph-G-*           of embeddings, for an approximate search; a cache that can be made again

New features are appended and synced before the rows that point to them are committed. What lies behind
the last committed slot is the rest of an interrupted run: a hole, like those that removed rows leave.
When holes are the greater part, the matrix is written anew under the next N, and the catalogue switches
to it in one transaction. A new generation is written beside the old one and switched to likewise; slots that
its matrices don't reach yet are embedded from their features when they are asked for.

No file is cut or written over where a committed row of it may be mapped: what changes gets a new number.
"""

import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedWriter, BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from congener.catalogue import Catalogue
from congener.changes import Changes
from congener.disk import DTYPE, SUMS, explained, is_there, locked, map_matrix, row_sums, sync, sync_folder
from congener.errors import OutdatedError
from congener.owned import is_file
from congener.schema import FORMAT_VERSION, Row, fitted_sum

__all__ = ["FORMAT_VERSION", "PACKED", "Changes", "Embed", "Embedded", "Row", "Store"]

Embed = Callable[[NDArray[np.float16]], dict[str, NDArray[Any]]]
"""Pooled features (n, d) to embeddings (n, d'), L2-normalised, by the name of their space.

Under the space's name and `PACKED` there may be bytes that are made of these embeddings, (n, p) int8.
"""

PACKED = ".packed"

_BLOCK = 4096  # features embedded at once
_SEEN_WHOLE = 4096  # images up to which embeddings are held against their checksums as soon as they are opened: 4 ms
_SPACE = re.compile(r"[a-z]+(\.packed)?")

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


class _Held(NamedTuple):
    """Files that stay mapped, as long as nothing changes."""

    version: tuple[int, int, int]
    features: NDArray[np.float16]
    embeddings: list[tuple[NDArray[Any], NDArray[np.uint32]]]
    """With their checksums."""


class Store(Catalogue):
    """One gallery's files. Open it with `Store.open` or `Store.create`; one thread at a time."""

    _held: _Held | None = None

    def close(self) -> None:
        """Close the gallery's files."""
        self._held = None
        super().close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out, in this and other processes; readers go on.

        Raises GalleryBusyError when another writer is at work.
        """
        with explained(self.folder), locked(self.folder):
            self.sweep()
            try:
                yield
            finally:
                self._draw_in_log()

    def kept_names(self) -> frozenset[str]:
        """Return the names of the files that the catalogue counts on."""
        generation, facts = self.generation(), self.get("graph", None)
        kept = {self._matrix_path().name}
        if generation:
            kept |= self._embeddings_names(generation)
            if facts and facts["file"] in _graph_names(generation):
                kept.add(facts["file"])
        return frozenset(kept)

    def sizes(self) -> dict[str, int]:
        """Return how many bytes the catalogue counts on, of each file that it does, but for the graph, by name."""
        sizes = {self._matrix_path().name: self.counted_on() * self._row_bytes}
        generation = self.generation()
        if generation and (slots := generation["slots"]):
            for name, columns in generation["spaces"].items():
                path = self.embeddings_path(generation, name)
                sizes[path.name] = slots * columns * _dtype(name).itemsize
                sizes[_sums_path(path).name] = slots * SUMS.itemsize
        return {name: size for name, size in sizes.items() if size}

    def _embeddings_names(self, generation: dict[str, Any]) -> set[str]:
        paths = {self.embeddings_path(generation, name) for name in generation["spaces"]}
        return {path.name for path in paths | {_sums_path(path) for path in paths}}

    def _free(self, generation: dict[str, Any]) -> dict[str, Any]:
        """Return a generation with the next number of which no names are taken by what isn't ours."""
        number = generation["number"] + 1
        while not self.owned.are_free(self._embeddings_names(generation | {"number": number})) or not (
            self.owned.are_free(_graph_names(generation | {"number": number}))
        ):
            number += 1
        return generation | {"number": number}

    def leftovers(self) -> set[Path]:
        """Return files that a compaction or a new generation, interrupted or not, has left behind."""
        with explained(self.folder):
            left = self.owned.names() - self.kept_names()
            return {path for path in (self.folder / name for name in left) if is_file(path)}

    def sweep(self) -> None:
        """Delete them; inside `writing`."""
        with explained(self.folder):
            self.owned.delete(self.owned.names() - self.kept_names())

    def claim(self, *paths: Path) -> None:
        """Note files before they are written; inside `writing`. Raises GalleryError where others' have their names."""
        with explained(self.folder):
            self.owned.note({path.name for path in paths} & self.kept_names())
            self.owned.claim(path.name for path in paths)

    def feature_rows(self) -> int:
        """Return how many whole features the matrix holds."""
        path = self._matrix_path()
        return path.stat().st_size // self._row_bytes if is_there(path) else 0

    def torn_bytes(self) -> int:
        """Return how many bytes of a torn row there are at the end of the matrix."""
        path = self._matrix_path()
        return path.stat().st_size % self._row_bytes if is_there(path) else 0

    def cut_torn_row(self) -> None:
        """Cut it off, which no reader maps; inside `writing`."""
        if self.torn_bytes():
            os.truncate(self._matrix_path(), self.feature_rows() * self._row_bytes)

    # what is fitted on the gallery

    def generation(self) -> dict[str, Any] | None:
        """Return the facts of what was fitted last, or None: number, slots, spaces (name -> dimension), …"""
        generation: dict[str, Any] | None = self.get("generation", None)
        if generation is not None and not _is_possible(generation):
            raise self._damaged("what it says of its embeddings can't be")
        return generation

    def _embedded_slots(self) -> int:
        return int((self.generation() or {"slots": 0})["slots"])

    def fitted(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that were fitted, by name."""
        with explained(self.folder), self.one_state():
            rows = self._all("SELECT name, value FROM fitted ORDER BY name")
            generation = self.generation() or {"fitted": fitted_sum(())}
        try:
            if fitted_sum(rows) == generation["fitted"]:
                return {name: np.load(BytesIO(value), allow_pickle=False) for name, value in rows}
        except (TypeError, ValueError, EOFError, MemoryError):  # what no array is
            pass
        raise self._damaged("what was fitted on it is not what was written")

    def sample(self, count: int) -> tuple[list[int], NDArray[np.float16]]:
        """Return ids and features (n, d) of up to `count` different images, chosen by content alone."""
        return self.settled(lambda: self._sample(count))

    def _sample(self, count: int) -> tuple[list[int], NDArray[np.float16]]:
        with self.one_state():
            rows = self._all(
                "SELECT min(id), slot, checksum FROM images GROUP BY content ORDER BY content LIMIT ?", (count,)
            )
            matrix = self.matrix(max((slot for _, slot, _ in rows), default=-1) + 1)
        features = matrix[[slot for _, slot, _ in rows]]
        if not np.array_equal(row_sums(features), [checksum for _, _, checksum in rows]):
            raise self._damaged("a feature is not the one that was written")
        return [id for id, _, _ in rows], features

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
            rows = [(name, _as_bytes(array)) for name, array in sorted(arrays.items())]
            generation = self._free(facts | {"number": last["number"], "spaces": dimensions, "slots": 0})
            generation |= {"fitted": fitted_sum(rows)}
            generation["slots"] = self._append_embeddings(generation, embed)
            with self.transaction():
                self._db.execute("DELETE FROM fitted")
                self._db.executemany("INSERT INTO fitted VALUES (?, ?)", rows)
                self.set("generation", generation)
                self.set("changed", 0)
            self.sweep()

    def extend_generation(self, embed: Embed) -> None:
        """Embed the slots that the generation's matrices don't reach yet; inside `writing`."""
        with explained(self.folder):
            generation = self.generation()
            # never fewer than before: a reader may have mapped what would be written over
            if generation is None or self._slots_in_use() <= generation["slots"]:
                return
            if not generation["slots"]:  # the slots have moved: write anew, under a new number
                generation = self._free(generation)
            slots = self._append_embeddings(generation, embed)
            with self.transaction():
                self.set("generation", generation | {"slots": slots})
            self.sweep()

    def forget_embeddings(self) -> None:
        """Have the embeddings made again, by the next `extend_generation`; inside `writing`."""
        if generation := self.generation():
            self.set("generation", generation | {"slots": 0})
            self.set("graph", None)

    def _append_embeddings(self, generation: dict[str, Any], embed: Embed) -> int:
        """Append the embeddings of all slots from generation["slots"] on; return how many slots there are."""
        total, done = self._slots_in_use(), generation["slots"]
        self.claim(*(self.folder / name for name in self._embeddings_names(generation)))
        with ExitStack() as stack:
            files: dict[str, tuple[BufferedWriter, BufferedWriter]] = {}
            for name, columns in generation["spaces"].items():
                path = self.embeddings_path(generation, name)
                files[name] = (
                    stack.enter_context(self._opened_at(path, done * columns * _dtype(name).itemsize)),
                    stack.enter_context(self._opened_at(_sums_path(path), done * SUMS.itemsize)),
                )
            for start in range(done, total, _BLOCK):
                made = embed(self._sound_features(start, min(start + _BLOCK, total)))
                for name, (file, sums) in files.items():
                    rows = np.ascontiguousarray(made[name], _dtype(name))
                    file.write(rows.tobytes())
                    sums.write(row_sums(rows).tobytes())
            for pair in files.values():
                for file in pair:
                    sync(file)
        sync_folder(self.folder)
        return total

    def _opened_at(self, path: Path, size: int) -> BufferedWriter:
        """Open a file to write behind its committed part; what an interrupted run has left there is cut off."""
        file = path.open("ab")
        if file.tell() < size:
            file.close()
            raise self._damaged(f"{path.name} has {path.stat().st_size} bytes, the catalogue counts on {size}")
        file.truncate(size)
        return file

    def embeddings(self, space: str, embed: Embed, number: int | None = None) -> Embedded:
        """Return all embeddings in a space of the generation.

        embed: for the slots that an interrupted run has left without. number: which generation must be the current
        one. Those of a small gallery are held against their checksums; of a larger one, each that is a hit is, by
        `verified`. Raises GalleryError as `features` does, OutdatedError where the generation is another.
        """
        return self.settled(lambda: self._embeddings(space, embed, number))

    def _embeddings(self, space: str, embed: Embed, number: int | None) -> Embedded:
        with self.one_state():
            generation = self.generation()
            if number is not None and number != (generation or {"number": 0})["number"]:
                raise OutdatedError(f"the gallery {self.folder} was fitted anew meanwhile: try again")
            if generation is None or space not in generation["spaces"]:
                raise self._damaged(f"it has no embeddings {space}")
            ids, slots = self._slots()
            total, done = int(slots.max(initial=-1)) + 1, generation["slots"]
            names = [name for name in (space, space + PACKED) if name in generation["spaces"]]
            matrices = {name: self.embedded(generation, name) for name in names}
            if len(ids) <= _SEEN_WHOLE:
                for name, matrix in matrices.items():
                    self._verify(generation, name, matrix, np.unique(slots[slots < done]))
            fresh = self._sound_features(done, total) if total > done else None
        if fresh is not None:
            made = embed(fresh)
            matrices = {name: np.concatenate([old, made[name].astype(old.dtype)]) for name, old in matrices.items()}
        return Embedded.of(ids, slots, matrices[space], matrices.get(space + PACKED))

    def verified(self, ids: Sequence[int]) -> dict[int, Row]:
        """Return images by id whose row, feature and embeddings are those that were written; none that is gone.

        Raises GalleryError where they aren't.
        """
        return self.settled(lambda: self._verified(ids))

    def _verified(self, ids: Sequence[int]) -> dict[int, Row]:
        with self.one_state():
            rows = self.find_all(ids)
            held = self._open_files()
        for row in rows:
            self._sound(held.features, row)
            for embeddings, sums in held.embeddings:
                if row.slot < len(sums) and zlib.crc32(embeddings[row.slot].tobytes()) != sums[row.slot]:
                    raise self._damaged(f"an embedding of {row.path} is not the one that was written")
        return {row.id: row for row in rows}

    def _open_files(self) -> "_Held":
        """Return the files mapped as they are now; kept, as for a single row mapping them is most of the work."""
        version = self.version()
        if self._held is None or self._held.version != version:
            generation = self.generation() or {"spaces": {}}
            pairs = [(self.embedded(generation, name), self.sums(generation, name)) for name in generation["spaces"]]
            self._held = _Held(version, self.matrix(self._slots_in_use()), pairs)
        return self._held

    def _verify(self, generation: dict[str, Any], name: str, matrix: NDArray[Any], slots: NDArray[np.int64]) -> None:
        """Raise GalleryError unless these rows of a matrix are those that were written."""
        if len(slots) and not np.array_equal(row_sums(matrix[slots]), self.sums(generation, name)[slots]):
            raise self._damaged(f"{self.embeddings_path(generation, name).name} is not what was written")

    def embedded(self, generation: dict[str, Any], name: str) -> NDArray[Any]:
        """Map a matrix (slots, d) of the generation; name: a space, or with `PACKED`."""
        count, columns, dtype = generation["slots"], generation["spaces"][name], _dtype(name)
        if not count:
            return np.empty((0, columns), dtype)
        return map_matrix(self.embeddings_path(generation, name), count, columns, dtype)

    def sums(self, generation: dict[str, Any], name: str) -> NDArray[np.uint32]:
        """Map the checksums (slots,) of its rows."""
        if not generation["slots"]:
            return np.empty(0, SUMS)
        path = _sums_path(self.embeddings_path(generation, name))
        return map_matrix(path, generation["slots"], 1, SUMS)[:, 0]

    def embeddings_path(self, generation: dict[str, Any], name: str) -> Path:
        """Return the file of a matrix of a generation."""
        space = name.removesuffix(PACKED)
        return self.folder / f"embeddings-{generation['number']}-{space}.{'f16' if space == name else 'i8'}"

    def graph_path(self, space: str) -> Path:
        """Return where the graph over a space of this generation is, or would be."""
        number = (self.generation() or {"number": 0})["number"]
        return self.folder / f"graph-{number}-{space}"

    def compact(self) -> bool:
        """Write the matrix anew without its holes, when they are the greater part of it."""
        with explained(self.folder):
            (used,) = self._only("SELECT count(DISTINCT slot) FROM images")
            taken = self._matrix_path().stat().st_size if is_there(self._matrix_path()) else 0
            if taken <= 2 * used * self._row_bytes or taken < _COMPACT_BYTES:
                return False
            slots = np.array(self._all("SELECT DISTINCT slot FROM images ORDER BY slot"), np.int64).reshape(-1)
            number = self.get("matrix") + 1
            while not self.owned.are_free([self._matrix_path(number).name]):
                number += 1
            self.claim(self._matrix_path(number))
            matrix = self.matrix(int(slots.max(initial=-1)) + 1)
            with self._matrix_path(number).open("wb") as file:
                for start in range(0, len(slots), _BLOCK):
                    file.write(matrix[slots[start : start + _BLOCK]].tobytes())
                sync(file)
            sync_folder(self.folder)
            with self.transaction() as changes:
                self._move(changes, slots)
                self.set("matrix", number)
                self.forget_embeddings()  # which go by the old slots
            self.sweep()
            return True

    def _move(self, changes: Changes, slots: NDArray[np.int64]) -> None:
        """Give each image the position of its slot among these (n,), rising."""
        last = -1
        while ids := [id for (id,) in self._all("SELECT id FROM images WHERE id > ? ORDER BY id LIMIT 4096", (last,))]:
            for id in ids:
                row = self.find(id=id)  # held against its checksum, before it gets another
                if row is not None:
                    changes.put(row._replace(slot=int(np.searchsorted(slots, row.slot))))
            last = ids[-1]


def _dtype(name: str) -> np.dtype[Any]:
    """Return the type of what is kept under a name of `Embed`."""
    return np.dtype(np.int8) if name.endswith(PACKED) else DTYPE


def _as_bytes(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _sums_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.crc")


def _graph_names(generation: dict[str, Any]) -> set[str]:
    """Return the names that the graphs of a generation may have, finished or not."""
    return {f"graph-{generation['number']}-{space}{end}" for space in generation["spaces"] for end in ("", ".part")}


def _is_possible(generation: Any) -> bool:
    """Tell whether these are facts that a generation may have: they name files and say how long these are."""
    if not isinstance(generation, dict) or not isinstance(generation.get("spaces"), dict):
        return False
    numbers = [generation.get("number"), generation.get("slots"), *generation["spaces"].values()]
    return all(isinstance(number, int) and 0 <= number < 2**40 for number in numbers) and all(
        isinstance(name, str) and _SPACE.fullmatch(name) for name in generation["spaces"]
    )
