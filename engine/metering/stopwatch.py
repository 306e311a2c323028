"""Served time: what the clock shows, what of it is proven, and when it stands still.

Two watches with one interface. A *media* watch is driven by acknowledgements: service is what lies
between two frames that the customer's transport acknowledged, unless the gap between them is a
pause. A *text* watch runs while both parties are connected. Instants are monotonic nanoseconds and
never decrease from call to call.
"""

from __future__ import annotations

from typing import Protocol

from engine.metering.policy import PAUSE_AFTER_NS


class Watch(Protocol):
    """A started watch."""

    def elapsed_ns(self, now_ns: int) -> int:
        """Served time as if the session ended now."""
        ...

    def confirmed_ns(self, now_ns: int) -> int:
        """The part of it that no later event can take back; it never decreases."""
        ...

    def paused(self, now_ns: int) -> bool: ...

    def instant_of(self, elapsed_ns: int) -> int | None:
        """When this much will have been served if nothing happens; None while it stands still."""
        ...

    def last_service_ns(self, now_ns: int) -> int:
        """The instant at which service was last known to run: a pause begins there."""
        ...

    def pause_at_ns(self) -> int | None:
        """When silence will have become a pause."""
        ...

    def confirms_itself(self) -> bool:
        """Whether time alone confirms service, or only evidence that is yet to come."""
        ...


class MediaWatch:
    """Frames acknowledged by the customer drive it.

    A gap of `pause_after_ns` or more between two acknowledged frames is not service, and since
    that is known only when it has lasted so long, elapsed time may step back by it; confirmed time,
    which alone is ever charged while a session runs, ends at the last acknowledged frame.

    How long that is depends on how the customer's connection acknowledges, and comes with every
    frame for the silence that follows it. So what was shown as a pause is never charged.

    `standing`: a watch taken up from a dead run, with what that run proved; it stands still from
    `first_frame_ns` until the next acknowledged frame, whatever time has passed.
    """

    def __init__(
        self,
        first_frame_ns: int,
        *,
        pause_after_ns: int = PAUSE_AFTER_NS,
        base_ns: int = 0,
        standing: bool = False,
    ) -> None:
        self._base_ns = base_ns
        self._mark_ns = first_frame_ns
        self._pause_after_ns = pause_after_ns
        self._standing = standing

    def acked(self, sent_at_ns: int, pause_after_ns: int = PAUSE_AFTER_NS) -> None:
        """The newest acknowledged frame was sent then; older news change nothing."""
        if self._standing:
            self._mark_ns, self._standing = max(sent_at_ns, self._mark_ns), False
            self._pause_after_ns = pause_after_ns
            return
        gap_ns = sent_at_ns - self._mark_ns
        if gap_ns < 0:
            return
        if gap_ns < self._pause_after_ns:
            self._base_ns += gap_ns
        self._mark_ns = sent_at_ns
        self._pause_after_ns = pause_after_ns

    def wait_anew(self, now_ns: int) -> None:
        """A standing watch counts its silence from now on."""
        if self._standing:
            self._mark_ns = max(now_ns, self._mark_ns)

    def elapsed_ns(self, now_ns: int) -> int:
        if self.paused(now_ns):
            return self._base_ns
        return self._base_ns + max(0, now_ns - self._mark_ns)

    def confirmed_ns(self, now_ns: int) -> int:
        return self._base_ns

    def paused(self, now_ns: int) -> bool:
        return self._standing or now_ns - self._mark_ns >= self._pause_after_ns

    def instant_of(self, elapsed_ns: int) -> int | None:
        return self._mark_ns + elapsed_ns - self._base_ns

    def last_service_ns(self, now_ns: int) -> int:
        return self._mark_ns

    def pause_at_ns(self) -> int | None:
        return self._mark_ns + self._pause_after_ns

    def confirms_itself(self) -> bool:
        return False


class TextWatch:
    """Runs from the counted message on while both parties are connected."""

    def __init__(self, at_ns: int, *, running: bool, base_ns: int = 0) -> None:
        self._base_ns = base_ns
        self._mark_ns = at_ns
        self._running = running

    def stop(self, now_ns: int) -> None:
        if self._running:
            self._base_ns += max(0, now_ns - self._mark_ns)
            self._mark_ns = max(now_ns, self._mark_ns)
            self._running = False

    def run(self, now_ns: int) -> None:
        if not self._running:
            self._mark_ns = max(now_ns, self._mark_ns)
            self._running = True

    def elapsed_ns(self, now_ns: int) -> int:
        return self._base_ns + (max(0, now_ns - self._mark_ns) if self._running else 0)

    def confirmed_ns(self, now_ns: int) -> int:
        return self.elapsed_ns(now_ns)

    def paused(self, now_ns: int) -> bool:
        return not self._running

    def instant_of(self, elapsed_ns: int) -> int | None:
        return self._mark_ns + elapsed_ns - self._base_ns if self._running else None

    def last_service_ns(self, now_ns: int) -> int:
        return now_ns if self._running else self._mark_ns

    def pause_at_ns(self) -> int | None:
        return None

    def confirms_itself(self) -> bool:
        return self._running
