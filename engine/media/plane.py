"""The packet plane: the socket of a worker and everything that happens to a packet on its way.

Python decides who may talk to whom; a *plane* carries it out. There are two: the reference in
Python (`engine.media.reference`) and its compiled twin (`engine.media.native`), which runs in a
thread of its own without the interpreter's lock. Both keep this contract and the same tests, and
send the same bytes.

A plane knows *paths*: one per leg, with the SRTP keys of its two directions, the streams that come
in and the streams that go out. `Path.link` says whose media a path is sent. STUN and DTLS are none
of a plane's business: it hands them to `PlaneEvents.signal`.

All methods are called on the event loop's thread, never block it for longer than a batch of packets
takes, and may be called at any moment, in any order, also after `close`. Events arrive on the same
thread, never from within a call of the other side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from engine.media.codecs import Codec
from engine.media.debt import NOTHING_OWED, Owed
from engine.media.ice import Address
from engine.media.interface import LegStats, MediaKind


class StreamSpec(msgspec.Struct, frozen=True):
    """One stream that the engine sends. The numbers are where its sequences and timestamps begin:
    chosen at random by the caller (RFC 3550 section 5.1), so that a plane decides nothing itself.

    Sequences begin in the lower half, so that the receiver's first rollover is far away
    (RFC 3711 section 3.3.1). `rtx_ssrc` is None where nothing is retransmitted.
    """

    ssrc: int
    rtx_ssrc: int | None
    first_sequence: int
    first_timestamp: int
    first_rtx_sequence: int


class PathSpec(msgspec.Struct, frozen=True):
    """What a path sends, by kind, audio first, and the codecs that its peer was offered."""

    streams: Mapping[MediaKind, StreamSpec]
    codecs: tuple[Codec, ...]


PathTap = Callable[[MediaKind, bytes, int], None]
"""Takes a copy of each plain RTP packet that a path sent, and the instant."""


class PathEvents(Protocol):
    """What a path reports of the media sent to its peer, only while `Path.watch` is on."""

    def first_frame(self, kind: MediaKind, sent_at_ns: int, acked_at_ns: int) -> None:
        """The first complete frame that the peer can decode was acknowledged; once a watch."""
        ...

    def delivered(self, last_acked_at_ns: int) -> None:
        """The send instant of the newest packet known to have arrived; at most once a second. After
        a silence that of the first one, too, right before.
        """
        ...

    def acks_withheld(self) -> None:
        """Nothing was acknowledged for the watch's timeout, so nothing is forwarded any more."""
        ...


class Path(Protocol):
    """One leg's packets, both ways."""

    def negotiate(
        self,
        kind: MediaKind,
        payload_types: frozenset[int],
        rtx_payload_types: frozenset[int],
        rtx_pairs: Mapping[int, int],
    ) -> None:
        """What the peer takes of one kind. `rtx_pairs`: its repair SSRCs and what they repair."""
        ...

    def secure(self, rx: Any, tx: Any) -> None:
        """The `pylibsrtp.Session` of each direction; the path has them to itself from now on."""
        ...

    def set_address(self, address: Address | None) -> None:
        """Where to send; None for nowhere yet."""
        ...

    def set_live(self, live: bool) -> None:
        """Whether the peer consents to be sent anything (RFC 7675)."""
        ...

    def link(
        self,
        publisher: Path | None,
        permitted: Mapping[MediaKind, bool],
        limit_ns: int,
        now_ns: int,
    ) -> None:
        """Forward from now on what `publisher` sends of the permitted kinds, until `limit_ns`.

        Idempotent. A path has at most one publisher and is the publisher of at most one path: a
        newer link takes an older one's place.
        """
        ...

    def watch(
        self,
        ack_timeout_ns: int,
        pause_after_ns: int,
        *,
        seek_first_frame: bool,
        owed: Owed = NOTHING_OWED,
    ) -> None:
        """Report from now on what the peer acknowledges; starts anew when called again.

        `pause_after_ns`: how long a gap between two reports of delivery is not billed. `owed`: what
        the customer's former path says of it.
        """
        ...

    def be_patient(self, ack_timeout_ns: int, pause_after_ns: int, now_ns: int) -> None:
        """Go on watching with other times. If they are longer, the last delivery is reported again,
        with the next tick and not from within this call, so that the session layer hears of it.
        """
        ...

    def unwatch(self) -> None: ...

    def owed(self) -> Owed:
        """What the peer was sent and not billed for, also after the watch, and after `close`."""
        ...

    def last_in_ns(self, kind: MediaKind) -> int:
        """When the newest packet of the peer's present stream of this kind came; 0 for none."""
        ...

    def set_tap(self, tap: PathTap | None, now_ns: int) -> None:
        """Copy from now on every packet that leaves for the peer, retransmissions excepted, and the
        sender reports of its streams. A keyframe is asked for, so that the copy can be decoded from
        its beginning.
        """
        ...

    def stats(self) -> LegStats: ...

    def close(self, now_ns: int) -> None:
        """Send and take nothing any more; links to and from this path end."""
        ...


class PlaneEvents(Protocol):
    """What a plane hands up: datagrams that are no media, and those that leave over TCP."""

    def signal(self, datagram: bytes, address: Address) -> None:
        """A STUN request that names a registered ufrag, or a DTLS record from a claimed address."""
        ...

    def send_stream(self, datagram: bytes | memoryview, address: Address) -> bool:
        """What is to leave to an address of `ice.STREAM_PREFIX`; False if its connection is gone
        or too far behind. The bytes are the plane's again afterwards.
        """
        ...


class Plane(Protocol):
    """One UDP socket with its table of addresses and its paths."""

    @property
    def name(self) -> str:
        """``python`` or ``native``, for people."""
        ...

    @property
    def port(self) -> int:
        """The bound UDP port, 0 while closed."""
        ...

    def open(self, loop: asyncio.AbstractEventLoop, events: PlaneEvents) -> None:
        """Bind and begin. Raises `Unavailable` code ``media_port``."""
        ...

    def close(self) -> None: ...

    def new_path(self, spec: PathSpec, events: PathEvents) -> Path: ...

    def claim(self, address: Address, path: Path) -> None:
        """Datagrams from `address` belong to `path` from now on."""
        ...

    def release(self, address: Address) -> None: ...

    def add_ufrag(self, ufrag: str) -> None:
        """Requests that name this local ufrag are worth looking at."""
        ...

    def remove_ufrag(self, ufrag: str) -> None: ...

    def send(self, datagram: bytes, address: Address) -> bool: ...

    def inject(self, datagram: bytes, address: Address) -> None:
        """A datagram of at most `limits.MAX_DATAGRAM_BYTES` that came over TCP."""
        ...

    def counters(self) -> dict[str, int]:
        """Those of `engine.media.counters.NAMES` that a plane counts."""
        ...
