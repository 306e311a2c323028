"""What signalling and chat need from the session service and the store, as narrow protocols."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from engine.signaling.messages import Direction, Mode, SessionSummary, Snapshot


class Gate(Protocol):
    """The service's leave to post one message, stamped with the instant that counts."""

    @property
    def session_id(self) -> str: ...
    @property
    def order_id(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def customer_id(self) -> str: ...
    @property
    def expert_id(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def at_ns(self) -> int: ...
    @property
    def at_ms(self) -> int: ...


class ChatSessions(Protocol):
    """The service as chat sees it."""

    def chat_gate(self, user_id: str, session_id: str) -> Any:
        """A `Gate`. Raises session_not_found, not_party, wrong_state, session_paused,
        session_ended.
        """
        ...

    async def require_open(self, tx: Any, gate: Any, user_id: str) -> None:
        """Called in the transaction that stores a message, as the last thing before its commit: it
        may have waited. Raises what `chat_gate` raises.
        """
        ...

    async def message_stored(self, gate: Any) -> None:
        """Called once per stored message, after commit, in the order of the conversation; again
        for one whose commit, or whose count, failed. Raises store_unavailable.
        """
        ...

    async def publish(
        self, session_id: str, user_id: str, event: str, payload: dict[str, object]
    ) -> None:
        """Send an event to every device of one party in the session's own sequence (replayable)."""
        ...


class PresenceSessions(Protocol):
    """The service as presence sees it."""

    def in_live_session(self, user_id: str) -> bool: ...

    def ringing_for(self, expert_id: str) -> int: ...

    def ringing_events(self, expert_id: str) -> list[tuple[str, dict[str, object]]]:
        """`call.incoming` of every call that rings, as it was told, with the time left."""
        ...


class Sessions(ChatSessions, PresenceSessions, Protocol):
    """The service as the namespace sees it: commands of clients, user ids taken from tokens."""

    async def invite(self, user_id: str, device: str, msg: Any) -> tuple[str, float, Snapshot]: ...

    async def accept(self, user_id: str, device: str, session_id: str) -> Snapshot: ...

    async def decline(self, user_id: str, device: str, session_id: str) -> None: ...

    async def cancel(self, user_id: str, device: str, session_id: str) -> None: ...

    async def join(
        self, user_id: str, device: str, session_id: str, last_seq: int
    ) -> tuple[Snapshot, list[tuple[str, dict[str, object]]]]: ...

    async def begin(self, user_id: str, session_id: str) -> Snapshot: ...

    async def end(self, user_id: str, session_id: str) -> SessionSummary: ...

    async def set_direction(self, user_id: str, session_id: str, direction: Direction) -> None: ...

    async def rtc_answer(
        self, user_id: str, device: str, session_id: str, leg_id: str, sdp: str
    ) -> None: ...

    async def rtc_restart(self, user_id: str, device: str, session_id: str) -> None: ...

    async def track_update(
        self, user_id: str, device: str, session_id: str, audio: bool, video: bool
    ) -> None: ...

    async def recording_request(self, user_id: str, session_id: str) -> None: ...

    async def recording_consent(self, user_id: str, session_id: str, *, consent: bool) -> None: ...

    async def recording_stop(self, user_id: str, session_id: str) -> None: ...

    async def device_gone(self, user_id: str, device: str) -> None: ...


class Outbound(Protocol):
    """Sending to clients; never waits for one."""

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None: ...

    async def to_device(self, device: str, event: str, payload: dict[str, object]) -> None: ...


Spawn = Callable[[Coroutine[Any, Any, None], str], None]
"""Run a coroutine in the background under a name; its failure is logged."""

__all__ = [
    "ChatSessions",
    "Direction",
    "Gate",
    "Mode",
    "Outbound",
    "PresenceSessions",
    "Sessions",
    "Spawn",
]
