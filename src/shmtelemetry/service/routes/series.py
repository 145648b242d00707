"""Series one by one."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ..problems import ProblemError
from ..series import Sort, distribution, series
from ..shapes.metrics import DistributionAnswer, SeriesList
from .common import BODY, Of, group, said

MOST: Final = 10_000  # series of one answer

router = group("metrics")


class DistributionQuery(BaseModel):
    """Which series, and how many of the last seconds."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(min_length=1, max_length=256)
    labels: dict[str, str] = Field(default={}, max_length=64)
    seconds: int = Field(60, ge=1, le=60)


@router.get("/api/metrics/series", response_model=SeriesList)
async def listed(
    of: Of,
    kind: Literal["counter", "gauge", "histogram"] | None = None,
    search: Annotated[str, Query(max_length=256, description="A part of the name, or of a label's value.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 500,
    sort: Annotated[Sort, Query(description="What they are in order of; what is not known comes last.")] = "rate",
    order: Literal["ascending", "descending"] = "descending",
) -> Response:
    """Every series with what it is at present; those with the highest rate first, if nothing else is asked for."""
    tick = await of.feed.tick()
    asked = kind, search, limit, sort, order == "descending"
    shown, total = await asyncio.to_thread(series, tick.snapshot, *asked)
    return said({"timestamp": tick.timestamp, "series": shown, "count": len(shown), "total": total})


@router.post("/api/metrics/distribution", response_model=DistributionAnswer, responses=BODY)
async def spread(of: Of, query: DistributionQuery) -> Response:
    """How the observations of a histogram were spread, second by second: of all its series with these labels."""
    tick = await of.feed.tick()
    try:
        told = await asyncio.to_thread(distribution, tick.snapshot, query.metric, query.labels, query.seconds)
    except ValueError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    return said({"timestamp": tick.timestamp, "metric": query.metric, "labels": query.labels, **told})
