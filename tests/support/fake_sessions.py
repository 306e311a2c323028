"""A session service without media and money: enough of one to drive signalling and chat."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from engine.clock import Clock
from engine.errors import Conflict, Forbidden, NotFound
from engine.ids import new_id
from engine.signaling import messages as wire
from engine.signaling.ports import Outbound
from engine.signaling.presence import Presence
from engine.signaling.settings import PRESENCE_MAP
from engine.store.database import Store
from engine.store.tables import conversations, orders, sessions


@dataclass(frozen=True)
class FakeGate:
    session_id: str
    order_id: str
    conversation_id: str
    role: str
    customer_id: str
    expert_id: str
    mode: str
    at_ns: int
    at_ms: int


@dataclass
class FakeSession:
    id: str
    order_id: str
    conversation_id: str
    customer_id: str
    expert_id: str
    mode: str
    direction: str
    state: str = "ringing"
    seq: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    log: dict[str, list[tuple[str, dict[str, object]]]] = field(
        default_factory=lambda: defaultdict(list)
    )


class FakeSessions:
    """Implements `engine.signaling.ports.Sessions`, in memory."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.live: dict[str, FakeSession] = {}
        self.stored: list[FakeGate] = []
        self.gone: list[tuple[str, str]] = []
        self.calls: list[tuple[str, Any]] = []
        self.explode: Exception | None = None
        self._outbound: Outbound | None = None
        self._presence: Presence | None = None

    def connect(self, outbound: Outbound, presence: Presence) -> None:
        self._outbound, self._presence = outbound, presence

    @property
    def outbound(self) -> Outbound:
        assert self._outbound is not None
        return self._outbound

    async def invite(
        self, user_id: str, device: str, msg: wire.CallInvite
    ) -> tuple[str, float, wire.Snapshot]:
        if self.explode is not None:
            raise self.explode
        session = await self._create(user_id, msg)
        presence = self._presence
        assert presence is not None
        if not presence.is_online(session.expert_id):
            raise Conflict("expert_offline", "the expert is not here")
        status = (await presence.view(session.expert_id)).status
        alert = PRESENCE_MAP[status]
        if alert == "refuse":
            raise Conflict(f"expert_{status}", "the expert takes no calls")
        await self._insert(session)
        self.live[session.id] = session
        incoming = wire.CallIncoming(
            session_id=session.id,
            order_id=session.order_id,
            title="Advice",
            from_name="Customer",
            mode=session.mode,
            direction=session.direction,
            alert="sound" if alert == "ring" else "silent",
            expires_in_ms=60_000,
        )
        await self._tell(session, session.expert_id, "call.incoming", incoming)
        await self._tell(session, user_id, "call.ringing", wire.CallState(session.id))
        await self._tell_pending(session.expert_id)
        return session.id, 60.0, self.snapshot(session, user_id)

    async def accept(self, user_id: str, device: str, session_id: str) -> wire.Snapshot:
        session = self._find(user_id, session_id)
        if user_id != session.expert_id:
            raise Forbidden("not_expert", "only the expert answers")
        if session.state != "ringing":
            raise Conflict("already_answered", "another device answered")
        session.state = "in_progress"
        assert self._presence is not None
        await self._presence.refresh(session.expert_id)
        for party in (session.customer_id, session.expert_id):
            await self._tell(session, party, "call.accepted", wire.CallState(session_id))
        return self.snapshot(session, user_id)

    async def decline(self, user_id: str, device: str, session_id: str) -> None:
        await self.end(user_id, session_id)

    async def cancel(self, user_id: str, device: str, session_id: str) -> None:
        await self.end(user_id, session_id)

    async def join(
        self, user_id: str, device: str, session_id: str, last_seq: int
    ) -> tuple[wire.Snapshot, list[tuple[str, dict[str, object]]]]:
        session = self._find(user_id, session_id)
        missed = [
            (event, payload)
            for event, payload in session.log[user_id]
            if isinstance(payload["seq"], int) and payload["seq"] > last_seq
        ]
        snapshot = self.snapshot(session, user_id)
        if session.mode != "text":
            offer = wire.RtcOffer(session_id, "leg_1", "v=0", [])
            await self.outbound.to_device(device, "rtc.offer", self._stamp(session, user_id, offer))
        return snapshot, missed

    async def begin(self, user_id: str, session_id: str) -> wire.Snapshot:
        session = self._find(user_id, session_id)
        session.state = "in_progress"
        return self.snapshot(session, user_id)

    async def end(self, user_id: str, session_id: str) -> wire.SessionSummary:
        session = self._find(user_id, session_id)
        summary = wire.SessionSummary("completed", "customer", 0, 0, 0, "EUR", None, False)
        if session.state != "ended":
            session.state = "ended"
            for party in (session.customer_id, session.expert_id):
                ended = wire.SessionEnded(session_id, summary)
                await self._tell(session, party, "session.ended", ended)
            assert self._presence is not None
            await self._presence.refresh(session.expert_id)
        return summary

    async def set_direction(self, user_id: str, session_id: str, direction: str) -> None:
        self._find(user_id, session_id).direction = direction

    async def rtc_answer(
        self, user_id: str, device: str, session_id: str, leg_id: str, sdp: str
    ) -> None:
        self._find(user_id, session_id)
        self.calls.append(("rtc_answer", leg_id))

    async def rtc_restart(self, user_id: str, device: str, session_id: str) -> None:
        self._find(user_id, session_id)
        self.calls.append(("rtc_restart", session_id))

    async def track_update(
        self, user_id: str, device: str, session_id: str, audio: bool, video: bool
    ) -> None:
        self._find(user_id, session_id)
        self.calls.append(("track_update", (audio, video)))

    async def device_gone(self, user_id: str, device: str) -> None:
        self.gone.append((user_id, device))

    def in_live_session(self, user_id: str) -> bool:
        return any(
            session.state in ("connecting", "in_progress")
            for session in self.live.values()
            if user_id in (session.customer_id, session.expert_id)
        )

    def ringing_for(self, expert_id: str) -> int:
        return sum(
            session.state == "ringing" and session.expert_id == expert_id
            for session in self.live.values()
        )

    def ringing_events(self, expert_id: str) -> list[tuple[str, dict[str, object]]]:
        return []

    def chat_gate(self, user_id: str, session_id: str) -> FakeGate:
        session = self._find(user_id, session_id)
        if session.state == "ended":
            raise Conflict("session_ended", "this session is over")
        if session.state != "in_progress":
            raise Conflict("wrong_state", "this session has not begun")
        return FakeGate(
            session_id=session_id,
            order_id=session.order_id,
            conversation_id=session.conversation_id,
            role="customer" if user_id == session.customer_id else "expert",
            customer_id=session.customer_id,
            expert_id=session.expert_id,
            mode=session.mode,
            at_ns=self.clock.now_ns(),
            at_ms=self.clock.wall_ms(),
        )

    async def require_open(self, tx: object, gate: FakeGate, user_id: str) -> None:
        self.chat_gate(user_id, gate.session_id)

    async def message_stored(self, gate: FakeGate) -> None:
        self.stored.append(gate)

    async def publish(
        self, session_id: str, user_id: str, event: str, payload: dict[str, object]
    ) -> None:
        session = self.live[session_id]
        session.seq[user_id] += 1
        stamped: dict[str, object] = {"v": 1, "seq": session.seq[user_id], "at": "now"} | payload
        session.log[user_id].append((event, stamped))
        await self.outbound.to_user(user_id, event, stamped)

    def snapshot(self, session: FakeSession, user_id: str) -> wire.Snapshot:
        return wire.Snapshot(
            session_id=session.id,
            order_id=session.order_id,
            conversation_id=session.conversation_id,
            title="Advice",
            role="customer" if user_id == session.customer_id else "expert",
            mode=session.mode,
            direction=session.direction,
            state=session.state,
            customer=wire.Party(session.customer_id, "Customer"),
            expert=wire.Party(session.expert_id, "Expert"),
            meter=wire.MeterView("idle", 0, 0, 0, "EUR", 900, 1_200, 900),
            last_seq=session.seq[user_id],
            ring_expires_in_ms=None,
            summary=None,
            recording=wire.RecordingView(possible=False, state="off"),
        )

    async def _create(self, user_id: str, msg: wire.CallInvite) -> FakeSession:
        async with self.store.reading() as tx:
            query = (
                sa.select(orders, conversations.c.id.label("conversation_id"))
                .join(conversations, conversations.c.order_id == orders.c.id)
                .where(orders.c.id == msg.order_id)
            )
            row = (await tx.execute(query)).one_or_none()
        if row is None:
            raise NotFound("session_not_found", "no such order")
        if user_id != row.customer_id:
            raise Forbidden("not_customer", "only the customer calls")
        return FakeSession(
            id=new_id("ses"),
            order_id=row.id,
            conversation_id=row.conversation_id,
            customer_id=row.customer_id,
            expert_id=row.expert_id,
            mode=msg.mode,
            direction=msg.direction,
        )

    async def _insert(self, session: FakeSession) -> None:
        async with self.store.transaction() as tx:
            await tx.execute(
                sa.insert(sessions).values(
                    id=session.id,
                    order_id=session.order_id,
                    customer_id=session.customer_id,
                    expert_id=session.expert_id,
                    mode=session.mode,
                    direction=session.direction,
                    state="ringing",
                    rung_at_ms=0,
                    owner="test",
                    checkpoint_at_ms=0,
                )
            )

    async def _tell_pending(self, expert_id: str) -> None:
        told = msgspec.to_builtins(wire.CallPending(self.ringing_for(expert_id)))
        await self.outbound.to_user(expert_id, "call.pending", told)

    async def _tell(
        self, session: FakeSession, user_id: str, event: str, message: msgspec.Struct
    ) -> None:
        await self.publish(session.id, user_id, event, msgspec.to_builtins(message))

    def _stamp(
        self, session: FakeSession, user_id: str, message: msgspec.Struct
    ) -> dict[str, object]:
        session.seq[user_id] += 1
        stamp: dict[str, object] = {"v": 1, "seq": session.seq[user_id], "at": "now"}
        return stamp | msgspec.to_builtins(message)

    def _find(self, user_id: str, session_id: str) -> FakeSession:
        session = self.live.get(session_id)
        if session is None:
            raise NotFound("session_not_found", "no such session")
        if user_id not in (session.customer_id, session.expert_id):
            raise Forbidden("not_party", "not your session")
        return session
