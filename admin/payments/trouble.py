"""What people must look into about a payment: cases on finance's desk.

Money at a provider is moved by people there; here they only hear of what the ledger must not or
cannot follow by itself.
"""

from __future__ import annotations

import sqlalchemy as sa

from admin.cases import records
from admin.http.times import money_text
from admin.ports import AdminDeps
from admin.queries import Row
from engine.metering.money import CURRENCIES
from engine.store.database import Tx
from engine.store.market_tables import cases

_SUBJECT = "payment"
_MOST_CHARACTERS = 160


async def report(deps: AdminDeps, tx: Tx, payment: Row, title: str, body: str) -> None:
    """A case, once for each title: providers say the same thing again and again.

    The payment is locked by the caller, so that two deliveries at once are told apart.
    """
    title = title[:_MOST_CHARACTERS]
    known = sa.select(cases.c.id).where(
        cases.c.subject_id == payment.id, cases.c.subject_type == _SUBJECT, cases.c.title == title
    )
    if (await tx.execute(known.limit(1))).first() is not None:
        return
    amount = amount_text(payment.amount_minor, payment.currency)
    about = f"Payment {payment.id} of {amount} by user {payment.user_id}"
    about += f", at {payment.provider} {payment.provider_ref}."
    new = records.NewCase(
        kind="payment",
        subject_type=_SUBJECT,
        subject_id=payment.id,
        opened_by=None,
        title=title,
        body=f"{body} {about}",
        data={records.CONCERNED: payment.user_id},
    )
    await records.create(deps, tx, new)


def amount_text(amount_minor: int, currency: str) -> str:
    """For people, also of a currency that only the provider knows."""
    if currency in CURRENCIES:
        return money_text(amount_minor, currency)
    return f"{amount_minor} minor units of {currency[:8]}"
