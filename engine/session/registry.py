"""The sessions of this node, found by id and by party; ended ones are remembered for a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterator

from engine.session.runtime import Runtime
from engine.session.states import State


class Registry:
    """`ended_kept` bounds how many ended sessions stay at hand for late questions."""

    def __init__(self, ended_kept: int) -> None:
        self._running: dict[str, Runtime] = {}
        self._of_user: dict[str, set[str]] = defaultdict(set)
        self._ended: OrderedDict[str, Runtime] = OrderedDict()
        self._ended_kept = ended_kept
        self._empty = asyncio.Event()
        self._empty.set()

    def __iter__(self) -> Iterator[Runtime]:
        return iter(list(self._running.values()))

    def __len__(self) -> int:
        return len(self._running)

    def add(self, rt: Runtime) -> None:
        self._running[rt.id] = rt
        self._empty.clear()
        for user_id in _parties(rt):
            self._of_user[user_id].add(rt.id)

    def running(self, session_id: str) -> Runtime | None:
        return self._running.get(session_id)

    def find(self, session_id: str) -> Runtime | None:
        return self._running.get(session_id) or self._ended.get(session_id)

    def retire(self, rt: Runtime, *, remember: bool = True) -> None:
        """It no longer runs here."""
        self._running.pop(rt.id, None)
        if not self._running:
            self._empty.set()
        for user_id in _parties(rt):
            self._of_user[user_id].discard(rt.id)
            if not self._of_user[user_id]:
                del self._of_user[user_id]
        if remember:
            self._ended[rt.id] = rt
            while len(self._ended) > self._ended_kept:
                self._ended.popitem(last=False)

    async def emptied(self) -> None:
        """Wait until no session runs here."""
        await self._empty.wait()

    def of_user(self, user_id: str) -> list[Runtime]:
        """Sessions that run and have this user as a party."""
        return [self._running[one] for one in self._of_user.get(user_id, ())]

    def live_of(self, user_id: str) -> list[Runtime]:
        return [rt for rt in self.of_user(user_id) if rt.live]

    def ringing_at(self, expert_id: str) -> list[Runtime]:
        return [
            rt
            for rt in self.of_user(expert_id)
            if rt.state is State.RINGING and rt.grant.expert_id == expert_id
        ]

    def sharers(self, customer_id: str, currency: str) -> int:
        """Live sessions that draw on this wallet."""
        return sum(
            rt.grant.customer_id == customer_id and rt.grant.tariff.currency == currency
            for rt in self.live_of(customer_id)
        )


def _parties(rt: Runtime) -> tuple[str, str]:
    return rt.grant.customer_id, rt.grant.expert_id
