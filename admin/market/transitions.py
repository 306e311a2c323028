"""`transition`: the one way in which anything in the marketplace changes its state.

REST, staff pages, payment webhooks and timers all call it, so that a guard, a movement of money, a
record and a notice exist once. A kind of thing is described by a `Machine`: a table of `Move`s and
the few functions that read its rows. Guards are pure, so the same table also tells a user which
actions are open (`possible`), for one thing or for a page of them.

    row, locked ─> who is the actor in it ─> which move ─> guards ─> effects (money, other rows)
                                            ─> new state ─> event in the outbox ─> notices

All of it happens in the caller's transaction. What must not happen before the commit (telling
sockets, ending live sessions) is collected in `Done.after`, which the caller runs after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from msgspec import Struct

from admin import events, queries
from admin.http.bodies import Nothing
from admin.http.problems import invalid
from admin.market.actors import SYSTEM, Actor
from admin.notices import notify
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import Conflict, Forbidden, NotFound, TalktimeError
from engine.store.database import Tx

__all__ = [
    "SYSTEM",
    "Actor",
    "Done",
    "Machine",
    "Move",
    "Situation",
    "Step",
    "Subject",
    "transition",
]

_log = structlog.get_logger(__name__)


After = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Situation:
    """What guards look at."""

    row: Row
    facts: Any
    """What the machine knows beyond the row."""
    parties: frozenset[str]
    """What the actor is in it: customer, expert, system, ...; staff by the move's permission."""
    now_ms: int


Guard = Callable[[Situation], TalktimeError | None]
"""Why the move may not be made now; None: it may."""


@dataclass
class Step:
    """A move being made: what effects read and what they add."""

    deps: AdminDeps
    tx: Tx
    situation: Situation
    actor: Actor
    body: Any
    """What the caller sent, in the shape that the move declares."""
    to: str
    values: dict[str, Any] = field(default_factory=dict)
    """Columns to set beside the state."""
    data: dict[str, Any] = field(default_factory=dict)
    """Members of the event."""
    after: list[After] = field(default_factory=list)

    @property
    def row(self) -> Row:
        return self.situation.row

    @property
    def now_ms(self) -> int:
        return self.situation.now_ms


Effect = Callable[[Step], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One line of a machine's table.

    `by`: which parties may make it. `permission`: staff who hold it may make it too. `kinds`: only
    for rows of these kinds (as `Machine.kind` tells), empty for all. `to`: None keeps the state; a
    effect may set `Step.to`. `body`: what the caller must send. `event`: type in the outbox, which
    also decides who is told (`admin.notices.catalogue`).
    """

    action: str
    frm: tuple[str, ...]
    to: str | None = None
    by: tuple[str, ...] = ()
    permission: str = ""
    kinds: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = ()
    effects: tuple[Effect, ...] = ()
    reason: str | None = None
    event: str
    body: type[Struct] = Nothing
    follow: tuple[Effect, ...] = ()
    """Effects that need the row to be in its new state already, such as moves of other rows."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How one kind of thing changes.

    `parties` tells what the actor is in a row; nobody (an empty set, and no permission of any move)
    is told that there is no such thing. `facts` reads what guards need for many rows at once.
    `wrong_state` is the refusal of an action that the row's state does not know.
    """

    name: str
    table: sa.Table
    moves: Sequence[Move]
    parties: Callable[[Row, Actor], frozenset[str]]
    facts: Callable[[AdminDeps, Tx, Sequence[Row]], Awaitable[Mapping[str, Any]]]
    kind: Callable[[Row], str] = lambda _row: ""
    wrong_state: Callable[[Row, str], TalktimeError]
    reason_column: str | None = None
    """Where a move's `reason` is kept."""
    lock_first: Callable[[Tx, str], Awaitable[None]] | None = None
    """Locks what rows of this kind belong to, before the row: so everybody locks in one order."""

    @property
    def not_found(self) -> NotFound:
        return NotFound(f"{self.name}_not_found", f"There is no such {self.name}.")


@dataclass(frozen=True)
class Subject:
    """A thing that changes."""

    machine: Machine
    id: str


@dataclass(frozen=True)
class Done:
    """What a transition did; run `tell` once the transaction is committed."""

    row: Row
    """As it is now."""
    data: Mapping[str, Any]
    after: Sequence[After]

    async def tell(self) -> None:
        """What is committed stays so: a failure here is logged and hurts nobody else."""
        await tell(self.after, self.row.id)


async def tell(after: Sequence[After], subject_id: str) -> None:
    """Run what was left for after the commit."""
    for work in after:
        try:
            await work()
        except Exception:
            _log.exception("transition_not_told", subject=subject_id)


async def transition(
    deps: AdminDeps,
    tx: Tx,
    subject: Subject,
    action: str,
    actor: Actor,
    *,
    body: object = None,
) -> Done:
    """Make the move that `action` names, or raise and change nothing.

    `body` is what the caller sent, JSON types or already the move's own shape. Raises `NotFound`
    (also to strangers), `Forbidden`, `Conflict`, `BadInput("invalid_body")`, `PaymentRequired` and
    what the guards say. The row stays locked until the caller's transaction ends.
    """
    machine = subject.machine
    if machine.lock_first is not None:
        await machine.lock_first(tx, subject.id)
    row = await _locked(tx, machine, subject.id)
    facts = await machine.facts(deps, tx, [row])
    situation = Situation(row, facts.get(row.id), _parties(machine, row, actor), _now(deps))
    move = decide(machine, situation, action, actor)
    step = Step(deps, tx, situation, actor, _body(move, body), move.to or row.state)
    if machine.reason_column and move.reason:
        step.values[machine.reason_column] = move.reason
    for effect in move.effects:
        await effect(step)
    return await _carry_out(step, machine, move)


def decide(machine: Machine, situation: Situation, action: str, actor: Actor) -> Move:
    """The move, or the refusal that a user should read. Pure.

    Of several that the state knows it is the first whose guards are content.

    Raises `NotFound` for an action or row that the actor should not know of, `Forbidden
    ("not_{party}")`, the machine's `wrong_state`, and what the guards say.
    """
    row = situation.row
    kind = machine.kind(row)
    known = [m for m in machine.moves if m.action == action and (not m.kinds or kind in m.kinds)]
    mine = [move for move in known if _may(move, situation, actor)]
    if not situation.parties and not mine:
        raise machine.not_found
    if not known:
        raise NotFound("action_not_found", f"There is no such action: {action}.")
    if not mine:
        raise _not_yours(known)
    here = [move for move in mine if row.state in move.frm]
    if not here:
        raise machine.wrong_state(row, action)
    refusals = []
    for move in here:
        refusal = _refusal(move, situation)
        if refusal is None:
            return move
        refusals.append(refusal)
    raise refusals[0]


def _refusal(move: Move, situation: Situation) -> TalktimeError | None:
    return next(filter(None, (guard(situation) for guard in move.guards)), None)


def possible(machine: Machine, situation: Situation, actor: Actor) -> list[str]:
    """The actions that `decide` would allow, in the table's order; timers' are nobody's."""
    actions = dict.fromkeys(move.action for move in machine.moves)
    return [action for action in actions if _is_possible(machine, situation, action, actor)]


def _is_possible(machine: Machine, situation: Situation, action: str, actor: Actor) -> bool:
    try:
        decide(machine, situation, action, actor)
    except TalktimeError:
        return False
    return True


def situation_of(
    deps: AdminDeps, machine: Machine, row: Row, facts: Mapping[str, Any], actor: Actor
) -> Situation:
    """For `possible`, of a row that was read together with others."""
    return Situation(row, facts.get(row.id), _parties(machine, row, actor), _now(deps))


def _parties(machine: Machine, row: Row, actor: Actor) -> frozenset[str]:
    return frozenset({"system"}) if actor is SYSTEM else machine.parties(row, actor)


def _may(move: Move, situation: Situation, actor: Actor) -> bool:
    if not situation.parties.isdisjoint(move.by):
        return True
    return bool(move.permission) and move.permission in actor.permissions


def _not_yours(known: Sequence[Move]) -> Forbidden:
    party = next((by for move in known for by in move.by if by != "system"), "staff")
    return Forbidden(f"not_{party}", f"Only the {party} may do that.")


def _body(move: Move, body: object) -> Any:
    if isinstance(body, move.body):
        return body
    try:
        return msgspec.convert({} if body is None else body, move.body)
    except msgspec.ValidationError as error:
        raise invalid(error) from None


async def _locked(tx: Tx, machine: Machine, subject_id: str) -> Row:
    query = sa.select(machine.table).where(machine.table.c.id == subject_id).with_for_update()
    row = await queries.row(tx, query)
    if row is None:
        raise machine.not_found
    return row


async def _carry_out(step: Step, machine: Machine, move: Move) -> Done:
    table, row = machine.table, step.row
    changed = await step.tx.execute(
        sa.update(table)
        .where(table.c.id == row.id, table.c.state == row.state)
        .values(state=step.to, updated_at_ms=step.now_ms, **step.values)
        .returning(*table.c)
    )
    now = changed.one_or_none()
    if now is None:
        raise Conflict("changed_meanwhile", "This changed meanwhile; look again.")
    for effect in move.follow:
        await effect(step)
    await events.publish(
        step.tx, move.event, row.id, actor=step.actor.id, at_ms=step.now_ms, data=step.data
    )
    told = await notify(step.deps, step.tx, move.event, now, actor_id=step.actor.id, data=step.data)
    return Done(now, step.data, (*step.after, *told))


def _now(deps: AdminDeps) -> int:
    return deps.clock.wall_ms()
