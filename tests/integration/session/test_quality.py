"""Quality of a running call: what both parties hear of it, and what stays as evidence."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from engine.errors import Unavailable
from engine.media.interface import LegStats, Role
from engine.store import tables as t
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call
from tests.unit.session.test_quality import FINE, NOTHING, after


class Network:
    """What the worker says of the legs of a call: every two seconds a little more."""

    def __init__(self, one: Call) -> None:
        self.one = one
        self.rig = one.rig
        legs = self.rig.media.calls[one.id].selected
        self.legs = {role: legs[role] for role in Role}
        for leg_id in self.legs.values():
            self.rig.media.stats[leg_id] = NOTHING
            self.rig.media.connect(one.id, leg_id)

    async def pass_time(
        self, looks: int, *, customer: dict[str, float] | None = None, **expert: float
    ) -> None:
        for _ in range(looks):
            self._add(Role.CUSTOMER, FINE | (customer or {}))
            self._add(Role.EXPERT, FINE | expert)
            await self.rig.run(2)

    def _add(self, role: Role, more: dict[str, Any]) -> None:
        found = self.rig.media.stats
        found[self.legs[role]] = after(found[self.legs[role]], **more)

    def told(self, user: str) -> list[dict[str, Any]]:
        return self.rig.out.of(user, "quality.updated")


async def talk(rig: SessionRig, direction: Any = "two_way") -> Network:
    one = await call(rig, tariff(900))
    await one.invite(direction)
    await one.accept()
    await one.begin()
    await one.flow()
    network = Network(one)
    await rig.run(2)  # the first look is what the next one is compared with
    return network


async def evidence(rig: SessionRig, session_id: str) -> list[Any]:
    events = t.session_events
    query = sa.select(events.c.data, events.c.seq).where(
        events.c.session_id == session_id, events.c.type == "session.quality"
    )
    return await rig.rows(query)


async def test_both_parties_hear_of_both_connections(rig: SessionRig) -> None:
    network = await talk(rig)
    await network.pass_time(1, rtt_ms=700.0, lost_in=10)
    (told,) = network.told(network.one.customer)
    assert told["own"] == {
        "level": "good",
        "up": {"bitrate_bps": 1_000_000, "loss": 0.0, "jitter_ms": None},
        "down": {"bitrate_bps": 500_000, "loss": 0.0, "jitter_ms": None},
        "rtt_ms": None,
        "freezes": 0,
        "frozen_ms": 0,
    }
    assert (told["other"]["level"], told["other"]["rtt_ms"]) == ("poor", 700)
    assert told["other"]["up"]["loss"] == 0.05
    (mirrored,) = network.told(network.one.expert)
    assert (mirrored["own"], mirrored["other"]) == (told["other"], told["own"])


async def test_figures_alone_are_told_now_and_then_a_change_at_once(rig: SessionRig) -> None:
    network = await talk(rig)
    await network.pass_time(1)
    assert len(network.told(network.one.expert)) == 1
    await network.pass_time(10)
    assert len(network.told(network.one.expert)) == 3, "every ten seconds"
    await network.pass_time(1, freezes=1, frozen_ms=1_500)
    assert [told["own"]["level"] for told in network.told(network.one.expert)][2:] == [
        "good",
        "poor",
    ]


async def test_old_figures_are_not_replayed_to_a_device_that_comes_back(rig: SessionRig) -> None:
    network = await talk(rig)
    await network.pass_time(20)
    one = network.one
    _, missed = await rig.service.join(one.customer, one.customer_device, one.id, 0)
    assert missed
    assert "quality.updated" not in [event for event, _ in missed]


async def test_C9_in_a_one_way_call_the_expert_hears_nothing_of_what_the_customer_sends(
    rig: SessionRig,
) -> None:
    network = await talk(rig, "one_way")
    await network.pass_time(1)
    (told,) = network.told(network.one.expert)
    assert told["other"]["up"] is None
    assert told["other"]["down"] is not None
    (own,) = network.told(network.one.customer)
    assert own["own"]["up"] is not None
    assert own["other"]["up"] is not None


async def test_the_end_leaves_one_row_of_evidence_before_it(rig: SessionRig) -> None:
    network = await talk(rig)
    await network.pass_time(9, rtt_ms=30.0)
    await network.pass_time(
        1, customer={"lost_out": 50, "freezes": 2, "frozen_ms": 900}, rtt_ms=90.0
    )
    await network.one.hangup()
    (row,) = await evidence(rig, network.one.id)
    customer, expert = row.data["customer"], row.data["expert"]
    assert customer["down"]["loss"] == {"mean": 0.05, "max": 0.5}
    assert (customer["freezes"], customer["frozen_ms"], customer["poor_seconds"]) == (2, 900, 2)
    assert expert["rtt_ms"] == {"mean": 36.0, "max": 90.0}
    assert expert["poor_seconds"] == 0
    assert (await rig.evidence(network.one.id))[-2:] == ["session.quality", "session.ended"]


async def test_a_store_that_fails_at_the_end_gets_the_evidence_once(rig: SessionRig) -> None:
    network = await talk(rig)
    await network.pass_time(5)
    rig.store.fail_after = rig.store.begun
    with pytest.raises(Unavailable):
        await network.one.hangup()
    await rig.run(5)
    assert len(await evidence(rig, network.one.id)) == 1


async def test_a_call_without_figures_leaves_no_such_evidence(rig: SessionRig) -> None:
    one = await call(rig, tariff(900))
    await one.talk()
    await rig.run(30)
    await one.hangup()
    assert await evidence(rig, one.id) == []
    assert rig.out.of(one.customer, "quality.updated") == []


async def test_what_was_measured_adds_up_for_the_operator(rig: SessionRig) -> None:
    network = await talk(rig)
    await network.pass_time(5, freezes=1, frozen_ms=200)
    await network.one.hangup()
    await rig.run(10)
    measures = rig.service.quality()
    assert measures.freezes == {"customer": 0, "expert": 5}
    assert sum(measures.histograms["bitrate_bps", "customer", "up"].counts) == 5


async def test_a_leg_that_is_replaced_is_measured_from_its_own_beginning(rig: SessionRig) -> None:
    network = await talk(rig)
    await network.pass_time(2)
    one = network.one
    await rig.service.join(one.expert, f"{one.expert}:2", one.id, 0)
    rt = rig.service._registry.running(one.id)
    assert rt is not None
    again = rt.leg_of(f"{one.expert}:2")
    assert again is not None
    rig.media.stats[again.id] = stats_of_a_long_life()
    rig.media.connect(one.id, again.id)
    network.legs[Role.EXPERT] = again.id
    await network.pass_time(2)
    await one.hangup()
    (row,) = await evidence(rig, one.id)
    assert row.data["expert"]["up"]["bitrate_bps"]["max"] == 1_000_000


def stats_of_a_long_life() -> LegStats:
    return after(NOTHING, bytes_in=10**9, expected_in=10**6, lost_in=10**5)
