"""What a tariff may be: each bound is allowed, one beyond it is refused by the field's name."""

from __future__ import annotations

from typing import Any

import pytest

from engine.clock import NS_PER_S
from engine.metering.money import MAX_AMOUNT_MINOR
from engine.metering.tariff import Tariff

SMALLEST: dict[str, Any] = {
    "currency": "EUR",
    "price_minor": 1,
    "per_seconds": 86_400,
    "block_seconds": 1,
    "prepaid_seconds": 0,
    "grace_seconds": 0,
}


def _tariff(**changes: Any) -> Tariff:
    return Tariff(**(SMALLEST | changes))


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("price_minor", 1, MAX_AMOUNT_MINOR),
        ("per_seconds", 1, 86_400),
        ("block_seconds", 1, 86_400),
        ("prepaid_seconds", 0, 86_400),
        ("grace_seconds", 0, 86_400),
        ("grace_sessions", 0, 1_000),
        ("clock_message", 1, 100),
    ],
)
def test_a_field_has_bounds(field: str, least: int, most: int) -> None:
    for value in (least, most):
        assert getattr(_tariff(**{field: value}), field) == value
    for value in (least - 1, most + 1):
        with pytest.raises(ValueError, match=f"^{field} must be {least} to {most}$"):
            _tariff(**{field: value})


@pytest.mark.parametrize("currency", ["eur", "EU", "EURO", "", "EU1", "EUR\n"])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    with pytest.raises(ValueError, match=r"^currency is three capital letters$"):
        _tariff(currency=currency)


def test_a_prepayment_is_an_amount() -> None:
    dear = {"price_minor": MAX_AMOUNT_MINOR, "per_seconds": 1}
    assert _tariff(**dear, prepaid_seconds=1).prepay_minor() == MAX_AMOUNT_MINOR
    with pytest.raises(ValueError, match=r"^prepay must be 0 to"):
        _tariff(**dear, prepaid_seconds=2)


def test_the_price_of_a_block_is_an_amount() -> None:
    dear = {"price_minor": MAX_AMOUNT_MINOR, "per_seconds": 1}
    assert _tariff(**dear, block_seconds=1).block_price_minor() == MAX_AMOUNT_MINOR
    with pytest.raises(ValueError, match=r"^block price must be 0 to"):
        _tariff(**dear, block_seconds=2)


def test_one_session_is_free_within_its_grace_and_two_messages_start_a_clock() -> None:
    usual = _tariff(grace_seconds=60)
    assert (usual.grace_sessions, usual.clock_message) == (1, 2)


def test_the_shortest_grace_is_a_second() -> None:
    brief = _tariff(grace_seconds=1)
    assert brief.in_grace(1, NS_PER_S)
    assert not brief.in_grace(1, NS_PER_S + 1)
    assert not brief.in_grace(2, 0)
    assert not _tariff(grace_seconds=0).in_grace(1, 0)
