"""What a customer gets for nothing is bounded, whatever its acknowledgements and its legs do."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media import limits, rtcp
from engine.media.acks import Acknowledgements
from engine.media.debt import Debt, Owed
from engine.media.interface import AcksWithheld, Delivery, FirstFrame, Role
from engine.media.leg import Leg
from engine.metering.policy import PAUSE_AFTER_NS
from engine.metering.stopwatch import MediaWatch
from tests.support import media_packets as packets
from tests.support.planes import RIGS
from tests.unit.media.test_session import AUDIO, Host, Room, audio, report

STEP_NS = 100 * NS_PER_MS
MOST_NS = limits.ACK_DEBT_MOST_NS
WINDOW_NS = 30 * NS_PER_S


@pytest.fixture(autouse=True, params=RIGS)
def _plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "new_plane", RIGS[request.param], raising=False)


class Talk:
    """A call that is billed as the session layer does: by its deliveries, until 30 s of silence.

    The expert sends a packet of sound every `STEP_NS` and a sender report every second; with the
    camera on also one that belongs to no frame, so that acknowledgements are about the sound.
    """

    def __init__(self, *, feedback: bool = True, video: bool = False) -> None:
        self.room = Room(video=video, customer_feedback=feedback)
        self.room.open()
        self.watch: MediaWatch | None = None
        self.forwarded_ns = 0
        self.ended = False
        self.filming = video
        self.sent: list[int] = []
        """The transport-wide numbers that the customer's present leg was sent."""
        self._last_packet_ns = -NS_PER_S * 9
        self._heard = 0
        self._number = 0

    @property
    def leg(self) -> Leg:
        return self.room.customer

    @property
    def now_ns(self) -> int:
        return self.room.host.now

    def step(self) -> None:
        room = self.room
        self._number += 1
        if self.filming:
            room.send(room.expert, packets.rtp(sequence=self._number, ssrc=20, payload=b"\x00"))
        before = len(room.media_to(self.leg))
        room.send(room.expert, audio(self._number, transport=self._number), STEP_NS)
        if len(room.media_to(self.leg)) > before:
            self.sent.append(self._number)
            self._count()
        if self._number % 10 == 0:
            info = rtcp.SenderInfo(10, self._ntp(), 0, 0, 0)
            room.control(room.expert, rtcp.build_sr(info))
        room.tick()
        self._bill()

    def _count(self) -> None:
        interval_ns = self.now_ns - self._last_packet_ns
        self.forwarded_ns += interval_ns if interval_ns <= limits.ACK_FLOW_PAUSE_NS else 0
        self._last_packet_ns = self.now_ns

    def _ntp(self) -> int:
        return (self._number // 10 & 0xFFFFFFFF) << 16

    def _bill(self) -> None:
        for event in self.room.events[self._heard :]:
            if isinstance(event, FirstFrame):
                # What is forwarded before the clock starts is the connect timeout's to bound.
                self.watch = MediaWatch(event.sent_at_ns, pause_after_ns=event.pause_after_ns)
                self.forwarded_ns = min(self.forwarded_ns, self.now_ns - event.sent_at_ns)
            elif isinstance(event, Delivery) and self.watch is not None:
                self.watch.acked(event.last_acked_at_ns, event.pause_after_ns)
            elif isinstance(event, AcksWithheld) and self.watch is None:
                self.ended = True
        self._heard = len(self.room.events)
        if self.watch is not None:
            silent_ns = self.now_ns - self.watch.last_service_ns(self.now_ns)
            self.ended = self.ended or silent_ns > WINDOW_NS

    @property
    def billed_ns(self) -> int:
        return 0 if self.watch is None else self.watch.confirmed_ns(self.now_ns)

    @property
    def free_ns(self) -> int:
        return self.forwarded_ns - self.billed_ns

    # --- what a customer may do ---

    def ack(self, behind: int = 0) -> None:
        """Acknowledge a packet of this leg: the newest, or one so many before it."""
        if len(self.sent) > behind:
            number = self.sent[-1 - behind]
            self.room.control(self.leg, packets.transport_feedback(number, [True]))
            self._bill()

    def echo(self) -> None:
        """Only the newest sender report; the sequence number in it is no news."""
        self.room.control(self.leg, report(self.leg, AUDIO, 0, last_sr=self._ntp() >> 16))
        self._bill()

    def report(self) -> None:
        """A receiver report up to the newest packet."""
        highest = int.from_bytes(self.room.media_to(self.leg)[-1][2:4], "big")
        self.room.control(self.leg, report(self.leg, AUDIO, highest))
        self._bill()

    def show(self, *, video: bool) -> None:
        """The expert's camera button."""
        self.filming = video
        session = self.room.session
        session.set_publishing(Role.EXPERT, audio=True, video=video, now_ns=self.now_ns)

    def mute(self, *, muted: bool) -> None:
        """The expert's other button, in a call of sound alone."""
        session = self.room.session
        session.set_publishing(Role.EXPERT, audio=not muted, video=False, now_ns=self.now_ns)

    def join_anew(self, *, feedback: bool = True) -> None:
        room = self.room
        port = len(room.peers) + 1
        again = room.add(Role.CUSTOMER, ("192.0.2.9", port), feedback=feedback)
        for old in room.session.select(again, self.now_ns):
            old.close(self.now_ns)
            room.session.remove(old, self.now_ns)
        room.customer = again
        self.sent = []

    def run(self, seconds: float, act: Callable[[int], object] = lambda _: None) -> None:
        """`act` is told the number of each step."""
        for number in range(round(seconds * NS_PER_S) // STEP_NS):
            if self.ended:
                return
            self.step()
            act(number)


def every(seconds: float, act: Callable[[], object]) -> Callable[[int], object]:
    steps = round(seconds * NS_PER_S) // STEP_NS
    return lambda number: act() if number % steps == 0 else None


def seldom(dice: random.Random, first: int, act: Callable[[], object]) -> Callable[[int], object]:
    """At the step `first`, then every 2.5 to 7.5 s, as browsers report on sound."""
    wait = first

    def step(_: int) -> None:
        nonlocal wait
        wait -= 1
        if wait == 0:
            act()
            wait = dice.randrange(25, 76)

    return step


def bound_ns(talk: Talk) -> int:
    return MOST_NS + talk.billed_ns // limits.ACK_DEBT_BILLED_PER_REPAID + 2 * STEP_NS


def test_an_acknowledgement_every_four_seconds_is_no_free_call() -> None:
    talk = Talk()
    talk.step()
    talk.ack()

    def act(number: int) -> None:
        if number % 40 == 39:
            talk.ack()
        talk.echo()

    talk.run(1_200, act)
    assert talk.ended
    assert 30 * NS_PER_S < talk.free_ns < MOST_NS


def test_several_acknowledgements_at_once_are_one_to_the_meter() -> None:
    """Each gap would be billed, but the meter is told of the first and the last one only."""
    talk = Talk()
    talk.step()
    talk.ack()

    def act(number: int) -> None:
        if number % 49 == 48:
            for behind in (48, 20, 0):
                talk.ack(behind)
        talk.echo()

    talk.run(1_200, act)
    assert talk.free_ns < bound_ns(talk)


@pytest.mark.parametrize("seconds", [0.5, 2.5, 4.5])
def test_a_new_leg_every_few_seconds_is_no_free_call(seconds: float) -> None:
    talk = Talk()
    talk.step()
    talk.ack()
    join, ack = every(seconds, talk.join_anew), every(28, talk.ack)

    def act(number: int) -> None:
        ack(number + 1)
        if len(talk.room.peers) < 240:
            join(number + 1)

    talk.run(200, act)
    assert talk.free_ns < bound_ns(talk)
    assert talk.ended


def test_a_customer_who_acknowledges_owes_nothing() -> None:
    talk = Talk()
    talk.run(100, every(1, talk.ack))
    assert talk.leg.path.owed().debt_ns == 0
    assert talk.forwarded_ns == 999 * STEP_NS
    assert talk.free_ns <= NS_PER_S


def test_a_customer_who_reports_seldom_owes_nothing_and_is_billed() -> None:
    talk = Talk(feedback=False)
    talk.run(600, seldom(random.Random(7), 1, talk.report))
    assert talk.room.of(AcksWithheld) == []
    assert talk.leg.path.owed().debt_ns == 0
    assert talk.free_ns <= 7.5 * NS_PER_S


def test_an_expert_who_switches_the_camera_off_is_paid_by_who_only_reports_sound() -> None:
    """Reports on video come every second."""
    talk = Talk(feedback=False, video=True)
    talk.run(20, every(1, talk.ack))
    billed_ns = talk.billed_ns
    talk.show(video=False)
    talk.run(600, every(7.5, talk.report))
    assert talk.room.of(AcksWithheld) == []
    assert talk.leg.path.owed().debt_ns == 0
    assert talk.billed_ns - billed_ns > 590 * NS_PER_S
    talk.show(video=True)
    talk.ack()
    talk.run(20, every(1, talk.ack))
    assert talk.watch is not None
    assert talk.watch.paused(talk.now_ns + PAUSE_AFTER_NS)
    assert talk.free_ns < 2 * NS_PER_S


def test_a_camera_switched_on_stops_nothing_that_is_yet_to_be_acknowledged() -> None:
    """A report on sound alone may be 7.5 s away, and is late in a call with a picture after 5."""
    talk = Talk(feedback=False, video=True)
    talk.run(20, every(1, talk.ack))
    talk.show(video=False)
    talk.run(6.5)
    talk.show(video=True)
    talk.run(4.5)
    assert talk.room.of(AcksWithheld) == []
    talk.run(1)
    assert len(talk.room.of(AcksWithheld)) == 1


def test_a_camera_that_is_on_and_sends_nothing_makes_nobody_less_patient() -> None:
    """As that of a phone in a pocket. When it sends again, reports on it come every second."""
    talk = Talk(feedback=False, video=True)
    talk.run(20, every(1, talk.ack))
    billed_ns = talk.billed_ns
    talk.filming = False
    talk.run(3.5)
    talk.report()
    talk.run(600, every(7.5, talk.report))
    assert talk.room.of(AcksWithheld) == []
    assert talk.leg.path.owed().debt_ns == 0
    assert talk.billed_ns - billed_ns > 590 * NS_PER_S
    talk.filming = True
    talk.run(3, every(1, talk.ack))
    talk.run(5.5)
    assert len(talk.room.of(AcksWithheld)) == 1


@pytest.mark.parametrize(("speaks_s", "mutes_s"), [(10, 10), (5, 9)])
def test_an_expert_who_mutes_between_sentences_is_paid_for_each_by_who_only_reports_sound(
    speaks_s: int, mutes_s: int
) -> None:
    talk = Talk(feedback=False)
    act = seldom(random.Random(7), 25, talk.report)
    while not talk.ended and talk.now_ns < 600 * NS_PER_S:
        for muted, seconds in ((False, speaks_s), (True, mutes_s)):
            talk.mute(muted=muted)
            talk.run(seconds, act)
    assert talk.room.of(AcksWithheld) == []
    assert talk.leg.path.owed().debt_ns == 0
    assert 0 <= talk.free_ns <= 7.5 * NS_PER_S
    assert not talk.ended


def test_a_silence_that_is_a_pause_already_remains_one_without_the_camera() -> None:
    talk = Talk(feedback=False, video=True)
    talk.run(20, every(1, talk.ack))
    talk.run(3.2)
    assert talk.watch is not None
    talk.show(video=False)
    talk.run(1)
    assert talk.watch.paused(talk.now_ns)


def test_a_bad_network_goes_on_and_its_debt_is_forgiven() -> None:
    """Ten seconds of every hundred nothing gets through."""
    talk = Talk()

    def act(number: int) -> None:
        if number % 1000 >= 100:
            talk.ack()
            talk.echo()

    talk.step()
    talk.ack()
    talk.run(1_800, act)
    assert not talk.ended
    assert talk.leg.path.owed().debt_ns < 10 * NS_PER_S
    assert talk.billed_ns > 0.88 * 1_800 * NS_PER_S


def test_a_network_that_loses_every_tenth_report_on_sound_cuts_no_call() -> None:
    """Each time it stops for want of two in a row; what flows from then on is billed again."""
    dice = random.Random(3)
    talk = Talk(feedback=False)

    def report() -> None:
        if dice.random() > 0.1:
            talk.report()
            talk.echo()

    talk.run(1_200, seldom(dice, 30, report))
    assert not talk.ended
    assert talk.billed_ns > 0.9 * talk.forwarded_ns


@pytest.mark.parametrize("seed", range(20))
def test_what_is_not_billed_is_bounded_whatever_a_customer_does(seed: int) -> None:
    dice = random.Random(seed)
    talk = Talk(feedback=seed % 4 != 0)
    habits = _habits(dice)
    for number in range(4_000):
        if talk.ended:
            break
        talk.step()
        if number % 150 == 0:
            habits = _habits(dice)
        _act(talk, habits, dice)
        assert talk.free_ns <= bound_ns(talk), f"at {talk.now_ns / NS_PER_S} s"


def _habits(dice: random.Random) -> dict[str, float]:
    """How probable each act is in a step, for a while."""
    return {
        "ack": dice.choice((0, 0.02, 0.03, 0.05, 0.3, 1)),
        "burst": dice.choice((0, 0, 0.02, 0.05)),
        "echo": dice.choice((0, 0.02, 1, 1)),
        "join": dice.choice((0, 0, 0, 0.004, 0.03)),
    }


def _act(talk: Talk, habits: dict[str, float], dice: random.Random) -> None:
    if dice.random() < habits["ack"]:
        talk.ack(dice.choice((0, 0, 0, 1, 10, 25, 28, 35)))
    if dice.random() < habits["burst"]:
        for behind in sorted(dice.choices(range(60), k=3), reverse=True):
            talk.ack(behind)
    if dice.random() < habits["echo"]:
        talk.echo()
    if dice.random() < habits["join"] and len(talk.room.peers) < 240:
        talk.join_anew(feedback=dice.random() < 0.7)


def test_without_the_debt_the_call_would_be_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the test, on the plane that can be changed."""
    monkeypatch.setattr(Host, "new_plane", RIGS["python"])
    monkeypatch.setattr(Debt, "total_ns", 0)
    talk = Talk()
    talk.step()
    talk.ack()
    talk.run(300, lambda number: talk.ack() if number % 40 == 39 else None)
    assert talk.free_ns > 2 * bound_ns(talk)


def test_a_gap_that_is_billed_repays_a_tenth_and_no_more_than_is_owed() -> None:
    debt = Debt(PAUSE_AFTER_NS, Owed(debt_ns=150 * NS_PER_MS, mark_ns=NS_PER_S))
    debt.reported(2 * NS_PER_S)
    assert debt.owed().debt_ns == 50 * NS_PER_MS
    debt.reported(3 * NS_PER_S)
    assert debt.owed().debt_ns == 0


def test_a_gap_of_exactly_the_pause_is_owed() -> None:
    for gap_ns, owed_ns in ((PAUSE_AFTER_NS - 1, 0), (PAUSE_AFTER_NS, PAUSE_AFTER_NS)):
        debt = Debt()
        debt.sent(NS_PER_S)
        debt.began(NS_PER_S)
        for at_ns in (*range(2 * NS_PER_S, NS_PER_S + gap_ns, NS_PER_S), NS_PER_S + gap_ns):
            debt.sent(at_ns)
        debt.reported(NS_PER_S + gap_ns)
        assert debt.owed().debt_ns == owed_ns


def test_a_pause_of_the_expert_is_nobodys_debt() -> None:
    debt = Debt()
    for at_ns in (9 * NS_PER_S, 10 * NS_PER_S, 50 * NS_PER_S, 51 * NS_PER_S):
        debt.sent(at_ns)
    debt.began(9 * NS_PER_S)
    debt.reported(51 * NS_PER_S)
    assert debt.owed().debt_ns == 2 * NS_PER_S


def test_a_gap_over_two_legs_is_judged_as_the_meter_was_told_before_it() -> None:
    for former_ns, pause_ns, debt_s in ((3, 8, 4), (8, 3, 0)):
        owed = Owed(0, 4 * NS_PER_S, NS_PER_S, 6 * NS_PER_S, former_ns * NS_PER_S)
        debt = Debt(pause_ns * NS_PER_S, owed)
        debt.reported(6 * NS_PER_S)
        assert debt.owed() == Owed(
            debt_s * NS_PER_S, 0, 6 * NS_PER_S, 6 * NS_PER_S, pause_ns * NS_PER_S
        )


def test_in_debt_forwarding_stops_before_the_gap_is_a_pause() -> None:
    acks = Acknowledgements(debt=Debt(PAUSE_AFTER_NS, Owed(debt_ns=limits.ACK_DEBT_NS)))
    now_ns = NS_PER_S
    while not acks.withheld(now_ns):
        now_ns += STEP_NS
        acks.sent(-1, now_ns)
    assert now_ns - NS_PER_S >= PAUSE_AFTER_NS - 2 * STEP_NS - limits.ACK_DEBT_MARGIN_NS
    assert now_ns - NS_PER_S < PAUSE_AFTER_NS


def test_in_debt_an_acknowledgement_does_not_take_the_waits_back() -> None:
    for debt_ns, waits in ((limits.ACK_DEBT_NS, True), (limits.ACK_DEBT_NS - 9 * NS_PER_S, False)):
        acks = Acknowledgements(debt=Debt(PAUSE_AFTER_NS, Owed(debt_ns=debt_ns)))
        now_ns = _until_stopped(acks, NS_PER_S)
        assert acks.report_echoed(now_ns + 1, now_ns + 2)
        acks.sent(7, now_ns + 3)
        assert acks.transport_acked([7])
        now_ns = _until_stopped(acks, now_ns + 3)
        assert acks.report_echoed(now_ns + 1, now_ns + 2) is not waits


def test_at_the_most_nothing_resumes_and_no_other_leg_begins() -> None:
    owed = Owed(debt_ns=MOST_NS - NS_PER_S)
    acks = Acknowledgements(debt=Debt(PAUSE_AFTER_NS, owed))
    now_ns = _until_stopped(acks, NS_PER_S)
    assert not acks.report_echoed(now_ns + 1, now_ns + 100 * NS_PER_S)
    assert Acknowledgements(debt=Debt(PAUSE_AFTER_NS, acks.debt.owed())).stopped


def _until_stopped(acks: Acknowledgements, now_ns: int) -> int:
    while not acks.withheld(now_ns):
        now_ns += STEP_NS
        acks.sent(-1, now_ns)
    return now_ns
