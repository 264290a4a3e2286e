"""Plain values through a pipe: reading them runs nothing, whatever the other side has become.

A message is the length of a JSON header, the header, and the blocks of bytes that it speaks of. Pickle would let
a process that parsed hostile data run code where its answer is read.
"""

import builtins
import json
import re
import struct
import sys
from collections.abc import Sequence
from math import prod
from typing import IO, Any

from PIL import Image

from congener import errors
from congener.errors import CongenerError

HEADER_LIMIT = 4 << 20
"""Bytes of a header at most."""

BLOCKS_LIMIT = 1 << 30
"""Bytes of all blocks of a message at most: above the 600 MB of the largest picture that is opened."""

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


Message = list[bytes | memoryview]
"""A value, ready to be written: the parts, one after the other."""


def message(value: Any) -> Message:
    """Return None, numbers, strings, bytes, arrays of numbers, or lists, tuples and dicts of them, as a message.

    An RGB picture is sent as its array, (height, width, 3) uint8. Raises TypeError for anything else.
    """
    blocks: list[memoryview] = []
    tree = _to_tree(value, blocks)
    header = json.dumps([tree, [block.nbytes for block in blocks]]).encode()
    return [_LENGTH.pack(len(header)) + header, *blocks]


def write(stream: IO[bytes], message: Message) -> None:
    """Write a message."""
    for part in message:
        stream.write(part)
    stream.flush()


def read(stream: IO[bytes]) -> Any:
    """Return the value of the next message.

    Raises EOFError at the end of the stream, WireError for what is no message.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > HEADER_LIMIT:
        raise WireError(f"a header of {length} bytes")
    try:
        tree, sizes = json.loads(_exactly(stream, length))
        if not all(type(size) is int and size >= 0 for size in sizes) or sum(sizes) > BLOCKS_LIMIT:
            raise WireError("blocks of no possible size")
        return _from_tree(tree, [_exactly(stream, size) for size in sizes])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise WireError(str(error)) from None


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    if stream.readinto(data) != size:  # type: ignore[attr-defined]  # a buffered stream reads until it is full
        raise EOFError
    return data


def _to_tree(value: Any, blocks: list[memoryview]) -> Any:
    """Return a value as JSON can hold it: what JSON hasn't is an object of one name, its kind."""
    match value:
        case None | bool() | int() | float() | str():
            tree: Any = value
        case bytes():
            blocks.append(memoryview(value))
            tree = {"bytes": len(blocks) - 1}
        case Image.Image(mode="RGB"):
            blocks.append(memoryview(value.tobytes()))
            tree = {"array": [len(blocks) - 1, "|u1", (value.height, value.width, 3)]}
        case list():
            tree = [_to_tree(each, blocks) for each in value]
        case tuple():
            tree = {"tuple": [_to_tree(each, blocks) for each in value]}
        case dict():
            tree = {"dict": [[_to_tree(each, blocks) for each in pair] for pair in value.items()]}
        case _:
            tree = _to_tree_of_numpy(value, blocks)
    return tree


def _to_tree_of_numpy(value: Any, blocks: list[memoryview]) -> Any:
    np = sys.modules.get("numpy")  # where it wasn't imported, nothing is its: a process starts .1 s sooner
    if np and isinstance(value, np.generic):
        return _to_tree(value.item(), blocks)
    if np and isinstance(value, np.ndarray) and _NUMBERS.fullmatch(value.dtype.str):
        blocks.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return {"array": [len(blocks) - 1, value.dtype.str, value.shape]}
    raise TypeError(
        f"{type(value).__name__} is no plain value: those are None, numbers, str, bytes, arrays of numbers, "
        "RGB pictures, and lists, tuples and dicts of them"
    )


def _from_tree(tree: Any, blocks: Sequence[bytearray]) -> Any:
    match tree:
        case list():
            return [_from_tree(each, blocks) for each in tree]
        case {"bytes": int(block)}:
            return bytes(blocks[block])
        case {"array": [int(block), str(dtype), list(shape)]}:
            return _array(blocks[block], dtype, shape)
        case {"tuple": list(values)}:
            return tuple(_from_tree(each, blocks) for each in values)
        case {"dict": list(pairs)}:
            return {_from_tree(key, blocks): _from_tree(each, blocks) for key, each in pairs}
        case dict():
            raise WireError("an unknown kind")
    return tree


def _array(data: bytearray, dtype: str, shape: list[Any]) -> Any:
    """Return an array, writable, that shares the block's memory."""
    if not _NUMBERS.fullmatch(dtype) or not all(type(side) is int and side >= 0 for side in shape):
        raise WireError("an array of no possible kind")
    import numpy as np

    kind = np.dtype(dtype)
    if prod(shape) * kind.itemsize != len(data):
        raise WireError("an array that its block doesn't fill")
    return np.frombuffer(data, kind).reshape(shape)


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
