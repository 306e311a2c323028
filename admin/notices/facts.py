"""What notices say of the things they are about, read for a page of notices at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from admin import queries
from admin.queries import Row
from engine.store.database import Tx
from engine.store.market_tables import cases, proposals, requests
from engine.store.tables import listings, orders, payments, users

Facts = Mapping[str, Any]


async def of(tx: Tx, subjects: Iterable[tuple[str, str]]) -> dict[str, Facts]:
    """By subject id, of subjects as (type, id); a subject that is unknown has none."""
    wanted: dict[str, set[str]] = {}
    for subject_type, subject_id in subjects:
        if subject_type in _READERS:
            wanted.setdefault(subject_type, set()).add(subject_id)
    found: dict[str, Facts] = {}
    for subject_type, ids in wanted.items():
        found |= await _READERS[subject_type](tx, sorted(ids))
    return found


async def _orders(tx: Tx, ids: Sequence[str]) -> dict[str, Facts]:
    customer, expert = users.alias("customer"), users.alias("expert")
    query = (
        sa.select(
            orders,
            customer.c.display_name.label("customer_name"),
            expert.c.display_name.label("expert_name"),
        )
        .join(customer, customer.c.id == orders.c.customer_id)
        .join(expert, expert.c.id == orders.c.expert_id)
        .where(orders.c.id.in_(ids))
    )
    return {row.id: _order(row) for row in await queries.rows(tx, query)}


def _order(row: Row) -> Facts:
    return {
        "number": row.number,
        "title": row.title,
        "fulfilment": row.fulfilment,
        "customer": row.customer_name,
        "expert": row.expert_name,
        "amount_minor": row.prepay_minor,
        "currency": row.currency,
        "customer_id": row.customer_id,
    }


async def _proposals(tx: Tx, ids: Sequence[str]) -> dict[str, Facts]:
    customer, expert = users.alias("customer"), users.alias("expert")
    query = (
        sa.select(
            proposals,
            requests.c.title,
            customer.c.display_name.label("customer_name"),
            expert.c.display_name.label("expert_name"),
        )
        .join(requests, requests.c.id == proposals.c.request_id)
        .join(customer, customer.c.id == proposals.c.customer_id)
        .join(expert, expert.c.id == proposals.c.expert_id)
        .where(proposals.c.id.in_(ids))
    )
    return {row.id: _proposal(row) for row in await queries.rows(tx, query)}


def _proposal(row: Row) -> Facts:
    return {
        "title": row.title,
        "customer": row.customer_name,
        "expert": row.expert_name,
        "amount_minor": row.price_minor,
        "currency": row.currency,
        "customer_id": row.customer_id,
    }


async def _payouts(tx: Tx, ids: Sequence[str]) -> dict[str, Facts]:
    query = sa.select(payments).where(payments.c.id.in_(ids))
    return {
        row.id: {"amount_minor": row.amount_minor, "currency": row.currency}
        for row in await queries.rows(tx, query)
    }


def _titles(table: sa.Table) -> Callable[[Tx, Sequence[str]], Awaitable[dict[str, Facts]]]:
    async def read(tx: Tx, ids: Sequence[str]) -> dict[str, Facts]:
        query = sa.select(table.c.id, table.c.title).where(table.c.id.in_(ids))
        return {row.id: {"title": row.title} for row in await queries.rows(tx, query)}

    return read


_READERS: Mapping[str, Callable[[Tx, Sequence[str]], Awaitable[dict[str, Facts]]]] = {
    "order": _orders,
    "payout": _payouts,
    "listing": _titles(listings),
    "request": _titles(requests),
    "proposal": _proposals,
    "application": _titles(cases),
    "case": _titles(cases),
}
