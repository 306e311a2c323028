"""What a customer was sent and not billed for.

The meter bills what lies between two acknowledged frames, unless they are further apart than its
pause (`engine.metering.stopwatch`). So a customer whose transport acknowledges something only now
and then is sent media that nobody pays for: an honest one for seconds, one that does so on purpose
for as long as it likes. Neither can be told from a single gap, so what flowed in gaps that were not
billed adds up here, less a tenth of what is billed. `engine.media.acks` grows impatient with it.

Why it is a bound: `total_ns` plus what was repaid is never less than the time forwarded minus the
time billed. A packet adds to it whatever time it adds to the former. An acknowledged gap takes no
more from `_flowed_ns` than its own length, because that never exceeds the time from the mark to the
last packet; a billed gap has that length billed, and any other puts what it takes into the debt.
"""

from __future__ import annotations

import msgspec

from engine.media import limits
from engine.metering.policy import PAUSE_AFTER_NS


class Owed(msgspec.Struct, frozen=True):
    """A debt between two legs of one customer: the next one's begins where the former's stood."""

    debt_ns: int = 0
    flowed_ns: int = 0
    mark_ns: int = 0
    last_sent_ns: int = 0
    pause_after_ns: int = 0


NOTHING_OWED = Owed()


class Debt:
    """Pure. Reckons by what the meter is told, not by every acknowledgement that comes in: of
    several at once the meter sees the newest one, and a longer gap.
    """

    __slots__ = (
        "_debt_ns",
        "_flowed_ns",
        "_judged_by_ns",
        "_last_sent_ns",
        "_mark_ns",
        "_pause_after_ns",
    )

    def __init__(self, pause_after_ns: int = PAUSE_AFTER_NS, owed: Owed = NOTHING_OWED) -> None:
        self._pause_after_ns = pause_after_ns
        # What the meter was told with the last acknowledgement holds until the next.
        self._judged_by_ns = owed.pause_after_ns or pause_after_ns
        self._debt_ns = owed.debt_ns
        self._flowed_ns = owed.flowed_ns
        self._mark_ns = owed.mark_ns
        self._last_sent_ns = owed.last_sent_ns

    @property
    def total_ns(self) -> int:
        """With what has flowed since the last news to the meter, which may yet be billed."""
        return self._debt_ns + self._flowed_ns

    @property
    def deep(self) -> bool:
        """From now on only what is acknowledged in time is forwarded."""
        return self.total_ns >= limits.ACK_DEBT_NS

    @property
    def exhausted(self) -> bool:
        """Nothing more is forwarded."""
        return self.total_ns >= limits.ACK_DEBT_MOST_NS

    def owed(self) -> Owed:
        """For the next leg."""
        return Owed(
            self._debt_ns,
            self._flowed_ns,
            self._mark_ns,
            self._last_sent_ns,
            self._judged_by_ns,
        )

    def sent(self, now_ns: int) -> None:
        """A media packet left."""
        interval_ns = now_ns - self._last_sent_ns
        if interval_ns <= limits.ACK_FLOW_PAUSE_NS:
            self._flowed_ns += interval_ns
        self._last_sent_ns = now_ns

    def began(self, at_ns: int) -> None:
        """The clock starts with the frame sent then: what flowed before is not the customer's."""
        if at_ns > self._mark_ns:
            self._mark(at_ns)

    def reported(self, at_ns: int) -> None:
        """The meter is told that what was sent then was acknowledged."""
        gap_ns = at_ns - self._mark_ns
        if gap_ns < 0:
            return
        flowed_ns = self._mark(at_ns)
        if gap_ns < self._judged_by_ns:
            self._debt_ns = max(0, self._debt_ns - gap_ns // limits.ACK_DEBT_BILLED_PER_REPAID)
        else:
            self._debt_ns += flowed_ns
        self._judged_by_ns = self._pause_after_ns

    def be_patient(self, pause_after_ns: int, now_ns: int) -> bool:
        """Acknowledgements come in at another pace from now on; True if the meter has to be told
        that before it takes the present silence for a pause.
        """
        self._pause_after_ns = pause_after_ns
        left_ns = self._mark_ns + self._judged_by_ns - now_ns
        return pause_after_ns > self._judged_by_ns and left_ns > limits.ACK_DEBT_MARGIN_NS

    def overdue(self, since_ns: int) -> bool:
        """Whether what flowed since the mark, and since then, is soon too long to be billed."""
        flowed_ns = min(self._flowed_ns, self._last_sent_ns - since_ns)
        return flowed_ns >= self._judged_by_ns - limits.ACK_DEBT_MARGIN_NS

    def _mark(self, at_ns: int) -> int:
        """The clock runs on from that instant; what flowed up to it, at least."""
        before_ns = self._flowed_ns
        self._flowed_ns = min(before_ns, max(0, self._last_sent_ns - at_ns))
        self._mark_ns = at_ns
        return before_ns - self._flowed_ns
