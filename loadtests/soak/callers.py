"""A process full of clients that call without end: `python -m loadtests.soak.callers URL`.

It reads its pairs as one JSON line, plays on each of them one short call after another, and prints
a line for every call that came to its end. Each call takes one of `WAYS`. The process is killed
from outside at any moment; then its legs and sockets are gone in whatever state they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiortc.exceptions import InvalidStateError

from tests.support.party import Party, Refused

_TALK_S: Final = 1.5
_PAUSE_S: Final = 2.0


class Pair(msgspec.Struct, frozen=True):
    """A customer and an expert, by their tokens, and an open order of theirs."""

    customer_id: str
    customer_token: str
    expert_id: str
    expert_token: str
    order_id: str


class _Call:
    """One call of a pair: what happened so far decides what can come next."""

    def __init__(self, customer: Party, expert: Party, order_id: str) -> None:
        self.customer, self.expert, self.order_id = customer, expert, order_id
        self.id = ""

    async def ring(self) -> None:
        for party in (self.customer, self.expert):
            party.events.clear()
        invited = await self.customer.command("call.invite", order_id=self.order_id, mode="video")
        self.id = str(invited["session_id"])
        await self.expert.wait_for("call.incoming")

    async def join(self) -> None:
        for party in (self.customer, self.expert):
            await party.command("session.join", session_id=self.id)
            await party.wait_for("rtc.offer")

    async def accept(self) -> None:
        await self.expert.command("call.accept", session_id=self.id)

    async def talk(self) -> None:
        await asyncio.gather(self.customer.connected(), self.expert.connected())
        await self.accept()
        await self.expert.publish(self.id, "audio")
        await self.expert.command("session.start", session_id=self.id)
        await self.customer.wait_for("meter.started")
        await asyncio.sleep(random.random() * _TALK_S)

    async def end(self, by: Party) -> None:
        await by.command("session.end", session_id=self.id)


async def _cancelled(call: _Call) -> None:
    await call.customer.command("call.cancel", session_id=call.id)


async def _declined(call: _Call) -> None:
    await call.join()
    await call.expert.command("call.decline", session_id=call.id)


async def _ended_while_connecting(call: _Call) -> None:
    await call.join()
    await call.accept()
    await call.end(call.expert)


async def _hung_up(call: _Call) -> None:
    await call.join()
    await call.talk()
    await call.end(random.choice([call.customer, call.expert]))


async def _came_back(call: _Call) -> None:
    """The customer's socket is lost in mid-call and comes back with a new media connection."""
    await call.join()
    await call.talk()
    await call.customer.socket.disconnect()
    await call.customer.connect()
    await call.customer.command("session.join", session_id=call.id)
    await call.end(call.customer)


async def _lost(call: _Call) -> None:
    """Both media connections vanish without a word, then somebody hangs up."""
    await call.join()
    await call.talk()
    for party in (call.customer, call.expert):
        assert party.peer is not None
        await party.peer.vanish()
    await call.end(call.customer)


WAYS: Final[dict[str, tuple[int, Callable[[_Call], Awaitable[None]]]]] = {
    "cancelled": (1, _cancelled),
    "declined": (1, _declined),
    "ended while connecting": (1, _ended_while_connecting),
    "hung up": (3, _hung_up),
    "came back": (1, _came_back),
    "lost": (1, _lost),
}
"""By name: how often, and how the call goes on after it rings."""


async def _play(url: str, pair: Pair) -> None:
    customer = await Party.with_token(url, pair.customer_id, pair.customer_token)
    expert = await Party.with_token(url, pair.expert_id, pair.expert_token)
    weights = [weight for weight, _ in WAYS.values()]
    while True:
        (name,) = random.choices(list(WAYS), weights)
        call = _Call(customer, expert, pair.order_id)
        try:
            await call.ring()
            await WAYS[name][1](call)
        except Refused as refusal:
            # As a rule a session of a killed process that nobody has ended yet.
            name = f"refused: {refusal.code}"
        except (TimeoutError, InvalidStateError, AssertionError) as error:
            name = f"failed: {type(error).__name__}"
            with contextlib.suppress(Refused, TimeoutError):
                await call.end(customer)
        for party in (customer, expert):
            if party.peer is not None:
                await party.peer.close()
        print(name, flush=True)
        await asyncio.sleep(random.random() * _PAUSE_S)


async def _main(url: str) -> None:
    pairs = msgspec.json.decode(sys.stdin.readline(), type=list[Pair])
    # As a rule the answer to an offer whose call has ended meanwhile, which nobody waits for.
    asyncio.get_running_loop().set_exception_handler(
        lambda _, about: print(f"failed beside a call: {about.get('exception')!r}", flush=True)
    )
    async with asyncio.TaskGroup() as group:
        for pair in pairs:
            group.create_task(_play(url, pair))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
