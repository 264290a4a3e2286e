"""The app: the page and the REST API over one gallery."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from congener import __version__
from congener.gallery import Gallery
from congener.web import api, models, pages
from congener.web.access import KnownHosts, SecurityHeaders, Token
from congener.web.bodies import BodyLimits, Budget
from congener.web.desk import Desk
from congener.web.facts import Limits
from congener.web.indexing import Indexing
from congener.web.jobs import Job
from congener.web.problems import add_problems, as_json, documented
from congener.web.proxy import Proxied, parse_proxies, parse_root

_STATIC = Path(__file__).parent / "static"
_LISTENERS = 64
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_METRICS: dict[str, Any] = {"description": "Prometheus' text format", "content": {"text/plain": {}}}


def create_app(
    gallery: Gallery,
    *,
    update: bool = True,
    token: str | None = None,
    hosts: Collection[str] = (),
    limits: Limits | None = None,
    root_path: str = "",
    proxies: Collection[str] = (),
) -> FastAPI:
    """Return the app over a gallery, which is indexed, or brought up to date, in the background once it runs.

    update: whether it is. token: what must be known to use it; None: nothing. hosts: names by which this machine may
    be addressed, besides those of the loopback and addresses of numbers. root_path: below which a proxy shows the page;
    proxies: addresses of those whose X-Forwarded-* are believed.
    """
    limits = limits or Limits()
    root, believed = parse_root(root_path), parse_proxies(proxies)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if update:
            app.state.indexing.start()
        yield
        app.state.ending.set()
        await asyncio.to_thread(app.state.indexing.end)
        app.state.desk.close()

    app = FastAPI(
        title="Congener",
        version=__version__,
        description="Find the pictures in a folder that are most like a picture.",
        docs_url=None,  # these pages come from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
    )
    indexing = Indexing(lambda: desk.open_gallery())  # noqa: PLW0108 - the desk comes next
    desk = Desk(gallery, limits, lambda: indexing.progress)
    app.state.desk, app.state.indexing, app.state.encoder = desk, indexing, gallery.encoder.identity
    app.state.lanes = api.Lanes()
    app.state.root, app.state.asks_token = root, token is not None
    app.state.jobs = {"evaluation": Job(desk.evaluate), "duplicates": Job(desk.find_duplicates)}
    app.state.ending, app.state.listeners, app.state.most_listeners = asyncio.Event(), 0, _LISTENERS
    add_problems(app)
    app.include_router(api.router)
    app.include_router(api.events)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=_STATIC), "static")
    app.add_route("/favicon.ico", _icon, include_in_schema=False)
    _add_watching(app)
    app.openapi_schema = _with_problems(app)
    # the last one added is asked first
    if token is not None:
        app.add_middleware(Token, token, root)
    app.add_middleware(KnownHosts, hosts)
    app.state.budget = Budget(limits.body_memory)
    app.add_middleware(BodyLimits, limits.upload_bytes, limits.upload_seconds, app.state.budget)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Proxied, root, believed)
    return app


def _icon(_: Request) -> FileResponse:
    """Show what a browser asks for unbidden wherever an answer is no page of ours: a refusal, JSON, a picture."""
    return FileResponse(_STATIC / "icon.svg")


def _with_problems(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the schema that all errors have."""
    schema = app.openapi()
    if app.state.root:
        schema["servers"] = [{"url": app.state.root}]
    if app.state.asks_token:
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        schema["paths"]["/healthz"]["get"]["security"] = []
    schemas = schema["components"]["schemas"]
    schemas["Problem"] = models.Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return schema


def _add_watching(app: FastAPI) -> None:
    """Add what tells other machines how the app does."""
    registry = CollectorRegistry()
    requests = Counter("congener_requests", "Requests answered.", ["method", "route", "status"], registry=registry)
    seconds = Histogram("congener_request_seconds", "Time to answer a request.", ["route"], registry=registry)
    flying = Gauge("congener_requests_in_flight", "Requests being answered.", registry=registry)
    images = Gauge("congener_images", "Images that can be searched.", registry=registry)
    images.set_function(app.state.desk.images)

    @app.get("/healthz", response_model=models.Health, responses=documented(400), response_description="It does")
    async def healthz() -> Response:
        """Whether the app answers."""
        return as_json({"status": "ok"})

    @app.get(
        "/metrics",
        response_class=Response,
        responses=documented(400, 401)
        | {200: {"description": "Prometheus' text format", "content": {"text/plain": {}}}},
    )
    def metrics(request: Request) -> Response:
        """Counts and times for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    class Watch:
        """Counts requests."""

        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await self._app(scope, receive, send)
                return
            started, status = time.perf_counter(), 499  # stays where whoever asks goes before the answer

            async def noted(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            flying.inc()
            try:
                await self._app(scope, receive, noted)
            except Exception:
                status = 500
                raise
            finally:
                flying.dec()
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in _METHODS else "other"  # a client may make some up
                requests.labels(method, route, status).inc()
                if route != "/events":
                    seconds.labels(route).observe(time.perf_counter() - started)

    app.add_middleware(Watch)
