"""Amounts as staff write them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from engine.errors import BadInput

_MINOR = 100
"""Every currency of the platform has two decimals."""


def minor_of(text: str) -> int:
    """``-12.50`` or ``-12,50`` as minor units. Raises `BadInput("bad_amount")`, also for zero."""
    try:
        amount = Decimal(text.strip().replace(",", ".")) * _MINOR
        if not amount.is_finite() or abs(amount) > 10**15 or amount != int(amount) or not amount:
            raise InvalidOperation
    except InvalidOperation:
        raise BadInput("bad_amount", "Write an amount such as 12.50 or -12.50.") from None
    return int(amount)
