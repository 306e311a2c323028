"""What people type about themselves: checked and brought into one form. Pure."""

from __future__ import annotations

import re
import unicodedata
import zoneinfo
from collections.abc import Sequence
from functools import cache

from engine.errors import BadInput

_MOST_EMAIL_CHARACTERS = 254
_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")  # E.164
_JOINERS = "\u200c\u200d"
"""Of use within Persian and Indic words; every other invisible character may only deceive."""


def email(text: str) -> str:
    """An address as it is stored: lower-cased, the domain in its ASCII form (RFC 5891).

    Only ASCII is taken before the @, since few servers deliver to anything else.
    Raises `BadInput("invalid_email")`.
    """
    local, at, domain = text.strip().lower().rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii") if domain else ""
    except UnicodeError:
        domain = ""
    labels = domain.split(".")
    fine = (
        at
        and 1 <= len(local) <= 64
        and _LOCAL_PART.fullmatch(local)
        and len(labels) >= 2
        and all(_LABEL.fullmatch(label) for label in labels)
        and len(local) + 1 + len(domain) <= _MOST_EMAIL_CHARACTERS
    )
    if not fine:
        raise BadInput("invalid_email", "This is not an e-mail address.", path="$.email")
    return f"{local}@{domain}"


def known_email(text: str) -> str:
    """As `email`, but what is none is only lower-cased: no account has it."""
    try:
        return email(text)
    except BadInput:
        return text.strip().lower()


def display_name(text: str) -> str:
    """A name in composed form without anything invisible or out of line.

    Raises `BadInput("invalid_display_name")`.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 1 <= len(name) <= 80 or not any(c.isalnum() for c in name) or any(map(_hides, name)):
        raise BadInput(
            "invalid_display_name",
            "A name has 1 to 80 visible characters.",
            path="$.display_name",
        )
    return name


def _hides(character: str) -> bool:
    if character in _JOINERS:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")


def locale(text: str, known: Sequence[str]) -> str:
    """One of the marketplace's languages; a region is dropped. Raises `BadInput`."""
    for candidate in (text, text.replace("_", "-").partition("-")[0].lower()):
        if candidate in known:
            return candidate
    raise BadInput("unknown_locale", f"Choose one of: {', '.join(known)}.", path="$.locale")


def timezone(text: str) -> str:
    """An IANA time zone. Raises `BadInput("unknown_timezone")`."""
    if text not in _zones():
        raise BadInput("unknown_timezone", "This is not an IANA time zone.", path="$.timezone")
    return text


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) | {"UTC"}


def phone(text: str) -> str:
    """A number in E.164; spaces and the usual marks are dropped. Raises `BadInput`."""
    number = re.sub(r"[\s()./-]", "", text)
    if not _PHONE.fullmatch(number):
        raise BadInput(
            "invalid_phone", "Give the number with its country, as +40721234567.", path="$.phone"
        )
    return number
