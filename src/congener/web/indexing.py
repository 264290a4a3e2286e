"""Indexing: the gallery is brought up to date in the background; whoever looks on sees how far it is."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from congener.errors import CongenerError, GalleryBusyError
from congener.gallery import Gallery

_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Progress:
    """What indexing is at."""

    state: str = "idle"
    """idle, indexing, busy (another process is at it), or failed."""
    done: int = 0
    """Files read."""
    total: int = 0
    """Files to read."""
    images: int = 0
    """That can be searched."""
    message: str = ""
    """For people, where there is something to say."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


class Indexing:
    """Runs updates, one at a time, in a thread of its own."""

    def __init__(self, open_gallery: Callable[[], Gallery]) -> None:
        """open_gallery: opens the gallery for an update, to be closed afterwards."""
        self._open = open_gallery
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.progress = Progress()
        """As it is now; replaced whenever it changes."""

    def start(self) -> bool:
        """Begin an update unless one is running; return whether it was begun."""
        with self._lock:
            if self._ending.is_set() or (self._thread is not None and self._thread.is_alive()):
                return False
            self.progress = replace(self.progress, state="indexing", done=0, total=0, message="")
            self._thread = threading.Thread(target=self._run, name="congener-indexing", daemon=True)
            self._thread.start()
            return True

    def end(self) -> None:
        """Stop: what is committed stays."""
        self._ending.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with self._open() as gallery:
                    report = gallery.update(build_index=False, heads=False, progress=self._show)
            except GalleryBusyError as error:
                self.progress = replace(self.progress, state="busy", message=str(error))
                self._ending.wait(_AGAIN_SECONDS)
                continue
            except _EndedError:
                return
            except Exception as error:  # whoever looks at the page must be told
                message = str(error) if isinstance(error, CongenerError) else f"{type(error).__name__}: {error}"
                self.progress = replace(self.progress, state="failed", message=message)
                if not isinstance(error, CongenerError):
                    raise
                return
            skipped = len(report.skipped)
            message = f"{skipped:,} of {report.found:,} files can't be read" if skipped else ""
            if report.missing:
                prune = gallery.command("index", "--prune")
                message = f"{report.missing:,} images are gone from the folder; they stay until: {prune}"
            self.progress = Progress("idle", images=report.images, message=message)
            return

    def _show(self, done: int, total: int) -> None:
        if self._ending.is_set():
            raise _EndedError
        self.progress = replace(self.progress, state="indexing", done=done, total=total)


class _EndedError(Exception):
    """The app is closing."""
