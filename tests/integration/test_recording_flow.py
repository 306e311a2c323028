"""Recording over Socket.IO: ask, agree, decline, take back, stop, and what goes on record of it.

The whole application with real media; what is in the files is tests/integration/recording's matter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from engine.store.tables import session_events
from tests.integration.test_call_flow import begin_call
from tests.support.full_disk import fill_the_disk
from tests.support.media_peer import eventually
from tests.support.party import Party, Refused
from tests.support.running_app import CUSTOMER, EXPERT, STAFF, RunningApp, running_app


class Call(NamedTuple):
    """A running video call: both parties and its session."""

    app: RunningApp
    customer: Party
    expert: Party
    id: str

    async def told(self, count: int) -> list[tuple[str, str | None, str | None]]:
        """The `count` changes that both parties heard of: the same ones, in the same order."""
        heard = []
        for party in (self.customer, self.expert):
            await party.wait_for("recording.updated", count)
            changes = party.events["recording.updated"]
            assert all(change["session_id"] == self.id for change in changes)
            heard.append([(one["state"], one["by"], one["reason"]) for one in changes])
        assert heard[0] == heard[1]
        assert len(heard[0]) == count
        return heard[0]

    async def agree(self) -> None:
        await self.customer.command("recording.request", session_id=self.id)
        await self.expert.command("recording.consent", session_id=self.id, consent=True)

    async def evidence(self) -> list[tuple[str, str, str]]:
        """What is on record of consent: type, whose doing, reason."""
        events = session_events.c
        mine = sa.select(events.type, events.data).where(
            events.session_id == self.id, events.type.like("recording.%")
        )
        async with self.app.app.store.reading() as tx:
            rows = (await tx.execute(mine.order_by(events.seq))).all()
        return [(row.type, row.data["role"], row.data.get("reason", "")) for row in rows]

    async def timeline(self) -> list[str]:
        """End the call; what its receipt says of the recording, to each party the same."""
        await self.customer.command("session.end", session_id=self.id)
        receipts = [
            await party.get(f"/sessions/{self.id}/receipt")
            for party in (self.customer, self.expert)
        ]
        one, other = ([entry["text"] for entry in receipt["timeline"]] for receipt in receipts)
        assert one == other
        return [text for text in one if "record" in text]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path, recordings=True, recording_min_free_mb=1) as app:
        yield app


@pytest.fixture
async def call(app: RunningApp) -> AsyncIterator[Call]:
    async with app.party(CUSTOMER) as customer, app.party(EXPERT) as expert:
        await expert.command("presence.set", status="available")
        order = await customer.order(await app.add_listing(), "video")
        session_id = await begin_call(customer, expert, order["id"])
        await customer.wait_for("meter.started")
        yield Call(app, customer, expert, session_id)


async def test_nothing_is_recorded_before_both_agreed_and_the_consent_is_on_record(
    call: Call,
) -> None:
    await call.customer.command("recording.request", session_id=call.id)
    assert await call.told(1) == [("requested", "customer", None)]
    assert not list(call.app.app.settings.data_dir.rglob("rec_*"))
    await call.expert.command("recording.consent", session_id=call.id, consent=True)
    assert await call.told(2) == [
        ("requested", "customer", None),
        ("recording", "expert", None),
    ]
    rejoined = await call.expert.command("session.join", session_id=call.id)
    view = rejoined["snapshot"]["recording"]
    assert (view["possible"], view["state"], view["by"]) == (True, "recording", "expert")
    assert await call.evidence() == [
        ("recording.requested", "customer", ""),
        ("recording.recording", "expert", ""),
    ]


@pytest.mark.parametrize("who", ["customer", "expert"])
async def test_either_party_ends_it_and_the_receipt_tells_who(call: Call, who: str) -> None:
    await call.agree()
    await call.told(2)
    await getattr(call, who).command("recording.stop", session_id=call.id)
    assert (await call.told(3))[-1] == ("stopped", who, None)
    assert (await call.evidence())[-1] == ("recording.stopped", who, "")
    asked, agreed, ended = await call.timeline()
    assert "asked to record the call" in asked
    assert "agreed: the recording began" in agreed
    assert ended.endswith("ended the recording.")
    assert ended.startswith(getattr(call, who).user["display_name"])


async def test_who_declined_is_told_and_on_record_and_can_be_asked_again(call: Call) -> None:
    await call.customer.command("recording.request", session_id=call.id)
    await call.expert.command("recording.consent", session_id=call.id, consent=False)
    assert (await call.told(2))[-1] == ("off", "expert", "declined")
    # An answer that comes too late changes nothing.
    await call.expert.command("recording.consent", session_id=call.id, consent=True)
    await call.expert.command("recording.request", session_id=call.id)
    assert (await call.told(3))[-1] == ("requested", "expert", None)
    assert ("recording.off", "expert", "declined") in await call.evidence()
    assert not list(call.app.app.settings.data_dir.rglob("rec_*"))
    assert "did not agree to a recording" in (await call.timeline())[1]


async def test_who_asked_can_take_it_back_before_the_answer(call: Call) -> None:
    await call.customer.command("recording.request", session_id=call.id)
    await call.customer.command("recording.stop", session_id=call.id)
    await call.expert.command("recording.consent", session_id=call.id, consent=True)
    assert (await call.told(2))[-1] == ("off", "customer", "withdrawn")
    assert await call.evidence() == [
        ("recording.requested", "customer", ""),
        ("recording.off", "customer", "withdrawn"),
    ]
    assert "took the request to record back" in (await call.timeline())[1]


async def test_both_hear_that_a_recording_could_not_begin(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    await call.agree()
    assert (await call.told(3))[-1] == ("failed", None, "unavailable")
    assert (await call.evidence())[-1] == ("recording.failed", "", "unavailable")
    assert await still_runs(call)
    assert (await call.timeline())[-1] == "The recording could not begin; the call went on."


async def test_both_hear_that_a_recording_ended_by_itself(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.agree()
    await call.told(2)
    await eventually(lambda: bool(list(call.app.app.settings.data_dir.rglob("rec_*"))))
    fill_the_disk(monkeypatch)
    await call.customer.wait_for("recording.updated", 3)
    assert (await call.told(3))[-1] == ("failed", None, "disk_full")
    assert await still_runs(call)
    assert (await call.timeline())[-1] == "The recording ended by itself; the call went on."


async def test_who_is_no_party_of_the_call_has_no_say(call: Call) -> None:
    async with call.app.party(STAFF) as stranger:
        for command, more in (("request", {}), ("consent", {"consent": True}), ("stop", {})):
            with pytest.raises(Refused):
                await stranger.command(f"recording.{command}", session_id=call.id, **more)
    assert await call.evidence() == []


async def test_where_recording_is_off_it_cannot_be_asked_for(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path) as app,
        app.party(CUSTOMER) as customer,
        app.party(EXPERT) as expert,
    ):
        await expert.command("presence.set", status="available")
        order = await customer.order(await app.add_listing(), "video")
        session_id = await begin_call(customer, expert, order["id"])
        snapshot = (await customer.command("session.join", session_id=session_id))["snapshot"]
        assert snapshot["recording"]["possible"] is False
        with pytest.raises(Refused, match="recording_disabled"):
            await customer.command("recording.request", session_id=session_id)
        await customer.wait_for("meter.started")


async def still_runs(call: Call) -> bool:
    """Whether pictures still arrive at the customer."""
    assert call.customer.peer is not None
    await call.customer.peer.wait_frames("video", 10)
    return True
