"""The compiled packet plane: the twin of `engine.media.reference`, in a thread of its own.

The C sources beside this file follow the Python ones function by function (plane.h says which). The
thread drains and fills the socket in batches, without the interpreter's lock, and does everything
to a packet that the reference does. Python hears of the rest through an eventfd: STUN and DTLS in
batches, and the rare events of `PathEvents`.

SRTP is done by the very libsrtp that pylibsrtp ships: its functions are handed over by address, so
nothing has to be installed to build or to run. `AVAILABLE` is False where the extension was not
built, or where pylibsrtp is not the one this was written for.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from engine.media import codecs, ice, srtp
from engine.media.debt import NOTHING_OWED, Owed
from engine.media.ice import Address
from engine.media.interface import LegStats, MediaKind
from engine.media.plane import (
    Path,
    PathEvents,
    PathSpec,
    PathTap,
    Plane,
    PlaneEvents,
    StreamSpec,
)
from engine.media.sockets import open_socket

if TYPE_CHECKING:
    from pylibsrtp import Session

_plane: Any = None
with contextlib.suppress(ImportError):  # not built
    _plane = importlib.import_module("engine.media.native._plane")

AVAILABLE: Final = _plane is not None and srtp.FUNCTION_ADDRESSES is not None

_KINDS = (MediaKind.AUDIO, MediaKind.VIDEO)
# As `codec_t` in rtp.h.
_CODEC_NUMBERS = {"opus": 1, "red": 1, "vp8": 2, "h264": 3, "vp9": 4, "av1": 5}
# Handled before the event loop may run something else; what is left comes right after.
_SIGNALS_PER_WAKEUP = 64
_TAPS_PER_WAKEUP = 512
# The C side counts in 63 bits.
_NEVER_NS = (1 << 62) - 1


def _payload_table() -> bytes:
    """Four bytes per payload type: codec, video, repair, the matching repair or main type."""
    table = bytearray(4 * 128)
    for codec in codecs.CODECS.values():
        number, video = _CODEC_NUMBERS[codec.name], codec.kind is MediaKind.VIDEO
        pairs = [(codec.payload_type, False, codec.rtx_payload_type or 0)]
        if codec.rtx_payload_type is not None:
            pairs.append((codec.rtx_payload_type, True, codec.payload_type))
        for payload_type, repair, other in pairs:
            table[4 * payload_type : 4 * payload_type + 4] = bytes([number, video, repair, other])
    return bytes(table)


def _mask(types: frozenset[int]) -> tuple[int, int]:
    """128 bits, the low half first."""
    bits = sum(1 << payload_type for payload_type in types)
    return bits & (1 << 64) - 1, bits >> 64


class NativePath:
    """See `engine.media.plane.Path` for the contract."""

    def __init__(self, core: Any, events: PathEvents) -> None:
        self.core = core
        self.events = events
        self.closed = False
        self.tap: PathTap | None = None

    def negotiate(
        self,
        kind: MediaKind,
        payload_types: frozenset[int],
        rtx_payload_types: frozenset[int],
        rtx_pairs: Mapping[int, int],
    ) -> None:
        masks = (*_mask(payload_types), *_mask(rtx_payload_types))
        self.core.negotiate(_KINDS.index(kind), *masks, tuple(rtx_pairs.items()))

    def secure(self, rx: Session, tx: Session) -> None:
        self.core.secure(srtp.context_address(rx), srtp.context_address(tx), (rx, tx))

    def set_address(self, address: Address | None) -> None:
        self.core.set_address(address)

    def set_live(self, live: bool) -> None:
        self.core.set_live(live)

    def link(
        self,
        publisher: Path | None,
        permitted: Mapping[MediaKind, bool],
        limit_ns: int,
        now_ns: int,
    ) -> None:
        assert publisher is None or isinstance(publisher, NativePath)
        self.core.link(
            publisher.core if publisher is not None else None,
            *(permitted.get(kind, False) for kind in _KINDS),
            min(limit_ns, _NEVER_NS),
            now_ns,
        )

    def watch(
        self,
        ack_timeout_ns: int,
        pause_after_ns: int,
        *,
        seek_first_frame: bool,
        owed: Owed = NOTHING_OWED,
    ) -> None:
        self.core.watch(
            ack_timeout_ns, pause_after_ns, seek_first_frame, msgspec.structs.astuple(owed)
        )

    def be_patient(self, ack_timeout_ns: int, pause_after_ns: int, now_ns: int) -> None:
        self.core.be_patient(ack_timeout_ns, pause_after_ns, now_ns)

    def unwatch(self) -> None:
        self.core.unwatch()

    def owed(self) -> Owed:
        return Owed(*self.core.owed())

    def last_in_ns(self, kind: MediaKind) -> int:
        last_ns: int = self.core.last_in_ns(_KINDS.index(kind))
        return last_ns

    def set_tap(self, tap: PathTap | None, now_ns: int) -> None:
        self.tap = tap
        self.core.set_tapped(tap is not None, now_ns)

    def stats(self) -> LegStats:
        counts, jitter_in_ms, jitter_out_ms, rtt_ns, freezes, frozen_ms = self.core.stats()
        figures: tuple[Any, ...] = (
            *counts,
            jitter_in_ms if jitter_in_ms >= 0 else None,
            jitter_out_ms if jitter_out_ms >= 0 else None,
            rtt_ns / 1e6 if rtt_ns >= 0 else None,
            freezes,
            frozen_ms,
        )
        return LegStats(*figures)

    def close(self, now_ns: int) -> None:
        self.closed = True
        self.tap = None
        self.core.close(now_ns)

    def news(
        self,
        first_frame: tuple[int, int, int] | None,
        resumed_ns: int,
        delivered_ns: int,
        withheld: bool,
    ) -> None:
        """What the packet thread found out."""
        if self.closed:
            return
        if first_frame is not None:
            kind, sent_at_ns, acked_at_ns = first_frame
            self.events.first_frame(_KINDS[kind], sent_at_ns, acked_at_ns)
        for at_ns in (resumed_ns, delivered_ns):
            if at_ns:
                self.events.delivered(at_ns)
        if withheld:
            self.events.acks_withheld()


class NativePlane:
    """See `engine.media.plane.Plane` for the contract. Raises `RuntimeError` unless `AVAILABLE`."""

    name = "native"

    def __init__(self, host: str, port: int) -> None:
        if not AVAILABLE:
            raise RuntimeError("the native media plane was not built")
        self.core = _plane.Plane(_payload_table(), srtp.FUNCTION_ADDRESSES)
        self.port = 0
        self._host = host
        self._wanted_port = port
        self._paths: dict[int, NativePath] = {}
        self._next_id = 0
        self._socket: socket.socket | None = None
        self._wake_fd = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events: PlaneEvents | None = None

    # --- life ---

    def open(self, loop: asyncio.AbstractEventLoop, events: PlaneEvents) -> None:
        if self._socket is not None:
            return
        sock = open_socket(self._host, self._wanted_port)
        self._socket, self._loop, self._events = sock, loop, events
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.port = sock.getsockname()[1]
        loop.add_reader(self._wake_fd, self._on_wake)
        self.core.start(sock.fileno(), self._wake_fd)

    def close(self) -> None:
        if self._socket is None or self._loop is None:
            return
        self.core.stop()
        self._loop.remove_reader(self._wake_fd)
        os.close(self._wake_fd)
        self._socket.close()
        self._socket = None
        self.port = 0

    def counters(self) -> dict[str, int]:
        counts: dict[str, int] = self.core.counters()
        return counts

    # --- tables ---

    def new_path(self, spec: PathSpec, events: PathEvents) -> NativePath:
        self._next_id += 1
        streams = (_stream(spec.streams.get(kind)) for kind in _KINDS)
        types = {c.payload_type for c in spec.codecs}
        types |= {c.rtx_payload_type for c in spec.codecs if c.rtx_payload_type is not None}
        core = self.core.new_path(self._next_id, *streams, *_mask(frozenset(types)))
        path = self._paths[self._next_id] = NativePath(core, events)
        self._forget_closed()
        return path

    def _forget_closed(self) -> None:
        for number in [n for n, path in self._paths.items() if path.closed]:
            del self._paths[number]

    def claim(self, address: Address, path: Path) -> None:
        assert isinstance(path, NativePath)
        self.core.claim(address, path.core)

    def release(self, address: Address) -> None:
        self.core.release(address)

    def add_ufrag(self, ufrag: str) -> None:
        self.core.add_ufrag(ufrag)

    def remove_ufrag(self, ufrag: str) -> None:
        self.core.remove_ufrag(ufrag)

    def send(self, datagram: bytes, address: Address) -> bool:
        if self._socket is None:
            return False
        if address[0].startswith(ice.STREAM_PREFIX):
            return self._events is not None and self._events.send_stream(datagram, address)
        return bool(self.core.send(datagram, address))

    def inject(self, datagram: bytes, address: Address) -> None:
        self.core.feed(datagram, address, time.monotonic_ns())
        # STUN and DTLS that it was, or what is to leave over TCP, need not wait for the thread.
        self.deliver(_SIGNALS_PER_WAKEUP)

    # --- what the packet thread has for Python ---

    def _on_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)
        if self.deliver(_SIGNALS_PER_WAKEUP) and self._socket is not None:
            os.eventfd_write(self._wake_fd, 1)

    def deliver(self, most: int) -> bool:
        """Hand on what has happened, `most` datagrams at a time; whether there may be more."""
        signals = self.core.take_signals(most)
        for datagram, address, outgoing in signals:
            if self._events is None:
                continue
            if outgoing:
                self._events.send_stream(datagram, address)
            else:
                self._events.signal(datagram, address)
        taps = self.core.take_taps(_TAPS_PER_WAKEUP)
        for number, kind, packet, at_ns in taps:
            path = self._paths.get(number)
            if path is not None and path.tap is not None:
                path.tap(_KINDS[kind], packet, at_ns)
        for number, *news in self.core.take_news():
            path = self._paths.get(number)
            if path is not None:
                path.news(*news)
        return len(signals) == most or len(taps) == _TAPS_PER_WAKEUP


def _stream(spec: StreamSpec | None) -> tuple[int, int, int, int, int] | None:
    if spec is None:
        return None
    return (
        spec.ssrc,
        -1 if spec.rtx_ssrc is None else spec.rtx_ssrc,
        spec.first_sequence,
        spec.first_timestamp,
        spec.first_rtx_sequence,
    )


if TYPE_CHECKING:
    # The type checker's word that the plane keeps the contract.
    _IMPLEMENTATION: type[Plane] = NativePlane
