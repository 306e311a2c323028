"""From a client's event to its ack: limits, decoding, scope, command. Never raises."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from engine.clock import Clock
from engine.errors import BadInput, Forbidden, RateLimited, TalktimeError, Unauthorized
from engine.ratelimit import Limiter
from engine.signaling.commands import COMMANDS, Command, Desk
from engine.signaling.connections import Connection
from engine.signaling.messages import decode
from engine.signaling.packets import MALFORMED
from engine.signaling.settings import SignalingSettings

_log = logging.getLogger(__name__)

_MAX_REFUSED_IN_A_ROW = 300
_WAYS_OUT = frozenset({"call.cancel", "call.decline", "recording.stop", "session.end"})
"""Never refused for what else a client sent: leaving has a limit of its own (T33), and so has
taking one's consent back."""

_RUNS_ON = frozenset({"session", "conversation", "place"})
"""Subjects that a connection of a running session may still touch when its token has expired."""

_MAX_MESSAGE_CHARS = 300

Ack = dict[str, object]


def refusal(error: TalktimeError) -> Ack:
    """The ack of an event that was refused."""
    extra = {key: value for key, value in error.extra.items() if key not in ("ok", "code")}
    return extra | {"ok": False, "code": error.code, "message": error.message}


class Dispatcher:
    """Answers the events of accepted connections, one at a time per connection."""

    def __init__(self, desk: Desk, settings: SignalingSettings, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._per_connection = Limiter(settings.connection_rate)
        self._per_user = Limiter(settings.user_rate)
        self._per_event = {name: Limiter(rate) for name, rate in settings.event_rates.items()}

    def flooding(self, connection: Connection) -> bool:
        """Whether a connection was refused so often without a pause that it should go."""
        return connection.refused_in_a_row > _MAX_REFUSED_IN_A_ROW

    def forget(self, connection: Connection) -> None:
        self._per_connection.forget(connection.device)

    async def answer(self, connection: Connection, event: str, args: tuple[Any, ...]) -> Ack:
        """The ack of one event."""
        try:
            self._admit(connection, event)
            result = await self._run(connection, event, args)
        except TalktimeError as error:
            limited = isinstance(error, RateLimited)
            connection.refused_in_a_row = connection.refused_in_a_row + 1 if limited else 0
            return refusal(error)
        except Exception:
            _log.exception("%s failed for device %s", event, connection.device)
            return {"ok": False, "code": "internal_error", "message": "something failed here"}
        connection.refused_in_a_row = 0
        ack: Ack = {"ok": True}
        ack.update(msgspec.to_builtins(result))
        return ack

    def _admit(self, connection: Connection, event: str) -> None:
        now_ns = self._clock.now_ns()
        if event not in _WAYS_OUT:
            self._per_connection.require(connection.device, now_ns)
            self._per_user.require(connection.user_id, now_ns)
        limiter = self._per_event.get(event)
        if limiter is not None:
            limiter.require(connection.user_id, now_ns)

    async def _run(
        self, connection: Connection, event: str, args: tuple[Any, ...]
    ) -> msgspec.Struct:
        command = COMMANDS.get(event)
        if command is None:
            known = "no such event" if event != MALFORMED else "not an event of this protocol"
            raise BadInput("unknown_event", known)
        message = _decode(event, args)
        _check_token(connection, command)
        await self._desk.scopes.require(connection.identity, command.subject, message)
        return await command.run(self._desk, connection, message)


def _check_token(connection: Connection, command: Command) -> None:
    if connection.expired and command.subject not in _RUNS_ON:
        raise Unauthorized("token_expired", "this token has expired")
    role = connection.identity.order_role
    if role is not None and command.role not in (None, role):
        raise Forbidden(f"not_{command.role}", f"only the {command.role} may do this")


def _decode(event: str, args: tuple[Any, ...]) -> Any:
    """Raises `BadInput` invalid_payload with the `path` of what is wrong."""
    if len(args) != 1:
        raise BadInput("invalid_payload", "send one object", path="$")
    try:
        return decode(event, args[0])
    except msgspec.ValidationError as error:
        text = str(error)[:_MAX_MESSAGE_CHARS]
        _, _, path = text.rpartition(" - at `")
        path = path.rstrip("`") if path.startswith("$") else "$"
        raise BadInput("invalid_payload", text, path=path) from None
