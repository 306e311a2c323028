"""Sessions as their parties see them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media.interface import Role
from engine.metering.meter import Meter
from engine.metering.signals import Settlement
from engine.metering.tariff import Tariff
from engine.session.effects import Ended
from engine.session.grants import Grant
from engine.session.ports import LiveSessionView, ReceiptUrl
from engine.session.quality import Hop
from engine.session.runtime import Runtime
from engine.session.states import State
from engine.signaling.messages import (
    HopFigures,
    LinkQuality,
    MeterView,
    Party,
    RecordingView,
    SessionSummary,
    Snapshot,
)


def meter_view(rt: Runtime, role: Role, now_ns: int) -> MeterView:
    """A statement of the meter for one party."""
    meter, tariff = rt.machine.meter, rt.grant.tariff
    if meter is None or not meter.started or rt.machine.ended is not None:
        return _still_view(rt, role, now_ns)
    elapsed_ns = meter.elapsed_ns(now_ns)
    grace = meter.in_grace(now_ns)
    due_minor = meter.due_minor(now_ns)
    blocks = 0 if grace else tariff.blocks(elapsed_ns)
    next_ns = tariff.grace_ns if grace else blocks * tariff.block_ns
    view = MeterView(
        state="paused" if meter.paused else "grace" if grace else "running",
        elapsed_ms=elapsed_ns // NS_PER_MS,
        charged_minor=due_minor,
        billed_blocks=blocks,
        currency=tariff.currency,
        block_seconds=tariff.block_seconds,
        price_minor=tariff.price_minor,
        per_seconds=tariff.per_seconds,
        seconds_left=meter.left_ns(now_ns) / NS_PER_S,
        next_charge_in_ms=(next_ns - elapsed_ns) // NS_PER_MS,
        grace_left_ms=(tariff.grace_ns - elapsed_ns) // NS_PER_MS if grace else None,
    )
    return _for_role(view, rt, meter, role)


def _still_view(rt: Runtime, role: Role, now_ns: int) -> MeterView:
    """Before the clock runs and after it stopped."""
    machine, tariff = rt.machine, rt.grant.tariff
    ended = machine.ended
    state = "ended" if ended else "armed" if machine.state is State.IN_PROGRESS else "idle"
    view = MeterView(
        state=state,
        elapsed_ms=ended.settlement.elapsed_ns // NS_PER_MS if ended else 0,
        charged_minor=ended.settlement.total_minor if ended else 0,
        billed_blocks=ended.settlement.blocks if ended else 0,
        currency=tariff.currency,
        block_seconds=tariff.block_seconds,
        price_minor=tariff.price_minor,
        per_seconds=tariff.per_seconds,
    )
    meter = machine.meter
    if ended is None and meter is not None:
        view.seconds_left = meter.left_ns(now_ns) / NS_PER_S
    return _for_role(view, rt, meter, role)


def _for_role(view: MeterView, rt: Runtime, meter: Meter | None, role: Role) -> MeterView:
    if role is Role.EXPERT:
        policy = rt.grant.policy
        view.earned_minor = view.charged_minor - policy.fee_minor(view.charged_minor)
        view.commission_bps = policy.commission_bps
    elif meter is not None:
        view.balance_minor = meter.wallet.available_minor
    return view


def party(rt: Runtime, role: Role) -> Party:
    grant = rt.grant
    name = grant.customer_name if role is Role.CUSTOMER else grant.expert_name
    audio, video = rt.machine.tracks[role]
    return Party(grant.user_of(role), name, bool(rt.devices[role]), audio, video)


def recording(rt: Runtime, *, recordable: bool) -> RecordingView:
    consent = rt.machine.recording
    by = consent.by.value if consent.by else None
    return RecordingView(recordable, consent.state.value, by, consent.reason or None)


def snapshot(
    rt: Runtime, role: Role, now_ns: int, receipt_url: ReceiptUrl, *, recordable: bool
) -> Snapshot:
    machine, grant = rt.machine, rt.grant
    return Snapshot(
        session_id=rt.id,
        order_id=grant.order_id,
        conversation_id=grant.conversation_id,
        title=grant.title,
        role=role.value,
        mode=machine.mode,
        direction=direction(one_way=machine.one_way),
        state=machine.state.value,
        customer=party(rt, Role.CUSTOMER),
        expert=party(rt, Role.EXPERT),
        meter=meter_view(rt, role, now_ns),
        last_seq=rt.logs[role].last_seq,
        ring_expires_in_ms=None if machine.ring_expires_ns is None else rt.ring_left_ms(now_ns),
        summary=summary(rt.id, grant, machine.ended, role, receipt_url),
        recording=recording(rt, recordable=recordable),
    )


def direction(*, one_way: bool) -> str:
    return "one_way" if one_way else "two_way"


def summary(
    session_id: str, grant: Grant, ended: Ended | None, role: Role, receipt_url: ReceiptUrl
) -> SessionSummary | None:
    """How it ended; None while it has not."""
    if ended is None:
        return None
    settlement = ended.settlement
    earned_minor = settlement.total_minor - settlement.fee_minor
    return SessionSummary(
        reason=ended.reason,
        ended_by=ended.ended_by,
        billed_seconds=settlement.billed_ns // NS_PER_S,
        blocks=settlement.blocks,
        total_minor=settlement.total_minor,
        currency=grant.tariff.currency,
        receipt_url=receipt_url(grant.user_of(role), session_id),
        can_review=role is Role.CUSTOMER and settlement.blocks > 0,
        earned_minor=earned_minor if role is Role.EXPERT else None,
    )


def ended_of_row(row: sa.Row[Any], total_minor: int, fee_minor: int) -> Ended:
    """The end of a session that this process does not remember, from its row and the ledger."""
    settlement = Settlement(
        elapsed_ns=row.served_ns,
        void=row.end_reason == "void",
        blocks=row.blocks,
        billed_ns=row.billed_seconds * NS_PER_S,
        total_minor=total_minor,
        fee_minor=fee_minor,
    )
    return Ended(row.end_reason, row.ended_by, 0, settlement)


def snapshot_of_row(
    row: sa.Row[Any], grant: Grant, ended: Ended, role: Role, receipt_url: ReceiptUrl
) -> Snapshot:
    """The snapshot of an ended session from the store alone."""
    total_minor = ended.settlement.total_minor
    return Snapshot(
        session_id=row.id,
        order_id=grant.order_id,
        conversation_id=grant.conversation_id,
        title=grant.title,
        role=role.value,
        mode=row.mode,
        direction=row.direction,
        state=State.ENDED.value,
        customer=Party(grant.customer_id, grant.customer_name),
        expert=Party(grant.expert_id, grant.expert_name),
        meter=_ended_view(grant.tariff, ended, total_minor),
        last_seq=0,
        ring_expires_in_ms=None,
        summary=summary(row.id, grant, ended, role, receipt_url),
        recording=RecordingView(possible=False, state="off"),
    )


def _ended_view(tariff: Tariff, ended: Ended, total_minor: int) -> MeterView:
    return MeterView(
        state="ended",
        elapsed_ms=ended.settlement.elapsed_ns // NS_PER_MS,
        charged_minor=total_minor,
        billed_blocks=ended.settlement.blocks,
        currency=tariff.currency,
        block_seconds=tariff.block_seconds,
        price_minor=tariff.price_minor,
        per_seconds=tariff.per_seconds,
    )


def link_quality(rt: Runtime, of: Role, told: Role) -> LinkQuality:
    """The connection of one party as `told` may know it: in a one-way call not what the customer
    sends, for the expert is to notice nothing of it.
    """
    party = rt.quality[of]
    figures = party.latest
    if figures is None:
        return LinkQuality(party.level.value)
    hidden = rt.machine.one_way and of is Role.CUSTOMER and told is Role.EXPERT
    return LinkQuality(
        level=party.level.value,
        up=None if hidden else _hop(figures.up),
        down=_hop(figures.down),
        rtt_ms=_rounded(figures.rtt_ms, 0),
        freezes=figures.freezes,
        frozen_ms=figures.frozen_ms,
    )


def _hop(hop: Hop) -> HopFigures:
    return HopFigures(hop.bitrate_bps, _rounded(hop.loss, 4), _rounded(hop.jitter_ms, 1))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def live_view(rt: Runtime, now_ns: int) -> LiveSessionView:
    meter, grant = rt.machine.meter, rt.grant
    metered = meter is not None and meter.started
    return LiveSessionView(
        session_id=rt.id,
        order_id=grant.order_id,
        title=grant.title,
        customer_id=grant.customer_id,
        customer_name=grant.customer_name,
        expert_id=grant.expert_id,
        expert_name=grant.expert_name,
        mode=rt.machine.mode,
        state=rt.state.value,
        since_ms=rt.instants.rung_ms,
        elapsed_ms=meter.elapsed_ns(now_ns) // NS_PER_MS if meter and metered else None,
        charged_minor=meter.due_minor(now_ns) if meter and metered else 0,
        currency=grant.tariff.currency,
    )
