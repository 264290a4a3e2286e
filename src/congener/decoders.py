"""Decoders: what decides which files can be read, for whoever remembers those that can't."""

from contextlib import suppress

DECODING = "1"
"""Of our own decoding; raise it when it reads what it didn't, so that files that couldn't be read are tried again."""


def decoders() -> dict[str, str]:
    """Return their names and versions."""
    from importlib.metadata import PackageNotFoundError, version  # 10 ms, for few galleries

    versions = {"congener": DECODING}
    for name in ("pillow", "pi-heif"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
