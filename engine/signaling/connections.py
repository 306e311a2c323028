"""Who is connected, with which devices, and in which rooms. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine.clock import TimerHandle
from engine.signaling.tokens import Identity
from engine.signaling.transport import Mount


@dataclass(eq=False, slots=True)
class Connection:
    """One device: one accepted CONNECT of the namespace."""

    device: str
    identity: Identity
    mount: Mount
    transport_id: str
    rooms: set[str] = field(default_factory=set)
    corked: list[tuple[str, dict[str, object]]] | None = None
    """While the device joins a session: events held back until what it missed has been sent."""
    expiry: TimerHandle | None = None
    expired: bool = False
    refused_in_a_row: int = 0
    closing: bool = False

    @property
    def user_id(self) -> str:
        return self.identity.user_id


def user_room(user_id: str) -> str:
    return f"user:{user_id}"


def session_room(session_id: str) -> str:
    return f"session:{session_id}"


def presence_room(expert_id: str) -> str:
    return f"presence:{expert_id}"


class Connections:
    """All devices of this process, by device and by room."""

    def __init__(self) -> None:
        self._devices: dict[str, Connection] = {}
        self._rooms: dict[str, dict[str, Connection]] = {}

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._devices.values()))

    def get(self, device: str) -> Connection | None:
        return self._devices.get(device)

    def add(self, connection: Connection) -> None:
        self._devices[connection.device] = connection
        self.enter(connection, user_room(connection.user_id))

    def remove(self, device: str) -> Connection | None:
        """Forget a device; None if it was not known."""
        connection = self._devices.pop(device, None)
        if connection is not None:
            for room in list(connection.rooms):
                self.leave(connection, room)
        return connection

    def enter(self, connection: Connection, room: str) -> None:
        """Add a known device to a room; a device that is gone stays out."""
        if self._devices.get(connection.device) is connection:
            connection.rooms.add(room)
            self._rooms.setdefault(room, {})[connection.device] = connection

    def leave(self, connection: Connection, room: str) -> None:
        connection.rooms.discard(room)
        members = self._rooms.get(room)
        if members is not None:
            members.pop(connection.device, None)
            if not members:
                del self._rooms[room]

    def members(self, *rooms: str) -> list[Connection]:
        """The devices in any of the rooms, each once."""
        found: dict[str, Connection] = {}
        for room in rooms:
            found |= self._rooms.get(room, {})
        return list(found.values())

    def occupied(self, room: str) -> bool:
        return room in self._rooms

    def of_user(self, user_id: str) -> list[Connection]:
        return self.members(user_room(user_id))

    def transports(self) -> Iterable[tuple[Mount, str]]:
        return [(connection.mount, connection.transport_id) for connection in self]
