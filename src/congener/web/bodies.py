"""Bodies: what is sent with requests, bounded: each in bytes and time, all together in the memory that they take."""

import asyncio
import time
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from congener.errors import CongenerError
from congener.web.access import refuse

JSON_WEIGHT = 8
"""Bytes of memory that a byte of JSON may take: as it came, as text, what it says, base64 and what that holds, …"""

WEIGHT = 4
"""The same of a byte of anything else: a form's file is read from where it was put, and handed to another process."""

_DRAINED = 4  # times the limit


class Budget:
    """Memory for the bodies of all requests under way. What a request takes it has until it is answered."""

    def __init__(self, most: int) -> None:
        """most: bytes; a single request may have more, as it would never be served."""
        self.most, self.taken = most, 0

    def take(self, count: int, own: int) -> bool:
        """Take bytes for a request that has `own` already; return whether there was room."""
        if self.taken > own and self.taken + count > self.most:
            return False
        self.taken += count
        return True


class BodyLimits:
    """Ends requests whose body is too large, too slow, or too much beside the others', whatever is answered to them."""

    def __init__(self, app: ASGIApp, most_bytes: int, most_seconds: float, budget: Budget) -> None:
        self._app = app
        self._most, self._seconds, self._budget = most_bytes, most_seconds, budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or refuse it."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        length = headers.get("content-length", "0")
        if length == "0" and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._most, self._seconds, self._budget, headers)
        begun = False

        async def whole_first(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start" and not await body.has_come():
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        try:
            if length.isdigit() and (len(length) > 18 or int(length) > self._most):
                raise _too_large(self._most)
            await self._app(scope, body.receive, whole_first)
        except _BodyError as error:
            if begun:
                raise
            await refuse(scope, receive, whole_first, error.status, str(error))
        finally:
            body.give_back()


class _Body:
    """What is sent with a request, within bounds of bytes, time and memory."""

    def __init__(self, receive: Receive, most: int, seconds: float, budget: Budget, headers: Headers) -> None:
        self._receive, self._most, self._seconds, self._budget = receive, most, seconds, budget
        self._until = time.monotonic() + seconds
        self._taken, self._own, self._ended = 0, 0, False
        self._waits = "expect" in headers  # the client sends nothing before it is asked to
        self._weight = JSON_WEIGHT if "json" in headers.get("content-type", "").lower() else WEIGHT

    async def receive(self) -> Message:
        """Return the next part. Raises _BodyError where it is too much, or takes too long."""
        if self._ended:  # what comes is a disconnection, when it comes
            return await self._receive()
        message = await self._next()
        if self._taken > self._most:
            self.give_back()
            raise _too_large(self._most)
        memory = self._weight * len(message.get("body", b""))
        if not self._budget.take(memory, self._own):
            self.give_back()  # at once: the rest is let in before the answer
            raise _BodyError(503, "too much is being sent at once: try again")
        self._own += memory
        return message

    def give_back(self) -> None:
        """Give back the memory that was taken."""
        self._budget.taken -= self._own
        self._own = 0

    async def _next(self) -> Message:
        self._waits = False
        try:
            message = await asyncio.wait_for(self._receive(), max(self._until - time.monotonic(), 0.001))
        except TimeoutError:
            raise _BodyError(408, f"the request's body took longer than {self._seconds:g} s") from None
        self._taken += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message

    async def has_come(self) -> bool:
        """Let the rest come, within bounds, and tell whether it did: a browser reads no answer while it sends."""
        with suppress(_BodyError):
            while not (self._ended or self._waits or self._taken > _DRAINED * self._most):
                await self._next()
        return self._ended


def _too_large(most: int) -> "_BodyError":
    return _BodyError(413, f"the request is over the limit of {most // 2**20} MiB")


class _BodyError(CongenerError):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
