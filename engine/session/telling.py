"""Telling both parties of a session what happened, in one numbered sequence per party.

Every event of a session goes to all devices of a party under the party's next number. Where one
device is to see something else than the others (its own offer, its own answer to the call), it gets
its version first and under the same number; to it, what everyone gets next is a duplicate.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import cast

import msgspec
import structlog

from engine.clock import NS_PER_S, Clock
from engine.media.interface import Role
from engine.metering import signals as s
from engine.session import effects as e
from engine.session import views
from engine.session.ports import Outbound, ReceiptUrl
from engine.session.records import pause_reason
from engine.session.runtime import Runtime
from engine.session.states import Reason
from engine.signaling import messages as wire

_log = structlog.get_logger(__name__)

_UNANSWERED = {
    Reason.DECLINED.value: "call.declined",
    Reason.CANCELED.value: "call.canceled",
    Reason.NO_ANSWER.value: "call.no_answer",
}


class Teller:
    """Sends through `outbound`, which the composition root connects before the first session."""

    def __init__(self, clock: Clock, receipt_url: ReceiptUrl) -> None:
        self.outbound: Outbound | None = None
        self._clock = clock
        self._receipt_url = receipt_url

    async def publish(
        self,
        rt: Runtime,
        role: Role,
        event: str,
        payload: Mapping[str, object],
        *,
        instead: Mapping[str, tuple[str, msgspec.Struct]] | None = None,
    ) -> None:
        """Send one event to a party; `instead`: another version for some device."""
        at = wire.rfc3339(self._clock.wall_ms())
        stamped = rt.logs[role].append(event, dict(payload), at)
        stamp = {"v": 1, "seq": stamped["seq"], "at": at}
        for device, (own_event, own) in (instead or {}).items():
            await self.to_device(device, own_event, stamp | members(own))
        await self.to_user(rt.grant.user_of(role), event, stamped)

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None:
        if self.outbound is not None:
            with _unharmed():
                await self.outbound.to_user(user_id, event, payload)

    async def to_device(self, device: str, event: str, payload: dict[str, object]) -> None:
        if self.outbound is not None:
            with _unharmed():
                await self.outbound.to_device(device, event, payload)

    async def offer(self, rt: Runtime, role: Role, device: str, offer: wire.RtcOffer) -> None:
        """A device's own offer; the party's other devices see the session's state instead."""
        own: dict[str, tuple[str, msgspec.Struct]] = {device: ("rtc.offer", offer)}
        await self.publish(rt, role, "session.updated", members(_updated(rt)), instead=own)

    async def error(self, device: str, session_id: str, code: str, message: str) -> None:
        """Something failed that no ack can carry."""
        error = wire.ErrorEvent(code, message, None)
        await self.to_device(device, "error", members(error))
        _log.info("session.error_told", session=session_id, code=code)

    async def tell(self, rt: Runtime, effect: e.Effect) -> None:
        """Tell the parties of an effect that is in the store."""
        now_ns = self._clock.now_ns()
        match effect:
            case e.Rang():
                await self._rang(rt, now_ns)
            case e.Answered(device=device):
                await self._answered(rt, device)
            case e.Began() | e.Turned():
                await self._both(rt, "session.updated", _updated(rt))
                await self._ticks(rt, now_ns)
            case e.PartyChanged(role=role, up=up):
                event = "participant.joined" if up else "participant.left"
                await self._both(rt, event, wire.ParticipantChanged(rt.id, role.value))
            case e.TrackChanged(role=role, kind=kind, published=published):
                event = "track.published" if published else "track.unpublished"
                await self._both(rt, event, wire.TrackChanged(rt.id, role.value, kind))
            case e.RecordingChanged(state=state, by=by, reason=reason):
                told = wire.RecordingUpdated(rt.id, state, by or None, reason or None)
                await self._both(rt, "recording.updated", told)
            case e.Ended():
                await self._ended(rt, effect)
            case _:
                await self._of_meter(rt, effect, now_ns)

    async def quality(self, rt: Runtime) -> None:
        """How the connections of both parties are."""
        for role, other in ((Role.CUSTOMER, Role.EXPERT), (Role.EXPERT, Role.CUSTOMER)):
            own = views.link_quality(rt, role, role)
            told = wire.QualityUpdated(rt.id, own, views.link_quality(rt, other, role))
            await self._to(rt, role, "quality.updated", told)

    async def _of_meter(self, rt: Runtime, effect: e.Effect, now_ns: int) -> None:
        match effect:
            case e.Stated():
                await self._ticks(rt, now_ns)
            case e.ClockStarted(trigger=trigger):
                for role in Role:
                    meter = views.meter_view(rt, role, now_ns)
                    await self._to(
                        rt, role, "meter.started", wire.MeterStarted(rt.id, trigger, meter)
                    )
            case s.Capture():
                await self._charged(rt, effect, now_ns)
            case s.Paused() | s.Resumed():
                event = "meter.paused" if isinstance(effect, s.Paused) else "meter.resumed"
                for role in Role:
                    meter = views.meter_view(rt, role, now_ns)
                    paused = wire.MeterPaused(rt.id, pause_reason(rt), meter)
                    await self._to(rt, role, event, paused)
            case s.LowBalance(left_ns=left_ns, shortfall_minor=shortfall):
                low = wire.MeterLowBalance(rt.id, left_ns / NS_PER_S, shortfall)
                await self._to(rt, Role.CUSTOMER, "meter.low_balance", low)
            case _:
                pass

    async def _rang(self, rt: Runtime, now_ns: int) -> None:
        grant = rt.grant
        incoming = wire.CallIncoming(
            session_id=rt.id,
            order_id=grant.order_id,
            title=grant.title,
            from_name=grant.customer_name,
            mode=rt.machine.mode,
            direction=views.direction(one_way=rt.machine.one_way),
            alert=rt.alert,
            expires_in_ms=rt.ring_left_ms(now_ns),
        )
        await self._to(rt, Role.EXPERT, "call.incoming", incoming)
        await self._to(rt, Role.CUSTOMER, "call.ringing", wire.CallState(rt.id))

    async def _answered(self, rt: Runtime, device: str) -> None:
        accepted = wire.CallState(rt.id)
        elsewhere = wire.CallState(rt.id, "answered_elsewhere")
        await self._to(rt, Role.CUSTOMER, "call.accepted", accepted)
        own: dict[str, tuple[str, msgspec.Struct]] = {device: ("call.accepted", accepted)}
        await self.publish(rt, Role.EXPERT, "call.accepted", members(elsewhere), instead=own)
        await self._both(rt, "session.updated", _updated(rt))

    async def _charged(self, rt: Runtime, capture: s.Capture, now_ns: int) -> None:
        for role in Role:
            charged = wire.MeterCharged(
                session_id=rt.id,
                block=capture.block,
                amount_minor=capture.amount_minor,
                meter=views.meter_view(rt, role, now_ns),
                fee_minor=capture.fee_minor if role is Role.EXPERT else None,
            )
            await self._to(rt, role, "meter.charged", charged)

    async def _ended(self, rt: Runtime, ended: e.Ended) -> None:
        event = _UNANSWERED.get(ended.reason)
        if event is not None:
            await self._both(rt, event, wire.CallState(rt.id, ended.reason))
        for role in Role:
            summary = views.summary(rt.id, rt.grant, ended, role, self._receipt_url)
            assert summary is not None
            await self._to(rt, role, "session.ended", wire.SessionEnded(rt.id, summary))

    async def _ticks(self, rt: Runtime, now_ns: int) -> None:
        if rt.machine.ended is not None:
            return
        for role in Role:
            meter = views.meter_view(rt, role, now_ns)
            await self._to(rt, role, "meter.tick", wire.MeterTick(rt.id, meter))

    async def _both(self, rt: Runtime, event: str, message: msgspec.Struct) -> None:
        for role in Role:
            await self._to(rt, role, event, message)

    async def _to(self, rt: Runtime, role: Role, event: str, message: msgspec.Struct) -> None:
        await self.publish(rt, role, event, members(message))


def _updated(rt: Runtime) -> wire.SessionUpdated:
    return wire.SessionUpdated(
        session_id=rt.id,
        state=rt.state.value,
        direction=views.direction(one_way=rt.machine.one_way),
        customer=views.party(rt, Role.CUSTOMER),
        expert=views.party(rt, Role.EXPERT),
    )


def members(message: msgspec.Struct) -> dict[str, object]:
    """A message as the payload that is sent."""
    return cast(dict[str, object], msgspec.to_builtins(message))


@contextlib.contextmanager
def _unharmed() -> Iterator[None]:
    """A client that cannot be told changes nothing of what happened."""
    try:
        yield
    except Exception:
        _log.exception("session.telling_failed")
