"""Reviews: who may write one, what everybody reads, and what the stars come to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from admin.experts.rating import rating_milli
from tests.integration.admin.market.conftest import DAY, Market

PRAISE = {"rating_service": 5, "rating_expert": 4, "text": "Quick and kind."}


async def accepted(market: Market) -> str:
    """A completed order of work."""
    order_id = await market.delivered(100)
    await market.do(market.customer, order_id, "accept")
    return order_id


async def of_expert(market: Market, **query: Any) -> Any:
    path = "&".join(f"{name}={value}" for name, value in query.items())
    status, page = await market.world.stranger.get(f"/experts/expert/reviews?{path}")
    assert status == 200, page
    return page


async def test_P17_Pd_one_review_says_something_of_the_service_and_of_the_expert(
    market: Market,
) -> None:
    order_id = await accepted(market)
    assert (await market.see(market.customer, order_id))["can_review"]
    assert not (await market.see(market.expert, order_id))["can_review"]
    order = await market.do(market.customer, order_id, "review", PRAISE, status=201)
    review = order["review"]
    assert (review["rating_service"], review["rating_expert"]) == (5, 4)
    assert (review["text"], review["order_id"], review["hidden"]) == (
        "Quick and kind.",
        order_id,
        False,
    )
    assert not order["can_review"]
    assert (await market.told(market.expert))[-1] == "review.created"


async def test_P18_K39_reviews_are_public(market: Market) -> None:
    order_id = await accepted(market)
    order = await market.do(market.customer, order_id, "review", PRAISE, status=201)
    for path in ("/experts/expert/reviews", f"/listings/{order['listing_id']}/reviews"):
        status, page = await market.world.stranger.get(path)
        assert status == 200
        (review,) = page["items"]
        assert (review["text"], review["customer_name"]) == ("Quick and kind.", "Mira Lind")
        assert (review["order_id"], review["can_edit"], review["can_reply"]) == (None, False, False)
        assert page["summary"] == {
            "review_count": 1,
            "refusal_count": 0,
            "rating_milli": 4_000,
            "service_milli": 5_000,
        }
    for path in ("/experts/nobody/reviews", "/listings/lst_none/reviews"):
        status, _ = await market.world.stranger.get(path)
        assert status == 404


async def test_C32_a_review_needs_a_held_session_or_a_completed_order(market: Market) -> None:
    order_id = await market.delivered(100)
    refused = await market.refused(market.customer, order_id, "review", PRAISE)
    assert refused == (403, "not_reviewable")
    call = await market.customer.order("lst_demo_lease")
    refused = await market.refused(market.customer, call["id"], "review", PRAISE)
    assert refused == (403, "not_reviewable")
    await market.world.session(call["id"], end_reason="void", metered_at_ms=None)
    refused = await market.refused(market.customer, call["id"], "review", PRAISE)
    assert refused == (403, "not_reviewable")
    await market.world.capture(await market.world.session(call["id"]), 1_200)
    await market.do(market.customer, call["id"], "review", PRAISE, status=201)
    assert (await market.see(market.customer, call["id"]))["state"] == "open"  # To


async def test_C32_one_review_of_an_order_by_its_customer(market: Market) -> None:
    order_id = await accepted(market)
    refused = await market.refused(market.expert, order_id, "review", PRAISE)
    assert refused == (403, "not_customer")
    stranger = await market.sign_in("jonas@demo.talktime.test")
    refused = await market.refused(stranger, order_id, "review", PRAISE)
    assert refused == (404, "order_not_found")
    path = f"/orders/{order_id}/review"
    answers = await asyncio.gather(*(market.customer.post(path, PRAISE) for _ in range(3)))
    assert sorted(status for status, _ in answers) == [201, 409, 409]
    assert (await market.expert_row()).review_count == 1
    refused = await market.refused(market.customer, order_id, "review", PRAISE)
    assert refused == (409, "already_reviewed")


@pytest.mark.parametrize("stars", [0, 6, 4.5, None])
async def test_stars_are_one_to_five(market: Market, stars: Any) -> None:
    order_id = await accepted(market)
    refused = await market.refused(
        market.customer, order_id, "review", PRAISE | {"rating_expert": stars}
    )
    assert refused == (422, "invalid_body")


async def test_Tq_C29_P28_a_refusal_weighs_as_a_one_star_review(market: Market) -> None:
    order_id = await accepted(market)
    await market.do(market.customer, order_id, "review", PRAISE | {"rating_expert": 5}, status=201)
    assert (await market.expert_row()).rating_milli == 5_000
    await market.do(market.expert, await market.work(100), "refuse", {})
    assert (await market.expert_row()).rating_milli == 3_000  # (5 + 1) / 2
    assert (await of_expert(market))["summary"]["refusal_count"] == 1
    await market.terms(refusal_weight=0)
    again = await accepted(market)
    await market.do(market.customer, again, "review", PRAISE, status=201)
    assert (await market.expert_row()).rating_milli == 4_500  # weight is the operator's


def test_Tq_the_formula() -> None:
    assert rating_milli(0, 0, 0) == 0
    assert rating_milli(13, 3, 0) == 4_333
    assert rating_milli(13, 3, 1) == 3_500
    assert rating_milli(13, 3, 1, 3) == 2_667
    assert rating_milli(0, 0, 2) == 1_000


async def test_a_review_is_edited_within_the_time_that_the_terms_give(market: Market) -> None:
    await market.terms(review_edit_s=2 * 86_400)
    order_id = await accepted(market)
    path, better = f"/orders/{order_id}/review", PRAISE | {"rating_expert": 5, "text": "Superb."}
    status, refusal = await market.customer.put(path, better)
    assert (status, refusal["code"]) == (404, "review_not_found")
    await market.customer.post(path, PRAISE)
    market.clock.advance(2 * DAY)
    status, review = await market.customer.put(path, better)
    assert (status, review["text"], review["rating_expert"]) == (200, "Superb.", 5)
    row = await market.expert_row()
    assert (row.review_count, row.stars_sum, row.rating_milli) == (1, 5, 5_000)
    status, refusal = await market.expert.put(path, better)
    assert (status, refusal["code"]) == (403, "not_customer")
    market.clock.advance(0.001)
    status, refusal = await market.customer.put(path, better)
    assert (status, refusal["code"]) == (409, "review_final")


async def test_the_expert_answers_a_review_once(market: Market) -> None:
    order = await market.do(market.customer, await accepted(market), "review", PRAISE, status=201)
    path = f"/reviews/{order['review']['id']}/reply"
    status, refusal = await market.customer.post(path, {"text": "Thanks!"})
    assert (status, refusal["code"]) == (403, "not_expert")
    status, review = await market.expert.post(path, {"text": "Thanks!"})
    assert (status, review["reply"], review["can_reply"]) == (200, "Thanks!", False)
    status, refusal = await market.expert.post(path, {"text": "And again"})
    assert (status, refusal["code"]) == (409, "already_replied")
    assert (await of_expert(market))["items"][0]["reply"] == "Thanks!"
    assert (await market.told(market.customer))[-1] == "review.replied"


async def test_what_staff_hide_is_not_read_and_does_not_count(market: Market) -> None:
    first, second = await accepted(market), await accepted(market)
    await market.do(market.customer, first, "review", PRAISE, status=201)
    bad = PRAISE | {"rating_expert": 1, "text": "!!!"}
    order = await market.do(market.customer, second, "review", bad, status=201)
    path, why = f"/admin/reviews/{order['review']['id']}", {"reason": "Abusive"}
    for who, code in (
        (market.expert, "not_staff"),
        (await market.staff("finance"), "review_not_found"),
    ):
        status, refusal = await who.post(f"{path}/hide", why)
        assert refusal["code"] == code
    support = await market.staff("support")
    status, review = await support.post(f"{path}/hide", why)
    assert (status, review["hidden"]) == (200, True)
    page = await of_expert(market)
    assert [one["text"] for one in page["items"]] == ["Quick and kind."]
    assert (page["summary"]["review_count"], page["summary"]["rating_milli"]) == (1, 4_000)
    assert (await market.see(market.customer, second))["review"]["hidden"]
    status, refusal = await support.post(f"{path}/hide", why)
    assert (status, refusal["code"]) == (409, "review_hidden")
    await support.post(f"{path}/show")
    assert (await of_expert(market))["summary"]["rating_milli"] == 2_500


async def test_reviews_are_paged_newest_first(market: Market) -> None:
    wanted = []
    for number in range(5):
        review = PRAISE | {"text": f"No. {number}"}
        await market.do(market.customer, await accepted(market), "review", review, status=201)
        wanted.insert(0, review["text"])
        market.clock.advance(1)
    page = await of_expert(market, limit=2)
    seen = [one["text"] for one in page["items"]]
    while page["next_cursor"]:
        page = await of_expert(market, limit=2, cursor=page["next_cursor"])
        seen += [one["text"] for one in page["items"]]
    assert seen == wanted
