"""What the customer's transport acknowledged, and when to stop sending to one that never does.

Every expert packet that leaves for the customer is noted here; transport-wide feedback and receiver
reports are matched with those notes. The results are instants of sending, never of arrival.

A customer who takes media and acknowledges nothing would not be billed, so after 5 s without one
acknowledgement forwarding stops. It resumes when the receiver echoes a sender report that was sent
after the stop (the LSR field of RFC 3550): that proves that both directions work again and costs no
media. Each resumption without an acknowledgement doubles the wait before the next, and the session
layer ends the call after 30 s without delivery.

That alone would leave a call free for a customer who acknowledges something every 4 s: no gap ever
reaches 5 s, and none is short enough to be billed. So what flows in such gaps is added up
(`engine.media.debt`). From `limits.ACK_DEBT_NS` on, forwarding stops before a gap could become too
long to be billed, and an acknowledgement no longer takes the waits back; from
`limits.ACK_DEBT_MOST_NS` on it does not resume. So a call yields, in all, one minute of media and a
tenth of what is billed for nothing, whatever its acknowledgements and its legs do.
"""

from __future__ import annotations

from engine.media import limits
from engine.media.debt import Debt

_MASK = limits.ACK_WINDOW_PACKETS - 1


class Acknowledgements:
    """Notes of what was sent to one customer leg. Pure."""

    __slots__ = (
        "_flowing_since_ns",
        "_numbers",
        "_sent_ns",
        "_stopped_at_ns",
        "_trials",
        "_unacked_since_ns",
        "debt",
        "last_acked_sent_ns",
        "last_sent_ns",
        "stopped",
        "timeout_ns",
    )

    def __init__(self, timeout_ns: int = limits.ACK_TIMEOUT_NS, debt: Debt | None = None) -> None:
        self.timeout_ns = timeout_ns
        self.debt = Debt() if debt is None else debt
        self.last_acked_sent_ns = 0
        # Another leg does not begin where the former one was stopped for good.
        self.stopped = self.debt.exhausted
        self._numbers = [-1] * limits.ACK_WINDOW_PACKETS
        self._sent_ns = [0] * limits.ACK_WINDOW_PACKETS
        self._unacked_since_ns = 0
        self.last_sent_ns = 0
        # The first packet of this leg, or since the last resumption.
        self._flowing_since_ns = 0
        self._stopped_at_ns = 0
        self._trials = 0

    def sent(self, transport: int, now_ns: int) -> None:
        """A media packet left; `transport` is its transport-wide number or -1."""
        if transport >= 0:
            slot = transport & _MASK
            self._numbers[slot] = transport
            self._sent_ns[slot] = now_ns
        if not self._unacked_since_ns or now_ns - self.last_sent_ns > limits.ACK_FLOW_PAUSE_NS:
            self._unacked_since_ns = now_ns
        self._flowing_since_ns = self._flowing_since_ns or now_ns
        self.last_sent_ns = now_ns
        self.debt.sent(now_ns)

    def transport_acked(self, numbers: list[int]) -> bool:
        """Transport-wide feedback arrived; True if it acknowledges a packet really sent."""
        newest = 0
        for number in numbers:
            slot = number & _MASK
            if self._numbers[slot] == number and self._sent_ns[slot] > newest:
                newest = self._sent_ns[slot]
        return self.packet_acked(newest)

    def earliest_acked(self, numbers: list[int], since_ns: int) -> int:
        """The first packet sent since then that the feedback acknowledges, 0 for none."""
        sent = [self._sent_ns[n & _MASK] for n in numbers if self._numbers[n & _MASK] == n]
        return min((at_ns for at_ns in sent if at_ns >= since_ns), default=0)

    def packet_acked(self, sent_at_ns: int) -> bool:
        """A packet sent at that instant is known to have arrived; False if it is no news."""
        if sent_at_ns <= self.last_acked_sent_ns:
            return False
        self.last_acked_sent_ns = sent_at_ns
        self._unacked_since_ns = 0
        if not self.debt.deep:
            self._trials = 0
        return True

    def be_patient(self, timeout_ns: int, now_ns: int) -> None:
        """A shorter timeout is counted from now: until now nothing was late."""
        if self._unacked_since_ns and timeout_ns < self.timeout_ns:
            self._unacked_since_ns = now_ns
        self.timeout_ns = timeout_ns

    def withheld(self, now_ns: int) -> bool:
        """True once, when media has flowed for too long without an acknowledgement."""
        if self.stopped or now_ns - self.last_sent_ns > limits.ACK_FLOW_PAUSE_NS:
            return False
        if not self._overdue(now_ns):
            return False
        self.stopped = True
        self._stopped_at_ns = now_ns
        return True

    def _overdue(self, now_ns: int) -> bool:
        since = self._unacked_since_ns
        if since and now_ns - since >= self.timeout_ns:
            return True
        debt = self.debt
        return debt.exhausted or (debt.deep and debt.overdue(self._flowing_since_ns))

    def report_echoed(self, report_sent_at_ns: int, now_ns: int) -> bool:
        """The receiver echoed our sender report of that instant; True if sending may resume."""
        if not self.stopped or report_sent_at_ns <= self._stopped_at_ns:
            return False
        if self.debt.exhausted:
            return False
        if now_ns - self._stopped_at_ns < self._wait_ns():
            return False
        self.stopped = False
        self._trials += 1
        self._unacked_since_ns = 0
        self._flowing_since_ns = 0
        return True

    def _wait_ns(self) -> int:
        return 0 if self._trials == 0 else self.timeout_ns << min(self._trials, 10)
