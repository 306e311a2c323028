"""Search, order and comparison of listings and experts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from admin.catalogue import indexing, search
from admin.presets import AZMOUDEGAN
from engine.store.database import Store
from engine.store.tables import experts, listings
from tests.integration.admin.conftest import EXPERT, World
from tests.integration.admin.test_catalogue import CONSULTATIONS, IN_FILE_ORDER, found

FIGURES = {
    # id: orders, rating in thousandths
    "lst_demo_lease": (5, 4_200),
    "lst_demo_contract": (9, 4_200),
    "lst_demo_vat": (1, 4_900),
    "lst_demo_interview": (0, 0),
    "lst_demo_sleep": (9, 3_000),
    "lst_demo_script": (3, 5_000),
    "lst_demo_phrases": (70, 1_500),
}


@pytest.fixture
async def ranked(any_world: World) -> World:
    async with any_world.store.transaction() as tx:
        for listing_id, (count, rating) in FIGURES.items():
            one = sa.update(listings).where(listings.c.id == listing_id)
            await tx.execute(one.values(order_count=count, rating_milli=rating))
    return any_world


async def walked(world: World, query: str) -> list[str]:
    """All pages of two."""
    seen: list[str] = []
    cursor = ""
    for _ in range(10):
        _, page = await world.stranger.get(f"/listings?limit=2&{query}{cursor}")
        seen += [listing["id"] for listing in page["items"]]
        if page["next_cursor"] is None:
            return seen
        cursor = f"&cursor={page['next_cursor']}"
    raise AssertionError("endless pages")


async def test_P4_T2_every_order_is_paged_without_gaps(ranked: World) -> None:
    async with ranked.store.reading() as tx:
        c = listings.c
        rows = (await tx.execute(sa.select(c.id, c.price_from_minor))).all()
    prices = dict(sorted(((row[0], row[1]) for row in rows), key=lambda one: (one[1], one[0])))
    by = {
        "new": IN_FILE_ORDER,
        "popular": sorted(FIGURES, key=lambda one: (FIGURES[one][0], one), reverse=True),
        "rating": sorted(FIGURES, key=lambda one: (FIGURES[one][1], one), reverse=True),
        "price": list(prices),
    }
    for sort, expected in by.items():
        assert await walked(ranked, f"sort={sort}") == expected, sort


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kind=work", ["lst_demo_script"]),
        ("kind=files", ["lst_demo_phrases"]),
        ("category=it", ["lst_demo_script"]),
        ("locale=ru", ["lst_demo_lease", "lst_demo_script"]),
        ("language=ja", ["lst_demo_interview"]),
        ("language=fr&category=family", ["lst_demo_sleep"]),
        ("price_min=6000", ["lst_demo_script"]),
        ("price_max=600&kind=consult", ["lst_demo_contract", "lst_demo_sleep"]),
        ("rating_min=4.5", ["lst_demo_vat", "lst_demo_script"]),
        ("q=скрипт", ["lst_demo_script"]),
        ("q=СКРИП&kind=work", ["lst_demo_script"]),
        ("q=ease", []),
        ("q=marin lease", ["lst_demo_lease"]),
        ("q='); DROP", []),
        ("q=mode=video", []),
    ],
)
async def test_P4_T37_listings_are_filtered(ranked: World, query: str, expected: list[str]) -> None:
    if query == "price_max=600&kind=consult":
        _, page = await ranked.stranger.get(f"/listings?{query}")
        assert {one["id"] for one in page["items"]} == set(expected)
        assert all(one["price_from"]["amount"] <= 600 for one in page["items"])
        return
    assert await found(ranked.stranger, query) == expected


async def test_P5_P6_listings_are_compared_by_what_matters(ranked: World) -> None:
    expert_id = await ranked.user_id(EXPERT)
    async with ranked.store.transaction() as tx:
        figures = {
            "completed_orders": 12,
            "response_count": 4,
            "response_sum_s": 1_200,
            "rating_milli": 4_449,
            "review_count": 7,
            "refusal_count": 1,
        }
        await tx.execute(sa.update(experts).where(experts.c.user_id == expert_id).values(figures))
    ids = ["lst_demo_script", "lst_demo_lease", "lst_nowhere"]
    _, page = await ranked.stranger.get(f"/listings?ids={','.join(ids)}")
    script, lease = page["items"]
    assert (script["id"], lease["id"]) == ("lst_demo_script", "lst_demo_lease")
    assert (script["price"]["amount"], script["delivery_days"]) == (6_000, 5)
    assert (lease["rating"], lease["order_count"]) == (4.2, 5)
    card = lease["expert"]
    assert (card["completed_orders"], card["response_s"], card["rating"]) == (12, 300, 4.4)
    assert (card["review_count"], card["refusal_count"]) == (7, 1)
    assert card["languages"] == ["en", "ro", "fr", "ru"]
    many = ",".join(f"lst_{n}" for n in range(11))
    assert (await ranked.stranger.get(f"/listings?ids={many}"))[0] == 422


async def test_P6_a_profile_has_knowledge_skills_and_experience(world: World) -> None:
    _, expert = await world.stranger.get("/experts/expert")
    assert expert["display_name"] == "Dr. Elena Marin"
    assert expert["education"].startswith("Doctorate")
    assert expert["experience"].startswith("Twelve years")
    assert expert["skills"] == ["tenancy", "contracts", "mediation"]
    assert expert["categories"] == ["law"]
    assert {one["id"] for one in expert["listings"]} == {"lst_demo_lease", "lst_demo_contract"}
    answer = await world.client.get(expert["card"]["photo_url"])
    assert (answer.status, answer.content_type) == (200, "image/png")
    assert (await world.stranger.get("/experts/nobody"))[0] == 404


async def test_P28_P29_the_rating_ranks_what_is_found(store: Store) -> None:
    world = World(store, preset=AZMOUDEGAN)
    await world.start()
    try:
        async with store.transaction() as tx:
            for listing_id, rating in (("lst_demo_site", 4_800), ("lst_demo_logo", 3_100)):
                one = sa.update(listings).where(listings.c.id == listing_id)
                await tx.execute(one.values(rating_milli=rating))
            best = sa.update(experts).where(experts.c.slug == "sara")
            await tx.execute(best.values(rating_milli=4_800))
        ids = await found(world.stranger, "")
        assert ids[:2] == ["lst_demo_site", "lst_demo_logo"]
        _, page = await world.stranger.get("/experts?limit=1")
        assert [one["slug"] for one in page["items"]] == ["sara"]
        _, page = await world.stranger.get(f"/experts?cursor={page['next_cursor']}")
        assert {one["slug"] for one in page["items"]} == {"expert", "reza"}
    finally:
        await world.stop()


async def test_experts_of_a_category_and_online(world: World) -> None:
    world.engine.online = {await world.user_id(EXPERT)}
    for query, expected in (
        ("category=law", ["expert"]),
        ("category=taxes", ["jonas"]),
        ("online=true", ["expert"]),
        ("category=taxes&online=true", []),
    ):
        _, page = await world.stranger.get(f"/experts?{query}")
        assert [one["slug"] for one in page["items"]] == expected, query


async def test_categories_are_named_in_the_language_asked_for(world: World) -> None:
    _, tree = await world.stranger.get("/categories?locale=ru")
    names = {one["slug"]: one["name"] for one in tree["items"]}
    assert names["law"] == "Право"
    assert [one["slug"] for one in tree["items"]][:2] == ["law", "taxes"]


async def test_a_new_headline_is_found(any_world: World) -> None:
    expert = await any_world.sign_in(EXPERT)
    body = {"headline": "Kumquat lawyer", "languages": ["en", "eo"]}
    status, _ = await expert.send("PATCH", "/me/expert", body)
    assert status == 200
    assert await found(any_world.stranger, "q=kumquat") == CONSULTATIONS[:2]
    assert await found(any_world.stranger, "language=eo") == CONSULTATIONS[:2]
    assert await found(any_world.stranger, "language=ro") == []


async def test_what_is_not_indexed_yet_is_indexed_at_the_start(any_world: World) -> None:
    async with any_world.store.transaction() as tx:
        await tx.execute(sa.update(listings).values(search_text=""))
    assert await found(any_world.stranger, "q=lease") == []
    await indexing.index_missing(any_world.store)
    assert await found(any_world.stranger, "q=lease") == ["lst_demo_lease"]


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


async def _many(store: Store, count: int) -> None:
    """So many published listings; each has a word that one in a thousand has. And as many users."""
    async with store.transaction() as tx:
        await tx.exec_driver_sql(
            "INSERT INTO users (id, email, display_name, password_hash, roles, created_at_ms) "
            "SELECT 'usr_many_' || n, n || '@many.test', 'Somebody', '-', '[]', 1 "
            f"FROM generate_series(1, {count}) n"
        )
        await tx.exec_driver_sql(
            "INSERT INTO listings (id, expert_id, kind, title, description, category, state, "
            "tariffs, search_text, price_from_minor, rating_milli, order_count, created_at_ms) "
            "SELECT 'lst_many_' || n, (ARRAY['usr_demo_expert', 'usr_demo_jonas'])[1 + n % 2], "
            "'work', 'Listing', 'Text', 'c' || n % 50, 'published', '{}', "
            "'common word' || n % 1000 || ' mode=video locale=en', n, n % 5000, n % 700, n "
            f"FROM generate_series(1, {count}) n"
        )
    async with store.engine.connect() as connection:
        raw = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await raw.exec_driver_sql("ANALYZE")


@pytest.mark.postgres
async def test_P4_a_page_of_many_listings_is_read_off_an_index(postgres_store: Store) -> None:
    world = World(postgres_store)
    await world.start()
    try:
        await _many(postgres_store, 20_000)
        searches: tuple[tuple[search.Filter, search.Sort], ...] = (
            (search.Filter(), "new"),
            (search.Filter(), "popular"),
            (search.Filter(kind="work"), "rating"),
            (search.Filter(price_min=500), "price"),
            (search.Filter(q="word77"), "new"),
            (search.Filter(q="common", mode="video"), "popular"),
        )
        for wanted, sort in searches:
            async with postgres_store.reading() as tx:
                query = await search.statement(world.deps, tx, wanted, sort, after=None, limit=21)
                assert query is not None
                plan = await _plan(tx, query)
            big = ("listings", "users")
            scans = [node for node in _nodes(plan) if node.get("Relation Name") in big]
            assert {node["Relation Name"] for node in scans} == set(big)
            assert all(node["Node Type"] != "Seq Scan" for node in scans), (wanted, sort)
        assert len(await found(world.stranger, "q=word777&limit=100")) == 20
    finally:
        await world.stop()


async def _plan(tx: Any, query: sa.Select[Any]) -> dict[str, Any]:
    text = str(query.compile(dialect=tx.dialect, compile_kwargs={"literal_binds": True}))
    answer = (await tx.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}")).scalar_one()
    told = json.loads(answer) if isinstance(answer, str) else answer
    plan: dict[str, Any] = told[0]["Plan"]
    return plan
