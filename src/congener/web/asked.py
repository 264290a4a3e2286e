"""Asked: what a request's body asks, be it JSON or a form, read and checked; and what OpenAPI says of it."""

import base64
import binascii
import json
from typing import Any

import python_multipart  # noqa: F401 - Starlette needs it for forms, and says so only when one comes
from fastapi import Request
from starlette.datastructures import UploadFile

from congener.errors import unknown_name
from congener.web import models
from congener.web.problems import RefusedError

_FIELDS = 1000  # of a form
_VALUES = 200_000  # of JSON: each may take thirty times its three characters; a question has some hundred
_MANY = {"positive", "negative", "label", "rerank"}


def media_type(request: Request) -> str:
    """Return what a request says that its body is."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_form(request: Request) -> tuple[dict[str, list[str]], bytes | None, str]:
    """Return a form's fields, the picture in the field image, and its name. What is empty isn't given."""
    fields: dict[str, list[str]] = {}
    picture, name = None, ""
    async with request.form(max_files=1, max_fields=_FIELDS) as form:
        for key, value in form.multi_items():
            if isinstance(value, UploadFile):
                if key != "image":
                    raise RefusedError(422, f"the picture goes into the field image, not {key[:80]!r}")
                picture, name = await value.read(), value.filename or ""
            elif value:
                fields.setdefault(key, []).append(value)
    return fields, picture, name.replace("\\", "/").rpartition("/")[2][:200] or "picture"


async def read_asked(request: Request, model: type[models.Asked]) -> tuple[Any, bytes | None, str]:
    """Return a request's content as the model, its picture, and what that is called. Raises RefusedError."""
    picture, name = None, "picture"
    if media_type(request) == "multipart/form-data":
        fields, picture, name = await read_form(request)
        content = _from_fields(fields, model)
    elif media_type(request) == "application/json":
        content = await _read_json(request)
    else:
        raise RefusedError(415, "send application/json, or multipart/form-data with the picture in the field image")
    if isinstance(content, dict):
        _check_names(content, model)
    asked = model.model_validate(content)
    if asked.image is not None:
        picture = _decoded(asked.image)
    if sum(each is not None for each in (asked.id, asked.upload, picture)) != 1:
        raise RefusedError(422, "ask with exactly one of: id, upload, image")
    return asked, picture, name


async def _read_json(request: Request) -> Any:
    """Return what a request's body says. Raises RefusedError where it is no JSON, or would take far more memory."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    if sum(map(body.count, (b",", b"[", b"{"))) > _VALUES:
        raise RefusedError(422, "the request's body holds too many values")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(422, "the request's body is not JSON") from None


def _from_fields(fields: dict[str, list[str]], model: type[models.Asked]) -> dict[str, Any]:
    """Return a form's fields as JSON would have them."""
    _check_names(fields, model)
    if "image" in fields:
        raise RefusedError(422, "image: must be a file in a form")
    for key, values in fields.items():
        if key not in _MANY and len(values) > 1:
            raise RefusedError(422, f"{key} is given twice")
    return {key: values if key in _MANY else values[0] for key, values in fields.items()}


def _check_names(content: dict[str, Any], model: type[models.Asked]) -> None:
    for key in content:
        if key not in model.model_fields:
            raise RefusedError(422, unknown_name("name", key[:80], model.model_fields))


def _decoded(text: str) -> bytes:
    """Return what base64 holds, with or without the beginning of a data: address."""
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(422, "image: is not base64") from None


def both_ways(model: type[models.Asked]) -> dict[str, Any]:
    """Return what OpenAPI says of a request that may be JSON or a form: FastAPI would publish one of them."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    fields = {name: _without_null(field) for name, field in schema["properties"].items()}
    fields["image"] = {"type": "string", "format": "binary", "description": "The picture's file."}
    fields["box"] = {
        "type": "string",
        "pattern": r"^-?\d+(\.\d+)?(,-?\d+(\.\d+)?){3}$",
        "description": "The part that counts: x,y,width,height in pixels of the upright picture.",
    }
    form = {key: value for key, value in schema.items() if key != "examples"} | {"properties": fields}
    content = {"application/json": {"schema": schema}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return a field's schema as a form has it, which can't say null."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in field.items() if key != "anyOf" and value is not None}
    return rest | kinds[0] if kinds else rest


PICTURE_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "The picture's file."}
                    },
                    "required": ["image"],
                    "additionalProperties": False,
                }
            }
        },
    }
}
"""What OpenAPI says of a request that is a form of one picture."""
