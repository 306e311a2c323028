"""Bugs planted into the real engine, each of which the simulation must find.

A simulation that finds nothing proves nothing. Every bug here is a small change of what the engine
does, of the kind that people make; the engine as it is passes the same seeds (`test_simulation`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.media.interface import Delivery
from engine.metering import stopwatch
from engine.metering.ledger import holds
from engine.metering.meter import Meter
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.session import checkpoint, journal
from engine.session.abandoned import Abandoned
from engine.session.conductor import Conductor
from engine.session.journal import Journal, LostOwnership
from engine.session.recovery import Recovery
from engine.session.runtime import Runtime
from engine.session.service import SessionService
from engine.session.surroundings import Surroundings
from engine.store import tables as t
from tests.simulation.people import Stream
from tests.simulation.run import run_seed
from tests.simulation.test_simulation import HOURS
from tests.support.fake_media import FakeMediaWorker

Plant = Callable[[pytest.MonkeyPatch], None]
PLANTED: dict[str, tuple[Plant, Iterable[int], set[str]]] = {}


def planted(seeds: Iterable[int], *found_as: str) -> Callable[[Plant], Plant]:
    def keep(plant: Plant) -> Plant:
        PLANTED[plant.__name__] = (plant, seeds, set(found_as))
        return plant

    return keep


# Money --------------------------------------------------------------------------------------------


@planted(range(10), "defect")
def a_hold_without_looking_at_the_wallet(patch: pytest.MonkeyPatch) -> None:
    a = t.accounts.c
    grant = (
        sa.update(t.accounts)
        .where(a.owner_id == sa.bindparam("owner"), a.kind == "wallet")
        .where(a.currency == sa.bindparam("asked_currency"))
        .values(held_minor=a.held_minor + sa.bindparam("asked"))
        .returning(a.id)
    )
    patch.setattr(holds, "_HOLD", grant)


@planted(range(10), "defect", "price")
def a_capture_key_without_the_block(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal, "capture_key", lambda session_id, block: f"session:{session_id}:capture")


@planted(range(36, 100, 8), "defect", "price", "hold_leaked")  # the days of unknown commits
def a_commit_of_unknown_outcome_repeated_under_new_keys(patch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    add_evidence = journal.add_evidence

    async def nothing_known(self: Journal, tx: Any, rt: Any) -> int:
        return 0

    async def added_again(tx: Any, session_id: str, *, seq: int, **rest: Any) -> None:
        e = t.session_events.c
        await tx.execute(
            sa.delete(t.session_events).where(e.session_id == session_id, e.seq == seq)
        )
        await add_evidence(tx, session_id, seq=seq, **rest)

    patch.setattr(Journal, "_known_seq", nothing_known)
    patch.setattr(journal, "add_evidence", added_again)
    patch.setattr(
        journal, "capture_key", lambda session_id, block: f"{session_id}:{block}:{next(numbers)}"
    )


@planted((0, 8, 16), "defect", "end", "starved")
def a_refused_hold_asked_for_again_under_its_key(patch: pytest.MonkeyPatch) -> None:
    ask = Meter._ask

    def same_attempt(self: Meter, blocks: int) -> Any:
        self._attempt = 0
        self._asked_block = 0
        return ask(self, blocks)

    patch.setattr(Meter, "_ask", same_attempt)


@planted((56, 88), "starved")  # calm days of several processes
def nobody_looks_for_money_that_another_node_took(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None:
        pass

    patch.setattr(Surroundings, "look_at_wallets", nothing)


@planted(range(10), "hold_leaked")
def holds_of_ended_sessions_kept(patch: pytest.MonkeyPatch) -> None:
    async def keep(tx: Any, ledger: Any, session_id: str) -> None:
        pass

    patch.setattr(journal, "release_holds", keep)


@planted(range(10), "price", "defect")
def every_block_rounded_for_itself(patch: pytest.MonkeyPatch) -> None:
    def due(self: Tariff, blocks: int) -> int:
        return blocks * (self.price_minor * self.block_seconds // self.per_seconds)

    patch.setattr(Tariff, "due_minor", due)


@planted(range(10), "fee")
def the_fee_rounded_up(patch: pytest.MonkeyPatch) -> None:
    def fee(self: Policy, due_minor: int) -> int:
        return -(-due_minor * self.commission_bps // 10_000)

    patch.setattr(Policy, "fee_minor", fee)


@planted(range(10), "price")
def a_crash_charged_to_the_end_of_the_block(patch: pytest.MonkeyPatch) -> None:
    def whole(self: Tariff, served_ns: int) -> int:
        return self.due_minor(self.blocks(served_ns))

    patch.setattr(Tariff, "prorata_minor", whole)


# Time ---------------------------------------------------------------------------------------------


@planted((5, 13, 21), "service", "end", "served_unpaid")
def acknowledgements_stamped_by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    emit = Stream._emit

    def by_the_wall(self: Stream, event: Any) -> None:
        step_ns = self.world.wall_step_ms(self.node.name) * 1_000_000
        if isinstance(event, Delivery):
            event = Delivery(event.session_id, event.last_acked_at_ns + step_ns)
        emit(self, event)

    patch.setattr(Stream, "_emit", by_the_wall)


@planted((5, 6, 7, 8), "grace")
def a_grace_that_excludes_its_last_instant(patch: pytest.MonkeyPatch) -> None:
    def in_grace(self: Tariff, ordinal: int, elapsed_ns: int) -> bool:
        free = self.grace_seconds > 0 and ordinal <= self.grace_sessions
        return free and elapsed_ns < self.grace_ns

    patch.setattr(Tariff, "in_grace", in_grace)


@planted(range(10), "service", "end")
def silence_that_is_charged(patch: pytest.MonkeyPatch) -> None:
    acked = stopwatch.MediaWatch.acked

    def patient(self: stopwatch.MediaWatch, sent_at_ns: int, pause_after_ns: int) -> None:
        acked(self, sent_at_ns, 10_000_000_000)

    patch.setattr(stopwatch.MediaWatch, "acked", patient)


@planted(range(10), "start", "service")
def a_clock_that_starts_when_the_acknowledgement_arrives(patch: pytest.MonkeyPatch) -> None:
    emit = FakeMediaWorker.emit

    def late(self: FakeMediaWorker, event: Any) -> None:
        if hasattr(event, "acked_at_ns"):
            event = type(event)(event.session_id, event.kind, event.acked_at_ns, event.acked_at_ns)
        emit(self, event)

    patch.setattr(FakeMediaWorker, "emit", late)


@planted(range(10), "hangup_late", "end", "service")
def a_hangup_stamped_when_it_is_handled(patch: pytest.MonkeyPatch) -> None:
    fact = Conductor.fact

    async def stamped_now(self: Conductor, rt: Any, event: Any, now_ns: int) -> None:
        await fact(self, rt, event, self._clock.now_ns())

    patch.setattr(Conductor, "fact", stamped_now)


# Of a slow store. (The ledger may be asked to give back more than it took: that is a defect.)
@planted(range(33, 97, 8), "served_unpaid", "overcharged", "hangup_late", "end", "defect")
def what_waits_to_be_handled_overtaken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Runtime, "known_until_ns", lambda self, now_ns: now_ns)


@planted(range(1, 97, 16), "served_unpaid")
def no_watchdog_in_the_media_worker(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FakeMediaWorker, "set_cutoff", lambda self, session_id, cutoff_at_ns: None)


@planted((57, 185), "served_unpaid")  # of chats and a slow store
def a_chat_that_ignores_the_cutoff(patch: pytest.MonkeyPatch) -> None:
    gate = SessionService.chat_gate

    def open_to_the_end(self: SessionService, user_id: str, session_id: str) -> Any:
        rt = self._registry.find(session_id)
        cutoff_ns = None if rt is None else rt.cutoff_ns
        try:
            if rt is not None:
                rt.cutoff_ns = None
            return gate(self, user_id, session_id)
        finally:
            if rt is not None:
                rt.cutoff_ns = cutoff_ns

    patch.setattr(SessionService, "chat_gate", open_to_the_end)


@planted((121, 185), "served_unpaid")
def a_chat_that_asks_before_it_waits_for_the_store(patch: pytest.MonkeyPatch) -> None:
    gate = SessionService.chat_gate
    asked: WeakSet[Any] = WeakSet()

    def only_on_arrival(self: SessionService, user_id: str, session_id: str) -> Any:
        request = asyncio.current_task()
        if request in asked:
            return None
        leave = gate(self, user_id, session_id)
        asked.add(request)
        return leave

    patch.setattr(SessionService, "chat_gate", only_on_arrival)


@planted((26, 42), "service", "overcharged", "end")
def a_chat_that_pays_while_the_process_stands_still(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Conductor, "_on_stall", lambda self, stall: None)


# Crashes and owners -------------------------------------------------------------------------------


@planted(range(10), "overcharged", "stale_epoch")
def a_checkpoint_beyond_the_evidence(patch: pytest.MonkeyPatch) -> None:
    seen = checkpoint._seen

    def ahead(rt: Any, now_ns: int) -> tuple[str, int, int]:
        session_id, epoch, served_ns = seen(rt, now_ns)
        return session_id, epoch, served_ns + 5_000_000_000 if rt.machine.metered else 0

    patch.setattr(checkpoint, "_seen", ahead)


@planted(range(10), "checkpoint", "lost_too_much", "never_ends", "stolen")
def checkpoints_forgotten(patch: pytest.MonkeyPatch) -> None:
    async def forget(*_: Any, **__: Any) -> list[Any]:
        return []

    patch.setattr(checkpoint, "write", forget)


@planted(range(10), "stale_epoch", "one_owner", "after_the_end", "defect")
def the_epoch_ignored_on_writes(patch: pytest.MonkeyPatch) -> None:
    async def update(self: Journal, tx: Any, rt: Any) -> None:
        change = sa.update(t.sessions).where(t.sessions.c.id == rt.id).values(self._columns(rt))
        if (await tx.execute(change)).rowcount != 1:
            raise LostOwnership(rt.id)

    patch.setattr(Journal, "_update_row", update)


@planted(range(10), "one_owner", "stale_epoch", "after_the_end")
def a_takeover_without_a_new_epoch(patch: pytest.MonkeyPatch) -> None:
    """Both ways to claim a session: to go on with it, and to settle it."""
    execute = AsyncConnection.execute

    async def same_epoch(self: AsyncConnection, statement: Any, *rest: Any, **more: Any) -> Any:
        if isinstance(statement, sa.Update) and statement.table is t.sessions:
            changed: Any = statement._values or ()
            if {"epoch", "owner"} <= {getattr(one, "name", one) for one in changed}:
                statement = statement.values(epoch=t.sessions.c.epoch)
        return await execute(self, statement, *rest, **more)

    patch.setattr(AsyncConnection, "execute", same_epoch)


@planted(range(10), "never_ends")
def nobody_looks_for_what_dead_nodes_left(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> list[Any]:
        return []

    patch.setattr(Abandoned, "_find", nothing)


@planted((19, 51), "service", "overcharged", "end")
def a_clock_that_runs_while_nobody_serves_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    init = stopwatch.MediaWatch.__init__

    def running(self: Any, first_frame_ns: int, **options: Any) -> None:
        init(self, first_frame_ns, **(options | {"standing": False}))

    patch.setattr(stopwatch.MediaWatch, "__init__", running)


@planted(range(10), "price", "defect", "split")
def a_takeover_that_forgets_what_was_captured(patch: pytest.MonkeyPatch) -> None:
    take_up = Meter.take_up

    def forget(self: Meter, served: Any, at_ns: int) -> None:
        take_up(self, type(served)(served.served_ns, 0, 0), at_ns)

    patch.setattr(Meter, "take_up", forget)


@planted((14, 27), "price")
def a_recovery_that_charges_nothing(patch: pytest.MonkeyPatch) -> None:
    async def take_nothing(*_: Any, **__: Any) -> None:
        pass

    patch.setattr(Recovery, "_capture", take_nothing)


@planted((11, 14), "price")
def a_recovery_that_gives_nothing_back(patch: pytest.MonkeyPatch) -> None:
    async def keep_it(*_: Any, **__: Any) -> None:
        pass

    patch.setattr(Recovery, "_give_back", keep_it)


@planted((10, 11), "price")
def a_give_back_that_is_not_posted(patch: pytest.MonkeyPatch) -> None:
    async def forget(*_: Any, **__: Any) -> None:
        pass

    patch.setattr(journal, "give_back", forget)


# The proof ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(PLANTED))
def test_the_simulation_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, seeds, found_as = PLANTED[name]
    plant(monkeypatch)
    for seed in seeds:
        broken = run_seed(seed, hours=HOURS).broken
        if broken is not None:
            assert broken.name in found_as, broken
            return
    pytest.fail(f"not found in seeds {list(seeds)}")
