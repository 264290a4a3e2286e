"""Exclusion: which entries of a folder are passed over, by the globs that a user gives and by a table of our own."""

import re
from collections.abc import Callable, Sequence
from fnmatch import translate

DEFAULT_EXCLUDE = {
    "._*": "a Mac's resource forks, one beside each file",
    ".trashed-*": "what a phone keeps for a while after it was deleted",
    ".pending-*": "what a phone hasn't finished writing",
    ".thumbnails/": "thumbnails of a phone or a desktop",
    ".Trash*/": "the bin of a Mac or of Linux",
    ".AppleDouble/": "resource forks on a server",
    ".@__thumb/": "thumbnails of a QNAP",
    ".*/": "other hidden folders",
    "@eaDir/": "thumbnails of a Synology",
    "@SynoResource/": "resource forks on a Synology",
    "@SynoEAStream/": "what a Synology notes of its files",
    "@tmp/": "what a Synology is working on",
    "@Recycle/": "the bin of a QNAP",
    "@Recently-Snapshot/": "earlier states on a QNAP",
    "#recycle/": "the bin of a Synology",
    "#snapshot/": "earlier states on a Synology",
    "$RECYCLE.BIN/": "the bin of Windows",
    "RECYCLER/": "the bin of older Windows",
    "Recycled/": "the bin of Windows on FAT",
    "System Volume Information/": "what Windows keeps of a drive",
    "lost+found/": "pieces that a repair of the drive has found",
    "__MACOSX/": "resource forks of an unpacked archive",
    "Network Trash Folder/": "the bin of a Mac's server",
    "iPod Photo Cache/": "thumbnails for an iPod",
    "Temporary Items/": "what a Mac's programs are working on",
    "Thumbs.db": "thumbnails of Windows",
    ".DS_Store": "how a Mac shows a folder",
}
"""What is passed over by default, in any case, and why; a glob that ends in / is for folders only."""


class Exclusion:
    """Decides which paths are passed over, and by which glob.

    A glob with a / is matched with the whole relative path, one without with any part of it. A folder that is passed
    over takes all that lies in it along.
    """

    def __init__(self, globs: Sequence[str], *, default: bool = False) -> None:
        """globs: as in `fnmatch`, case-sensitive; * matches / too. default: whether `DEFAULT_EXCLUDE` holds as well."""
        plain = {glob: glob.rstrip("/") for glob in globs}
        self._whole = [(glob, _compiled(text)) for glob, text in plain.items() if "/" in text]
        self._part = [(glob, _compiled(text)) for glob, text in plain.items() if "/" not in text]
        self._default = default

    def glob_of(self, path: str, name: str, *, is_folder: bool) -> str | None:
        """Return the glob that passes an entry over, or None; what it lies in is passed over by none.

        path: relative; name: its last part.
        """
        for glob, pattern in self._part:
            if pattern(name):
                return glob
        for glob, pattern in self._whole:
            if pattern(path):
                return glob
        if not self._default or name[:1] not in _FIRST or not (found := _BY_DEFAULT(name)):
            return None
        glob = _GLOBS[(found.lastindex or 1) - 1]
        if is_folder or not glob.endswith("/"):
            return glob
        return None

    def __call__(self, path: str) -> bool:
        """Tell whether a file, or a folder that it lies in, is passed over."""
        parts = path.split("/")
        return any(
            self.glob_of("/".join(parts[:end]), parts[end - 1], is_folder=end < len(parts))
            for end in range(1, len(parts) + 1)
        )


def _compiled(glob: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(translate(glob)).match


# files' globs first: what has both names a file as well
_GLOBS = sorted(DEFAULT_EXCLUDE, key=lambda glob: glob.endswith("/"))
_BY_DEFAULT = re.compile("|".join(f"({translate(glob.rstrip('/'))})" for glob in _GLOBS), re.IGNORECASE).match
# most names are told by their first letter
_FIRST = {letter for glob in DEFAULT_EXCLUDE for letter in (glob[0].lower(), glob[0].upper())}
