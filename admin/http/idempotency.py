"""``Idempotency-Key``: the same key and body get the same stored answer, whatever happens between.

A key is first claimed in a transaction of its own, so that a second request with it sees that the
first is running. The work then stores its answer in the very transaction that has the effect
(`Claim.settle`): either both are committed or neither is, so a crash in between loses nothing and
doubles nothing. What it leaves behind is at worst a claim without an owner, and a claim older than
`ABANDONED_MS` may be taken over; if its owner was merely slow, its `settle` finds the claim gone
and rolls its effect back.

A request that is refused before anything was committed gives its key back: repeating it is a new
attempt. Answers are kept for `KEPT_MS`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable

import msgspec
import sqlalchemy as sa

from admin.http.answers import Answer
from engine.clock import Clock
from engine.errors import BadInput, Conflict
from engine.store.database import Store, Tx, insert_once
from engine.store.tables import idempotency_keys as keys

ABANDONED_MS = 60_000
KEPT_MS = 24 * 3_600_000
HEADER = "Idempotency-Key"
REPLAYED = {"Idempotency-Replayed": "true"}

_KEY = re.compile(r"[\x21-\x7e]{1,128}")


class Claim:
    """The right to carry out one request; without a key it is a formality."""

    def __init__(self, user_id: str = "", key: str = "", stamp_ms: int = 0) -> None:
        self._mine = sa.and_(
            keys.c.user_id == user_id,
            keys.c.key == key,
            keys.c.state == "running",
            keys.c.created_at_ms == stamp_ms,
        )
        self._keyed = bool(key)
        self.settled = False

    async def settle(self, tx: Tx, answer: Answer) -> Answer:
        """Store the answer in the transaction that has the effect, and return it.

        Raises `Conflict("idempotency_key_running")` if the claim was taken over meanwhile.
        """
        if self._keyed:
            stored = msgspec.to_builtins(answer.body)
            done = await tx.execute(
                sa.update(keys)
                .where(self._mine)
                .values(state="done", status=answer.status, answer=stored)
            )
            if done.rowcount != 1:
                raise _running()
        self.settled = True
        return answer

    async def give_back(self, store: Store) -> None:
        """After a failure: harmless if the answer was committed after all."""
        if self._keyed:
            async with store.transaction() as tx:
                await tx.execute(sa.delete(keys).where(self._mine))


Work = Callable[[Claim], Awaitable[Answer]]


async def once(store: Store, user_id: str, key: str | None, fingerprint: str, work: Work) -> Answer:
    """The answer of `work`, or the stored one if `key` was used for the same request before.

    Raises `BadInput("invalid_idempotency_key")`, `BadInput("idempotency_key_reused")`,
    `Conflict("idempotency_key_running")` and whatever `work` raises.
    """
    if key is None:
        return await _carry_out(Claim(), store, work)
    if not _KEY.fullmatch(key):
        raise BadInput("invalid_idempotency_key", "A key is 1 to 128 visible ASCII characters.")
    claim = await _claim(store, user_id, key, fingerprint, store.clock)
    return claim if isinstance(claim, Answer) else await _carry_out(claim, store, work)


def fingerprint(method: str, path: str, body: object) -> str:
    """What makes two requests the same; spacing and member order of the JSON do not."""
    canonical = msgspec.json.encode([method, path, body], order="sorted")
    return hashlib.sha256(canonical).hexdigest()


async def _carry_out(claim: Claim, store: Store, work: Work) -> Answer:
    try:
        answer = await work(claim)
    except BaseException:
        await claim.give_back(store)
        raise
    assert claim.settled, "a request that moves money or creates must settle its claim"
    return answer


async def _claim(
    store: Store, user_id: str, key: str, request_hash: str, clock: Clock
) -> Claim | Answer:
    now_ms = clock.wall_ms()
    claim = Claim(user_id, key, now_ms)
    mine = sa.and_(keys.c.user_id == user_id, keys.c.key == key)
    async with store.transaction() as tx:
        await tx.execute(
            sa.delete(keys).where(
                keys.c.user_id == user_id, keys.c.created_at_ms < now_ms - KEPT_MS
            )
        )
        values = {
            "user_id": user_id,
            "key": key,
            "request_hash": request_hash,
            "state": "running",
            "created_at_ms": now_ms,
        }
        if await insert_once(tx, keys, values):
            return claim
        row = (await tx.execute(sa.select(keys).where(mine).with_for_update())).one_or_none()
        if row is None:
            raise _running()  # given back this very moment
        if row.request_hash != request_hash:
            raise BadInput("idempotency_key_reused", "This key was used for another request.")
        if row.state == "done":
            return Answer(row.status, row.answer, REPLAYED)
        # A wall clock that stepped back must not keep a claim alive either.
        if abs(now_ms - row.created_at_ms) < ABANDONED_MS:
            raise _running()
        await tx.execute(sa.update(keys).where(mine).values(created_at_ms=now_ms))
    return claim


def _running() -> Conflict:
    return Conflict(
        "idempotency_key_running",
        "The first request with this key is still running.",
        retry_after=1,
    )
