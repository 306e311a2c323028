"""T27, T53: what both status lines show, by the client's own arithmetic on what it was told,
is what the engine says within a second, at every instant.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from engine.clock import NS_PER_MS
from engine.media.interface import Role
from engine.metering.policy import Policy
from engine.session import views
from engine.signaling.messages import MeterView
from tests.support.meter_rig import tariff
from tests.support.session_rig import Call, SessionRig, call

CLIENT: Final = Path(__file__).parents[3] / "engine/client/dist/talktime.js"
_READ: Final = """
const { readMeter } = await import(process.argv[1]);
const samples = JSON.parse(require("fs").readFileSync(0));
const read = ({ view, at, now }) => readMeter({ view, receivedAtMs: at }, now);
process.stdout.write(JSON.stringify(samples.map(read)));
"""
STEP_S: Final = 0.5
WITHIN: Final = round(1 / STEP_S)
"""So many samples before and after count as the same second."""


class StatusLine:
    """One party's newest statement, and at each sample what the engine would state."""

    def __init__(self, one: Call, role: Role) -> None:
        self.role = role
        self.session_id = one.id
        self.user = one.customer if role is Role.CUSTOMER else one.expert
        self.told: dict[str, Any] | None = None
        self.told_ms = 0.0
        self.samples: list[dict[str, Any]] = []
        self.truths: list[dict[str, Any]] = []

    def hear(self, payload: dict[str, Any], at_ms: float) -> None:
        if payload.get("session_id") == self.session_id and "meter" in payload:
            self.told, self.told_ms = payload["meter"], at_ms

    def sample(self, truth: MeterView, now_ms: float) -> None:
        assert self.told is not None
        self.samples.append({"view": self.told, "at": self.told_ms, "now": now_ms})
        self.truths.append(msgspec.to_builtins(truth))

    def check(self) -> None:
        command = ["node", "--eval", f"(async () => {{{_READ}}})()", CLIENT.as_uri()]
        done = subprocess.run(
            command, input=json.dumps(self.samples), capture_output=True, text=True, check=True
        )
        readings = json.loads(done.stdout)
        assert len(readings) == len(self.truths) > 0
        for number, reading in enumerate(readings):
            near = self.truths[max(0, number - WITHIN) : number + WITHIN + 1]
            truth = self.truths[number]
            where = f"{self.role} at {number * STEP_S} s: {reading}, {truth}"
            assert abs(reading["elapsedMs"] - truth["elapsed_ms"]) <= 1_000, where
            assert abs(reading["secondsLeft"] - truth["seconds_left"]) <= 1, where
            self._is_one_of(near, reading["chargedMinor"], "charged_minor", where)
            self._is_one_of(near, reading["balanceMinor"], "balance_minor", where)
            self._is_one_of(near, reading["earnedMinor"], "earned_minor", where)
            assert reading["state"] in {one["state"] for one in near}, where

    def _is_one_of(self, near: list[dict[str, Any]], shown: int | None, name: str, at: str) -> None:
        stated = [one[name] for one in near]
        if shown is None:
            assert set(stated) == {None}, at
        else:
            assert min(stated) <= shown <= max(stated), f"{name}: {at}"


class Watched:
    """Passes time and looks at both status lines all the while."""

    def __init__(self, rig: SessionRig, one: Call) -> None:
        self._rig, self.one = rig, one
        self.lines = [StatusLine(one, role) for role in Role]
        for line in self.lines:
            for _, payload in rig.out.users[line.user]:
                line.hear(payload, self._now_ms())
        deliver = rig.out.to_user

        async def heard(user_id: str, event: str, payload: dict[str, object]) -> None:
            await deliver(user_id, event, payload)
            for line in self.lines:
                if line.user == user_id:
                    line.hear(payload, self._now_ms())

        rig.out.to_user = heard  # type: ignore[method-assign]

    def _now_ms(self) -> float:
        return self._rig.clock.now_ns() / NS_PER_MS

    async def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            await self._rig.run(STEP_S)
            rt = self._rig.service._registry.running(self.one.id)
            if rt is None:
                return
            now_ns = self._rig.clock.now_ns()
            for line in self.lines:
                line.sample(views.meter_view(rt, line.role, now_ns), self._now_ms())


Scene = Callable[[SessionRig, Watched], Awaitable[None]]


async def _just_talk(rig: SessionRig, watched: Watched) -> None:
    await watched.run(400)


async def _fall_silent(rig: SessionRig, watched: Watched) -> None:
    await watched.run(70)
    rig.flowing.discard(watched.one.id)
    await watched.run(12)
    rig.flowing.add(watched.one.id)
    await watched.run(100)


async def _top_up(rig: SessionRig, watched: Watched) -> None:
    await watched.run(55)
    await rig.topup(watched.one.customer, 6_000)
    await watched.run(120)


async def _share_the_wallet(rig: SessionRig, watched: Watched) -> None:
    one = watched.one
    expert = await rig.user("Other expert")
    policy = Policy(commission_bps=1_500, customer_live_sessions=2)
    order = await rig.order(one.customer, expert, tariff(60, prepaid_seconds=60), policy=policy)
    await watched.run(30)
    await Call(rig, one.customer, expert, order, "video").talk()
    await watched.run(200)


@pytest.mark.parametrize(
    "scene", [_just_talk, _fall_silent, _top_up, _share_the_wallet], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("block_s", [900, 60, 1])
async def test_T27_T53_both_status_lines_are_right_within_a_second(
    rig: SessionRig, block_s: int, scene: Scene
) -> None:
    rates = tariff(block_s, prepaid_seconds=60, price_minor=300_000, per_seconds=3_600)
    policy = Policy(commission_bps=1_500, customer_live_sessions=2)
    one = await (await call(rig, rates, wallet=20_000, policy=policy)).talk()
    watched = Watched(rig, one)
    await scene(rig, watched)
    for line in watched.lines:
        line.check()
    if rig.service.in_live_session(one.customer):
        await one.hangup()


async def test_T53_a_chats_status_lines_are_right_within_a_second(rig: SessionRig) -> None:
    rates = tariff(1, prepaid_seconds=0, grace_seconds=0, price_minor=1, per_seconds=3)
    one = await (await call(rig, rates, wallet=100, mode="text")).talk()
    for _ in range(2):
        await one.say()
    watched = Watched(rig, one)
    for _ in range(3):  # a chat ends when nobody says anything
        await watched.run(80)
        await one.say()
    for line in watched.lines:
        line.check()
    await one.hangup()
