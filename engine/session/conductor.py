"""Carries out what machines want: store first, then media and telling; and the other way round
when money or a party leaves no time.

An event is either a *command*, which may be refused, or a *fact*, which may not.

*   A command is tried on the machine and written; if that fails the machine is put back as it was
    and the caller hears why. Only then is anything done or told.
*   A fact changes the machine for good: time passes whether or not the store answers. What it means
    for media (a cut, the end) is done at once; what it means for the store is written as soon as
    the store answers, in order and under the same keys, and told after that.

So with the store out of reach a session serves what is paid for, ends there, and settles later.
"""

from __future__ import annotations

import asyncio
import copy
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import sqlalchemy as sa
import structlog

from engine.clock import NS_PER_MS, NS_PER_S
from engine.errors import Conflict, TalktimeError, Unavailable
from engine.media.interface import MediaWorker, Role
from engine.metering import signals as s
from engine.metering.deadlines import DeadlineQueue
from engine.recording.consent import Recorded
from engine.session import effects as e
from engine.session import inputs as i
from engine.session import records
from engine.session.journal import Answer, Journal, LostOwnership
from engine.session.mailbox import Mailbox
from engine.session.ports import SessionSettings
from engine.session.pulse import PulseClock, Stall
from engine.session.quality import summaries
from engine.session.recovery import Recovery
from engine.session.registry import Registry
from engine.session.runtime import Entry, Runtime
from engine.session.states import State
from engine.session.telling import Teller
from engine.session.turns import WriteTurns
from engine.store.database import Tx

_log = structlog.get_logger(__name__)


_WRITES_AT_ONCE: Final = 32
"""Facts that are written together; of thousands that come at one instant the others wait."""


class NotWritten(Exception):
    """The store or the ledger refused what happened in a session: a defect."""


class Conductor:
    """One for all sessions of a node. Everything but `post` runs in the session's mailbox."""

    def __init__(
        self,
        *,
        clock: PulseClock,
        media: MediaWorker,
        journal: Journal,
        recovery: Recovery,
        teller: Teller,
        registry: Registry,
        settings: SessionSettings,
    ) -> None:
        self._clock = clock
        clock.on_stall = self._on_stall
        self._media = media
        self._journal = journal
        self._recovery = recovery
        self._teller = teller
        self._registry = registry
        self._settings = settings
        self.deadlines = DeadlineQueue(clock, self._on_deadline)
        self._turns = WriteTurns(_WRITES_AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()
        self.counters: Counter[str] = Counter()
        self.on_change: Callable[[Runtime, e.Effect], Awaitable[None]] | None = None
        """Called after an effect is written and told."""
        self.on_cut: Callable[[Runtime, bool], None] | None = None
        """Called at once when nothing may be recorded any more; True: in all of the session."""

    # Entrances ------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def mailbox(self, session_id: str, epoch: int = 1) -> Mailbox:
        """For one run of a session. It names the run and does not refer to it: what refers to
        itself is not freed with its last use, but waits for a look that stops all sessions.
        """
        return Mailbox(self.spawn, functools.partial(self._fault_of, session_id, epoch))

    def post(self, rt: Runtime, event: i.Input) -> None:
        """A fact, stamped now."""
        now_ns = self._clock.now_ns()
        rt.mailbox.post(lambda: self.fact(rt, event, now_ns), now_ns)

    def _on_deadline(self, session_id: str) -> None:
        rt = self._registry.running(session_id)
        if rt is not None:
            rt.mailbox.post(lambda: self._tick(rt), self._clock.now_ns())

    def _on_stall(self, stall: Stall) -> None:
        self.counters["stalls"] += 1
        _log.warning("session.stood_still", seconds=(stall.until_ns - stall.since_ns) / NS_PER_S)
        for rt in self._registry:
            if not rt.media:
                rt.stalls.append(stall)
                self._on_deadline(rt.id)

    async def _tick(self, rt: Runtime) -> None:
        await self.fact(rt, i.Tick(), rt.known_until_ns(self._clock.now_ns()))

    # Facts and commands ---------------------------------------------------------------------------

    async def open(self, rt: Runtime, now_ns: int) -> None:
        """A session's first ring. Raises `Unavailable`; then it never was."""
        effects = rt.machine.open()
        await self._write_command(rt, effects, now_ns)
        await self._written(rt, [])
        self._watch(rt)

    def take_up(self, rt: Runtime, effects: list[e.Effect], now_ns: int) -> None:
        """A session of a dead run goes on here, beginning with these effects."""
        self._take(rt, effects, now_ns)
        if any(entry.durable for entry in rt.pending):
            rt.mailbox.post(lambda: self._settle_job(rt), now_ns)
        else:
            rt.pending.clear()
            self._watch(rt)

    async def fact(self, rt: Runtime, event: i.Input, now_ns: int) -> None:
        """Apply what cannot be refused. Returns whether or not the store could be reached."""
        if not self.serves(rt):
            return  # lost while it waited in the mailbox
        self._catch_up(rt, now_ns)
        self._take(rt, rt.machine.handle(event, now_ns), now_ns)
        await self.settle(rt)

    async def command(self, rt: Runtime, event: i.Input, now_ns: int) -> None:
        """Apply what may be refused: done, written and told, or raised and nothing changed.

        Raises `Unavailable`, and `Conflict` of the machine or of the store.
        """
        if not self.serves(rt) and not rt.released:
            raise Conflict("session_ended", "The session has ended.")
        self._catch_up(rt, now_ns)
        if rt.pending and not await self.settle(rt):
            raise Unavailable("store_unavailable", "The store cannot be reached; try again.")
        before = _Before(rt)
        effects = rt.machine.handle(event, now_ns)
        try:
            answers = await self._write_command(rt, effects, now_ns)
        except BaseException:
            before.restore(rt)
            self._watch(rt)
            raise
        self._do(rt, effects)
        await self._written(rt, answers)
        await self.settle(rt)

    def _catch_up(self, rt: Runtime, now_ns: int) -> None:
        """What fell due before now; where this process stood still the clock of a chat did, too."""
        while rt.stalls and rt.stalls[0].until_ns <= now_ns:
            stall = rt.stalls.popleft()
            self._take(rt, rt.machine.stood_still(*stall), stall.until_ns)
        self._take(rt, rt.machine.catch_up(now_ns), now_ns)

    async def _written(self, rt: Runtime, answers: list[Answer]) -> None:
        """All that is pending is in the store. What the ledger answered comes before media and
        telling, so that nothing is opened that nobody pays for.
        """
        entries = list(rt.pending)
        rt.pending.clear()
        self._hear(rt, answers)
        await self._told(rt, entries)

    async def _write_command(
        self, rt: Runtime, effects: list[e.Effect], now_ns: int
    ) -> list[Answer]:
        self._stage(rt, effects, now_ns)
        durable = [entry for entry in rt.pending if entry.durable]
        if not durable:
            return []
        try:
            answers = await self._journal.write(rt, durable)
        except sa.exc.IntegrityError as error:
            if not any(isinstance(effect, e.Answered) for effect in effects):
                raise
            raise Conflict("expert_busy", "The expert is in another session.") from error
        except Unavailable:
            rt.unsure = True
            raise
        except LostOwnership as error:
            self._abandon(rt)
            raise Conflict("session_ended", "The session has ended.") from error
        rt.unsure = False
        return answers

    async def settle(self, rt: Runtime) -> bool:
        """Write what the store does not have yet, and tell it; whether all of it was written."""
        if not self.serves(rt):
            rt.pending.clear()
            return rt.released
        while rt.pending:
            durable = [entry for entry in rt.pending if entry.durable]
            try:
                answers = await self._write_in_turn(rt, durable) if durable else []
            except Unavailable:
                self._retry_later(rt)
                return False
            except LostOwnership:
                self._abandon(rt)
                return False
            except TalktimeError as refusal:
                # Not a refusal to whoever asked: what has happened cannot be refused.
                raise NotWritten(rt.id) from refusal
            rt.unsure, rt.retry_at_ns = False, None
            await self._written(rt, answers)
        self._watch(rt)
        return True

    async def _write_in_turn(self, rt: Runtime, durable: list[Entry]) -> list[Answer]:
        async with self._turns.turn(urgent=rt.machine.ended is None):
            return await self._journal.write(rt, durable)

    def _hear(self, rt: Runtime, answers: list[Answer]) -> None:
        """What the ledger answered is an event like any other."""
        for answer in answers:
            now_ns = rt.known_until_ns(self._clock.now_ns())
            self._catch_up(rt, now_ns)
            self._take(rt, rt.machine.handle(answer, now_ns), now_ns)

    # Effects --------------------------------------------------------------------------------------

    def _take(self, rt: Runtime, effects: list[e.Effect], now_ns: int) -> None:
        self._do(rt, effects)
        self._stage(rt, effects, now_ns)

    def _do(self, rt: Runtime, effects: list[e.Effect]) -> None:
        """What must not wait for the store."""
        for effect in effects:
            match effect:
                case s.CutoffMoved(at_ns=at_ns):
                    rt.cutoff_ns = at_ns
                    if rt.media:
                        self._media.set_cutoff(rt.id, at_ns)
                case e.RecordingChanged(state=state) if state != Recorded.RECORDING:
                    self._cut_recording(rt, last=False)
                case e.Ended():
                    rt.instants.ended_ms = self._wall_ms(effect.at_ns)
                    self._close_media(rt)
                case _:
                    pass

    def _stage(self, rt: Runtime, effects: list[e.Effect], now_ns: int) -> None:
        for effect in effects:
            if isinstance(effect, e.Ended):
                measured = summaries(rt.quality)
                if measured is not None:
                    self._stage_one(rt, e.Measured(measured), effect.at_ns)
            self._stage_one(rt, effect, _instant(effect, now_ns))

    def _stage_one(self, rt: Runtime, effect: e.Effect, at_ns: int) -> None:
        at_ms = self._wall_ms(at_ns)
        _note(rt, effect, at_ms)
        full = rt.evidence_seq >= self._settings.evidence_kept
        durable = records.durable(effect) and not (full and records.droppable(effect))
        rt.evidence_seq += durable
        rt.pending.append(Entry(rt.evidence_seq, effect, durable, at_ns, at_ms))

    def _wall_ms(self, at_ns: int) -> int:
        return self._clock.wall_ms() - (self._clock.now_ns() - at_ns) // NS_PER_MS

    async def _told(self, rt: Runtime, entries: list[Entry]) -> None:
        for entry in entries:
            self._after(rt, entry.effect)
            await self._teller.tell(rt, entry.effect)
            if isinstance(entry.effect, e.Ended):
                for log in rt.logs.values():
                    log.trim(self._settings.events_of_ended)
            try:
                if self.on_change is not None:
                    await self.on_change(rt, entry.effect)
            except Exception:
                # Around the session, not in it: no reason to end a call.
                _log.exception("session.surroundings_failed", session=rt.id)

    def _after(self, rt: Runtime, effect: e.Effect) -> None:
        """What waits for the store."""
        match effect:
            case e.Began() if rt.media and rt.state is State.IN_PROGRESS:
                self._media.open_gate(rt.id)
            case e.Turned(one_way=one_way) if rt.media and rt.state is not State.ENDED:
                self._media.set_one_way(rt.id, one_way=one_way)
            case s.Capture(blocks=blocks):
                self.counters["blocks_charged"] += blocks
            case e.Ended(reason=reason):
                self.counters[f"ended_{reason}"] += 1
                self._release(rt)
            case _:
                pass

    def _release(self, rt: Runtime) -> None:
        rt.released = True
        self.deadlines.set(rt.id, None)
        self._registry.retire(rt)

    def _cut_recording(self, rt: Runtime, *, last: bool) -> None:
        if self.on_cut is not None:
            self.on_cut(rt, last)

    def _close_media(self, rt: Runtime) -> None:
        self._cut_recording(rt, last=True)
        if rt.media:
            self._media.close_session(rt.id)
        rt.legs.clear()
        rt.selected.clear()

    # Trouble --------------------------------------------------------------------------------------

    def _retry_later(self, rt: Runtime) -> None:
        self.counters["store_retries"] += 1
        rt.unsure = True
        rt.retry_at_ns = self._clock.now_ns() + round(self._settings.retry_after_s * NS_PER_S)
        self._watch(rt)

    def post_loss(self, rt: Runtime) -> None:
        """The store says that somebody else goes on with it."""
        rt.mailbox.post(lambda: self._lose(rt), self._clock.now_ns())

    async def _lose(self, rt: Runtime) -> None:
        if self.serves(rt):
            self._abandon(rt)

    def _abandon(self, rt: Runtime) -> None:
        """Someone else settles it: stop serving, write nothing."""
        self.counters["lost_ownership"] += 1
        _log.error("session.ownership_lost", session=rt.id)
        self.drop(rt)

    def drop(self, rt: Runtime) -> None:
        """Stop serving a session without settling it; its row stays for recovery."""
        self._close_media(rt)
        rt.pending.clear()
        self.deadlines.set(rt.id, None)
        self._registry.retire(rt, remember=False)

    async def _fault_of(self, session_id: str, epoch: int, error: Exception) -> None:
        """A defect or an impossible answer: end this session, keep the others out of it."""
        self.counters["faults"] += 1
        _log.error("session.fault", session=session_id, exc_info=error)
        rt = self._registry.running(session_id)
        if rt is None or rt.epoch != epoch:
            return  # over, or lost to another run
        try:
            await self._rescue(rt)
        except Unavailable:
            self.drop(rt)  # its row stays: it is taken over once it is stale
        except Exception as defect:
            self.counters["quarantined"] += 1
            self.drop(rt)
            await self._recovery.quarantine(rt.id, defect, self._recovery.run(rt.epoch))

    async def _rescue(self, rt: Runtime) -> None:
        """End it by what the store knows: what this process believes may be the defect."""
        self._close_media(rt)
        rt.pending.clear()
        now_ns = self._clock.now_ns()
        ended = await self._recovery.rescue(rt.id, epoch=rt.epoch, served_ns=rt.proven_ns(now_ns))
        if ended is None:
            self.drop(rt)
            return
        rt.machine.conclude(ended)
        at_ms = self._clock.wall_ms()
        _note(rt, ended, at_ms)
        await self._told(rt, [Entry(rt.evidence_seq, ended, True, now_ns, at_ms)])

    def serves(self, rt: Runtime) -> bool:
        """Whether the session still runs here."""
        return self._registry.running(rt.id) is rt

    async def owns(self, tx: Tx, rt: Runtime) -> bool:
        """Whether the store too says that the session runs here; until the transaction ends."""
        return self.serves(rt) and await self._journal.runs(tx, rt)

    def _watch(self, rt: Runtime) -> None:
        """Set the session's next deadline."""
        if rt.released or not self.serves(rt):
            return
        instants = [rt.machine.next_deadline_ns(), rt.retry_at_ns]
        self.deadlines.set(rt.id, min((at for at in instants if at is not None), default=None))

    # Fast path ------------------------------------------------------------------------------------

    def quick(self, rt: Runtime, event: i.Input) -> None:
        """A frequent fact that as a rule has no effects: without a task if nothing is under way."""
        if not rt.mailbox.idle or rt.pending:
            self.post(rt, event)
            return
        now_ns = self._clock.now_ns()
        try:
            self._take(rt, rt.machine.handle(event, now_ns), now_ns)
        except Exception as error:
            failed = error  # the name of an except clause does not outlive it
            rt.mailbox.post(lambda: self._fault_of(rt.id, rt.epoch, failed), now_ns)
            return
        if rt.pending:
            rt.mailbox.post(lambda: self._settle_job(rt), now_ns)
        else:
            self._watch(rt)

    async def _settle_job(self, rt: Runtime) -> None:
        await self.settle(rt)


class _Before:
    """A session as it was before a command."""

    def __init__(self, rt: Runtime) -> None:
        self._machine = copy.deepcopy(rt.machine)
        self._instants = copy.copy(rt.instants)
        self._devices = {role: set(devices) for role, devices in rt.devices.items()}

    def restore(self, rt: Runtime) -> None:
        rt.machine, rt.instants, rt.devices = self._machine, self._instants, self._devices
        rt.pending.clear()


def _instant(effect: e.Effect, now_ns: int) -> int:
    """When it happened, as far as the effect knows better than the clock on the wall."""
    match effect:
        case e.ClockStarted(at_ns=at_ns) | e.Ended(at_ns=at_ns) | s.Resumed(at_ns=at_ns):
            return at_ns
        case s.Paused(since_ns=since_ns):
            return since_ns
        case _:
            return now_ns


def _note(rt: Runtime, effect: e.Effect, at_ms: int) -> None:
    """Keep the instants that the row has columns for."""
    match effect:
        case e.Answered(device=device):
            rt.instants.answered_ms = at_ms
            rt.devices[Role.EXPERT] = {device}
        case e.Began():
            rt.instants.started_ms = at_ms
        case e.ClockStarted():
            rt.instants.metered_ms = at_ms
        case e.Ended():
            rt.instants.ended_ms = at_ms
        case _:
            pass
