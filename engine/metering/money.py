"""Money as integers: minor units and an ISO 4217 code, never a float.

Only what crosses a boundary is checked here; within the ledger an `int` is an amount.
"""

from __future__ import annotations

from typing import Final

from engine.errors import BadInput

BASIS_POINTS: Final = 10_000
MAX_AMOUNT_MINOR: Final = 10**12
"""The largest single amount: nine million of them still fit the store's 64-bit balance."""

# ISO 4217, list one, by the digits of the minor unit.
_CODES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
        CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
        GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK
        LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO
        NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS
        SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST
        XCD YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DIGITS: Final = {code: digits for digits, codes in _CODES.items() for code in codes.split()}
CURRENCIES: Final = frozenset(_DIGITS)


def fee_minor(due_minor: int, commission_bps: int) -> int:
    """The platform's part of a total: ``floor(due * bps / 10000)``; the expert gets the rest.

    Apply it to the cumulated total and subtract, so that slicing never changes the sum.
    """
    if not 0 <= commission_bps <= BASIS_POINTS:
        raise ValueError(f"commission of {commission_bps} basis points")
    if due_minor < 0:
        raise ValueError(f"fee on a negative amount {due_minor}")
    return due_minor * commission_bps // BASIS_POINTS


def check_currency(code: object) -> str:
    """`code` if it is a current ISO 4217 currency, else `BadInput("bad_currency")`."""
    if not isinstance(code, str) or code not in CURRENCIES:
        raise BadInput("bad_currency", "Not an ISO 4217 currency code.")
    return code


def check_amount(amount_minor: object, *, least: int = 1) -> int:
    """`amount_minor` if it is an int from `least` to MAX_AMOUNT_MINOR, else
    `BadInput("bad_amount")`.
    """
    if type(amount_minor) is not int or not least <= amount_minor <= MAX_AMOUNT_MINOR:
        raise BadInput("bad_amount", f"An amount is {least} to {MAX_AMOUNT_MINOR} minor units.")
    return amount_minor


def minor_digits(currency: str) -> int:
    """Decimal places of the currency's minor unit: 2 for EUR, 0 for JPY, 3 for KWD."""
    return _DIGITS[check_currency(currency)]


def format_minor(amount_minor: int, currency: str) -> str:
    """For people: ``format_minor(90000, "TRY") == "900.00 TRY"``."""
    digits = minor_digits(currency)
    sign = "-" if amount_minor < 0 else ""
    whole, part = divmod(abs(amount_minor), 10**digits)
    return f"{sign}{whole}.{part:0{digits}} {currency}" if digits else f"{sign}{whole} {currency}"
