"""What the session service needs from its neighbours, and what it hands them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from engine.signaling.messages import IceServer


class Outbound(Protocol):
    """Sending to clients; never waits for one."""

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None:
        """To every device of the user."""
        ...

    async def to_device(self, device: str, event: str, payload: dict[str, object]) -> None: ...


class PresenceView(Protocol):
    """Who has a live socket, and what experts chose."""

    def is_online(self, user_id: str) -> bool: ...

    async def chosen_status(self, expert_id: str) -> str: ...

    async def refresh(self, expert_id: str) -> None:
        """A live session of this expert began or ended: tell who watches."""
        ...


class ChatGate(Struct, frozen=True):
    """Leave to post one message; `at_ns` is the instant that counts for money."""

    session_id: str
    order_id: str
    conversation_id: str
    role: str
    customer_id: str
    expert_id: str
    mode: str
    at_ns: int
    at_ms: int


class LiveSessionView(Struct, frozen=True):
    """One session that has not ended, for operators. `elapsed_ms` is None before the clock runs."""

    session_id: str
    order_id: str
    title: str
    customer_id: str
    customer_name: str
    expert_id: str
    expert_name: str
    mode: str
    state: str
    since_ms: int
    elapsed_ms: int | None
    charged_minor: int
    currency: str


IceServers = Callable[[str], list[IceServer]]
"""STUN and TURN servers for a user's next offer."""

ReceiptUrl = Callable[[str, str], str | None]
"""(user, session) -> where that user finds the receipt."""


class SessionSettings(Struct, frozen=True, kw_only=True):
    """Bounds and rhythms of one node; times in seconds.

    Invites: `invites_per_s` on average and `invite_burst` at once, per customer. `stale_after_s`:
    how old another node's checkpoints must be for its sessions to be taken over here.
    `resume_within_s`: a session of a dead run whose last sign of life is older is settled at once.
    Of an ended session the newest `events_of_ended` events stay.
    """

    invites_per_s: float = 0.2
    invite_burst: int = 5
    devices_per_party: int = 4
    checkpoint_every_s: float = 2
    stale_after_s: float = 10
    resume_within_s: float = 600
    retry_after_s: float = 1
    events_kept: int = 256
    events_of_ended: int = 16
    ended_kept: int = 256
    evidence_kept: int = 2_000
