"""The REST API: the page's questions, for programs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from congener.cores import cores
from congener.web import models
from congener.web.asked import PICTURE_FORM, both_ways, media_type, read_asked, read_form
from congener.web.darkroom import key_of
from congener.web.desk import Desk
from congener.web.download import Download
from congener.web.facts import Answer
from congener.web.pixels import SIDES
from congener.web.problems import RefusedError, as_json, documented
from congener.web.question import LARGEST_ID, Question

T = TypeVar("T")
Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Key = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Size = Annotated[int, Query(description=f"The longest side in pixels: {' or '.join(map(str, SIDES))}.")]

_READ = documented(400, 401, 403, 404, 409, 422, 503)
_WRITE = documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 503)
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FILE = {"image/*": _BYTES, "application/octet-stream": _BYTES}
_WEBP: dict[str, Any] = {"description": "The picture", "content": {"image/webp": _BYTES}}
_LOOK_SECONDS = 0.25
_ALIVE_SECONDS = 15.0

_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)(\s*,\s*(\d+-\d*|-\d+))*")
_TYPES = {  # Python's own table differs from system to system
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "image/jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "image/tiff"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "image/heic"),
    **{f".{kind}": f"image/{kind}" for kind in ("png", "webp", "gif", "bmp", "avif")},
}


async def _only_known_names(request: Request) -> None:
    """Refuse an address with a name that would be dropped in silence."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            choices = f"choose from: {', '.join(known)}" if known else "this address takes none"
            raise RefusedError(422, f"unknown name {name[:80]!r} in the address; {choices}")


router = APIRouter(prefix="/api", dependencies=[Depends(_only_known_names)])
events = APIRouter(include_in_schema=False)


class Lanes:
    """How many of each kind of work run in threads at once, so that none keeps another from running."""

    def __init__(self) -> None:
        self.search = CapacityLimiter(1)  # each takes all cores: one after the other is faster than side by side
        self.upload = CapacityLimiter(2 * cores())
        self.paint = CapacityLimiter(2 * cores())
        self.other = CapacityLimiter(8)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def _in_thread(lane: CapacityLimiter, function: Callable[..., T], *args: Any) -> T:
    return await run_sync(partial(function, *args), limiter=lane)


def _lanes(request: Request) -> Lanes:
    lanes: Lanes = request.app.state.lanes
    return lanes


@router.get("/gallery", response_description="Its facts", response_model=models.GalleryModel, responses=_READ)
async def gallery(request: Request) -> Response:
    """What there is to search."""
    desk = _desk(request)

    def read() -> dict[str, Any]:
        facts = asdict(desk.facts())
        return facts | {"encoder": request.app.state.encoder.as_dict(), "adapted": desk.adapted()}

    return as_json(await _in_thread(_lanes(request).other, read))


@router.get("/images", response_description="A page of them", response_model=models.PageModel, responses=_READ)
async def images(
    request: Request,
    label: Annotated[str, Query(max_length=1000, description="Only images of this label, by label or name.")] = "",
    page: Annotated[int, Query(ge=1, le=10**9)] = 1,
) -> Response:
    """The images, a page at a time."""
    return as_json(asdict(await _in_thread(_lanes(request).other, _desk(request).wall, label, page)))


@router.get("/images/{id}", response_description="Its facts", response_model=models.ImageFacts, responses=_READ)
async def image(request: Request, id: Id) -> Response:
    """One image."""
    return as_json(asdict(await _in_thread(_lanes(request).other, _desk(request).image, id)))


@router.get(
    "/images/{id}/file",
    response_class=Response,
    responses=_READ
    | {
        200: {"description": "The file", "content": _FILE},
        206: {"description": "Part of it", "content": _FILE},
        304: {},
        416: {},
    },
)
async def file(request: Request, id: Id) -> Response:
    """The image's file, as it is."""
    desk = _desk(request)
    asked = request.headers.get("range")
    if asked is not None and not _RANGE.fullmatch(asked):
        raise RefusedError(400, "Range takes bytes=FIRST-LAST, as in bytes=0-999")
    row, opened = await _in_thread(_lanes(request).other, desk.open, id)
    name, etag = FilePath(row.path).name, row.content.hex()
    headers = {
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='', errors='replace')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, no-cache",
    }
    if _is_known(request, f'"{etag}"'):
        opened.close()
        return Response(status_code=304, headers=headers | {"ETag": f'"{etag}"'})
    kind = _TYPES.get(FilePath(name).suffix.lower(), "application/octet-stream")
    return Download(opened, etag, kind, headers)


def _is_known(request: Request, etag: str) -> bool:
    """Tell whether a client has what an ETag names."""
    given = request.headers.get("if-none-match", "").split(",")
    return etag in [each.strip().removeprefix("W/") for each in given]


def _picture(request: Request, content: bytes, name: str) -> Response:
    """Answer with a thumbnail, or with nothing where it is known already."""
    headers = {"ETag": f'"{name}"', "Cache-Control": "private, no-cache"}  # another picture may get its number's file
    if _is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/webp", headers=headers)


@router.get("/images/{id}/thumbnail", response_class=Response, responses=_READ | {200: _WEBP, 304: {}})
async def thumbnail(request: Request, id: Id, size: Size = SIDES[0]) -> Response:
    """The image in small, upright."""
    return _picture(request, *await _in_thread(_lanes(request).paint, _desk(request).thumbnail, id, size))


@router.post(
    "/uploads",
    status_code=201,
    response_description="What it is kept as",
    response_model=models.UploadModel,
    responses=_WRITE,
    openapi_extra=PICTURE_FORM,
)
async def upload(request: Request) -> Response:
    """Keep a picture for a while, so that an address can ask with it."""
    if media_type(request) != "multipart/form-data":
        raise RefusedError(415, "send the picture as multipart/form-data, in the field image")
    fields, picture, name = await read_form(request)
    if picture is None or fields:  # anything else would be dropped in silence
        raise RefusedError(422, "send one field, image, that is a file")
    desk, lane = _desk(request), _lanes(request).upload
    if lane.statistics().tasks_waiting >= desk.limits.searches:
        raise RefusedError(503, "many pictures are being uploaded: try again")
    kept = await _in_thread(lane, desk.keep, picture, name)
    return as_json({"upload": kept.key, "name": kept.name, "width": kept.width, "height": kept.height}, 201)


@router.get("/uploads/{key}", response_description="Its facts", response_model=models.UploadModel, responses=_READ)
async def uploaded(request: Request, key: Key) -> Response:
    """A picture that was uploaded."""
    kept = await _in_thread(_lanes(request).other, _desk(request).upload, key)
    return as_json({"upload": kept.key, "name": kept.name, "width": kept.width, "height": kept.height})


@router.get("/uploads/{key}/thumbnail", response_class=Response, responses=_READ | {200: _WEBP, 304: {}})
async def upload_thumbnail(request: Request, key: Key, size: Size = SIDES[0]) -> Response:
    """The same in small, upright."""
    return _picture(request, *await _in_thread(_lanes(request).paint, _desk(request).upload_thumbnail, key, size))


@router.post(
    "/search",
    response_description="The hits",
    response_model=models.Answer,
    responses=_WRITE,
    openapi_extra=both_ways(models.SearchRequest),
)
async def search(request: Request) -> Response:
    """The images most alike to a picture, best first."""
    asked, picture, name = await read_asked(request, models.SearchRequest)
    upload = asked.upload if picture is None else await _in_thread(_lanes(request).other, key_of, picture)
    question = Question(
        asked.id,
        upload,
        asked.box,
        tuple(asked.positive),
        tuple(asked.negative),
        asked.k,
        tuple(asked.label),
        asked.min_score,
        tuple(asked.rerank),
    )
    desk, lanes = _desk(request), _lanes(request)
    with desk.counted():
        query = None
        if question.upload is not None or question.box is not None:  # so that decoding keeps no other from its answer
            query = await _in_thread(lanes.upload, desk.ask, question, picture, name)
        answer: Answer = await _in_thread(lanes.search, desk.answer, question, query)
    return as_json({"query": answer.query, "k": question.k, "hits": [hit.as_dict() for hit in answer.hits]})


@router.post(
    "/explain",
    response_description="The two maps",
    response_model=models.Explanation,
    responses=_WRITE,
    openapi_extra=both_ways(models.ExplainRequest),
)
async def explain(request: Request) -> Response:
    """Where the likeness of a picture and a hit lies."""
    asked, picture, _ = await read_asked(request, models.ExplainRequest)
    upload = asked.upload if picture is None else await _in_thread(_lanes(request).other, key_of, picture)
    question = Question(asked.id, upload, asked.box)
    desk = _desk(request)
    return as_json(await _in_thread(_lanes(request).other, desk.explain, question, asked.hit, picture))


# work that takes a while


def _job(request: Request, name: str) -> Any:
    return request.app.state.jobs[name]


@router.get("/evaluation", response_description="How far it is", response_model=models.JobModel, responses=_READ)
async def evaluation(request: Request) -> Response:
    """How far the evaluation is."""
    job = _job(request, "evaluation")
    return as_json({"state": job.state, "message": job.message})


@router.post(
    "/evaluation",
    response_description="It has begun",
    status_code=202,
    response_model=models.JobModel,
    responses=_WRITE,
)
async def evaluate(request: Request) -> Response:
    """Begin to evaluate the gallery by its labels; GET tells how far it is."""
    job = _job(request, "evaluation")
    job.start()
    return as_json({"state": job.state, "message": job.message}, 202)


def _duplicates(request: Request) -> dict[str, Any]:
    job = _job(request, "duplicates")
    result = {"groups": []} if job.result is None else job.result
    return {"state": job.state, "message": job.message} | result


@router.get(
    "/duplicates",
    response_description="How far it is, and the groups",
    response_model=models.DuplicatesModel,
    responses=_READ,
)
async def duplicates(request: Request) -> Response:
    """The groups of near-identical images, once they are found."""
    return as_json(await _in_thread(_lanes(request).other, _duplicates, request))


@router.post(
    "/duplicates",
    response_description="It has begun",
    status_code=202,
    response_model=models.DuplicatesModel,
    responses=_WRITE,
)
async def find_duplicates(request: Request) -> Response:
    """Begin to look for near-identical images; GET tells how far it is."""
    _job(request, "duplicates").start()
    return as_json(_duplicates(request), 202)


@router.post(
    "/update",
    response_description="It has begun",
    status_code=202,
    response_model=models.ProgressModel,
    responses=_WRITE,
)
async def update(request: Request) -> Response:
    """Look at the folder again; `/events` tells how far it is."""
    request.app.state.indexing.start()
    return as_json(request.app.state.indexing.progress.as_dict(), 202)


@events.get("/events")
async def progress(request: Request) -> Response:
    """How far indexing is, as server-sent events: at once, and whenever it changes."""
    desk, state = _desk(request), request.app.state

    async def stream() -> AsyncIterator[str]:
        last, seen, quiet = None, None, 0.0
        while not state.ending.is_set() and not await request.is_disconnected():
            now = state.indexing.progress
            if now.state == "idle" and now is seen:
                now = last
            else:
                seen = now
                now = replace(now, images=await _in_thread(_lanes(request).other, desk.images))
            if now != last:
                last, quiet = now, 0.0
                yield f"event: progress\ndata: {json.dumps(now.as_dict())}\n\n"
            elif quiet > _ALIVE_SECONDS:
                quiet = 0.0
                yield ": alive\n\n"
            await asyncio.sleep(_LOOK_SECONDS)
            quiet += _LOOK_SECONDS

    if state.listeners >= state.most_listeners:
        raise RefusedError(503, f"{state.most_listeners} listen already: try again")
    unbuffered = {"X-Accel-Buffering": "no"}  # by nginx and its like
    return StreamingResponse(_counted(state, stream()), media_type="text/event-stream", headers=unbuffered)


async def _counted(state: Any, stream: AsyncIterator[str]) -> AsyncIterator[str]:
    state.listeners += 1
    try:
        async for each in stream:
            yield each
    finally:
        state.listeners -= 1
