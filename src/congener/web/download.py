"""Download: a file of the gallery, sent from the very descriptor in which what it holds was looked at."""

import os
from email.utils import formatdate
from functools import partial
from io import BufferedReader

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from congener.original import state

_CHUNK = 256 * 2**10


class Download(Response):
    """Sends an open file, or the one part of it that is asked for, and closes it; several parts get it whole."""

    def __init__(self, file: BufferedReader, etag: str, media_type: str, headers: dict[str, str]) -> None:
        """etag: without its quotes."""
        self._file, self._state, self._etag = file, state(file), f'"{etag}"'
        status = os.fstat(file.fileno())
        self._size = status.st_size
        modified = formatdate(status.st_mtime, usegmt=True)
        ours = {"ETag": self._etag, "Last-Modified": modified, "Accept-Ranges": "bytes"}
        super().__init__(None, media_type=media_type, headers=ours | headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Where something writes to it meanwhile, the connection ends before the end of the file."""
        try:
            first, last = self._part(Headers(scope=scope))
            if first > last and self._size:
                self.status_code = 416
            self.headers["Content-Length"] = str(max(last + 1 - first, 0))
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or first > last:
                await send({"type": "http.response.body", "body": b""})
                return
            await run_sync(self._file.seek, first)
            while first <= last:
                chunk = await run_sync(partial(self._file.read, min(_CHUNK, last + 1 - first)))
                if not chunk or state(self._file) != self._state:
                    return
                first += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": first <= last})
        finally:
            self._file.close()

    def _part(self, headers: Headers) -> tuple[int, int]:
        """Return the first and the last byte to be sent, and note what that is in status and headers."""
        whole = 0, self._size - 1
        asked = headers.get("range", "").partition("=")[2].strip()
        if not asked or "," in asked or headers.get("if-range", self._etag) != self._etag:
            return whole
        start, _, end = asked.partition("-")
        if start:
            first, last = _number(start), min(_number(end), self._size - 1) if end else self._size - 1
        else:
            first, last = max(self._size - _number(end), 0), self._size - 1
        if first > last:
            self.headers["Content-Range"] = f"bytes */{self._size}"
            return 1, 0
        self.status_code = 206
        self.headers["Content-Range"] = f"bytes {first}-{last}/{self._size}"
        return first, last


def _number(digits: str) -> int:
    """Return a number; what is larger than any file counts as that, however many digits it has."""
    return int(digits) if len(digits) < 20 else 10**20
