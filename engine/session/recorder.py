"""Carries out what the parties agreed on about recording, beside the call and never in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from engine.errors import TalktimeError
from engine.recording.consent import Recorded
from engine.recording.ports import RecordingPort
from engine.session import effects as e
from engine.session import inputs as i
from engine.session.mailbox import Spawn
from engine.session.runtime import Runtime

_log = structlog.get_logger(__name__)


class Recorder:
    """`post` brings the session the news that a recording ended by itself."""

    def __init__(
        self, recordings: RecordingPort, spawn: Spawn, post: Callable[[Runtime, i.Input], None]
    ) -> None:
        self._recordings = recordings
        self._spawn = spawn
        self._post = post
        # Starts and stops of one session take their turns.
        self._turns: dict[str, asyncio.Lock] = {}
        self._wanted: set[str] = set()

    @property
    def enabled(self) -> bool:
        return self._recordings.enabled

    async def changed(self, rt: Runtime, effect: e.Effect) -> None:
        """An effect is in the store and was told; this returns at once."""
        match effect:
            case e.RecordingChanged(state=Recorded.RECORDING):
                if rt.machine.recording.state is Recorded.RECORDING:
                    self._wanted.add(rt.id)
                    turn = self._turns.setdefault(rt.id, asyncio.Lock())
                    self._spawn(self._start(rt, turn))
            case _:
                pass

    def cut(self, rt: Runtime, *, last: bool) -> None:
        """Nothing is recorded from now on; this does not wait for the store. `last`: not in this
        session any more, which may go on elsewhere.
        """
        turn = self._turns.pop(rt.id, None) if last else self._turns.get(rt.id)
        if turn is None or rt.id not in self._wanted:
            return
        self._wanted.discard(rt.id)
        self._recordings.cut(rt.id)
        self._spawn(self._stop(rt, turn))

    async def _start(self, rt: Runtime, turn: asyncio.Lock) -> None:
        async with turn:
            if rt.id not in self._wanted:
                return
            try:
                await self._recordings.start(rt.id, lambda reason: self._failed(rt, reason))
            except TalktimeError:
                self._failed(rt, "unavailable")
            except Exception:
                _log.exception("recording.failed", session=rt.id)
                self._failed(rt, "failed")

    def _failed(self, rt: Runtime, reason: str) -> None:
        self._post(rt, i.RecorderEnded(reason))

    async def _stop(self, rt: Runtime, turn: asyncio.Lock) -> None:
        async with turn:
            try:
                await self._recordings.stop(rt.id)
            except Exception:
                _log.exception("recording.not_closed", session=rt.id)
