"""Effects as evidence: the rows of `session_events`, and which of them the outbox tells."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from engine.metering import signals as s
from engine.recording.consent import INTERRUPTED
from engine.session import effects as e
from engine.session.grants import Grant
from engine.session.runtime import Runtime
from engine.session.views import direction

Data = dict[str, object]


class Record(Struct, frozen=True):
    """One row of evidence. `topic`: the event's name in the outbox, if others are to know."""

    type: str
    data: Data
    topic: str | None = None


_VOLATILE: Final = (s.CutoffMoved, s.Exhausted, s.Silent, e.Stated)
_MINOR: Final = (e.TrackChanged, e.PartyChanged, e.Turned)


CUT_OFF: Final = Record("recording.failed", {"role": "", "reason": INTERRUPTED})
"""A recording whose engine died or gave the session up."""


def durable(effect: e.Effect) -> bool:
    """Whether the store must have it before anyone is told."""
    return not isinstance(effect, _VOLATILE)


def droppable(effect: e.Effect) -> bool:
    """Evidence that a client can produce at will: kept up to a bound."""
    return isinstance(effect, _MINOR)


def record(effect: e.Effect, rt: Runtime) -> Record:
    """The evidence of a durable effect."""
    match effect:
        case e.Rang():
            return Record("session.ringing", {"alert": rt.alert}, "session.ringing")
        case e.Answered(device=device):
            return Record("session.answered", {"device": device})
        case e.Began():
            return Record("session.started", {}, "session.started")
        case e.ClockStarted(trigger=trigger, at_ns=at_ns, ordinal=ordinal):
            data: Data = {"trigger": trigger, "clock_at_ns": at_ns, "ordinal": ordinal}
            return Record("meter.started", data, "session.meter_started")
        case e.TrackChanged(role=role, kind=kind, published=published):
            event = "track.published" if published else "track.unpublished"
            return Record(event, {"role": role.value, "kind": kind})
        case e.Turned(one_way=one_way):
            return Record("session.direction", {"direction": direction(one_way=one_way)})
        case e.PartyChanged(role=role, up=up):
            event = "participant.joined" if up else "participant.left"
            return Record(event, {"role": role.value})
        case e.RecordingChanged(state=state, by=by, reason=reason):
            return Record(f"recording.{state}", {"role": by, "reason": reason})
        case e.Measured(summaries=summaries):
            return Record("session.quality", summaries)
        case e.Ended():
            return ended(effect)
        case _:
            return _of_meter(effect, rt)


def ended(ended: e.Ended) -> Record:
    settlement = ended.settlement
    data: Data = {
        "reason": ended.reason,
        "ended_by": ended.ended_by,
        "elapsed_ns": settlement.elapsed_ns,
        "blocks": settlement.blocks,
        "billed_seconds": billed_seconds(settlement),
        "total_minor": settlement.total_minor,
        "fee_minor": settlement.fee_minor,
        "end_at_ns": ended.at_ns,
    }
    return Record("session.ended", data, "session.ended")


def _of_meter(effect: e.Effect, rt: Runtime) -> Record:
    match effect:
        case s.PlaceHold(block=block, attempt=attempt):
            return Record("meter.hold", {"block": block, "attempt": attempt})
        case s.Capture(block=block, blocks=blocks, amount_minor=amount, fee_minor=fee):
            data: Data = {
                "block": block,
                "blocks": blocks,
                "amount_minor": amount,
                "fee_minor": fee,
            }
            return Record("meter.charged", data, "session.block_charged")
        case s.GiveBack(block=block, amount_minor=amount, fee_minor=fee):
            return Record(
                "meter.returned", {"block": block, "amount_minor": amount, "fee_minor": fee}
            )
        case s.Paused(since_ns=since_ns):
            return Record("meter.paused", {"reason": pause_reason(rt), "since_ns": since_ns})
        case s.Resumed(at_ns=at_ns):
            return Record("meter.resumed", {"reason": pause_reason(rt), "at_ns": at_ns})
        case s.LowBalance(left_ns=left_ns, shortfall_minor=shortfall):
            return Record("meter.low_balance", {"left_ns": left_ns, "shortfall_minor": shortfall})
        case _:
            raise TypeError(f"{type(effect).__name__} leaves no evidence")


def pause_reason(rt: Runtime) -> str:
    """Why a clock stands still: what the mode's clock depends on."""
    return "disconnected" if rt.machine.text else "no_media"


def billed_seconds(settlement: s.Settlement) -> int:
    return settlement.billed_ns // 1_000_000_000


def outbox_data(session_id: str, grant: Grant, mode: str, data: Data) -> Data:
    """What the outbox says of a session's event: who and what, and the evidence itself."""
    return {
        "session_id": session_id,
        "order_id": grant.order_id,
        "customer_id": grant.customer_id,
        "expert_id": grant.expert_id,
        "mode": mode,
        "currency": grant.tariff.currency,
    } | data
