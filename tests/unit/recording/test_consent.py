"""Nobody is recorded who did not agree, and either ends it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Conflict
from engine.media.interface import Role
from engine.recording.consent import MAX_CHANGES, Consent, Recorded

A, B = Role.CUSTOMER, Role.EXPERT


def asked() -> Consent:
    consent = Consent()
    assert consent.ask(A)
    return consent


def test_it_takes_both() -> None:
    consent = asked()
    assert (consent.state, consent.by) == (Recorded.REQUESTED, A)
    assert not consent.answer(A, consent=True), "nobody agrees with oneself"
    assert not consent.ask(A)
    assert consent.answer(B, consent=True)
    assert (consent.state, consent.by) == (Recorded.RECORDING, B)


def test_asking_for_the_same_is_consent() -> None:
    consent = asked()
    assert consent.ask(B)
    assert consent.state is Recorded.RECORDING


@pytest.mark.parametrize("role", Role)
def test_either_ends_it(role: Role) -> None:
    consent = asked()
    consent.answer(B, consent=True)
    assert consent.stop(role)
    assert (consent.state, consent.by) == (Recorded.STOPPED, role)
    assert not consent.stop(role)
    assert consent.ask(role), "and may ask again"


def test_a_request_can_be_declined_or_taken_back() -> None:
    declined, withdrawn = asked(), asked()
    assert declined.answer(B, consent=False)
    assert (declined.state, declined.reason) == (Recorded.OFF, "declined")
    assert withdrawn.stop(A)
    assert (withdrawn.state, withdrawn.reason) == (Recorded.OFF, "withdrawn")
    assert not withdrawn.answer(B, consent=True), "too late"


def test_only_a_recording_fails() -> None:
    consent = asked()
    assert not consent.fail("disk_full")
    consent.answer(B, consent=True)
    assert consent.fail("disk_full")
    assert (consent.state, consent.by, consent.reason) == (Recorded.FAILED, None, "disk_full")


def test_asking_is_bounded() -> None:
    consent = Consent()
    for _ in range(MAX_CHANGES // 2):
        consent.ask(A)
        consent.stop(A)
    with pytest.raises(Conflict):
        consent.ask(A)


@given(st.lists(st.tuples(st.sampled_from(["ask", "yes", "no", "stop"]), st.sampled_from(Role))))
def test_no_order_of_events_records_without_both(steps: list[tuple[str, Role]]) -> None:
    consent = Consent()
    agreed: set[Role] = set()
    for step, role in steps[: MAX_CHANGES - 1]:
        before = consent.state
        match step:
            case "ask":
                consent.ask(role)
            case "stop":
                consent.stop(role)
            case _:
                consent.answer(role, consent=step == "yes")
        if step in ("ask", "yes"):
            agreed.add(role)
        if consent.state in (Recorded.OFF, Recorded.STOPPED):
            agreed.clear()
        if consent.state is Recorded.RECORDING and before is not Recorded.RECORDING:
            assert agreed == {A, B}
