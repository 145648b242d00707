"""A WSGI application that counts with prometheus_client's face, in the middleware."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shmtelemetry.compat.prometheus_client import Counter
from shmtelemetry.contrib.wsgi import instrument

JOBS = Counter("jobs", "Jobs.", ["path"])


def jobs(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    JOBS.labels(environ["PATH_INFO"]).inc()
    start_response("200 OK", [])
    return [b"done"]


app = instrument(jobs, endpoint=lambda environ: environ["PATH_INFO"]).expose(jobs)
