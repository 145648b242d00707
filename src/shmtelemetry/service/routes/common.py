"""What routes have in common: the namespace that a request is about, and how they answer."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.dependencies.models import Dependant
from starlette.responses import Response

from ..problems import ProblemError, may_answer
from ..ticks import encode
from ..watched import Watched

JSON: Final = "application/json"
BODY: Final = may_answer(  # of what takes a body
    HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE
)


def group(name: str) -> APIRouter:
    """Routes that are told together. All of them refuse what they do not take."""
    refused = (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
    return APIRouter(tags=[name], dependencies=[Depends(known_parameters)], responses=may_answer(*refused))


def answer(body: bytes, status: int = HTTPStatus.OK) -> Response:
    return Response(body, status, media_type=JSON)


def said(what: Any, status: int = HTTPStatus.OK) -> Response:
    return answer(encode(what), status)


def seconds(moment: datetime) -> float:
    """Since the epoch; a moment without a time zone is of UTC."""
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


async def watched(
    request: Request,
    namespace: Annotated[str | None, Query(description="One of those shown; by default the service's own.")] = None,
) -> Watched:
    of: dict[str, Watched] = request.app.state.watched
    if namespace is None:
        return next(iter(of.values()))
    if namespace not in of:
        detail = f"namespace {namespace[:64]!r} is not shown here: expected one of {', '.join(of)}"
        raise ProblemError(HTTPStatus.NOT_FOUND, detail)
    return of[namespace]


Of = Annotated[Watched, Depends(watched)]


async def known_parameters(request: Request) -> None:
    """Refuse what a route does not take: a filter that is misspelt must not look as if it had let all through."""
    if not request.scope["query_string"]:
        return
    known = _parameters(request.scope["route"].dependant)
    given = [name for name, _ in request.query_params.multi_items()]
    unknown = [name for name in given if name not in known]
    if unknown:
        expected = f"expected some of {', '.join(sorted(known))}" if known else "none is taken here"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"query parameter {unknown[0][:64]!r}: {expected}")
    repeated = [name for name in known if not name.endswith("[]") and given.count(name) > 1]
    if repeated:
        detail = f"query parameter {repeated[0]!r} is given more than once: expected one value"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def _parameters(dependant: Dependant) -> set[str]:
    """Names of the query parameters of a route and of what it depends on."""
    found = {parameter.alias for parameter in dependant.query_params}
    return found.union(*map(_parameters, dependant.dependencies))
