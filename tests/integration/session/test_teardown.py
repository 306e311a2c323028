"""Who closes what: every way a session can end, from every stage it can have reached."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable

import pytest

from engine.errors import Unavailable
from engine.media.interface import Role
from engine.session.runtime import Runtime
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call, turns

STAGES = ("ringing", "connecting", "armed", "grace", "charged", "paused")


async def reach(rig: SessionRig, stage: str) -> Call:
    """A session at a stage; blocks of 60 s, one prepaid, one more in the wallet."""
    one = await call(rig, tariff(60, prepaid_seconds=60), wallet=6_000)
    await one.invite()
    if stage == "ringing":
        return one
    await one.accept()
    if stage == "connecting":
        return one
    await one.begin()
    if stage == "armed":
        return one
    await one.flow()
    await rig.run(30 if stage == "grace" else 70)
    if stage == "paused":
        rig.flowing.clear()
        await rig.run(5)
    return one


async def hangup(rig: SessionRig, one: Call) -> None:
    await one.hangup(Role.EXPERT)


async def staff(rig: SessionRig, one: Call) -> None:
    await rig.service.terminate(one.id, by="staff")


async def drain(rig: SessionRig, one: Call) -> None:
    await rig.service.drain(5)


async def loss(rig: SessionRig, one: Call) -> None:
    rig.flowing.clear()
    await rig.service.device_gone(one.customer, one.customer_device)
    await rig.service.device_gone(one.expert, one.expert_device)
    await rig.run(61)


async def no_money(rig: SessionRig, one: Call) -> None:
    await rig.run(130)


async def crash(rig: SessionRig, one: Call) -> None:
    await rig.crash()


Way = Callable[[SessionRig, Call], Awaitable[None]]
EXPECTED: dict[Way, dict[str, tuple[str, str]]] = {
    hangup: {
        "ringing": ("declined", "expert"),
        "connecting": ("completed", "expert"),
        "armed": ("completed", "expert"),
        "grace": ("void", "expert"),
        "charged": ("completed", "expert"),
        "paused": ("completed", "expert"),
    },
    staff: {
        "ringing": ("terminated", "staff"),
        "connecting": ("terminated", "staff"),
        "armed": ("terminated", "staff"),
        "grace": ("void", "staff"),
        "charged": ("terminated", "staff"),
        "paused": ("terminated", "staff"),
    },
    drain: {
        "ringing": ("canceled", "system"),
        "connecting": ("terminated", "system"),
        "armed": ("terminated", "system"),
        "grace": ("void", "system"),
        "charged": ("terminated", "system"),
        "paused": ("terminated", "system"),
    },
    loss: {
        "ringing": ("canceled", "customer"),
        "connecting": ("disconnected", "system"),
        "armed": ("disconnected", "system"),
        "grace": ("void", "system"),
        "charged": ("disconnected", "system"),
        "paused": ("disconnected", "system"),
    },
    no_money: {
        "ringing": ("no_answer", "system"),
        "connecting": ("failed", "system"),
        "armed": ("failed", "system"),
        "grace": ("insufficient_funds", "system"),
        "charged": ("insufficient_funds", "system"),
        "paused": ("disconnected", "system"),
    },
    crash: {
        "ringing": ("canceled", "system"),
        "connecting": ("failed", "system"),
        "armed": ("server_restart", "system"),
        "grace": ("void", "system"),
        "charged": ("server_restart", "system"),
        "paused": ("server_restart", "system"),
    },
}
CASES = [(way, stage) for way in EXPECTED for stage in STAGES]


@pytest.mark.parametrize(("way", "stage"), CASES, ids=lambda one: getattr(one, "__name__", one))
async def test_nothing_is_left_behind(rig: SessionRig, way: Way, stage: str) -> None:
    one = await reach(rig, stage)
    await way(rig, one)
    await rig.settle()
    row = await rig.row(one.id)
    assert (row.state, (row.end_reason, row.ended_by)) == ("ended", EXPECTED[way][stage])
    total = await rig.total(one.id)
    assert total == 0 if stage in ("ringing", "connecting", "armed") else True
    assert await rig.available(one.customer) + await rig.held(one.customer) == 12_000 - total
    # The order keeps what of its prepayment was not used, the session keeps nothing.
    assert await rig.held(one.customer) == max(0, 6_000 - total)
    assert await rig.earned(one.expert) == total - total * 1_500 // 10_000
    assert rig.media.calls == {}
    assert rig.service.live_sessions() == []
    assert not rig.service.in_live_session(one.expert)
    assert rig.service.ringing_for(one.expert) == 0
    assert len(rig.service._conductor.deadlines) == 0
    if way is not crash:
        for user in (one.customer, one.expert):
            assert len(rig.out.of(user, "session.ended")) == 1
        assert rig.out.of(one.expert, "call.pending")[-1]["count"] == 0
        assert rig.presence.refreshed[-1] == one.expert


async def test_an_orderly_shutdown_charges_only_what_was_served(rig: SessionRig) -> None:
    one = await reach(rig, "charged")
    await rig.service.drain(5)
    assert await rig.total(one.id) == 7_000
    with pytest.raises(Unavailable) as refused:
        await one.invite()
    assert refused.value.code == "draining"


async def test_a_drain_waits_no_longer_than_it_was_given(rig: SessionRig) -> None:
    one = await reach(rig, "charged")
    never = asyncio.Event()

    async def hang(rt: object, entries: object) -> list[object]:
        await never.wait()
        return []

    journal = rig.service._conductor._journal
    journal.write = hang  # type: ignore[method-assign,assignment]
    draining = asyncio.create_task(rig.service.drain(5))
    for seconds in (0, 4.9):
        rig.clock.advance(seconds)
        await turns()
        assert not draining.done()
    rig.clock.advance(0.2)
    await draining
    await rig.service.stop()
    assert rig.media.calls == {}
    del journal.write  # type: ignore[method-assign]
    await rig.crash()
    assert (await rig.row(one.id)).end_reason == "server_restart"


async def test_what_is_stopped_serves_nobody_while_it_waits_for_the_store(
    rig: SessionRig,
) -> None:
    one = await reach(rig, "charged")
    answers = asyncio.Event()

    async def hang(rt: object, entries: object) -> list[object]:
        while not answers.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await answers.wait()
        return []

    journal = rig.service._conductor._journal
    journal.write = hang  # type: ignore[method-assign,assignment]
    muting = asyncio.create_task(
        rig.service.track_update(one.expert, one.expert_device, one.id, True, False)
    )
    await turns()
    stopping = asyncio.create_task(rig.service.stop())
    await turns()
    assert not stopping.done()
    assert rig.media.calls == {}
    assert rig.service.live_sessions() == []
    answers.set()
    await asyncio.gather(stopping, muting, return_exceptions=True)
    del journal.write  # type: ignore[method-assign]
    await rig.crash()
    assert (await rig.row(one.id)).end_reason == "server_restart"


async def test_a_drain_waits_for_a_store_that_is_out_of_reach_for_a_moment(
    rig: SessionRig,
) -> None:
    one = await reach(rig, "charged")
    rig.store.down = True
    draining = asyncio.create_task(rig.service.drain(5))
    await turns()
    await rig.run(2)
    assert not draining.done()
    rig.store.down = False
    await rig.run(2)
    await turns()
    assert draining.done()
    assert await rig.total(one.id) == 7_000


async def test_a_stopped_service_leaves_no_task_and_no_timer(sqlite_url: str) -> None:
    rig = SessionRig(sqlite_url)
    await rig.service.start()
    one = await call(rig, tariff(900))
    await one.talk()
    await rig.service.stop()
    assert rig.clock.armed == 0
    assert rig.service._conductor.tasks == set()
    await rig.store.close()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("way", [way for way in EXPECTED if way is not crash])
async def test_what_is_over_is_freed_without_a_look_for_garbage(sqlite_url: str, way: Way) -> None:
    """A look through everything stops all sessions; it must not be what memory depends on."""
    async with SessionRig(sqlite_url, ended_kept=0) as rig:
        one = await reach(rig, "charged")
        gc.disable()
        try:
            await way(rig, one)
            await rig.settle()
            known = [thing for thing in gc.get_objects() if isinstance(thing, Runtime)]
            kept = [rt for rt in known if rt.id == one.id]
        finally:
            gc.enable()
        assert kept == []
