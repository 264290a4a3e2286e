"""Worth: which of several copies to keep, by the file, what is in it, and what it is called."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

Link = Literal["symbolic", "hard"]
"""What a path is that is not a file of its own: a symbolic link (itself or a folder above it), a further name."""

_WORDS = (
    *("copy", "copies", "duplicate", "backup", "backups", "bak"),
    *("kopie", "kopien", "kopia", "kopi", "kopio", "kopija", "kópia", "duplikat", "sicherung", "sicherungen"),
    *("sicherungskopie", "copie", "copia", "copias", "cópia", "còpia", "sauvegarde", "respaldo", "dubbele"),
    *("dupliceret", "másolat", "kopya", "копия", "копія", "αντίγραφο"),
)
"""Words by which systems and people call copies, wherever one stands as a word in a name or a folder's."""

_PLACES = ("old", "previous", "alte", "ancien", "anciens", "vecchi", "viejo", "viejos", "oud", "старые")
"""Words that say so of folders alone: an old church is no copy."""

_LETTER = r"[^\W\d_]"


def _any(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!{_LETTER})(?:{'|'.join(sorted(words, key=len, reverse=True))})(?!{_LETTER})")


_IN_NAMES, _IN_FOLDERS = _any(_WORDS), _any((*_WORDS, *_PLACES))
_CLOSE = re.compile(r"コピー|副本|拷贝|备份|복사본")  # scripts without spaces between words
_NUMBERED = re.compile(r"(?:\s*\(\d{1,3}\)|[-_ ~]\d{1,2})$")


def is_marked(path: str, others: Iterable[str] = ()) -> bool:
    """Tell whether a path is called a copy: `IMG - Kopie.jpg`, `backup/IMG.jpg`, `IMG (1).jpg`, `IMG-2.jpg`.

    path: relative, with / between its parts. A number at the end counts only where one of the others is called
    what remains without it: `IMG-2.jpg` alone is the second of a series.
    """
    *folders, name = _plain(path).split("/")
    stem = os.path.splitext(name)[0]
    if _IN_NAMES.search(stem) or _CLOSE.search(stem) or any(_IN_FOLDERS.search(part) for part in folders):
        return True
    bare = _NUMBERED.sub("", stem)
    return bare != stem and bare in {os.path.splitext(_plain(other).rsplit("/", 1)[-1])[0] for other in others}


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", path).lower()


def link_of(folder: Path, path: str) -> Link | None:
    """Return "symbolic" where a path in a folder is a link, or leads through one."""
    root = os.path.realpath(folder)
    return "symbolic" if os.path.realpath(os.path.join(root, path)) != os.path.join(root, path) else None


Worth = tuple[bool, int, bool, int, bool, int, int, bytes]


def worth(
    path: str, *, link: bool, pixels: int, camera: bool, size: int, mtime_ns: int, others: Iterable[str]
) -> Worth:
    """Return what sorts first the file that is worth keeping.

    A file before a link, more pixels, what a camera has written before what it hasn't, more bytes, a name without
    the marks of a copy, the older, the shorter path. others: the paths of the group.
    """
    return (link, -pixels, not camera, -size, is_marked(path, others), mtime_ns, len(path), os.fsencode(path))
