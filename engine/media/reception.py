"""What a receiver report says of one incoming stream (RFC 3550 appendices A.1, A.3 and A.8)."""

from __future__ import annotations

from engine.media.rtcp import ReportBlock

_NS_PER_NTP_UNIT = 1_000_000_000 / 65536


class Reception:
    """Statistics of one SSRC; `add` runs once per packet."""

    __slots__ = (
        "_base",
        "_clock_per_ns",
        "_cycles",
        "_expected_prior",
        "_highest",
        "_jitter",
        "_last_sr",
        "_last_sr_at_ns",
        "_received_prior",
        "_transit",
        "last_at_ns",
        "received",
        "ssrc",
    )

    def __init__(self, ssrc: int, clock_rate_hz: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        self.last_at_ns = 0
        self._clock_per_ns = clock_rate_hz / 1e9
        self._base = -1
        self._highest = 0
        self._cycles = 0
        self._jitter = 0.0
        self._transit = 0.0
        self._expected_prior = 0
        self._received_prior = 0
        self._last_sr = 0
        self._last_sr_at_ns = 0

    def add(self, sequence: int, timestamp: int, now_ns: int) -> None:
        self.received += 1
        self.last_at_ns = now_ns
        transit = now_ns * self._clock_per_ns - timestamp
        if self._base < 0:
            self._base = self._highest = sequence
            self._transit = transit
            return
        if 0 < (sequence - self._highest) & 0xFFFF < 0x8000:
            if sequence < self._highest:
                self._cycles += 0x10000
            self._highest = sequence
        change = abs(transit - self._transit)
        self._transit = transit
        # A wrapped or restarted timestamp is no jitter.
        if change < 450_000:
            self._jitter += (change - self._jitter) / 16

    def sender_report(self, ntp: int, now_ns: int) -> None:
        self._last_sr = ntp >> 16 & 0xFFFFFFFF
        self._last_sr_at_ns = now_ns

    @property
    def expected(self) -> int:
        """Packets from the first to the newest, whether they came or not."""
        return self._cycles + self._highest - self._base + 1 if self._base >= 0 else 0

    @property
    def lost(self) -> int:
        return max(0, self.expected - self.received)

    @property
    def jitter_ms(self) -> float:
        return self._jitter / self._clock_per_ns / 1e6

    def report(self, now_ns: int) -> ReportBlock:
        """The next report block; the loss fraction is that since the previous one."""
        highest = self._cycles + self._highest
        expected = self.expected
        lost = max(-(1 << 23), min((1 << 23) - 1, expected - self.received))
        interval_expected = expected - self._expected_prior
        interval_lost = interval_expected - (self.received - self._received_prior)
        self._expected_prior = expected
        self._received_prior = self.received
        fraction = 0
        if interval_expected > 0 and interval_lost > 0:
            fraction = min(255, (interval_lost << 8) // interval_expected)
        delay = int((now_ns - self._last_sr_at_ns) / _NS_PER_NTP_UNIT) if self._last_sr else 0
        return ReportBlock(
            ssrc=self.ssrc,
            fraction=fraction,
            lost=lost,
            highest=highest & 0xFFFFFFFF,
            jitter=min(0xFFFFFFFF, int(self._jitter)),
            last_sr=self._last_sr,
            delay=min(0xFFFFFFFF, delay),
        )
