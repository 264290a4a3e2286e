"""Membership: which images of a gallery a file is, by whatever way it is named."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from congener.stamp import Stamp
from congener.store import Row, Store


def images_of(store: Store, folder: Path, file: str | os.PathLike[str]) -> list[Row]:
    """Return the images of a gallery that are this file: the one of its path first, or of its path without links.

    Then those that are the same file by device and inode: by another mount, a link, or as a second name of it.
    """
    path = os.fspath(file)
    rows: dict[int, Row] = {}
    for each, root in (
        (os.path.abspath(path), os.path.abspath(folder)),
        (os.path.realpath(path), os.path.realpath(folder)),
    ):
        if row := store.find(path=os.path.relpath(each, root).replace(os.sep, "/")):
            rows.setdefault(row.id, row)
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # it may be gone, and an image all the same
        return list(rows.values())
    for row in store.having_inode(Stamp.of(status).inode):
        if row.id not in rows and _is_at(folder / row.path, status):
            rows[row.id] = row
    return list(rows.values())


def _is_at(path: Path, status: os.stat_result) -> bool:
    """Tell whether the file of this status lies at a path."""
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False


def seen_before(stamps: NDArray[np.int64], earlier: list[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Tell which of some files (n,) are among others, by their stamps (n, 4) and (m, 4) each.

    Size, both times to the nanosecond and inode: only a file system that was copied block by block has others alike.
    """
    if not len(stamps) or not earlier:
        return np.zeros(len(stamps), np.bool_)
    known = set(map(bytes, np.concatenate(earlier)))
    return np.fromiter((bytes(stamp) in known for stamp in stamps), np.bool_, len(stamps))
