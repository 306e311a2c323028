"""A preset: what makes one marketplace out of the common model. `admin.presets` has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from admin.market.terms import Terms


@dataclass(frozen=True)
class CategorySeed:
    slug: str
    names: Mapping[str, str]
    """By locale."""
    featured: bool = False
    children: tuple[CategorySeed, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Which parts of the model a marketplace uses, with which numbers, words and demo people.

    `kinds`: of listings that may be offered: consult, work, files. `modes`: of consultations.
    `negotiation`: whether customers may send requests and experts offers. `tariff`: the metered
    tariff that new consultations start from, in the fields of `engine.metering.tariff.Tariff`
    but for price and currency. `sort`: how listings are ordered unless asked otherwise. `locales`:
    the first is the default.
    """

    name: str
    title: str
    tagline: str
    locales: tuple[str, ...]
    currency: str
    kinds: tuple[str, ...]
    modes: tuple[str, ...] = ("video", "audio", "text")
    negotiation: bool = False
    sort: Literal["new", "popular", "rating", "price"] = "new"
    tariff: Mapping[str, int] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)
    categories: tuple[CategorySeed, ...] = ()
    documents: Mapping[str, str] = field(default_factory=dict)
    """Legal texts to consent to: document to version."""
