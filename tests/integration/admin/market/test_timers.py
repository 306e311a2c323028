"""What silence does: unpaid, unanswered and idle orders, on one node or two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from admin.due import DUE
from admin.market.timers import DOUBT_NS, RETRY_MS, Due, Timers, WallWatch
from admin.market.transitions import Done
from admin.orders.timers import ORDERS
from admin.ports import AdminDeps
from admin.queries import Row
from engine.clock import NS_PER_S
from engine.store.database import Tx
from engine.store.tables import orders
from tests.integration.admin.market.conftest import DAY, HAS_MINOR, Market
from tests.support.virtual_clock import VirtualClock


async def due_at(market: Market, order_id: str) -> int | None:
    async with market.store.reading() as tx:
        found: int | None = await tx.scalar(
            sa.select(orders.c.due_at_ms).where(orders.c.id == order_id)
        )
        return found


async def test_O3_an_unpaid_order_expires(market: Market) -> None:
    order = await market.order(await market.offer(), confirm=False)
    assert order["acts_at"] == "2026-01-08T00:00:00.000Z"
    assert await market.pass_time(7 * DAY - 1) == 0
    assert await market.pass_time(1) == 1
    seen = await market.see(market.customer, order["id"])
    assert (seen["state"], seen["closed_reason"], seen["acts_at"]) == ("cancelled", "unpaid", None)
    assert await market.refused(market.customer, order["id"], "pay") == (409, "order_closed")
    assert (await market.told(market.customer))[-1] == "order.cancelled"
    assert await market.pass_time(DAY) == 0


async def test_O3_a_payment_in_time_keeps_it(market: Market) -> None:
    order = await market.order(await market.offer(), confirm=False)
    market.clock.advance(7 * DAY)
    await market.do(market.customer, order["id"], "pay")
    assert await market.pass_time(DAY) == 0
    assert (await market.see(market.customer, order["id"]))["state"] == "open"


async def test_Pa_O7_silence_accepts_only_where_the_terms_say_so(market: Market) -> None:
    literal = await market.delivered()
    await market.terms(auto_accept_after_s=3 * 86_400)
    silent = await market.delivered()
    assert await market.pass_time(3 * DAY - 1) == 0
    assert await market.pass_time(1) == 1
    seen = await market.see(market.customer, silent)
    assert (seen["state"], seen["closed_reason"]) == ("completed", "accepted_by_silence")
    assert await market.money() == (HAS_MINOR - 6_000, 3_000, 2_400, 600)
    await market.pass_time(400 * DAY)
    assert (await market.see(market.customer, literal))["state"] == "delivered"


async def test_O7_a_return_and_a_dispute_stop_the_clock(market: Market) -> None:
    await market.terms(auto_accept_after_s=3 * 86_400)
    returned, disputed = await market.delivered(), await market.delivered()
    await market.do(market.customer, returned, "return", {})
    await market.dispute(market.customer, disputed)
    assert await market.pass_time(30 * DAY) == 0
    assert await market.money() == (HAS_MINOR - 6_000, 6_000, 0, 0)


async def test_To_O13_a_consultation_is_closed_when_nobody_called_for_long(
    market: Market,
) -> None:
    billed = await market.customer.order("lst_demo_lease")
    unused = await market.customer.order("lst_demo_lease")
    market.clock.advance(80 * DAY)
    await market.world.capture(await market.world.session(billed["id"]), 1_000)
    assert await market.pass_time(10 * DAY) == 1
    seen = await market.see(market.customer, unused["id"])
    assert (seen["state"], seen["closed_reason"]) == ("cancelled", "idle")
    seen = await market.see(market.customer, billed["id"])
    assert (seen["state"], seen["acts_at"]) == ("open", "2026-06-20T00:00:00.000Z")
    assert await market.pass_time(80 * DAY) == 1
    seen = await market.see(market.customer, billed["id"])
    assert (seen["state"], seen["closed_reason"]) == ("completed", "idle")
    assert await market.money() == (HAS_MINOR - 1_000, 0, 800, 200)


async def test_O13_a_call_that_runs_is_not_closed_under_the_parties(market: Market) -> None:
    order = await market.customer.order("lst_demo_lease")
    await market.world.session(
        order["id"], state="in_progress", end_reason=None, ended_at_ms=None, rung_at_ms=1
    )
    assert await market.pass_time(90 * DAY) == 0
    assert (await market.see(market.customer, order["id"]))["state"] == "open"
    assert await due_at(market, order["id"]) == market.clock.wall_ms() + RETRY_MS


async def test_two_nodes_act_once(market: Market) -> None:
    await market.terms(auto_accept_after_s=86_400)
    for _ in range(4):
        await market.delivered(1_000)
    market.clock.advance(DAY)
    acted = await asyncio.gather(*(market.timers().work_off() for _ in range(3)))
    assert sum(acted) == 4
    assert await market.money() == (HAS_MINOR - 4_000, 0, 3_200, 800)


async def test_silence_and_a_dispute_race_to_one_of_them(market: Market) -> None:
    await market.terms(auto_accept_after_s=86_400)
    order_id = await market.delivered()
    market.clock.advance(DAY)
    path, body = f"/orders/{order_id}/dispute", {"reason": "Wait!"}
    acted, (status, _) = await asyncio.gather(
        market.timers().work_off(), market.customer.post(path, body)
    )
    assert status == 200  # possible after the acceptance, too
    seen = await market.see(market.customer, order_id)
    assert seen["state"] == "disputed"
    assert (await market.money())[2] == (2_400 if acted else 0)


async def test_the_failure_of_one_row_stops_no_other(market: Market) -> None:
    listing = await market.offer()
    ids = [(await market.order(listing, confirm=False))["id"] for _ in range(3)]
    broken = ids[1]

    async def act(deps: AdminDeps, tx: Tx, row: Row) -> Done | None:
        if row.id == broken:
            raise RuntimeError("a defect")
        return await ORDERS.act(deps, tx, row)

    market.clock.advance(7 * DAY)
    timers = Timers(market.world.deps, (Due(name="orders", table=orders, act=act),))
    assert await timers.work_off() == 2
    states = [(await market.see(market.customer, one))["state"] for one in ids]
    assert states == ["cancelled", "pending_payment", "cancelled"]
    assert await timers.work_off() == 0  # it is not tried again at once
    market.clock.advance(RETRY_MS / 1_000)
    assert await market.timers().work_off() == 1


async def test_more_rows_than_a_batch_are_all_worked_off(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin.market.timers._BATCH", 2)
    listing = await market.offer()
    for _ in range(5):
        await market.order(listing, confirm=False)
    assert await market.pass_time(7 * DAY) == 5


async def test_the_task_looks_again_and_again_until_it_is_stopped(market: Market) -> None:
    order = await market.order(await market.offer(), confirm=False)
    timers = Timers(market.world.deps, DUE, every_s=5)
    armed = market.clock.armed
    timers.start()
    await _until(lambda: market.clock.armed > armed)  # nothing was due: it waits
    market.clock.advance(7 * DAY)
    await _until(lambda: market.clock.armed > armed)
    assert (await market.see(market.customer, order["id"]))["state"] == "cancelled"
    await timers.stop()
    assert market.clock.armed == armed


async def test_a_clock_that_steps_ahead_pays_nothing_out_at_once(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.terms(auto_accept_after_s=86_400)
    order_id, steps_ms, runs_on = await market.delivered(), [0], market.clock.wall_ms
    monkeypatch.setattr(market.clock, "wall_ms", lambda: runs_on() + steps_ms[0])
    timers = Timers(market.world.deps, DUE, every_s=5)

    async def look(after_s: float) -> str:
        market.clock.advance(after_s)
        assert timers._task is not None
        await timers._task
        return str((await market.see(market.customer, order_id))["state"])

    timers.start()
    assert await look(0) == "delivered"
    steps_ms[0] = 2 * 86_400_000
    assert await look(5) == "delivered"
    assert await look(DOUBT_NS / 1e9 - 10) == "delivered"
    steps_ms[0] = 0  # it is set right in time
    assert await look(20) == "delivered"
    steps_ms[0] = 2 * 86_400_000
    assert await look(5) == "delivered"
    assert await look(DOUBT_NS / 1e9) == "completed"  # nobody did: it was wrong before
    await timers.stop()


def test_a_step_within_the_hour_of_another_is_doubted_for_an_hour_of_its_own() -> None:
    """A machine that slept for five minutes hides no clock that is a day ahead."""
    clock, steps_ms = VirtualClock(), [0]
    runs_on = clock.wall_ms
    clock.wall_ms = lambda: runs_on() + steps_ms[0]  # type: ignore[method-assign]
    watch, most_s = WallWatch(clock), DOUBT_NS / NS_PER_S

    def look(step_ms: int, after_s: float) -> bool:
        steps_ms[0] = step_ms
        clock.advance(after_s)
        return watch.believable()

    slept_ms, day_ms = 300_000, 86_400_000
    assert look(0, 5)
    assert not look(slept_ms, 5)
    for _ in range(2):
        assert not look(slept_ms + day_ms, most_s - 60)
        assert not look(slept_ms, 30)  # set right, as far as it is known to be wrong
    assert not look(slept_ms + day_ms, 60)
    assert not look(slept_ms + day_ms, most_s - 5)
    assert look(slept_ms + day_ms, 5)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in another task
            await asyncio.sleep(0.01)
