"""The command serve: the page and the API over a gallery."""

import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from congener.cli.options import folder_argument, gallery_option, open_gallery, precision_option, single
from congener.errors import CongenerError
from congener.terminal import note

if TYPE_CHECKING:
    from congener.gallery import Gallery

_SWITCH_SECONDS = 5e-4  # for which a thread may keep others from Python: a search, say, the server
_WAITING = 2048  # connections


@click.command()
@folder_argument
@gallery_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 chooses a free one.")
@click.option("--token", help="What must be known to use it; made and printed when HOST is not of this machine alone.")
@click.option(
    "--allow-host", "names", multiple=True, metavar="NAME", help="A name by which others address this machine."
)
@click.option("--root-path", default="", metavar="PATH", help="Below which a proxy shows the page, as in /photos.")
@click.option(
    "--trust-proxy",
    "proxies",
    multiple=True,
    metavar="IP,IP",
    help="A proxy, or a network of them, whose X-Forwarded-* are believed; none is by default.",
)
@click.option(
    "--body-memory",
    default=512,
    show_default=True,
    type=click.IntRange(64, 2**20),
    metavar="MIB",
    help="Memory that what is being sent to it may take; who comes when that is full is told to come again.",
)
@click.option("--no-update", is_flag=True, help="Show what is indexed, without a look at FOLDER.")
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
@precision_option
def serve(
    folder: Path,
    stores: tuple[Path, ...],
    host: str,
    port: int,
    token: str | None,
    names: tuple[str, ...],
    root_path: str,
    proxies: tuple[str, ...],
    body_memory: int,
    no_update: bool,
    open_page: bool,
    precision: str | None,
) -> None:
    """Open a page over FOLDER: drop a picture on it, and look. The same address answers programs (/openapi.json).

    Indexes in the background what is new or changed.
    """
    web = _web()
    if token is not None and len(token) < 8:
        raise CongenerError("--token takes at least 8 characters, or leave it out and one is made")
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise CongenerError("--token takes ASCII characters without blanks")
    if token is None and not web.is_loopback(host):
        token = web.new_token()
    how = {"root_path": web.parse_root(root_path), "proxies": list(map(str, web.parse_proxies(proxies)))}
    limits = web.Limits(body_memory=body_memory * 2**20)
    with open_gallery(folder, single(stores), precision=precision) as gallery, _listening(host, port) as listener:
        _check_there_is_one(gallery, no_update)
        hosts = [host, socket.gethostname(), *names]
        app = web.create_app(gallery, update=not no_update, token=token, hosts=hosts, limits=limits, **how)
        page = _address(host, listener.getsockname()[1]) + how["root_path"]
        link = _login(page, token) if token else f"{page}/"
        print(f"The page over {folder}: {link}")
        if token:
            print(f"Programs send the header  Authorization: Bearer {token}")
        print("Ctrl-C ends it.", flush=True)
        if open_page:
            click.launch(link)
        sys.setswitchinterval(_SWITCH_SECONDS)
        web.give_back()
        with suppress(KeyboardInterrupt):  # which is raised once it has ended
            web.server(app).run(sockets=[listener])
    note("ended")


def _check_there_is_one(gallery: "Gallery", no_update: bool) -> None:
    """Make an empty gallery where there is none, to be filled meanwhile. Raises CongenerError with what lacks."""
    if gallery.exists_in(gallery.store_folder):
        return
    if no_update:
        raise CongenerError(
            f"{gallery.folder} is not indexed yet: leave out --no-update, or first run congener index {gallery.folder}"
        )
    gallery.create()


def _web() -> Any:
    """Load what the page needs; it is an extra."""
    try:
        from congener.web import serving
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "congener":
            raise
        raise CongenerError(f"the page needs an extra ({error.name}): pip install 'congener[web]'") from None
    return serving


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises CongenerError with the reason."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise CongenerError(f"--host {host} is no address to listen on: {error}") from None
    try:
        if sys.platform != "win32":  # there it would let two servers listen at once
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_WAITING)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise CongenerError(f"can't listen on {host}, port {port}: {reason} (--port 0 chooses a free one)") from None
    return listener


def _login(page: str, token: str) -> str:
    """Return the link that lets a browser in."""
    return f"{page}/login?token={quote(token, safe='')}"


def _address(host: str, port: int) -> str:
    """Return the page's address; what listens everywhere is shown as this machine's loopback."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - only looked for
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
