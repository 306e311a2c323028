"""GET /market: what a storefront is told before anybody signs in."""

from __future__ import annotations

from tests.integration.admin.conftest import World


async def test_guests_are_told_which_marketplace_this_is(world: World) -> None:
    preset = world.deps.settings.preset
    answer = await world.client.get("/api/v1/market")
    assert answer.status == 200
    market = await answer.json()
    assert market["name"] == preset.name
    assert market["title"] == preset.title
    assert tuple(market["kinds"]) == preset.kinds
    assert tuple(market["locales"]) == preset.locales
    assert market["negotiation"] is preset.negotiation
    assert market["per_seconds"] == preset.tariff["per_seconds"]
    assert market["max_files"] == preset.terms.max_files
