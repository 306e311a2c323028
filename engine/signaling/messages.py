"""The wire of namespace ``/rt``: what clients send, what acks carry, what the server tells.

Clients send one object per event and get an ack: ``{"ok": true, ...}`` or
``{"ok": false, "code", "message", ...extra}``. Server events are one object each and carry
``v`` (1), ``seq`` and ``at`` (RFC 3339 UTC) beside the fields below; an event with a ``session_id``
counts ``seq`` per session and party from 1 without gaps, so that ``session.join {last_seq}`` can
replay what a reconnecting client missed. A session that goes on after a restart of the engine
counts on from a higher number, which the snapshot of the join tells. Other events count per user,
while at least one of the user's devices is connected. In `message.read`, `seq` is the read
position.

Money is integer minor units of the order's currency, times of a session are integer milliseconds
unless the name says otherwise.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

# A dollar alone would let a trailing line feed through.
IdText = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_-]+(?!\n)$")]
Sdp = Annotated[str, Meta(min_length=1, max_length=65_536)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Mode = Literal["video", "audio", "text"]
Direction = Literal["one_way", "two_way"]
PresenceStatus = Literal["available", "away", "busy", "undefined"]


class Payload(Struct, forbid_unknown_fields=True):
    """Base of everything a client sends: unknown members are refused, not ignored."""


# Client -> server ---------------------------------------------------------------------------------


class PresenceSet(Payload):
    """`presence.set` -> {status, effective}. 409 `no_consultation` (T12)."""

    status: PresenceStatus


class PresenceSubscribe(Payload):
    """`presence.subscribe`, `presence.unsubscribe` -> {experts: [PresenceUpdated]}."""

    expert_ids: Annotated[list[IdText], Meta(max_length=100)]


class CallInvite(Payload):
    """`call.invite` -> {session_id, ring_timeout_s, snapshot}. Customer only (T18)."""

    order_id: IdText
    mode: Mode
    direction: Direction = "two_way"


class SessionRef(Payload):
    """`call.accept`, `session.start` -> {snapshot}; `session.end` -> {summary};
    `call.decline`, `call.cancel`, `rtc.restart` -> {}."""

    session_id: IdText


class SessionJoin(Payload):
    """`session.join` -> {snapshot, replayed: int}; missed events and `rtc.offer` follow."""

    session_id: IdText
    last_seq: Seq = 0


class RtcAnswer(Payload):
    """`rtc.answer` -> {}. The engine always offers. `leg_id` is the one of the `rtc.offer`."""

    session_id: IdText
    leg_id: IdText
    sdp: Sdp


class TrackUpdate(Payload):
    """`track.update` -> {}. Camera and microphone buttons (T50)."""

    session_id: IdText
    audio: bool
    video: bool


class RecordingConsent(Payload):
    """`recording.consent` -> {}. What the other party asked with `recording.request`."""

    session_id: IdText
    consent: bool


class SetDirection(Payload):
    """`session.direction` -> {}. The customer switches one_way and two_way; same price (T26)."""

    session_id: IdText
    direction: Direction


ClientMessageId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+(?!\n)$")]
MessageBody = Annotated[str, Meta(max_length=4_000)]
AttachmentIds = Annotated[list[IdText], Meta(max_length=10)]


class MessageSend(Payload, kw_only=True):
    """`message.send` -> {message: Message, duplicate: bool, warning: str | None}.

    Into a live session, where it may count for money, or into a conversation, where it never does:
    one of the two. `files`: ids of the author's own uploads; with some, `body` may be empty.
    """

    session_id: IdText | None = None
    conversation_id: IdText | None = None
    client_msg_id: ClientMessageId
    body: MessageBody = ""
    files: AttachmentIds = []


class MessageRead(Payload):
    """`message.read` -> {}; marks everything up to `seq` as read."""

    conversation_id: IdText
    seq: Seq


class Typing(Payload, kw_only=True):
    """`typing` -> {}; in a session or in a conversation."""

    session_id: IdText | None = None
    conversation_id: IdText | None = None
    typing: bool


class MessageHistory(Payload):
    """`message.history` -> {messages: [Message], more: bool}, oldest first, before `before_seq`."""

    conversation_id: IdText
    before_seq: Seq | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


CLIENT_EVENTS: dict[str, type[Payload]] = {
    "presence.set": PresenceSet,
    "presence.subscribe": PresenceSubscribe,
    "presence.unsubscribe": PresenceSubscribe,
    "call.invite": CallInvite,
    "call.accept": SessionRef,
    "call.decline": SessionRef,
    "call.cancel": SessionRef,
    "session.join": SessionJoin,
    "session.start": SessionRef,
    "session.end": SessionRef,
    "session.direction": SetDirection,
    "rtc.answer": RtcAnswer,
    "rtc.restart": SessionRef,
    "track.update": TrackUpdate,
    "recording.request": SessionRef,
    "recording.consent": RecordingConsent,
    "recording.stop": SessionRef,
    "message.send": MessageSend,
    "message.read": MessageRead,
    "message.history": MessageHistory,
    "typing": Typing,
}

# Shared pieces ------------------------------------------------------------------------------------


class Party(Struct):
    user_id: str
    display_name: str
    connected: bool = False
    audio: bool = False
    video: bool = False


class Attachment(Struct):
    """A file of a message; GET /files/{id} opens it. `type`: by content; `size`: bytes."""

    id: str
    name: str
    type: str
    size: int
    url: str | None = None
    """In answers of REST: a path that opens it without a bearer token, for some minutes."""


class Message(Struct):
    """`kind`: text, system, delivery. `masked`: what was hidden in it from everybody but its author
    (email, handle, link, phone) and, of cards, from its author too (card).
    """

    id: str
    conversation_id: str
    session_id: str | None
    seq: int
    author_id: str | None
    """None: the system."""
    kind: str
    body: str
    client_msg_id: str | None
    created_at: str
    files: list[Attachment] = []
    masked: list[str] = []


class MeterView(Struct):
    """A statement of the meter; the client's status line runs on from it by itself, money
    included: `blocks` begun cost ``price_minor * blocks * block_seconds // per_seconds``.

    `state`: idle (not armed), armed (waiting for the first frame or message), grace (running, block
    1 not charged yet), running, paused, ended. `elapsed_ms` is served time when the statement was
    made; `seconds_left` is how long the customer's money lasts from then on (None: unlimited or
    unknown). `earned_minor`, the charge less its commission, and `commission_bps` are only in the
    expert's statements, `balance_minor` (available) only in the customer's.
    """

    state: str
    elapsed_ms: int
    charged_minor: int
    billed_blocks: int
    currency: str
    block_seconds: int
    price_minor: int
    per_seconds: int
    seconds_left: float | None = None
    next_charge_in_ms: int | None = None
    grace_left_ms: int | None = None
    balance_minor: int | None = None
    earned_minor: int | None = None
    commission_bps: int | None = None


class SessionSummary(Struct):
    """How it ended: in `session.ended` and in the ack of `session.end`."""

    reason: str
    """completed, void, insufficient_funds, disconnected, failed, idle, terminated, server_restart,
    no_answer, declined, canceled."""
    ended_by: str
    """customer, expert, system, staff."""
    billed_seconds: int
    blocks: int
    total_minor: int
    currency: str
    receipt_url: str | None
    can_review: bool
    earned_minor: int | None = None
    """Only for the expert."""


class RecordingView(Struct):
    """`possible`: this call may be recorded if both agree. `state`: off, requested, recording,
    stopped, failed; `by` whom it came to that (customer, expert).
    """

    possible: bool
    state: str
    by: str | None = None
    reason: str | None = None


class Snapshot(Struct):
    """All a client needs to draw a session it just joined or came back to."""

    session_id: str
    order_id: str
    conversation_id: str
    title: str
    role: str
    mode: str
    direction: str
    state: str
    """ringing, connecting, in_progress, ended."""
    customer: Party
    expert: Party
    meter: MeterView
    last_seq: int
    ring_expires_in_ms: int | None
    summary: SessionSummary | None
    recording: RecordingView


class IceServer(Struct, omit_defaults=True):
    urls: list[str]
    username: str | None = None
    credential: str | None = None


# Server -> client ---------------------------------------------------------------------------------
# Every struct is the payload of the event named in its docstring; sending adds `v`, `seq` and `at`.


class PresenceUpdated(Struct):
    """`presence.updated`; `status` is the effective one, `callable` what T13-T16 make of it."""

    expert_id: str
    online: bool
    status: str
    callable: bool


class CallIncoming(Struct):
    """`call.incoming` to every device of the expert. `alert`: sound or silent (T14, T15)."""

    session_id: str
    order_id: str
    title: str
    from_name: str
    mode: str
    direction: str
    alert: str
    expires_in_ms: int


class CallPending(Struct):
    """`call.pending`: how many calls ring at this expert now (T15); outside a session's seq."""

    count: int


class CallState(Struct):
    """`call.ringing`, `call.accepted`, `call.declined`, `call.canceled`, `call.no_answer`.

    To the expert's other devices, `call.accepted` has reason ``answered_elsewhere``.
    """

    session_id: str
    reason: str | None = None


class RecordingUpdated(Struct):
    """`recording.updated`; `reason`: declined, withdrawn, ended (with the session), interrupted (by
    a restart of the engine), or why it failed."""

    session_id: str
    state: str
    by: str | None
    reason: str | None


class SessionUpdated(Struct):
    """`session.updated`."""

    session_id: str
    state: str
    direction: str
    customer: Party
    expert: Party


class ParticipantChanged(Struct):
    """`participant.joined`, `participant.left`."""

    session_id: str
    role: str


class TrackChanged(Struct):
    """`track.published`, `track.unpublished`; `kind`: audio or video."""

    session_id: str
    role: str
    kind: str


class RtcOffer(Struct):
    """`rtc.offer`; not replayed: a fresh one follows every join."""

    session_id: str
    leg_id: str
    sdp: str
    ice_servers: list[IceServer]


class MeterStarted(Struct):
    """`meter.started`; `trigger`: first_frame or second_message."""

    session_id: str
    trigger: str
    meter: MeterView


class MeterTick(Struct):
    """`meter.tick`: a statement on change, and once a minute while running."""

    session_id: str
    meter: MeterView


class MeterCharged(Struct):
    """`meter.charged`; `block` counts from 1; `fee_minor` is only for the expert."""

    session_id: str
    block: int
    amount_minor: int
    meter: MeterView
    fee_minor: int | None = None


class MeterLowBalance(Struct):
    """`meter.low_balance` to the customer: `shortfall_minor` buys the next block."""

    session_id: str
    seconds_left: float
    shortfall_minor: int


class MeterPaused(Struct):
    """`meter.paused`, `meter.resumed`; `reason`: no_media or disconnected."""

    session_id: str
    reason: str
    meter: MeterView


class SessionEnded(Struct):
    """`session.ended`."""

    session_id: str
    summary: SessionSummary


class MessageCreated(Struct):
    """`message.created` to every device of every member; `order_id`: of orders' conversations."""

    session_id: str | None
    message: Message
    order_id: str | None = None


class MessageReadMark(Struct):
    """`message.read`; `seq` is the position read up to, this event has no counter."""

    conversation_id: str
    user_id: str
    seq: int


class TypingNow(Struct):
    """`typing`; not replayed. `role` only in a session; outside one `session_id` is null."""

    session_id: str | None
    role: str | None
    typing: bool
    conversation_id: str
    user_id: str
    order_id: str | None = None


class HopFigures(Struct):
    """Media of one hop over the last seconds; `loss` is a share. None: nothing to tell it from."""

    bitrate_bps: int
    loss: float | None
    jitter_ms: float | None


class LinkQuality(Struct):
    """One party's connection. `level`: unknown, good, fair, poor. `up` is from the party to the
    engine, `down` back; None: not to be told. `freezes`: of the picture that this party is sent.
    """

    level: str
    up: HopFigures | None = None
    down: HopFigures | None = None
    rtt_ms: float | None = None
    freezes: int = 0
    frozen_ms: int = 0


class QualityUpdated(Struct):
    """`quality.updated` on a change of level and at least every 10 s of a call; not replayed."""

    session_id: str
    own: LinkQuality
    other: LinkQuality


class WalletUpdated(Struct):
    """`wallet.updated` to every device of the user."""

    currency: str
    available_minor: int
    held_minor: int
    earned_minor: int


class NotificationCreated(Struct):
    """`notification.created` to every device of the user; `data` as in GET /notifications."""

    id: str
    type: str
    subject_type: str
    subject_id: str
    data: dict[str, Any]


class ErrorEvent(Struct):
    """`error`: something failed that no ack can carry."""

    code: str
    message: str
    session_id: str | None = None


SERVER_EVENTS: dict[str, type[Struct]] = {
    "presence.updated": PresenceUpdated,
    "call.incoming": CallIncoming,
    "call.pending": CallPending,
    "call.ringing": CallState,
    "call.accepted": CallState,
    "call.declined": CallState,
    "call.canceled": CallState,
    "call.no_answer": CallState,
    "session.updated": SessionUpdated,
    "session.ended": SessionEnded,
    "participant.joined": ParticipantChanged,
    "participant.left": ParticipantChanged,
    "track.published": TrackChanged,
    "track.unpublished": TrackChanged,
    "recording.updated": RecordingUpdated,
    "rtc.offer": RtcOffer,
    "meter.started": MeterStarted,
    "meter.tick": MeterTick,
    "meter.charged": MeterCharged,
    "meter.low_balance": MeterLowBalance,
    "meter.paused": MeterPaused,
    "meter.resumed": MeterPaused,
    "message.created": MessageCreated,
    "message.read": MessageReadMark,
    "typing": TypingNow,
    "quality.updated": QualityUpdated,
    "wallet.updated": WalletUpdated,
    "notification.created": NotificationCreated,
    "error": ErrorEvent,
}

# Acks ---------------------------------------------------------------------------------------------
# The members beside ``"ok": true``.


class Done(Struct):
    """Nothing but `ok`."""


class PresenceSetDone(Struct):
    status: str
    effective: str


class PresenceViews(Struct):
    experts: list[PresenceUpdated]


class Invited(Struct):
    session_id: str
    ring_timeout_s: float
    snapshot: Snapshot


class SnapshotNow(Struct):
    snapshot: Snapshot


class Joined(Struct):
    snapshot: Snapshot
    replayed: int


class Ended(Struct):
    summary: SessionSummary


class MessageSent(Struct):
    """`warning`: what the author should know of what was hidden in the message."""

    message: Message
    duplicate: bool
    warning: str | None = None


class MessagePage(Struct):
    messages: list[Message]
    more: bool


ACKS: dict[str, type[Struct]] = {
    "presence.set": PresenceSetDone,
    "presence.subscribe": PresenceViews,
    "presence.unsubscribe": PresenceViews,
    "call.invite": Invited,
    "call.accept": SnapshotNow,
    "session.join": Joined,
    "session.start": SnapshotNow,
    "session.end": Ended,
    "message.send": MessageSent,
    "message.history": MessagePage,
}
"""Acks of the events not named here are `Done`."""


class Refusal(Struct):
    """The ack of a refused event and, without `ok`, `data` of a refused CONNECT.

    Codes keep their meaning.
    """

    ok: Literal[False]
    code: str
    message: str
    retry_after: float | None = None
    """Seconds, with `rate_limited`."""
    shortfall: int | None = None
    """Minor units, with `insufficient_funds`."""
    path: str | None = None
    """Where, with `invalid_payload`; `$` is the payload itself."""


@functools.lru_cache(maxsize=16)  # both parties of a session are told at once
def rfc3339(at_ms: int) -> str:
    """UTC milliseconds as ``2026-01-31T12:00:00.000Z``."""
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decode(event: str, payload: Any) -> Payload:
    """The typed payload of a client event.

    Raises `msgspec.ValidationError` with the path of what is wrong, `KeyError` for unknown events.
    """
    return msgspec.convert(payload, CLIENT_EVENTS[event])
