"""Sessions that nobody goes on with: settled to the last evidence of service, and ended.

``served = min(what money was set aside for, last checkpoint)``. Within the grace the session is
void. Otherwise exactly the served time is charged: what the engine could not serve of the last
block is not, or is given back if it was captured (override 5). What is left of the session's holds
is released; the order keeps its prepayment.

Each session is settled in a transaction of its own, so that a defect in one leaves the others out
of it: the one is quarantined. It keeps its money as it is until the next start or until staff have
it tried again.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
import structlog
from msgspec import Struct

from engine.clock import Clock
from engine.errors import Unavailable
from engine.metering import signals as s
from engine.metering.funds import Funds, Part
from engine.metering.ledger import HoldPart, Ledger
from engine.session import effects as e
from engine.session import journal, records
from engine.session.abandoned import UNENDED, being_recorded
from engine.session.grants import Grant, GrantProvider
from engine.session.invites import fund_of, is_prepaid
from engine.session.states import EndedBy, Reason, State
from engine.store import tables as t
from engine.store.database import Store, Tx

_log = structlog.get_logger(__name__)

TROUBLE_LENGTH: Final = 200


class Recovered(Struct, frozen=True):
    """A session that was settled: whose it was, and how it came out."""

    session_id: str
    grant: Grant
    ended: e.Ended


class Recovery:
    """Settles what nobody runs any more."""

    def __init__(
        self, store: Store, ledger: Ledger, grants: GrantProvider, clock: Clock, node_id: str
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._grants = grants
        self._clock = clock
        self._node_id = node_id

    async def rescue(
        self, session_id: str, *, epoch: int, served_ns: int, reason: Reason = Reason.FAILED
    ) -> e.Ended | None:
        """Settle a session that this node cannot go on with, from what the store knows of it.

        `epoch`: under which it ran here; a later run of this very node may have taken it up.
        `served_ns`: service seen since the last checkpoint. None if there is nothing to settle.
        """
        async with self._store.transaction() as tx:
            row = await self._claim(tx, session_id, self.run(epoch))
            if row is None:
                return None
            served_ns = max(served_ns, row.served_ns)
            grant = await self._grant(tx, row)
            return await self._conclude(tx, row, grant, reason, served_ns=served_ns)

    def run(self, epoch: int) -> sa.ColumnElement[bool]:
        """That a session is still that of this node's run with this epoch."""
        return sa.and_(t.sessions.c.owner == self._node_id, t.sessions.c.epoch == epoch)

    async def settle(self, session_id: str, where: sa.ColumnElement[bool]) -> Recovered | None:
        """Settle an abandoned session and end it; None if somebody else did.

        Raises `Unavailable`, and whatever a defect of its data raises: see `quarantine`.
        """
        async with self._store.transaction() as tx:
            row = await self._claim(tx, session_id, where)
            if row is None:
                return None
            grant = await self._grant(tx, row)
            reason = _reason(row, grant, self._clock.wall_ms())
            ended = await self._conclude(tx, row, grant, reason, served_ns=row.served_ns)
        return Recovered(session_id, grant, ended)

    async def quarantine(
        self, session_id: str, error: BaseException, where: sa.ColumnElement[bool]
    ) -> None:
        """Leave a session that cannot be settled to the next start, and to staff.

        `where`: by what right it was to be settled; whoever has taken it since keeps it. Logged in
        any case; marked in the store if it can be reached.
        """
        _log.error("session.quarantined", session=session_id, exc_info=error)
        mark = (
            sa.update(t.sessions)
            .where(t.sessions.c.id == session_id, t.sessions.c.state != "ended", where)
            .values(
                quarantined_at_ms=self._clock.wall_ms(),
                trouble=f"{type(error).__name__}: {error}"[:TROUBLE_LENGTH],
                epoch=t.sessions.c.epoch + 1,
                owner=self._node_id,
            )
        )
        try:
            async with self._store.transaction() as tx:
                await tx.execute(mark)
        except Unavailable:
            _log.warning("session.quarantine_not_marked", session=session_id)

    async def quarantined(self) -> int:
        """How many in the store wait for staff, whichever node they were of; it may never come
        back. Raises `Unavailable`.
        """
        query = sa.select(sa.func.count()).where(t.sessions.c.quarantined_at_ms.is_not(None))
        async with self._store.reading() as tx:
            return (await tx.execute(query)).scalar_one()

    async def _grant(self, tx: Tx, row: sa.Row[Any]) -> Grant:
        grant = await self._grants.grant(tx, row.order_id)
        if grant is None:
            raise LookupError(f"order {row.order_id} of session {row.id}")
        return grant

    async def _conclude(
        self, tx: Tx, row: sa.Row[Any], grant: Grant, reason: Reason, *, served_ns: int
    ) -> e.Ended:
        settlement = await self._charge(tx, row, grant, served_ns)
        await journal.release_holds(tx, self._ledger, row.id)
        reason = Reason.VOID if settlement.void else reason
        ended = e.Ended(reason, EndedBy.SYSTEM, self._clock.now_ns(), settlement)
        await self._write_end(tx, row, grant, ended)
        return ended

    async def _claim(
        self, tx: Tx, session_id: str, where: sa.ColumnElement[bool]
    ) -> sa.Row[Any] | None:
        c = t.sessions.c
        claim = (
            sa.update(t.sessions)
            .where(c.id == session_id, c.state.in_(UNENDED), where)
            .values(epoch=c.epoch + 1, owner=self._node_id)
            .returning(t.sessions)
        )
        row: sa.Row[Any] | None = (await tx.execute(claim)).one_or_none()
        return row

    async def _charge(self, tx: Tx, row: sa.Row[Any], grant: Grant, served_ns: int) -> s.Settlement:
        """Capture or give back until exactly the served time is paid."""
        if row.ordinal is None:
            return s.NOTHING
        holds = await self._ledger.open_holds(tx, order_id=grant.order_id)
        mine = [hold for hold in holds if hold.session_id in {None, row.id}]
        mine.sort(key=lambda hold: not is_prepaid(hold))
        funds = Funds(fund_of(hold) for hold in mine)
        tariff = grant.tariff
        funded_minor = row.captured_minor + funds.total_minor
        paid_ns = tariff.affordable_blocks(funded_minor) * tariff.block_ns
        served_ns = min(served_ns, paid_ns)
        if tariff.in_grace(row.ordinal, served_ns) and row.captured_minor == 0:
            return s.Settlement(served_ns, True, 0, 0, 0, 0)
        total_minor = tariff.prorata_minor(served_ns)
        fee_minor = grant.policy.fee_minor(total_minor)
        step_minor = total_minor - row.captured_minor
        fee_step_minor = fee_minor - row.fee_minor
        if step_minor > 0:
            parts = funds.take(step_minor)
            await self._capture(tx, row, grant, parts, fee_minor=fee_step_minor)
        elif step_minor < 0:
            await self._give_back(tx, row, -step_minor, -fee_step_minor)
        blocks = tariff.blocks(served_ns)
        return s.Settlement(served_ns, False, blocks, served_ns, total_minor, fee_minor)

    async def _capture(
        self, tx: Tx, row: sa.Row[Any], grant: Grant, parts: tuple[Part, ...], *, fee_minor: int
    ) -> None:
        await self._ledger.capture(
            tx,
            key=f"session:{row.id}:capture:rest",
            parts=[HoldPart(part.hold_id, part.amount_minor) for part in parts],
            expert_id=grant.expert_id,
            fee_minor=fee_minor,
            order_id=grant.order_id,
            session_id=row.id,
        )

    async def _give_back(self, tx: Tx, row: sa.Row[Any], amount_minor: int, fee_minor: int) -> None:
        await journal.give_back(
            tx,
            self._ledger,
            row.id,
            row.order_id,
            block=row.blocks,
            amount_minor=amount_minor,
            fee_minor=fee_minor,
        )

    async def _write_end(self, tx: Tx, row: sa.Row[Any], grant: Grant, ended: e.Ended) -> None:
        now_ms = self._clock.wall_ms()
        settlement = ended.settlement
        changes = {
            "state": "ended",
            "end_reason": ended.reason,
            "ended_by": ended.ended_by,
            "ended_at_ms": now_ms,
            "served_ns": settlement.elapsed_ns,
            "blocks": settlement.blocks,
            "captured_minor": max(row.captured_minor, settlement.total_minor),
            "fee_minor": max(row.fee_minor, settlement.fee_minor),
            "billed_seconds": records.billed_seconds(settlement),
            "quarantined_at_ms": None,
            "trouble": None,
        }
        await tx.execute(sa.update(t.sessions).where(t.sessions.c.id == row.id).values(changes))
        record = records.ended(ended)
        cut_off = [records.CUT_OFF] if await being_recorded(tx, [row.id]) else []
        query = sa.select(sa.func.max(t.session_events.c.seq)).where(
            t.session_events.c.session_id == row.id
        )
        newest = (await tx.execute(query)).scalar_one() or 0
        for seq, one in enumerate([*cut_off, record], start=newest + 1):
            await journal.add_evidence(
                tx, row.id, seq=seq, record=one, at_ms=now_ms, monotonic_ns=self._clock.now_ns()
            )
        data = records.outbox_data(row.id, grant, row.mode, record.data)
        await journal.add_outbox(tx, "session.ended", row.id, data, at_ms=now_ms)


def _reason(row: sa.Row[Any], grant: Grant, now_ms: int) -> Reason:
    """Why a session that nobody runs has ended."""
    if row.state == State.RINGING:
        rung_out = row.rung_at_ms + round(grant.policy.ring_timeout_s * 1_000) <= now_ms
        return Reason.NO_ANSWER if rung_out else Reason.CANCELED
    return Reason.FAILED if row.state == State.CONNECTING else Reason.SERVER_RESTART
