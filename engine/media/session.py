"""One call on a worker: its legs, and the rules for what may pass between them.

`route` is the single place where permission is decided. It runs on every change (gate, buttons,
direction, a leg connecting or lost) and links the paths of the two parties anew; the packet plane
only carries that out. What is not permitted leaves no trace at the other side: no packet, no sender
report, no feedback.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

from engine.errors import Conflict
from engine.media import limits
from engine.media.debt import NOTHING_OWED
from engine.media.interface import (
    AcksWithheld,
    Delivery,
    FirstFrame,
    MediaEvent,
    MediaKind,
    Role,
    Tap,
)
from engine.media.leg import Leg
from engine.metering.policy import PAUSE_AFTER_NS, PAUSE_AFTER_REPORTS_ONLY_NS

_OTHER = {Role.CUSTOMER: Role.EXPERT, Role.EXPERT: Role.CUSTOMER}


class MediaSession:
    """Created by the worker; every method is synchronous and bounded."""

    def __init__(
        self,
        session_id: str,
        *,
        one_way: bool,
        video: bool,
        counters: dict[str, int],
        emit: Callable[[MediaEvent], None],
        adopt_task: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self.session_id = session_id
        self.kinds = (MediaKind.AUDIO, MediaKind.VIDEO) if video else (MediaKind.AUDIO,)
        self.legs: dict[str, Leg] = {}
        self.adopt_task = adopt_task
        self._one_way = one_way
        self._gate_open = False
        self._cutoff_ns = limits.NEVER_NS
        self._selected: dict[Role, str] = {}
        self._publishing = {(role, kind): True for role in Role for kind in MediaKind}
        self._switched_on_ns = dict.fromkeys(self._publishing, 0)
        self._watched_leg: Leg | None = None
        self._pause_after_ns = PAUSE_AFTER_NS
        self._first_frame_found = False
        self._tap: Tap | None = None
        self._counters = counters
        self._emit = emit

    # --- legs ---

    def add(self, leg: Leg) -> None:
        """Raises `Conflict` code ``too_many_legs``."""
        self.check_room()
        self.legs[leg.leg_id] = leg
        if self._tap is not None:
            self._tap_leg(leg, 0)  # it is sent nothing yet

    def check_room(self) -> None:
        if len(self.legs) >= limits.MAX_LEGS_PER_SESSION:
            raise Conflict("too_many_legs", "This session has all the legs it may have")

    def remove(self, leg: Leg, now_ns: int) -> None:
        self.legs.pop(leg.leg_id, None)
        if self._selected.get(leg.role) == leg.leg_id:
            del self._selected[leg.role]
        self.route(now_ns)

    def select(self, leg: Leg, now_ns: int) -> list[Leg]:
        """Keep `leg` for its role; returns the others of that role, to be closed."""
        self._selected[leg.role] = leg.leg_id
        self.route(now_ns)
        return [o for o in self.legs.values() if o.role is leg.role and o is not leg]

    def active(self, role: Role) -> Leg | None:
        """The selected leg of a role, or the only one."""
        chosen = self._selected.get(role)
        if chosen is not None:
            return self.legs.get(chosen)
        mine = [leg for leg in self.legs.values() if leg.role is role]
        return mine[0] if len(mine) == 1 else None

    # --- permission ---

    def open_gate(self, now_ns: int) -> None:
        self._gate_open = True
        self.route(now_ns)

    def set_publishing(self, role: Role, *, audio: bool, video: bool, now_ns: int) -> None:
        for kind, on in ((MediaKind.AUDIO, audio), (MediaKind.VIDEO, video)):
            if on and not self._publishing[role, kind]:
                self._switched_on_ns[role, kind] = now_ns
            self._publishing[role, kind] = on
        self.route(now_ns)

    def set_one_way(self, one_way: bool, now_ns: int) -> None:
        self._one_way = one_way
        self.route(now_ns)

    def set_cutoff(self, cutoff_ns: int | None, now_ns: int) -> None:
        self._cutoff_ns = limits.NEVER_NS if cutoff_ns is None else cutoff_ns
        self.route(now_ns)

    def set_tap(self, tap: Tap | None, now_ns: int) -> None:
        """Copy what the legs are sent."""
        self._tap = tap
        for leg in self.legs.values():
            self._tap_leg(leg, now_ns)

    def _tap_leg(self, leg: Leg, now_ns: int) -> None:
        publisher = _OTHER[leg.role]
        tap = None if self._tap is None else functools.partial(self._tap, publisher)
        leg.path.set_tap(tap, now_ns)

    def route(self, now_ns: int) -> None:
        """Decide anew what passes; idempotent."""
        active = {role: self.active(role) for role in Role}
        for leg in self.legs.values():
            if leg is not active[leg.role]:
                leg.path.link(None, {}, self._cutoff_ns, now_ns)
        for role, publisher in active.items():
            viewer = active[_OTHER[role]]
            if viewer is None:
                continue
            if role is Role.EXPERT:
                self._watch_customer(viewer, now_ns)
            permitted = {k: self._permitted(publisher, viewer, role, k) for k in self.kinds}
            path = publisher.path if publisher is not None else None
            viewer.path.link(path, permitted, self._cutoff_ns, now_ns)

    def _permitted(self, publisher: Leg | None, viewer: Leg, role: Role, kind: MediaKind) -> bool:
        if not self._gate_open or publisher is None:
            return False
        if not publisher.connected or not viewer.connected:
            return False
        if self._one_way and role is Role.CUSTOMER:
            return False
        return self._publishing[role, kind]

    # --- acknowledgements ---

    def _watch_customer(self, leg: Leg, now_ns: int) -> None:
        if leg.answer is None:
            return  # decided once the answer is known: nothing is forwarded before
        timeout_ns, pause_after_ns = self._patience_with(leg, now_ns)
        if leg is self._watched_leg:
            # While nothing is shown, what was shown before is still to be acknowledged.
            if pause_after_ns != self._pause_after_ns and self._shown():
                self._pause_after_ns = pause_after_ns
                leg.path.be_patient(timeout_ns, pause_after_ns, now_ns)
            return
        owed = NOTHING_OWED
        if self._watched_leg is not None:
            self._watched_leg.path.unwatch()
            owed = self._watched_leg.path.owed()
        self._watched_leg, self._pause_after_ns = leg, pause_after_ns
        leg.path.watch(
            timeout_ns,
            pause_after_ns,
            seek_first_frame=not self._first_frame_found,
            owed=owed,
        )

    def _patience_with(self, customer: Leg, now_ns: int) -> tuple[int, int]:
        """How long it may acknowledge nothing before that stops the media, and the clock."""
        shown = self._flowing(now_ns) or self._shown()
        if shown and customer.reports_only(shown):
            return limits.ACK_TIMEOUT_REPORTS_ONLY_NS, PAUSE_AFTER_REPORTS_ONLY_NS
        return limits.ACK_TIMEOUT_NS, PAUSE_AFTER_NS

    def _shown(self) -> list[MediaKind]:
        return [kind for kind in self.kinds if self._publishing[Role.EXPERT, kind]]

    def _flowing(self, now_ns: int) -> list[MediaKind]:
        """What of it comes in: a camera that is on may send nothing, as a phone's in a pocket."""
        expert = self.active(Role.EXPERT)
        if expert is None:
            return []
        since_ns = max(0, now_ns - limits.FLOWS_WITHIN_NS)
        path, switched_ns = expert.path, self._switched_on_ns
        return [
            kind
            for kind in self._shown()
            if max(path.last_in_ns(kind), switched_ns[Role.EXPERT, kind]) > since_ns
        ]

    def first_frame(self, leg: Leg, kind: MediaKind, sent_at_ns: int, acked_at_ns: int) -> None:
        """The path of the watched leg has found it."""
        if leg is not self._watched_leg or self._first_frame_found:
            return
        self._first_frame_found = True
        self._counters["first_frames"] += 1
        self._emit(FirstFrame(self.session_id, kind, sent_at_ns, acked_at_ns, self._pause_after_ns))

    def delivered(self, leg: Leg, last_acked_at_ns: int, now_ns: int) -> None:
        if leg is not self._watched_leg:
            return
        self._emit(Delivery(self.session_id, last_acked_at_ns, self._pause_after_ns))
        if leg.reports_only((MediaKind.AUDIO,)):
            self._watch_customer(leg, now_ns)  # what flows may have changed

    def acks_withheld(self, leg: Leg) -> None:
        if leg is self._watched_leg:
            self._emit(AcksWithheld(self.session_id))
