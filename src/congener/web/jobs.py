"""Jobs: work that takes longer than an answer may; done once for each state of the gallery, looked at while it runs."""

import threading
from collections.abc import Callable
from typing import Any

from congener.errors import CongenerError


class Job:
    """One kind of work. Its last result stays until it is done again."""

    def __init__(self, work: Callable[[Callable[[str], None]], Any]) -> None:
        """work: given what to say on the way to, returns the result."""
        self._work = work
        self._lock = threading.Lock()
        self.state = "none"
        """none, running, done or failed."""
        self.message = ""
        self.result: Any = None
        """Of the last time that it was done."""

    def start(self) -> bool:
        """Begin unless it is running; return whether it was begun."""
        with self._lock:
            if self.state == "running":
                return False
            self.state, self.message = "running", ""
        threading.Thread(target=self._run, name="congener-job", daemon=True).start()
        return True

    def _run(self) -> None:
        try:
            self.result = self._work(self._say)
        except CongenerError as error:
            self.state, self.message = "failed", str(error)
        except Exception as error:
            self.state, self.message = "failed", f"{type(error).__name__}: {error}"
            raise
        else:
            self.state, self.message = "done", ""

    def _say(self, message: str) -> None:
        self.message = message
