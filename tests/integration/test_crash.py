"""`kill -9` on a real engine process in the middle of sessions, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from engine.audit import audit
from engine.metering.tariff import Tariff
from engine.store import tables as t
from tests.support.mortal_engine import MortalEngine, mortal_engine
from tests.support.party import Party
from tests.support.running_app import CUSTOMER, EXPERT

TARIFF = {"price_minor": 10, "per_seconds": 1, "block_seconds": 1, "grace_seconds": 0}
SECONDLY = {**TARIFF, "prepaid_seconds": 0}
BLOCKS = {**TARIFF, "block_seconds": 60, "prepaid_seconds": 60}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[MortalEngine]:
    async with mortal_engine(tmp_path) as engine:
        yield engine
        report = await audit(engine.store)
        assert report.ok, report


@contextlib.asynccontextmanager
async def parties(engine: MortalEngine) -> AsyncIterator[tuple[Party, Party]]:
    async with engine.party(CUSTOMER) as customer, engine.party(EXPERT) as expert:
        yield customer, expert


async def begin(customer: Party, expert: Party, order: dict[str, Any]) -> str:
    """Up to the running clock: a video call, or a chat with its second message."""
    await expert.command("presence.set", status="available")
    mode = order["mode"]
    invited = await customer.command("call.invite", order_id=order["id"], mode=mode)
    session_id = str(invited["session_id"])
    await expert.wait_for("call.incoming")
    for party in (customer, expert):
        await party.command("session.join", session_id=session_id)
    if mode == "video":
        await asyncio.gather(customer.connected(), expert.connected())
    await expert.command("call.accept", session_id=session_id)
    if mode == "video":
        await expert.publish(session_id, "audio", "video")
        await expert.command("session.start", session_id=session_id)
    else:
        await say(customer, session_id, "one")
        await say(customer, session_id, "two")
    await customer.wait_for("meter.started")
    return session_id


async def say(party: Party, session_id: str, text: str) -> None:
    await party.command("message.send", session_id=session_id, client_msg_id=text, body=text)


async def come_back(customer: Party, expert: Party, session_id: str, last_seq: int) -> None:
    joined = await customer.command("session.join", session_id=session_id, last_seq=last_seq)
    snapshot = joined["snapshot"]
    assert (snapshot["state"], snapshot["meter"]["state"]) == ("in_progress", "paused")
    assert snapshot["last_seq"] > last_seq
    await expert.command("session.join", session_id=session_id)
    if snapshot["mode"] == "video":
        await asyncio.gather(customer.connected(), expert.connected())
        await expert.publish(session_id, "audio", "video")
    resumed = await customer.wait_for("meter.resumed")
    assert resumed["seq"] > snapshot["last_seq"]


async def row_of(engine: MortalEngine, session_id: str) -> Any:
    async with engine.store.reading() as tx:
        query = sa.select(t.sessions).where(t.sessions.c.id == session_id)
        return (await tx.execute(query)).one()


@pytest.mark.parametrize("mode", ["text", "video"])
async def test_after_kill_9_the_session_goes_on_and_is_charged_once(
    engine: MortalEngine, mode: str
) -> None:
    async with parties(engine) as (customer, expert):
        available = await customer.available()
        order = await customer.order(await engine.add_listing(**SECONDLY), mode)
        session_id = await begin(customer, expert, order)
        began = time.monotonic()
        await asyncio.sleep(5)
        last_seq = max(event["seq"] for event in customer.events["meter.tick"])
        await engine.kill()
        served_s = time.monotonic() - began
    before = await row_of(engine, session_id)
    assert served_s - 4.5 < before.served_ns / 1e9 <= served_s
    await asyncio.sleep(2)  # time without an engine
    await engine.start()
    async with parties(engine) as (customer, expert):
        await come_back(customer, expert, session_id, last_seq)
        began = time.monotonic()
        if mode == "video":
            assert customer.peer is not None
            await customer.peer.wait_frames("video", 20)
        else:
            await say(expert, session_id, "still-here")
            assert (await customer.wait_for("message.created"))["message"]["body"] == "still-here"
        await asyncio.sleep(3)
        summary = (await customer.command("session.end", session_id=session_id))["summary"]
        served_s = time.monotonic() - began
        row = await row_of(engine, session_id)
        assert (row.epoch, row.ordinal, row.metered_at_ms) == (2, 1, before.metered_at_ms)
        assert (row.served_ns - before.served_ns) / 1e9 == pytest.approx(served_s, abs=2)
        assert summary["reason"] == "completed"
        assert summary["billed_seconds"] == -(-row.served_ns // 10**9)
        assert summary["total_minor"] == 10 * summary["billed_seconds"]
        assert await customer.available() == available - summary["total_minor"]
        receipt = await customer.get(f"/sessions/{session_id}/receipt")
        assert receipt["total"]["amount"] == summary["total_minor"]
        assert [entry["type"] for entry in receipt["timeline"]].count("meter.started") == 1
        assert "session.suspended" in [entry["type"] for entry in receipt["timeline"]]


@pytest.mark.parametrize("mode", ["text", "video"])
async def test_after_kill_9_and_nobody_comes_back_only_what_was_served_is_charged(
    engine: MortalEngine, mode: str
) -> None:
    async with parties(engine) as (customer, expert):
        available = await customer.available()
        order = await customer.order(await engine.add_listing(**BLOCKS), mode)
        await shorten_window(engine, order["id"])
        session_id = await begin(customer, expert, order)
        await customer.wait_for("meter.charged")
        await asyncio.sleep(4)
        await engine.kill()
    before = await row_of(engine, session_id)
    assert before.captured_minor == 600
    await engine.start()

    await asyncio.sleep(6)  # the window and its settlement
    row = await row_of(engine, session_id)
    assert (row.end_reason, row.ended_by) == ("server_restart", "system")
    assert row.served_ns == before.served_ns
    total = Tariff(currency="EUR", **BLOCKS).prorata_minor(row.served_ns)
    assert 20 <= total <= 60
    async with parties(engine) as (customer, _expert):
        assert await customer.available() == available - total
        receipt = await customer.get(f"/sessions/{session_id}/receipt")
    # Override 5: the block that was paid whole, and what the engine failed to serve of it.
    amounts = [(line["text"], line["amount"]["amount"]) for line in receipt["lines"]]
    assert [amount for _, amount in amounts] == [600, total - 600]
    assert amounts[1][0] == "Given back: unserved part of a block"
    assert receipt["total"]["amount"] == total


@pytest.mark.parametrize("mode", ["text", "video"])
async def test_nobody_pays_while_the_process_is_stopped(engine: MortalEngine, mode: str) -> None:
    async with parties(engine) as (customer, expert):
        order = await customer.order(await engine.add_listing(**SECONDLY), mode)
        session_id = await begin(customer, expert, order)
        began = time.monotonic()
        await asyncio.sleep(2)
        await engine.freeze(6)
        resumed = await customer.wait_for("meter.resumed")
        assert resumed["session_id"] == session_id
        if mode == "text":
            await say(expert, session_id, "still-here")
        await asyncio.sleep(2)
        summary = (await customer.command("session.end", session_id=session_id))["summary"]
        seconds = time.monotonic() - began
        row = await row_of(engine, session_id)
        assert 2 <= row.served_ns / 1e9 <= seconds - 6 + 1
        assert summary["total_minor"] == 10 * -(-row.served_ns // 10**9)


async def test_after_kill_9_a_call_that_rang_costs_nothing(engine: MortalEngine) -> None:
    async with parties(engine) as (customer, expert):
        order = await customer.order(await engine.add_listing(**BLOCKS), "video")
        await expert.command("presence.set", status="available")
        available = await customer.available()
        invited = await customer.command("call.invite", order_id=order["id"], mode="video")
        await engine.kill()
    await engine.start()
    row = await row_of(engine, invited["session_id"])
    assert (row.state, row.end_reason, row.billed_seconds) == ("ended", "canceled", 0)
    async with parties(engine) as (customer, _expert):
        assert await customer.available() == available
        assert (await customer.get(f"/orders/{order['id']}"))["held"]["amount"] == 600


async def shorten_window(engine: MortalEngine, order_id: str) -> None:
    """The order's own policy: five seconds to come back instead of thirty."""
    mine = t.orders.c.id == order_id
    async with engine.store.transaction() as tx:
        policy = (await tx.execute(sa.select(t.orders.c.policy).where(mine))).scalar_one()
        await tx.execute(
            sa.update(t.orders).where(mine).values(policy=policy | {"reconnect_window_s": 5})
        )
