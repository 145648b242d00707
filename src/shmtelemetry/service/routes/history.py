"""How figures were: one series, or the samples of the order pipeline."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ..problems import ProblemError
from ..sample import COLUMNS
from ..shapes.metrics import HistoryAnswer
from ..shapes.telemetry import SampleHistory
from ..ticks import now
from .common import BODY, Of, group, said, seconds

HOUR: Final = 3600.0
WHOLE: Final = timedelta(seconds=2)  # until all columns of a second are kept
USUAL: Final = 360  # points where no step is given

router = group("history")


class HistoryQuery(BaseModel):
    """Which series, and when. figure: of a counter value or rate; of a gauge value; of a histogram count, sum, rate,
    p50, p90, p99, max or coverage."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(min_length=1, max_length=256)
    labels: dict[str, str] = Field(default={}, max_length=64)
    sum: bool = Field(
        True,
        description="Add up all series that have these labels, and others besides, however many; "
        "false: the one that has these labels and no others.",
    )
    figure: Literal["value", "rate", "count", "sum", "p50", "p90", "p99", "max", "coverage"] = "value"
    start: datetime | None = Field(None, description="By default an hour before the end.")
    end: datetime | None = Field(None, description="By default now.")
    step: float | None = Field(None, ge=1, le=86400 * 366, allow_inf_nan=False, description="Seconds between points.")


class Span:
    """start, end: seconds since the epoch. step: seconds between points, by default such that there are 360."""

    def __init__(self, start: datetime | None, end: datetime | None, step: float | None) -> None:
        self.end = time.time() if end is None else seconds(end)
        self.start = self.end - HOUR if start is None else seconds(start)
        self.step = max(1.0, math.ceil((self.end - self.start) / USUAL)) if step is None else step


async def _apart(of: Of, ask: Callable[[Callable[[], bool]], Any]) -> Any:
    try:
        return await of.history.apart(ask)
    except ValueError as error:  # such as a figure that the metric has not
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


@router.post("/api/metrics/history", response_model=HistoryAnswer, responses=BODY)
async def history(of: Of, query: HistoryQuery) -> Response:
    """A figure over time: value, rate, count and sum of all series with these labels together, others of one."""
    span = Span(query.start, query.end, query.step)
    asks = query.metric, query.labels, span.start, span.end, span.step, query.figure
    points = await _apart(of, lambda stopped: (of.history.sum if query.sum else of.history.range)(*asks, stopped))
    asked = {"metric": query.metric, "labels": query.labels, "figure": query.figure}
    return said({**asked, "start": span.start, "end": span.end, "step": span.step, "points": points})


@router.get("/stats/history", response_model=SampleHistory)
async def samples(
    of: Of,
    start: Annotated[datetime | None, Query(description="By default an hour before the end.")] = None,
    end: Annotated[datetime | None, Query(description="By default now.")] = None,
    step: Annotated[float | None, Query(ge=1, le=86400 * 366, allow_inf_nan=False)] = None,
) -> Response:
    """The columns of /latest over time, of all producers together."""
    span = Span(start, end or datetime.now(UTC) - WHOLE, step)

    def asked(stopped: Callable[[], bool]) -> dict[float, dict[str, float | None]]:
        rows: dict[float, dict[str, float | None]] = {}
        for column, (metric, factor) in COLUMNS.items():
            for moment, value in of.history.sum(metric, {}, span.start, span.end, span.step, stopped=stopped):
                rows.setdefault(moment, dict.fromkeys(COLUMNS))[column] = value * factor
        return rows

    rows = await _apart(of, asked)
    found = [{"timestamp": moment, **rows[moment]} for moment in sorted(rows)]
    return said({"timestamp": now(), "step": span.step, "samples": found, "count": len(found)})
