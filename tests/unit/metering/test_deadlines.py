from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_S
from engine.metering.deadlines import DeadlineQueue
from tests.support.virtual_clock import VirtualClock


class Fired:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.at: list[tuple[int, str]] = []
        self.queue = DeadlineQueue(self.clock, self._on_fire)
        self.origin_ns = self.clock.now_ns()

    def _on_fire(self, key: str) -> None:
        self.at.append(((self.clock.now_ns() - self.origin_ns) // NS_PER_S, key))

    def set(self, key: str, at_s: int | None) -> None:
        self.queue.set(key, None if at_s is None else self.origin_ns + at_s * NS_PER_S)


def test_deadlines_fire_in_order_and_once() -> None:
    fired = Fired()
    for key, at_s in (("b", 20), ("a", 10), ("c", 20)):
        fired.set(key, at_s)
    fired.clock.advance(60)
    assert fired.at == [(10, "a"), (20, "b"), (20, "c")]
    assert len(fired.queue) == 0
    assert fired.clock.armed == 0


def test_a_deadline_moves_both_ways_and_can_be_dropped() -> None:
    fired = Fired()
    fired.set("later", 10)
    fired.set("later", 30)
    fired.set("nearer", 40)
    fired.set("nearer", 20)
    fired.set("gone", 5)
    fired.set("gone", None)
    fired.clock.advance(60)
    assert fired.at == [(20, "nearer"), (30, "later")]


def test_what_fires_may_set_its_next_deadline_even_in_the_past() -> None:
    fired = Fired()
    queue: DeadlineQueue
    left = [3]

    def again(key: str) -> None:
        left[0] -= 1
        if left[0]:
            queue.set(key, 0)

    queue = DeadlineQueue(fired.clock, again)
    queue.set("x", fired.clock.now_ns() + NS_PER_S)
    fired.clock.advance(1)
    assert left == [0]


def test_moving_a_deadline_away_again_and_again_costs_no_memory() -> None:
    fired = Fired()
    for at_s in range(10, 10_000):
        fired.set("x", at_s)
    assert len(fired.queue._heap) == 1
    assert fired.clock.armed == 1


def test_after_close_nothing_fires() -> None:
    fired = Fired()
    fired.set("x", 10)
    fired.queue.close()
    fired.clock.advance(60)
    assert fired.at == []


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 50), st.integers(0, 3)),
        max_size=60,
    )
)
def test_it_agrees_with_looking_at_every_key_every_second(
    moves: list[tuple[str, int | None, int]],
) -> None:
    fired, naive = Fired(), {}
    expected: list[tuple[int, str]] = []
    now = 0

    def pass_second() -> None:
        nonlocal now
        now += 1
        fired.clock.advance(1)
        due = sorted(((at, key) for key, at in naive.items() if at <= now))
        expected.extend((max(at, now), key) for at, key in due)
        for _, key in due:
            del naive[key]

    for key, wanted_s, seconds in moves:
        # What is due now already fires with the next look at the clock.
        at_s = None if wanted_s is None else max(wanted_s, now + 1)
        fired.set(key, at_s)
        if at_s is None:
            naive.pop(key, None)
        else:
            naive[key] = at_s
        for _ in range(seconds):
            pass_second()
    for _ in range(60):
        pass_second()
    assert sorted(fired.at) == sorted(expected)
