"""What notices say, in every language that a marketplace speaks."""

from __future__ import annotations

import itertools
from typing import Any

import jinja2
import pytest

from admin.notices.catalogue import CATALOGUE
from admin.notices.mail import one_line
from admin.notices.words import TEMPLATES, Words, written
from admin.presets import AZMOUDEGAN, INFOTWIP, PRESETS

DATA: dict[str, Any] = {
    "reason": "Because of this.",
    "decision": "approve",
    "refunded_minor": 600,
    "author": "Elena",
    "text": "Shall we begin?",
}
VALUES: dict[str, Any] = {
    "name": "Mira",
    "reader_id": "usr_1",
    "customer_id": "usr_1",
    "link": "http://talktime.test/x",
    "number": "T-1",
    "title": "Advice",
    "fulfilment": "work",
    "customer": "Mira",
    "expert": "Elena",
    "amount_minor": 1_200,
    "currency": "EUR",
    "data": DATA,
}


def words(preset: Any = INFOTWIP) -> Words:
    return Words(preset, "http://talktime.test/", undefined=jinja2.StrictUndefined)


def test_everything_that_is_sent_has_english_words_of_its_own() -> None:
    assert CATALOGUE.keys() <= written("en")


@pytest.mark.parametrize("locale", ["en", "ru", "fa"])
def test_every_template_renders(locale: str) -> None:
    preset = AZMOUDEGAN if locale == "fa" else INFOTWIP
    for type_ in sorted(written(locale) - {"_layout"}):
        for fulfilment, reader in itertools.product(("live", "work", "files"), ("usr_1", "usr_2")):
            values = VALUES | {"fulfilment": fulfilment, "reader_id": reader}
            subject = words(preset).subject(type_, locale, values)
            text = words(preset).text(type_, locale, values)
            assert 5 < len(subject) < 100
            assert not text.startswith(subject)
            assert "Mira" in text
            assert preset.title in text
            assert "http://talktime.test" in text
            assert "\n\n\n" not in text
        for decision in ("release", "refund", "split", "rework"):
            words(preset).text(type_, locale, VALUES | {"data": DATA | {"decision": decision}})
        words(preset).text(type_, locale, VALUES | {"data": DATA | {"reason": "", "decision": ""}})


def test_words_that_are_missing_in_a_language_are_english_as_a_whole() -> None:
    text = words().text("order.refunded", "ru", VALUES)
    assert text.startswith("Hello Mira,")
    assert words().text("nothing.known", "ru", VALUES).startswith("Hello Mira,")
    assert words().text("order.paid", "xx", VALUES).startswith("Hello Mira,")
    # A language that the marketplace does not speak is not used either.
    assert words().text("order.paid", "fa", VALUES).startswith("Hello Mira,")


def test_every_language_of_a_preset_has_the_most_important_words() -> None:
    needed = {"account.confirm_email", "account.reset_password", "order.paid", "order.delivered"}
    for preset in PRESETS.values():
        for locale in preset.locales:
            assert needed <= written(locale), locale
    assert all(path.suffix == ".txt" for path in TEMPLATES.glob("*/*"))


def test_links_are_absolute_and_quoted() -> None:
    made = words()
    assert made.link("order", "ord/../x") == "http://talktime.test/orders/ord%2F..%2Fx"
    assert made.link("strange", "x") == "http://talktime.test/notifications"
    assert (
        made.page("/verify-email", token="a&b") == "http://talktime.test/verify-email?token=a%26b"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\nBcc: x", "a Bcc: x"),
        ("tab\tand\x00nul\u2028end", "tab and nul end"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_subject_is_one_line(text: str, line: str) -> None:
    assert one_line(text) == line
