"""Sessions that nobody runs any more: found, and claimed with all that it takes to go on with them.

Raising the epoch claims a session: whoever ran it before can write nothing more. Those that may go
on are claimed many at a time, with a handful of statements for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.metering.ledger import HoldState
from engine.session.grants import Grant, GrantProvider
from engine.session.states import LIVE, State
from engine.store import tables as t
from engine.store.database import Store, Tx

UNENDED: Final = (State.RINGING.value, *(state.value for state in LIVE))
_AT_ONCE: Final = 10_000


class OpenHold(Struct, frozen=True):
    """What is left of a hold; `session_id` None: the order's prepayment."""

    hold_id: str
    session_id: str | None
    left_minor: int


class Found(Struct, frozen=True):
    """An abandoned session; `resumable`: both parties may come back to it."""

    session_id: str
    resumable: bool
    checkpoint_at_ms: int


class Claimed(Struct, frozen=True):
    """A session that is this node's now, as the store knows it.

    `holds` are its own and the order's; `evidence_seq` is the newest of its evidence;
    `counted_messages` are the customer's; `recorded`: whether it was being recorded.
    """

    row: sa.Row[Any]
    grant: Grant
    holds: tuple[OpenHold, ...]
    available_minor: int
    evidence_seq: int
    counted_messages: int
    recorded: bool


class Abandoned:
    """`resume_within_s`: a session whose last sign of life is older is not gone on with."""

    def __init__(
        self,
        store: Store,
        grants: GrantProvider,
        clock: Clock,
        node_id: str,
        *,
        resume_within_s: float,
        stale_after_s: float,
    ) -> None:
        self._store = store
        self._grants = grants
        self._clock = clock
        self._node_id = node_id
        self._resume_within_ms = round(resume_within_s * 1_000)
        self._stale_after_ns = round(stale_after_s * NS_PER_S)
        self._looking_since_ns: int | None = None
        self._unmoved: dict[str, tuple[int, int]] = {}
        """Suspects: their last checkpoint, and since when this node has seen no later one."""

    async def of_earlier_run(self, running: Container[str]) -> list[Found]:
        """What an earlier run of this node left; the quarantined are tried again. Raises
        store_unavailable.
        """
        return await self._find(self.owned(), running)

    def owned(self) -> sa.ColumnElement[bool]:
        return t.sessions.c.owner == self._node_id

    async def stale(self, running: Container[str]) -> list[Found]:
        """What any node left: no checkpoint for that long. Raises store_unavailable.

        Nodes' wall clocks may differ, or step: they only make a suspect, which is abandoned once
        this node has watched it by its monotonic clock for half of the time, unmoved.
        """
        now_ns, half_ns = self._clock.now_ns(), self._stale_after_ns // 2
        if self._looking_since_ns is None:
            self._looking_since_ns = now_ns
        suspects = await self._find(self._suspect(half_ns // NS_PER_MS), running)
        before, self._unmoved = self._unmoved, {}
        for one in suspects:
            seen_ms, since_ns = before.get(one.session_id, (None, now_ns))
            unmoved = seen_ms == one.checkpoint_at_ms
            self._unmoved[one.session_id] = (one.checkpoint_at_ms, since_ns if unmoved else now_ns)
        if now_ns - self._looking_since_ns < self._stale_after_ns:
            return []
        return [one for one in suspects if now_ns - self._unmoved[one.session_id][1] >= half_ns]

    def lose_sight(self) -> None:
        """The store did not answer. When it comes back, every node first gets to write its own
        checkpoint: nothing is called stale before this one has looked on for the whole time.
        """
        self._looking_since_ns = None
        self._unmoved = {}

    def _suspect(self, age_ms: int) -> sa.ColumnElement[bool]:
        c, now_ms = t.sessions.c, self._clock.wall_ms()
        fresh = c.checkpoint_at_ms.between(now_ms - age_ms, now_ms + age_ms)
        return sa.and_(sa.not_(fresh), c.quarantined_at_ms.is_(None))

    def unmoved(self, found: Collection[Found]) -> sa.ColumnElement[bool]:
        """That nobody gave a sign of life for them since they were found."""
        seen = [(one.session_id, one.checkpoint_at_ms) for one in found]
        c = t.sessions.c
        return sa.and_(sa.tuple_(c.id, c.checkpoint_at_ms).in_(seen), c.quarantined_at_ms.is_(None))

    async def _find(self, where: sa.ColumnElement[bool], running: Container[str]) -> list[Found]:
        """Those that do not run here, the longest abandoned first. Raises store_unavailable."""
        c = t.sessions.c
        query = (
            sa.select(c.id, c.state, c.checkpoint_at_ms, c.quarantined_at_ms)
            .where(c.state.in_(UNENDED), where)
            .order_by(c.checkpoint_at_ms, c.id)
            .limit(_AT_ONCE)
        )
        async with self._store.reading() as tx:
            rows = (await tx.execute(query)).all()
        return [
            Found(row.id, self._resumable(row), row.checkpoint_at_ms)
            for row in rows
            if row.id not in running
        ]

    def _resumable(self, row: Any) -> bool:
        fresh = self._clock.wall_ms() - row.checkpoint_at_ms <= self._resume_within_ms
        return fresh and row.state in LIVE and row.quarantined_at_ms is None

    async def claim(
        self, tx: Tx, session_ids: Sequence[str], where: sa.ColumnElement[bool]
    ) -> list[Claimed]:
        """Claim those of them that are still abandoned, and note it in their evidence."""
        c, now_ms = t.sessions.c, self._clock.wall_ms()
        claim = (
            sa.update(t.sessions)
            .where(c.id.in_(session_ids), c.state.in_(UNENDED), where)
            .values(epoch=c.epoch + 1, owner=self._node_id, checkpoint_at_ms=now_ms)
            .returning(t.sessions)
        )
        rows = (await tx.execute(claim)).all()
        if not rows:
            return []
        claimed = await self._surroundings(tx, rows)
        await self._note(tx, claimed, now_ms)
        return claimed

    async def _surroundings(self, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[Claimed]:
        orders, ids = [row.order_id for row in rows], [row.id for row in rows]
        grants = await self._grants.grants(tx, orders)
        missing = [row.id for row in rows if row.order_id not in grants]
        if missing:
            raise LookupError(f"no order of session {missing[0]}")
        holds = await _open_holds(tx, orders)
        available = await _available(tx, {grant.customer_id for grant in grants.values()})
        newest = await _newest_evidence(tx, ids)
        counted = await messages_of_customers(tx, ids)
        recorded = await being_recorded(tx, ids)
        claimed = []
        for row in rows:
            grant = grants[row.order_id]
            wallet = (grant.customer_id, grant.tariff.currency)
            its = [one for one in holds[row.order_id] if one.session_id in {None, row.id}]
            its.sort(key=lambda one: one.session_id is not None)
            claimed.append(
                Claimed(
                    row,
                    grant,
                    tuple(its),
                    available.get(wallet, 0),
                    newest.get(row.id, 0) + 1,
                    counted.get(row.id, 0),
                    row.id in recorded,
                )
            )
        return claimed

    async def _note(self, tx: Tx, claimed: Iterable[Claimed], now_ms: int) -> None:
        now_ns = self._clock.now_ns()
        evidence = [
            {
                "session_id": one.row.id,
                "seq": one.evidence_seq,
                "type": "session.suspended",
                "at_ms": now_ms,
                "monotonic_ns": now_ns,
                "data": {
                    "epoch": one.row.epoch,
                    "owner": self._node_id,
                    "served_seconds": one.row.served_ns // NS_PER_S,
                },
            }
            for one in claimed
        ]
        await tx.execute(sa.insert(t.session_events), evidence)


async def _open_holds(tx: Tx, order_ids: Sequence[str]) -> dict[str, list[OpenHold]]:
    """By order, oldest first."""
    h = t.holds.c
    left = h.amount_minor - h.captured_minor - h.released_minor
    query = (
        sa.select(h.id, h.order_id, h.session_id, left.label("left_minor"))
        .where(h.order_id.in_(order_ids), h.state == HoldState.GRANTED.value)
        .order_by(h.created_at_ms, h.id)
    )
    holds: dict[str, list[OpenHold]] = defaultdict(list)
    for row in await tx.execute(query):
        holds[row.order_id].append(OpenHold(row.id, row.session_id, row.left_minor))
    return holds


async def _available(tx: Tx, user_ids: Iterable[str]) -> dict[tuple[str, str], int]:
    a = t.accounts.c
    query = sa.select(a.owner_id, a.currency, a.balance_minor - a.held_minor).where(
        a.kind == "wallet", a.owner_id.in_(list(user_ids))
    )
    return {(owner, currency): free for owner, currency, free in await tx.execute(query)}


async def _newest_evidence(tx: Tx, session_ids: Sequence[str]) -> dict[str, int]:
    e = t.session_events.c
    query = sa.select(e.session_id, sa.func.max(e.seq)).where(e.session_id.in_(session_ids))
    found = await tx.execute(query.group_by(e.session_id))
    return {row[0]: row[1] for row in found}


async def messages_of_customers(tx: Tx, session_ids: Sequence[str]) -> dict[str, int]:
    """The customers' messages in each session."""
    m, c = t.messages.c, t.sessions.c
    query = (
        sa.select(m.session_id, sa.func.count())
        .join(t.sessions, sa.and_(c.id == m.session_id, c.customer_id == m.author_id))
        .where(m.session_id.in_(session_ids))
        .group_by(m.session_id)
    )
    return {row[0]: row[1] for row in await tx.execute(query)}


async def being_recorded(tx: Tx, session_ids: Sequence[str]) -> set[str]:
    """Those of them whose evidence has the beginning of a recording and not its end."""
    e = t.session_events.c
    newest = (
        sa.select(e.session_id, sa.func.max(e.seq).label("seq"))
        .where(e.session_id.in_(session_ids), e.type.like("recording.%"))
        .group_by(e.session_id)
        .subquery()
    )
    same = sa.and_(newest.c.session_id == e.session_id, newest.c.seq == e.seq)
    query = sa.select(e.session_id).join(newest, same).where(e.type == "recording.recording")
    return set((await tx.execute(query)).scalars())
