"""The reference at /docs: the OpenAPI document as a page without scripts, which needs nothing from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

HEAD: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/palette.css"><link rel="stylesheet" href="/static/plain.css">
"""

Json = Mapping[str, Any]


def reference(document: Json) -> str:
    """HTML of an OpenAPI 3.1 document."""
    info, title = document["info"], escape(f"{document['info']['title']} {document['info']['version']}")
    intro = escape(info["description"])
    return "\n".join(
        (
            HEAD.format(title=title),
            f'<main><h1>{title}</h1><p>{intro} For programs: <a href="/openapi.json">/openapi.json</a>.</p>',
            *_operations(document),
            "</main></html>",
        )
    )


def _operations(document: Json) -> Iterator[str]:
    group = ""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if (tag := operation["tags"][0]) != group:
                group = tag
                yield f"<h2>{escape(group)}</h2>"
            shown = f"<code>{escape(path)}</code>"
            if method == "get" and "{" not in path:
                shown = f'<a href="{escape(path)}">{shown}</a>'
            yield f"<section><h3>{method.upper()} {shown}</h3><p>{escape(operation.get('description', ''))}</p>"
            yield from _parameters(operation.get("parameters", []))
            if "requestBody" in operation:
                schema = _schema(document, operation["requestBody"])
                kind = schema.get("title") or next(iter(operation["requestBody"]["content"]))
                yield f"<p>Takes {escape(kind)}:</p>{_fields(schema)}"
            yield from _answers(document, operation["responses"])
            yield "</section>"


def _parameters(parameters: list[Json]) -> Iterator[str]:
    if parameters:
        yield "<table><tr><th>parameter<th>type<th></tr>"
        for one in parameters:
            told = escape(one.get("description", ""))
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{escape(_type(one['schema']))}<td>{told}</tr>"
        yield "</table>"


def _answers(document: Json, responses: Json) -> Iterator[str]:
    refusals = []
    for status, response in responses.items():
        schema = _schema(document, response)
        if schema.get("title") == "Problem":
            refusals.append(f"{status} {response['description']}")
            continue
        yield f"<details><summary>{escape(status)} {escape(response['description'])}</summary>"
        yield f"<p>{escape(schema.get('description', ''))}</p>{_fields(schema)}</details>"
    if refusals:
        yield f"<p>Refusals, as RFC 9457 has them: {escape(', '.join(refusals))}.</p>"


def _schema(document: Json, holder: Json) -> Json:
    """What a body is; the first of several kinds."""
    for content in holder.get("content", {}).values():
        schema: Json = content.get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        return document["components"]["schemas"][name] if name else schema
    return {}


def _fields(schema: Json) -> str:
    fields = schema.get("properties", {})
    rows = (f"<tr><td><code>{escape(name)}</code><td>{escape(_type(one))}</tr>" for name, one in fields.items())
    return f"<table>{''.join(rows)}</table>" if fields else ""


def _type(schema: Json) -> str:
    """In words: `integer, minimum 1, or null`."""
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = (f"{name} {schema[name]}" for name in ("format", "minimum", "maximum", "maxLength") if name in schema)
    return ", ".join((str(schema.get("type", "anything")), *bounds))
