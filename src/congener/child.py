"""The other end of a worker's pipes: a process that runs what it is asked to. It imports little, to start soon."""

import os
import pickle
import signal
from contextlib import suppress
from typing import IO, Any

from congener import wire
from congener.errors import CongenerError
from congener.tray import Tray

MEMORY = 4 << 30
"""Bytes of address space of a process, where the system can limit it: 200 million pixels fit in."""

NOT_IMPORTED = "{}: what decodes must be defined in a module that can be imported, not in a script or a function"


def serve(seconds: float, shared: int) -> None:
    """Run what is asked for on standard input until that ends.

    seconds: after which this process ends itself. shared: descriptor of a tray for what is answered; -1: there is none.
    """
    # decoders may print: the pipes get numbers that they don't know
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who started this one ends it
    _limit_memory()
    caller = Caller(requests, replies, seconds, Tray(shared) if shared >= 0 else None)
    _load()
    wire.write(replies, wire.message(("ready", None)))
    with suppress(_Gone, EOFError, BrokenPipeError):
        while True:
            request = wire.read_frame(requests)
            _set_alarm(seconds)
            wire.write(replies, _outcome(request, caller))
            _set_alarm(0)
    os._exit(0)


class _Gone(BaseException):
    """The other side of the pipes is."""


class Caller:
    """The other side of the pipes, as a function sees it that is asked for."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes], seconds: float, tray: Tray | None) -> None:
        self._requests, self._replies = requests, replies
        self._seconds, self._tray = seconds, tray

    def ask(self, value: Any) -> Any:
        """Return what the other side replies to a plain value."""
        asked = wire.message(("ask", value))
        try:
            wire.write(self._replies, asked)
            reply = wire.read_frame(self._requests)
        except (EOFError, BrokenPipeError):
            raise _Gone from None
        return pickle.loads(reply)  # noqa: S301

    def lay(self, value: Any) -> Any:
        """Hand over a picture or an array ahead of the answer, where it has a place; return what the answer has for it.

        What comes next may take as long again.
        """
        _set_alarm(self._seconds)
        return wire.lay(value, self._tray) if self._tray else value


def _outcome(request: bytes, caller: Caller) -> wire.Message:
    """Run a request; return what came of it, ready to be written."""
    try:
        return wire.message(("return", _run(request, caller)))
    except Exception as error:
        return wire.message(("raise", wire.told(error)))


def _run(request: bytes, caller: Caller) -> Any:
    try:
        function, args, asks = pickle.loads(request)  # noqa: S301  # from the process that started this one
    except Exception as error:
        raise CongenerError(NOT_IMPORTED.format(error)) from None
    return function(*args, ask=caller.ask, lay=caller.lay) if asks else function(*args)


def _load() -> None:
    """Load what all need, while the process that started this one loads its own."""
    from PIL import Image

    import congener.images
    import congener.preprocessing  # noqa: F401

    Image.preinit()


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):  # its signal ends the process, in native code too
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        limit = min([most, *(set_ for set_ in resource.getrlimit(what) if set_ != resource.RLIM_INFINITY)])
        with suppress(OSError, ValueError):  # systems that don't limit it
            resource.setrlimit(what, (limit, limit))
