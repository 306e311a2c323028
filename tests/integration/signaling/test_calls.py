"""Calling through the namespace: who may, who hears, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.errors import PaymentRequired, Unavailable
from tests.support.signaling import Client, Serializer, Site

BOTH: list[Serializer] = ["json", "msgpack"]


async def available(site: Site, serializer: Serializer = "json") -> Client:
    expert = await site.sign_in(site.expert, serializer)
    await expert.ok("presence.set", status="available")
    return expert


@pytest.mark.parametrize("serializer", BOTH)
async def test_T14_T18_T20_a_call_reaches_every_device_of_the_expert(
    site: Site, serializer: Serializer
) -> None:
    expert, tablet = await available(site, serializer), await site.sign_in(site.expert)
    customer = await site.sign_in(site.customer, serializer)
    invited = await customer.ok("call.invite", order_id=site.order_id, mode="video")
    assert invited["ring_timeout_s"] == 60
    assert invited["snapshot"]["role"] == "customer"
    for device in (expert, tablet):
        incoming = await device.wait_for("call.incoming")
        assert incoming["alert"] == "sound"
        assert incoming["session_id"] == invited["session_id"]
    accepted = await expert.ok("call.accept", session_id=invited["session_id"])
    assert accepted["snapshot"]["role"] == "expert"
    await customer.wait_for("call.accepted")
    assert customer.events["call.incoming"] == []


@pytest.mark.parametrize(
    ("status", "code"), [("busy", "expert_busy"), ("undefined", "expert_undefined")]
)
async def test_C12_T16_a_call_is_refused_with_a_code_of_its_own(
    site: Site, status: str, code: str
) -> None:
    expert = await site.sign_in(site.expert)
    await expert.ok("presence.set", status=status)
    customer = await site.sign_in(site.customer)
    assert await customer.code("call.invite", order_id=site.order_id, mode="text") == code
    await expert.settle()
    assert expert.events["call.incoming"] == []
    assert expert.events["call.pending"] == []


async def test_C12_T19_an_absent_expert_can_not_be_called(site: Site) -> None:
    customer = await site.sign_in(site.customer)
    code = await customer.code("call.invite", order_id=site.order_id, mode="text")
    assert code == "expert_offline"


async def test_C13_T15_away_shows_a_silent_badge_with_the_number_of_calls(site: Site) -> None:
    expert = await site.sign_in(site.expert)
    await expert.ok("presence.set", status="away")
    customer = await site.sign_in(site.customer)
    for number in range(2, 4):
        await site.add_order(f"ord_{number}", site.customer, f"cnv_{number}")
    for number in range(1, 4):
        await customer.ok("call.invite", order_id=f"ord_{number}", mode="video")
    await expert.settle()
    assert [call["alert"] for call in expert.events["call.incoming"]] == ["silent"] * 3
    assert [pending["count"] for pending in expert.events["call.pending"]] == [1, 2, 3]


async def test_T15_a_device_that_comes_late_gets_the_badge(site: Site) -> None:
    await available(site)
    customer = await site.sign_in(site.customer)
    await customer.ok("call.invite", order_id=site.order_id, mode="video")
    late = await site.sign_in(site.expert)
    assert (await late.wait_for("call.pending"))["count"] == 1
    assert "call.pending" not in customer.events


async def test_T18_only_the_customer_calls_and_only_the_expert_answers(site: Site) -> None:
    expert = await available(site)
    assert await expert.code("call.invite", order_id=site.order_id, mode="text") == "not_customer"
    customer = await site.sign_in(site.customer)
    invited = await customer.ok("call.invite", order_id=site.order_id, mode="text")
    assert await customer.code("call.accept", session_id=invited["session_id"]) == "not_expert"


async def test_C18_the_second_device_to_answer_is_told_so(site: Site) -> None:
    expert, tablet = await available(site), await site.sign_in(site.expert)
    customer = await site.sign_in(site.customer)
    invited = await customer.ok("call.invite", order_id=site.order_id, mode="text")
    await expert.ok("call.accept", session_id=invited["session_id"])
    code = await tablet.code("call.accept", session_id=invited["session_id"])
    assert code == "already_answered"


async def test_a_refusal_carries_its_extra_members(site: Site) -> None:
    customer = await site.sign_in(site.customer)
    site.sessions.explode = PaymentRequired("insufficient_funds", "top up", shortfall=1_200)
    answer = await customer.ack("call.invite", {"order_id": site.order_id, "mode": "text"})
    assert answer == {
        "ok": False,
        "code": "insufficient_funds",
        "message": "top up",
        "shortfall": 1_200,
    }
    site.sessions.explode = Unavailable("overloaded", "later")
    assert await customer.code("call.invite", order_id=site.order_id, mode="text") == "overloaded"


async def test_a_fault_of_ours_is_logged_once_and_the_connection_stays(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    customer = await site.sign_in(site.customer)
    site.sessions.explode = RuntimeError("broken inside")
    answer = await customer.ack("call.invite", {"order_id": site.order_id, "mode": "text"})
    assert answer["code"] == "internal_error"
    assert "broken inside" not in str(answer)
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    await customer.settle()


class TestEngineToken:
    """A token for one order opens that order and nothing else."""

    async def scoped(self, site: Site, user_id: str, order_id: str, role: str) -> Client:
        client = site.client()
        await client.connect(site.tokens.issue_engine(user_id, order_id, role))
        await site.signaling.settle()
        return client

    async def test_it_reaches_its_own_order(self, site: Site) -> None:
        await available(site)
        customer = await self.scoped(site, site.customer, site.order_id, "customer")
        expert = await self.scoped(site, site.expert, site.order_id, "expert")
        invited = await customer.ok("call.invite", order_id=site.order_id, mode="text")
        session_id = invited["session_id"]
        await expert.wait_for("call.incoming")
        await expert.ok("call.accept", session_id=session_id)
        await customer.wait_for("call.accepted")
        await customer.ok(
            "message.send", session_id=session_id, client_msg_id="1", body="for this order"
        )
        await expert.wait_for("message.created")
        await expert.ok("message.history", conversation_id=site.conversation_id)

    async def test_it_reaches_no_other_order(self, site: Site) -> None:
        expert = await available(site)
        await site.add_order("ord_2", site.customer, "cnv_2")
        full = await site.sign_in(site.customer)
        session_id = await site.running(full, expert)
        other = await self.scoped(site, site.customer, "ord_2", "customer")
        assert (
            await other.code("call.invite", order_id=site.order_id, mode="text")
            == "token_out_of_scope"
        )
        for event in ("session.join", "session.end"):
            assert await other.code(event, session_id=session_id) == "session_not_found"
        code = await other.code("message.history", conversation_id=site.conversation_id)
        assert code == "conversation_not_found"
        assert await other.code("session.join", session_id="ses_none") == "session_not_found"

    async def test_it_hears_of_no_other_order(self, site: Site) -> None:
        await available(site)
        await site.add_order("ord_2", site.customer, "cnv_2")
        other = await self.scoped(site, site.expert, "ord_2", "expert")
        full = await site.sign_in(site.customer)
        invited = await full.ok("call.invite", order_id=site.order_id, mode="text")
        await full.ok("call.cancel", session_id=invited["session_id"])
        await other.settle()
        heard = {event for event, payload in other.order if "session_id" in payload}
        assert heard == set()
        invited = await full.ok("call.invite", order_id="ord_2", mode="text")
        await full.ok("call.cancel", session_id=invited["session_id"])
        await other.wait_for("session.ended")

    async def test_the_customers_token_is_not_the_experts(self, site: Site) -> None:
        await available(site)
        customer = await self.scoped(site, site.customer, site.order_id, "customer")
        invited = await customer.ok("call.invite", order_id=site.order_id, mode="text")
        for event in ("call.accept", "session.start"):
            assert await customer.code(event, session_id=invited["session_id"]) == "not_expert"

    async def test_the_experts_token_can_not_call(self, site: Site) -> None:
        expert = await self.scoped(site, site.expert, site.order_id, "expert")
        code = await expert.code("call.invite", order_id=site.order_id, mode="text")
        assert code == "not_customer"

    async def test_it_changes_nothing_of_the_account(self, site: Site) -> None:
        expert = await self.scoped(site, site.expert, site.order_id, "expert")
        assert await expert.code("presence.set", status="busy") == "token_out_of_scope"


class TestJoin:
    """`session.join` brings a device up to date."""

    async def test_missed_events_follow_the_ack_in_order_and_once(self, site: Site) -> None:
        expert = await available(site)
        customer = await site.sign_in(site.customer)
        session_id = await site.running(customer, expert)
        for number in range(3):
            await expert.ok(
                "message.send", session_id=session_id, client_msg_id=str(number), body="hello"
            )
        await customer.settle()
        seen = [payload["seq"] for _, payload in customer.order if "session_id" in payload]
        assert seen == sorted(set(seen))
        last_seq = seen[-2]
        await customer.close()
        await expert.ok("message.send", session_id=session_id, client_msg_id="x", body="missed")

        back = await site.sign_in(site.customer)
        joined = await back.ok("session.join", session_id=session_id, last_seq=last_seq)
        assert joined["replayed"] == 2
        assert joined["snapshot"]["last_seq"] == last_seq + 2
        await back.wait_for("message.created", 2)
        replayed = [payload["seq"] for _, payload in back.order if "session_id" in payload]
        assert replayed == [last_seq + 1, last_seq + 2]

    async def test_what_happens_while_joining_comes_after_what_was_missed(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expert = await available(site)
        customer = await site.sign_in(site.customer)
        session_id = await site.running(customer, expert)
        await customer.settle()
        before = len(customer.order)
        join = site.sessions.join

        async def join_slowly(*args: Any) -> Any:
            answer = await join(*args)
            for number in range(3):  # the session goes on meanwhile
                await site.sessions.publish(
                    session_id, site.customer, "typing", {"session_id": session_id, "n": number}
                )
            return answer

        monkeypatch.setattr(site.sessions, "join", join_slowly)
        joined = await customer.ok("session.join", session_id=session_id, last_seq=0)
        await customer.wait_for("typing", 3)
        numbers = [payload["seq"] for _, payload in customer.order[before:]]
        assert numbers == list(range(1, joined["replayed"] + 4))

    async def test_a_fresh_offer_follows_in_a_call(self, site: Site) -> None:
        expert = await available(site)
        customer = await site.sign_in(site.customer)
        session_id = await site.running(customer, expert, mode="video")
        await customer.ok("session.join", session_id=session_id, last_seq=0)
        offer = await customer.wait_for("rtc.offer")
        assert customer.order[-1] == ("rtc.offer", offer)
        await customer.ok("rtc.answer", session_id=session_id, leg_id="leg_1", sdp="v=0")
        await customer.ok("rtc.restart", session_id=session_id)
        await customer.ok("track.update", session_id=session_id, audio=True, video=False)
        assert [name for name, _ in site.sessions.calls] == [
            "rtc_answer",
            "rtc_restart",
            "track_update",
        ]
        assert expert.events["rtc.offer"] == []

    async def test_a_refused_join_holds_nothing_back(self, site: Site) -> None:
        customer = await site.sign_in(site.customer)
        assert await customer.code("session.join", session_id="ses_none") == "session_not_found"
        await site.signaling.outbound.to_user(site.customer, "wallet.updated", {"currency": "EUR"})
        await customer.wait_for("wallet.updated")


async def test_T25_T33_direction_start_and_end_reach_the_service(site: Site) -> None:
    expert = await available(site)
    customer = await site.sign_in(site.customer)
    invited = await customer.ok("call.invite", order_id=site.order_id, mode="video")
    session_id = invited["session_id"]
    await customer.ok("session.direction", session_id=session_id, direction="one_way")
    assert site.sessions.live[session_id].direction == "one_way"
    await expert.ok("call.accept", session_id=session_id)
    started = await expert.ok("session.start", session_id=session_id)
    assert started["snapshot"]["state"] == "in_progress"
    ended = await customer.ok("session.end", session_id=session_id)
    again = await expert.ok("session.end", session_id=session_id)
    assert ended["summary"] == again["summary"]
    assert ended["summary"]["reason"] == "completed"


async def test_events_of_one_device_are_handled_one_after_the_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    expert = await available(site)
    customer = await site.sign_in(site.customer)
    session_id = await site.running(customer, expert)
    free = asyncio.Event()
    update = site.sessions.track_update

    async def slow_when_audio(*args: Any) -> None:
        if args[3]:
            await free.wait()
        await update(*args)

    monkeypatch.setattr(site.sessions, "track_update", slow_when_audio)
    sent = [
        asyncio.ensure_future(
            customer.ok("track.update", session_id=session_id, audio=audio, video=True)
        )
        for audio in (True, False)
    ]
    for _ in range(20):  # others are served meanwhile
        await expert.settle()
    assert site.sessions.calls == []
    free.set()
    await asyncio.gather(*sent)
    assert [audio for _, (audio, _) in site.sessions.calls] == [True, False]
