"""A media worker without media: scripted events in, a record of every call out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import BadInput, Conflict, Unavailable
from engine.media.interface import (
    AcksWithheld,
    Delivery,
    FirstFrame,
    LegConnected,
    LegLost,
    LegStats,
    MediaEvent,
    MediaKind,
    Role,
    Tap,
)
from engine.metering.policy import PAUSE_AFTER_NS


@dataclass
class FakeCall:
    """One media session as the worker was told to run it."""

    one_way: bool
    video: bool
    legs: dict[str, Role] = field(default_factory=dict)
    selected: dict[Role, str] = field(default_factory=dict)
    gate_open: bool = False
    cutoff_ns: int | None = None
    publishing: dict[Role, tuple[bool, bool]] = field(default_factory=dict)


class FakeMediaWorker:
    """Implements `engine.media.interface.MediaWorker`."""

    media = "fake"
    running = True

    def __init__(self, *, capacity: int = 100, legs_per_session: int = 6) -> None:
        self.calls: dict[str, FakeCall] = {}
        self.closed: list[str] = []
        self.offers: list[tuple[str, bool]] = []
        self.answers: list[tuple[str, str]] = []
        self.stats: dict[str, LegStats] = {}
        """What is to be said of a leg."""
        self.taps: dict[str, Tap | None] = {}
        self.taps_set = 0
        self._handler: Callable[[MediaEvent], None] | None = None
        self._capacity = capacity
        self._legs_per_session = legs_per_session
        self._numbers = itertools.count(1)

    # The script -----------------------------------------------------------------------------------

    def emit(self, event: MediaEvent) -> None:
        assert self._handler is not None
        self._handler(event)

    def connect(self, session_id: str, leg_id: str) -> None:
        self.emit(LegConnected(session_id, leg_id, self.calls[session_id].legs[leg_id]))

    def lose(self, session_id: str, leg_id: str, reason: str = "consent") -> None:
        self.emit(LegLost(session_id, leg_id, self.calls[session_id].legs[leg_id], reason))

    def first_frame(
        self,
        session_id: str,
        at_ns: int,
        kind: MediaKind = MediaKind.VIDEO,
        pause_after_ns: int = PAUSE_AFTER_NS,
    ) -> None:
        self.emit(FirstFrame(session_id, kind, at_ns, at_ns, pause_after_ns))

    def deliver(self, session_id: str, at_ns: int, pause_after_ns: int = PAUSE_AFTER_NS) -> None:
        self.emit(Delivery(session_id, at_ns, pause_after_ns))

    def withhold(self, session_id: str) -> None:
        self.emit(AcksWithheld(session_id))

    # The interface --------------------------------------------------------------------------------

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        for session_id in list(self.calls):
            self.close_session(session_id)

    def subscribe(self, handler: Callable[[MediaEvent], None]) -> None:
        self._handler = handler

    def add_session(self, session_id: str, *, one_way: bool, video: bool) -> None:
        if len(self.calls) >= self._capacity:
            raise Unavailable("overloaded", "no more sessions")
        assert session_id not in self.calls
        self.calls[session_id] = FakeCall(one_way, video)

    def add_leg(self, session_id: str, role: Role) -> str:
        call = self.calls[session_id]
        if len(call.legs) >= self._legs_per_session:
            raise Conflict("too_many_legs", "no more legs")
        leg_id = f"leg_{next(self._numbers)}"
        call.legs[leg_id] = role
        return leg_id

    async def offer(self, leg_id: str, *, ice_restart: bool = False) -> str:
        self._call_of(leg_id)
        self.offers.append((leg_id, ice_restart))
        return f"offer {leg_id}"

    async def answer(self, leg_id: str, sdp: str) -> None:
        self._call_of(leg_id)
        if not sdp.startswith("answer"):
            raise BadInput("invalid_sdp", "not an answer")
        self.answers.append((leg_id, sdp))

    def select_leg(self, session_id: str, leg_id: str) -> None:
        call = self.calls[session_id]
        role = call.legs[leg_id]
        call.selected[role] = leg_id
        for other in [one for one, its in call.legs.items() if its is role and one != leg_id]:
            del call.legs[other]

    def remove_leg(self, leg_id: str) -> None:
        call = self._call_of(leg_id)
        role = call.legs.pop(leg_id)
        if call.selected.get(role) == leg_id:
            del call.selected[role]

    def open_gate(self, session_id: str) -> None:
        self.calls[session_id].gate_open = True

    def set_publishing(self, session_id: str, role: Role, *, audio: bool, video: bool) -> None:
        self.calls[session_id].publishing[role] = (audio, video)

    def set_one_way(self, session_id: str, *, one_way: bool) -> None:
        self.calls[session_id].one_way = one_way

    def set_cutoff(self, session_id: str, cutoff_at_ns: int | None) -> None:
        self.calls[session_id].cutoff_ns = cutoff_at_ns

    def set_tap(self, session_id: str, tap: Tap | None) -> None:
        self.taps[session_id] = tap
        self.taps_set += 1

    def close_session(self, session_id: str) -> None:
        if self.calls.pop(session_id, None) is not None:
            self.closed.append(session_id)

    def leg_stats(self, leg_id: str) -> LegStats | None:
        return self.stats.get(leg_id)

    def counters(self) -> dict[str, int]:
        return {}

    def _call_of(self, leg_id: str) -> FakeCall:
        return next(call for call in self.calls.values() if leg_id in call.legs)
