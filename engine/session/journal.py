"""A session's effects in the store: row, evidence, outbox and money in one transaction.

Effects are written in the order in which they happened. If a transaction fails its effects stay
where they are and are written again, under the same keys and the same numbers: what turns out to
be in the store already, because the failure hid a commit, is not written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from engine.clock import Clock
from engine.errors import Conflict
from engine.metering import signals as s
from engine.metering.funds import Fund, next_slice
from engine.metering.ledger import HoldPart, HoldStatus, Ledger
from engine.session import effects as e
from engine.session import invites, records
from engine.session.grants import Grant
from engine.session.runtime import Entry, Runtime
from engine.session.views import direction
from engine.store import tables as t
from engine.store.database import Store, Tx

Answer = s.HoldGranted | s.HoldRefused

# Made once, with the rows as parameters: to make a statement costs more than to carry it out.
_OWN: Final = sa.and_(
    t.sessions.c.id == sa.bindparam("this_id"),
    t.sessions.c.owner == sa.bindparam("this_owner"),
    t.sessions.c.epoch == sa.bindparam("this_epoch"),
)
_OWN_ROW: Final = sa.update(t.sessions).where(_OWN)
_OWN_LOOK: Final = sa.select(t.sessions.c.id).where(_OWN).with_for_update(read=True)
_EVIDENCE: Final = sa.insert(t.session_events).inline()
_OUTBOX: Final = sa.insert(t.outbox).inline()


class LostOwnership(Exception):
    """Another owner settles this session: this one writes nothing more."""


class Outdated(Exception):
    """What an answer reckoned with has changed in the store: read it again."""


class Journal:
    """`sharers` counts the live sessions that draw on the same wallet."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        node_id: str,
        sharers: Callable[[Grant], int],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._node_id = node_id
        self._sharers = sharers

    async def write(self, rt: Runtime, entries: Sequence[Entry]) -> list[Answer]:
        """Write durable effects; what the ledger answered to requests for holds.

        Raises `Unavailable`, `LostOwnership`, `IntegrityError` when the expert is in another
        session, `Conflict` order_not_open and order_unsettled, `Outdated`.
        """
        answers: list[Answer] = []
        async with self._store.transaction() as tx:
            known_seq = await self._known_seq(tx, rt) if rt.unsure else 0
            if not isinstance(entries[0].effect, e.Rang) or known_seq:
                await self._update_row(tx, rt)
            for entry in entries:
                answer = await self._write_one(tx, rt, entry, known=entry.seq <= known_seq)
                answers += [answer] if answer is not None else []
        rt.asked -= {_hold_key(rt, ask) for ask in _asks(entries)}
        return answers

    async def runs(self, tx: Tx, rt: Runtime) -> bool:
        """Whether the session is still this run's; it stays so until the transaction ends."""
        return (await tx.execute(_OWN_LOOK, self._run(rt))).one_or_none() is not None

    def _run(self, rt: Runtime) -> dict[str, object]:
        return {"this_id": rt.id, "this_owner": self._node_id, "this_epoch": rt.epoch}

    async def _known_seq(self, tx: Tx, rt: Runtime) -> int:
        query = sa.select(sa.func.max(t.session_events.c.seq)).where(
            t.session_events.c.session_id == rt.id
        )
        return (await tx.execute(query)).scalar_one() or 0

    async def _write_one(self, tx: Tx, rt: Runtime, entry: Entry, *, known: bool) -> Answer | None:
        if isinstance(entry.effect, s.PlaceHold):
            return await self._place_hold(tx, rt, entry, entry.effect, known=known)
        if known:
            return None
        match entry.effect:
            case e.Rang():
                await tx.execute(sa.insert(t.sessions).values(self._new_row(rt)))
            case e.Answered():
                await self._require_as_read(tx, rt, entry.effect)
            case e.ClockStarted(ordinal=ordinal):
                await self._count_session(tx, rt, ordinal)
            case s.Capture():
                await self._capture(tx, rt, entry.effect)
            case s.GiveBack():
                await self._give_back(tx, rt, entry.effect)
            case e.Ended():
                await release_holds(tx, self._ledger, rt.id)
        await self._leave_evidence(tx, rt, entry, records.record(entry.effect, rt))
        return None

    # Rows -----------------------------------------------------------------------------------------

    def _new_row(self, rt: Runtime) -> dict[str, object]:
        return {
            "id": rt.id,
            "order_id": rt.grant.order_id,
            "customer_id": rt.grant.customer_id,
            "expert_id": rt.grant.expert_id,
            "mode": rt.machine.mode,
            "rung_at_ms": rt.instants.rung_ms,
            "owner": self._node_id,
            "epoch": rt.epoch,
            **self._columns(rt),
        }

    def _columns(self, rt: Runtime) -> dict[str, object]:
        """The row as a projection of the machine: writing it twice changes nothing."""
        machine, meter = rt.machine, rt.machine.meter
        columns: dict[str, object] = {
            "state": machine.state.value,
            "direction": direction(one_way=machine.one_way),
            "answered_at_ms": rt.instants.answered_ms,
            "started_at_ms": rt.instants.started_ms,
            "metered_at_ms": rt.instants.metered_ms,
            "ended_at_ms": rt.instants.ended_ms,
            "checkpoint_at_ms": self._clock.wall_ms(),
        }
        if meter is not None and meter.started:
            columns |= {
                "ordinal": meter.ordinal,
                "served_ns": rt.proven_ns(self._clock.now_ns()),
                "blocks": meter.captured_blocks,
                "captured_minor": meter.captured_minor,
                "fee_minor": meter.captured_fee_minor,
            }
        if machine.ended is not None:
            settlement = machine.ended.settlement
            columns |= {
                "end_reason": machine.ended.reason,
                "ended_by": machine.ended.ended_by,
                "blocks": settlement.blocks,
                "billed_seconds": records.billed_seconds(settlement),
            }
        return columns

    async def _update_row(self, tx: Tx, rt: Runtime) -> None:
        if (await tx.execute(_OWN_ROW, self._run(rt) | self._columns(rt))).rowcount != 1:
            raise LostOwnership(rt.id)

    async def _leave_evidence(
        self, tx: Tx, rt: Runtime, entry: Entry, record: records.Record
    ) -> None:
        await add_evidence(
            tx,
            rt.id,
            seq=entry.seq,
            record=record,
            at_ms=entry.at_ms,
            monotonic_ns=entry.at_ns,
        )
        if record.topic is not None:
            data = records.outbox_data(rt.id, rt.grant, rt.machine.mode, record.data)
            await add_outbox(tx, record.topic, rt.id, data, at_ms=entry.at_ms)

    async def _require_as_read(self, tx: Tx, rt: Runtime, answered: e.Answered) -> None:
        """The order as the answer reckons with it. Its last session may have been settled by
        another node since it was read; from here on, with this one live, nobody else can.
        """
        grant, order = rt.grant, t.orders.c
        query = sa.select(order.state, order.metered_sessions).where(order.id == grant.order_id)
        row = (await tx.execute(query.with_for_update(key_share=True))).one()
        if row.state != "open":
            raise Conflict("order_not_open", "The order is not open.")
        invites.require_settled(await invites.unsettled(tx, grant.order_id, rt.id))
        funding = await invites.funding(tx, self._ledger, grant)
        read = (answered.holds, answered.metered_sessions)
        if (funding.holds, row.metered_sessions) != read:
            raise Outdated(rt.id)

    async def _count_session(self, tx: Tx, rt: Runtime, ordinal: int) -> None:
        statement = (
            sa.update(t.orders)
            .where(t.orders.c.id == rt.grant.order_id, t.orders.c.metered_sessions == ordinal - 1)
            .values(metered_sessions=ordinal, updated_at_ms=self._clock.wall_ms())
        )
        await tx.execute(statement)

    # Money ----------------------------------------------------------------------------------------

    async def _place_hold(
        self, tx: Tx, rt: Runtime, entry: Entry, ask: s.PlaceHold, *, known: bool
    ) -> Answer | None:
        if rt.machine.ended is not None:
            return None  # whatever it got before is released with the end
        key = _hold_key(rt, ask)
        # A command that failed is taken back, and whoever repeats it asks under the same key, for
        # another amount maybe: whether the store can be reached by then says nothing about it.
        repeated = rt.unsure or key in rt.asked
        rt.asked |= {key}
        answer = await self._stored_hold(tx, rt, key) if repeated else None
        if answer is None:
            answer = await self._new_hold(tx, rt, key, ask)
        if not known:
            record = records.record(ask, rt)
            record.data["granted"] = isinstance(answer, s.HoldGranted)
            if isinstance(answer, s.HoldGranted):
                record.data["amount_minor"] = answer.fund.left_minor
            await self._leave_evidence(tx, rt, entry, record)
        return answer

    async def _new_hold(self, tx: Tx, rt: Runtime, key: str, ask: s.PlaceHold) -> Answer:
        grant = rt.grant
        # The amount of a slice depends on the balance: nobody may change it in between.
        before = await self._wallet(tx, grant, lock=True)
        want = next_slice(
            grant.tariff,
            ask.total_minor,
            wanted_blocks=ask.blocks,
            available_minor=before.available_minor,
            sharers=before.sharers,
        )
        held = await self._ledger.hold(
            tx,
            key=key,
            user_id=grant.customer_id,
            currency=grant.tariff.currency,
            amount_minor=want.amount_minor,
            order_id=grant.order_id,
            session_id=rt.id,
        )
        if held.status is HoldStatus.REFUSED:
            return s.HoldRefused(before)
        left_minor = before.available_minor - (0 if held.replayed else held.amount_minor)
        fund = Fund(held.hold_id, held.amount_minor)
        return s.HoldGranted(fund, s.Wallet(left_minor, before.sharers))

    async def _stored_hold(self, tx: Tx, rt: Runtime, key: str) -> Answer | None:
        """What the ledger answered to this key before, if it was ever asked."""
        row = (await tx.execute(sa.select(t.holds).where(t.holds.c.key == key))).one_or_none()
        if row is None:
            return None
        wallet = await self._wallet(tx, rt.grant)
        if row.state == HoldStatus.REFUSED.value:
            return s.HoldRefused(wallet)
        return s.HoldGranted(Fund(row.id, row.amount_minor), wallet)

    async def _wallet(self, tx: Tx, grant: Grant, *, lock: bool = False) -> s.Wallet:
        view = await self._ledger.wallet(tx, grant.customer_id, grant.tariff.currency, lock=lock)
        return s.Wallet(view.available_minor, self._sharers(grant))

    async def _capture(self, tx: Tx, rt: Runtime, capture: s.Capture) -> None:
        if capture.amount_minor == 0:
            return
        await self._ledger.capture(
            tx,
            key=capture_key(rt.id, capture.block),
            parts=[HoldPart(part.hold_id, part.amount_minor) for part in capture.parts],
            expert_id=rt.grant.expert_id,
            fee_minor=capture.fee_minor,
            order_id=rt.grant.order_id,
            session_id=rt.id,
        )

    async def _give_back(self, tx: Tx, rt: Runtime, back: s.GiveBack) -> None:
        await give_back(
            tx,
            self._ledger,
            rt.id,
            rt.grant.order_id,
            block=back.block,
            amount_minor=back.amount_minor,
            fee_minor=back.fee_minor,
        )


def _asks(entries: Sequence[Entry]) -> list[s.PlaceHold]:
    return [entry.effect for entry in entries if isinstance(entry.effect, s.PlaceHold)]


def _hold_key(rt: Runtime, ask: s.PlaceHold) -> str:
    return f"session:{rt.id}:hold:{ask.block}:{ask.attempt}"


def capture_key(session_id: str, block: int) -> str:
    return f"session:{session_id}:capture:{block}"


async def give_back(
    tx: Tx,
    ledger: Ledger,
    session_id: str,
    order_id: str,
    *,
    block: int,
    amount_minor: int,
    fee_minor: int,
) -> None:
    """Reverse a part of the capture that ended with this block."""
    key = capture_key(session_id, block)
    query = sa.select(t.transfers.c.id).where(t.transfers.c.key == key)
    await ledger.reverse(
        tx,
        key=f"session:{session_id}:unserved",
        transfer_id=(await tx.execute(query)).scalar_one(),
        amount_minor=amount_minor,
        fee_minor=fee_minor,
        reason="unserved part of a block",
        order_id=order_id,
        session_id=session_id,
    )


async def release_holds(tx: Tx, ledger: Ledger, session_id: str) -> None:
    """Whatever the session's own holds still have is the customer's again.

    Looked up in the store: a hold granted without the answer having arrived is among them.
    """
    for hold in await ledger.open_holds(tx, session_id=session_id):
        await ledger.release(tx, key=f"session:{session_id}:settle", hold_id=hold.id)


async def add_evidence(
    tx: Tx,
    session_id: str,
    *,
    seq: int,
    record: records.Record,
    at_ms: int,
    monotonic_ns: int,
) -> None:
    row = {
        "session_id": session_id,
        "seq": seq,
        "type": record.type,
        "at_ms": at_ms,
        "monotonic_ns": monotonic_ns,
        "data": record.data,
    }
    await tx.execute(_EVIDENCE, row)


async def add_outbox(
    tx: Tx, topic: str, session_id: str, data: dict[str, Any], *, at_ms: int
) -> None:
    row = {"type": topic, "subject_id": session_id, "actor": "engine", "data": data, "at_ms": at_ms}
    await tx.execute(_OUTBOX, row)
