"""The marketplaces that ship with the product, by name: `PRESETS`."""

from __future__ import annotations

from admin.market.preset import CategorySeed, Preset
from admin.market.terms import DAY_S, Terms

_DOCUMENTS = {"terms": "2026-11", "privacy": "2026-11"}

INFOTWIP = Preset(
    name="infotwip",
    title="InfoTwip",
    tagline="Talk to someone who knows. Pay while you talk.",
    locales=("en", "ru"),
    currency="EUR",
    kinds=("consult", "work", "files"),
    tariff={
        "per_seconds": 900,
        "block_seconds": 900,
        "prepaid_seconds": 900,
        "grace_seconds": 60,
        "grace_sessions": 1,
        "clock_message": 2,
    },
    terms=Terms(commission_bps=2_000),
    categories=(
        CategorySeed("law", {"en": "Law", "ru": "Право"}, featured=True),
        CategorySeed("taxes", {"en": "Taxes", "ru": "Налоги"}, featured=True),
        CategorySeed("career", {"en": "Career", "ru": "Карьера"}),
        CategorySeed("family", {"en": "Family", "ru": "Семья"}),
        CategorySeed("it", {"en": "Programming", "ru": "Программирование"}, featured=True),
        CategorySeed("languages", {"en": "Languages", "ru": "Языки"}),
    ),
    documents=_DOCUMENTS,
)

AZMOUDEGAN = Preset(
    name="azmoudegan",
    title="Azmoudegan",
    tagline="Skilled people, work to your wish, paid when you are content.",
    locales=("en", "fa"),
    currency="EUR",
    kinds=("work", "files"),
    modes=(),
    negotiation=True,
    sort="rating",
    terms=Terms(
        commission_bps=1_000,
        listing_moderation=True,
        dispute_window_s=14 * DAY_S,
        expert_applications=True,
    ),
    categories=(
        CategorySeed("design", {"en": "Design", "fa": "طراحی"}, featured=True),
        CategorySeed("writing", {"en": "Writing and translation", "fa": "نگارش و ترجمه"}),
        CategorySeed("programming", {"en": "Programming", "fa": "برنامه‌نویسی"}, featured=True),
        CategorySeed("teaching", {"en": "Teaching", "fa": "آموزش"}),
        CategorySeed("consulting", {"en": "Consulting", "fa": "مشاوره"}),
    ),
    documents=_DOCUMENTS,
)

PRESETS = {preset.name: preset for preset in (INFOTWIP, AZMOUDEGAN)}
