"""What this is, the reference, and the login of browsers."""

import asyncio
import logging
import time
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

from fastapi import Query, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from ...version import VERSION
from ..access import LOGIN
from ..reference import HEAD, reference
from ..sessions import COOKIE, LASTS, session
from ..shapes.telemetry import Info
from ..ticks import encode
from .common import JSON, group

router = group("service")
logger = logging.getLogger("shmtelemetry")

HTML: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "properties": {"token": {"type": "string"}}}
            }
        }
    }
}
WRONG: Final[dict[int | str, dict[str, Any]]] = {401: {"description": "The token is wrong.", **HTML[200]}}
PAGE: Final = Path(__file__).parents[1] / "static/index.html"
ENDPOINTS: Final = {
    "metrics": "/metrics",
    "latest": "/latest",
    "health": "/health",
    "history": "/stats/history",
    "current": "/api/metrics/current",
    "trades": "/api/trades",
    "system": "/api/system",
    "alerts": "/api/system/alerts",
    "updates": "/ws/metrics",
    "reference": "/docs",
}

WRONG_SECONDS: Final = 0.5  # that a wrong token costs whoever tries it
LOGIN_PAGE: Final = """<main class="login">
<h1><img src="/static/icon.svg" alt="" width="24" height="24">shmtelemetry</h1>
<form method="post"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button class="main">Log in</button>{complaint}</form></main></html>
"""


@router.get("/", response_model=Info, responses=HTML)
async def root(request: Request) -> Response:
    """What this is, and where things are; for browsers the page that shows it all."""
    vary = {"Vary": "Accept"}
    if "text/html" in request.headers.get("accept", ""):
        return FileResponse(PAGE, headers=vary)
    state = request.app.state
    login = state.service.access.access.token is not None
    told = {"service": "shmtelemetry", "version": VERSION, "namespaces": list(state.watched), "login": login}
    return Response(encode(told | {"endpoints": ENDPOINTS}), headers=vary, media_type=JSON)


@router.get("/docs", response_class=HTMLResponse, responses=HTML)
async def docs(request: Request) -> Response:
    """This reference."""
    return HTMLResponse(reference(request.app.openapi()))


@router.get(LOGIN, response_class=HTMLResponse, responses=HTML)
async def login(
    next: Annotated[str, Query(max_length=2000, description="The page to go to afterwards.")] = "/",
) -> Response:
    """A form for the token, for browsers."""
    return _login_page()


@router.post(LOGIN, response_class=Response, status_code=303, openapi_extra=FORM, responses=WRONG)
async def log_in(
    request: Request,
    next: Annotated[str, Query(max_length=2000, description="The page to go to afterwards.")] = "/",
) -> Response:
    """Takes the token in a form, and gives a cookie that stands for it for twelve hours."""
    access = request.app.state.service.access.access
    given = parse_qs((await request.body()).decode(errors="replace")).get("token", [""])[0]
    if not access.admits(f"Bearer {given}"):
        logger.warning("a wrong token from %s", request.client.host if request.client is not None else "a socket")
        await asyncio.sleep(WRONG_SECONDS)
        return _login_page("The token is wrong.", HTTPStatus.UNAUTHORIZED)
    # A path of ours: //elsewhere and /\\elsewhere are another host's to browsers.
    here = next if next.startswith("/") and next[1:2] not in ("/", "\\") else "/"
    answer = RedirectResponse(here, HTTPStatus.SEE_OTHER)
    if access.token is not None:
        value, secure = session(access.token, time.time()), request.url.scheme == "https"
        answer.set_cookie(COOKIE, value, max_age=LASTS, httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/logout", response_class=Response, status_code=303)
async def log_out() -> Response:
    """Takes the cookie away."""
    answer = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _login_page(complaint: str = "", status: int = HTTPStatus.OK) -> Response:
    told = f'<p role="alert">{escape(complaint)}</p>' if complaint else ""
    return HTMLResponse(HEAD.format(title="Log in") + LOGIN_PAGE.format(complaint=told), status)
