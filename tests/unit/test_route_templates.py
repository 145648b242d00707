"""The template of the route that a request took, whatever stands between it and the application."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.contrib.asgi import Middleware, instrument

pytest.importorskip("fastapi")

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles


async def done(request: Any) -> PlainTextResponse:
    return PlainTextResponse("done")


async def number(number: int) -> int:
    return number


def inner() -> Starlette:
    return Starlette(routes=[Route("/leaf/{name}", done), Mount("/deep/{level}", routes=[Route("/end", done)])])


def fastapi() -> FastAPI:
    within = APIRouter(prefix="/within")
    within.add_api_route("/numbers/{number}", number)
    router = APIRouter(prefix="/router")
    router.include_router(within)
    router.add_route("/plain/{name}", done)
    router.mount("/mounted", inner())
    app = FastAPI()
    app.add_api_route("/numbers/{number}", number)
    app.include_router(router, prefix="/v1")
    return app


def everything(folder: Path) -> Starlette:
    return Starlette(
        routes=[
            Route("/numbers/{number:int}", done),
            Mount("/inner", inner()),
            Mount("/of/{tenant}", inner()),
            Mount("/fastapi", fastapi()),
            Mount("/files", StaticFiles(directory=folder)),
            Host("{name}.example.org", inner()),
        ]
    )


BELOW_FASTAPI = {
    "/numbers/7": "/numbers/{number}",
    "/numbers/x": "/numbers/{number}",
    "/v1/router/within/numbers/7": "/v1/router/within/numbers/{number}",
    "/v1/plain/x": "/v1/plain/{name}",
    "/v1/mounted/leaf/x": "/v1/mounted/leaf/{name}",
    "/v1/mounted/nothing": "unmatched",
    "/docs": "/docs",
    "/nothing": "unmatched",
    "/numbers/7/": "unmatched",
}
BELOW_STARLETTE = {
    "/numbers/7": "/numbers/{number:int}",
    "/numbers/x": "unmatched",
    "/inner/leaf/x": "/inner/leaf/{name}",
    "/inner/deep/7/end": "/inner/deep/{level}/end",
    "/inner/nothing": "unmatched",
    "/of/somebody/leaf/x": "/of/{tenant}/leaf/{name}",
    "/of/somebody/nothing": "unmatched",
    "/files/there": "/files",
    "/files/not-there": "/files",
    "/nothing": "unmatched",
} | {f"/fastapi{path}": f"/fastapi{template}" for path, template in BELOW_FASTAPI.items() if template != "unmatched"}


async def ask(app: Any, path: str, method: str = "GET", root: str = "", host: str = "localhost") -> None:
    asked = False

    async def receive() -> Any:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    await app(
        {
            "type": "http", "method": method, "path": root + path, "root_path": root, "query_string": b"",
            "headers": [(b"host", host.encode())], "server": ("localhost", 80), "scheme": "http",
        },
        receive,
        send,
    )  # fmt: skip


def endpoints(namespace: str, telemetry: Telemetry) -> list[tuple[str, ...]]:
    telemetry.close()
    with Reader(namespace, ephemeral=True) as reader:
        reader.settle()
        return list(reader.snapshot().families["http_requests_total"].labels)


@pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
@pytest.mark.parametrize("kind", ["fastapi", "starlette"])
@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
def test_an_endpoint_is_the_template_of_its_route(
    namespace: str, tmp_path: Path, kind: str, root: str, outside: bool
) -> None:
    (tmp_path / "there").write_text("")
    app, templates = (fastapi(), BELOW_FASTAPI) if kind == "fastapi" else (everything(tmp_path), BELOW_STARLETTE)
    found: dict[str, str] = {}
    telemetry = Telemetry("app", namespace=namespace)
    counted: Any = Middleware(app, telemetry=telemetry) if outside else app
    middleware = counted if outside else instrument(app, telemetry=telemetry)
    record = middleware._metrics.record
    middleware._metrics.record = lambda method, endpoint, *rest: (
        found.__setitem__(path, endpoint or "unmatched"), record(method, endpoint, *rest)
    )  # fmt: skip

    async def ask_all() -> None:
        nonlocal path
        for _ in range(2):  # the second time, what was found is known
            for path in templates:
                await ask(counted, path, root=root)
                assert found == {**found, path: templates[path]}

    path = ""
    asyncio.run(ask_all())
    shown = {endpoint for _, endpoint, _ in endpoints(namespace, telemetry)}
    assert shown == set(templates.values())


def test_an_application_that_is_served_by_what_was_returned_is_counted_once(namespace: str, tmp_path: Path) -> None:
    telemetry = Telemetry("app", namespace=namespace)
    app = instrument(everything(tmp_path), telemetry=telemetry)
    for _ in range(3):
        asyncio.run(ask(app, "/numbers/7"))
    telemetry.close()
    with Reader(namespace, ephemeral=True) as reader:
        reader.settle()
        labels = {"method": "GET", "endpoint": "/numbers/{number:int}", "status": "200"}
        assert reader.snapshot().value("http_requests_total", **labels) == 3


def test_a_host_and_a_wrong_method_have_the_route_s_template(namespace: str, tmp_path: Path) -> None:
    app = everything(tmp_path)
    telemetry = Telemetry("app", namespace=namespace)
    instrument(app, telemetry=telemetry)
    asyncio.run(ask(app, "/leaf/x", host="somebody.example.org"))
    asyncio.run(ask(app, "/inner/leaf/x", method="DELETE"))
    found = set(endpoints(namespace, telemetry))
    assert found == {("GET", "/leaf/{name}", "200"), ("DELETE", "/inner/leaf/{name}", "405")}


def test_a_router_that_does_not_tell_its_route_is_asked_again(namespace: str, tmp_path: Path) -> None:
    """As Starlette before it left the route in the scope."""
    app = everything(tmp_path)
    telemetry = Telemetry("app", namespace=namespace)

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        async def send_without_route(message: Any) -> None:
            scope.pop("route", None)
            await send(message)

        await app(scope, receive, send_without_route)

    silent.routes = app.routes  # type: ignore[attr-defined]
    counted = Middleware(silent, telemetry=telemetry)
    for path in BELOW_STARLETTE:
        asyncio.run(ask(counted, path))
    assert {endpoint for _, endpoint, _ in endpoints(namespace, telemetry)} == set(BELOW_STARLETTE.values())
