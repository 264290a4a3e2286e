"""Darkroom: what is made of pictures, in processes that are replaced when they crash or take too long, and kept.

Thumbnails and uploads are kept on disk, bounded; queries as the network takes them in memory.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from congener.cache import NAME, Cache, thumbnail_name
from congener.encoders import Encoder
from congener.original import Source, size_of_source
from congener.query import Box
from congener.web.facts import Limits, Upload
from congener.web.pixels import SIDES, prepare, thumbnail
from congener.web.problems import RefusedError
from congener.workers import Workers

_PREPARED = 64  # queries as the network takes them, 150 KB each
_GONE = "this picture is kept no more: upload it again"


def key_of(content: bytes) -> str:
    """Return what names a picture's contents."""
    return hashlib.sha256(content).hexdigest()[:32]


class Darkroom:
    """Its methods may be called from any thread."""

    def __init__(self, place: Path, encoder: Encoder, limits: Limits) -> None:
        """place: the folder that its file is kept in, where that is possible; encoder: that queries are for."""
        self._place, self._encoder, self._limits = place, encoder, limits
        self._decoders = Workers(seconds=limits.decode_seconds)
        self._painters = Workers(seconds=limits.decode_seconds)  # apart: nobody's answer waits for a wall of thumbnails
        self._cache: Cache | None = None
        self._prepared: OrderedDict[tuple[str, Box | None], NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all that is open."""
        for workers in (self._decoders, self._painters):
            workers.close()
        if self._cache is not None:
            self._cache.close()

    @property
    def _kept(self) -> Cache:
        with self._lock:
            if self._cache is None:
                writable = self._place.is_dir() and os.access(self._place, os.W_OK)
                self._cache = Cache(self._place / NAME if writable else None, self._limits.cache_bytes)
            return self._cache

    def thumbnail(
        self, name: str, side: int, source: Callable[[], Source], stays: Callable[[], bool] = lambda: True
    ) -> tuple[bytes, str]:
        """Return a picture as WebP, and what names that. Raises ImageError.

        name: the hash of its contents, in hex; source: gives these, and no others; asked where it isn't kept. stays:
        asked once it is kept, tells whether it may stay: an update drops only what is kept by then.
        """
        if side not in SIDES:
            raise RefusedError(422, f"size must be one of: {', '.join(map(str, SIDES))}")
        kept_as = thumbnail_name(name, side)
        kept = self._kept.get(kept_as)
        if kept is not None:
            return kept[1], kept_as
        content = self.paint(source(), side)
        self._kept.put(kept_as, {}, content)
        if not stays():
            self._kept.drop([name])
        return content, kept_as

    def paint(self, source: Source, side: int) -> bytes:
        """Return a picture as WebP, upright, of at most this side. Raises ImageError."""
        content: bytes = self._painters.call(thumbnail, source, side)
        return content

    def measure(self, source: Source) -> tuple[int, int]:
        """Return width and height of a picture, upright. Raises ImageError."""
        width, height = self._decoders.call(size_of_source, source)
        return width, height

    def prepare(self, name: str, source: Callable[[], Source], box: Box | None) -> NDArray[np.uint8]:
        """Return a picture, or the part of it in a box, as the network takes it; arguments as of `thumbnail`."""
        with self._lock:
            known = self._prepared.get((name, box))
            if known is not None:
                self._prepared.move_to_end((name, box))
                return known
        how = self._encoder.preprocessing, self._encoder.resized_side
        pixels: NDArray[np.uint8] = self._decoders.call(prepare, source(), *how, box)
        with self._lock:
            self._prepared[name, box] = pixels
            while len(self._prepared) > _PREPARED:
                self._prepared.popitem(last=False)
        return pixels

    def keep(self, content: bytes, name: str) -> Upload:
        """Keep an uploaded picture. Raises ImageError when it is none."""
        key = key_of(content)
        width, height = self.measure(content)
        self.prepare(key, lambda: content, None)  # so that it is known to be readable
        if not self._kept.put(f"upload-{key}", {"name": name, "width": width, "height": height}, content):
            raise RefusedError(503, "there is no room to keep this picture: make room on the gallery's disk")
        return Upload(key, name, width, height)

    def upload(self, key: str) -> Upload:
        """Return an uploaded picture's facts. Raises RefusedError (404) when it is kept no more."""
        facts = self._kept.facts(f"upload-{key}")
        if facts is None:
            raise RefusedError(404, _GONE)
        return Upload(key, facts["name"], facts["width"], facts["height"])

    def uploaded(self, key: str) -> bytes:
        """Return an uploaded picture's file. Raises RefusedError (404)."""
        kept = self._kept.get(f"upload-{key}")
        if kept is None:
            raise RefusedError(404, _GONE)
        return kept[1]
