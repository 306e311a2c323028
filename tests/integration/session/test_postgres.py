"""The same service on PostgreSQL: its locks, its conditional statements, its checkpoint."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from engine.errors import Conflict
from engine.store import tables as t
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call

pytestmark = pytest.mark.postgres


async def test_a_session_with_slices_and_a_hangup(postgres_url: str) -> None:
    async with SessionRig(postgres_url) as rig:
        one = await (await call(rig, tariff(1), wallet=90_000)).talk()
        await rig.run(930)
        assert (await one.hangup()).total_minor == 93_000
        assert await rig.available(one.customer) == 87_000
        await rig.audit()


async def test_C17_a_crash_is_settled(postgres_url: str) -> None:
    async with SessionRig(postgres_url) as rig:
        one = await (await call(rig, tariff(900), wallet=180_000)).talk()
        await rig.run(1_000)
        await rig.crash()
        row = await rig.row(one.id)
        assert (row.end_reason, row.blocks) == ("server_restart", 2)
        assert await rig.total(one.id) == tariff(900).prorata_minor(row.served_ns)
        assert row.served_ns >= 997 * 10**9
        await rig.audit()


async def test_a_crash_ends_a_recording_on_record(postgres_url: str) -> None:
    async with SessionRig(postgres_url) as rig:
        one = await (await call(rig, tariff(900), wallet=180_000)).talk()
        await rig.service.recording_request(one.customer, one.id)
        await rig.service.recording_request(one.expert, one.id)
        await rig.settle()
        await rig.crash(wait=False)
        assert (await rig.evidence(one.id))[-2:] == ["session.suspended", "recording.failed"]


async def test_two_nodes_and_two_answers_of_one_expert(postgres_url: str) -> None:
    async with (
        SessionRig(postgres_url, node_id="node-1") as first,
        SessionRig(postgres_url, node_id="node-2") as second,
    ):
        one = await (await call(first, tariff(900))).invite()
        customer = await second.user("Second")
        order = await second.order(customer, one.expert, tariff(900))
        two = await Call(second, customer, one.expert, order, "video").invite()
        results = await asyncio.gather(
            first.service.accept(one.expert, "phone", one.id),
            second.service.accept(one.expert, "laptop", two.id),
            return_exceptions=True,
        )
        refusals = [result for result in results if isinstance(result, Conflict)]
        assert [refusal.code for refusal in refusals] == ["expert_busy"]
        await one.hangup()
        await two.hangup()


async def test_the_last_block_of_a_wallet_shared_by_two_nodes_goes_to_one(
    postgres_url: str,
) -> None:
    async with (
        SessionRig(postgres_url, node_id="node-1") as first,
        SessionRig(postgres_url, node_id="node-2") as second,
    ):
        one = await call(first, tariff(900, prepaid_seconds=0), wallet=90_000)
        expert = await second.user("Other")
        order = await second.order(one.customer, expert, tariff(900, prepaid_seconds=0))
        two = Call(second, one.customer, expert, order, "video")
        for each in (one, two):
            await each.invite()
            await each.accept()
        await asyncio.gather(one.begin(), two.begin())
        rows = await first.rows(
            sa.select(t.sessions.c.state).where(t.sessions.c.customer_id == one.customer)
        )
        assert sorted(row.state for row in rows) == ["ended", "in_progress"]
        assert await first.available(one.customer) == 0
        for rig, each in ((first, one), (second, two)):
            await each.hangup()
            await rig.settle()
        assert await first.available(one.customer) == 90_000
