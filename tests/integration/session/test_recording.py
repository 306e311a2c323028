"""Recording a call: consent on record first, either party ends it, and the call never minds."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from engine.errors import Conflict
from engine.store import tables as t
from tests.support.media_peer import eventually
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call


async def talk(rig: SessionRig) -> Call:
    one = await call(rig, tariff(900))
    await one.invite()
    await one.accept()
    await one.begin()
    await one.flow()
    return one


async def evidence(rig: SessionRig, session_id: str) -> list[tuple[str, Any]]:
    events = t.session_events
    query = (
        sa.select(events.c.type, events.c.data)
        .where(events.c.session_id == session_id, events.c.type.like("recording.%"))
        .order_by(events.c.seq)
    )
    async with rig.store.reading() as tx:
        return [(row.type, row.data["role"]) for row in await tx.execute(query)]


def told(rig: SessionRig, user: str) -> list[str]:
    return [event["state"] for event in rig.out.of(user, "recording.updated")]


async def test_recording_begins_once_both_agreed_and_that_is_on_record(rig: SessionRig) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.settle()
    assert rig.recordings.log == []
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.settle()
    assert rig.recordings.log == [("start", one.id)]
    assert await evidence(rig, one.id) == [
        ("recording.requested", "customer"),
        ("recording.recording", "expert"),
    ]
    for user in (one.customer, one.expert):
        assert told(rig, user) == ["requested", "recording"]


@pytest.mark.parametrize("who", ["customer", "expert"])
async def test_either_party_ends_it_at_any_time(rig: SessionRig, who: str) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.expert, one.id)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_stop(getattr(one, who), one.id)
    await rig.settle()
    assert rig.recordings.log == [("start", one.id), ("stop", one.id)]
    assert (await evidence(rig, one.id))[-1] == ("recording.stopped", who)


async def test_a_declined_request_records_nothing(rig: SessionRig) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=False)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.settle()
    assert rig.recordings.log == []
    assert told(rig, one.customer) == ["requested", "off"]


async def test_a_recorder_that_fails_ends_the_recording_and_not_the_call(rig: SessionRig) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.settle()
    rig.recordings.on_end[one.id]("disk_full")
    await rig.run(5)
    assert told(rig, one.customer)[-1] == "failed"
    assert rig.service.live_sessions()
    rig.recordings.refuse = True
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.run(5)
    assert told(rig, one.expert)[-1] == "failed"
    assert rig.service.live_sessions()


async def test_a_recorder_that_hangs_at_its_start_holds_up_neither_the_call_nor_its_end(
    rig: SessionRig,
) -> None:
    one = await talk(rig)
    rig.recordings.goes_on.clear()
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await eventually(lambda: rig.recordings.log == [("start", one.id)])
    for second in range(1, 5):
        rig.clock.advance(1)
        rig.media.deliver(one.id, rig.clock.now_ns())
        await eventually(lambda second=second: elapsed_ms(rig) == 1000 * second)
    await rig.service.end(one.customer, one.id)
    await eventually(lambda: told(rig, one.expert)[-1] == "stopped")
    assert one.id in rig.media.closed
    await eventually(lambda: not rig.service.live_sessions())
    assert rig.recordings.cuts == [one.id], "before it has even begun"
    assert rig.recordings.log == [("start", one.id)]
    rig.recordings.goes_on.set()
    await rig.settle()
    assert rig.recordings.log == [("start", one.id), ("stop", one.id)]


def elapsed_ms(rig: SessionRig) -> int | None:
    (view,) = rig.service.live_sessions()
    return view.elapsed_ms


async def test_a_consent_taken_back_while_the_recorder_hangs_is_taken_back_at_once(
    rig: SessionRig,
) -> None:
    one = await talk(rig)
    rig.recordings.goes_on.clear()
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await eventually(lambda: rig.recordings.log == [("start", one.id)])
    await rig.service.recording_stop(one.expert, one.id)
    assert rig.recordings.cuts == [one.id]
    rig.recordings.goes_on.set()
    await rig.settle()
    assert rig.recordings.log == [("start", one.id), ("stop", one.id)]
    assert (await evidence(rig, one.id))[-1] == ("recording.stopped", "expert")


async def test_the_end_of_the_call_ends_the_recording(rig: SessionRig) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.service.end(one.customer, one.id)
    await rig.settle()
    assert rig.recordings.log == [("start", one.id), ("stop", one.id)]
    assert (await evidence(rig, one.id))[-1] == ("recording.stopped", "")
    with pytest.raises(Conflict) as refused:
        await rig.service.recording_request(one.customer, one.id)
    assert refused.value.code == "session_ended"


async def test_a_page_that_comes_back_sees_what_is_so(rig: SessionRig) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    snapshot, _ = await rig.service.join(one.expert, "fresh", one.id, 0)
    view = snapshot.recording
    assert (view.possible, view.state, view.by) == (True, "requested", "customer")


async def test_after_a_crash_nothing_is_recorded_until_both_agree_anew(rig: SessionRig) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.settle()
    await rig.crash(wait=False)
    snapshot, _ = await rig.service.join(one.customer, "fresh", one.id, 0)
    assert (snapshot.recording.state, snapshot.recording.reason) == ("failed", "interrupted")
    assert rig.recordings.log == []
    assert (await evidence(rig, one.id))[-1] == ("recording.failed", "")
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.settle()
    assert rig.recordings.log == [("start", one.id)]


async def test_a_crash_that_nobody_comes_back_from_ends_the_recording_on_record(
    rig: SessionRig,
) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.settle()
    rig.clock.advance(1_000)  # too long ago to go on with
    await rig.crash()
    assert (await evidence(rig, one.id))[-1] == ("recording.failed", "")
    assert (await rig.evidence(one.id))[-1] == "session.ended"


async def test_a_recording_that_was_over_before_the_crash_is_not_ended_again(
    rig: SessionRig,
) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.service.recording_stop(one.customer, one.id)
    await rig.settle()
    before = await evidence(rig, one.id)
    await rig.crash()
    assert await evidence(rig, one.id) == before


async def test_a_consent_is_taken_back_at_once_even_while_the_store_is_out_of_reach(
    rig: SessionRig,
) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.settle()
    rig.store.down = True
    await rig.service.recording_stop(one.expert, one.id)
    assert rig.recordings.cuts == [one.id]
    assert (await rig.service.join(one.expert, "fresh", one.id, 0))[0].recording.state == "stopped"
    rig.store.down = False
    await rig.run(3)
    assert (await evidence(rig, one.id))[-1] == ("recording.stopped", "expert")
    assert rig.recordings.log == [("start", one.id), ("stop", one.id)]


async def test_a_session_that_another_node_goes_on_with_is_not_recorded_here(
    rig: SessionRig,
) -> None:
    one = await talk(rig)
    await rig.service.recording_request(one.customer, one.id)
    await rig.service.recording_consent(one.expert, one.id, consent=True)
    await rig.settle()
    async with rig.store.transaction() as tx:
        moved = sa.update(t.sessions).where(t.sessions.c.id == one.id)
        await tx.execute(moved.values(owner="node-2", epoch=t.sessions.c.epoch + 1))
    await rig.run(21)  # the next checkpoint
    assert rig.recordings.cuts == [one.id]
    assert rig.recordings.log == [("start", one.id), ("stop", one.id)]
    await rig.run(120)  # that node does not exist: what it took is found again, and settled


async def test_where_it_is_switched_off_it_is_refused(rig: SessionRig) -> None:
    one = await talk(rig)
    rig.recordings.enabled = False
    with pytest.raises(Conflict) as refused:
        await rig.service.recording_request(one.customer, one.id)
    assert refused.value.code == "recording_disabled"
