"""Server: uvicorn, with bounds on what comes before a request's body, which it has none for."""

import asyncio
import logging
import re
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 32 * 2**10
"""Of a request's line and headers."""
HEAD_SECONDS = 15.0
"""For these to arrive."""
GRACE_SECONDS = 1.0
"""For requests under way when the server is to end."""
_LOGIN = re.compile(r"(/login)\?.*")
_TOO_LARGE = f"The request's line and headers are over the limit of {HEAD_BYTES // 2**10} KiB."


class Impatient(HttpToolsProtocol):
    """Closes a connection whose next request doesn't come, or not whole; between requests uvicorn itself does."""

    head_seconds = HEAD_SECONDS
    _waiting: asyncio.TimerHandle | None = None
    _in_head = False
    _head = 0
    """Bytes of it so far."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; wait on where it is a part of a request's head."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self.send_400_response(_TOO_LARGE)
            self._wait()

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one too many ends the request as one that is malformed does."""
        self._head += len(name) + len(value)
        if self._head > HEAD_BYTES:
            raise ValueError(_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait no more."""
        self._in_head, self._head = False, 0
        self._wait_no_more()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _unsupported_upgrade_warning(self) -> None:
        """Answer it as what it is, without a word: clients offer an upgrade (`curl --http2`), none needs it."""

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().call_later(self.head_seconds, self._give_up)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        self.transport.close()


class _Server(uvicorn.Server):
    """Ends soon, and quietly: streams of events and requests that haven't come whole at once, others after a grace."""

    def __init__(self, config: uvicorn.Config, ending: asyncio.Event) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End; asked twice no sooner, as it is soon: else uvicorn leaves out the app's end, and complains of that."""
        super().handle_exit(sig, frame)
        self.force_exit = False

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._ending.set()
        self._close(lambda cycle: cycle is None or cycle.more_body)
        until = time.monotonic() + GRACE_SECONDS
        while self.server_state.tasks and time.monotonic() < until:
            await asyncio.sleep(0.02)
        self._close(lambda _: True)
        for connection in self.server_state.connections:  # whose client is still there: nothing is missed by it
            if isinstance(connection, Impatient) and connection.cycle:
                connection.cycle.disconnected = True
        for task in self.server_state.tasks:
            task.cancel()
        await super().shutdown(sockets)

    def _close(self, which: Callable[[Any], bool]) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Impatient) and which(connection.cycle):
                connection.transport.close()


class Tokenless(logging.Filter):
    """Keeps the token of a login link out of the log of requests, where somebody asks uvicorn for one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut off what follows the path of a login link."""
        if isinstance(record.args, tuple):
            record.args = tuple(_LOGIN.sub(r"\1", each) if isinstance(each, str) else each for each in record.args)
        return True


class _Quiet:
    """Lets requests that the server's end cuts off go without a word in the log."""

    def __init__(self, app: ASGIApp, ending: asyncio.Event) -> None:
        self._app, self._ending = app, ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._ending.is_set():
                raise


def server(app: FastAPI, **config: Any) -> uvicorn.Server:
    """Return a server of the app; config: as of `uvicorn.Config`."""
    access = logging.getLogger("uvicorn.access")
    if not any(isinstance(each, Tokenless) for each in access.filters):
        access.addFilter(Tokenless())
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong with a form is told to its sender
    ours: dict[str, Any] = {
        "http": Impatient,
        "ws": "none",
        "timeout_graceful_shutdown": 1,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
    }
    return _Server(uvicorn.Config(_Quiet(app, app.state.ending), **ours | config), app.state.ending)
