"""Whole calls through the real application, driven by aiortc peers: the fast twin of the browser
tests. REST, Socket.IO, UDP, SQLite and the ledger are the real ones; only the screen is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from engine.audit import audit
from engine.store.market_tables import marks
from engine.store.tables import session_events
from tests.support.media_peer import eventually
from tests.support.party import Party, Refused
from tests.support.running_app import CUSTOMER, EXPERT, RunningApp, running_app

PER_SECOND = {"price_minor": 60, "per_seconds": 1, "block_seconds": 1, "grace_seconds": 0}
"""0.60 a second, no grace: money is seen to move within a test's patience."""


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as app:
        yield app
        report = await audit(app.app.store)
        assert report.ok, report


@pytest.fixture
async def customer(app: RunningApp) -> AsyncIterator[Party]:
    async with app.party(CUSTOMER) as party:
        yield party


@pytest.fixture
async def expert(app: RunningApp) -> AsyncIterator[Party]:
    async with app.party(EXPERT) as party:
        await party.command("presence.set", status="available")
        yield party


async def ring(
    customer: Party, expert: Party, order_id: str, mode: str, direction: str = "two_way"
) -> str:
    """Invite; both sides join and negotiate while it rings."""
    invited = await customer.command(
        "call.invite", order_id=order_id, mode=mode, direction=direction
    )
    session_id = str(invited["session_id"])
    incoming = await expert.wait_for(
        "call.incoming", count=len(expert.events["call.incoming"]) or 1
    )
    assert incoming["session_id"] == session_id
    await customer.command("session.join", session_id=session_id)
    await expert.command("session.join", session_id=session_id)
    if mode != "text":
        await asyncio.gather(customer.connected(), expert.connected())
    return session_id


async def begin_call(
    customer: Party, expert: Party, order_id: str, direction: str = "two_way"
) -> str:
    """Ring, answer and start; the expert sends audio and video."""
    session_id = await ring(customer, expert, order_id, "video", direction)
    await expert.command("call.accept", session_id=session_id)
    await expert.publish(session_id, "audio", "video")
    await expert.command("session.start", session_id=session_id)
    return session_id


def transactions_sum(page: dict[str, Any]) -> int:
    return sum(int(item["amount"]["amount"]) for item in page["items"])


async def test_T51_the_meter_starts_with_the_first_frame_and_a_short_first_call_is_void(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    before = await customer.available()
    order = await customer.order(await app.add_listing(), "video")
    assert await customer.available() == before - 1_200
    session_id = await ring(customer, expert, order["id"], "video")
    await expert.command("call.accept", session_id=session_id)
    assert not customer.events["meter.started"]
    with pytest.raises(Refused, match="track_not_published"):
        await expert.command("session.start", session_id=session_id)
    await expert.publish(session_id, "audio", "video")
    await expert.command("session.start", session_id=session_id)
    started = await customer.wait_for("meter.started")
    assert started["trigger"] == "first_frame"
    assert customer.peer is not None
    await customer.peer.wait_frames("video", 5)
    await customer.peer.wait_frames("audio", 5)
    summary = await customer.command("session.end", session_id=session_id)
    ended = await expert.wait_for("session.ended")
    assert ended["summary"]["reason"] == "void"
    assert summary["summary"]["total_minor"] == 0 if "summary" in summary else True
    held = (await customer.get(f"/orders/{order['id']}"))["held"]["amount"]
    assert held == 1_200
    status, cancelled = await customer.post(f"/orders/{order['id']}/cancel")
    assert (status, cancelled["state"]) == (200, "cancelled")
    assert await customer.available() == before


async def test_T32_the_call_is_cut_when_the_wallet_is_empty_and_the_receipt_adds_up(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    available = await customer.available()
    # The prepayment leaves less than three more seconds in the wallet.
    prepaid_s = available // 60 - 2
    listing = await app.add_listing(
        **PER_SECOND | {"price_minor": (available - 100) // 3, "prepaid_seconds": 3}
    )
    assert prepaid_s > 0
    order = await customer.order(listing, "video")
    session_id = await begin_call(customer, expert, order["id"])
    ended = await customer.wait_for("session.ended")
    assert ended["summary"]["reason"] == "insufficient_funds"
    assert ended["summary"]["billed_seconds"] == 3
    total = ended["summary"]["total_minor"]
    assert await customer.available() == available - total
    receipt = await customer.get(f"/sessions/{session_id}/receipt")
    assert receipt["total"]["amount"] == total
    assert sum(line["amount"]["amount"] for line in receipt["lines"]) == total
    seller = await expert.get(f"/sessions/{session_id}/receipt")
    assert seller["fee"]["amount"] + seller["earned"]["amount"] == total
    earned = (await expert.get("/wallet"))["earned"]["amount"]
    assert earned == seller["earned"]["amount"]
    frames = dict(customer.peer.frames) if customer.peer else {}
    await asyncio.sleep(0.3)
    assert customer.peer is not None
    assert customer.peer.frames == frames, "media went on after the cutoff"


async def test_T25_one_way_the_expert_receives_nothing_and_the_meter_runs(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    order = await customer.order(await app.add_listing(), "video")
    session_id = await begin_call(customer, expert, order["id"], "one_way")
    await customer.wait_for("meter.started")
    await customer.publish(session_id, "audio", "video")
    assert customer.peer is not None
    assert expert.peer is not None
    await customer.peer.wait_frames("video", 20)
    assert expert.peer.frames == {"audio": 0, "video": 0}
    # The same call two-way: what was held back is forwarded, at the same price (T26).
    await customer.command("session.direction", session_id=session_id, direction="two_way")
    await expert.peer.wait_frames("video", 5)


async def test_T30_a_top_up_during_the_call_keeps_it_alive(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    available = await customer.available()
    price = (available - 100) // 3
    listing = await app.add_listing(**PER_SECOND | {"price_minor": price, "prepaid_seconds": 3})
    order = await customer.order(listing, "video")
    session_id = await begin_call(customer, expert, order["id"])
    warning = await customer.wait_for("meter.low_balance")
    assert warning["shortfall_minor"] > 0
    await customer.top_up(price * 2)
    ended = await customer.wait_for("session.ended")
    assert ended["session_id"] == session_id
    assert ended["summary"]["billed_seconds"] == 5
    assert ended["summary"]["total_minor"] == 5 * price


async def test_C16_a_reload_in_mid_call_resumes_the_session_without_a_second_charge(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    order = await customer.order(await app.add_listing(grace_seconds=0), "video")
    session_id = await begin_call(customer, expert, order["id"])
    await customer.wait_for("meter.charged")
    seen = max(event["seq"] for event in customer.events["meter.charged"])
    await customer.socket.disconnect()
    assert customer.peer is not None
    await customer.peer.close()
    async with app.party(CUSTOMER) as reloaded:
        live = (await reloaded.get(f"/orders/{order['id']}"))["live_session_id"]
        assert live == session_id
        joined = await reloaded.command("session.join", session_id=session_id, last_seq=seen)
        assert joined["snapshot"]["state"] == "in_progress"
        await reloaded.connected()
        assert reloaded.peer is not None
        await reloaded.peer.wait_frames("video", 5)
        await reloaded.command("session.end", session_id=session_id)
        await reloaded.wait_for("session.ended")
        receipt = await reloaded.get(f"/sessions/{session_id}/receipt")
        assert receipt["session"]["blocks"] == 1
        assert receipt["total"]["amount"] == 1_200


async def test_C18_the_second_device_that_answers_is_told_so(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    order = await customer.order(await app.add_listing(), "video")
    async with app.party(EXPERT) as tablet:
        session_id = await ring(customer, expert, order["id"], "video")
        await tablet.command("session.join", session_id=session_id)
        await tablet.connected()
        await tablet.command("call.accept", session_id=session_id)
        with pytest.raises(Refused, match="already_answered"):
            await expert.command("call.accept", session_id=session_id)
        await tablet.publish(session_id, "audio")
        await tablet.command("session.start", session_id=session_id)
        await customer.wait_for("meter.started")  # C8: audio alone counts
        assert customer.peer is not None
        await customer.peer.wait_frames("audio", 5)


async def test_an_expert_who_reloads_while_it_rings_can_still_answer(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    order = await customer.order(await app.add_listing(), "text")
    session_id = await ring(customer, expert, order["id"], "text")
    await expert.socket.disconnect()
    async with app.party(EXPERT) as reloaded:
        incoming = await reloaded.wait_for("call.incoming")
        assert incoming["session_id"] == session_id
        assert 0 < incoming["expires_in_ms"] <= 60_000
        assert (await reloaded.wait_for("call.pending"))["count"] == 1
        await reloaded.command("call.accept", session_id=session_id)
        await customer.wait_for("call.accepted")


async def test_T35_the_second_message_starts_a_chat_and_none_passes_after_the_cutoff(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    available = await customer.available()
    price = (available - 100) // 2
    listing = await app.add_listing(**PER_SECOND | {"price_minor": price, "prepaid_seconds": 2})
    order = await customer.order(listing, "text")
    session_id = await ring(customer, expert, order["id"], "text")
    await expert.command("call.accept", session_id=session_id)

    async def say(party: Party, text: str) -> dict[str, Any]:
        return await party.command(
            "message.send",
            session_id=session_id,
            client_msg_id=text.replace(" ", "-").rstrip("?"),
            body=text,
        )

    await say(expert, "hello")
    await say(expert, "how can I help?")
    await say(customer, "first")
    again = await say(customer, "first")
    assert again["duplicate"] is True
    assert not customer.events["meter.started"]
    await say(customer, "second")
    started = await customer.wait_for("meter.started")
    assert started["trigger"] == "second_message"
    ended = await customer.wait_for("session.ended")
    assert ended["summary"]["reason"] == "insufficient_funds"
    assert ended["summary"]["total_minor"] == 2 * price
    with pytest.raises(Refused, match="session_ended"):
        await say(customer, "too late")
    got = [event["message"]["body"] for event in expert.events["message.created"]]
    assert [body for body in got if body in ("first", "second")] == ["first", "second"]
    history = await customer.get(f"/conversations/{order['conversation_id']}/messages")
    bodies = [item["body"] for item in history["items"] if item["author_id"]]
    assert bodies == ["hello", "how can I help?", "first", "second"]


async def test_C11_only_the_customer_calls_and_only_the_expert_answers(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    order = await customer.order(await app.add_listing(), "video")
    with pytest.raises(Refused, match="not_customer"):
        await expert.command("call.invite", order_id=order["id"], mode="video")
    session_id = await ring(customer, expert, order["id"], "video")
    for event in ("call.accept", "session.start"):
        with pytest.raises(Refused, match="not_expert"):
            await customer.command(event, session_id=session_id)


async def test_a_block_refuses_calls_of_an_order_that_was_there_before(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    listing = await app.add_listing()
    order = await customer.order(listing, "video")
    async with app.app.store.transaction() as tx:
        block = {
            "user_id": await app.user_id(EXPERT),
            "kind": "block",
            "subject_type": "user",
            "subject_id": await app.user_id(CUSTOMER),
            "at_ms": 0,
        }
        await tx.execute(sa.insert(marks).values(block))
    invite = {"order_id": order["id"], "mode": "video", "direction": "two_way"}
    with pytest.raises(Refused, match="blocked"):
        await customer.command("call.invite", **invite)


async def test_hostile_datagrams_do_not_disturb_a_call(
    app: RunningApp, customer: Party, expert: Party, caplog: pytest.LogCaptureFixture
) -> None:
    order = await customer.order(await app.add_listing(), "video")
    await begin_call(customer, expert, order["id"])
    await customer.wait_for("meter.started")
    assert customer.peer is not None
    frames = customer.peer.frames["video"]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", app.app.media.port)
    )
    for size in (0, 1, 2, 12, 20, 100, 1_500):
        for first in (0, 1, 20, 22, 63, 64, 127, 128, 191, 192, 255):
            transport.sendto(bytes([first]) * size)
    stun = bytes.fromhex("000100002112a442") + b"x" * 12
    transport.sendto(stun)
    transport.sendto(stun[:2] + b"\xff\xff" + stun[4:])
    await customer.peer.wait_frames("video", frames + 20)
    transport.close()
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


async def test_staff_can_end_a_call_and_money_settles(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    order = await customer.order(await app.add_listing(grace_seconds=0), "video")
    session_id = await begin_call(customer, expert, order["id"])
    await customer.wait_for("meter.charged")
    await app.app.sessions.terminate(session_id, by="staff")
    ended = await customer.wait_for("session.ended")
    assert (ended["summary"]["reason"], ended["summary"]["ended_by"]) == ("terminated", "staff")
    await eventually(lambda: not app.app.sessions.live_sessions())


async def test_stopping_the_engine_tells_and_settles_running_calls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running_app(tmp_path) as app,
        app.party(CUSTOMER) as customer,
        app.party(EXPERT) as expert,
    ):
        before = await customer.available()
        await expert.command("presence.set", status="available")
        order = await customer.order(await app.add_listing(grace_seconds=0), "video")
        await begin_call(customer, expert, order["id"])
        await customer.wait_for("meter.charged")
        await app.app.stop()
        ended = await customer.wait_for("session.ended")
        assert ended["summary"]["ended_by"] == "system"
        # The engine is why it ended: the unserved seconds of the paid block go back (override 5).
        total_minor = ended["summary"]["total_minor"]
        assert 0 <= total_minor < 100
    async with running_app(tmp_path) as again, again.party(CUSTOMER, connect=False) as customer:
        assert (await audit(again.app.store)).ok
        assert await customer.available() == before - total_minor
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_C8_the_media_worker_cuts_by_itself_when_the_session_side_is_stuck(
    app: RunningApp, customer: Party, expert: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both enforcements stand alone: here every deadline of the session side is lost."""
    available = await customer.available()
    price = (available - 100) // 3
    listing = await app.add_listing(**PER_SECOND | {"price_minor": price, "prepaid_seconds": 3})
    order = await customer.order(listing, "video")
    session_id = await begin_call(customer, expert, order["id"])
    await customer.wait_for("meter.started")
    conductor = app.app.sessions._conductor
    rt = app.app.sessions._registry.running(session_id)
    assert rt is not None
    # The session learns of nothing any more: no deadline, no acknowledgement.
    conductor.deadlines.close()
    monkeypatch.setattr(conductor, "quick", lambda rt, event: None)
    monkeypatch.setattr(conductor.deadlines, "set", lambda key, at_ns: None)
    cutoff_ns = rt.cutoff_ns
    assert cutoff_ns is not None
    await asyncio.sleep((cutoff_ns - app.app.clock.now_ns()) / 1e9 + 0.1)
    (leg,) = [leg.id for leg in rt.legs.values() if leg.role == "customer"]
    sent = app.app.media.leg_stats(leg)
    assert sent is not None
    await asyncio.sleep(0.5)
    later = app.app.media.leg_stats(leg)
    assert later is not None
    assert later.packets_out == sent.packets_out, "media went on after paid_until"
    assert rt.state == "in_progress"
    monkeypatch.undo()
    summary = (await customer.command("session.end", session_id=session_id))["summary"]
    assert (summary["reason"], summary["billed_seconds"]) == ("insufficient_funds", 3)


async def test_the_quality_of_a_call_is_told_to_both_and_kept_for_staff(
    app: RunningApp, customer: Party, expert: Party
) -> None:
    order = await customer.order(await app.add_listing(), "video")
    session_id = await begin_call(customer, expert, order["id"])
    told = await customer.wait_for("quality.updated")
    assert told["own"]["down"]["bitrate_bps"] > 0
    assert told["other"]["up"]["bitrate_bps"] > 0
    assert (await expert.wait_for("quality.updated"))["own"] == told["other"]
    await customer.command("session.end", session_id=session_id)
    events = session_events
    query = sa.select(events.c.data).where(
        events.c.session_id == session_id, events.c.type == "session.quality"
    )
    async with app.app.store.reading() as tx:
        (data,) = await tx.scalars(query)
    assert data["customer"]["down"]["bitrate_bps"]["mean"] > 0
    assert data["expert"]["up"]["loss"] is not None
    async with customer.http.get(f"{app.url}/metrics") as answer:
        text = await answer.text()
    assert 'talktime_leg_bitrate_bps_count{hop="down",role="customer"}' in text
