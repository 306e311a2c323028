"""A media worker: the sessions and legs of one UDP socket.

This file keeps the tables and the life of sessions; `engine.media.mux` says which leg a datagram
belongs to, and a packet plane (`engine.media.plane`) owns the socket and moves the media.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from engine.clock import Clock, SystemClock
from engine.errors import Conflict, NotFound, Unavailable
from engine.ids import new_id
from engine.media import codecs, limits, native
from engine.media.codecs import Codec
from engine.media.interface import (
    IceCandidate,
    LegConnected,
    LegLost,
    LegStats,
    MediaEvent,
    MediaKind,
    MediaWorker,
    Role,
    Tap,
)
from engine.media.leg import Leg
from engine.media.mux import Mux
from engine.media.native import NativePlane
from engine.media.plane import Plane
from engine.media.reference import PythonPlane
from engine.media.sdp import usable_address
from engine.media.session import MediaSession

logger = logging.getLogger(__name__)


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`advertised` are the addresses that clients are told (default: the bound host); the port
    offered is the bound one unless `advertised_port` says otherwise (a NAT in front). `tcp` takes
    media over TCP as well, on the same port number.

    `host` may be "0.0.0.0" or "::" (both families): all addresses of the machine, each of which
    answers what it is asked.
    """

    host: str = "127.0.0.1"
    port: int = 0
    advertised: tuple[str, ...] = ()
    advertised_port: int = 0
    tcp: bool = True
    codecs: tuple[str, ...] = codecs.DEFAULT_CODECS
    start_bitrate_kbps: int | None = None
    max_sessions: int = limits.MAX_SESSIONS
    consent_timeout_ns: int = limits.CONSENT_TIMEOUT_NS


def _known_codecs(names: tuple[str, ...]) -> tuple[Codec, ...]:
    chosen = tuple(codecs.CODECS[name] for name in names if name in codecs.CODECS)
    video = any(codec.kind is MediaKind.VIDEO for codec in chosen)
    if len(chosen) < len(names) or codecs.OPUS not in chosen or not video:
        raise ValueError(f"codecs: opus and a video codec, all of {', '.join(codecs.CODECS)}")
    return chosen


class Worker:
    """See `MediaWorker` for the contract. Unknown ids raise `NotFound`, except where closing."""

    def __init__(self, config: WorkerConfig, clock: Clock, plane: Plane) -> None:
        self._config = config
        self._clock = clock
        self._plane = plane
        self._codecs = _known_codecs(config.codecs)
        self._hosts = tuple(filter(usable_address, config.advertised or (config.host,)))
        if not self._hosts:
            raise ValueError("no address that clients could be told: set `advertised`")
        self._sessions: dict[str, MediaSession] = {}
        self._legs: dict[str, Leg] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._handler: Callable[[MediaEvent], None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._mux = Mux(
            plane,
            clock=clock,
            consent_timeout_ns=config.consent_timeout_ns,
            on_leg=self._leg_changed,
        )

    # --- life ---

    @property
    def media(self) -> str:
        return self._plane.name

    @property
    def running(self) -> bool:
        return self.port != 0

    @property
    def port(self) -> int:
        """The bound UDP port, 0 before `start`."""
        return self._plane.port

    async def start(self) -> None:
        """Raises `Unavailable` code ``media_port``."""
        host, fixed = self._config.host, self._config.port != 0
        for left in reversed(range(limits.MAX_PORT_ATTEMPTS)):
            self._mux.open(asyncio.get_running_loop())
            if not self._config.tcp:
                return
            try:
                await self._mux.streams.open(host, self.port, reuse=fixed)
                return
            except Unavailable:
                self._plane.close()
                if fixed or not left:
                    raise

    async def stop(self) -> None:
        for session_id in list(self._sessions):
            self.close_session(session_id)
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        self._mux.streams.close()
        self._plane.close()

    def subscribe(self, handler: Callable[[MediaEvent], None]) -> None:
        self._handler = handler

    def counters(self) -> dict[str, int]:
        moved = self._plane.counters()
        return {name: n + moved.get(name, 0) for name, n in self._mux.counters.items()}

    # --- sessions ---

    def add_session(self, session_id: str, *, one_way: bool, video: bool) -> None:
        if session_id in self._sessions:
            raise Conflict("session_exists", "This session is on the worker already")
        if self.port == 0 or len(self._sessions) >= self._config.max_sessions:
            self._mux.counters["sessions_refused"] += 1
            raise Unavailable("overloaded", "The media worker takes no more sessions")
        self._sessions[session_id] = MediaSession(
            session_id,
            one_way=one_way,
            video=video,
            counters=self._mux.counters,
            emit=self._emit,
            adopt_task=self._adopt,
        )
        self._schedule_tick()

    def close_session(self, session_id: str) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            for leg in list(session.legs.values()):
                self._drop(leg)

    def open_gate(self, session_id: str) -> None:
        self._session(session_id).open_gate(self._clock.now_ns())

    def set_publishing(self, session_id: str, role: Role, *, audio: bool, video: bool) -> None:
        self._session(session_id).set_publishing(
            role, audio=audio, video=video, now_ns=self._clock.now_ns()
        )

    def set_one_way(self, session_id: str, *, one_way: bool) -> None:
        self._session(session_id).set_one_way(one_way, self._clock.now_ns())

    def set_cutoff(self, session_id: str, cutoff_at_ns: int | None) -> None:
        self._session(session_id).set_cutoff(cutoff_at_ns, self._clock.now_ns())

    def set_tap(self, session_id: str, tap: Tap | None) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            session.set_tap(tap, self._clock.now_ns())

    # --- legs ---

    def add_leg(self, session_id: str, role: Role) -> str:
        session = self._session(session_id)
        session.check_room()
        leg = Leg(self._mux, session, new_id("leg"), role, offered=self._codecs)
        session.add(leg)
        self._legs[leg.leg_id] = leg
        self._mux.register(leg)
        return leg.leg_id

    async def offer(self, leg_id: str, *, ice_restart: bool = False) -> str:
        leg = self._leg(leg_id)
        if ice_restart:
            self._mux.restart(leg)
        return leg.offer(self._candidates(), self._config.start_bitrate_kbps)

    async def answer(self, leg_id: str, sdp: str) -> None:
        leg = self._leg(leg_id)
        leg.apply_answer(sdp)
        leg.session.route(self._clock.now_ns())

    def select_leg(self, session_id: str, leg_id: str) -> None:
        session = self._session(session_id)
        leg = self._leg(leg_id)
        if leg.session is not session:
            raise NotFound("unknown_leg", "This leg belongs to another session")
        for other in session.select(leg, self._clock.now_ns()):
            self._drop(other)

    def remove_leg(self, leg_id: str) -> None:
        leg = self._legs.get(leg_id)
        if leg is not None:
            self._drop(leg)

    def leg_stats(self, leg_id: str) -> LegStats | None:
        leg = self._legs.get(leg_id)
        return leg.path.stats() if leg is not None else None

    # --- inside ---

    def _session(self, session_id: str) -> MediaSession:
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound("unknown_session", "No such session on this media worker")
        return session

    def _leg(self, leg_id: str) -> Leg:
        leg = self._legs.get(leg_id)
        if leg is None:
            raise NotFound("unknown_leg", "No such leg on this media worker")
        return leg

    def _candidates(self) -> tuple[IceCandidate, ...]:
        port = self._config.advertised_port or self.port
        transports = (False, True) if self._config.tcp else (False,)
        return tuple(IceCandidate(host, port, tcp) for tcp in transports for host in self._hosts)

    def _drop(self, leg: Leg) -> None:
        now_ns = self._clock.now_ns()
        self._legs.pop(leg.leg_id, None)
        leg.close(now_ns)
        self._mux.unregister(leg)
        leg.session.remove(leg, now_ns)

    def _adopt(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _leg_changed(self, leg: Leg, state: str) -> None:
        """From the mux: connected, consent (lost), closed or failed."""
        session = leg.session
        session.route(self._clock.now_ns())
        if state == "connected":
            self._emit(LegConnected(session.session_id, leg.leg_id, leg.role))
        else:
            self._emit(LegLost(session.session_id, leg.leg_id, leg.role, state))

    def _emit(self, event: MediaEvent) -> None:
        if self._handler is None:
            return
        try:
            self._handler(event)
        except Exception:
            # A fault of the subscriber must not stop the relaying of other calls.
            self._mux.counters["internal_errors"] += 1
            logger.exception("the subscriber to media events failed")

    def _schedule_tick(self) -> None:
        if self._ticker is None:
            self._ticker = asyncio.get_running_loop().call_later(limits.CONSENT_CHECK_S, self._tick)

    def _tick(self) -> None:
        self._ticker = None
        now_ns = self._clock.now_ns()
        for session in list(self._sessions.values()):
            for leg in list(session.legs.values()):
                self._mux.check_consent(leg, now_ns)
        if self._sessions:
            self._schedule_tick()


class PythonWorker(Worker):
    """The reference: packets move on the event loop."""

    def __init__(self, config: WorkerConfig, clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        super().__init__(config, clock, PythonPlane(config.host, config.port, clock))


class NativeWorker(Worker):
    """The compiled twin: packets move in a thread of their own."""

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(config, SystemClock(), NativePlane(config.host, config.port))


def new_worker(config: WorkerConfig, media: str = "auto") -> Worker:
    """A worker of the kind ``native`` or ``python``; ``auto``: native if it was built.

    Raises `Unavailable` code ``media_not_built`` where native is asked for and was not built.
    """
    if media == "native" and not native.AVAILABLE:
        message = "The native media worker was not built: a C compiler was missing, or Linux"
        raise Unavailable("media_not_built", message)
    if media != "python" and native.AVAILABLE:
        return NativeWorker(config)
    return PythonWorker(config)


if TYPE_CHECKING:
    # The type checker's word that the worker keeps the contract.
    _IMPLEMENTATION: type[MediaWorker] = Worker
