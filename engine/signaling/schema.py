"""The wire as JSON Schema, for `/events.json`, made from messages.py: it cannot go stale."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.signaling import messages as wire
from engine.signaling.settings import NAMESPACE
from engine.signaling.transport import JSON_PATH, MSGPACK_PATH

_REFS = "#/components/schemas/{name}"
_STAMP: dict[str, Any] = {
    "type": "object",
    "properties": {
        "v": {"const": 1},
        "seq": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
    },
    "required": ["v", "seq", "at"],
}
_OK: dict[str, Any] = {"properties": {"ok": {"const": True}}, "required": ["ok"]}


def events_document() -> dict[str, Any]:
    """Every event of the namespace: payload and ack of the client's, payload of the server's."""
    acks = {event: wire.ACKS.get(event, wire.Done) for event in wire.CLIENT_EVENTS}
    types = {*wire.CLIENT_EVENTS.values(), *acks.values(), *wire.SERVER_EVENTS.values()}
    ordered = sorted(types, key=lambda each: each.__name__)
    _, components = msgspec.json.schema_components([*ordered, wire.Refusal], ref_template=_REFS)
    return {
        "namespace": NAMESPACE,
        "paths": {"json": f"/{JSON_PATH}/", "msgpack": f"/{MSGPACK_PATH}/"},
        "connect": {"auth": {"token": "access token or engine token"}},
        "client": {
            event: {
                "description": _description(payload),
                "payload": _ref(payload),
                "ack": {"oneOf": [{"allOf": [_OK, _ref(acks[event])]}, _ref(wire.Refusal)]},
            }
            for event, payload in wire.CLIENT_EVENTS.items()
        },
        "server": {
            event: {
                "description": _description(payload),
                "payload": {"allOf": [{"$ref": _REFS.format(name="Stamp")}, _ref(payload)]},
            }
            for event, payload in wire.SERVER_EVENTS.items()
        },
        "components": {"schemas": components | {"Stamp": _STAMP}},
    }


def _ref(of: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REFS.format(name=of.__name__)}


def _description(of: type[msgspec.Struct]) -> str:
    return " ".join((of.__doc__ or "").split())
