from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInput
from engine.metering.money import (
    CURRENCIES,
    MAX_AMOUNT_MINOR,
    check_amount,
    check_currency,
    fee_minor,
    format_minor,
    minor_digits,
)


@pytest.mark.parametrize(
    ("due", "bps", "fee"),
    [(90_000, 1500, 13_500), (999, 1000, 99), (1, 9_999, 0), (1, 10_000, 1), (5, 0, 0)],
)
def test_the_fee_is_rounded_down(due: int, bps: int, fee: int) -> None:
    assert fee_minor(due, bps) == fee


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(0, 10_000))
def test_slicing_never_changes_the_total_fee(steps: list[int], bps: int) -> None:
    total = fees = 0
    for step in steps:
        fees += fee_minor(total + step, bps) - fee_minor(total, bps)
        total += step
    assert fees == fee_minor(total, bps)
    assert 0 <= fees <= total


@pytest.mark.parametrize(("due", "bps"), [(-1, 100), (1, -1), (1, 10_001)])
def test_a_fee_of_nonsense_is_a_defect(due: int, bps: int) -> None:
    with pytest.raises(ValueError, match=r"commission|negative"):
        fee_minor(due, bps)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (90_000, "TRY", "900.00 TRY"),
        (-5, "EUR", "-0.05 EUR"),
        (0, "USD", "0.00 USD"),
        (1234, "JPY", "1234 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (12_345, "CLF", "1.2345 CLF"),
    ],
)
def test_amounts_are_shown_with_the_digits_of_their_currency(
    amount: int, currency: str, text: str
) -> None:
    assert format_minor(amount, currency) == text


@given(st.sampled_from(sorted(CURRENCIES)))
def test_every_currency_has_a_code_of_three_letters(code: str) -> None:
    assert len(code) == 3
    assert code.isascii()
    assert code.isupper()
    assert check_currency(code) == code
    assert 0 <= minor_digits(code) <= 4


@pytest.mark.parametrize("code", ["", "try", "EURO", "ZZZ", None, 978, "E R", "ЕUR"])
def test_an_unknown_currency_is_refused(code: object) -> None:
    with pytest.raises(BadInput) as refusal:
        check_currency(code)
    assert refusal.value.code == "bad_currency"


@pytest.mark.parametrize("amount", [0, -1, 1.0, True, "1", None, 1_000_000_000_001])
def test_an_amount_is_a_positive_bounded_integer(amount: object) -> None:
    with pytest.raises(BadInput) as refusal:
        check_amount(amount)
    assert refusal.value.code == "bad_amount"


def test_the_bounds_of_an_amount_are_allowed() -> None:
    assert check_amount(1) == 1
    assert check_amount(0, least=0) == 0
    assert check_amount(1_000_000_000_000) == MAX_AMOUNT_MINOR
