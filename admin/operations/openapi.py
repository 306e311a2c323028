"""The OpenAPI 3.1 document, made from the route table and the schemas of the bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from admin.http.bodies import Nothing
from admin.http.calls import API, Route
from admin.http.problems import Problem

_SEGMENT = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})*))?\}")
_REFS = "#/components/schemas/{name}"


_RAW: dict[str, dict[str, Any]] = {
    "application/json": {"type": "object"},
    "application/octet-stream": {"type": "string", "format": "binary"},
    "multipart/form-data": {
        "type": "object",
        "properties": {
            "purpose": {"type": "string"},
            "name": {"type": "string"},
            "file": {"type": "string", "format": "binary"},
        },
        "required": ["file"],
    },
}


def build(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The whole document."""
    routes = tuple(routes)
    shapes: list[Any] = [Problem]
    shapes += [shape for r in routes for shape in (r.body, r.answer) if shape is not None]
    _, components = msgspec.json.schema_components(shapes, ref_template=_REFS)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = API + _SEGMENT.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Talktime", "version": version},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"bearer": bearer}},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_headers(route)],
        "responses": _responses(route),
        "security": _security(route),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(route.body)}
    elif route.raw_body:
        raw = {media_type: {"schema": _RAW[media_type]} for media_type in route.consumes}
        operation["requestBody"] = {"required": True, "content": raw}
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    bearer: dict[str, list[str]] = {"bearer": []}
    return {"required": [bearer], "optional": [{}, bearer], "none": []}[route.auth]


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{pattern}$"},
        }
        for name, pattern in _SEGMENT.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is Nothing:
        return []
    schema = msgspec.json.schema(route.query)["$defs"][route.query.__name__]
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(property_)}
        for name, property_ in schema["properties"].items()
    ]


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query string has no null: a value is there or it is not."""
    found = {key: value for key, value in schema.items() if key != "default" or value is not None}
    if "anyOf" in found:
        kept = [choice for choice in found.pop("anyOf") if choice != {"type": "null"}]
        found |= kept[0] if len(kept) == 1 else {"anyOf": kept}
    if None in found.get("enum", ()):
        found["enum"] = [value for value in found["enum"] if value is not None]
    return found


def _headers(route: Route) -> list[dict[str, Any]]:
    if not route.idempotent:
        return []
    text = "The same key and body get the same answer for 24 hours; another body is refused."
    schema = {"type": "string", "pattern": r"^[\x21-\x7e]{1,128}$"}
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": text,
            "schema": schema,
        }
    ]


def _responses(route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.answer is not None:
        answer["content"] = _json(route.answer)
    if route.produces:
        answer["content"] = {route.produces: {"schema": _RAW["application/octet-stream"]}}
    if route.html:
        answer.setdefault("content", {})["text/html"] = {"schema": {"type": "string"}}
    responses: dict[str, Any] = {str(route.status): answer}
    for status in sorted(_refusals(route)):
        problem = {"application/problem+json": {"schema": _schema(Problem)}}
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    return responses


def _refusals(route: Route) -> set[int]:
    refusals = set(route.refusals) | {503}
    if route.auth != "none":
        refusals.add(401)
    if route.query is not Nothing:
        refusals.add(422)
    if route.method != "GET":
        refusals |= {400, 413, 415, 422, 429}
    if route.idempotent:
        refusals.add(409)
    return refusals


def _json(shape: Any) -> dict[str, Any]:
    return {"application/json": {"schema": _schema(shape)}}


def _schema(shape: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([shape], ref_template=_REFS)
    return schema
