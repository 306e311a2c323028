"""Everything that is sent to clients passes here: stamped, in order, never waiting for a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.clock import Clock
from engine.signaling.connections import Connection, Connections
from engine.signaling.messages import rfc3339
from engine.signaling.scope import Scopes

_MAX_CORKED = 500


class Switchboard:
    """Implements `Outbound`. `overflow` is called once for a device that does not read."""

    def __init__(
        self,
        connections: Connections,
        scopes: Scopes,
        clock: Clock,
        overflow: Callable[[Connection], None],
    ) -> None:
        self._connections = connections
        self._scopes = scopes
        self._clock = clock
        self._overflow = overflow
        self._counters: dict[str, int] = {}

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None:
        self.push_user(user_id, event, payload)

    async def to_device(self, device: str, event: str, payload: dict[str, object]) -> None:
        connection = self._connections.get(device)
        if connection is not None:
            self.push_device(connection, event, payload)

    def push_device(self, connection: Connection, event: str, payload: dict[str, object]) -> None:
        self._send([connection], event, self._stamp(connection.user_id, payload))

    def push_user(self, user_id: str, event: str, payload: dict[str, object]) -> None:
        """To every device of a user."""
        order_id, session_id = payload.get("order_id"), payload.get("session_id")
        if isinstance(order_id, str) and isinstance(session_id, str):
            self._scopes.learn(order_id, session_id)
        devices = self._connections.of_user(user_id)
        if devices:
            self._send(devices, event, self._stamp(user_id, payload))

    def push_rooms(self, rooms: tuple[str, ...], event: str, payload: dict[str, object]) -> None:
        """To every device in any of the rooms, each once, counted per user."""
        by_user: dict[str, list[Connection]] = {}
        for connection in self._connections.members(*rooms):
            by_user.setdefault(connection.user_id, []).append(connection)
        for user_id, devices in by_user.items():
            self._send(devices, event, self._stamp(user_id, payload))

    def forget_user(self, user_id: str) -> None:
        """The user's last device is gone: counting starts anew."""
        self._counters.pop(user_id, None)

    def cork(self, connection: Connection) -> None:
        """Hold back what is sent to a device until `uncork`."""
        if connection.corked is None:
            connection.corked = []

    def uncork(self, connection: Connection, missed: list[tuple[str, dict[str, object]]]) -> None:
        """Send what the device missed, then what was held back meanwhile, each event once."""
        held, connection.corked = connection.corked or [], None
        sent = {_identity(event, payload) for event, payload in missed} - {None}
        for event, payload in missed:
            self._send([connection], event, self._stamp(connection.user_id, payload))
        for event, payload in held:
            if _identity(event, payload) not in sent:
                self._send([connection], event, payload)

    def _stamp(self, user_id: str, payload: dict[str, object]) -> dict[str, object]:
        """Session events come with their stamp; the others get the user's next number."""
        stamped = {"v": 1, "at": rfc3339(self._clock.wall_ms())} | payload
        if "seq" not in stamped:
            self._counters[user_id] = self._counters.get(user_id, 0) + 1
            stamped["seq"] = self._counters[user_id]
        return stamped

    def _send(self, devices: list[Connection], event: str, payload: dict[str, object]) -> None:
        encoded: dict[str, Any] = {}
        for connection in devices:
            if connection.closing or not self._scopes.hears(connection, payload):
                continue
            if connection.corked is not None and len(connection.corked) < _MAX_CORKED:
                connection.corked.append((event, payload))
                continue
            mount = connection.mount
            if mount.path not in encoded:
                encoded[mount.path] = mount.encode(event, payload)
            if not mount.push(connection.transport_id, encoded[mount.path]):
                connection.closing = True
                self._overflow(connection)


def _identity(event: str, payload: dict[str, object]) -> tuple[object, ...] | None:
    """What makes a session event one of a kind: its session, its number and its name."""
    session_id, seq = payload.get("session_id"), payload.get("seq")
    return None if session_id is None or seq is None else (event, session_id, seq)
