"""Proxy: the path below which a proxy shows the page, and what it says of those who ask, where it is to be believed."""

import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from congener.errors import CongenerError

PORTLESS = "congener.portless"
"""In a request's scope: whether a proxy has left the port out of the host, so that nobody knows it."""

_ROOT = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_root(text: str) -> str:
    """Return the path below which all addresses lie, without a slash at its end; empty for none."""
    root = text.rstrip("/")
    if root and not (_ROOT.fullmatch(root) and not {".", ".."} & set(root.split("/"))):
        raise CongenerError(f"--root-path takes a path such as /photos, of letters, digits and ._~-; not {text[:80]!r}")
    return root


def parse_proxies(texts: Iterable[str]) -> list[Network]:
    """Return the networks of addresses such as 127.0.0.1 or 10.0.0.0/8; several may be divided by commas."""
    found = []
    for each in (part.strip() for text in texts for part in text.split(",")):
        try:
            found.append(ipaddress.ip_network(each))
        except ValueError:
            example = "an address or network, as in 127.0.0.1 or 10.0.0.0/8"
            raise CongenerError(f"--trust-proxy takes {example}; not {each[:80]!r}") from None
    return found


class Proxied:
    """Sees requests as their senders sent them: without the root path, and as a believed proxy says that they came."""

    def __init__(self, app: ASGIApp, root: str, proxies: Iterable[Network]) -> None:
        self._app, self._root, self._proxies = app, root, tuple(proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] == "http":
            scope = dict(scope)
            if self._is_believed(scope):
                _believe(scope)
            path = scope["path"]
            if self._root and (path == self._root or path.startswith(f"{self._root}/")):
                scope["path"] = path[len(self._root) :] or "/"
                scope.pop("raw_path", None)
        await self._app(scope, receive, send)

    def _is_believed(self, scope: Scope) -> bool:
        try:
            address = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._proxies)


def _believe(scope: Scope) -> None:
    """Take scheme, host and client from what the proxy has added; of several, the last: the others anybody may send."""
    headers = Headers(scope=scope)
    said = {name: _last(headers, f"x-forwarded-{name}") for name in ("proto", "host", "port", "for")}
    if said["proto"] in _DEFAULT_PORTS:
        scope["scheme"] = said["proto"]
    hosts = headers.getlist("host")
    host = said["host"] or (hosts[0] if len(hosts) == 1 else "")
    if host and not re.search(r":[0-9]*$", host):
        if said["port"].isdigit() and said["port"] != _DEFAULT_PORTS.get(scope["scheme"]):
            host = f"{host}:{said['port']}"
        scope[PORTLESS] = not said["port"]
    if said["for"]:
        scope["client"] = said["for"], 0
    if host:
        rest = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
        scope["headers"] = [(b"host", host.encode("latin-1")), *rest]


def _last(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


def is_same_origin(scope: Scope, host: str, origin: str) -> bool:
    """Tell whether a page of this origin is of the host that is asked."""
    headers = Headers(scope=scope)
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    theirs = origin.partition("://")[2]
    port = _DEFAULT_PORTS.get(scope.get("scheme", "http"))
    if scope.get(PORTLESS):
        theirs = re.sub(r":[0-9]+$", "", theirs)
    return host in (theirs, f"{theirs}:{port}")
