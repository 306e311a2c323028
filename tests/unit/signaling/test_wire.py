"""The wire is documented whole, every event has its command, and hostile text stays out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from engine.signaling import messages as wire
from engine.signaling.commands import COMMANDS
from engine.signaling.schema import events_document
from engine.signaling.settings import EVENT_RATES


def test_every_client_event_has_a_command_and_every_rate_an_event() -> None:
    assert set(COMMANDS) == set(wire.CLIENT_EVENTS)
    assert set(EVENT_RATES) <= set(wire.CLIENT_EVENTS)
    assert set(wire.ACKS) <= set(wire.CLIENT_EVENTS)


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def test_the_document_names_every_event_and_refers_to_nothing_missing() -> None:
    document = events_document()
    assert set(document["client"]) == set(wire.CLIENT_EVENTS)
    assert set(document["server"]) == set(wire.SERVER_EVENTS)
    schemas = document["components"]["schemas"]
    assert references(document) <= {f"#/components/schemas/{name}" for name in schemas}
    assert json.loads(json.dumps(document)) == document


def test_the_document_carries_the_limits() -> None:
    schemas = events_document()["components"]["schemas"]
    assert schemas["MessageSend"]["properties"]["body"]["maxLength"] == 4_000
    assert schemas["SessionRef"]["additionalProperties"] is False


@pytest.mark.parametrize("text", ["", "x" * 41, "a b", "a\x00", "é", "a\n", "../x", "\ud800"])
def test_ids_are_plain(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        wire.decode("session.end", {"session_id": text})


def test_unknown_members_are_refused_with_their_name() -> None:
    with pytest.raises(msgspec.ValidationError, match="volume"):
        wire.decode("typing", {"session_id": "s", "typing": True, "volume": 11})


def test_times_for_people_are_rfc_3339() -> None:
    assert wire.rfc3339(1_767_225_600_007) == "2026-01-01T00:00:00.007Z"
