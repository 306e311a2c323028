"""The shapes of demo people and what they offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DOMAIN = "demo.talktime.test"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """`texts`: locale to title and description. `tariff`: of consultations; `price_minor`: of work
    and files. `files`: name to text."""

    key: str
    kind: str = "consult"
    category: str
    texts: Mapping[str, tuple[str, str]]
    tariff: Mapping[str, int] = field(default_factory=dict)
    modes: tuple[str, ...] = ("video", "audio", "text")
    price_minor: int | None = None
    delivery_days: int | None = None
    requirements: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Person:
    key: str
    name: str
    roles: tuple[str, ...]
    headline: str = ""
    about: str = ""
    education: str = ""
    experience: str = ""
    skills: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    categories: tuple[str, ...] = ()
    status: str = "undefined"
    timezone: str = "UTC"
    hours: tuple[int, int] = (9, 17)
    """From and to, on working days."""
    offers: tuple[Offer, ...] = ()

    @property
    def id(self) -> str:
        return f"usr_demo_{self.key}"

    @property
    def email(self) -> str:
        return f"{self.key}@{DOMAIN}"

    @property
    def grid(self) -> str:
        """Availability: 168 cells, the working days' hours filled."""
        first, last = self.hours
        day = "".join("1" if first <= hour < last else "0" for hour in range(24))
        return day * 5 + "0" * 48


CUSTOMER = Person(key="customer", name="Mira Lind", roles=("member",))
STAFF = Person(key="staff", name="Sam Okoye", roles=("member", "admin", "support"))


def quarter_hours(price_minor: int) -> dict[str, int]:
    """Blocks of 15 minutes, one prepaid, the first session free within its first minute."""
    return {
        "price_minor": price_minor,
        "per_seconds": 900,
        "block_seconds": 900,
        "prepaid_seconds": 900,
        "grace_seconds": 60,
    }


def minutes(price_minor: int) -> dict[str, int]:
    """Started minutes, five of them prepaid."""
    return {
        "price_minor": price_minor,
        "per_seconds": 60,
        "block_seconds": 60,
        "prepaid_seconds": 300,
        "grace_seconds": 60,
    }


def seconds(price_per_hour_minor: int) -> dict[str, int]:
    """Exact seconds of an hourly price, five minutes prepaid."""
    return {
        "price_minor": price_per_hour_minor,
        "per_seconds": 3_600,
        "block_seconds": 1,
        "prepaid_seconds": 300,
        "grace_seconds": 0,
    }
