"""Custom requests and offers over REST, on both stores (P3, P8 to P10, P12, C25, C26)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from engine.store.market_tables import marks
from engine.store.tables import experts, orders, outbox
from tests.integration.admin.conftest import Api
from tests.integration.admin.market.conftest import DAY, HAS_MINOR, Market

WANT = {"title": "A table", "body": "Oak, two metres, for eight people."}
OFFER = {"price_minor": 9_000, "delivery_days": 5}


async def ask(market: Market, *who: Api, **more: Any) -> Any:
    body = WANT | {"expert_ids": [each.user_id for each in who]} | more
    status, request = await market.customer.post("/requests", body)
    assert status == 201, request
    return request


async def offer(who: Api, request: Any, **changes: Any) -> Any:
    status, made = await who.post(f"/requests/{request['id']}/proposals", OFFER | changes)
    assert status == 201, made
    return made


async def act(who: Api, proposal: Any, action: str, body: Any = None) -> Any:
    status, answer = await who.post(f"/proposals/{proposal['id']}/{action}", body)
    assert status == 200, answer
    return answer


async def refusal(who: Api, path: str, body: Any = None) -> tuple[int, str]:
    status, answer = await who.post(path, body)
    assert status >= 400, answer
    return status, answer["code"]


async def see(who: Api, request: Any) -> Any:
    status, found = await who.get(f"/requests/{request['id']}")
    assert status == 200, found
    return found


async def placed(market: Market) -> Sequence[Any]:
    async with market.store.reading() as tx:
        return (await tx.execute(sa.select(orders))).all()


def at(market: Market, seconds: float) -> str:
    return datetime.fromtimestamp(market.clock.wall_ms() / 1_000 + seconds, UTC).isoformat()


async def test_presets_without_negotiation_have_no_requests(market: Market) -> None:
    for path in ("/requests", "/requests/x/cancel", "/proposals/x/accept", "/proposals/x/counter"):
        body = {"/requests": WANT, "/proposals/x/counter": OFFER, "/requests/x/cancel": {}}
        assert await refusal(market.customer, path, body.get(path)) == (404, "not_offered_here")
    for path in ("/requests", "/requests/x"):
        assert (await market.customer.get(path))[1]["code"] == "not_offered_here"


async def test_P3_P8_P9_P10_a_request_describes_the_wish_and_goes_to_several(
    bazaar: Market,
) -> None:
    ada, bob = await bazaar.expert_named("ada"), await bazaar.expert_named("bob")
    file_id = await bazaar.file(bazaar.customer, "attachment", "sketch.pdf")
    by = at(bazaar, 10 * DAY)
    more = {"files": [file_id], "budget_minor": 10_000, "delivery_by": by}
    request = await ask(bazaar, ada, bob, **more)
    assert (request["state"], request["role"], request["warning"]) == ("open", "customer", None)
    assert request["budget"] == {"amount": 10_000, "currency": "EUR"}
    assert [(p["expert"]["id"], p["state"]) for p in request["proposals"]] == [
        ("usr_ada", "invited"),
        ("usr_bob", "invited"),
    ]
    for expert in (ada, bob):
        assert await bazaar.told(expert) == ["request.received"]
        _, page = await expert.get("/requests?role=expert")
        (seen,) = page["items"]
        assert (seen["title"], seen["body"]) == (WANT["title"], WANT["body"])
        assert (seen["role"], seen["can_offer"]) == ("expert", True)
        assert [p["expert"]["id"] for p in seen["proposals"]] == [expert.user_id]
        (file,) = seen["files"]
        async with bazaar.world.client.get(file["url"]) as opened:
            assert await opened.read() == b"%PDF"
    assert (await bazaar.expert.get(f"/requests/{request['id']}"))[0] == 404
    _, mine = await bazaar.customer.get("/requests?role=customer")
    assert [each["id"] for each in mine["items"]] == [request["id"]]
    _, either = await bazaar.customer.get("/requests")
    assert either["items"] == mine["items"]
    _, none = await bazaar.customer.get("/requests?role=expert")
    assert none["items"] == []
    assert await bazaar.events(request["id"]) == ["request.created"]


async def test_P8_whom_a_request_may_go_to(bazaar: Market) -> None:
    customer, ada = bazaar.customer, await bazaar.expert_named("ada")

    async def refused(**who: Any) -> tuple[int, str]:
        return await refusal(customer, "/requests", WANT | who)

    assert await refused() == (422, "invalid_body")
    both = {"expert_ids": ["usr_ada"], "category": "design"}
    assert await refused(**both) == (422, "invalid_body")
    assert await refused(expert_ids=["usr_none"]) == (404, "expert_not_found")
    assert await refused(expert_ids=[customer.user_id]) == (409, "own_request")
    assert await refused(listing_id="lst_none") == (404, "listing_not_found")
    assert await refused(category="nothing") == (404, "category_not_found")
    late = {"expert_ids": ["usr_ada"], "deadline": at(bazaar, -1)}
    assert await refused(**late) == (422, "invalid_deadline")
    await bazaar.block(ada, customer)
    assert await refused(expert_ids=["usr_ada"]) == (403, "blocked")
    listing_id = await bazaar.offer()
    status, request = await customer.post("/requests", WANT | {"listing_id": listing_id})
    assert status == 201
    assert [p["expert"]["id"] for p in request["proposals"]] == [bazaar.expert.user_id]


async def test_P8_C25_of_a_category_some_are_drawn_by_lot(bazaar: Market) -> None:
    names = ("ada", "bob", "cyd", "dan", "eve", "fay")
    people = {name: await bazaar.expert_named(name, "carpentry") for name in names}
    await bazaar.block(people["ada"], bazaar.customer)
    await bazaar.block(bazaar.customer, people["bob"])
    async with bazaar.store.transaction() as tx:
        idle = sa.update(experts).where(experts.c.user_id == "usr_cyd").values(active=False)
        await tx.execute(idle)
    status, request = await people["dan"].post("/requests", WANT | {"category": "carpentry"})
    assert status == 201
    drawn = [p["expert"]["id"] for p in request["proposals"]]
    assert len(drawn) == 3
    assert set(drawn) <= {"usr_ada", "usr_bob", "usr_eve", "usr_fay"}
    async with bazaar.store.transaction() as tx:
        await tx.execute(sa.delete(marks))
    await bazaar.block(people["ada"], bazaar.customer)
    await bazaar.block(bazaar.customer, people["bob"])
    status, request = await bazaar.customer.post("/requests", WANT | {"category": "carpentry"})
    assert status == 201
    assert {p["expert"]["id"] for p in request["proposals"]} == {"usr_dan", "usr_eve", "usr_fay"}
    assert {p["invited_by"] for p in request["proposals"]} == {"random"}


async def test_P12_C26_accepting_tells_one_winner_and_the_losers_and_places_the_order(
    bazaar: Market,
) -> None:
    ada, bob, cyd = [await bazaar.expert_named(name) for name in ("ada", "bob", "cyd")]
    file_id = await bazaar.file(bazaar.customer, "attachment")
    request = await ask(bazaar, ada, bob, cyd, files=[file_id])
    offers = {who: await offer(who, request) for who in (ada, bob, cyd)}
    bazaar.clock.advance(1)
    accepted = await act(bazaar.customer, offers[bob], "accept")
    assert accepted["state"] == "accepted"
    told = [await bazaar.told(who) for who in (ada, bob, cyd)]
    assert [each[1:] for each in told] == [
        ["proposal.lost"],
        ["proposal.accepted"],
        ["proposal.lost"],
    ]
    seen = await see(bazaar.customer, request)
    assert (seen["state"], seen["order_id"]) == ("awarded", accepted["order_id"])
    assert [p["state"] for p in seen["proposals"]] == ["lost", "accepted", "lost"]
    order = await bazaar.see(bazaar.customer, accepted["order_id"])
    assert (order["state"], order["fulfilment"], order["title"]) == (
        "pending_payment",
        "work",
        "A table",
    )
    assert (order["price"]["amount"], order["held"]["amount"]) == (9_000, 0)
    assert (order["expert"]["id"], order["requirements"]) == ("usr_bob", WANT["body"])
    assert await bazaar.customer.wallet() == (HAS_MINOR, 0)
    (agreed,) = await bazaar.messages(bob, order["conversation_id"])
    assert (agreed["kind"], [file["id"] for file in agreed["files"]]) == ("system", [file_id])
    assert "90.00 EUR" in agreed["body"]
    paid = await bazaar.do(bazaar.customer, order["id"], "pay")
    assert (paid["state"], paid["held"]["amount"]) == ("open", 9_000)
    assert await bazaar.customer.wallet() == (HAS_MINOR - 9_000, 9_000)
    for proposal in offers.values():
        path = f"/proposals/{proposal['id']}/accept"
        assert (await refusal(bazaar.customer, path))[0] == 409
    assert len(await placed(bazaar)) == 1


async def test_P12_offers_are_revised_and_countered_each_in_a_row_of_its_own(
    bazaar: Market,
) -> None:
    ada = await bazaar.expert_named("ada")
    request = await ask(bazaar, ada)
    first = await offer(ada, request, note="In oak.")
    assert first["actions"] == ["withdraw"]
    second = await offer(ada, request, price_minor=8_000)
    assert (second["previous_id"], second["by"]) == (first["id"], "expert")
    stale = await refusal(bazaar.customer, f"/proposals/{first['id']}/accept")
    assert stale == (409, "offer_superseded")  # the price has changed under the customer's eyes
    countered = await act(bazaar.customer, second, "counter", OFFER | {"price_minor": 7_000})
    assert (countered["by"], countered["price"]["amount"]) == ("customer", 7_000)
    assert countered["actions"] == ["withdraw"]
    path = f"/proposals/{countered['id']}"
    assert await refusal(bazaar.customer, f"{path}/accept") == (409, "own_offer")
    assert await refusal(ada, f"{path}/withdraw") == (409, "not_your_offer")
    (shown,) = (await see(ada, request))["proposals"]
    assert shown["actions"] == ["accept", "counter", "decline"]
    accepted = await act(ada, countered, "accept")
    order = await bazaar.see(bazaar.customer, accepted["order_id"])
    assert (order["price"]["amount"], order["state"]) == (7_000, "pending_payment")
    assert "proposal.accepted" in await bazaar.told(bazaar.customer)


async def test_P8_declining_withdrawing_and_offering_again(bazaar: Market) -> None:
    ada, bob = await bazaar.expert_named("ada"), await bazaar.expert_named("bob")
    request = await ask(bazaar, ada, bob)
    invited, _ = request["proposals"]
    declined = await act(ada, invited, "decline", {"reason": "No oak left."})
    assert (declined["state"], declined["reason"]) == ("declined", "No oak left.")
    assert "proposal.declined" in await bazaar.told(bazaar.customer)
    again = await offer(ada, request)
    assert (again["state"], again["previous_id"]) == ("pending", invited["id"])
    mine = await offer(bob, request)
    assert (await act(bob, mine, "withdraw"))["state"] == "withdrawn"
    path = f"/proposals/{mine['id']}/accept"
    assert await refusal(bazaar.customer, path) == (409, "offer_withdrawn")
    assert await refusal(ada, path) == (404, "proposal_not_found")
    refused = await act(bazaar.customer, again, "decline", {"reason": "Too dear."})
    assert refused["state"] == "declined"


async def test_P27_questions_before_the_offer_are_not_seen_by_competitors(bazaar: Market) -> None:
    ada, bob = await bazaar.expert_named("ada"), await bazaar.expert_named("bob")
    request = await ask(bazaar, ada, bob)
    talks = {p["expert"]["id"]: p["conversation_id"] for p in request["proposals"]}
    await bazaar.say(ada, talks["usr_ada"], "Which finish?")
    await bazaar.say(bazaar.customer, talks["usr_ada"], "Oil.")
    assert len(await bazaar.messages(ada, talks["usr_ada"])) == 2
    assert await bazaar.messages(bob, talks["usr_bob"]) == []
    assert (await bob.get(f"/conversations/{talks['usr_ada']}/messages"))[0] == 404
    _, inbox = await bazaar.customer.get("/conversations?kind=request")
    assert inbox["items"][0]["about"]["title"] == "A table"
    status, _ = await bazaar.customer.post(f"/requests/{request['id']}/cancel", {})
    assert status == 200
    path = f"/conversations/{talks['usr_ada']}/messages"
    assert await refusal(ada, path, {"body": "still?"}) == (409, "request_closed")


async def test_P24_the_first_reaction_to_a_request_counts_once(bazaar: Market) -> None:
    ada, bob, cyd = [await bazaar.expert_named(name) for name in ("ada", "bob", "cyd")]
    request = await ask(bazaar, ada, bob, cyd)
    talks = {p["expert"]["id"]: p for p in request["proposals"]}
    bazaar.clock.advance(60)
    await offer(ada, request)
    bazaar.clock.advance(60)
    await bazaar.say(ada, talks["usr_ada"]["conversation_id"], "Any questions?")
    await offer(ada, request, price_minor=1)
    await bazaar.say(bob, talks["usr_bob"]["conversation_id"], "Which finish?")
    bazaar.clock.advance(60)
    await offer(bob, request)
    await act(cyd, talks["usr_cyd"], "decline", {})
    async with bazaar.store.reading() as tx:
        e = experts.c
        query = sa.select(e.user_id, e.response_count, e.response_sum_s)
        found = await tx.execute(query.where(e.response_count > 0).order_by(e.user_id))
        assert [tuple(row) for row in found] == [
            ("usr_ada", 1, 60),
            ("usr_bob", 1, 120),
            ("usr_cyd", 1, 180),
        ]


async def test_P13_contacts_in_requests_and_offers_are_hidden(bazaar: Market) -> None:
    ada = await bazaar.expert_named("ada")
    request = await ask(bazaar, ada, body="Write to me@example.com before 31.12.2026")
    assert request["body"] == "Write to ••• before 31.12.2026"
    assert "until an order is paid" in request["warning"]
    made = await offer(ada, request, note="t.me/ada_makes, 90.00 EUR")
    assert made["note"] == "•••, 90.00 EUR"
    assert "until an order is paid" in made["warning"]
    assert await bazaar.events(request["id"]) == ["request.created", "message.off_platform"]


async def test_P8_offers_and_requests_expire_when_their_time_is_over(bazaar: Market) -> None:
    ada, bob = await bazaar.expert_named("ada"), await bazaar.expert_named("bob")
    request = await ask(bazaar, ada, bob, deadline=at(bazaar, 2 * DAY))
    made = await offer(ada, request, valid_until=at(bazaar, DAY))
    path = f"/requests/{request['id']}/proposals"
    for until in (at(bazaar, -1), at(bazaar, 3 * DAY)):
        status = await refusal(bob, path, OFFER | {"valid_until": until})
        assert status == (422, "invalid_valid_until")
    bazaar.clock.advance(DAY)  # before any timer has looked
    accept = f"/proposals/{made['id']}/accept"
    assert await refusal(bazaar.customer, accept) == (409, "offer_expired")
    await bazaar.pass_time(0)
    seen = await see(bazaar.customer, request)
    assert [p["state"] for p in seen["proposals"]] == ["expired", "invited"]
    again = await offer(ada, request)
    bazaar.clock.advance(DAY)
    accept = f"/proposals/{again['id']}/accept"
    assert await refusal(bazaar.customer, accept) == (409, "request_closed")
    assert await refusal(bob, path, OFFER) == (409, "request_closed")
    await bazaar.pass_time(0)
    seen = await see(bazaar.customer, request)
    assert (seen["state"], seen["actions"]) == ("expired", [])
    assert {p["state"] for p in seen["proposals"]} == {"expired"}
    assert "request.expired" in await bazaar.told(bazaar.customer)
    assert await bazaar.pass_time(DAY) == 0
    assert await placed(bazaar) == []


async def test_P8_a_cancelled_request_tells_whoever_was_asked(bazaar: Market) -> None:
    ada, bob = await bazaar.expert_named("ada"), await bazaar.expert_named("bob")
    request = await ask(bazaar, ada, bob)
    await offer(ada, request)
    path = f"/requests/{request['id']}/cancel"
    assert await refusal(ada, path, {}) == (404, "request_not_found")
    status, closed = await bazaar.customer.post(path, {"reason": "No longer needed."})
    assert (status, closed["state"]) == (200, "cancelled")
    assert {p["state"] for p in closed["proposals"]} == {"lost"}
    for who in (ada, bob):
        assert (await bazaar.told(who)).count("proposal.dropped") == 1
    assert await refusal(bazaar.customer, path, {}) == (409, "request_closed")


@pytest.mark.parametrize("attempt", range(3))
async def test_P12_two_acceptances_at_once_place_one_order(bazaar: Market, attempt: int) -> None:
    people = [await bazaar.expert_named(name) for name in ("ada", "bob", "cyd")]
    request = await ask(bazaar, *people)
    paths = [f"/proposals/{(await offer(who, request))['id']}/accept" for who in people]
    turned = paths[attempt:] + paths[:attempt]
    answers = await asyncio.gather(*(bazaar.customer.post(path) for path in turned))
    assert sorted(status for status, _ in answers) == [200, 409, 409]
    assert {answer["code"] for status, answer in answers if status == 409} == {"request_closed"}
    assert len(await placed(bazaar)) == 1


async def test_P12_accepting_and_withdrawing_at_once_have_one_winner(bazaar: Market) -> None:
    ada = await bazaar.expert_named("ada")
    for _ in range(4):
        request = await ask(bazaar, ada)
        path = f"/proposals/{(await offer(ada, request))['id']}"
        before = len(await placed(bazaar))
        accepted, withdrawn = await asyncio.gather(
            bazaar.customer.post(f"{path}/accept"), ada.post(f"{path}/withdraw")
        )
        assert sorted((accepted[0], withdrawn[0])) == [200, 409]
        assert len(await placed(bazaar)) - before == (accepted[0] == 200)


async def test_P12_accepting_and_revising_at_once_never_takes_an_unseen_price(
    bazaar: Market,
) -> None:
    ada = await bazaar.expert_named("ada")
    for _ in range(4):
        request = await ask(bazaar, ada)
        made = await offer(ada, request, price_minor=5_000)
        accepted, _ = await asyncio.gather(
            bazaar.customer.post(f"/proposals/{made['id']}/accept"),
            ada.post(f"/requests/{request['id']}/proposals", OFFER),
        )
        assert accepted[0] in (200, 409)
    assert {order.prepay_minor for order in await placed(bazaar)} <= {5_000}


async def test_P12_the_same_acceptance_twice_is_answered_twice(bazaar: Market) -> None:
    ada = await bazaar.expert_named("ada")
    made = await offer(ada, await ask(bazaar, ada))
    path = f"/proposals/{made['id']}/accept"
    first = await bazaar.customer.post(path, key="once")
    again = await bazaar.customer.post(path, key="once")
    assert first == again
    async with bazaar.store.reading() as tx:
        events = sa.select(outbox.c.type).where(outbox.c.type == "proposal.accepted")
        assert len((await tx.scalars(events)).all()) == 1
