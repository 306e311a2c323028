"""The life of connections to the namespace: opening, CONNECT, events, expiry, closing.

A transport opens first and has a few seconds to present a token in CONNECT. An accepted device is
in the room of its user until its transport is gone. When its token expires, the device is told
(``error`` token_expired) and dismissed; while the user is in a running session that was paid for,
it stays and may go on using the session, and is dismissed once the session is over.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from socketio.exceptions import ConnectionRefusedError as Refused

from engine.clock import NS_PER_MS, NS_PER_S, Clock, TimerHandle
from engine.errors import Conflict, TalktimeError, Unauthorized, Unavailable
from engine.signaling.background import Background
from engine.signaling.connections import Connection, Connections
from engine.signaling.dispatch import Dispatcher, refusal
from engine.signaling.messages import CallPending, ErrorEvent
from engine.signaling.outbound import Switchboard
from engine.signaling.ports import Sessions
from engine.signaling.presence import Presence
from engine.signaling.settings import SignalingSettings
from engine.signaling.standing import Standing
from engine.signaling.tokens import Identity, TokenService
from engine.signaling.transport import Mount

_log = logging.getLogger(__name__)


class Namespace:
    """Owns connections from CONNECT to the end."""

    def __init__(
        self,
        *,
        connections: Connections,
        switchboard: Switchboard,
        dispatcher: Dispatcher,
        tokens: TokenService,
        standing: Standing,
        sessions: Sessions,
        presence: Presence,
        background: Background,
        settings: SignalingSettings,
        clock: Clock,
    ) -> None:
        self._connections = connections
        self._switchboard = switchboard
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._standing = standing
        self._dismissals = 0
        self._sessions = sessions
        self._presence = presence
        self._background = background
        self._settings = settings
        self._clock = clock
        self._pending: dict[str, TimerHandle] = {}
        self._open_transports = 0
        self.accepting = False

    async def on_event(self, mount: Mount, event: str, device: str, *args: Any) -> Any:
        """What the library calls for everything that happens in the namespace."""
        if event == "connect":
            return await self._connect(mount, device, args[1] if len(args) > 1 else None)
        if event == "disconnect":
            return self._disconnect(device)
        connection = self._connections.get(device)
        if connection is None or connection.closing:
            return refusal(Conflict("not_connected", "this connection is closed"))
        ack = await self._dispatcher.answer(connection, event, args)
        if self._dispatcher.flooding(connection):
            self.dismiss(connection, "rate_limited", "too many requests")
        return ack

    def admit(self, mount: Mount, transport_id: str) -> bool:
        """Whether another transport may open; it then has to CONNECT in time."""
        if not self.accepting or mount.open_count > self._settings.connections_total:
            return False
        self._await_connect(mount, transport_id)
        return True

    def dismiss(self, connection: Connection, code: str, message: str) -> None:
        """Tell a device why, then end its connection; it will not come back by itself."""
        if connection.closing:
            return
        told = msgspec.to_builtins(ErrorEvent(code, message))
        self._switchboard.push_device(connection, "error", told)
        connection.closing = True
        self._background.spawn(self._end(connection, dismissed=True), "dismissal")

    def dismiss_user(self, user_id: str, code: str, message: str) -> None:
        """Dismiss every device of a user, those included that are about to be accepted."""
        self._dismissals += 1
        for connection in self._connections.of_user(user_id):
            self.dismiss(connection, code, message)

    def cut_off(self, connection: Connection) -> None:
        """End a device that does not read what it is sent."""
        _log.warning("device %s of %s does not read", connection.device, connection.user_id)
        self._background.spawn(self._end(connection, dismissed=False), "cut-off")

    def stop(self) -> None:
        """Refuse newcomers and drop the timers; the transports are closed by their mounts."""
        self.accepting = False
        for timer in self._pending.values():
            timer.cancel()
        self._pending.clear()
        for connection in self._connections:
            _cancel_expiry(connection)

    async def _connect(self, mount: Mount, device: str, auth: object) -> None:
        transport_id = mount.transport_of(device)
        try:
            identity = await self._identify(auth)
            connection = self._enter(mount, device, transport_id, identity)
        except TalktimeError as error:
            answer = refusal(error)
            del answer["ok"]
            raise Refused(error.code, answer) from None
        timer = self._pending.pop(connection.transport_id, None)
        if timer is not None:
            timer.cancel()
        self._connections.add(connection)
        self._presence.device_came(connection.user_id, device)
        self._watch_expiry(connection)
        # Runs once the library has told the device that it is connected.
        self._background.spawn(self._greet(connection), "greeting")

    async def _identify(self, auth: object) -> Identity:
        if not self.accepting:
            raise Unavailable("draining", "this server is going down")
        if not isinstance(auth, dict):
            raise Unauthorized("token_invalid", "CONNECT needs {token}")
        identity = self._tokens.verify(auth.get("token"))
        while True:
            seen = self._dismissals
            await self._standing.check(identity)
            if seen == self._dismissals:  # else what was read may be out of date
                return identity

    def _enter(
        self, mount: Mount, device: str, transport_id: str, identity: Identity
    ) -> Connection:
        if not self.accepting:
            raise Unavailable("draining", "this server is going down")
        if not mount.is_open(transport_id):  # it went while the store was asked
            raise Conflict("not_connected", "this connection is closed")
        devices = self._connections.of_user(identity.user_id)
        if len(devices) >= self._settings.connections_per_user:
            raise Conflict("too_many_devices", "too many connections of this user")
        return Connection(device, identity, mount, transport_id)

    async def _greet(self, connection: Connection) -> None:
        """Calls that ring already (T15): a device that comes late, or reloads, can answer too."""
        for event, payload in self._sessions.ringing_events(connection.user_id):
            await self._switchboard.to_device(connection.device, event, payload)
        count = self._sessions.ringing_for(connection.user_id)
        if count > 0:
            told = msgspec.to_builtins(CallPending(count))
            await self._switchboard.to_device(connection.device, "call.pending", told)

    def _disconnect(self, device: str) -> None:
        connection = self._connections.remove(device)
        if connection is None:
            return
        connection.closing = True
        _cancel_expiry(connection)
        self._dispatcher.forget(connection)
        if self.accepting and connection.mount.is_open(connection.transport_id):
            self._await_connect(connection.mount, connection.transport_id)
        user_id = connection.user_id
        self._presence.device_left(user_id, device)
        if not self._connections.of_user(user_id):
            self._switchboard.forget_user(user_id)
        # Not here and now: what led to this may be the session service itself, sending.
        self._background.spawn(self._sessions.device_gone(user_id, device), "device gone")

    def _await_connect(self, mount: Mount, transport_id: str) -> None:
        at_ns = self._clock.now_ns() + int(self._settings.connect_timeout_s * NS_PER_S)

        def give_up() -> None:
            self._pending.pop(transport_id, None)
            self._background.spawn(self._close(mount, transport_id), "closing")

        self._pending[transport_id] = self._clock.call_at(at_ns, give_up)

    async def _end(self, connection: Connection, *, dismissed: bool) -> None:
        if dismissed:
            await connection.mount.dismiss(connection.device)
        await self._close(connection.mount, connection.transport_id)

    async def _close(self, mount: Mount, transport_id: str) -> None:
        if not mount.is_open(transport_id):
            return
        await mount.shut(transport_id)
        at_ns = self._clock.now_ns() + int(self._settings.close_timeout_s * NS_PER_S)
        previous = self._pending.pop(transport_id, None)
        if previous is not None:
            previous.cancel()

        def abort() -> None:
            self._pending.pop(transport_id, None)
            mount.abort(transport_id)

        self._pending[transport_id] = self._clock.call_at(at_ns, abort)

    def _watch_expiry(self, connection: Connection) -> None:
        left_ns = (connection.identity.expires_at_ms - self._clock.wall_ms()) * NS_PER_MS
        self._look_at_expiry_at(connection, self._clock.now_ns() + max(0, left_ns))

    def _look_at_expiry_at(self, connection: Connection, at_ns: int) -> None:
        connection.expiry = self._clock.call_at(at_ns, lambda: self._on_expiry(connection))

    def _on_expiry(self, connection: Connection) -> None:
        connection.expired = True
        if self._sessions.in_live_session(connection.user_id):
            again_ns = int(self._settings.expiry_recheck_s * NS_PER_S)
            self._look_at_expiry_at(connection, self._clock.now_ns() + again_ns)
        else:
            self.dismiss(connection, "token_expired", "this token has expired")


def _cancel_expiry(connection: Connection) -> None:
    if connection.expiry is not None:
        connection.expiry.cancel()
