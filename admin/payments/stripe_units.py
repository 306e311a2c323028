"""Amounts as Stripe writes them: its minor units are not ISO 4217's everywhere.

https://docs.stripe.com/currencies: all currencies have two decimals but for those listed there as
having none or three. Two are special: Iceland's and Uganda's have no minor unit any more, and are
still written with two decimals that are 00.
"""

from __future__ import annotations

from typing import Final

from engine.errors import BadInput
from engine.metering.money import minor_digits

_CODES: Final = {
    0: "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF",
    3: "BHD JOD KWD OMR TND",
}
_DIGITS: Final = {code: digits for digits, codes in _CODES.items() for code in codes.split()}
_USUAL: Final = 2
_STEP_OF_THREE: Final = 10
"""Of three decimals the card networks take two: the last is 0."""


def to_stripe(amount_minor: int, currency: str) -> int:
    """Raises `BadInput("amount_not_payable")` for what Stripe cannot write."""
    digits = _DIGITS.get(currency, _USUAL)
    amount, rest = _scaled(amount_minor, digits - minor_digits(currency))
    if rest or (digits > _USUAL and amount % _STEP_OF_THREE):
        text = f"This amount cannot be paid in {currency}: round it."
        raise BadInput("amount_not_payable", text, path="$.amount_minor")
    return amount


def from_stripe(amount: int, currency: str) -> int:
    """Raises `BadInput("bad_webhook")` for a part of our minor unit."""
    amount_minor, rest = _scaled(amount, minor_digits(currency) - _DIGITS.get(currency, _USUAL))
    if rest:
        raise BadInput("bad_webhook", "This amount is no whole number of minor units.")
    return amount_minor


def _scaled(amount: int, digits: int) -> tuple[int, int]:
    """`amount` with so many more digits, or fewer, and what does not fit."""
    return (amount * 10**digits, 0) if digits >= 0 else divmod(amount, 10**-digits)
