"""What an order grants: who may talk to whom, how, and for what money."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from engine.media.interface import Role
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.store import tables as t
from engine.store.database import Tx


class Grant(Struct, frozen=True, kw_only=True):
    """An order's snapshot. `metered_sessions` counts its sessions whose clock started."""

    order_id: str
    conversation_id: str
    title: str
    customer_id: str
    customer_name: str
    expert_id: str
    expert_name: str
    mode: str
    fulfilment: str
    state: str
    tariff: Tariff
    policy: Policy
    metered_sessions: int

    def role_of(self, user_id: str) -> Role | None:
        """The user's part in it; None for strangers."""
        roles = {self.customer_id: Role.CUSTOMER, self.expert_id: Role.EXPERT}
        return roles.get(user_id)

    def user_of(self, role: Role) -> str:
        return self.customer_id if role is Role.CUSTOMER else self.expert_id


class GrantProvider(Protocol):
    """Where grants come from."""

    async def grant(self, tx: Tx, order_id: str) -> Grant | None:
        """The order's grant as of now; None if there is no such order of a consultation."""
        ...

    async def grants(self, tx: Tx, order_ids: Collection[str]) -> dict[str, Grant]:
        """The same for many orders; those that do not exist are missing."""
        ...


class StoreGrants:
    """Grants read from the orders of the store; those without calls (work, files) grant nothing."""

    async def grant(self, tx: Tx, order_id: str) -> Grant | None:
        return (await self.grants(tx, [order_id])).get(order_id)

    async def grants(self, tx: Tx, order_ids: Collection[str]) -> dict[str, Grant]:
        rows = await tx.execute(_query(), {"order_ids": list(order_ids)})
        return {row.id: _grant(row) for row in rows}


@functools.cache
def _query() -> sa.Select[Any]:
    customer, expert = t.users.alias("customer"), t.users.alias("expert")
    return (
        sa.select(t.orders)
        .add_columns(
            t.conversations.c.id.label("conversation_id"),
            customer.c.display_name.label("customer_name"),
            expert.c.display_name.label("expert_name"),
        )
        .join(t.conversations, t.conversations.c.order_id == t.orders.c.id)
        .join(customer, customer.c.id == t.orders.c.customer_id)
        .join(expert, expert.c.id == t.orders.c.expert_id)
        .where(t.orders.c.id.in_(sa.bindparam("order_ids")))
        .where(t.orders.c.fulfilment == "live")
    )


def _grant(row: sa.Row[Any]) -> Grant:
    return Grant(
        order_id=row.id,
        conversation_id=row.conversation_id,
        title=row.title,
        customer_id=row.customer_id,
        customer_name=row.customer_name,
        expert_id=row.expert_id,
        expert_name=row.expert_name,
        mode=row.mode,
        fulfilment=row.fulfilment,
        state=row.state,
        tariff=msgspec.convert(row.tariff, Tariff),
        policy=msgspec.convert(row.policy, Policy),
        metered_sessions=row.metered_sessions,
    )
