"""A session of this node: its machine and everything around it that is not pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from engine.clock import NS_PER_MS
from engine.media.interface import Role
from engine.session.effects import Effect
from engine.session.eventlog import PartyLog
from engine.session.grants import Grant
from engine.session.machine import SessionMachine
from engine.session.mailbox import Mailbox
from engine.session.pulse import Stall
from engine.session.quality import PartyQuality
from engine.session.states import LIVE, State


@dataclass(slots=True)
class Leg:
    """One device's media connection."""

    id: str
    role: Role
    device: str
    connected: bool = False


@dataclass(slots=True)
class Entry:
    """An effect on its way to the store and the parties.

    `seq` numbers the evidence of a durable one, which the store must have before anyone is told.
    """

    seq: int
    effect: Effect
    durable: bool
    at_ns: int
    at_ms: int


@dataclass(slots=True)
class Instants:
    """Wall-clock instants for the records."""

    rung_ms: int
    answered_ms: int | None = None
    started_ms: int | None = None
    metered_ms: int | None = None
    ended_ms: int | None = None


@dataclass(slots=True)
class Runtime:
    """One session. Whatever changes it runs in its mailbox."""

    id: str
    grant: Grant
    machine: SessionMachine
    mailbox: Mailbox
    logs: dict[Role, PartyLog]
    instants: Instants
    epoch: int = 1
    alert: str = "sound"
    devices: dict[Role, set[str]] = field(default_factory=lambda: {role: set() for role in Role})
    legs: dict[str, Leg] = field(default_factory=dict)
    selected: dict[Role, str] = field(default_factory=dict)
    pending: deque[Entry] = field(default_factory=deque)
    """Effects that the store does not have yet."""
    evidence_seq: int = 0
    unsure: bool = False
    """The last attempt to write failed, maybe after it was committed."""
    asked: frozenset[str] = frozenset()
    """Keys of holds that were asked for and not answered: the failure may have hid a commit."""
    retry_at_ns: int | None = None
    cutoff_ns: int | None = None
    stalls: deque[Stall] = field(default_factory=deque)
    """When the process stood still, not yet told to the machine of a text session."""
    quality: dict[Role, PartyQuality] = field(
        default_factory=lambda: {role: PartyQuality() for role in Role}
    )
    released: bool = False
    """Over, written down, told."""

    @property
    def state(self) -> State:
        return self.machine.state

    @property
    def live(self) -> bool:
        return self.machine.state in LIVE

    @property
    def media(self) -> bool:
        return not self.machine.text

    def known_until_ns(self, now_ns: int) -> int:
        """The instant up to which this session may be brought: nothing that waits to be handled is
        overtaken, so that a hangup beats what falls due while it waits for the store, and nobody
        is charged for the time after it.
        """
        waiting_ns = self.mailbox.next_stamp_ns
        return now_ns if waiting_ns is None else min(now_ns, waiting_ns)

    def proven_ns(self, now_ns: int) -> int:
        """Served time that may be written down; it ends where the process stood still."""
        if self.machine.meter is None:
            return 0
        until_ns = self.known_until_ns(now_ns)
        if self.stalls:
            until_ns = min(until_ns, self.stalls[0].since_ns)
        return self.machine.meter.confirmed_ns(until_ns)

    def cut_off(self, now_ns: int) -> bool:
        """Whether what is paid is over, but for the time in which the process stood still."""
        stood_ns = sum(stall.until_ns - stall.since_ns for stall in self.stalls)
        return self.cutoff_ns is not None and now_ns - stood_ns >= self.cutoff_ns

    def ring_left_ms(self, now_ns: int) -> int:
        """How long it goes on ringing, 0 if it does not."""
        expires_ns = self.machine.ring_expires_ns
        return 0 if expires_ns is None else max(0, expires_ns - now_ns) // NS_PER_MS

    def leg_of(self, device: str) -> Leg | None:
        return next((leg for leg in self.legs.values() if leg.device == device), None)
