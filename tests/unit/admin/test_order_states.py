"""The order's table of moves: who may do what in which state, every combination of it."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from admin.market.actors import SYSTEM, Actor
from admin.market.terms import DAY_S, Terms
from admin.market.transitions import Situation, decide, possible
from admin.orders.machine import ORDER
from admin.orders.numbers import new_number
from admin.orders.states import Facts, OrderState
from engine.errors import Conflict, Forbidden, NotFound, TalktimeError

NOW_MS = 1_800_000_000_000
CUSTOMER, EXPERT, STRANGER = Actor("c"), Actor("e"), Actor("x")
ARBITER = Actor("a", frozenset({"disputes.decide"}))
FINANCE = Actor("f", frozenset({"finance"}))
OPEN_TO_ALL = Facts(billed=True, deliveries=1, dispute_by="c")
KINDS = ("live", "work", "files")

# Every state that an order of a kind can be in: what each may do when every guard is content
# (nothing started, a delivery sent, a session
# billed, the timer due).
ALLOWED: dict[tuple[str, str], dict[str, set[str]]] = {
    ("pending_payment", "live"): {
        "customer": {"pay", "cancel", "review"},
        "system": {"expire"},
        "finance": {"call_off"},
    },
    ("pending_payment", "work"): {
        "customer": {"pay", "require", "cancel"},
        "system": {"expire"},
        "finance": {"call_off"},
    },
    ("pending_payment", "files"): {
        "customer": {"pay", "cancel"},
        "system": {"expire"},
        "finance": {"call_off"},
    },
    ("open", "live"): {
        "customer": {"cancel", "close", "dispute", "review"},
        "expert": {"refuse", "dispute"},
        "system": {"idle_out"},
        "finance": {"refund", "call_off"},
    },
    ("open", "work"): {
        "customer": {"require", "cancel", "dispute"},
        "expert": {"start", "add_delivery", "deliver", "refuse", "agree_to_cancel", "dispute"},
        "finance": {"refund", "call_off"},
    },
    ("delivered", "work"): {
        "customer": {"return", "accept", "dispute"},
        "expert": {"dispute"},
        "system": {"accept_by_silence"},
        "finance": {"refund", "call_off"},
    },
}
for _kind in KINDS:
    _reviewing = {"review"} if _kind == "live" else set()
    ALLOWED["completed", _kind] = {
        "customer": {"dispute", "review"},
        "expert": {"dispute"},
        "finance": {"refund"},
    }
    ALLOWED["cancelled", _kind] = {"customer": _reviewing, "finance": {"refund"}}
    ALLOWED["disputed", _kind] = {
        "customer": {"withdraw_dispute"} | _reviewing,
        "arbiter": {"rule"},
    }
WHO = {
    "customer": CUSTOMER,
    "expert": EXPERT,
    "system": SYSTEM,
    "arbiter": ARBITER,
    "finance": FINANCE,
    "stranger": STRANGER,
}
ACTIONS = sorted({move.action for move in ORDER.moves})


def situation(
    state: str,
    kind: str,
    actor: Actor,
    *,
    facts: Facts = OPEN_TO_ALL,
    terms: Terms | None = None,
    **row: Any,
) -> Situation:
    values: dict[str, Any] = {
        "id": "o",
        "customer_id": "c",
        "expert_id": "e",
        "state": state,
        "fulfilment": kind,
        "terms": msgspec.to_builtins(terms or Terms()),
        "started_at_ms": None,
        "delivery_by_ms": None,
        "cancel_agreed_at_ms": None,
        "rework_count": 0,
        "delivered_at_ms": None,
        "closed_at_ms": None,
        "closed_reason": None,
        "due_at_ms": NOW_MS,
    }
    found: Any = SimpleNamespace(**(values | row))
    parties = frozenset({"system"}) if actor is SYSTEM else ORDER.parties(found, actor)
    return Situation(found, facts, parties, NOW_MS)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("state", "kind"), ALLOWED)
def test_exactly_the_declared_moves_are_made(state: str, kind: str, who: str) -> None:
    actor = WHO[who]
    wanted = ALLOWED[state, kind].get(who, set())
    assert set(possible(ORDER, situation(state, kind, actor), actor)) == wanted


@pytest.mark.parametrize("action", ACTIONS)
def test_to_a_stranger_no_order_exists(action: str) -> None:
    for state, kind in itertools.product(OrderState, KINDS):
        with pytest.raises(NotFound) as refusal:
            decide(ORDER, situation(state, kind, STRANGER), action, STRANGER)
        assert refusal.value.code == "order_not_found"


def _refusal(asked: Situation, action: str, actor: Actor) -> TalktimeError:
    with pytest.raises(TalktimeError) as caught:
        decide(ORDER, asked, action, actor)
    return caught.value


def test_the_other_party_is_told_whose_move_it_is() -> None:
    refusal = _refusal(situation("delivered", "work", EXPERT), "accept", EXPERT)
    assert isinstance(refusal, Forbidden)
    assert refusal.code == "not_customer"
    assert _refusal(situation("open", "work", CUSTOMER), "start", CUSTOMER).code == "not_expert"


@pytest.mark.parametrize(("action", "kind"), [("cancel", "live"), ("close", "live")])
def test_Tn_a_running_session_blocks_the_way_out(action: str, kind: str) -> None:
    facts = Facts(session_running=True, billed=True)
    refusal = _refusal(situation("open", kind, CUSTOMER, facts=facts), action, CUSTOMER)
    assert isinstance(refusal, Conflict)
    assert refusal.code == "session_live"


def test_To_a_consultation_closes_only_once_a_session_was_billed() -> None:
    asked = situation("open", "live", CUSTOMER, facts=Facts())
    assert _refusal(asked, "close", CUSTOMER).code == "nothing_billed"


def test_Tx_work_that_began_is_not_cancelled_alone() -> None:
    begun = {"started_at_ms": NOW_MS - 1, "delivery_by_ms": NOW_MS}
    asked = situation("open", "work", CUSTOMER, **begun)
    assert _refusal(asked, "cancel", CUSTOMER).code == "work_started"
    agreed = situation("open", "work", CUSTOMER, **begun, cancel_agreed_at_ms=NOW_MS)
    assert decide(ORDER, agreed, "cancel", CUSTOMER).to == "cancelled"
    overdue = situation("open", "work", CUSTOMER, **(begun | {"delivery_by_ms": NOW_MS - 1}))
    assert decide(ORDER, overdue, "cancel", CUSTOMER).to == "cancelled"


def test_Pc_work_that_was_delivered_once_is_not_overdue_any_more() -> None:
    """Else who returns it after the agreed day keeps it for nothing."""
    returned = {"started_at_ms": 1, "delivered_at_ms": NOW_MS - 2, "delivery_by_ms": NOW_MS - 1}
    asked = situation("open", "work", CUSTOMER, **returned, rework_count=1)
    assert _refusal(asked, "cancel", CUSTOMER).code == "work_started"


@pytest.mark.parametrize(("billed", "ends"), [(True, "completed"), (False, "cancelled")])
def test_To_an_idle_consultation_is_completed_only_if_it_was_billed(
    billed: bool, ends: str
) -> None:
    asked = situation("open", "live", SYSTEM, facts=Facts(billed=billed))
    assert decide(ORDER, asked, "idle_out", SYSTEM).to == ends


def test_To_a_call_puts_the_end_by_idleness_off() -> None:
    idle_ms = 90 * DAY_S * 1_000
    called = Facts(billed=True, last_session_ms=NOW_MS - idle_ms + 5)
    refusal = _refusal(situation("open", "live", SYSTEM, facts=called), "idle_out", SYSTEM)
    assert (refusal.code, refusal.extra) == ("not_due", {"due_at_ms": NOW_MS + 5})


def test_O16_a_ruling_that_ended_an_order_is_final() -> None:
    for reason, code in (("ruled_split", "already_ruled"), ("accepted", None)):
        ended = {"closed_at_ms": NOW_MS, "closed_reason": reason}
        asked = situation("completed", "work", EXPERT, **ended)
        if code is None:
            assert "dispute" in possible(ORDER, asked, EXPERT)
        else:
            assert _refusal(asked, "dispute", EXPERT).code == code


@pytest.mark.parametrize(
    ("state", "kind", "facts", "code"),
    [
        ("open", "work", Facts(billed=True), "not_reviewable"),
        ("open", "live", Facts(), "not_reviewable"),
        ("cancelled", "files", Facts(billed=True), "not_reviewable"),
        ("completed", "work", Facts(reviewed=True), "already_reviewed"),
        ("open", "live", Facts(billed=True, reviewed=True), "already_reviewed"),
    ],
)
def test_C32_who_has_had_nothing_reviews_nothing_and_nobody_twice(
    state: str, kind: str, facts: Facts, code: str
) -> None:
    asked = situation(state, kind, CUSTOMER, facts=facts)
    assert _refusal(asked, "review", CUSTOMER).code == code


def test_K34_T62_work_is_done_only_with_something_delivered() -> None:
    asked = situation("open", "work", EXPERT, facts=Facts())
    assert _refusal(asked, "deliver", EXPERT).code == "nothing_delivered"


def test_O6_rework_ends_where_the_terms_say() -> None:
    terms = Terms(rework_limit=2)
    for count, allowed in ((1, True), (2, False)):
        asked = situation("delivered", "work", CUSTOMER, terms=terms, rework_count=count)
        assert ("return" in possible(ORDER, asked, CUSTOMER)) is allowed


def test_O15_a_dispute_is_opened_within_its_window() -> None:
    terms = Terms(dispute_window_s=14 * DAY_S)
    for age_ms, allowed in ((14 * DAY_S * 1_000, True), (14 * DAY_S * 1_000 + 1, False)):
        asked = situation("completed", "files", CUSTOMER, terms=terms, closed_at_ms=NOW_MS - age_ms)
        assert ("dispute" in possible(ORDER, asked, CUSTOMER)) is allowed


def test_only_who_opened_a_dispute_withdraws_it() -> None:
    asked = situation("disputed", "work", EXPERT)
    assert _refusal(asked, "withdraw_dispute", EXPERT).code == "not_your_dispute"


@pytest.mark.parametrize(
    ("state", "kind", "action"),
    [
        ("pending_payment", "work", "expire"),
        ("delivered", "work", "accept_by_silence"),
        ("open", "live", "idle_out"),
    ],
)
def test_a_timer_acts_only_when_it_is_due(state: str, kind: str, action: str) -> None:
    for due_at_ms in (NOW_MS + 1, None):
        asked = situation(state, kind, SYSTEM, due_at_ms=due_at_ms)
        assert _refusal(asked, action, SYSTEM).code == "not_due"


@pytest.mark.parametrize(
    ("state", "action", "code"),
    [
        ("pending_payment", "close", "order_not_paid"),
        ("open", "pay", "already_paid"),
        ("completed", "cancel", "order_closed"),
        ("cancelled", "pay", "order_closed"),
        ("disputed", "cancel", "order_disputed"),
    ],
)
def test_a_wrong_state_has_a_code_of_its_own(state: str, action: str, code: str) -> None:
    assert _refusal(situation(state, "live", CUSTOMER), action, CUSTOMER).code == code


def test_numbers_fit_the_column_and_avoid_letters_that_look_alike() -> None:
    numbers = {new_number() for _ in range(2_000)}
    assert len(numbers) == 2_000
    for number in numbers:
        assert len(number) <= 20
        assert number.startswith("TT-")
        assert not set(number[3:]) & set("ILOU")
