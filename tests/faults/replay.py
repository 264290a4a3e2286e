"""Replay a recording: what a folder may look like after a kill or a loss of power at each moment of it.

The model is the strict reading of POSIX. After a kill all that was done is there, the last write perhaps in part.
After a loss of power only what was synced is sure. Of what was written to a file since its last sync any part may be
there, in sectors of 512 bytes; of what was done to the names in a folder since the last sync of that folder any part
may be there. A file's own sync doesn't make its name lasting. Real file systems promise more.
"""

import os
import random
import struct
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

HEAD = struct.Struct("<c3xiqII")
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: see record.c."""

    kind: str
    file: int
    """Its descriptor."""
    offset: int
    data: bytes

    @property
    def paths(self) -> list[str]:
        """The paths that it names."""
        return [os.fsdecode(path) for path in self.data.split(b"\0")[:-1]]


def read_log(path: Path) -> list[Operation]:
    """Return what was recorded, in order. Raises ValueError for what can't be replayed."""
    log, at, operations = path.read_bytes(), 0, []
    while at < len(log):
        kind, file, offset, length, _ = HEAD.unpack_from(log, at)
        at += HEAD.size
        operation = Operation(kind.decode(), file, offset, log[at : at + length])
        if operation.kind == "?":
            raise ValueError(f"the program did what can't be replayed: {operation.paths}")
        operations.append(operation)
        at += length
    return operations


@dataclass(slots=True)
class Change:
    """What was done to a file's contents: data at an offset, or where there are none, a new size."""

    offset: int
    data: bytes | None = None

    def on(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
        else:
            content.extend(bytes(max(0, self.offset - len(content))))
            content[self.offset : self.offset + len(self.data)] = self.data


@dataclass(slots=True)
class File:
    """A file: what is sure of it, and what was done since."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def content(self, changes: Sequence[Change]) -> bytearray:
        result = bytearray(self.synced)
        for change in changes:
            change.on(result)
        return result

    def sync(self) -> None:
        for change in self.pending:
            change.on(self.synced)
        self.pending = []


@dataclass(slots=True)
class Folder:
    """A folder: the names that are sure, and what was done to them since."""

    synced: "dict[str, Node]" = field(default_factory=dict)
    pending: "list[dict[str, Node | None]]" = field(default_factory=list)
    """Each change's names, with what they name from then on; None: nothing."""

    def names(self, changes: "Sequence[dict[str, Node | None]]") -> "dict[str, Node]":
        result: dict[str, Node | None] = dict(self.synced)
        for change in changes:
            result |= change
        return {name: node for name, node in result.items() if node is not None}

    def sync(self) -> None:
        self.synced, self.pending = self.names(self.pending), []


Node = File | Folder
Tree = dict[str, "bytes | Tree"]
"""What a folder looks like: contents by name."""


class Disk:
    """A folder's state while a recording is replayed."""

    def __init__(self, root: Path, before: Tree | None = None) -> None:
        """root: the folder that was recorded; before: what it held, synced, at first."""
        self._root = str(root.resolve())
        self.top = _lasting(before or {})
        self._open: dict[int, Node] = {}

    def _find(self, path: str) -> tuple[Folder, str]:
        """Return the folder that holds a path's last name, and that name."""
        *parents, name = path.removeprefix(self._root).strip("/").split("/")
        folder = self.top
        for parent in parents:
            node = folder.names(folder.pending)[parent]
            assert isinstance(node, Folder)
            folder = node
        return folder, name

    def _node(self, path: str) -> Node | None:
        folder, name = self._find(path)
        return folder.names(folder.pending).get(name) if name else folder

    def do(self, operation: Operation) -> None:
        """Let an operation happen."""
        match operation.kind:
            case "o":
                self._open_file(operation)
            case "w":
                self._file(operation).pending.append(Change(operation.offset, operation.data))
            case "t":
                self._file(operation).pending.append(Change(operation.offset))
            case "s":
                self._open[operation.file].sync()
            case "c":
                del self._open[operation.file]
            case "d":
                self._open[operation.offset] = self._open[operation.file]
            case "!" | "f":
                pass
            case _:
                self._name(operation)

    def _file(self, operation: Operation) -> File:
        node = self._node(operation.paths[0]) if operation.file < 0 else self._open[operation.file]
        assert isinstance(node, File)
        return node

    def _open_file(self, operation: Operation) -> None:
        node = self._node(operation.paths[0])
        if node is None:
            node = File()
            folder, name = self._find(operation.paths[0])
            folder.pending.append({name: node})
        elif operation.offset & os.O_TRUNC:
            assert isinstance(node, File)
            node.pending.append(Change(0))
        self._open[operation.file] = node

    def _name(self, operation: Operation) -> None:
        paths = operation.paths
        folder, name = self._find(paths[0])
        node = folder.names(folder.pending).get(name)
        if operation.kind == "m":
            folder.pending.append({name: Folder()})
        elif operation.kind in "uk":
            folder.pending.append({name: None})
        else:
            other, new = self._find(paths[1])
            change = {new: node} | ({name: None} if operation.kind == "r" and new != name else {})
            assert other is folder, "a name moves to another folder: not replayed"
            folder.pending.append(change)

    # what may be left

    def killed(self, next: Operation | None, rng: random.Random) -> Tree:
        """Return what a kill leaves: all that was done, and perhaps a part of the next write."""
        if next is None or next.kind != "w":
            return self._tree(self.top, keep_all, rng)
        file = self._file(next)
        file.pending.append(Change(next.offset, next.data[: rng.randrange(len(next.data))]))
        try:
            return self._tree(self.top, keep_all, rng)
        finally:
            file.pending.pop()

    def lost(self, loss: "Loss", rng: random.Random) -> Tree:
        """Return what a loss of power leaves."""
        return self._tree(self.top, loss, rng)

    def _tree(self, folder: Folder, loss: "Loss", rng: random.Random) -> Tree:
        tree: Tree = {}
        for name, node in folder.names(loss.names(folder.pending, rng)).items():
            if isinstance(node, Folder):
                tree[name] = self._tree(node, loss, rng)
            else:
                tree[name] = loss.content(node, rng)
        return tree


def _lasting(tree: Tree) -> Folder:
    """Return a folder that is sure to look like this."""
    names: dict[str, Node] = {}
    for name, content in tree.items():
        names[name] = _lasting(content) if isinstance(content, dict) else File(bytearray(content))
    return Folder(names)


class Loss:
    """What of the unsynced is kept: here, all."""

    def names(self, changes: "list[dict[str, Node | None]]", rng: random.Random) -> "list[dict[str, Node | None]]":
        return changes

    def content(self, file: File, rng: random.Random) -> bytes:
        return bytes(file.content(self.changes(file.pending, rng)))

    def changes(self, changes: list[Change], rng: random.Random) -> list[Change]:
        return changes


class DropAll(Loss):
    """Nothing that wasn't synced."""

    def names(self, changes: "list[dict[str, Node | None]]", rng: random.Random) -> "list[dict[str, Node | None]]":
        return []

    def changes(self, changes: list[Change], rng: random.Random) -> list[Change]:
        return []


class DropContents(Loss):
    """All names, of new contents nothing."""

    def changes(self, changes: list[Change], rng: random.Random) -> list[Change]:
        return []


class DropNames(DropAll):
    """All contents, of new names nothing."""

    def changes(self, changes: list[Change], rng: random.Random) -> list[Change]:
        return changes


class Some(Loss):
    """Any part of what was done, in order."""

    def names(self, changes: "list[dict[str, Node | None]]", rng: random.Random) -> "list[dict[str, Node | None]]":
        return [change for change in changes if rng.random() < 0.5]

    def changes(self, changes: list[Change], rng: random.Random) -> list[Change]:
        return [change for change in changes if rng.random() < 0.5]


class First(Loss):
    """What was done up to some moment, as a file system with a journal keeps it."""

    def names(self, changes: "list[dict[str, Node | None]]", rng: random.Random) -> "list[dict[str, Node | None]]":
        return changes[: rng.randint(0, len(changes))]

    def changes(self, changes: list[Change], rng: random.Random) -> list[Change]:
        return changes[: rng.randint(0, len(changes))]


class Torn(Some):
    """Any sectors of what was written."""

    def changes(self, changes: list[Change], rng: random.Random) -> list[Change]:
        return list(self._sectors(changes, rng))

    def _sectors(self, changes: list[Change], rng: random.Random) -> Iterator[Change]:
        for change in changes:
            if change.data is None:
                if rng.random() < 0.5:
                    yield change
                continue
            end = change.offset + len(change.data)
            at = change.offset
            while at < end:
                stop = min(end, (at // SECTOR + 1) * SECTOR)
                if rng.random() < 0.5:
                    part = copy(change)
                    part.offset, part.data = at, change.data[at - change.offset : stop - change.offset]
                    yield part
                at = stop


class Zeros(DropContents):
    """All names and sizes, of new contents nothing but zeros."""

    def content(self, file: File, rng: random.Random) -> bytes:
        size = len(file.content(file.pending))
        return bytes(file.synced[:size]).ljust(size, b"\0")


class Longest(Torn):
    """Any sectors, and files as long as they ever were since: zeros where nothing came."""

    def content(self, file: File, rng: random.Random) -> bytes:
        ends = [change.offset + len(change.data or b"") for change in file.pending]
        return super().content(file, rng).ljust(max(ends, default=0), b"\0")


keep_all = Loss()
LOSSES: dict[str, Loss] = {
    "all kept": keep_all,
    "all dropped": DropAll(),
    "contents dropped": DropContents(),
    "names dropped": DropNames(),
    "some": Some(),
    "first": First(),
    "torn": Torn(),
    "zeros": Zeros(),
    "longest": Longest(),
}


def write_tree(tree: Tree, place: Path) -> None:
    """Write a folder that looks like this."""
    place.mkdir(parents=True)
    for name, content in tree.items():
        if isinstance(content, dict):
            write_tree(content, place / name)
        else:
            (place / name).write_bytes(content)


def read_tree(place: Path) -> Tree:
    """Return what a folder looks like, without SQLite's shared memory."""
    paths = (path for path in sorted(place.iterdir()) if not path.name.endswith("-shm"))
    return {path.name: read_tree(path) if path.is_dir() else path.read_bytes() for path in paths}


def digest(tree: Tree) -> bytes:
    """Return a value that differs between trees."""
    result = sha256()
    for name, content in sorted(tree.items()):
        of = digest(content) if isinstance(content, dict) else sha256(content).digest()
        result.update(f"{name}\0".encode() + of)
    return result.digest()
