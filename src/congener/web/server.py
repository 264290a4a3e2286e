"""Server: uvicorn, with bounds on what comes before a request's body, which it has none for."""

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 32 * 2**10
"""Of a request's line and headers."""
HEAD_SECONDS = 15.0
"""For these to arrive."""
GRACE_SECONDS = 3
"""For requests under way when the server is to end."""
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
    """Ends streams of events first: it would wait for them."""

    def __init__(self, config: uvicorn.Config, ending: asyncio.Event) -> None:
        super().__init__(config)
        self._ending = ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._ending.set()
        await super().shutdown(sockets)


def server(app: FastAPI, **config: Any) -> uvicorn.Server:
    """Return a server of the app; config: as of `uvicorn.Config`."""
    ours: dict[str, Any] = {
        "http": Impatient,
        "ws": "none",
        "timeout_graceful_shutdown": GRACE_SECONDS,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
    }
    return _Server(uvicorn.Config(app, **ours | config), app.state.ending)
