"""Disputes: opened by either side, decided by arbitration, with money to the cent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from engine.store.market_tables import cases
from engine.store.tables import conversations, messages, users
from tests.integration.admin.conftest import EXPERT, Api
from tests.integration.admin.market.conftest import DAY, HAS_MINOR, Market

WHY = "The half of it is missing."


async def decide(
    market: Market, case_id: str, decision: str, status: int = 200, **more: Any
) -> Any:
    arbiter = await market.staff("disputes.decide")
    body = {"decision": decision, "reason": "As seen.", **more}
    answered, answer = await arbiter.post(f"/admin/cases/{case_id}/decide", body)
    assert answered == status, answer
    return answer


@pytest.mark.parametrize("party", ["customer", "expert"])
async def test_T65_T80_either_side_opens_a_dispute_and_the_order_stands_still(
    market: Market, party: str
) -> None:
    order_id = await market.delivered()
    who: Api = getattr(market, party)
    other = market.expert if party == "customer" else market.customer
    case_id = await market.dispute(who, order_id)
    assert (await market.told(other))[-1] == "order.disputed"
    seen = await market.see(other, order_id)
    assert (seen["state"], seen["dispute_case_id"], seen["actions"]) == ("disputed", case_id, [])
    assert (await market.see(who, order_id))["actions"] == ["withdraw-dispute"]
    for action, body in (("accept", None), ("return", {}), ("cancel", None)):
        refused = await market.refused(market.customer, order_id, action, body)
        assert refused == (409, "order_disputed")
    again = await market.refused(other, order_id, "dispute", {"reason": "Me too"})
    assert again == (409, "order_disputed")
    assert await market.money() == (HAS_MINOR - 3_000, 3_000, 0, 0)  # frozen


async def test_T65_a_dispute_says_why(market: Market) -> None:
    order_id = await market.delivered()
    for body in ({}, {"reason": ""}):
        assert await market.refused(market.customer, order_id, "dispute", body) == (
            422,
            "invalid_body",
        )


@pytest.mark.parametrize(
    ("ruling", "refund_minor", "state", "money"),
    [
        ("release", 0, "completed", (0, 2_667, 666)),
        ("refund", 0, "cancelled", (3_333, 0, 0)),
        ("split", 1_333, "completed", (1_333, 1_600, 400)),
        ("split", 1_334, "completed", (1_334, 1_600, 399)),
        ("split", 0, "completed", (0, 2_667, 666)),
        ("split", 3_333, "completed", (3_333, 0, 0)),
    ],
)
async def test_T66_C30_a_ruling_shares_price_and_commission_to_the_cent(
    market: Market, ruling: str, refund_minor: int, state: str, money: tuple[int, int, int]
) -> None:
    """Whether the price is still held or was captured by acceptance: the outcome is the same."""
    back, earned, fees = (0, 0, 0)
    for accepted in (False, True):
        order_id = await market.delivered(3_333)
        if accepted:
            await market.do(market.customer, order_id, "accept")
        case_id = await market.dispute(market.customer, order_id, WHY)
        case = await decide(market, case_id, ruling, refund_minor=refund_minor)
        assert (case["state"], case["decision"], case["reason"]) == ("decided", ruling, "As seen.")
        seen = await market.see(market.expert, order_id)
        assert (seen["state"], seen["closed_reason"]) == (state, f"ruled_{ruling}")
        back, earned, fees = back + money[0], earned + money[1], fees + money[2]
        paid = 3_333 * (1 + accepted)
        assert await market.money() == (HAS_MINOR - paid + back, 0, earned, fees)
    assert (await market.expert_row()).completed_orders == 2 * (state == "completed")
    for party in (market.customer, market.expert):
        assert "case.decided" in await market.told(party)


async def test_C30_more_than_was_paid_is_not_split(market: Market) -> None:
    order_id = await market.delivered()
    case_id = await market.dispute(market.expert, order_id)
    refusal = await decide(market, case_id, "split", 409, refund_minor=3_001)
    assert refusal["code"] == "refund_exceeds_price"
    assert (await market.case(case_id)).state == "open"
    assert (await market.see(market.expert, order_id))["state"] == "disputed"
    assert await market.money() == (HAS_MINOR - 3_000, 3_000, 0, 0)


async def test_T66_rework_sends_the_work_back_to_its_expert(market: Market) -> None:
    order_id = await market.delivered()
    case_id = await market.dispute(market.customer, order_id)
    await decide(market, case_id, "rework")
    seen = await market.see(market.customer, order_id)
    assert (seen["state"], seen["rework_count"], seen["closed_at"]) == ("open", 1, None)
    assert "dispute" in seen["actions"]
    assert await market.money() == (HAS_MINOR - 3_000, 3_000, 0, 0)


async def test_T66_paid_work_is_not_sent_back(market: Market) -> None:
    order_id = await market.delivered()
    await market.do(market.customer, order_id, "accept")
    refusal = await decide(market, await market.dispute(market.customer, order_id), "rework", 409)
    assert refusal["code"] == "no_rework"


@pytest.mark.parametrize(
    ("ruling", "refund_minor", "money"),
    [
        ("release", 0, (HAS_MINOR - 1_000, 0, 800, 200)),
        ("refund", 0, (HAS_MINOR, 0, 0, 0)),
        ("split", 333, (HAS_MINOR - 667, 0, 534, 133)),
    ],
)
async def test_Tv_C30_a_dispute_on_a_consultation_is_about_what_was_billed(
    market: Market, ruling: str, refund_minor: int, money: tuple[int, int, int, int]
) -> None:
    """What no session consumed of the prepayment returns, whatever is decided."""
    order = await market.customer.order("lst_demo_lease")
    session = await market.world.session(order["id"])
    await market.world.capture(session, 1_000)
    assert await market.money() == (HAS_MINOR - 1_200, 200, 800, 200)
    case_id = await market.dispute(market.customer, order["id"], "Nobody could hear me.")
    await decide(market, case_id, ruling, refund_minor=refund_minor)
    assert await market.money() == money
    _, receipt = await market.customer.get(f"/orders/{order['id']}/receipt")
    assert receipt["total"]["amount"] == HAS_MINOR - money[0]


async def test_T66_only_arbitration_decides_and_only_with_a_word_of_its_own(
    market: Market,
) -> None:
    order_id = await market.delivered()
    case_id = await market.dispute(market.customer, order_id)
    path, body = f"/admin/cases/{case_id}/decide", {"decision": "refund", "reason": "Mine"}
    for who, code in (
        (market.customer, (403, "not_staff")),
        (market.expert, (403, "not_staff")),
        (await market.staff("support", "finance"), (404, "case_not_found")),
        (await market.sign_in("jonas@demo.talktime.test"), (404, "case_not_found")),
    ):
        status, refusal = await who.post(path, body)
        assert (status, refusal["code"]) == code
    refusal = await decide(market, case_id, "upheld", 422)
    assert (refusal["code"], refusal["path"]) == ("unknown_decision", "$.decision")
    assert await market.money() == (HAS_MINOR - 3_000, 3_000, 0, 0)


async def test_T66_nobody_decides_a_case_of_their_own(market: Market) -> None:
    order_id = await market.delivered()
    case_id = await market.dispute(market.customer, order_id)
    async with market.store.transaction() as tx:
        me = sa.update(users).where(users.c.id == market.expert.user_id)
        await tx.execute(me.values(roles=["member", "expert", "admin"]))
    path = f"/admin/cases/{case_id}"
    for action, body in (
        ("decide", {"decision": "release", "reason": "Mine"}),
        ("assign", {}),
        ("request-info", {"text": "Well?"}),
    ):
        status, refusal = await market.expert.post(f"{path}/{action}", body)
        assert (status, refusal["code"]) == (403, "own_case")
    arbiter = await market.staff("disputes.decide")
    status, refusal = await arbiter.post(f"{path}/assign", {"assignee_id": market.expert.user_id})
    assert (status, refusal["code"]) == (403, "own_case")


async def test_two_rulings_at_once_have_one_winner(market: Market) -> None:
    order_id = await market.delivered()
    case_id = await market.dispute(market.customer, order_id)
    arbiters = [await market.staff("disputes.decide") for _ in range(2)]
    bodies = [{"decision": word, "reason": "So be it."} for word in ("release", "refund")]
    answers = await asyncio.gather(
        *(
            arbiter.post(f"/admin/cases/{case_id}/decide", body)
            for arbiter, body in zip(arbiters, bodies, strict=True)
        )
    )
    assert sorted(status for status, _ in answers) == [200, 409]
    (loser,) = (answer for status, answer in answers if status == 409)
    assert loser["code"] == "case_decided"
    released = answers[0][0] == 200
    expected = (HAS_MINOR - 3_000, 0, 2_400, 600) if released else (HAS_MINOR, 0, 0, 0)
    assert await market.money() == expected


async def test_a_ruling_and_a_withdrawal_at_once_have_one_winner(market: Market) -> None:
    order_id = await market.delivered()
    case_id = await market.dispute(market.customer, order_id)
    arbiter = await market.staff("disputes.decide")
    ruled, withdrawn = await asyncio.gather(
        arbiter.post(
            f"/admin/cases/{case_id}/decide", {"decision": "refund", "reason": "So be it."}
        ),
        market.customer.post(f"/orders/{order_id}/withdraw-dispute"),
    )
    assert {ruled[0], withdrawn[0]} == {200, 409}
    seen = await market.see(market.customer, order_id)
    assert seen["state"] == ("cancelled" if ruled[0] == 200 else "delivered")
    assert (await market.case(case_id)).state == ("decided" if ruled[0] == 200 else "withdrawn")


@pytest.mark.parametrize("by_case", [False, True])
async def test_T80_who_opened_a_dispute_may_withdraw_it(market: Market, by_case: bool) -> None:
    await market.terms(auto_accept_after_s=3 * 86_400)
    order_id = await market.delivered()
    case_id = await market.dispute(market.customer, order_id)
    path = f"/cases/{case_id}/withdraw" if by_case else f"/orders/{order_id}/withdraw-dispute"
    status, refusal = await market.expert.post(path)
    assert (status, refusal["code"]) == (403, "not_opener")
    status, _ = await market.customer.post(path)
    assert status == 200
    seen = await market.see(market.customer, order_id)
    assert (seen["state"], seen["dispute_case_id"]) == ("delivered", None)
    assert (await market.case(case_id)).state == "withdrawn"
    assert seen["acts_at"] == "2026-01-04T00:00:00.000Z"  # silence counts again, anew
    status, refusal = await market.customer.post(path)
    assert (status, refusal["code"]) == (409, "case_decided" if by_case else "no_dispute")
    await market.dispute(market.expert, order_id)


async def test_T81_a_dispute_is_opened_within_its_window_and_a_ruling_is_final(
    market: Market,
) -> None:
    await market.terms(dispute_window_s=14 * 86_400)
    late, ruled = await market.delivered(), await market.delivered()
    await market.do(market.customer, late, "accept")
    await decide(market, await market.dispute(market.customer, ruled), "release")
    body = {"reason": "On second thoughts"}
    refused = await market.refused(market.customer, ruled, "dispute", body)
    assert refused == (409, "already_ruled")
    market.clock.advance(14 * DAY + 0.001)
    refused = await market.refused(market.customer, late, "dispute", body)
    assert refused == (409, "dispute_window_over")


async def test_T82_the_parties_and_arbitration_correspond_in_the_case(market: Market) -> None:
    order_id = await market.delivered()
    case_id = await market.dispute(market.customer, order_id, WHY)
    arbiter = await market.staff("disputes.decide")
    status, case = await arbiter.post(f"/admin/cases/{case_id}/assign", {})
    assert (status, case["state"], case["assignee"]["id"]) == (200, "in_progress", arbiter.user_id)
    question = {"text": "What exactly is missing?"}
    status, case = await arbiter.post(f"/admin/cases/{case_id}/request-info", question)
    assert (status, case["state"]) == (200, "info_requested")
    for party in (market.customer, market.expert):
        assert (await market.told(party))[-1] == "case.info_requested"
    file_id = await market.file(market.customer, "attachment", "what-i-got.pdf")
    reply = {"text": "Chapters 3 to 5.", "files": [file_id]}
    stranger = await market.sign_in("jonas@demo.talktime.test")
    status, refusal = await stranger.post(f"/cases/{case_id}/answer-info", reply)
    assert (status, refusal["code"]) == (404, "case_not_found")
    status, case = await market.customer.post(f"/cases/{case_id}/answer-info", reply)
    assert (status, case["state"], case["role"]) == (200, "in_progress", "opener")
    async with market.store.reading() as tx:
        talk = sa.select(messages.c.author_id, messages.c.body).join(
            conversations, conversations.c.id == messages.c.conversation_id
        )
        said = (await tx.execute(talk.where(conversations.c.topic == case_id))).all()
    assert [tuple(one) for one in said] == [
        (arbiter.user_id, question["text"]),
        (market.customer.user_id, reply["text"]),
    ]
    for reader, status in ((arbiter, 200), (market.expert, 200), (stranger, 404)):
        async with reader.client.get(f"/api/v1/files/{file_id}", headers=reader.headers) as file:
            assert file.status == status


async def test_T82_both_parties_see_the_case_with_what_happened_in_order_of_time(
    market: Market,
) -> None:
    order_id = await market.work(3_333)
    market.clock.advance(60)
    await market.do(market.expert, order_id, "deliveries", {"text": "Here it is."}, status=201)
    market.clock.advance(60)
    await market.do(market.expert, order_id, "deliver")
    market.clock.advance(60)
    case_id = await market.dispute(market.customer, order_id, WHY)
    market.clock.advance(60)
    await decide(market, case_id, "split", refund_minor=1_333)
    stories = {}
    for name, who in (("customer", market.customer), ("expert", market.expert)):
        status, case = await who.get(f"/cases/{case_id}")
        assert (status, case["subject_id"]) == (200, order_id)
        assert [one["at"] for one in case["timeline"]] == sorted(
            one["at"] for one in case["timeline"]
        )
        stories[name] = [one["text"] for one in case["timeline"]]
    assert stories["customer"] == [
        "Mira Lind ordered.",
        "Mira Lind paid.",
        "33.33 EUR of Mira Lind set aside.",
        "Dr. Elena Marin delivered “Here it is.”.",
        "Dr. Elena Marin said that the work is done.",
        f"Mira Lind opened a dispute: {WHY}",
        "Arbitration decided: split: As seen.",
        "13.33 EUR returned to Mira Lind.",
        "20.00 EUR paid to Dr. Elena Marin.",
    ]
    assert stories["expert"][-1] == "20.00 EUR paid to Dr. Elena Marin, 4.00 EUR of it commission."
    status, refusal = await (await market.sign_in("jonas@demo.talktime.test")).get(
        f"/cases/{case_id}"
    )
    assert (status, refusal["code"]) == (404, "case_not_found")


async def test_Tv_the_evidence_of_a_consultation_tells_of_its_sessions(market: Market) -> None:
    order = await market.customer.order("lst_demo_lease")
    session = await market.world.session(order["id"])
    await market.world.happened(session, ("session.ringing", {}), ("session.answered", {}))
    case_id = await market.dispute(market.customer, order["id"])
    _, case = await market.expert.get(f"/cases/{case_id}")
    told = [one["text"] for one in case["timeline"]]
    assert "Mira Lind called Dr. Elena Marin." in told
    assert "Dr. Elena Marin answered." in told


async def test_T82_ones_own_cases_are_listed_newest_first(market: Market) -> None:
    made = []
    for who in (market.customer, market.expert, market.customer):
        made.append(await market.dispute(who, await market.delivered()))
        market.clock.advance(1)
    for who in (market.customer, market.expert):
        seen, cursor = [], ""
        while cursor is not None:
            _, page = await who.get(f"/cases?limit=2{cursor}")
            seen += [case["id"] for case in page["items"]]
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        assert seen == made[::-1]
    _, page = await (await market.sign_in("jonas@demo.talktime.test")).get("/cases")
    assert page["items"] == []


async def test_the_queue_shows_each_desk_its_cases_as_they_fall_due(market: Market) -> None:
    disputes = [await market.dispute(market.customer, await market.delivered())]
    market.clock.advance(60)
    disputes.append(await market.dispute(market.expert, await market.delivered()))
    complaint = await market.complaint(market.customer, "expert", market.expert.user_id)
    arbiter, support = await market.staff("disputes.decide"), await market.staff("support")
    _, page = await arbiter.get("/admin/cases?limit=1")
    assert [case["id"] for case in page["items"]] == disputes[:1]
    _, page = await arbiter.get(f"/admin/cases?limit=1&cursor={page['next_cursor']}")
    assert ([case["id"] for case in page["items"]], page["next_cursor"]) == (disputes[1:], None)
    _, page = await support.get("/admin/cases")
    assert [case["id"] for case in page["items"]] == [complaint]
    status, refusal = await support.get("/admin/cases?kind=dispute")
    assert (status, refusal["code"]) == (403, "not_permitted")
    status, refusal = await market.customer.get("/admin/cases")
    assert (status, refusal["code"]) == (403, "not_staff")
    _, page = await arbiter.get("/admin/cases?overdue=true")
    assert page["items"] == []
    market.clock.advance(3 * DAY)
    _, page = await arbiter.get("/admin/cases?overdue=true&state=open")
    assert [(case["id"], case["overdue"]) for case in page["items"]] == [(disputes[0], True)]
    await decide(market, disputes[0], "release")
    _, page = await arbiter.get("/admin/cases?state=decided")
    assert [case["id"] for case in page["items"]] == disputes[:1]


async def test_T83_a_complaint_is_decided_by_support_and_its_author_hears_of_it(
    market: Market,
) -> None:
    complaint = await market.complaint(market.customer, "listing", "lst_demo_lease")
    support = await market.staff("support")
    body = {"decision": "upheld", "reason": "Indeed."}
    status, case = await support.post(f"/admin/cases/{complaint}/decide", body)
    assert (status, case["state"]) == (200, "decided")
    assert await market.told(market.customer) == ["case.decided"]
    _, seen = await market.customer.get(f"/cases/{complaint}")
    assert (seen["decision"], seen["reason"], seen["actions"]) == ("upheld", "Indeed.", [])


async def test_C31_Tr_a_refund_after_the_payout_leaves_a_debt_that_staff_see(
    market: Market,
) -> None:
    order_id = await market.delivered(5_000)
    await market.do(market.customer, order_id, "accept")
    details = {"holder": "Elena Marin", "iban": "DE89370400440532013000"}
    status, _ = await market.expert.put("/me/payout-details", details)
    assert status == 200
    status, answer = await market.expert.post("/payouts", {"amount_minor": 4_000})
    assert status == 201, answer
    finance = await market.staff("finance")
    payout = answer["id"]
    for action, body in (("approve", None), ("send", {"reference": "B-1"}), ("confirm", None)):
        status, answer = await finance.post(f"/admin/payouts/{payout}/{action}", body)
        assert status == 200, answer
    for _ in range(2):  # two halves: one case about the debt
        part = {"amount_minor": 2_500, "reason": "Not as agreed"}
        await finance.post(f"/admin/orders/{order_id}/refund", part)
    assert await market.money() == (HAS_MINOR, 0, -4_000, 0)
    status, refusal = await market.expert.post("/payouts", {"amount_minor": 1_000})
    assert (status, refusal["code"]) == (409, "insufficient_earnings")
    async with market.store.reading() as tx:
        open_cases = (await tx.execute(sa.select(cases))).all()
    assert [(case.kind, case.subject_id, case.title) for case in open_cases] == [
        ("support", market.expert.user_id, "An expert owes 20.00 EUR")
    ]
    assert (await market.told(market.expert))[-1] == "order.refunded"
    assert "wallet.negative" in await market.told(market.expert)
    assert await market.events(market.expert.user_id) == [
        "payout_details.changed",
        "wallet.negative",
    ]
    async with market.store.transaction() as tx:  # the expert works at the desk as well
        mine = sa.update(users).where(users.c.id == market.expert.user_id)
        await tx.execute(mine.values(roles=["member", "expert", "support"]))
    solved = {"decision": "solved", "reason": "All is well."}
    path = f"/admin/cases/{open_cases[0].id}/decide"
    status, refusal = await (await market.world.sign_in(EXPERT)).post(path, solved)
    assert (status, refusal["code"]) == (403, "own_case")
