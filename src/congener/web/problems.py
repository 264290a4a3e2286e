"""Problems: what goes wrong, as problem+json for programs and as a page for people.

Source: RFC 9457, "Problem Details for HTTP APIs".
"""

import json
from http import HTTPStatus
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from congener.errors import CongenerError, GalleryBusyError, UnknownImageError
from congener.web.models import Problem

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
_STATUS = {UnknownImageError: 404, GalleryBusyError: 503}
"""Of errors that aren't the question's own fault."""
_TOLD = 3  # of what is wrong with one request


class RefusedError(CongenerError):
    """A request that is refused, with its HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def as_json(value: Any, status: int = 200, media_type: str = "application/json") -> Response:
    """Return JSON in ASCII: a file's name may hold bytes that are no text."""
    return Response(json.dumps(value), status, media_type=media_type)


def problem(status: int, detail: str) -> Response:
    """Return a problem for programs."""
    title = HTTPStatus(status).phrase
    response = as_json(
        Problem(type="about:blank", title=title, status=status, detail=detail).model_dump(), status, MEDIA_TYPE
    )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of these statuses of an operation."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def for_programs(path: str) -> bool:
    """Tell whether a path is of the API rather than of the page."""
    return path.startswith(("/api/", "/healthz", "/metrics", "/openapi.json", "/events"))


def in_words(errors: Any) -> str:
    """Return what pydantic says of a request in one line."""
    said = []
    for error in errors:
        place = ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path"))
        message = error["msg"].removeprefix("Value error, ")
        said.append(f"{place}: {message}" if place else message)
    different = list(dict.fromkeys(said))
    more = len(different) - _TOLD
    return "; ".join(different[:_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _methods(request: Request) -> str:
    """Return the methods that a route's address takes: each of its routes knows its own only."""
    route = request.scope.get("route")
    documented: dict[str, Any] = request.app.openapi()["paths"].get(getattr(route, "path", None), {})
    return ", ".join(sorted({*map(str.upper, documented), *(getattr(route, "methods", None) or ())}))


def add_problems(app: FastAPI) -> None:
    """Have an app answer with problems whatever is raised."""

    def answer(request: Request, status: int, detail: str) -> Response:
        if for_programs(request.url.path):
            return problem(status, detail)
        from congener.web.pages import error_page

        return error_page(request, status, HTTPStatus(status).phrase, detail)

    @app.exception_handler(CongenerError)
    async def refused(request: Request, error: Exception) -> Response:
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 422)
        return answer(request, getattr(error, "status", status), str(error))

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError | ValidationError)
        return answer(request, 422, in_words(error.errors()))

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail, headers = str(error.detail), dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = _methods(request) or headers.get("Allow", "GET")
            detail = f"this address takes {headers['Allow']}, not {request.method}"
        elif error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
            for_program = for_programs(request.url.path)
            detail = "nothing is at this address; " + (
                "/openapi.json lists those there are" if for_program else f"the gallery is at {request.app.state.root}/"
            )
        response = answer(request, error.status_code, detail)
        response.headers.update(headers)
        return response

    class Faults:
        """Answers where something is wrong in here, before Starlette would, outside of what adds headers."""

        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            begun = False

            async def noted(message: Message) -> None:
                nonlocal begun
                begun = True
                await send(message)

            try:
                await self._app(scope, receive, noted)
            except ClientDisconnect:  # whoever sent it is gone: there is nobody to answer
                return
            except Exception:
                if scope["type"] == "http" and not begun:
                    detail = "something is wrong in Congener itself: its log says what"
                    response = await run_sync(answer, Request(scope), 500, detail)
                    await response(scope, receive, send)
                raise  # to be logged

    app.add_middleware(Faults)
