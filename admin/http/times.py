"""Wall times and money as clients see them."""

from __future__ import annotations

from datetime import UTC, datetime

from admin.schemas import Money
from engine.metering.money import minor_digits


def rfc3339(at_ms: int) -> str:
    """UTC with milliseconds, such as ``2026-03-01T09:30:00.000Z``."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


def rfc3339_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def money_text(amount_minor: int, currency: str) -> str:
    """For people: ``12.00 EUR``, with a real minus sign before what was taken."""
    digits = minor_digits(currency)
    whole, part = divmod(abs(amount_minor), 10**digits)
    sign = "\N{MINUS SIGN}" if amount_minor < 0 else ""
    fraction = f".{part:0{digits}}" if digits else ""
    return f"{sign}{whole:,}{fraction} {currency}"


def money(amount_minor: int, currency: str) -> Money:
    return Money(amount_minor, currency)
