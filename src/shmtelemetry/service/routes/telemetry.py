"""The endpoints of a telemetry service, at the top of the tree."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import Query, Request
from starlette.responses import Response

from ..sample import sample
from ..shapes.telemetry import SampleAnswer
from ..ticks import Tick
from .common import Of, answer, group

router = group("telemetry")

EXPOSITION: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {"text/plain": {"schema": {"type": "string"}}},
        "description": "In the format that Accept asks for.",
    }
}


@router.get("/latest", response_model=SampleAnswer)
async def latest(of: Of) -> Response:
    """The newest sample of the order pipeline."""
    tick = await of.feed.tick()
    return answer(tick.encoded("latest", _latest))


@router.get("/metrics", response_class=Response, responses=EXPOSITION)
async def metrics(
    request: Request,
    of: Of,
    names: Annotated[list[str] | None, Query(alias="name[]", description="Only these metrics.")] = None,
) -> Response:
    """All metrics of the namespace, for Prometheus: text, OpenMetrics, or protobuf with native histograms."""
    query, headers = request.url.query, request.headers
    accept, encoding = (",".join(headers.getlist(name)) for name in ("accept", "accept-encoding"))
    # In a thread, since it waits for the reader: the loop goes on.
    named, body = await asyncio.to_thread(of.answers.answer, query, accept, encoding)
    return Response(body, headers=named)


def _latest(tick: Tick) -> dict[str, Any]:
    return {"timestamp": tick.timestamp, "namespace": tick.snapshot.namespace, **sample(tick.snapshot)}
