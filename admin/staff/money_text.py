"""Amounts as staff write them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from engine.errors import BadInput
from engine.metering.money import format_minor, minor_digits


def minor_of(text: str, currency: str) -> int:
    """``-12.50`` or ``-12,50`` as minor units. Raises `BadInput("bad_amount")`, also for zero."""
    try:
        amount = Decimal(text.strip().replace(",", ".")) * 10 ** minor_digits(currency)
        if not amount.is_finite() or abs(amount) > 10**15 or amount != int(amount) or not amount:
            raise InvalidOperation
    except InvalidOperation:
        sample, _, _ = format_minor(1_250, currency).partition(" ")
        raise BadInput("bad_amount", f"Write an amount such as {sample} or -{sample}.") from None
    return int(amount)
