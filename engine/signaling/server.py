"""Signalling as the composition root sees it: build, attach, start, stop."""

from __future__ import annotations

import asyncio

from aiohttp import web

from engine.chat.service import ChatService
from engine.clock import Clock
from engine.signaling.background import Background
from engine.signaling.commands import Desk
from engine.signaling.connections import Connection, Connections, presence_room, user_room
from engine.signaling.dispatch import Dispatcher
from engine.signaling.namespace import Namespace
from engine.signaling.outbound import Switchboard
from engine.signaling.ports import Outbound, Sessions
from engine.signaling.presence import Presence
from engine.signaling.scope import Scopes
from engine.signaling.settings import SignalingSettings
from engine.signaling.standing import Standing
from engine.signaling.tokens import TokenService
from engine.signaling.transport import JSON_PATH, MSGPACK_PATH, Mount

_STOP_TIMEOUT_S = 5.0


class Signaling:
    """The real-time namespace. Build it with `build_signaling`."""

    def __init__(
        self,
        *,
        namespace: Namespace,
        switchboard: Switchboard,
        presence: Presence,
        connections: Connections,
        background: Background,
        settings: SignalingSettings,
    ) -> None:
        self._namespace = namespace
        self._presence = presence
        self._connections = connections
        self._background = background
        self.outbound: Outbound = switchboard
        self._mounts = [
            Mount(path, binary=binary, settings=settings, trigger=namespace.on_event)
            for path, binary in ((JSON_PATH, False), (MSGPACK_PATH, True))
        ]
        for mount in self._mounts:
            mount.guard_connects(namespace.admit)
        self._stopped = False

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    def attach(self, app: web.Application) -> None:
        """Add the routes ``/socket.io/`` and ``/socket.io-msgpack/``; before the app is frozen."""
        for mount in self._mounts:
            mount.attach(app)

    async def start(self) -> None:
        """From now on connections are accepted."""
        self._namespace.accepting = True

    def dismiss_user(self, user_id: str, code: str, message: str) -> None:
        """Tell every device of a user why, then end its connection."""
        self._namespace.dismiss_user(user_id, code, message)

    async def settle(self) -> None:
        """Wait until everything that was started in the background is done."""
        await self._background.settle()

    async def stop(self) -> None:
        """Refuse newcomers and close every connection after what it was still to be sent.

        Clients take it for a lost connection and come back to whoever serves the address next.
        """
        if self._stopped:
            return
        self._stopped = True
        self._namespace.stop()
        await asyncio.gather(*(mount.stop() for mount in self._mounts))
        self._presence.stop()
        await self._background.stop(_STOP_TIMEOUT_S)


def build_signaling(
    *,
    sessions: Sessions,
    chat: ChatService,
    presence: Presence,
    tokens: TokenService,
    standing: Standing,
    settings: SignalingSettings,
    clock: Clock,
) -> Signaling:
    """Wire the parts; `sessions.connect(signaling.outbound, presence)` is left to the caller."""
    connections, background = Connections(), Background()
    scopes = Scopes(chat)

    def overflow(connection: Connection) -> None:
        namespace.cut_off(connection)

    def publish_presence(expert_id: str, payload: dict[str, object]) -> None:
        rooms = (presence_room(expert_id), user_room(expert_id))
        switchboard.push_rooms(rooms, "presence.updated", payload)

    switchboard = Switchboard(connections, scopes, clock, overflow)
    desk = Desk(
        sessions=sessions,
        chat=chat,
        presence=presence,
        scopes=scopes,
        connections=connections,
        switchboard=switchboard,
        max_subscriptions=settings.subscriptions_per_connection,
    )
    namespace = Namespace(
        connections=connections,
        switchboard=switchboard,
        dispatcher=Dispatcher(desk, settings, clock),
        tokens=tokens,
        standing=standing,
        sessions=sessions,
        presence=presence,
        background=background,
        settings=settings,
        clock=clock,
    )
    chat.connect(switchboard)
    presence.connect(sessions, publish_presence, background.spawn)
    return Signaling(
        namespace=namespace,
        switchboard=switchboard,
        presence=presence,
        connections=connections,
        background=background,
        settings=settings,
    )
