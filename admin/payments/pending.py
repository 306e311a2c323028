"""Payments that nobody has told the end of: their providers are asked, and each ends some day.

A payment that pends keeps its payer's account from being erased, so that no money comes to an
account without an owner; and news of it may never come: a checkout was left, a delivery was lost,
or the provider sends none once people there have looked at a payment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
import structlog

from admin import queries
from admin.payments import service
from admin.payments.provider import PaymentEvent, Standing
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import TalktimeError
from engine.store.tables import payments

_HOUR_MS: Final = 3_600_000
ASK_AFTER_MS: Final = _HOUR_MS
LEFT_AFTER_MS: Final = 24 * _HOUR_MS
"""When a checkout that nobody has paid on is over: with Stripe its session is, with iyzico its form
long before.
"""
LOST_AFTER_MS: Final = 30 * 24 * _HOUR_MS
"""When a payment on its way is given up for lost; the slowest ways to pay take half as long. Should
its money come after all, it is booked.
"""

_log = structlog.get_logger(__name__)


class PendingPayments:
    async def work_off(self, deps: AdminDeps) -> int:
        return sum([await _look(deps, row) for row in await _pending(deps)])


async def _pending(deps: AdminDeps) -> Sequence[Row]:
    c = payments.c
    before_ms = deps.clock.wall_ms() - ASK_AFTER_MS
    # Not as a parameter: the index is for this state only.
    pending: sa.ColumnElement[str] = sa.literal_column("'pending'")
    query = sa.select(payments).where(
        c.direction == "in", c.state == pending, c.created_at_ms <= before_ms
    )
    async with deps.store.reading() as tx:
        return await queries.rows(tx, query.order_by(c.created_at_ms, c.id))


async def _look(deps: AdminDeps, row: Row) -> bool:
    """Whether it has ended. One that cannot be told about stops no other."""
    standing: Standing = "on_its_way"
    try:
        standing = await _standing(deps, row)
        if isinstance(standing, PaymentEvent):
            return (await service.take(deps, row.provider, standing)).changed
    except TalktimeError as refusal:
        _log.warning("payment_not_asked_about", payment=row.id, code=refusal.code)
    except Exception:
        _log.exception("payment_not_asked_about", payment=row.id)
    patience_ms = LEFT_AFTER_MS if standing is None else LOST_AFTER_MS
    if deps.clock.wall_ms() - row.created_at_ms < patience_ms:
        return False
    over = PaymentEvent(row.provider_ref, "expired", row.currency, row.amount_minor)
    return (await service.take(deps, row.provider, over)).changed


async def _standing(deps: AdminDeps, row: Row) -> Standing:
    if row.checkout_url is None:
        return None  # nobody was ever shown where to pay
    provider = deps.providers.get(row.provider)
    return "on_its_way" if provider is None else await provider.ask(row.provider_ref)
