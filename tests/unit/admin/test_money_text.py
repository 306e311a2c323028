"""Amounts as staff write them."""

from __future__ import annotations

import pytest

from admin.staff.money_text import minor_of
from engine.errors import BadInput


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.50", "EUR", 1_250),
        ("-12,5", "EUR", -1_250),
        ("500", "JPY", 500),
        ("1.250", "KWD", 1_250),
    ],
)
def test_an_amount_is_in_the_minor_units_of_its_currency(
    text: str, currency: str, minor: int
) -> None:
    assert minor_of(text, currency) == minor


@pytest.mark.parametrize(("text", "currency"), [("12.505", "EUR"), ("12.5", "JPY"), ("0", "JPY")])
def test_a_part_of_a_minor_unit_is_no_amount(text: str, currency: str) -> None:
    with pytest.raises(BadInput):
        minor_of(text, currency)
