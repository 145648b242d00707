"""A FastAPI application with a route of every kind."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.applications import Starlette
from starlette.routing import Route

from shmtelemetry.contrib.asgi import instrument

app = FastAPI()


@app.get("/pid")
async def pid() -> Response:
    return PlainTextResponse(f"{os.getpid():<10}")


@app.api_route("/items/{number}", methods=["GET", "HEAD"])
async def item(number: int) -> Response:
    return PlainTextResponse(f"item {number}")


@app.post("/upload")
async def upload(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@app.get("/stream")
async def stream() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for size in range(1, 11):
            yield b"x" * size

    return StreamingResponse(chunks())


@app.get("/endless")
async def endless() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0)

    return StreamingResponse(chunks())


@app.get("/boom")
async def boom() -> Response:
    raise RuntimeError("boom")


@app.get("/block")
async def block() -> None:
    time.sleep(0.7)


async def thing(request: Request) -> Response:
    return PlainTextResponse(request.path_params["name"])


router = APIRouter(prefix="/v1")
router.add_api_route("/orders/{order}", pid)
app.include_router(router, prefix="/api")
app.mount("/sub", Starlette(routes=[Route("/things/{name}", thing)]))
app.mount("/{tenant}/sub", Starlette(routes=[Route("/things/{name}", thing)]))

instrument(app, ignore=["/pid"]).expose(app, endpoint="/metrics")
