"""What to do about the alerts of the package, as pages."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from starlette.responses import HTMLResponse, Response

from ..problems import ProblemError
from ..reference import HEAD
from .common import group
from .pages import HTML

router = group("service")

PAGES: Final = {page.stem: page for page in sorted((Path(__file__).parents[1] / "runbooks").glob("*.md"))}


@router.get("/runbooks/{alert}.md", response_class=HTMLResponse, responses=HTML)
async def runbook(alert: str) -> Response:
    """The runbook of an alert: its meaning, its impact, where to look first and what to do."""
    if alert not in PAGES:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no runbook of {alert[:64]!r}")
    text = MarkdownIt().enable("table").render(PAGES[alert].read_text(encoding="utf-8"))
    return HTMLResponse(f"{HEAD.format(title=alert)}<main>{text}</main></html>")
