"""Thousands of running sessions in this process: the real service, ledger and SQLite store, with
scripted media and nobody at the other end of the sockets.

The sessions are written into the store as if an engine had died with them; the service takes them
over, and each is then brought back to running.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from engine.clock import NS_PER_S, SystemClock
from engine.collector import Collector
from engine.media.interface import Delivery, FirstFrame, MediaKind
from engine.metering.ledger import Ledger
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.session.grants import StoreGrants
from engine.session.ports import SessionSettings
from engine.session.service import SessionService
from engine.store import tables as t
from engine.store.database import Store
from tests.support.fake_media import FakeMediaWorker

NODE, PLATFORM = "bench", "platform"
BLOCK_S = 900
TARIFF = Tariff(
    currency="EUR",
    price_minor=900,
    per_seconds=BLOCK_S,
    block_seconds=BLOCK_S,
    prepaid_seconds=BLOCK_S,
    grace_seconds=0,
)
POLICY = Policy(commission_bps=1_500, reconnect_window_s=600, low_balance_s=())
_ROWS = 1_000


class _Nobody:
    """Implements `Outbound` and `PresenceView`."""

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None:
        pass

    async def to_device(self, device: str, event: str, payload: dict[str, object]) -> None:
        pass

    def is_online(self, user_id: str) -> bool:
        return True

    async def chosen_status(self, expert_id: str) -> str:
        return "available"

    async def refresh(self, expert_id: str) -> None:
        pass


class ManySessions:
    """`count` sessions of one mode, each in its first block; no wallet has money for another."""

    def __init__(self, directory: Path, count: int, mode: str) -> None:
        self.clock = SystemClock()
        self.store = Store(f"sqlite:///{directory / 'bench.db'}", self.clock)
        self.ledger = Ledger(self.clock)
        self.media = FakeMediaWorker(capacity=count)
        self.ids = [f"ses_{number}" for number in range(count)]
        self._mode = mode
        nobody = _Nobody()
        self.service = SessionService(
            store=self.store,
            ledger=self.ledger,
            media=self.media,
            clock=self.clock,
            grants=StoreGrants(),
            node_id=NODE,
            settings=SessionSettings(),
        )
        self.service.connect(nobody, nobody)

    async def abandon(self, left_s: float, spread_s: float) -> None:
        """Write them into a new store. The n-th has `left_s` and its part of `spread_s` left."""
        await self.store.migrate()
        async with self.store.transaction() as tx:
            for table, rows in self._rows(left_s, spread_s).items():
                for first in range(0, len(rows), _ROWS):
                    await tx.execute(sa.insert(table), rows[first : first + _ROWS])

    def _rows(self, left_s: float, spread_s: float) -> dict[sa.Table, list[dict[str, Any]]]:
        now_ms, count = self.clock.wall_ms(), len(self.ids)
        rows: dict[sa.Table, list[dict[str, Any]]] = {
            table: []
            for table in (
                t.users,
                t.orders,
                t.conversations,
                t.accounts,
                t.sessions,
                t.transfers,
                t.entries,
            )
        }
        rows[t.accounts].append(_account("fees", PLATFORM, None, now_ms))
        for number, session_id in enumerate(self.ids):
            served_s = BLOCK_S - left_s - spread_s * number / count
            for table, values in _of_session(number, session_id, self._mode, served_s, now_ms):
                rows[table].append(values)
        return rows

    async def take_over(self) -> None:
        """The service starts and takes all of them over."""
        await self.service.start()
        assert len(self.service.live_sessions()) == len(self.ids), "not all were taken over"

    async def resume(self) -> None:
        """Both parties of each come back; returns when every clock runs."""
        for number, session_id in enumerate(self.ids):
            if self._mode == "text":
                for user in (f"cust_{number}", f"exp_{number}"):
                    await self.service.join(user, f"{user}:1", session_id, 0)
            else:
                now_ns = self.clock.now_ns()
                self.media.emit(FirstFrame(session_id, MediaKind.AUDIO, now_ns, now_ns))
        await self.service.settled()

    async def acknowledge(self) -> None:
        """Until cancelled: every call's media are acknowledged once a second.

        Stamped with the instant at which it was due, as by a media worker, whose clock does not
        wait for this loop: on a busy machine the news is late, and no call falls silent.
        """
        slices = [self.ids[first::100] for first in range(100)]
        at_ns = self.clock.now_ns()
        while True:
            for part in slices:
                for session_id in part:
                    self.media.emit(Delivery(session_id, at_ns))
                at_ns += NS_PER_S // 100
                await asyncio.sleep(max(0, at_ns - self.clock.now_ns()) / NS_PER_S)


def _of_session(
    number: int, session_id: str, mode: str, served_s: float, now_ms: int
) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
    """Rows of one session in its first block, which was captured; the wallet is empty."""
    customer, expert, order = f"cust_{number}", f"exp_{number}", f"ord_{number}"
    for user in (customer, expert):
        yield (
            t.users,
            {
                "id": user,
                "email": f"{user}@bench.talktime.test",
                "display_name": user,
                "password_hash": "-",
                "roles": ["member"],
                "created_at_ms": now_ms,
            },
        )
    yield (
        t.orders,
        {
            "id": order,
            "number": order,
            "customer_id": customer,
            "expert_id": expert,
            "title": "Bench",
            "fulfilment": "live",
            "mode": mode,
            "tariff": msgspec.to_builtins(TARIFF),
            "policy": msgspec.to_builtins(POLICY),
            "currency": TARIFF.currency,
            "prepay_minor": TARIFF.prepay_minor(),
            "state": "open",
            "metered_sessions": 1,
            "created_at_ms": now_ms,
            "updated_at_ms": now_ms,
        },
    )
    yield (
        t.conversations,
        {"id": f"con_{number}", "kind": "order", "order_id": order, "created_at_ms": now_ms},
    )
    total, fee = TARIFF.due_minor(1), POLICY.fee_minor(TARIFF.due_minor(1))
    for kind, owner, balance in (("wallet", customer, 0), ("earnings", expert, total - fee)):
        yield t.accounts, _account(kind, owner, balance, now_ms)
    yield (
        t.transfers,
        {
            "id": f"trf_{number}",
            "key": f"session:{session_id}:capture:1",
            "request_hash": "-",
            "kind": "capture",
            "currency": TARIFF.currency,
            "amount_minor": total,
            "fee_minor": fee,
            "order_id": order,
            "session_id": session_id,
            "created_at_ms": now_ms,
        },
    )
    for owner, amount in ((customer, -total), (expert, total - fee), (PLATFORM, fee)):
        yield (
            t.entries,
            {"transfer_id": f"trf_{number}", "account_id": f"acc_{owner}", "amount_minor": amount},
        )
    yield (
        t.sessions,
        {
            "id": session_id,
            "order_id": order,
            "customer_id": customer,
            "expert_id": expert,
            "mode": mode,
            "direction": "two_way",
            "state": "in_progress",
            "ordinal": 1,
            "rung_at_ms": now_ms,
            "answered_at_ms": now_ms,
            "started_at_ms": now_ms,
            "metered_at_ms": now_ms,
            "served_ns": round(served_s * NS_PER_S),
            "blocks": 1,
            "captured_minor": TARIFF.due_minor(1),
            "fee_minor": POLICY.fee_minor(TARIFF.due_minor(1)),
            "owner": NODE,
            "checkpoint_at_ms": now_ms,
        },
    )


def _account(kind: str, owner: str, balance: int | None, now_ms: int) -> dict[str, Any]:
    return {
        "id": f"acc_{owner}",
        "kind": kind,
        "owner_id": owner,
        "currency": TARIFF.currency,
        "balance_minor": balance,
        "created_at_ms": now_ms,
    }


@contextlib.asynccontextmanager
async def many_sessions(
    directory: Path, count: int, mode: str, *, left_s: float, spread_s: float = 0
) -> AsyncIterator[ManySessions]:
    """Abandoned in the store; not yet taken over. Stopped at the end of the block."""
    many = ManySessions(directory, count, mode)
    collector = Collector(many.clock)
    try:
        await many.abandon(left_s, spread_s)
        collector.start()  # as the engine's own process does
        yield many
    finally:
        collector.stop()
        await many.service.stop()
        await many.store.close()
