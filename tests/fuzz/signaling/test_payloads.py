"""Arbitrary payloads to every event: always an ack with a stable code, never a fault of ours."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.signaling.messages import CLIENT_EVENTS
from engine.store.database import Store
from tests.support.signaling import Serializer, Site, eventually, running_site

KNOWN_CODES = {
    "invalid_payload",
    "unknown_event",
    "session_not_found",
    "conversation_not_found",
    "not_expert",
    "not_party",
    "message_empty",
    "message_too_long",
    "file_not_usable",
    "client_msg_id_reused",
    "too_many_subscriptions",
}

_plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=30)
)
_json = st.recursive(
    _plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
_ids = st.sampled_from(["ses_1", "cnv_1", "ord_1", "", "x" * 41, "'; drop table", "\x00", "é"])


def _nearly(event: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the right member names, and values that are right, wrong or hostile."""
    values = {
        name: _ids | st.sampled_from(["video", "text", "busy", "hello"]) | _json
        for name in CLIENT_EVENTS[event].__struct_fields__
    }
    return st.fixed_dictionaries({}, optional=values)


def _payloads(event: str) -> st.SearchStrategy[Any]:
    return _nearly(event) | _json if event in CLIENT_EVENTS else _json


_calls = st.sampled_from([*CLIENT_EVENTS, "", "nothing", "connect", "disconnect", "$malformed"])


async def _check(site: Site, serializer: Serializer, calls: list[tuple[str, Any]]) -> None:
    client = await site.sign_in(site.customer, serializer)
    for event, payload in calls:
        # None would send no argument at all: another way to be wrong, and just as welcome.
        answer = await client.ack(event, payload)
        assert answer["ok"] is True or answer["code"] in KNOWN_CODES, (event, payload, answer)
        if answer["ok"] is False and answer["code"] == "invalid_payload":
            assert answer["path"].startswith("$")
    await client.settle()
    assert not client.closed.is_set()
    await client.close()
    await eventually(lambda: site.signaling.connection_count == 0)


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
async def test_any_payload_gets_an_ack_and_the_connection_stays(
    store: Store, serializer: Serializer, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    batches = st.lists(_calls.flatmap(lambda event: st.tuples(st.just(event), _payloads(event))))

    async with running_site(store) as site:
        with caplog.at_level(logging.INFO):

            @settings(
                max_examples=60,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(calls=batches)
            def run(calls: list[tuple[str, Any]]) -> None:
                future = asyncio.run_coroutine_threadsafe(_check(site, serializer, calls), loop)
                future.result(timeout=60)

            await asyncio.to_thread(run)
        faults = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert faults == []


class TestRawFrames:
    """Packets that no library would send."""

    HOSTILE = (
        "42/rt,",
        "42/rt,{}",
        "42/rt,[]",
        "42/rt,[1]",
        "42/rt,[null,{}]",
        '42/rt,[["a"],{}]',
        '42/rt,[{"a":1},{}]',
        '42/rt,["disconnect"]',
        '42/rt,["disconnect","x"]',
        '42/rt,["connect",{}]',
        '42/rt,["typing",NaN]',
        '42/rt,["typing",{"session_id":"\\ud800"}]',
        "42/rt," + "[" * 50_000,
        "42/rt,99999999999999999999999[]",
        '42/rt,1["typing"',
        '451-/rt,["typing",{"_placeholder":true,"num":0}]',
        '459999999-/rt,["typing"]',
        "43/rt,0[]",
        "44/rt,{}",
        "46",
        "40/rt,",
        '40/rt,{"token":"x"}',
        "40/other,",
        '42["typing",{}]',
        '42/other,["typing",{}]',
    )
    FATAL = ("", "x", "9", "4", "4x", "4½", "b!!!", "0" + "[" * 50_000, b"\x00\x01", "1" * 100)

    async def open(self, site: Site, http: Any) -> Any:
        socket = await http.ws_connect("/socket.io/?EIO=4&transport=websocket")
        token = site.tokens.issue_access(site.customer, [])
        await socket.receive_str(timeout=5)
        await socket.send_str(f'40/rt,{{"token":"{token}"}}')
        assert (await socket.receive_str(timeout=5)).startswith('40/rt,{"sid"')
        return socket

    @pytest.mark.parametrize("number", range(len(HOSTILE)))
    async def test_a_malformed_packet_neither_breaks_the_connection_nor_fills_the_log(
        self, store: Store, number: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with running_site(store) as site, site.http() as http:
            socket = await self.open(site, http)
            await socket.send_str(self.HOSTILE[number])
            await socket.send_str('42/rt,7["nothing",{}]')
            while not (answer := await socket.receive_str(timeout=5)).startswith("43/rt,7"):
                assert answer.startswith("44"), answer
            assert json.loads(answer.removeprefix("43/rt,7"))[0]["code"] == "unknown_event"
            assert site.signaling.connection_count == 1
            assert [record for record in caplog.records if record.exc_info] == []

    @pytest.mark.parametrize("number", range(len(FATAL)))
    async def test_what_is_not_the_protocol_ends_the_connection_quietly(
        self, store: Store, number: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with running_site(store) as site, site.http() as http:
            socket = await self.open(site, http)
            frame = self.FATAL[number]
            await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
            await eventually(lambda: site.signaling.connection_count == 0)
            await socket.close()
            assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []

    async def test_an_ack_is_given_for_a_reserved_name(self, store: Store) -> None:
        async with running_site(store) as site, site.http() as http:
            socket = await self.open(site, http)
            await socket.send_str('42/rt,5["disconnect","please"]')
            answer = await socket.receive_str(timeout=5)
            assert json.loads(answer.removeprefix("43/rt,5"))[0]["code"] == "unknown_event"
            assert site.signaling.connection_count == 1

    async def test_a_frame_beyond_the_limit_ends_the_connection(self, store: Store) -> None:
        async with running_site(store) as site, site.http() as http:
            socket = await self.open(site, http)
            await socket.send_str('42/rt,["typing","' + "x" * site.settings.max_frame_bytes + '"]')
            await eventually(lambda: site.signaling.connection_count == 0)
            await socket.close()

    async def test_polling_with_garbage_is_answered_and_logged_in_one_line(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with running_site(store) as site, site.http() as http:
            path = "/socket.io/?EIO=4&transport=polling"
            async with http.get(path) as answer:
                sid = json.loads((await answer.text())[1:])["sid"]
            for body in (b"x", b"4", b"42", b"bAAA", b"\xff", b"4" * 999, b"\x1e" * 50):
                async with http.post(f"{path}&sid={sid}", data=body) as answer:
                    assert answer.status in (200, 400)
            assert [record for record in caplog.records if record.exc_info] == []

    async def test_malformed_msgpack_is_survived(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        import msgpack

        frames = [
            b"\xc1",
            b"\x81\xa1a",
            b"\xdf\xff\xff\xff\xff",
            b"\x91" * 50_000,
            msgpack.packb([]),
            msgpack.packb({}),
            msgpack.packb({"type": "2", "nsp": "/rt", "data": ["typing"]}),
            msgpack.packb({"type": 2, "nsp": ["/rt"], "data": ["typing"]}),
            msgpack.packb({"type": 2, "nsp": "/rt", "data": "typing"}),
            msgpack.packb({"type": 2, "nsp": "/rt", "data": [[], {}], "id": 3}),
            msgpack.packb({"type": 2, "nsp": "/rt", "data": ["typing", {}], "id": -1}),
            msgpack.packb({"type": 5, "nsp": "/rt", "data": ["typing", {}], "id": 1}),
            msgpack.packb({"type": True, "nsp": "/rt", "data": ["typing", {}], "id": 1}),
        ]
        async with running_site(store) as site, site.http() as http:
            socket = await http.ws_connect("/socket.io-msgpack/?EIO=4&transport=websocket")
            await socket.receive_str(timeout=5)
            token = site.tokens.issue_access(site.customer, [])
            connect = {"type": 0, "nsp": "/rt", "data": {"token": token}}
            await socket.send_bytes(msgpack.packb(connect))
            await socket.receive_bytes(timeout=5)
            for frame in frames:
                await socket.send_bytes(frame)
            event = {"type": 2, "nsp": "/rt", "data": ["nothing", {}], "id": 7}
            await socket.send_bytes(msgpack.packb(event))
            answer = msgpack.unpackb(await socket.receive_bytes(timeout=5))
            assert answer["id"] == 7
            assert answer["data"][0]["code"] == "unknown_event"
            assert [record for record in caplog.records if record.exc_info] == []
            await socket.close()
