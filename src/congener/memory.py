"""Memory: files that could not be read at an earlier run, so that what won't be different isn't tried again."""

from collections.abc import Sequence
from dataclasses import dataclass

from congener.decoders import decoders
from congener.files import FoundImage
from congener.reading import CONTENTS
from congener.schema import Unread
from congener.stamp import is_same
from congener.store import Changes, Store


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was found and can't be searched."""

    path: str
    """Relative to the folder."""
    reason: str
    remembered: bool = False
    """Whether it was so at the run before; if its contents cause it, it wasn't tried again."""


class Memory:
    """What a gallery remembers of the files that can't be read."""

    def __init__(self, store: Store, *, retry: bool = False) -> None:
        """retry: forget what files hold; inside the store's `writing`."""
        self._known = {unread.path: unread for unread in store.unread()}
        self._decoders: dict[str, str] | None = None
        self._store = store
        if any(unread.lasting for unread in self._known.values()) and (retry or store.get("decoders") != self._now()):
            with store.transaction() as changes:
                changes.forget_unread([unread.path for unread in self._known.values() if unread.lasting])
            self._known = {path: unread for path, unread in self._known.items() if not unread.lasting}

    def _now(self) -> dict[str, str]:
        self._decoders = self._decoders or decoders()
        return self._decoders

    def known(self, images: Sequence[FoundImage]) -> list[Skipped]:
        """Return those of the images that need not be tried: neither they nor the decoders have changed."""
        skipped = []
        for image in images if self._known else ():
            unread = self._known.get(image.path)
            if unread is not None and unread.lasting and not image.problem and is_same(unread, image):
                skipped.append(Skipped(image.path, unread.reason, remembered=True))
        return skipped

    def note(self, image: FoundImage, reason: str, cause: str, changes: Changes) -> Skipped:
        """Remember a file that could not be read, for a cause of `congener.reading.CAUSES`."""
        lasting = cause == CONTENTS
        unread = Unread(image.path, image.size, image.mtime_ns, image.ctime_ns, image.inode, lasting, reason)
        before = self._known.get(image.path)
        if unread != before:
            if lasting and self._store.get("decoders") != self._now():
                self._store.set("decoders", self._now())
            changes.note_unread(unread)
        is_known = before is not None and before.reason == reason and is_same(before, unread)
        return Skipped(image.path, reason, is_known)

    def forget_others(self, skipped: Sequence[Skipped], changes: Changes) -> None:
        """Forget files that are gone, or could be read."""
        changes.forget_unread(self._known.keys() - {each.path for each in skipped})
