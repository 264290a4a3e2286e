"""Workers: processes that decode pictures, so that a decoder's crash or hang costs its picture only.

Each is a Python of its own at the other end of two pipes. It is given functions of importable modules to run, and
answers with plain values (`congener.wire`): what has parsed hostile data gets no hold on this process. One that dies
or takes too long is replaced. `multiprocessing` isn't used: it runs the user's script again in each process.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, islice, repeat
from queue import LifoQueue
from types import TracebackType
from typing import Any, Self

from congener import wire
from congener.child import NOT_IMPORTED
from congener.cores import cores, keep_on
from congener.errors import CongenerError, ImageError
from congener.tray import Tray

SECONDS = 30.0
"""What one call may take: most pictures need milliseconds, 200 million pixels several seconds."""

START_SECONDS = 60.0
"""What a process may take to start: mostly loading numpy from a disk that may be slow."""

MOST = 100
"""How many times that a call may take which goes on laying something on its tray."""

GRACE = 5.0
"""Seconds after which a process ends itself where nobody has ended it."""

PIPE = 256 << 10
"""Bytes that may be on their way from a process, where the system can be told."""

Answer = Callable[[Any], Any]

_START = (
    "import sys; sys.path[:] = sys.argv[3:]\n"
    "from congener.child import serve; serve(float(sys.argv[1]), int(sys.argv[2]))"
)
_NONSENSE = "the decoder's process answered nonsense"
_NO_START = "no process to decode pictures can be started by {}: {}"


class WorkerError(ImageError):
    """A picture's decoder crashed or took too long; the message is the reason."""


class Workers:
    """Processes that run functions; to be closed, as by `with`. They start when they are needed.

    >>> with Workers() as workers:          # doctest: +SKIP
    ...     workers.call(thumbnail, path)   # doctest: +SKIP
    """

    def __init__(
        self, count: int | None = None, seconds: float = SECONDS, *, on: Sequence[int] = (), tray: int = 0
    ) -> None:
        """count: how many at most, as many as cores by default; seconds: what one call may take.

        on: numbers of cores, for the first process to be kept on, the second, ...; any for those beyond. tray: bytes
        of memory that each shares with this process, where the system can do that.
        """
        places = islice(chain(on, repeat(None)), count or cores())
        self._workers = [_Worker(seconds, core, tray) for core in places]
        self.has_trays = all(worker.tray for worker in self._workers)
        """Whether they share memory with this process."""
        self._own = threading.local()
        self._idle: LifoQueue[_Worker] = LifoQueue()  # the last that was used is the next: few are started
        for worker in reversed(self._workers):
            self._idle.put(worker)
        self._tick = min(1.0, seconds / 4)
        self._closed = threading.Event()
        self._starting = threading.Lock()
        self._watch: threading.Thread | None = None

    def start(self, count: int = 1) -> None:
        """Start so many processes ahead of their first calls, without waiting for them."""
        for worker in self._workers[:count]:
            worker.start()

    def pair(self) -> None:
        """Have this thread's calls run by a process of its own, and keep it on that one's core, if it has one.

        One rests while the other works, on what it has left in the core's cache: 5 to 10 % of an update's time. For
        threads that end when the work does, and not more of them than processes. Arrays that were laid on the process's
        tray hold until `clear`.
        """
        worker = self._own.worker = self._idle.get()
        if worker.core is not None:
            keep_on(worker.core)

    def clear(self) -> None:
        """Have the tray of this thread's process used anew, if there is one: nobody needs the arrays that lie there."""
        own: _Worker | None = getattr(self._own, "worker", None)
        if own and own.tray:
            own.tray.clear()

    def call(self, function: Callable[..., Any], *args: Any, answer: Answer | None = None) -> Any:
        """Return what the function, of a module that can be imported, returns in a process; wait for a free one.

        args: anything that can be pickled. What comes back must be plain: see `congener.wire.message`.
        answer: where given, the function gets two keywords, `ask` and `lay`. What `ask` is called with is handed to
        `answer` here, and the reply is what `ask` returns; both may happen twice. `lay` takes a picture or an array
        ahead of the answer and returns what to answer in its place; where there is a tray, the call may take as long
        again from then on. Safe to call from several threads. Errors come back as they were raised where they are
        Congener's or Python's own, else as their nearest base. Raises WorkerError when the process dies of the call or
        takes too long, CongenerError when none can be started.
        """
        try:
            request = pickle.dumps((function, args, answer is not None))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise CongenerError(NOT_IMPORTED.format(error)) from None
        with self._starting:
            if self._watch is None:
                self._watch = threading.Thread(target=self._end_overdue, name="congener-deadline", daemon=True)
                self._watch.start()
        own: _Worker | None = getattr(self._own, "worker", None)
        worker = own or self._idle.get()
        try:
            return worker.run(request, answer)
        finally:
            if not own:
                self._idle.put(worker)

    def _end_overdue(self) -> None:
        while not self._closed.wait(self._tick):
            for worker in self._workers:
                worker.end_if_overdue()

    def close(self) -> None:
        """End all processes; calls that are under way, or come later, raise WorkerError."""
        self._closed.set()
        for worker in self._workers:
            worker.close()
        if self._watch is not None:
            self._watch.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Worker:
    """One process at a time, the pipes to it, and the tray that it shares."""

    def __init__(self, seconds: float, core: int | None, tray: int) -> None:
        self.core = core
        self.tray = Tray.create(tray)
        self._seconds = seconds
        self._lock = threading.Lock()  # of what follows, which the watch and `close` change from other threads
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline: float | None = None  # while it runs something
        self._last = 0.0  # what that may become by going on
        self._laid = 0  # on the tray, when it was looked at last
        self._overdue = self._ready = self._used = self._closed = False

    def start(self, within: float | None = None) -> None:
        """Start the process unless it runs; within: seconds that it may take from now on."""
        with self._lock:
            if self._closed:
                raise WorkerError("stopped: the workers were closed")
            if self._process is None:
                self._process = _open(self._seconds, self.tray)
                if self.core is not None:
                    keep_on(self.core, self._process.pid)
                self._overdue = self._ready = self._used = False
            if within is not None:
                self._deadline = time.monotonic() + within

    def run(self, request: bytes, answer: Answer | None) -> Any:
        """Have a request run. Raises what it raises, WorkerError when it is the process's end.

        A death is put down to the picture only in a fresh process: in a used one it may come from memory that an
        earlier picture damaged, or from a system that ran out of it. A second try in a fresh one tells. Pictures
        that crash a decoder are rare enough for that to cost nothing. Being overdue is never tried again.
        """
        used = self._used
        try:
            return self._attempt(request, answer)
        except WorkerError:
            if not used or self._overdue or self._closed:
                raise
        return self._attempt(request, answer)

    def _attempt(self, request: bytes, answer: Answer | None) -> Any:
        self.start(START_SECONDS)
        kind = ""
        try:
            self._wait_until_ready()
            self._send(request)
            kind, value = self._receive()
            while kind == "ask" and answer is not None:
                self._send(pickle.dumps(answer(value)))
                kind, value = self._receive()
            if kind == "raise":
                raise wire.error_of(value)
            if kind != "return":
                raise WorkerError(_NONSENSE)
            return value
        finally:
            self._finish(sound=kind in ("return", "raise"))

    def _wait_until_ready(self) -> None:
        if not self._ready:
            try:
                if self._receive()[0] != "ready":
                    raise WorkerError(_NONSENSE)
            except WorkerError as error:
                if self._closed:
                    raise
                raise CongenerError(_NO_START.format(sys.executable, error)) from None
            self._ready = True
        with self._lock:
            now = time.monotonic()
            self._deadline, self._last = now + self._seconds, now + MOST * self._seconds

    def _send(self, data: bytes) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            wire.write_frame(process.stdin, data)
        except OSError:
            raise WorkerError(self._cause(process)) from None

    def _receive(self) -> tuple[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        try:
            kind, value = wire.read(process.stdout, self.tray)
        except (EOFError, OSError):
            raise WorkerError(self._cause(process)) from None
        except (ValueError, TypeError):
            raise WorkerError(_NONSENSE) from None
        return kind, value

    def _cause(self, process: subprocess.Popen[bytes]) -> str:
        """Return why a process whose pipe has ended did so."""
        try:
            status = process.wait(5)
        except subprocess.TimeoutExpired:  # it closed its end and lives on
            return "the decoder's process answers no more"
        if self._closed:
            return "stopped: the workers were closed"
        if self._overdue or status == -getattr(signal, "SIGALRM", 0):
            return f"took longer than {self._seconds:g} s to decode"
        if status >= 0:
            return f"the decoder ended its process (exit status {status})"
        return f"the decoder crashed (signal {-status}, {signal.strsignal(-status)})"

    def _finish(self, *, sound: bool) -> None:
        """Note that nothing runs; end a process that isn't to be used again."""
        with self._lock:
            self._deadline = None
            self._used = True
            if self._overdue or self._closed or not sound:
                self._end()

    def end_if_overdue(self) -> None:
        """End a process that is past its deadline, and hasn't gone on; whoever waits for it gets to know."""
        with self._lock:
            if self._process is None or self._deadline is None:
                return
            now = time.monotonic()
            if self._ready and self.tray and self.tray.laid != self._laid:
                self._laid, self._deadline = self.tray.laid, min(now + self._seconds, self._last)
            if now > self._deadline:
                self._overdue = True
                self._process.kill()

    def close(self) -> None:
        """End the process for good."""
        with self._lock:
            if self.tray and not self._closed:
                self.tray.close()
            self._closed = True
            if self._deadline is None:
                self._end()
            elif self._process:  # whoever waits for it sees its end, and tidies up
                self._process.kill()
                self._process.wait()

    def _end(self) -> None:
        process, self._process, self._used = self._process, None, False
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was still to be written to it
                assert pipe is not None
                pipe.close()


def _open(seconds: float, tray: Tray | None) -> subprocess.Popen[bytes]:
    """Start a process. Raises CongenerError where that can't be."""
    shared = (tray.descriptor,) if tray else ()
    paths = [path for path in sys.path if isinstance(path, str)]
    command = [sys.executable, "-c", _START, str(seconds + GRACE), str(*shared or (-1,)), *paths]
    # numpy's linear algebra isn't used there, and a decoder's threads needn't each keep memory of their own
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "4"}
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            env=environment,
            creationflags=flags,
            pass_fds=shared,
        )
    except (OSError, TypeError) as error:  # TypeError: no sys.executable where Python is embedded
        raise CongenerError(_NO_START.format(sys.executable, error)) from None
    assert process.stdout is not None
    if sys.platform == "linux":  # room for the pixels of a picture: .08 ms less than in three parts
        from fcntl import F_SETPIPE_SZ, fcntl

        with suppress(OSError):  # the user may have only so much
            fcntl(process.stdout.fileno(), F_SETPIPE_SZ, PIPE)
    return process
