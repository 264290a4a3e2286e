"""Examination: a look at all that a gallery holds, and what is wrong with it.

Every checksum is computed again, and every embedding is made afresh from its feature and compared.
"""

import os
import sqlite3
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.connection import CATALOGUE
from congener.disk import explain, explained, file_sum, is_there, row_sums
from congener.encoders import Encoder, load_encoder
from congener.errors import DamagedGalleryError, GalleryError
from congener.fit import Fit
from congener.indexes.base import unit
from congener.indexes.quantise import quantise, unpack
from congener.owned import NEW, others_in
from congener.schema import (
    COLUMNS,
    FACTS,
    FORMAT_VERSION,
    UNREAD_COLUMNS,
    sound_fact,
    sound_file_name,
    sound_row,
    sound_unread,
)
from congener.store import PACKED, Store

READ_AGAIN = "it is dropped; congener index reads its file again"

_INDEXES = {"slot": "images_slot", "inode": "images_inode", "path": "sqlite_autoindex_images_1"}
_BLOCK = 4096
_ROUNDING = 1e-5  # of float32 sums that are added up in another order, as another processor does

Progress = Callable[[int, int], None]
"""Called with the number of rows done, and to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that isn't as it was written."""

    what: str
    """catalogue, fact, image, unread, file, feature, fitted, embeddings, graph or picture."""
    where: str
    """The file, the image's path, or the name of the fact."""
    problem: str
    remedy: str
    """What mends it."""
    mended: bool = False

    def __str__(self) -> str:
        return f"{self.what} {self.where}: {self.problem}; {'mended' if self.mended else 'remedy'}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was looked at, and what is wrong."""

    gallery: str
    format: int
    images: int = 0
    """Rows of the catalogue."""
    features: int = 0
    """Different features of these images: copies share one."""
    embeddings: dict[str, int] = field(default_factory=dict)
    """Compared with fresh ones, by space."""
    waiting: int = 0
    """Features that no run has embedded yet: they are when they are asked for."""
    graph: int = 0
    """Rows in the approximate index; 0 where there is none."""
    pictures: int = 0
    """Files that were read and encoded again."""
    changed: int = 0
    """Of these, files that are gone or have changed since they were indexed: for the next index."""
    unused: tuple[str, ...] = ()
    """What interrupted runs have left behind: harmless, and cleared away by the next run."""
    findings: tuple[Finding, ...] = ()
    seconds: float = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, or all of it was mended."""
        return all(finding.mended for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self) | {"sound": self.sound}


def start_again(place: Path) -> str:
    """Return what to do where nothing can be mended."""
    if others_in(place):
        return "keep another gallery with --gallery PATH"
    return f"delete the folder {place} and index again"


def encoder_of(store: Store, encoder: Encoder | None) -> Encoder:
    """Return the encoder that made a gallery. Raises GalleryError when it is another one than was given."""
    made_by = store.get("encoder")
    try:
        encoder = encoder or load_encoder(made_by["name"], made_by["precision"])
    except KeyError:
        raise GalleryError(
            f"the gallery {store.folder} doesn't say what made it: {start_again(store.folder)}"
        ) from None
    if encoder.identity.as_dict() != made_by:
        raise GalleryError(
            f"the gallery {store.folder} was made by {made_by['name']}, not by {encoder.identity}: check it with the "
            "encoder that made it"
        )
    return encoder


class Examination:
    """One look at everything."""

    def __init__(
        self, store: Store, encoder: Encoder | None, progress: Progress | None, *, afresh: bool = True
    ) -> None:
        """afresh: whether to make every embedding afresh from its feature, by the encoder, and compare."""
        self._store, self._afresh = store, afresh
        self._db = store.connection
        self._given = encoder
        self._progress = progress
        self._found: list[Finding] = []

    @property
    def encoder(self) -> Encoder:
        """What made the gallery; loaded when it is needed."""
        self._given = encoder_of(self._store, self._given)
        return self._given

    def report(self) -> CheckReport:
        """Look, and tell."""
        self._look_at_catalogue()
        self._look_at_facts()
        images, slots, sums = self._look_at_rows()
        self._look_at_lists()
        report = CheckReport(str(self._store.folder), FORMAT_VERSION, images)
        if all(finding.what != "fact" for finding in self._found):
            sound = self._look_at_features(slots, sums)
            embeddings, waiting = self._look_at_generation(sound)
            report = replace(report, features=len(np.unique(slots)), embeddings=embeddings, waiting=waiting)
            report = replace(report, graph=self._look_at_graph(), unused=tuple(self._unused()))
        return replace(report, findings=tuple(self._found))

    def _note(self, what: str, where: str, problem: str, remedy: str) -> None:
        self._found.append(Finding(what, where, problem, remedy))

    def _ask(self, query: str) -> Iterator[Any]:
        try:
            yield from self._db.execute(query)
        except sqlite3.Error as error:
            explanation = explain(self._store.folder, error)
            if not isinstance(explanation, DamagedGalleryError):  # it can't be looked at now
                raise explanation from error
            remedy = f"it is written anew where it can be read; else {start_again(self._store.folder)}"
            self._note("catalogue", CATALOGUE, str(error), remedy)

    def _look_at_catalogue(self) -> None:
        for (line,) in self._ask("PRAGMA integrity_check(20)"):
            for problem in str(line).splitlines():
                if problem != "ok":
                    self._note("catalogue", CATALOGUE, problem, "its pages and indexes are written anew")
        # an integrity check looks entries up, and passes over some that can't be read one after the other
        for column, index in _INDEXES.items():
            sums = [
                sum(zlib.crc32(repr(entry).encode()) for entry in self._ask(f"SELECT id, {column} FROM images {how}"))
                for how in ("NOT INDEXED", f"INDEXED BY {index}")
            ]
            if sums[0] != sums[1]:
                self._note("catalogue", CATALOGUE, f"{index} is not of its images", "it is written anew")

    def _look_at_facts(self) -> None:
        lost = set(FACTS)
        for key, value, total in self._ask("SELECT key, value, sum FROM meta"):
            lost.discard(key)
            try:
                sound_fact(key, value, total)
            except ValueError:
                self._note_fact(str(key), "not what was written")
        for key in sorted(lost):
            self._note_fact(key, "lost")
        if "generation" not in lost and not any(finding.where == "generation" for finding in self._found):
            try:
                self._store.generation()
            except GalleryError as error:
                self._note_fact("generation", str(error))

    def _note_fact(self, key: str, problem: str) -> None:
        remedies = {
            "encoder": start_again(self._store.folder),
            "format": start_again(self._store.folder),
            "exclude": "nothing is left out any more, until congener index --exclude says it again",
            "default_exclude": "what is passed over by default is, until congener index --no-default-exclude says else",
            "generation": "congener index fits it anew; what was learned from labels, congener adapt learns again",
            "index": "auto, until congener index --index chooses another",
            "matrix": "the number of the file of features is taken for it, where there is only one",
        }
        self._note("fact", key, problem, remedies.get(key, "it is found again"))

    def _look_at_rows(self) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of images, and slot and checksum (n,) of those whose row is sound."""
        count, slots, sums = 0, array("q"), array("q")
        for values in self._ask(f"SELECT {COLUMNS}, sum FROM images NOT INDEXED ORDER BY id"):
            count += 1
            row = sound_row(values)
            if row is None or row.slot < 0:
                path = os.fsdecode(values[1]) if isinstance(values[1], bytes | str) else "?"
                self._note("image", f"{values[0]} ({path})", "its row is not what was written", READ_AGAIN)
                continue
            slots.append(row.slot)
            sums.append(row.checksum)
        return count, np.frombuffer(slots, np.int64), np.frombuffer(sums, np.int64)

    def _look_at_lists(self) -> None:
        """Look at the files that can't be read, and at the names of the gallery's own."""
        for values in self._ask(f"SELECT {UNREAD_COLUMNS}, sum FROM unread"):
            if sound_unread(values) is None:
                path = os.fsdecode(values[0]) if isinstance(values[0], bytes | str) else "?"
                self._note("unread", path, "its row is not what was written", "it is dropped; its file is tried again")
        for name, total in self._ask("SELECT name, sum FROM files"):
            if sound_file_name(name, total) is None:
                self._note("file", str(name), "its row is not what was written", "it is dropped")

    def _look_at_features(self, slots: NDArray[np.int64], sums: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slots whose feature is what was written, rising."""
        pairs = np.unique(np.stack([slots, sums]), axis=1)
        present = self._store.feature_rows()
        wrong = [pairs[0, pairs[0] >= present]]
        pairs = pairs[:, pairs[0] < present]
        matrix = self._store.matrix(int(pairs[0].max(initial=-1)) + 1)
        for start in range(0, pairs.shape[1], _BLOCK):
            here, expected = pairs[:, start : start + _BLOCK]
            wrong.append(here[row_sums(matrix[here]) != expected])
        bad = np.unique(np.concatenate(wrong))
        for slot in bad.tolist():
            for (path,) in self._ask(f"SELECT path FROM images NOT INDEXED WHERE slot = {slot}"):
                problem = (
                    "its feature is not what was written" if slot < present else "the file ends before its feature"
                )
                self._note("feature", os.fsdecode(path), problem, READ_AGAIN)
        sound: NDArray[np.int64] = np.setdiff1d(pairs[0], bad)
        return sound

    def _look_at_generation(self, slots: NDArray[np.int64]) -> tuple[dict[str, int], int]:
        """Return how many embeddings were compared, by space, and how many features have none yet."""
        generation = self._store.generation()
        if generation is None:
            return {}, 0
        reached = slots[slots < generation["slots"]]
        fit = self._fit(generation)
        names = [name for name in generation["spaces"] if self._is_as_written(generation, name, reached)]
        compared = {}
        if fit is not None and self._afresh:
            compared = {name: len(reached) for name in names if not name.endswith(PACKED)}
            self._compare(generation, fit, names, reached)
        return compared, len(slots) - len(reached)

    def _fit(self, generation: dict[str, Any]) -> Fit | None:
        remedy = "congener index fits it anew; what was learned from labels, congener adapt learns again"
        try:
            fit = Fit.restored(self._store.fitted())
        except GalleryError:
            problem = "not what was written"
        except (KeyError, IndexError, ValueError, TypeError):
            problem = "an array is missing, or of another shape"
        else:
            if generation["spaces"].keys() <= fit.columns.keys():
                return fit
            problem = "not what the embeddings were made by"
        self._note("fitted", "arrays", problem, remedy)
        return None

    def _is_as_written(self, generation: dict[str, Any], name: str, slots: NDArray[np.int64]) -> bool:
        """Tell whether the rows of a matrix have their checksums."""
        where = self._store.embeddings_path(generation, name).name
        try:
            with explained(self._store.folder):
                matrix, sums = self._store.embedded(generation, name), self._store.sums(generation, name)
        except GalleryError as error:
            self._note("embeddings", where, str(error), "they are made again from the features")
            return False
        wrong = 0
        for start in range(0, len(slots), _BLOCK):
            here = slots[start : start + _BLOCK]
            wrong += int((row_sums(matrix[here]) != sums[here]).sum())
        if wrong:
            self._note("embeddings", where, f"{wrong} rows are not what was written", "they are made again")
        return not wrong

    def _compare(self, generation: dict[str, Any], fit: Fit, names: list[str], slots: NDArray[np.int64]) -> None:
        """Compare the stored embeddings with fresh ones."""
        embed = fit.embed_all(self.encoder)
        wrong = dict.fromkeys(names, 0)
        features = self._store.matrix(int(slots.max(initial=-1)) + 1)
        for start in range(0, len(slots), _BLOCK):
            here = slots[start : start + _BLOCK]
            fresh = embed(features[here])
            for name in names:
                stored = self._store.embedded(generation, name)[here]
                if not name.endswith(PACKED):
                    wrong[name] += int(_differ(stored, fresh[name]).sum())
                elif (space := name.removesuffix(PACKED)) in names:
                    kept = self._store.embedded(generation, space)[here]
                    wrong[name] += int(_packed_differ(stored, quantise(unit(kept))).sum())
            if self._progress:
                self._progress(start + len(here), len(slots))
        for name, count in wrong.items():
            if count:
                where = self._store.embeddings_path(generation, name).name
                problem = f"{count} rows are not what their features give"
                self._note("embeddings", where, problem, "they are made again from the features")

    def _look_at_graph(self) -> int:
        """Return how many rows the approximate index holds."""
        facts = self._store.get("graph", None)
        path = self._store.folder / str(facts["file"]) if facts else None
        if not facts or path is None or not is_there(path):
            return 0
        from congener.indexes.approximate import GraphError, open_graph

        generation = self._store.generation() or {"spaces": {}, "slots": 0}
        space = path.name.split("-")[-1]
        if path != self._store.graph_path(space):  # of an older generation: unused, until its own is built
            return 0
        try:
            graph = open_graph(path, generation["spaces"].get(space, 0))
            as_written = facts.get("sum", 0) in {0, file_sum(path)} and graph.rows <= generation["slots"]
            problem = "" if as_written else "it is not what was written"
        except GraphError as error:
            problem = str(error)
        except GalleryError:  # usearch isn't installed: nothing reads it
            return 0
        if problem:
            self._note("graph", path.name, problem, "it is deleted; congener index builds it again")
            return 0
        return graph.rows

    def _unused(self) -> Iterator[str]:
        store = self._store
        leftovers: set[Path] = set()
        with suppress(GalleryError):  # where the list of its own files is damaged, which is told already
            leftovers = store.leftovers()
        names = {path.name for path in leftovers} | {NEW for path in [store.folder / NEW] if path.exists()}
        yield from sorted(names)
        if torn := store.torn_bytes():
            yield f"{torn} bytes of a torn row at the end of the features"


def _differ(stored: NDArray[np.float16], fresh: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Tell which rows (n,) are not the same to rounding: one step of float16, where two sums of float32 may part."""
    a, b = stored.astype(np.float32), fresh.astype(np.float32)
    step = np.spacing(np.maximum(np.abs(stored), np.abs(fresh))).astype(np.float32)
    apart = np.abs(a - b) > step + np.float32(_ROUNDING)
    return np.asarray(apart.any(axis=1), np.bool_)


def _packed_differ(stored: NDArray[np.int8], fresh: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Tell which packed rows (n,) are not the same to a step of their codes."""
    (codes, scales), (others, other_scales) = unpack(stored), unpack(fresh)
    steps = np.abs(codes.astype(np.int16) - others).max(axis=1, initial=0)
    apart = np.abs(scales - other_scales) > 1e-3 * np.abs(other_scales)
    return np.asarray((steps > 1) | apart, np.bool_)
