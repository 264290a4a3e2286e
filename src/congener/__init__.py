"""Congener finds images of the same kind: files -> pixels -> features -> embeddings -> hits."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from congener.encoders import Encoder as Encoder
    from congener.encoders import load_encoder as load_encoder
    from congener.errors import CongenerError as CongenerError
    from congener.gallery import Gallery as Gallery
    from congener.images import open_image as open_image
    from congener.results import Hit as Hit
    from congener.results import Results as Results
    from congener.searcher import search as search

__version__ = "0.1.0"

_HOMES = {
    "CongenerError": "errors",
    "Encoder": "encoders",
    "Gallery": "gallery",
    "Hit": "results",
    "Results": "results",
    "load_encoder": "encoders",
    "open_image": "images",
    "search": "searcher",
}

__all__ = [*_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    # resolved when used, so that `import congener` loads nothing heavy
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"congener.{_HOMES[name]}"), name)
