"""What counts as a way around the marketplace, and what must be left alone (P13, C34)."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.orders.numbers import new_number
from engine.chat.off_platform import HIDDEN, Screened, hide_cards, hide_contacts

PHONES = [
    "+49 151 23456789",
    "+380 (67) 123-45-67",
    "00 49 151 2345 6789",
    "0912 345 6789",
    "020 7946 0958",
    "0532 123 45 67",
    "8 (916) 123-45-67",
    "89161234567",
    "380671234567",
    "212-555-1234",
    "(212) 555-1234",
    "۰۹۱۲۳۴۵۶۷۸۹",
    "٠٩١٢ ٣٤٥ ٦٧٨٩",
    "0\u200b912\u200b3456789",
]
EMAILS = [
    "me@example.com",
    "ivan.petrov+work@mail.example.org",
    "ivan.petrov (at) gmail (dot) com",
    "ivan [at] gmail.com",
    "ivan at gmail dot com",
    "me＠example.com",
    "m\u00ade@example.com",
]
LINKS = [
    "https://t.me/ivan",
    "t.me/ivan",
    "wa.me/49151",
    "discord.gg/abc",
    "www.foo.bar",
    "example.com",
    "shop.example.ru/price?id=7",
    "HTTP://EXAMPLE.COM/x",
]
HANDLES = [
    "@ivan_petrov",
    "telegram: ivan_p",
    "skype is live_ivan1",
    "WhatsApp = ivan.p",
    "тг: ivan_p",
    "تلگرام: ivan_p",
]
CARDS = [
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111111111111111",
    "3782 822463 10005",
    "۴۱۱۱ ۱۱۱۱ ۱۱۱۱ ۱۱۱۱",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
]
LEFT_ALONE = [
    "12 000 000 rials",
    "1 200 000",
    "10 000 000 000",
    "12,000,000",
    "€ 1,200.50",
    "price 120000000 tomans",
    "۱۲٬۰۰۰٬۰۰۰ تومان",
    "100 000 EUR, or 25 000 words at 0.05 EUR",
    "1 000 000 - 2 000 000",
    "31.12.2026",
    "on 29/11/2026 at 09:00-18:00",
    "01.02.2026 10:30",
    "29.11.2026 12:00 - 30.11.2026 13:00",
    "2026-12-31 10:30:15.250",
    "1403/05/12",
    "2020-2024",
    "9:00 10:00 11:00 12:00",
    "order TT-7K3M-Q9ZD and TT-0123-4567 please",
    "C-12345678",
    "№ 123456789, #1234567",
    "1767225600000",
    "0.123456789 and 3.14159265358979",
    "version 10.0.19045.3693 on 192.168.0.1",
    "ISBN 978-3-16-148410-0",
    "key 1234 5678 9012 3456",
    "sizes 1920x1080, 100 x 200 x 300 mm",
    "1 2 3 4 5 6 7 8 9 10",
    "5-7 days, 10-15 pages",
    "ASP.NET and Node.js, main.py/test and src/main.py",
    "@property and @media (max-width: 3px)",
    "see you @ home.Then we talk; ok.it works",
    "do you use telegram often? signal: strong",
    "and/or, e.g./i.e.",
    "call me at 3, or at 10:30 on 29.11.2026",
]


@pytest.mark.parametrize(
    ("kind", "contact"),
    [
        *(("phone", each) for each in PHONES),
        *(("email", each) for each in EMAILS),
        *(("link", each) for each in LINKS),
        *(("handle", each) for each in HANDLES),
        *(("card", each) for each in CARDS),
    ],
)
@pytest.mark.parametrize("around", ["{}", "Write to {}, please.", "так: {}\nспасибо"])
def test_P13_C34_contacts_are_hidden(kind: str, contact: str, around: str) -> None:
    screened = hide_contacts(around.format(contact))
    assert screened == Screened(screened.text, (kind,))
    assert HIDDEN in screened.text
    assert not set("0123456789۰۱۲۳۴۵۶۷۸۹@") & set(screened.text)
    before, after = around.split("{}")
    assert screened.text.startswith(before)
    assert screened.text.endswith(after)


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_P13_prices_dates_times_and_numbers_stay(text: str) -> None:
    assert hide_contacts(text) == Screened(text)


def test_P13_a_hint_makes_any_number_a_telephones() -> None:
    assert hide_contacts("my number is 5551234567").kinds == ("phone",)
    assert hide_contacts("Звоните: 9161234567").kinds == ("phone",)
    assert hide_contacts("parcel 5551234567").kinds == ()


def test_P13_several_are_hidden_each_and_named_once() -> None:
    screened = hide_contacts("a@b.com or c@d.com, +49 151 23456789, 31.12.2026")
    assert screened == Screened(f"{HIDDEN} or {HIDDEN}, {HIDDEN}, 31.12.2026", ("email", "phone"))


def test_P13_links_to_the_marketplace_itself_stay() -> None:
    own = "see https://market.example.com/listings/lst_1."
    assert hide_contacts(own, "market.example.com") == Screened(own)
    assert hide_contacts(own, "example.com").kinds == ("link",)
    assert hide_contacts("https://market.example.com@evil.com/x", "market.example.com").kinds


@pytest.mark.parametrize("card", CARDS)
def test_C34_cards_are_hidden_even_where_contacts_may_stand(card: str) -> None:
    text = f"+49 151 23456789, a@b.com, {card}!"
    assert hide_cards(text) == Screened(f"+49 151 23456789, a@b.com, {HIDDEN}!", ("card",))


@pytest.mark.parametrize("number", ["4111 1111 1111 1112", "0000 0000 0000 0000", "411111111111"])
def test_C34_a_number_that_fails_the_check_is_no_card(number: str) -> None:
    assert hide_cards(number) == Screened(number)


@given(st.text(max_size=200))
def test_whatever_is_written_is_unchanged_or_named(text: str) -> None:
    for screened in (hide_cards(text), hide_contacts(text)):
        assert (screened.text == text) == (not screened.kinds) or HIDDEN in text


@given(st.text("0123456789+-.()@/: aeiou", max_size=80))
def test_texts_made_of_digits_and_marks_are_unchanged_or_named(text: str) -> None:
    for screened in (hide_cards(text), hide_contacts(text)):
        assert (screened.text == text) == (not screened.kinds)


@given(
    st.datetimes(),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y %H:%M", "%Y-%m-%d %H:%M:%S", "%H:%M"]),
)
def test_P13_no_date_is_a_telephone(at: dt.datetime, form: str) -> None:
    text = at.strftime(form)
    assert hide_contacts(f"by {text}, please") == Screened(f"by {text}, please")


@given(st.integers(0, 999_999_999), st.sampled_from(["EUR", "€", "rials", "руб", "تومان"]))
def test_P13_no_price_is_a_telephone(amount: int, unit: str) -> None:
    for text in (f"{amount:,} {unit}", f"{amount:,}.50 {unit}", f"{amount} {unit}"):
        assert hide_contacts(text) == Screened(text)


def test_P13_no_number_of_an_order_is_a_telephone() -> None:
    for _ in range(300):
        text = f"order {new_number()}, please"
        assert hide_contacts(text) == Screened(text)
