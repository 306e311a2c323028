"""What the admin needs from the engine, and how it is configured.

Admin and engine share a process here, but only these seams: the store, the ledger, the event outbox
and the few calls below. A test or another deployment may put anything behind them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from admin.files.links import FileLinks
from admin.files.storage import Storage
from admin.live.ice import IceServers
from admin.market.preset import Preset
from admin.presets import INFOTWIP
from admin.receipts.links import ReceiptLinks
from engine.auditing import Auditing
from engine.chat.ports import Correspondence
from engine.clock import Clock
from engine.metering.ledger import Ledger
from engine.metering.policy import Policy
from engine.ratelimit import Rate
from engine.session.measures import Measures
from engine.session.ports import LiveSessionView
from engine.signaling.messages import Message, MessageSend, PresenceUpdated
from engine.signaling.tokens import TokenService
from engine.store.database import Store, Tx

if TYPE_CHECKING:
    from admin.notices.words import Words
    from admin.payments.provider import PaymentProvider


class SessionsPort(Protocol):
    """The part of `engine.session.service.SessionService` that money and staff need."""

    @property
    def draining(self) -> bool:
        """Whether new calls are refused because this node is going down."""
        ...

    async def wallet_changed(self, user_id: str, currency: str) -> None: ...
    async def terminate(self, session_id: str, *, by: str) -> object: ...
    async def retry(self, session_id: str, *, by: str) -> None:
        """Settle a quarantined session. Raises `Conflict`, `Unavailable`."""
        ...

    def live_sessions(self) -> Sequence[LiveSessionView]: ...
    def in_live_session(self, user_id: str) -> bool: ...
    def metrics(self) -> Mapping[str, int]:
        """Counters since the start and, as ``sessions_{state}``, gauges of this node now."""
        ...

    def quality(self) -> Measures:
        """What the connections of all calls were like since the start."""
        ...


class PresencePort(Protocol):
    """Who has a live socket, and which status experts chose."""

    def is_online(self, user_id: str) -> bool: ...
    def online_users(self) -> Collection[str]:
        """Everybody who is."""
        ...

    async def set_status(self, user_id: str, status: str) -> PresenceUpdated:
        """Raises `Forbidden("not_expert")`, `Conflict("no_consultation")` (T12)."""
        ...


class ChatPort(Protocol):
    """Messages of conversations; `guest`s are no members, but the caller lets them in."""

    correspondence: Correspondence
    """The admin's say in messages outside of sessions."""

    async def send(
        self, user_id: str, msg: MessageSend, *, guest: bool = False
    ) -> tuple[Message, bool]:
        """Store and deliver; the message and whether it was there before."""
        ...

    async def read(self, user_id: str, conversation_id: str, seq: int) -> None:
        """Mark everything up to `seq` as read. Raises `NotFound`."""
        ...

    async def history(
        self,
        user_id: str,
        conversation_id: str,
        before_seq: int | None,
        limit: int,
        *,
        guest: bool = False,
    ) -> tuple[list[Message], bool]:
        """Up to `limit` messages before `before_seq`, oldest first, and whether there are older
        ones. Raises `NotFound`."""
        ...

    async def post_system(
        self, tx: Tx, conversation_id: str, body: str, files: Sequence[str] = ()
    ) -> Message:
        """Add a message of the system; `announce` it after the commit."""
        ...

    async def announce(self, message: Message) -> None: ...


class MediaPort(Protocol):
    """The media worker, as far as operators look at it."""

    @property
    def media(self) -> str:
        """What moves the packets: ``native`` or ``python``."""
        ...

    @property
    def running(self) -> bool: ...

    def counters(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, kw_only=True)
class LoginLimits:
    """Sign-in attempts, per source address and per account."""

    address: Rate = field(default_factory=lambda: Rate(1, 60))
    account: Rate = field(default_factory=lambda: Rate(1 / 30, 10))


@dataclass(frozen=True)
class AccountLimits:
    """Per source address: accounts made and mails asked for; per e-mail address: mails."""

    registrations: Rate = field(default_factory=lambda: Rate(1 / 60, 10))
    mails: Rate = field(default_factory=lambda: Rate(1 / 300, 3))
    exports: Rate = field(default_factory=lambda: Rate(1 / 60, 3))
    """Of a user's own data."""


@dataclass(frozen=True, kw_only=True)
class PasswordCost:
    """argon2id parameters, and how many hashes may be computed or waited for at once."""

    passes: int = 3
    memory_kib: int = 65_536
    lanes: int = 4
    at_once: int = 2
    waiting: int = 32


@dataclass(frozen=True, kw_only=True)
class AdminSettings:
    """Everything an operator decides about this side."""

    public_url: str
    secret: str = field(repr=False)
    """Keys of links, cookies and the test provider are derived from it; at least 32 characters."""
    policy: Policy
    """Of live sessions; snapshotted into every new order."""
    preset: Preset = INFOTWIP
    """Which marketplace this is; its terms are those of new orders until staff change them."""
    currency: str = "EUR"
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: int = 0
    """How many reverse proxies append to X-Forwarded-For; 0: the header is ignored."""
    turn_urls: tuple[str, ...] = ()
    turn_secret: str = field(default="", repr=False)
    body_limit_bytes: int = 64 * 1024
    metrics_token: str = field(default="", repr=False)
    """If set, GET /metrics asks for it as a bearer token."""
    login_limits: LoginLimits = field(default_factory=LoginLimits)
    account_limits: AccountLimits = field(default_factory=AccountLimits)
    password_cost: PasswordCost = field(default_factory=PasswordCost)
    writes: Rate = field(default_factory=lambda: Rate(2, 60))
    """Requests of one user that change something."""
    files_quota_bytes: int = 1_000_000_000
    """Of all files of one user together."""
    recording_kept_days: int = 90
    """After its end; 0: for ever."""
    notifications_kept_days: int = 180
    """After it was sent; 0: for ever."""

    def __post_init__(self) -> None:
        if len(self.secret) < 32:
            raise ValueError("secret: at least 32 characters are needed")
        if not self.public_url.startswith(("http://", "https://")):
            raise ValueError("public_url: an absolute http or https URL is needed")

    @property
    def https(self) -> bool:
        return self.public_url.startswith("https://")


class OutboundPort(Protocol):
    """Events to clients; never waits for one."""

    async def to_user(self, user_id: str, event: str, payload: dict[str, object]) -> None: ...


class SocketsPort(Protocol):
    """The connections of users."""

    def dismiss_user(self, user_id: str, code: str, message: str) -> None:
        """Tell every device of the user why, then end its connection."""
        ...


class DeliveryPort(Protocol):
    """The task that sends mails."""

    def wake(self) -> None:
        """Something was committed that is to be sent."""
        ...


class RecordingsPort(Protocol):
    """The files of recorded calls."""

    def file(self, name: str) -> Path | None:
        """A finished file by its name; None for anything else."""
        ...

    async def held(self) -> Sequence[str]:
        """Ids of the recordings of which there is anything on this node's disk."""
        ...

    async def delete(self, recording_id: str) -> None:
        """Delete whatever this node's disk has of it. Raises `OSError`."""
        ...


@dataclass(frozen=True, kw_only=True)
class AdminDeps:
    """The engine's parts that the composition root hands over."""

    store: Store
    clock: Clock
    ledger: Ledger
    auditing: Auditing
    tokens: TokenService
    sessions: SessionsPort
    presence: PresencePort
    chat: ChatPort
    media: MediaPort
    recordings: RecordingsPort
    outbound: OutboundPort
    sockets: SocketsPort
    delivery: DeliveryPort
    words: Words
    files: Storage
    settings: AdminSettings
    providers: Mapping[str, PaymentProvider]
    """By name; top-ups go to the first."""
    events_document: Mapping[str, Any]

    @cached_property
    def receipt_links(self) -> ReceiptLinks:
        return ReceiptLinks(self.settings.secret, self.clock)

    @cached_property
    def file_links(self) -> FileLinks:
        return FileLinks(self.settings.secret, self.clock)

    @cached_property
    def ice_servers(self) -> IceServers:
        return IceServers(self.settings.turn_urls, self.settings.turn_secret, self.clock)
