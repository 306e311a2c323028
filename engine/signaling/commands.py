"""What each client event does: one row per event, one short function per row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from engine.chat.rules import warning
from engine.chat.service import ChatService
from engine.errors import Conflict
from engine.signaling import messages as wire
from engine.signaling.connections import Connection, Connections, presence_room
from engine.signaling.outbound import Switchboard
from engine.signaling.ports import Sessions
from engine.signaling.presence import Presence
from engine.signaling.scope import Scopes

Subject = Literal["open", "account", "order", "session", "conversation", "place"]
"""What an event is about, which decides whether a token for one order may send it; a place is a
session or a conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the commands work with."""

    sessions: Sessions
    chat: ChatService
    presence: Presence
    scopes: Scopes
    connections: Connections
    switchboard: Switchboard
    max_subscriptions: int


Run = Callable[[Desk, Connection, Any], Awaitable[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Command:
    run: Run
    subject: Subject
    role: Literal["customer", "expert"] | None = None
    """The role that an engine token must carry; the session service checks the user as well."""


async def presence_set(
    desk: Desk, caller: Connection, msg: wire.PresenceSet
) -> wire.PresenceSetDone:
    view = await desk.presence.set_status(caller.user_id, msg.status)
    return wire.PresenceSetDone(status=msg.status, effective=view.status)


async def presence_subscribe(
    desk: Desk, caller: Connection, msg: wire.PresenceSubscribe
) -> wire.PresenceViews:
    watched = {room for room in caller.rooms if room.startswith(presence_room(""))}
    wanted = [presence_room(expert_id) for expert_id in msg.expert_ids]
    if len(watched | set(wanted)) > desk.max_subscriptions:
        raise Conflict("too_many_subscriptions", "this connection watches too many experts")
    for room in wanted:  # before looking, so that no change falls between
        desk.connections.enter(caller, room)
    return await _views(desk, msg.expert_ids)


async def presence_unsubscribe(
    desk: Desk, caller: Connection, msg: wire.PresenceSubscribe
) -> wire.PresenceViews:
    for expert_id in msg.expert_ids:
        desk.connections.leave(caller, presence_room(expert_id))
    return wire.PresenceViews(experts=[])


async def _views(desk: Desk, expert_ids: Iterable[str]) -> wire.PresenceViews:
    unique = dict.fromkeys(expert_ids)
    return wire.PresenceViews(experts=[await desk.presence.view(one) for one in unique])


async def call_invite(desk: Desk, caller: Connection, msg: wire.CallInvite) -> wire.Invited:
    session_id, ring_timeout_s, snapshot = await desk.sessions.invite(
        caller.user_id, caller.device, msg
    )
    return wire.Invited(session_id, ring_timeout_s, _learn(desk, snapshot))


async def call_accept(desk: Desk, caller: Connection, msg: wire.SessionRef) -> wire.SnapshotNow:
    snapshot = await desk.sessions.accept(caller.user_id, caller.device, msg.session_id)
    return wire.SnapshotNow(_learn(desk, snapshot))


async def call_decline(desk: Desk, caller: Connection, msg: wire.SessionRef) -> wire.Done:
    await desk.sessions.decline(caller.user_id, caller.device, msg.session_id)
    return wire.Done()


async def call_cancel(desk: Desk, caller: Connection, msg: wire.SessionRef) -> wire.Done:
    await desk.sessions.cancel(caller.user_id, caller.device, msg.session_id)
    return wire.Done()


async def session_join(desk: Desk, caller: Connection, msg: wire.SessionJoin) -> wire.Joined:
    """The ack goes first, then what was missed, then what came meanwhile: in order of `seq`."""
    missed: list[tuple[str, dict[str, object]]] = []
    desk.switchboard.cork(caller)
    try:
        snapshot, missed = await desk.sessions.join(
            caller.user_id, caller.device, msg.session_id, msg.last_seq
        )
    finally:
        # The library queues the ack as soon as this returns, before the loop calls anything else.
        asyncio.get_running_loop().call_soon(desk.switchboard.uncork, caller, missed)
    return wire.Joined(_learn(desk, snapshot), len(missed))


async def session_start(desk: Desk, caller: Connection, msg: wire.SessionRef) -> wire.SnapshotNow:
    snapshot = await desk.sessions.begin(caller.user_id, msg.session_id)
    return wire.SnapshotNow(_learn(desk, snapshot))


async def session_end(desk: Desk, caller: Connection, msg: wire.SessionRef) -> wire.Ended:
    return wire.Ended(await desk.sessions.end(caller.user_id, msg.session_id))


async def session_direction(desk: Desk, caller: Connection, msg: wire.SetDirection) -> wire.Done:
    await desk.sessions.set_direction(caller.user_id, msg.session_id, msg.direction)
    return wire.Done()


async def rtc_answer(desk: Desk, caller: Connection, msg: wire.RtcAnswer) -> wire.Done:
    await desk.sessions.rtc_answer(
        caller.user_id, caller.device, msg.session_id, msg.leg_id, msg.sdp
    )
    return wire.Done()


async def rtc_restart(desk: Desk, caller: Connection, msg: wire.SessionRef) -> wire.Done:
    await desk.sessions.rtc_restart(caller.user_id, caller.device, msg.session_id)
    return wire.Done()


async def track_update(desk: Desk, caller: Connection, msg: wire.TrackUpdate) -> wire.Done:
    await desk.sessions.track_update(
        caller.user_id, caller.device, msg.session_id, msg.audio, msg.video
    )
    return wire.Done()


async def recording_request(desk: Desk, caller: Connection, msg: wire.SessionRef) -> wire.Done:
    await desk.sessions.recording_request(caller.user_id, msg.session_id)
    return wire.Done()


async def recording_consent(
    desk: Desk, caller: Connection, msg: wire.RecordingConsent
) -> wire.Done:
    await desk.sessions.recording_consent(caller.user_id, msg.session_id, consent=msg.consent)
    return wire.Done()


async def recording_stop(desk: Desk, caller: Connection, msg: wire.SessionRef) -> wire.Done:
    await desk.sessions.recording_stop(caller.user_id, msg.session_id)
    return wire.Done()


async def message_send(desk: Desk, caller: Connection, msg: wire.MessageSend) -> wire.MessageSent:
    message, duplicate = await desk.chat.send(caller.user_id, msg)
    return wire.MessageSent(message, duplicate, warning(message.masked))


async def message_read(desk: Desk, caller: Connection, msg: wire.MessageRead) -> wire.Done:
    await desk.chat.read(caller.user_id, msg.conversation_id, msg.seq)
    return wire.Done()


async def message_history(
    desk: Desk, caller: Connection, msg: wire.MessageHistory
) -> wire.MessagePage:
    page = await desk.chat.history(caller.user_id, msg.conversation_id, msg.before_seq, msg.limit)
    return wire.MessagePage(*page)


async def typing(desk: Desk, caller: Connection, msg: wire.Typing) -> wire.Done:
    await desk.chat.typing(caller.user_id, msg)
    return wire.Done()


def _learn(desk: Desk, snapshot: wire.Snapshot) -> wire.Snapshot:
    desk.scopes.learn(snapshot.order_id, snapshot.session_id, snapshot.conversation_id)
    return snapshot


COMMANDS: dict[str, Command] = {
    "presence.set": Command(presence_set, "account"),
    "presence.subscribe": Command(presence_subscribe, "open"),
    "presence.unsubscribe": Command(presence_unsubscribe, "open"),
    "call.invite": Command(call_invite, "order", "customer"),
    "call.accept": Command(call_accept, "session", "expert"),
    "call.decline": Command(call_decline, "session", "expert"),
    "call.cancel": Command(call_cancel, "session", "customer"),
    "session.join": Command(session_join, "session"),
    "session.start": Command(session_start, "session", "expert"),
    "session.end": Command(session_end, "session"),
    "session.direction": Command(session_direction, "session", "customer"),
    "rtc.answer": Command(rtc_answer, "session"),
    "rtc.restart": Command(rtc_restart, "session"),
    "track.update": Command(track_update, "session"),
    "recording.request": Command(recording_request, "session"),
    "recording.consent": Command(recording_consent, "session"),
    "recording.stop": Command(recording_stop, "session"),
    "message.send": Command(message_send, "place"),
    "message.read": Command(message_read, "conversation"),
    "message.history": Command(message_history, "conversation"),
    "typing": Command(typing, "place"),
}
