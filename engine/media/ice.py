"""ICE-lite without I/O (RFC 8445 section 2.5): answer checks, follow nominations, watch consent.

A lite agent never sends a check of its own. Every decision is made on an authenticated request, so
an unauthenticated sender changes nothing here. A restart (RFC 8445 section 9) adds a second set of
credentials; both are valid until a check under the new ones nominates a pair, and the media path
stays as it was until then.

Cost for the uninvited: `local_ufrag` looks at a bounded number of bytes and allocates one short
string; only a request whose ufrag is known is parsed, checked and answered.
"""

from __future__ import annotations

import ipaddress
import secrets
import struct
from typing import Final

import msgspec
from aioice import stun

from engine.media import limits

Address = (
    tuple[str, int]
    | tuple[str, int, int, int]
    | tuple[str, int, str]
    | tuple[str, int, int, int, str]
)
"""A peer as the UDP socket gives it. Where that is bound to all addresses of the machine, the one
that the peer sent to comes last: answers leave from there, and two of them are two paths.

Of a TCP connection ``("tcp:<host>", number)``, where the number is the connection's and its lower
16 bits are the peer's port.
"""

STREAM_PREFIX: Final = "tcp:"

_ICE_CHARS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BINDING_REQUEST: Final = 0x0001
_USERNAME: Final = 0x0006


class Credentials(msgspec.Struct, frozen=True):
    """RFC 8839 section 5.4: at least 24 bits for ufrag, 128 for pwd; far more here."""

    ufrag: str
    password: str


class IceReply(msgspec.Struct, frozen=True):
    """What a request led to: `response` to send back, and the changes for the worker's tables.

    `nominated`: the selected address changed. `evicted`: this address is no longer this leg's.
    """

    response: bytes | None = None
    accepted: bool = False
    nominated: bool = False
    added: bool = False
    evicted: Address | None = None
    retired_ufrag: str | None = None


_NOTHING: Final = IceReply()


def new_credentials() -> Credentials:
    def text(length: int) -> str:
        return "".join(secrets.choice(_ICE_CHARS) for _ in range(length))

    return Credentials(text(12), text(28))


def local_ufrag(data: bytes) -> str | None:
    """The local half of USERNAME in a binding request, None for anything else. Never raises."""
    size = len(data)
    if size < 28 or size > limits.MAX_STUN_BYTES:
        return None
    kind, length, cookie = struct.unpack_from("!HHI", data)
    if kind != _BINDING_REQUEST or cookie != stun.COOKIE or length + 20 != size or length & 3:
        return None
    at = 20
    for _ in range(limits.MAX_STUN_ATTRIBUTES):
        if at + 4 > size:
            return None
        attribute, length = struct.unpack_from("!HH", data, at)
        at += 4
        if at + length > size:
            return None
        if attribute == _USERNAME:
            return _local_half(data[at : at + length])
        at += length + 3 & ~3
    return None


def _local_half(username: bytes) -> str | None:
    if len(username) > limits.MAX_STUN_USERNAME_BYTES or not username.isascii():
        return None
    local, colon, _ = username.partition(b":")
    return local.decode("ascii") if colon else None


class IceLite:
    """The agent of one leg. Pure: requests and time in, replies out."""

    def __init__(self, now_ns: int, consent_timeout_ns: int = limits.CONSENT_TIMEOUT_NS) -> None:
        self.current = new_credentials()
        self.pending: Credentials | None = None
        self.selected: Address | None = None
        self.last_check_ns = now_ns
        self._consent_timeout_ns = consent_timeout_ns
        self._remote_ufrags: dict[str, str] = {}
        # Validated addresses and their last check, oldest first.
        self._addresses: dict[Address, int] = {}

    @property
    def offered(self) -> Credentials:
        """The credentials that an offer carries now."""
        return self.pending or self.current

    @property
    def addresses(self) -> list[Address]:
        return list(self._addresses)

    def ufrags(self) -> list[str]:
        return [c.ufrag for c in (self.current, self.pending) if c is not None]

    def restart(self) -> str | None:
        """Begin a restart under fresh credentials; returns the ufrag of an unfinished one it
        drops.
        """
        dropped = self.pending.ufrag if self.pending else None
        if dropped is not None:
            self._remote_ufrags.pop(dropped, None)
        self.pending = new_credentials()
        return dropped

    def set_remote(self, local_ufrag: str, remote_ufrag: str) -> None:
        """The answer to the offer that carried `local_ufrag` names the peer's ufrag."""
        self._remote_ufrags[local_ufrag] = remote_ufrag

    def checked_at_ns(self, address: Address) -> int:
        """The last authenticated check from `address`, 0 if there was none."""
        return self._addresses.get(address, 0)

    def forget(self, address: Address) -> None:
        self._addresses.pop(address, None)
        if self.selected == address:
            self.selected = next(reversed(self._addresses), None)

    def consent_deadline_ns(self) -> int:
        """Consent is for one path (RFC 7675 section 5.1): for the selected one, once there is
        one.
        """
        checked_ns = self.last_check_ns
        if self.selected is not None:
            checked_ns = self._addresses[self.selected]
        return checked_ns + self._consent_timeout_ns

    def give_up_path(self, now_ns: int) -> Address | None:
        """The selected path has no consent any more: the one that was checked last takes its place.
        None if that is too long ago as well; then the next check decides.
        """
        self.selected = None
        newest = next(reversed(self._addresses), None)
        if newest is not None and now_ns < self._addresses[newest] + self._consent_timeout_ns:
            self.selected = newest
        return self.selected

    def handle_request(self, data: bytes, address: Address, now_ns: int) -> IceReply:
        """One binding request that `local_ufrag` ascribed to this leg."""
        message = _parse(data)
        if message is None:
            return _NOTHING
        credentials = self._credentials_for(message)
        if credentials is None or not _authentic(message, credentials.password):
            return _NOTHING
        if "ICE-CONTROLLED" in message.attributes:
            # A lite agent is always the controlled one (RFC 8445 section 6.1.1).
            return IceReply(response=_refusal(message, credentials.password))
        return self._accept(message, credentials, address, now_ns)

    def _credentials_for(self, message: stun.Message) -> Credentials | None:
        local, _, remote = str(message.attributes.get("USERNAME", "")).partition(":")
        for credentials in (self.current, self.pending):
            if credentials is not None and credentials.ufrag == local:
                expected = self._remote_ufrags.get(local)
                # Checks may overtake the answer: the peer's ufrag is unknown until then.
                return credentials if expected is None or expected == remote else None
        return None

    def _accept(
        self, message: stun.Message, credentials: Credentials, address: Address, now_ns: int
    ) -> IceReply:
        self.last_check_ns = now_ns
        added = address not in self._addresses
        self._addresses.pop(address, None)
        self._addresses[address] = now_ns
        nominated = "USE-CANDIDATE" in message.attributes
        retired = None
        moved = nominated and self.selected != address
        if nominated:
            self.selected = address
            retired = self._finish_restart(credentials)
        return IceReply(
            response=_success(message, credentials.password, address),
            accepted=True,
            nominated=moved,
            added=added,
            evicted=self._evict(),
            retired_ufrag=retired,
        )

    def _finish_restart(self, credentials: Credentials) -> str | None:
        if credentials is not self.pending:
            return None
        retired = self.current.ufrag
        self.current, self.pending = credentials, None
        self._remote_ufrags.pop(retired, None)
        return retired

    def _evict(self) -> Address | None:
        if len(self._addresses) <= limits.MAX_ADDRESSES_PER_LEG:
            return None
        oldest = next(a for a in self._addresses if a != self.selected)
        del self._addresses[oldest]
        return oldest


def _parse(data: bytes) -> stun.Message | None:
    try:
        message = stun.parse_message(data)
    except (ValueError, struct.error):
        return None
    request = (message.message_method, message.message_class)
    if request != (stun.Method.BINDING, stun.Class.REQUEST):
        return None
    return message


def _authentic(message: stun.Message, password: str) -> bool:
    """FINGERPRINT is mandatory in ICE (RFC 8445 section 7.1.1); its value was checked by the
    parser.
    """
    if "FINGERPRINT" not in message.attributes:
        return False
    return bool(message.check_message_integrity(password.encode("ascii")))


def _success(request: stun.Message, password: str, address: Address) -> bytes:
    response = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.RESPONSE,
        transaction_id=request.transaction_id,
    )
    response.attributes["XOR-MAPPED-ADDRESS"] = (host_of(address), address[1] & 0xFFFF)
    response.add_message_integrity(password.encode("ascii"))
    return bytes(response)


def host_of(address: Address) -> str:
    """The host without its zone; an IPv4 peer of a dual-stack socket by its own address."""
    host = address[0].removeprefix(STREAM_PREFIX).partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host


def source_of(address: Address) -> str:
    """What limits per sender go by: an IPv4 address or an IPv6 /64, all of which one host has."""
    host = host_of(address)
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Network((host, 64), strict=False))


def _refusal(request: stun.Message, password: str) -> bytes:
    response = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.ERROR,
        transaction_id=request.transaction_id,
    )
    response.attributes["ERROR-CODE"] = (487, "Role Conflict")
    response.add_message_integrity(password.encode("ascii"))
    return bytes(response)
