"""Decoders: what decides which files can be read, for whoever remembers those that can't."""

from importlib.util import find_spec
from pathlib import Path

from PIL import __version__

DECODING = "2"
"""Of our own decoding; raise it when it reads what it didn't, so that files that couldn't be read are tried again."""


def decoders() -> dict[str, str]:
    """Return their names and versions."""
    return {"congener": DECODING, "pillow": __version__, "pi-heif": _version("pi_heif")}


def _version(package: str) -> str:
    """Return what tells one version of an installed package from another, empty where it isn't installed.

    By its files: to load libheif, or importlib.metadata, takes longer than to look through a small gallery.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return ""
    folder = Path(spec.origin).parent.parent
    return ", ".join(sorted(path.name for path in folder.glob(f"{package}-*.dist-info"))) or "unknown"
