"""A top-up as the product makes it: behind it stands a payment that succeeded."""

from __future__ import annotations

from typing import Final

from sqlalchemy.dialects import postgresql, sqlite

from engine.metering.ledger import Ledger
from engine.store.database import Tx
from engine.store.tables import payments

_INSERTS: Final = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


async def topup(
    tx: Tx, ledger: Ledger, *, key: str, user_id: str, currency: str, amount_minor: int
) -> None:
    """Under the same key again it changes nothing. `user_id` exists."""
    payment_id = f"pay_{key}"
    payment = {
        "id": payment_id,
        "direction": "in",
        "user_id": user_id,
        "currency": currency,
        "amount_minor": amount_minor,
        "provider": "test",
        "provider_ref": key,
        "state": "succeeded",
        "created_at_ms": 0,
        "updated_at_ms": 0,
    }
    insert = _INSERTS[tx.dialect.name](payments)
    await tx.execute(insert.values(payment).on_conflict_do_nothing())
    await ledger.topup(
        tx,
        key=key,
        user_id=user_id,
        currency=currency,
        amount_minor=amount_minor,
        payment_id=payment_id,
    )
