"""Access: who may ask. Each check is a plain ASGI middleware."""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from congener.web.problems import for_programs, problem
from congener.web.proxy import is_same_origin

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
            if origin and scope["method"] not in SAFE_METHODS and not is_same_origin(scope, host, origin):
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


_LOGIN_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_OPEN = frozenset({"/healthz", "/favicon.ico"})  # they tell nothing of the gallery


class Token:
    """Asks for a token, as a bearer or as the cookie that `/login?token=…` sets; not for `_OPEN`.

    A cookie lets in until it is logged out, or this ends: a copy of it is of no use then.
    """

    def __init__(self, app: ASGIApp, token: str, root: str) -> None:
        """root: see `congener.web.proxy.parse_root`."""
        self._app, self._root = app, root
        self._token = token.encode()
        self._secret = secrets.token_bytes(32)
        self._ended: set[str] = set()
        digest = hashlib.sha256(b"congener cookie\0" + self._token).hexdigest()
        self._name = f"{COOKIE}-{digest[:8]}"  # a cookie is sent to any port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
        elif scope["path"] == "/login":
            await self._login(scope)(scope, receive, send)
        else:
            await self._ask(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        bearer = self._is_bearer(headers)
        session = "" if bearer else self._session(headers)
        if not bearer and not session:
            detail = "a token is needed: open the login link that congener serve printed, or send it as a bearer"
            await refuse(scope, receive, send, 401, detail)
        elif session and (scope["path"], scope["method"]) == ("/logout", "POST"):
            await self._logout(scope, session)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_bearer(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        return kind.casefold() == "bearer" and hmac.compare_digest(value.strip().encode(), self._token)

    def _session(self, headers: Headers) -> str:
        """Return what names the login whose cookie was sent; empty where none was, or it has ended."""
        # the other cookies of this machine's name may be anything: every server on it sets its own
        cookie = cookie_parser(headers.get("cookie", "")).get(self._name, "")
        session = cookie.partition(".")[0]
        known = hmac.compare_digest(cookie.encode(), self._cookie(session).encode())
        return session if known and session not in self._ended else ""

    def _cookie(self, session: str) -> str:
        return f"{session}.{hashlib.blake2b(session.encode(), key=self._secret, digest_size=32).hexdigest()}"

    def _login(self, scope: Scope) -> Response:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] != "GET" or not hmac.compare_digest(given.encode("utf-8", "replace"), self._token):
            return PlainTextResponse("This login link is not the one that congener serve printed.", 401)
        response = RedirectResponse(f"{self._root}/", 303, _LOGIN_HEADERS)  # the token leaves the address bar
        value = self._cookie(secrets.token_hex(16))
        response.set_cookie(self._name, value, max_age=30 * 86400, **self._cookie_options(scope))
        return response

    def _logout(self, scope: Scope, session: str) -> Response:
        self._ended.add(session)
        headers = _LOGIN_HEADERS | {"Clear-Site-Data": '"cache"'}
        response = PlainTextResponse("You are logged out. The login link lets you in again.", headers=headers)
        response.delete_cookie(self._name, **self._cookie_options(scope))
        return response

    def _cookie_options(self, scope: Scope) -> dict[str, Any]:
        secure = scope.get("scheme") == "https"
        return {"httponly": True, "samesite": "strict", "path": self._root or "/", "secure": secure}


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, detail: str) -> None:
    """Answer with a refusal."""
    response = problem(status, detail) if for_programs(scope["path"]) else PlainTextResponse(detail, status)
    await response(scope, receive, send)
