"""A machine's action as a REST route: the signed-in user makes the move and is shown what came of
it, in one transaction with the stored answer; others are told after the commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import Call, Route
from admin.market.transitions import Done, Machine, Subject, transition
from engine.store.database import Tx

Make = Callable[[Call[Any, Nothing], Tx], Awaitable[Done]]
Show = Callable[[Call[Any, Nothing], Tx, Done], Awaitable[object]]
"""The answer's body."""


def move_route(
    machine: Machine,
    action: str,
    path: str,
    summary: str,
    *,
    tag: str,
    answer: type[Struct],
    show: Show,
    make: Make | None = None,
    method: str = "POST",
    status: int = 200,
    name: str = "",
    idempotent: bool = True,
    refusals: Sequence[int] = (403, 404),
) -> Route:
    """What the caller sends is what the machine's table declares.

    `make`: where it is not simply the row with the path's id that moves. `name`: if it is not
    action and machine, such as ``pay_order``.
    """
    body = _body_of(machine, action)

    async def act(call: Call[Any, Nothing]) -> Answer:
        move = make or moving(Subject(machine, call.id), action, call.body)
        return await carry_out(call, move, show, status)

    act.__name__ = name or f"{action}_{machine.name}"
    return Route(
        method=method,
        path=path,
        handler=act,
        summary=summary,
        tag=tag,
        answer=answer,
        status=status,
        body=None if body is Nothing else body,
        idempotent=idempotent,
        refusals=refusals,
    )


def moving(subject: Subject, action: str, body: object = None) -> Make:
    async def make(call: Call[Any, Nothing], tx: Tx) -> Done:
        return await transition(call.deps, tx, subject, action, call.user.actor, body=body)

    return make


async def carry_out(call: Call[Any, Nothing], make: Make, show: Show, status: int = 200) -> Answer:
    async with call.deps.store.transaction() as tx:
        done = await make(call, tx)
        answer = await call.claim.settle(tx, Answer(status, await show(call, tx, done)))
    await done.tell()
    return answer


def _body_of(machine: Machine, action: str) -> type[Struct]:
    """Moves that share an action share its body."""
    (body,) = {move.body for move in machine.moves if move.action == action}
    return body
