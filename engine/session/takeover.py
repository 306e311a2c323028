"""Going on with sessions whose engine died: this node's own after a restart, others' once they are
stale.

An answered session is taken up *suspended*: claimed, at hand for `session.join`, its clock standing
at the last evidence of service, its media empty until both parties bring new legs. Its machine ends
it when they do not come back in time. What cannot be gone on with (it rang, its last sign of life
is too old, there is no room for its media) is settled at once.

A session whose data make this fail is quarantined; the others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import sqlalchemy as sa
import structlog

from engine.clock import Clock
from engine.errors import Conflict, TalktimeError, Unavailable
from engine.media.interface import MediaWorker, Role
from engine.metering import signals as s
from engine.metering.funds import Fund
from engine.metering.meter import Meter
from engine.session.abandoned import Abandoned, Claimed, Found
from engine.session.conductor import Conductor
from engine.session.eventlog import PartyLog
from engine.session.machine import SessionMachine
from engine.session.ports import SessionSettings
from engine.session.recovery import Recovered, Recovery
from engine.session.registry import Registry
from engine.session.runtime import Instants, Runtime
from engine.session.states import State
from engine.store import tables as t
from engine.store.database import Store

_log = structlog.get_logger(__name__)

_CLAIMED_AT_ONCE: Final = 500
_Look = Callable[[set[str]], Awaitable[list[Found]]]
"""Finds what may be taken over, these sessions apart."""
_Still = Callable[[Sequence[Found]], sa.ColumnElement[bool]]
"""What must hold of them at the moment of the claim."""
ATTEMPTS_PER_RUN: Final = 1_000_000
"""Keys of holds carry the attempt: each run counts from beyond those of the runs before it."""


class Takeover:
    """One at a time: at the start and from the heartbeat."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        media: MediaWorker,
        abandoned: Abandoned,
        recovery: Recovery,
        conductor: Conductor,
        registry: Registry,
        settings: SessionSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._media = media
        self._abandoned = abandoned
        self._recovery = recovery
        self._conductor = conductor
        self._registry = registry
        self._settings = settings

    @property
    def counters(self) -> Counter[str]:
        return self._conductor.counters

    async def own(self) -> list[Runtime]:
        """Everything that an earlier run of this node left behind. Raises store_unavailable."""
        return await self._take_over(
            self._abandoned.of_earlier_run, lambda _: self._abandoned.owned()
        )

    async def stale(self) -> list[Runtime]:
        """What any node left behind. Raises store_unavailable."""
        return await self._take_over(self._abandoned.stale, self._abandoned.unmoved)

    def lose_sight(self) -> None:
        """The store was out of reach: see `Abandoned.lose_sight`."""
        self._abandoned.lose_sight()

    async def retry(self, session_id: str) -> Recovered:
        """Settle a quarantined session, at the wish of staff.

        Raises `Conflict` not_quarantined, still_quarantined; `Unavailable`.
        """
        waits = t.sessions.c.quarantined_at_ms.is_not(None)
        try:
            settled = await self._recovery.settle(session_id, waits)
        except Unavailable:
            raise
        except Exception as error:
            await self._recovery.quarantine(session_id, error, waits)
            raise Conflict("still_quarantined", "It still cannot be settled.") from error
        if settled is None:
            raise Conflict("not_quarantined", "This session is not in quarantine.")
        self._count(settled)
        return settled

    async def _take_over(self, look: _Look, still: _Still) -> list[Runtime]:
        tried: set[str] = set()
        taken: list[Runtime] = []
        while True:
            running = {rt.id for rt in self._registry}
            found = await look(running | tried)
            if not found:
                return taken
            tried |= {one.session_id for one in found}
            resumable = [one for one in found if one.resumable]
            for first in range(0, len(resumable), _CLAIMED_AT_ONCE):
                taken += await self._resume(resumable[first : first + _CLAIMED_AT_ONCE], still)
            for one in found:
                if not one.resumable:
                    await self._settle(one.session_id, still([one]))

    async def _settle(self, session_id: str, where: sa.ColumnElement[bool]) -> None:
        try:
            settled = await self._recovery.settle(session_id, where)
        except Unavailable:
            raise
        except Exception as error:
            await self._quarantine(session_id, error, where)
            return
        if settled is not None:
            self._count(settled)

    async def _resume(self, found: Sequence[Found], still: _Still) -> list[Runtime]:
        ids = [one.session_id for one in found]
        try:
            async with self._store.transaction() as tx:
                claimed = await self._abandoned.claim(tx, ids, still(found))
        except Unavailable:
            raise
        except Exception as error:
            if len(ids) == 1:
                await self._quarantine(ids[0], error, still(found))
                return []
            # One of them is to blame: nothing was claimed yet.
            return [rt for one in found for rt in await self._resume([one], still)]
        return [rt for one in claimed if (rt := await self._taken_up(one)) is not None]

    async def _taken_up(self, one: Claimed) -> Runtime | None:
        mine = self._recovery.run(one.row.epoch)
        try:
            return self._take_up(one)
        except TalktimeError as refusal:
            _log.warning("session.not_resumed", session=one.row.id, code=refusal.code)
            await self._settle(one.row.id, mine)
        except Exception as error:
            self._media.close_session(one.row.id)
            await self._quarantine(one.row.id, error, mine)
        return None

    # One session ----------------------------------------------------------------------------------

    def _take_up(self, one: Claimed) -> Runtime:
        """Raises `Unavailable` overloaded: no room for its media."""
        row, grant = one.row, one.grant
        now_ns, state = self._clock.now_ns(), State(row.state)
        machine = SessionMachine(
            grant.tariff,
            grant.policy,
            mode=row.mode,
            one_way=row.direction == "one_way",
            now_ns=now_ns,
        )
        effects = machine.take_up(
            state,
            self._meter(one, now_ns),
            counted_messages=one.counted_messages,
            recorded=one.recorded,
            now_ns=now_ns,
        )
        if not machine.text:
            self._add_media(machine, row.id)
        rt = Runtime(
            id=row.id,
            grant=grant,
            machine=machine,
            mailbox=self._conductor.mailbox(row.id, row.epoch),
            logs={role: PartyLog(self._settings.events_kept, row.epoch) for role in Role},
            instants=Instants(
                row.rung_at_ms, row.answered_at_ms, row.started_at_ms, row.metered_at_ms
            ),
            epoch=row.epoch,
            evidence_seq=one.evidence_seq,
        )
        self._registry.add(rt)
        self._conductor.take_up(rt, effects, now_ns)
        self.counters["resumable"] += 1
        return rt

    def _meter(self, one: Claimed, now_ns: int) -> Meter:
        row, grant = one.row, one.grant
        sharers = self._registry.sharers(grant.customer_id, grant.tariff.currency) + 1
        meter = Meter(
            grant.tariff,
            grant.policy,
            text=row.mode == "text",
            ordinal=row.ordinal or grant.metered_sessions + 1,
            holds=tuple(Fund(hold.hold_id, hold.left_minor) for hold in one.holds),
            wallet=s.Wallet(one.available_minor, sharers),
            attempts_before=(row.epoch - 1) * ATTEMPTS_PER_RUN,
        )
        if row.ordinal is not None:
            meter.take_up(s.Served(row.served_ns, row.blocks, row.captured_minor), now_ns)
        return meter

    def _add_media(self, machine: SessionMachine, session_id: str) -> None:
        video = machine.mode == "video"
        self._media.add_session(session_id, one_way=machine.one_way, video=video)
        if machine.state is State.IN_PROGRESS:
            self._media.open_gate(session_id)

    # Books ----------------------------------------------------------------------------------------

    async def _quarantine(
        self, session_id: str, error: Exception, where: sa.ColumnElement[bool]
    ) -> None:
        self.counters["quarantined"] += 1
        await self._recovery.quarantine(session_id, error, where)

    def _count(self, settled: Recovered) -> None:
        reason = settled.ended.reason
        _log.info("session.recovered", session=settled.session_id, reason=reason)
        self.counters[f"ended_{reason}"] += 1
