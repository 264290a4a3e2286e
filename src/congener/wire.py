"""Plain values through a pipe: reading them runs nothing, whatever the other side has become.

A message is the length of a JSON header, the header, and a body: the bytes that it speaks of, unless they lie on a
tray already. Pickle would let a process that parsed hostile data run code where its answer is read.
"""

import builtins
import json
import re
import struct
import sys
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import IO, Any, NamedTuple

from PIL import Image

from congener import errors
from congener.errors import CongenerError
from congener.tray import Tray

HEADER_LIMIT = 4 << 20
"""Bytes of a header at most."""

BODY_LIMIT = 1 << 30
"""Bytes of a message's body at most: above the 600 MB of the largest picture that is opened."""

_KINDS: dict[str, type[Exception]] = {
    name: kind
    for module in (builtins, errors)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Exception)
}
_LENGTH = struct.Struct("<Q")
_NUMBERS = re.compile(r"[<>|][biuf]\d{1,2}")


class WireError(ValueError):
    """What came is no message."""


def write_frame(stream: IO[bytes], data: bytes) -> None:
    """Write bytes that `read_frame` gives back."""
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes:
    """Return what `write_frame` wrote. Raises EOFError at the end of the stream."""
    return bytes(_exactly(stream, *_LENGTH.unpack(_exactly(stream, _LENGTH.size))))


class Laid(NamedTuple):
    """An array that lies on a tray, in a message: where it begins, its kind and shape."""

    start: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return prod(self.shape) * int(self.dtype[2:])


def lay(value: Any, tray: Tray) -> Any:
    """Put a picture or an array on a tray now, and return what a message has in its place; itself without room."""
    body = _Body()
    match _to_tree(value, body):
        case {"array": [_, str(dtype), shape]} if (start := tray.lay(*body.parts)) is not None:
            return Laid(start, dtype, tuple(shape))
    return value


Message = list[bytes | memoryview]
"""A value, ready to be written: the parts, one after the other."""


class _Body:
    """What a message's header speaks of by its place: bytes, one after the other."""

    def __init__(self) -> None:
        self.parts: Message = []
        self.size = 0

    def add(self, *parts: bytes | memoryview, aligned: bool = False) -> int:
        """Put parts behind the others, without a gap between them; return where the first begins."""
        if gap := -self.size % 8 if aligned else 0:
            self.add(bytes(gap))
        start = self.size
        self.parts += parts
        self.size += sum(len(part) for part in parts)
        return start


def message(value: Any) -> Message:
    """Return None, numbers, strings, bytes, arrays of numbers, or lists, tuples and dicts of them, as a message.

    An RGB picture is sent as its array, (height, width, 3) uint8; a list of such, all of one size, as one array
    (n, height, width, 3), as does a list of what was laid on a tray so. Raises TypeError for anything else.
    """
    body = _Body()
    tree = _to_tree(value, body)
    header = json.dumps([tree, body.size]).encode()
    return [_LENGTH.pack(len(header)) + header, *body.parts]


def write(stream: IO[bytes], message: Message) -> None:
    """Write a message."""
    for part in message:
        stream.write(part)
    stream.flush()


def read(stream: IO[bytes], tray: Tray | None = None) -> Any:
    """Return the value of the next message; arrays that were laid on the tray lie there, all others in memory of ours.

    Raises EOFError at the end of the stream, WireError for what is no message.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > HEADER_LIMIT:
        raise WireError(f"a header of {length} bytes")
    try:
        tree, size = json.loads(_exactly(stream, length))
        if type(size) is not int or not 0 <= size <= BODY_LIMIT:
            raise WireError("a body of no possible size")
        return _from_tree(tree, _exactly(stream, size), tray)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise WireError(str(error)) from None


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    if stream.readinto(data) != size:  # type: ignore[attr-defined]  # a buffered stream reads until it is full
        raise EOFError
    return data


def _to_tree(value: Any, body: _Body) -> Any:
    """Return a value as JSON can hold it: what JSON hasn't is an object of one name, its kind."""
    match value:
        case None | bool() | int() | float() | str():
            tree: Any = value
        case bytes():
            tree = {"bytes": [body.add(value), len(value)]}
        case Image.Image(mode="RGB"):
            tree = _to_array([value], (value.height, value.width, 3), body)
        case list([Image.Image(mode="RGB", size=size), *others]) if all(
            isinstance(each, Image.Image) and (each.mode, each.size) == ("RGB", size) for each in others
        ):
            tree = _to_array(value, (len(value), size[1], size[0], 3), body)
        case Laid():
            tree = {"laid": [value.start, value.dtype, value.shape]}
        case list([Laid() as first, *others]) if all(
            other == Laid(first.start + number * first.size, first.dtype, first.shape)
            for number, other in enumerate(others, 1)
        ):
            tree = {"laid": [first.start, first.dtype, (len(value), *first.shape)]}
        case list():
            tree = [_to_tree(each, body) for each in value]
        case tuple():
            tree = {"tuple": [_to_tree(each, body) for each in value]}
        case dict():
            tree = {"dict": [[_to_tree(each, body) for each in pair] for pair in value.items()]}
        case _:
            tree = _to_tree_of_numpy(value, body)
    return tree


def _to_array(pictures: Sequence[Image.Image], shape: tuple[int, ...], body: _Body) -> Any:
    return {"array": [body.add(*(picture.tobytes() for picture in pictures)), "|u1", shape]}


def _to_tree_of_numpy(value: Any, body: _Body) -> Any:
    np = sys.modules.get("numpy")  # where it wasn't imported, nothing is its: a process starts .1 s sooner
    if np and isinstance(value, np.generic):
        return _to_tree(value.item(), body)
    if np and isinstance(value, np.ndarray) and _NUMBERS.fullmatch(value.dtype.str):
        data = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        return {"array": [body.add(data, aligned=True), value.dtype.str, value.shape]}
    raise TypeError(
        f"{type(value).__name__} is no plain value: those are None, numbers, str, bytes, arrays of numbers, "
        "RGB pictures, and lists, tuples and dicts of them"
    )


def _from_tree(tree: Any, body: bytearray, tray: Tray | None) -> Any:
    match tree:
        case list():
            value: Any = [_from_tree(each, body, tray) for each in tree]
        case {"bytes": [int(start), int(size)]}:
            value = bytes(_part(body, start, size))
        case {"array": [int(start), str(dtype), list(shape)]}:
            value = _array(partial(_part, body), start, dtype, shape)
        case {"laid": [int(start), str(dtype), list(shape)]} if tray:
            value = _array(tray.part, start, dtype, shape)
        case {"tuple": list(values)}:
            value = tuple(_from_tree(each, body, tray) for each in values)
        case {"dict": list(pairs)}:
            value = {_from_tree(key, body, tray): _from_tree(each, body, tray) for key, each in pairs}
        case dict():
            raise WireError("an unknown kind")
        case _:
            value = tree
    return value


def _part(body: bytearray, start: int, size: int) -> memoryview:
    if not 0 <= start <= start + size <= len(body):
        raise WireError("a place beyond the body")
    return memoryview(body)[start : start + size]


def _array(part: Callable[[int, int], memoryview], start: int, dtype: str, shape: list[Any]) -> Any:
    """Return an array, writable, that shares the memory of which `part` gives a part by its start and size."""
    if not _NUMBERS.fullmatch(dtype) or not all(type(side) is int and side >= 0 for side in shape):
        raise WireError("an array of no possible kind")
    import numpy as np

    kind = np.dtype(dtype)
    return np.frombuffer(part(start, prod(shape) * kind.itemsize), kind).reshape(shape)


def told(error: Exception) -> tuple[str, tuple[Any, ...], str]:
    """Return an error as plain values: a name of `_KINDS`, its arguments, its traceback."""
    from traceback import format_exception

    name = next(kind.__name__ for kind in type(error).__mro__ if _KINDS.get(kind.__name__) is kind)
    note = "in a worker's process:\n" + "".join(format_exception(error))
    if name == "Exception":  # says nothing
        return "RuntimeError", (f"{type(error).__name__}: {error}",), note
    plain = all(arg is None or isinstance(arg, str | int | float | bytes) for arg in error.args)
    return name, error.args if plain else (str(error),), note


def error_of(told: Any) -> Exception:
    """Return the error that `told` was given, or its nearest base; faults of ours with their traceback as a note."""
    try:
        name, args, note = told
        error = _KINDS[name](*args)
        if not isinstance(error, CongenerError):  # a fault of ours
            error.add_note(note)
    except (TypeError, ValueError, KeyError):
        error = RuntimeError(str(told))
    return error
