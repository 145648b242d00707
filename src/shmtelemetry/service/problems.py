"""Errors as application/problem+json. https://www.rfc-editor.org/rfc/rfc9457"""

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..errors import StateError

logger = logging.getLogger("shmtelemetry")

PROBLEM_JSON: Final = "application/problem+json"
MAX_SAID: Final = 20  # errors of one request that are told


SCHEMA: Final = {
    "title": "Problem",
    "description": "RFC 9457. errors: of a 422, what is wrong with which part of the request.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"where": {"type": "string"}, "what": {"type": "string"}},
                "required": ["where", "what"],
            },
        },
    },
}


class ProblemError(HTTPException):
    """An error that the client is told. detail: what was expected, what came, what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


def problem(
    status: int, detail: str = "", headers: Mapping[str, str] | None = None, errors: Sequence[Mapping[str, Any]] = ()
) -> Response:
    said: dict[str, Any] = {"type": "about:blank", "title": _title(status), "status": status, "detail": detail}
    if errors:
        said["errors"] = errors
    return Response(msgspec.json.encode(said, enc_hook=repr), status, headers, media_type=PROBLEM_JSON)


def may_answer(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route's errors."""
    content = {PROBLEM_JSON: {"schema": SCHEMA}}
    return {status: {"description": _title(status), "content": content} for status in statuses}


def add_handlers(app: FastAPI) -> None:
    """Tell every error as a problem."""
    app.add_exception_handler(HTTPException, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StateError, _without_state)
    app.add_exception_handler(sqlite3.Error, _without_history)
    app.add_exception_handler(UnicodeEncodeError, _without_bytes)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


async def _told(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail if error.detail != _title(error.status_code) else ""
    return problem(error.status_code, detail, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    errors = [{"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in found[:MAX_SAID]]
    detail = "; ".join(f"{one['where']}: {one['what']}" for one in errors)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


async def _without_bytes(_: Request, error: Exception) -> Response:
    """JSON can escape half a surrogate pair, for which UTF-8 has no bytes."""
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"a text of the request is not Unicode: {error}")


async def _without_state(_: Request, error: Exception) -> Response:
    """Nothing has been aggregated yet, or what there is cannot be read."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "1"})


async def _without_history(_: Request, error: Exception) -> Response:
    """The disk is full, slow or broken; what needs no database is answered all the same."""
    logger.error("the database of history and alerts does not do it: %s", error)
    detail = f"the database of history and alerts does not do it: {error}"
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"})
