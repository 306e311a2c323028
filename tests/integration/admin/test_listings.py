"""An expert's listings: written, reviewed, shown, changed."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from PIL import Image

from admin.presets import AZMOUDEGAN, INFOTWIP
from engine.store.database import Store
from engine.store.market_tables import cases, notifications
from tests.integration.admin.conftest import CUSTOMER, EXPERT, STAFF, Api, World

OTHER = "jonas@demo.talktime.test"
CONSULT = {
    "kind": "consult",
    "locales": ["en"],
    "title": {"en": "Zebra keeping"},
    "description": {"en": "What a zebra needs."},
    "category": "family",
    "tariffs": {"video": 1_500, "text": 900},
}
WORK = {
    "kind": "work",
    "locales": ["en", "ru"],
    "title": {"en": "A poem", "ru": "Стихи"},
    "description": {"en": "Twelve lines to your wish.", "ru": "Двенадцать строк по желанию."},
    "category": "languages",
    "price_minor": 2_500,
    "delivery_days": 3,
    "requirements": "For whom is it?",
}
GOODS = {
    "kind": "files",
    "locales": ["en"],
    "title": {"en": "Knitting patterns"},
    "description": {"en": "Three patterns as text."},
    "category": "family",
    "price_minor": 700,
}


async def saved(api: Api, body: dict[str, Any], **changes: Any) -> Any:
    status, listing = await api.post("/listings", body | changes)
    assert status == 201, listing
    return listing


async def reviewed(world: World, listing_id: str, decision: str = "approve") -> Any:
    staff = await world.sign_in(STAFF)
    body = {"decision": decision, "reason": "Read by a person."}
    status, listing = await staff.post(f"/listings/{listing_id}/review", body)
    assert status == 200, listing
    return listing


async def published(world: World, api: Api, body: dict[str, Any], **changes: Any) -> Any:
    listing = await saved(api, body, **changes)
    status, answer = await api.post(f"/listings/{listing['id']}/submit")
    assert status == 200, answer
    return await reviewed(world, listing["id"])


async def shown(world: World, listing_id: str) -> Any:
    status, listing = await world.stranger.get(f"/listings/{listing_id}")
    return listing if status == 200 else None


async def test_T1_T4_T39_one_listing_with_a_price_per_mode(any_world: World) -> None:
    expert = await any_world.sign_in(EXPERT)
    listing = await published(any_world, expert, CONSULT)
    seen = await shown(any_world, listing["id"])
    assert (seen["kind"], seen["title"]) == ("consult", "Zebra keeping")
    prices = {tariff["mode"]: tariff["block_price_minor"] for tariff in seen["tariffs"]}
    assert prices == {"video": 1_500, "text": 900}
    grace = {tariff["mode"]: tariff["grace_seconds"] for tariff in seen["tariffs"]}
    assert grace == {"video": 60, "text": 0}
    assert seen["price_from"] == {"amount": 900, "currency": "EUR"}
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(listing["id"], "text")
    assert order["price"]["amount"] == 900


async def test_T3_only_registered_users_add_listings(world: World) -> None:
    assert (await world.stranger.post("/listings", CONSULT))[0] == 401
    # Where nobody decides it, a member becomes an expert by the first listing.
    customer = await world.sign_in(CUSTOMER)
    assert (await customer.get("/me/expert"))[0] == 404
    await saved(customer, CONSULT)
    assert (await customer.get("/me/expert"))[1]["slug"] == "mira-lind"
    assert "expert" in (await customer.get("/me"))[1]["roles"]


@pytest.mark.parametrize(
    "changes",
    [
        {"description": {"en": "Said."}},
        {"description": {"en": "Said.", "ru": "   "}},
        {"title": {"en": "Said.", "ru": ""}},
        {"locales": ["en", "en"]},
        {"locales": ["en", "xx"]},
        {"locales": ["en"]},
    ],
)
async def test_T6_C33_every_language_is_filled(world: World, changes: dict[str, Any]) -> None:
    expert = await world.sign_in(EXPERT)
    status, problem = await expert.post("/listings", WORK | changes)
    assert (status, problem["code"] in ("text_missing", "locale_unknown", "too_many_locales")) == (
        422,
        True,
    ), problem


async def test_T5_T6_a_listing_is_read_in_the_language_of_the_reader(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    listing = await published(world, expert, WORK)
    path = f"/listings/{listing['id']}"
    for locale, title in (("en", "A poem"), ("ru", "Стихи"), ("fa", "A poem")):
        _, seen = await world.stranger.get(f"{path}?locale={locale}")
        assert seen["title"] == title
    assert seen["locales"] == ["en", "ru"]
    _, found = await world.stranger.get("/listings?locale=ru&q=стихи")
    assert [one["id"] for one in found["items"]] == [listing["id"]]


async def test_T7_T8_a_listing_is_published_after_a_moderators_check(any_world: World) -> None:
    world = any_world
    expert = await world.sign_in(EXPERT)
    listing = await saved(expert, CONSULT)
    path = f"/listings/{listing['id']}"
    assert (listing["state"], listing["actions"]) == ("draft", ["edit", "submit", "archive"])
    assert await shown(world, listing["id"]) is None
    status, listing = await expert.post(f"{path}/submit")
    assert (status, listing["state"]) == (200, "pending_review")
    assert await shown(world, listing["id"]) is None
    assert (await expert.post(f"{path}/submit"))[1]["code"] == "listing_pending_review"
    # Neither its author nor other members decide.
    body = {"decision": "approve", "reason": "Fine."}
    assert (await expert.post(f"{path}/review", body))[0] == 403
    assert (await (await world.sign_in(CUSTOMER)).post(f"{path}/review", body))[0] == 404
    listing = await reviewed(world, listing["id"], "request_changes")
    assert (listing["state"], listing["reason"]) == ("changes_requested", "Read by a person.")
    await expert.send("PATCH", path, {"description": {"en": "What a zebra really needs."}})
    await expert.post(f"{path}/submit")
    assert (await reviewed(world, listing["id"]))["state"] == "published"
    assert (await shown(world, listing["id"]))["description"] == "What a zebra really needs."
    async with world.store.reading() as tx:
        told = sa.select(notifications.c.type).where(notifications.c.subject_id == listing["id"])
        assert set(await tx.scalars(told)) == {"listing.changes_requested", "listing.published"}
        states = sa.select(cases.c.decision).where(cases.c.subject_id == listing["id"])
        assert sorted(await tx.scalars(states)) == ["approve", "changes_requested"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tariffs": {}}, "price_missing"),
        ({"category": ""}, "category_missing"),
        ({"category": "nowhere"}, "category_missing"),
    ],
)
async def test_T7_required_fields(world: World, changes: dict[str, Any], code: str) -> None:
    expert = await world.sign_in(EXPERT)
    listing = await saved(expert, CONSULT, **changes)
    status, problem = await expert.post(f"/listings/{listing['id']}/submit")
    assert (status, problem["code"]) == (422, code)


async def test_T8_an_edit_is_reviewed_while_the_old_text_stays(any_world: World) -> None:
    world = any_world
    expert, staff = await world.sign_in(EXPERT), await world.sign_in(STAFF)
    listing = await published(world, expert, CONSULT)
    path = f"/listings/{listing['id']}"
    for text in ("Second text.", "Third text."):
        status, edited = await expert.send("PATCH", path, {"description": {"en": text}})
        assert (status, edited["state"]) == (200, "published")
    assert edited["revision"]["state"] == "pending_review"
    assert (await shown(world, listing["id"]))["description"] == "What a zebra needs."
    # Who read the second text does not decide about the third.
    stale = {"decision": "approve", "reason": "Fine.", "revision": edited["revision"]["number"] - 1}
    assert (await staff.post(f"{path}/review", stale))[1]["code"] == "changed_meanwhile"
    listing = await reviewed(world, listing["id"])
    assert (await shown(world, listing["id"]))["description"] == "Third text."
    async with world.store.reading() as tx:
        of_it = sa.select(sa.func.count()).where(cases.c.subject_id == listing["id"])
        assert await tx.scalar(of_it) == 2
    # A later text that is turned down changes nothing for customers.
    await expert.send("PATCH", path, {"title": {"en": "Free money"}})
    listing = await reviewed(world, listing["id"], "reject")
    assert (listing["state"], listing["revision"]["state"]) == ("published", "changes_requested")
    assert (await shown(world, listing["id"]))["title"] == "Zebra keeping"
    again = {"decision": "approve", "reason": "Fine."}
    assert (await staff.post(f"{path}/review", again))[1]["code"] == "nothing_to_review"


async def test_prices_and_pauses_need_no_review(world: World) -> None:
    expert, customer = await world.sign_in(EXPERT), await world.sign_in(CUSTOMER)
    listing = await published(world, expert, WORK)
    path = f"/listings/{listing['id']}"
    status, edited = await expert.send("PATCH", path, {"price_minor": 3_000, "delivery_days": 9})
    assert (status, edited["revision"]["state"]) == (200, "published")
    seen = await shown(world, listing["id"])
    assert (seen["price"]["amount"], seen["delivery_days"]) == (3_000, 9)
    assert (await customer.send("PATCH", path, {"price_minor": 1}))[0] == 404
    assert (await expert.post(f"{path}/pause"))[1]["state"] == "paused"
    assert await shown(world, listing["id"]) is None
    body = {"listing_id": listing["id"]}
    assert (await customer.post("/orders", body))[1]["code"] == "listing_not_found"
    assert (await expert.post(f"{path}/resume"))[1]["state"] == "published"
    assert (await customer.post("/orders", body))[0] == 201
    assert (await expert.send("DELETE", path))[1]["state"] == "archived"
    assert await shown(world, listing["id"]) is None
    assert (await expert.send("PATCH", path, {"price_minor": 5}))[1]["code"] == "listing_archived"


async def test_staff_take_a_listing_down_and_restore_it(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    listing = await published(world, expert, WORK)
    assert (await reviewed(world, listing["id"], "take_down"))["state"] == "taken_down"
    assert await shown(world, listing["id"]) is None
    assert (await expert.post(f"/listings/{listing['id']}/resume"))[0] == 409
    assert (await reviewed(world, listing["id"], "restore"))["state"] == "paused"


async def test_without_moderation_submitting_publishes(store: Store) -> None:
    terms = msgspec.structs.replace(INFOTWIP.terms, listing_moderation=False)
    world = World(store, preset=dataclasses.replace(INFOTWIP, terms=terms))
    await world.start()
    try:
        expert = await world.sign_in(EXPERT)
        listing = await saved(expert, CONSULT)
        assert (await expert.post(f"/listings/{listing['id']}/submit"))[1]["state"] == "published"
        path = f"/listings/{listing['id']}"
        await expert.send("PATCH", path, {"description": {"en": "At once."}})
        assert (await shown(world, listing["id"]))["description"] == "At once."
    finally:
        await world.stop()


async def test_T55_P21_work_has_a_price_a_time_and_a_question(any_world: World) -> None:
    world = any_world
    expert, customer = await world.sign_in(EXPERT), await world.sign_in(CUSTOMER)
    listing = await published(world, expert, WORK)
    seen = await shown(world, listing["id"])
    assert (seen["kind"], seen["price"]["amount"], seen["delivery_days"]) == ("work", 2_500, 3)
    assert seen["requirements"] == "For whom is it?"
    body = {"listing_id": listing["id"], "confirm": True, "requirements": "My aunt."}
    status, order = await customer.post("/orders", body)
    assert (status, order["fulfilment"], order["requirements"]) == (201, "work", "My aunt.")
    status, problem = await expert.post("/listings", WORK | {"tariffs": {"video": 5}})
    assert (status, problem["code"]) == (422, "price_fixed")


async def opened(api: Api, file_id: str) -> tuple[int, bytes]:
    async with api.client.get(f"/api/v1/files/{file_id}", headers=api.headers) as answer:
        return answer.status, await answer.read() if answer.status == 200 else b""


async def goods(expert: Api, text: str) -> str:
    status, file = await expert.upload("goods", text.encode(), f"{text}.txt")
    assert status == 201, file
    return str(file["id"])


async def test_T75_C27_no_files_before_the_first_save(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    file_id = await goods(expert, "one")
    status, problem = await expert.post("/listings", GOODS | {"files": [file_id]})
    assert (status, problem["code"]) == (409, "listing_not_saved")
    body = {"file_id": file_id}
    status, problem = await expert.send("PUT", "/listings/new/files/1", body)
    assert (status, problem["code"]) == (409, "listing_not_saved")
    listing = await saved(expert, GOODS)
    status, listing = await expert.send("PUT", f"/listings/{listing['id']}/files/1", body)
    assert status == 200
    assert [file["id"] for file in listing["revision"]["files"]] == [file_id]


async def test_T76_C27_three_files_at_most(any_world: World) -> None:
    expert = await any_world.sign_in(EXPERT)
    listing = await saved(expert, GOODS)
    path = f"/listings/{listing['id']}/files"
    ids = [await goods(expert, f"part {n}") for n in range(1, 5)]
    for n, file_id in enumerate(ids[:3], 1):
        assert (await expert.send("PUT", f"{path}/{n}", {"file_id": file_id}))[0] == 200
    status, problem = await expert.send("PUT", f"{path}/4", {"file_id": ids[3]})
    assert (status, problem["code"]) == (422, "too_many_files")
    assert (await expert.send("PUT", f"{path}/2", {"file_id": ids[3]}))[0] == 200
    _, listing = await expert.send("DELETE", f"{path}/1")
    assert [file["id"] for file in listing["revision"]["files"]] == [ids[3], ids[2]]
    assert (await expert.send("DELETE", f"{path}/3"))[1]["code"] == "file_missing"
    links = [f"https://example.org/{n}" for n in range(4)]
    status, problem = await expert.send("PATCH", f"/listings/{listing['id']}", {"links": links})
    assert (status, problem["code"]) == (422, "too_many_links")


async def test_T72_T74_files_and_links_are_sold(any_world: World) -> None:
    world = any_world
    expert, customer = await world.sign_in(EXPERT), await world.sign_in(CUSTOMER)
    listing = await saved(expert, GOODS, links=["https://example.org/more"])
    path = f"/listings/{listing['id']}"
    old, new = await goods(expert, "first edition"), await goods(expert, "second edition")
    await expert.send("PUT", f"{path}/files/1", {"file_id": old})
    await expert.post(f"{path}/submit")
    await reviewed(world, listing["id"])
    seen = await shown(world, listing["id"])
    assert (seen["kind"], seen["file_count"], seen["link_count"]) == ("files", 1, 1)
    assert "example.org" not in msgspec.json.encode(seen).decode()
    assert await opened(customer, old) == (404, b"")
    status, order = await customer.post("/orders", {"listing_id": listing["id"], "confirm": True})
    assert (status, order["state"]) == (201, "completed")
    # The seller goes on; the buyer keeps what was bought.
    await expert.send("PUT", f"{path}/files/1", {"file_id": new})
    await reviewed(world, listing["id"])
    assert await opened(customer, old) == (200, b"first edition")
    assert await opened(customer, new) == (404, b"")


async def test_T74_only_listings_of_files_have_files_and_need_one(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    work = await saved(expert, WORK)
    body = {"file_id": await goods(expert, "x")}
    status, problem = await expert.send("PUT", f"/listings/{work['id']}/files/1", body)
    assert (status, problem["code"]) == (409, "not_a_files_listing")
    empty = await saved(expert, GOODS)
    status, problem = await expert.post(f"/listings/{empty['id']}/submit")
    assert (status, problem["code"]) == (422, "files_missing")
    other = await world.sign_in(OTHER)
    theirs = await goods(other, "x")
    status, problem = await expert.send(
        "PUT", f"/listings/{empty['id']}/files/1", {"file_id": theirs}
    )
    assert (status, problem["code"]) == (422, "file_not_usable")


async def test_P22_pictures_are_the_experts_own_and_public_when_published(world: World) -> None:
    expert, other = await world.sign_in(EXPERT), await world.sign_in(OTHER)
    out = io.BytesIO()
    Image.new("RGB", (30, 20), "green").save(out, "PNG")
    _, image = await expert.upload("image", out.getvalue(), "work.png")
    assert (await other.post("/listings", WORK | {"images": [image["id"]]}))[0] == 422
    listing = await published(world, expert, WORK, images=[image["id"]])
    (url,) = (await shown(world, listing["id"]))["images"]
    answer = await world.client.get(url)
    assert (answer.status, answer.content_type) == (200, "image/png")


async def test_my_listings_are_mine(world: World) -> None:
    expert, other = await world.sign_in(EXPERT), await world.sign_in(OTHER)
    listing = await saved(expert, WORK)
    _, page = await expert.get("/me/listings?limit=1")
    assert [one["id"] for one in page["items"]] == [listing["id"]]
    _, page = await expert.get(f"/me/listings?cursor={page['next_cursor']}")
    assert [one["id"] for one in page["items"]] == ["lst_demo_lease", "lst_demo_contract"]
    assert (await other.get(f"/me/listings/{listing['id']}"))[0] == 404
    staff = await world.sign_in(STAFF)
    assert (await staff.get(f"/me/listings/{listing['id']}"))[1]["revision"]["state"] == "draft"


async def test_P19_where_staff_decide_one_applies_first(store: Store) -> None:
    world = World(store, preset=AZMOUDEGAN)
    await world.start()
    try:
        customer, staff = await world.sign_in(CUSTOMER), await world.sign_in(STAFF)
        body = WORK | {"locales": ["en"], "title": {"en": "A"}, "description": {"en": "B"}}
        assert (await customer.post("/listings", body))[1]["code"] == "not_expert"
        application = {"about": "I draw.", "skills": []}
        assert (await customer.post("/applications", application))[0] == 422
        application = {"about": "I draw.", "education": "School.", "categories": ["design"]}
        status, case = await customer.post("/applications", application)
        assert (status, case["state"]) == (201, "open")
        assert (await customer.post("/applications", application))[1]["code"] == "application_open"
        decide = f"/applications/{case['id']}/decide"
        wish = {"decision": "request_info", "reason": "Show us a drawing."}
        assert (await customer.post(decide, wish))[0] == 403
        assert (await (await world.sign_in("reza@demo.talktime.test")).post(decide, wish))[0] == 404
        assert (await staff.post(decide, wish))[1]["state"] == "info_requested"
        assert (await customer.get("/me/application"))[1]["reason"] == "Show us a drawing."
        answer = application | {"about": "I draw birds."}
        status, case = await customer.post(f"/applications/{case['id']}/answer", answer)
        assert (status, case["state"]) == (200, "in_progress")
        approve = {"decision": "approve", "reason": "Welcome."}
        assert (await staff.post(decide, approve))[1]["decision"] == "approve"
        _, expert = await customer.get("/me/expert")
        assert (expert["about"], expert["categories"]) == ("I draw birds.", ["design"])
        assert (await customer.post("/listings", body))[0] == 201
        assert (await customer.post("/listings", body | {"kind": "consult"}))[1]["code"] == (
            "kind_not_offered"
        )
    finally:
        await world.stop()
