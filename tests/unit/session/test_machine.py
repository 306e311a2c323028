from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import NS_PER_S
from engine.errors import Conflict
from engine.media.interface import Role
from engine.metering import signals as s
from engine.metering.funds import Fund
from engine.metering.policy import Policy
from engine.session import effects as e
from engine.session import inputs as i
from engine.session.machine import SessionMachine
from engine.session.states import _MOVES, _REFUSALS, TRANSITIONS, State, handled, mermaid
from tests.support.meter_rig import tariff

NOW = 7_000 * NS_PER_S
ACCEPT = i.Accept("phone", (Fund("prepay", 90_000),), s.Wallet(0), 0)
SAMPLES: dict[type, i.Input] = {
    type(event): event
    for event in (
        ACCEPT,
        i.Decline(),
        i.AskRecording(Role.CUSTOMER),
        i.AnswerRecording(Role.EXPERT, consent=True),
        i.StopRecording(Role.EXPERT),
        i.RecorderEnded("disk_full"),
        i.Cancel(),
        i.Begin(),
        i.Hangup(Role.CUSTOMER),
        i.Terminate(),
        i.Shutdown(),
        i.FirstFrame(NOW + 5),
        i.Delivered(NOW + 5),
        i.AcksWithheld(),
        i.MessageStored(Role.CUSTOMER, NOW + 5),
        i.Connected(Role.EXPERT, up=False),
        i.SetTracks(Role.EXPERT, audio=True, video=False),
        i.SetDirection(one_way=True),
        s.Wallet(5),
        s.HoldGranted(Fund("hold", 90_000), s.Wallet(0)),
        s.HoldRefused(s.Wallet(0)),
        s.Tick(),
    )
}


def machine(mode: str = "video", **policy: Any) -> SessionMachine:
    return SessionMachine(
        tariff(900),
        Policy(commission_bps=1_500, **policy),
        mode=mode,
        one_way=False,
        now_ns=NOW,
    )


def at(state: State, mode: str = "video") -> SessionMachine:
    """A machine that was led into a state."""
    made = machine(mode)
    made.open()
    if state in (State.CONNECTING, State.IN_PROGRESS):
        made.handle(ACCEPT, NOW + 1)
    if state is State.IN_PROGRESS and mode != "text":
        made.handle(i.SetTracks(Role.EXPERT, audio=True, video=True), NOW + 2)
        made.handle(i.Begin(), NOW + 3)
    if state is State.ENDED:
        made.handle(i.Cancel(), NOW + 3)
    assert made.state is state
    return made


def test_the_table_has_every_pair_of_state_and_event() -> None:
    assert set(SAMPLES) == set(i.INPUTS)
    assert set(TRANSITIONS) == set(itertools.product(State, i.INPUTS))
    assert not any(set(_MOVES[state]) & set(_REFUSALS[state]) for state in State)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, i.INPUTS)))
def test_every_pair_leads_where_the_table_says_or_is_refused(
    state: State, event: type[i.Input]
) -> None:
    made = at(state)
    if state is State.CONNECTING and event is i.Begin:
        made.handle(i.SetTracks(Role.EXPERT, audio=True, video=False), NOW + 5)
    rule = TRANSITIONS[state, event]
    sample = SAMPLES[event]
    if rule.refusal is not None:
        with pytest.raises(Conflict) as refused:
            made.handle(sample, NOW + 10)
        assert refused.value.code == rule.refusal
        assert made.state is state
        return
    effects = made.handle(sample, NOW + 10)
    assert made.state in rule.to
    if not handled(state, event):
        assert effects == []
    ended = [effect for effect in effects if isinstance(effect, e.Ended)]
    assert len(ended) == (made.state is State.ENDED and state is not State.ENDED)


def test_the_diagram_has_every_state_and_no_way_out_of_the_end() -> None:
    diagram = mermaid()
    for state in State:
        assert state.value in diagram
    assert "ended -->" in diagram
    assert diagram.count("ended --> ") == 1


def test_C18_another_device_finds_the_call_answered_and_the_same_may_repeat() -> None:
    made = at(State.CONNECTING)
    other = i.Accept("laptop", (), s.Wallet(0), 0)
    with pytest.raises(Conflict) as refused:
        made.handle(other, NOW + 5)
    assert refused.value.code == "already_answered"
    assert made.handle(ACCEPT, NOW + 5) == []


def test_an_answer_at_the_ring_timeout_is_in_time_and_one_after_it_is_not() -> None:
    in_time = at(State.RINGING)
    in_time.handle(ACCEPT, NOW + 60 * NS_PER_S)
    assert in_time.state is State.CONNECTING
    late = at(State.RINGING)
    effects = late.catch_up(NOW + 60 * NS_PER_S + 1)
    assert effects == [e.Ended("no_answer", "system", NOW + 60 * NS_PER_S, s.NOTHING)]
    with pytest.raises(Conflict) as refused:
        late.handle(ACCEPT, NOW + 60 * NS_PER_S + 1)
    assert refused.value.code == "session_ended"


def test_T21_the_start_button_needs_a_published_track() -> None:
    made = at(State.CONNECTING)
    with pytest.raises(Conflict) as refused:
        made.handle(i.Begin(), NOW + 5)
    assert refused.value.code == "track_not_published"


def test_a_text_session_is_open_with_the_answer() -> None:
    made = machine("text")
    assert [type(effect) for effect in made.handle(ACCEPT, NOW + 1)] == [e.Answered, e.Began]
    assert made.state is State.IN_PROGRESS


@pytest.mark.parametrize(("state", "after_s"), [(State.CONNECTING, 60), (State.IN_PROGRESS, 60)])
def test_without_any_media_it_fails(state: State, after_s: int) -> None:
    made = at(state)
    due = made.next_deadline_ns()
    assert due is not None
    (ended,) = made.handle(s.Tick(), due)
    assert isinstance(ended, e.Ended)
    assert ended.reason == "failed"
    assert abs(due - NOW - after_s * NS_PER_S) < 10


def test_acknowledgements_withheld_from_the_start_fail_it_and_later_they_pause_it() -> None:
    never = at(State.IN_PROGRESS)
    assert [type(one) for one in never.handle(i.AcksWithheld(), NOW + 10)] == [e.Ended]
    running = at(State.IN_PROGRESS)
    running.handle(i.FirstFrame(NOW + 10), NOW + 11)
    assert running.handle(i.AcksWithheld(), NOW + 12) == []


def test_a_customer_who_stays_away_while_it_rings_has_given_up() -> None:
    made = at(State.RINGING)
    made.handle(i.Connected(Role.CUSTOMER, up=False), NOW + NS_PER_S)
    (ended,) = made.catch_up(NOW + 40 * NS_PER_S)
    assert isinstance(ended, e.Ended)
    assert (ended.reason, ended.ended_by) == ("canceled", "customer")


def test_before_the_clock_a_party_away_for_longer_than_the_window_ends_it() -> None:
    made = at(State.CONNECTING)
    made.handle(i.Connected(Role.EXPERT, up=False), NOW + NS_PER_S)
    assert made.catch_up(NOW + 31 * NS_PER_S + 1) == []
    (_, ended) = (None, *made.catch_up(NOW + 31 * NS_PER_S + 2))
    assert isinstance(ended, e.Ended)
    assert ended.reason == "disconnected"


def test_while_media_flow_a_lost_socket_ends_nothing() -> None:
    made = at(State.IN_PROGRESS)
    made.handle(i.FirstFrame(NOW + 10), NOW + 11)
    made.handle(i.Connected(Role.EXPERT, up=False), NOW + NS_PER_S)
    for second in range(2, 50):
        made.handle(i.Delivered(NOW + second * NS_PER_S), NOW + second * NS_PER_S)
    assert made.state is State.IN_PROGRESS


def test_Ty_a_text_session_without_messages_is_idle() -> None:
    made = at(State.IN_PROGRESS, "text")
    made.handle(i.MessageStored(Role.EXPERT, NOW + 300 * NS_PER_S), NOW + 300 * NS_PER_S)
    assert made.catch_up(NOW + 900 * NS_PER_S) == []
    (ended,) = made.catch_up(NOW + 900 * NS_PER_S + 1)
    assert isinstance(ended, e.Ended)
    assert (ended.reason, ended.at_ns) == ("idle", NOW + 900 * NS_PER_S)


def test_text_time_stands_still_while_someone_is_away() -> None:
    made = at(State.IN_PROGRESS, "text")
    for count in (1, 2):
        made.handle(i.MessageStored(Role.CUSTOMER, NOW + 10, count), NOW + 10)
    made.handle(i.Connected(Role.CUSTOMER, up=False), NOW + 10 * NS_PER_S)
    made.handle(i.Connected(Role.CUSTOMER, up=True), NOW + 30 * NS_PER_S)
    made.handle(i.Hangup(Role.EXPERT), NOW + 50 * NS_PER_S + 10)
    assert made.ended is not None
    assert made.ended.settlement.elapsed_ns == 30 * NS_PER_S


@pytest.mark.parametrize(
    ("stamp_s", "served_s"), [(1, 1 + 6), (2, 6), (3, 6), (4, 6), (5, 5), (0.5, 1.5 + 6)]
)
def test_a_message_that_was_stored_late_starts_no_clock_for_who_was_away(
    stamp_s: float, served_s: float
) -> None:
    """The store took from then to the sixth second; the expert was away from 2 to 4."""
    made = at(State.IN_PROGRESS, "text")
    made.handle(i.MessageStored(Role.CUSTOMER, NOW, 1), NOW)
    made.handle(i.Connected(Role.EXPERT, up=False), NOW + 2 * NS_PER_S)
    made.handle(i.Connected(Role.EXPERT, up=True), NOW + 4 * NS_PER_S)
    stamp_ns = NOW + round(stamp_s * NS_PER_S)
    made.handle(i.MessageStored(Role.CUSTOMER, stamp_ns, 2), NOW + 6 * NS_PER_S)
    made.handle(i.Hangup(Role.CUSTOMER), NOW + 10 * NS_PER_S)
    assert made.ended is not None
    assert made.ended.settlement.elapsed_ns == round(served_s * NS_PER_S)


def test_statements_come_once_a_minute_while_nothing_changes() -> None:
    made = at(State.IN_PROGRESS)
    made.handle(i.FirstFrame(NOW + 10), NOW + 10)
    stated = []
    for second in range(1, 150):
        instant = NOW + 10 + second * NS_PER_S
        effects = made.catch_up(instant) + made.handle(i.Delivered(instant), instant)
        stated += [second for effect in effects if isinstance(effect, e.Stated)]
        effects = made.handle(s.Tick(), instant)
        stated += [second for effect in effects if isinstance(effect, e.Stated)]
    assert stated == [60, 120]


@pytest.mark.parametrize(
    ("event", "ended_by"),
    [
        (i.Hangup(Role.CUSTOMER), "customer"),
        (i.Hangup(Role.EXPERT), "expert"),
        (i.Terminate(), "staff"),
        (i.Shutdown(), "system"),
    ],
)
def test_Tc_whoever_or_whatever_ends_it_within_the_grace_it_is_void(
    event: i.Input, ended_by: str
) -> None:
    made = at(State.IN_PROGRESS)
    made.handle(i.FirstFrame(NOW + 10), NOW + 10)
    made.handle(event, NOW + 10 + NS_PER_S)
    assert made.ended is not None
    assert (made.ended.reason, made.ended.ended_by) == ("void", ended_by)


events = st.one_of(
    st.just(ACCEPT),
    st.just(i.Begin()),
    st.builds(i.Hangup, st.sampled_from(Role)),
    st.builds(i.FirstFrame, st.just(0)),
    st.builds(i.Delivered, st.just(0)),
    st.just(i.AcksWithheld()),
    st.builds(i.MessageStored, st.sampled_from(Role), st.just(0), st.integers(0, 3)),
    st.builds(i.Connected, st.sampled_from(Role), st.booleans()),
    st.builds(i.SetTracks, st.sampled_from(Role), st.booleans(), st.booleans()),
    st.builds(i.SetDirection, st.booleans()),
    st.builds(s.Wallet, st.integers(0, 300_000), st.integers(1, 3)),
    st.just(s.Tick()),
)


def stamped(event: i.Input, now: int) -> i.Input:
    match event:
        case i.FirstFrame():
            return i.FirstFrame(now)
        case i.Delivered():
            return i.Delivered(now)
        case i.MessageStored(role=role):
            return i.MessageStored(role, now, event.from_customer)
    return event


class Bank:
    """Answers every request for a hold at once."""

    def __init__(self, wallet: int) -> None:
        self.wallet = wallet
        self.granted = 0

    def answer(self) -> i.Input:
        if self.wallet < 90_000:
            return s.HoldRefused(s.Wallet(self.wallet))
        self.wallet -= 90_000
        self.granted += 1
        return s.HoldGranted(Fund(f"hold {self.granted}", 90_000), s.Wallet(self.wallet))


def tried(made: SessionMachine, event: i.Input, now: int) -> list[e.Effect]:
    with contextlib.suppress(Conflict):
        return made.handle(event, now)
    return []


@given(
    st.sampled_from(["video", "text"]),
    st.integers(0, 200_000),
    st.lists(
        st.tuples(events, st.sampled_from([0, 1, NS_PER_S, 5 * NS_PER_S, 40 * NS_PER_S])),
        max_size=60,
    ),
)
@settings(max_examples=300, deadline=None)
def test_whatever_happens_it_ends_once_and_its_deadlines_move(
    mode: str, wallet: int, script: list[tuple[i.Input, int]]
) -> None:
    made, bank, now = machine(mode), Bank(wallet), NOW
    seen: list[e.Effect] = []
    for event, wait in [*script, (s.Tick(), 7_200 * NS_PER_S), (s.Tick(), 7_200 * NS_PER_S)]:
        now += wait
        fresh = made.catch_up(now) + tried(made, stamped(event, now), now)
        while any(isinstance(effect, s.PlaceHold) for effect in fresh):
            seen += fresh
            fresh = made.handle(bank.answer(), now)
        seen += fresh
        seen += made.handle(s.Tick(), now)
        due = made.next_deadline_ns()
        assert due is None or due > now
    assert made.state is State.ENDED
    ends = [effect for effect in seen if isinstance(effect, e.Ended)]
    assert ends == [made.ended]
    captured = sum(one.amount_minor for one in seen if isinstance(one, s.Capture))
    assert captured == ends[0].settlement.total_minor
