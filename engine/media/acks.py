"""What the customer's transport acknowledged, and when to stop sending to one that never does.

Every expert packet that leaves for the customer is noted here; transport-wide feedback and receiver
reports are matched with those notes. The results are instants of sending, never of arrival.

A customer who takes media and acknowledges nothing would not be billed, so after 5 s without one
acknowledgement forwarding stops. It resumes when the receiver echoes a sender report that was sent
after the stop (the LSR field of RFC 3550): that proves that both directions work again and costs no
media. Each resumption without an acknowledgement doubles the wait before the next, and the session
layer ends the call after 30 s without delivery, so the loophole yields seconds at most.
"""

from __future__ import annotations

from engine.media import limits

_MASK = limits.ACK_WINDOW_PACKETS - 1


class Acknowledgements:
    """Notes of what was sent to one customer leg. Pure."""

    __slots__ = (
        "_last_sent_ns",
        "_numbers",
        "_sent_ns",
        "_stopped_at_ns",
        "_trials",
        "_unacked_since_ns",
        "last_acked_sent_ns",
        "stopped",
        "timeout_ns",
    )

    def __init__(self, timeout_ns: int = limits.ACK_TIMEOUT_NS) -> None:
        self.timeout_ns = timeout_ns
        self.last_acked_sent_ns = 0
        self.stopped = False
        self._numbers = [-1] * limits.ACK_WINDOW_PACKETS
        self._sent_ns = [0] * limits.ACK_WINDOW_PACKETS
        self._unacked_since_ns = 0
        self._last_sent_ns = 0
        self._stopped_at_ns = 0
        self._trials = 0

    def sent(self, transport: int, now_ns: int) -> None:
        """A media packet left; `transport` is its transport-wide number or -1."""
        if transport >= 0:
            slot = transport & _MASK
            self._numbers[slot] = transport
            self._sent_ns[slot] = now_ns
        if not self._unacked_since_ns or now_ns - self._last_sent_ns > limits.ACK_FLOW_PAUSE_NS:
            self._unacked_since_ns = now_ns
        self._last_sent_ns = now_ns

    def transport_acked(self, numbers: list[int]) -> bool:
        """Transport-wide feedback arrived; True if it acknowledges a packet really sent."""
        newest = 0
        for number in numbers:
            slot = number & _MASK
            if self._numbers[slot] == number and self._sent_ns[slot] > newest:
                newest = self._sent_ns[slot]
        return self.packet_acked(newest)

    def packet_acked(self, sent_at_ns: int) -> bool:
        """A packet sent at that instant is known to have arrived; False if it is no news."""
        if sent_at_ns <= self.last_acked_sent_ns:
            return False
        self.last_acked_sent_ns = sent_at_ns
        self._unacked_since_ns = 0
        self._trials = 0
        return True

    def withheld(self, now_ns: int) -> bool:
        """True once, when media has flowed for the timeout without an acknowledgement."""
        since = self._unacked_since_ns
        if self.stopped or not since or now_ns - since < self.timeout_ns:
            return False
        if now_ns - self._last_sent_ns > limits.ACK_FLOW_PAUSE_NS:
            return False
        self.stopped = True
        self._stopped_at_ns = now_ns
        return True

    def report_echoed(self, report_sent_at_ns: int, now_ns: int) -> bool:
        """The receiver echoed our sender report of that instant; True if sending may resume."""
        if not self.stopped or report_sent_at_ns <= self._stopped_at_ns:
            return False
        if now_ns - self._stopped_at_ns < self._wait_ns():
            return False
        self.stopped = False
        self._trials += 1
        self._unacked_since_ns = 0
        return True

    def _wait_ns(self) -> int:
        return 0 if self._trials == 0 else self.timeout_ns << min(self._trials, 10)
