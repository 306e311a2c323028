"""The audit's prices in SQL agree with the tariff's own arithmetic, to the unit, at every bound."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from engine.audit import audit
from engine.clock import NS_PER_S
from engine.metering.ledger.price_checks import PRICES
from engine.metering.money import BASIS_POINTS, MAX_AMOUNT_MINOR
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.store import tables as t
from engine.store.database import Store
from tests.support.corrupt import unlock

DAY_S = 86_400
SESSIONS = 400
_USER = {"display_name": "x", "password_hash": "x", "roles": [], "created_at_ms": 0}


def _tariff(dice: random.Random) -> Tariff:
    """Cheap and dear ones, odd periods, and the dearest that there can be."""
    while True:
        try:
            return Tariff(
                currency="TRY",
                price_minor=min(MAX_AMOUNT_MINOR, round(10 ** dice.uniform(0, 12.2))),
                per_seconds=dice.choice([1, 7, 60, 900, 3_600, DAY_S]),
                block_seconds=dice.choice([1, 13, 60, 900, DAY_S]),
                prepaid_seconds=0,
                grace_seconds=dice.choice([0, 1, 60]),
                grace_sessions=dice.choice([0, 1, 2]),
            )
        except ValueError:
            continue


def _served_ns(dice: random.Random, tariff: Tariff) -> int:
    """Anything, and the instants around a boundary."""
    if dice.random() < 0.4:
        boundary_ns = dice.choice([tariff.grace_ns, tariff.block_ns * dice.randrange(1, 5)])
        return max(0, boundary_ns + dice.choice([-1, 0, 1]))
    return dice.choice([0, 1, dice.randrange(31 * DAY_S * NS_PER_S), 31 * DAY_S * NS_PER_S])


def _endings() -> Iterator[tuple[str, str, bool]]:
    """Reason, by whom, and whether the engine was to blame."""
    while True:
        yield from [
            ("completed", "customer", False),
            ("terminated", "staff", False),
            ("terminated", "system", True),
            ("server_restart", "system", True),
            ("failed", "system", True),
            ("insufficient_funds", "system", False),
            ("disconnected", "system", False),
        ]


class _Books:
    """Sessions with what they cost by the tariff, each of an order of its own."""

    def __init__(self, dice: random.Random) -> None:
        self.orders: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []
        for number, ending in zip(range(SESSIONS), _endings(), strict=False):
            self._add(dice, f"{number}", *ending)

    def _add(self, dice: random.Random, name: str, reason: str, ended_by: str, fault: bool) -> None:
        tariff, policy = _tariff(dice), Policy(commission_bps=dice.choice([0, 1, 1_234, 10_000]))
        served_ns, ordinal = _served_ns(dice, tariff), dice.choice([1, 2, 3])
        void = tariff.in_grace(ordinal, served_ns)
        blocks = tariff.due_minor(tariff.blocks(served_ns))
        total = tariff.prorata_minor(served_ns) if fault else blocks
        self._order(name, tariff, policy)
        self.sessions.append(
            {
                "id": f"ses_{name}",
                "order_id": f"ord_{name}",
                "customer_id": "ann",
                "expert_id": "eva",
                "mode": "video",
                "direction": "one_way",
                "state": "ended",
                "end_reason": "void" if void else reason,
                "ended_by": ended_by,
                "ordinal": ordinal,
                "metered_at_ms": 1,
                "rung_at_ms": 0,
                "owner": "node",
                "checkpoint_at_ms": 0,
                "served_ns": served_ns,
            }
        )
        if not void:
            captured = max(blocks, total) if fault else total
            fee, kept = policy.fee_minor(captured), policy.fee_minor(total)
            self._transfer(name, f"session:ses_{name}:capture:1", "capture", captured, fee)
            back, fee_back = captured - total, fee - kept
            self._transfer(name, f"session:ses_{name}:unserved", "reverse", back, fee_back)
            # What staff decide is none of the tariff's business.
            self._transfer(name, f"order:ord_{name}:refund:1", "reverse", total // 2, kept // 2)

    def _order(self, name: str, tariff: Tariff, policy: Policy) -> None:
        snapshot = msgspec.to_builtins(tariff)
        if tariff.grace_sessions == 1:  # as in orders from before there was a choice
            del snapshot["grace_sessions"]
        self.orders.append(
            {
                "id": f"ord_{name}",
                "number": name,
                "customer_id": "ann",
                "expert_id": "eva",
                "title": "x",
                "fulfilment": "live",
                "mode": "video",
                "tariff": snapshot,
                "policy": msgspec.to_builtins(policy),
                "currency": "TRY",
                "prepay_minor": 0,
                "state": "open",
                "created_at_ms": 0,
                "updated_at_ms": 0,
            }
        )

    def _transfer(self, name: str, key: str, kind: str, amount: int, fee: int) -> None:
        self.transfers.append(
            {
                "id": f"tr_{len(self.transfers)}",
                "key": key,
                "request_hash": "",
                "kind": kind,
                "currency": "TRY",
                "amount_minor": amount,
                "fee_minor": fee,
                "order_id": f"ord_{name}",
                "session_id": f"ses_{name}",
                "created_at_ms": 0,
            }
        )

    @property
    def charged(self) -> str:
        """A session that was paid by the block."""
        return next(row["id"] for row in self.sessions if row["end_reason"] == "completed")

    async def write(self, store: Store) -> None:
        async with store.transaction() as tx:
            people = [{**_USER, "id": name, "email": name} for name in ("ann", "eva")]
            await tx.execute(sa.insert(t.users), people)
            await tx.execute(sa.insert(t.orders), self.orders)
            await tx.execute(sa.insert(t.sessions), self.sessions)
            await tx.execute(sa.insert(t.transfers), self.transfers)


@pytest.fixture
async def books(any_store: Store) -> _Books:
    books = _Books(random.Random(7))
    await books.write(any_store)
    return books


async def test_what_the_tariff_charges_is_what_the_audit_expects(
    any_store: Store, books: _Books
) -> None:
    report = await audit(any_store, PRICES)
    assert report.ok, report.checks
    assert report.checks[0].examined > SESSIONS // 2


async def test_one_unit_more_is_named_for_each(any_store: Store, books: _Books) -> None:
    c = t.transfers.c
    async with any_store.transaction() as tx:
        await unlock(tx)
        more = sa.update(t.transfers).where(c.kind == "capture")
        await tx.execute(more.values(amount_minor=c.amount_minor + 1))
    price, grace, _ = (await audit(any_store, PRICES)).checks
    paid = sum(row["kind"] == "capture" for row in books.transfers)
    assert (price.count, grace.count) == (paid, 0)
    assert "with a fee of" in price.differences[0].expected


async def test_another_fee_is_named_for_each(any_store: Store, books: _Books) -> None:
    c = t.transfers.c
    async with any_store.transaction() as tx:
        await unlock(tx)
        less = sa.update(t.transfers).where(c.kind == "capture", c.fee_minor > 0)
        fewer = (await tx.execute(less.values(fee_minor=c.fee_minor - 1))).rowcount
    assert (await audit(any_store, PRICES)).checks[0].count == fewer > 0


async def test_what_has_no_price_is_named(any_store: Store, books: _Books) -> None:
    """However wrong the snapshot, the audit says so and goes on."""
    served = [row for row in books.sessions if row["served_ns"] and row["end_reason"] != "void"]
    broken = [
        "null",
        "[]",
        '"x"',
        "{}",
        '{"price_minor": "100", "per_seconds": 60, "block_seconds": 60}',
        '{"price_minor": 1e400, "per_seconds": 60, "block_seconds": 60}',
        '{"price_minor": 100, "per_seconds": 0, "block_seconds": 60}',
        '{"price_minor": 100, "per_seconds": 60, "block_seconds": 0}',
        '{"price_minor": 999999999999999999999, "per_seconds": 60, "block_seconds": 60}',
        '{"price_minor": -100, "per_seconds": 60, "block_seconds": 60}',
    ]
    async with any_store.transaction() as tx:
        statement = sa.text("UPDATE orders SET tariff = :tariff WHERE id = :id")
        for tariff, row in zip(broken, served, strict=False):
            await tx.execute(statement, {"tariff": tariff, "id": row["order_id"]})
        last = sa.update(t.sessions).where(t.sessions.c.id == served[len(broken)]["id"])
        await tx.execute(last.values(served_ns=2**62))
    price = (await audit(any_store, PRICES)).checks[0]
    assert {one.subject for one in price.differences} == {
        row["id"] for row in served[: len(broken) + 1]
    }
    assert {one.expected for one in price.differences} == {"none with a fee of none"}


@pytest.mark.parametrize("more_ns", [0, 1])
async def test_the_longest_session_has_a_price_and_a_longer_one_has_none(
    any_store: Store, books: _Books, more_ns: int
) -> None:
    c = t.sessions.c
    longest = sa.update(t.sessions).where(c.id == books.charged)
    async with any_store.transaction() as tx:
        await tx.execute(longest.values(served_ns=32 * DAY_S * NS_PER_S + more_ns))
    (found,) = (await audit(any_store, PRICES)).checks[0].differences
    assert ("none" in found.expected) == bool(more_ns)


def test_a_tariff_is_bounded_as_the_audit_takes_for_granted() -> None:
    """The longest session at the highest price stays within 64 bits, and so does its fee."""
    longest_s = 32 * DAY_S
    assert MAX_AMOUNT_MINOR * (longest_s + DAY_S) < 2**63
    assert MAX_AMOUNT_MINOR * (longest_s + DAY_S) // BASIS_POINTS * BASIS_POINTS < 2**63
