"""Access: who may ask. Each check is a plain ASGI middleware."""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Collection
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from congener.web.problems import for_programs, problem

COOKIE = "congener"
"""What the names of cookies begin with."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:/?#@\[\]\s]+))(?::[0-9]{0,5})?")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host to listen on."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """Return a token that can't be guessed."""
    return secrets.token_urlsafe(24)


class SecurityHeaders:
    """Adds the security headers that an answer doesn't set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith("/api/") else "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class KnownHosts:
    """Answers only requests to this machine's own names, and no other site's: against DNS rebinding and forged forms.

    An address of numbers can't be rebound, so all of these are known.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = {host.casefold() for host in hosts} | LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or refuse it."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            hosts = headers.getlist("host")
            host = hosts[0] if len(hosts) == 1 else ""
            origin = headers.get("origin")
            if not self._is_known(host):
                refusal = "this host is not served here: use the address that congener serve printed"
                await refuse(scope, receive, send, 400, refusal)
                return
            if origin and scope["method"] not in SAFE_METHODS and origin.partition("://")[2] != host:
                await refuse(scope, receive, send, 403, "another site may not ask for this")
                return
        await self._app(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["v6"] or match["name"]
        if name.casefold() in self._hosts:
            return True
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return False


_OPEN = frozenset({"/healthz", "/favicon.ico"})  # they tell nothing of the gallery


class Token:
    """Asks for a token, as a bearer or as the cookie that `/login?token=…` sets; not for `_OPEN`."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()
        self._cookie = hashlib.sha256(b"congener cookie\0" + self._token).hexdigest().encode()
        self._name = f"{COOKIE}-{hashlib.sha256(self._cookie).hexdigest()[:8]}"  # a cookie is sent to any port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
        elif scope["path"] == "/login":
            await self._login(scope)(scope, receive, send)
        elif self._is_known(Headers(scope=scope)):
            await self._app(scope, receive, send)
        else:
            detail = "a token is needed: open the login link that congener serve printed, or send it as a bearer"
            await refuse(scope, receive, send, 401, detail)

    def _is_known(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.casefold() == "bearer" and hmac.compare_digest(value.strip().encode(), self._token):
            return True
        # the other cookies of this machine's name may be anything: every server on it sets its own
        cookie = cookie_parser(headers.get("cookie", "")).get(self._name)
        return cookie is not None and hmac.compare_digest(cookie.encode(), self._cookie)

    def _login(self, scope: Scope) -> Response:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] != "GET" or not hmac.compare_digest(given.encode("utf-8", "replace"), self._token):
            return PlainTextResponse("This login link is not the one that congener serve printed.", 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            self._name, self._cookie.decode(), max_age=30 * 86400, httponly=True, samesite="strict", path="/"
        )
        return response


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, detail: str) -> None:
    """Answer with a refusal."""
    response = problem(status, detail) if for_programs(scope["path"]) else PlainTextResponse(detail, status)
    await response(scope, receive, send)
