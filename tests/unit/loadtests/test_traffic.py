"""What the load looks like: rates, order, and what the viewers acknowledge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from engine.clock import NS_PER_S
from engine.media import rtcp
from loadtests.media import traffic
from loadtests.media.rig import Rig
from tests.support.bench_rig import two_legs


class Recorder:
    """A plan that keeps what it is given."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, int, int, bytes]] = []
        self.controls: list[tuple[int, int, bytes]] = []
        self.acks: list[tuple[int, int, bytes]] = []
        self._streams = 0

    def stream(self, **_: int) -> int:
        self._streams += 1
        return self._streams - 1

    def packet(self, due_ns: int, leg: int, stream: int, datagram: bytes) -> int:
        number = sum(row[2] == stream for row in self.packets)
        self.packets.append((due_ns, leg, stream, datagram))
        return number

    def control(self, due_ns: int, leg: int, datagram: bytes) -> None:
        self.controls.append((due_ns, leg, datagram))

    def ack(self, stream: int, after: int, datagram: bytes) -> None:
        self.acks.append((stream, after, datagram))


@pytest.fixture
def rig() -> Iterator[Rig]:
    with two_legs() as (rig, _):
        yield rig


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "Plan", Recorder)


def test_a_steady_rate_is_kept_over_the_whole_time(rig: Rig) -> None:
    plan: Any = traffic.steady(rig, 1000, 2.0)
    dues = [due for due, *_ in plan.packets]
    assert len(dues) == 2000
    assert dues == sorted(dues)
    assert [sum(due // NS_PER_S == second for due in dues) for second in (0, 1)] == [1000, 1000]
    assert Counter(leg for _, leg, *_ in plan.packets) == {0: 1000, 1: 1000}


def test_packets_are_as_long_as_said(rig: Rig) -> None:
    plan: Any = traffic.steady(rig, 500, 1.0)
    assert {len(datagram) for *_, datagram in plan.packets} == {traffic.PACKET_BYTES}


def test_consent_is_checked_every_two_and_a_half_seconds(rig: Rig) -> None:
    plan: Any = traffic.steady(rig, 100, 6.0)
    assert sorted((due, leg) for due, leg, _ in plan.controls) == [
        (0, 0),
        (1_250_000_000, 1),
        (2_500_000_000, 0),
        (3_750_000_000, 1),
        (5_000_000_000, 0),
    ]


def test_a_call_is_one_and_a_half_megabits_of_video_and_opus_each_way(rig: Rig) -> None:
    plan: Any = traffic.calls(rig, 1.0)
    sizes = Counter((leg, len(datagram)) for _, leg, _, datagram in plan.packets)
    for leg in (0, 1):
        assert sizes[leg, traffic.PACKET_BYTES] == 156
        assert sizes[leg, traffic.AUDIO_BYTES] == 50
    dues = [due for due, *_ in plan.packets]
    assert dues == sorted(dues), "transport-wide numbers are in the order of sending"


def test_a_calls_viewers_acknowledge_what_has_come(rig: Rig) -> None:
    plan: Any = traffic.calls(rig, 2.0)
    for stream in {stream for stream, *_ in plan.acks}:
        after = [number for of, number, _ in plan.acks if of == stream]
        assert after == sorted(after)
        feedback = 312 // traffic.FEEDBACK_EVERY_PACKETS
        assert len(after) == feedback + 2, "feedback about ten times a second, reports once"


def test_transport_feedback_says_that_all_arrived() -> None:
    block = traffic.transport_feedback(65_530, 12, sender=1, media=2)
    assert rtcp.transport_received(block) == [*range(65_530, 65_536), *range(6)]
    assert len(block) % 4 == 0
    assert list(rtcp.split(block)) == [(rtcp.RTPFB, rtcp.TRANSPORT_CC, block)]
