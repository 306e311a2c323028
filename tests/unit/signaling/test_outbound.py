"""Stamps, order and bounds of what is sent, without sockets."""

from __future__ import annotations

from typing import Any, cast

from engine.signaling.connections import Connection, Connections, presence_room
from engine.signaling.outbound import Switchboard
from engine.signaling.scope import Scopes
from engine.signaling.tokens import Identity
from engine.signaling.transport import Mount
from tests.support.virtual_clock import VirtualClock


class RecordingMount:
    """Takes packets until `room` is used up."""

    path = "test"

    def __init__(self, room: int = 1_000) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.room = room

    def encode(self, event: str, payload: dict[str, object]) -> Any:
        return event, payload

    def push(self, transport_id: str, encoded: Any) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        self.sent.append((transport_id, *encoded))
        return True

    def to(self, device: str) -> list[tuple[str, Any]]:
        return [(event, body["seq"]) for sent_to, event, body in self.sent if sent_to == device]


class NoOrders:
    async def order_of_session(self, session_id: str) -> str | None:
        return None

    async def order_of_conversation(self, conversation_id: str) -> str | None:
        return None


class Rig:
    def __init__(self, room: int = 1_000) -> None:
        self.mount = RecordingMount(room)
        self.connections = Connections()
        self.overflown: list[Connection] = []
        self.board = Switchboard(
            self.connections, Scopes(NoOrders()), VirtualClock(), self.overflown.append
        )

    def device(self, name: str, user_id: str) -> Connection:
        identity = Identity(user_id, "access", None, None, (), 0, 0)
        connection = Connection(name, identity, cast(Mount, self.mount), name)
        self.connections.add(connection)
        return connection


async def test_a_stamp_has_version_number_and_time() -> None:
    rig = Rig()
    rig.device("d1", "u")
    await rig.board.to_user("u", "wallet.updated", {"currency": "EUR"})
    assert rig.mount.sent == [
        (
            "d1",
            "wallet.updated",
            {"v": 1, "seq": 1, "at": "2026-01-01T00:00:00.000Z", "currency": "EUR"},
        )
    ]


async def test_the_service_numbers_its_own_events() -> None:
    rig = Rig()
    rig.device("d1", "u")
    await rig.board.to_user("u", "meter.tick", {"session_id": "s", "v": 1, "seq": 7, "at": "then"})
    await rig.board.to_user("u", "wallet.updated", {})
    assert rig.mount.to("d1") == [("meter.tick", 7), ("wallet.updated", 1)]
    assert rig.mount.sent[0][2]["at"] == "then"


async def test_a_watcher_with_two_reasons_hears_once() -> None:
    rig = Rig()
    expert = rig.device("d1", "expert")
    rig.connections.enter(expert, presence_room("expert"))
    rig.board.push_rooms(("user:expert", presence_room("expert")), "presence.updated", {})
    assert rig.mount.to("d1") == [("presence.updated", 1)]


async def test_uncorking_sends_what_was_missed_first_and_nothing_twice() -> None:
    rig = Rig()
    device = rig.device("d1", "u")
    other = rig.device("d2", "u")
    rig.board.cork(device)
    for seq in (3, 4):
        await rig.board.to_user("u", "meter.tick", {"session_id": "s", "seq": seq})
    await rig.board.to_user("u", "wallet.updated", {})
    assert rig.mount.to("d1") == []
    missed: list[tuple[str, dict[str, object]]] = [
        ("meter.tick", {"session_id": "s", "seq": seq}) for seq in (1, 2, 3)
    ]
    rig.board.uncork(device, missed)
    assert [seq for event, seq in rig.mount.to("d1") if event == "meter.tick"] == [1, 2, 3, 4]
    assert rig.mount.to("d1")[-1] == ("wallet.updated", 1)
    assert [seq for _, seq in rig.mount.to(other.device)] == [3, 4, 1]


async def test_an_own_version_of_an_event_survives_the_uncorking() -> None:
    rig = Rig()
    device = rig.device("d1", "u")
    rig.board.cork(device)
    await rig.board.to_device("d1", "rtc.offer", {"session_id": "s", "seq": 4})
    rig.board.uncork(device, [("session.updated", {"session_id": "s", "seq": 4})])
    assert ("rtc.offer", 4) in rig.mount.to("d1")


async def test_a_full_device_is_reported_once_and_gets_no_more() -> None:
    rig = Rig(room=2)
    rig.device("d1", "u")
    for _ in range(5):
        await rig.board.to_user("u", "wallet.updated", {})
    assert [connection.device for connection in rig.overflown] == ["d1"]
    assert len(rig.mount.to("d1")) == 2


async def test_sending_to_nobody_does_nothing() -> None:
    rig = Rig()
    await rig.board.to_user("u", "wallet.updated", {})
    await rig.board.to_device("d9", "wallet.updated", {})
    rig.device("d1", "u")
    await rig.board.to_user("u", "wallet.updated", {})
    assert rig.mount.to("d1") == [("wallet.updated", 1)]


def test_a_removed_device_is_in_no_room_and_can_enter_none() -> None:
    rig = Rig()
    device = rig.device("d1", "u")
    rig.connections.enter(device, "presence:e")
    assert rig.connections.remove("d1") is device
    rig.connections.enter(device, "presence:e")
    assert rig.connections.members("user:u", "presence:e") == []
    assert rig.connections.remove("d1") is None
    assert len(rig.connections) == 0


async def test_counting_starts_anew_once_a_user_is_gone() -> None:
    rig = Rig()
    rig.device("d1", "u")
    for _ in range(2):
        await rig.board.to_user("u", "wallet.updated", {})
    rig.board.forget_user("u")
    await rig.board.to_user("u", "wallet.updated", {})
    assert [seq for _, seq in rig.mount.to("d1")] == [1, 2, 1]
