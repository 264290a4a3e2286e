"""Read a PyTorch checkpoint of the old pickle format without PyTorch.

The file holds five pickles (magic number, protocol version, system info, state dict, storage keys),
then each storage in the order of its key: its length as int64, then its raw little-endian values.
Only the names in `_ADMITTED` can be constructed, so that a prepared file can't run code.
"""

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from congener.errors import EncoderError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies in its storage; offset and strides count values."""

    key: str
    dtype: str
    offset: int
    shape: Sequence[int]
    strides: Sequence[int]

    def view(self, storage: NDArray[Any]) -> NDArray[Any]:
        # NumPy checks that offset, shape and strides stay inside the storage's buffer
        size = storage.itemsize
        strides = [stride * size for stride in self.strides]
        return np.ndarray(self.shape, storage.dtype, storage.data, self.offset * size, strides)


def _tensor(pid: Any, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any) -> _Tensor:
    """Stand in for torch._utils._rebuild_tensor_v2."""
    _, dtype, key, *_rest = pid
    return _Tensor(key, dtype, offset, shape, strides)


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise EncoderError(f"the checkpoint asks for {module}.{name}: refused") from None

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_checkpoint(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    """Return the state dict: tensor name -> array.

    Raises EncoderError when the file is missing, or isn't the one with this SHA-256.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise EncoderError(f"can't read the weights {path}: {error.strerror}") from None
    with file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise EncoderError(f"the weights {path} have SHA-256 {digest[:12]}…, not {sha256[:12]}…: reinstall them")
        file.seek(0)
        return _read(file)


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    magic, protocol, _system = (_Unpickler(file).load() for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise EncoderError("not a PyTorch checkpoint of the old pickle format")
    tensors: dict[str, _Tensor] = _Unpickler(file).load()
    keys: list[str] = _Unpickler(file).load()
    dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
    storages = {key: _read_storage(file, np.dtype(dtypes[key])) for key in keys}
    return {name: tensor.view(storages[tensor.key]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
