"""GET /market: what a storefront needs to know of the marketplace before anybody signs in."""

from __future__ import annotations

from msgspec import Struct

from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import Call, Route
from admin.market import settings


class Market(Struct):
    """`kinds`: of listings (consult, work, files); `modes`: of consultations; `per_seconds`: the
    period that their prices are asked for, None where there are none; `negotiation`: whether
    requests are sent and offers made; `locales`: of texts, the first is the default; `sort`: how
    listings are ordered unless asked otherwise; `max_files`, `max_links`: of a listing of files."""

    name: str
    title: str
    tagline: str
    locales: list[str]
    currency: str
    kinds: list[str]
    modes: list[str]
    per_seconds: int | None
    negotiation: bool
    sort: str
    expert_applications: bool
    max_files: int
    max_links: int


async def get_market(call: Call[Nothing, Nothing]) -> Answer:
    deps = call.deps
    preset = deps.settings.preset
    async with deps.store.reading() as tx:
        terms = await settings.current(deps, tx)
    market = Market(
        name=preset.name,
        title=preset.title,
        tagline=preset.tagline,
        locales=list(preset.locales),
        currency=deps.settings.currency,
        kinds=list(preset.kinds),
        modes=list(preset.modes),
        per_seconds=preset.tariff.get("per_seconds"),
        negotiation=preset.negotiation,
        sort=preset.sort,
        expert_applications=terms.expert_applications,
        max_files=terms.max_files,
        max_links=terms.max_links,
    )
    return Answer(200, market)


ROUTES = (
    Route(
        method="GET",
        path="/market",
        handler=get_market,
        summary="The marketplace: its name, what is offered on it, in which languages",
        tag="Catalogue",
        answer=Market,
        auth="none",
    ),
)
