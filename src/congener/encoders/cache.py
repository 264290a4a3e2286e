"""Models that are built once and kept in the user's cache folder."""

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import platformdirs

_DIGITS = 16  # of the hash in a name


def cache_folder() -> Path:
    """Return the folder of built models: CONGENER_CACHE, or the system's place for caches."""
    return Path(os.environ.get("CONGENER_CACHE") or platformdirs.user_cache_path("congener"))


def cached_model(key: str, build: Callable[[], bytes]) -> bytes:
    """Return the model kept under this key, or build and keep it.

    The file's name ends in the SHA-256 of its contents, so that a damaged one is seen and replaced.
    Two processes may build at once: each writes a file of its own and moves it into place.
    A folder that can't be written costs the building time again, nothing else.
    """
    folder = cache_folder()
    own = re.compile(rf"{re.escape(key)}-[0-9a-f]{{{_DIGITS}}}\.onnx")
    for path in folder.glob(f"{key}-*.onnx"):
        if own.fullmatch(path.name) and path.is_file():  # other files there are somebody else's
            with suppress(OSError):
                model = path.read_bytes()
                if path.stem == f"{key}-{_digest(model)}":
                    return model
                path.unlink()  # of a link, what it leads to stays
    model = build()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _write_atomically(folder / f"{key}-{_digest(model)}.onnx", model)
    return model


def _digest(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()[:_DIGITS]


def _write_atomically(path: Path, contents: bytes) -> None:
    with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
