"""A Flask application with a route of every kind."""

from __future__ import annotations

import os
from collections.abc import Iterator

from flask import Flask, Response, request

from shmtelemetry.contrib.wsgi import instrument

app = Flask(__name__)


@app.get("/pid")
def pid() -> str:
    return f"{os.getpid():<10}"


@app.get("/items/<int:number>")
def item(number: int) -> str:
    return f"item {number}"


@app.post("/upload")
def upload() -> str:
    return str(len(request.get_data()))


@app.get("/stream")
def stream() -> Response:
    def chunks() -> Iterator[bytes]:
        for size in range(1, 11):
            yield b"x" * size

    return Response(chunks())


@app.get("/endless")
def endless() -> Response:
    def chunks() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    return Response(chunks())


@app.get("/boom/<word>")
def boom(word: str) -> str:
    raise RuntimeError(word)


app.config["PROPAGATE_EXCEPTIONS"] = os.environ.get("PROPAGATE") == "1"
instrument(app, ignore=["/pid"]).expose(app, endpoint="/metrics")
