"""Password hashing: argon2id (RFC 9106) off the event loop, a bounded number at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TypeVar

import argon2

from admin.ports import PasswordCost
from engine.errors import Unavailable

T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords.

    A check costs the same whether the account exists or not: an unknown one is checked against a
    hash that nothing matches.
    """

    def __init__(self, cost: PasswordCost) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._turn = asyncio.Semaphore(cost.at_once)
        self._most = cost.at_once + cost.waiting
        self._busy = 0
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Raises `Unavailable("overloaded")` when too many wait already."""
        return await self._in_turn(self._hasher.hash, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right; None stands for an account that does not exist.

        Raises `Unavailable("overloaded")`.
        """
        if self._decoy is None:
            self._decoy = await self._in_turn(self._hasher.hash, secrets.token_hex())
        right = await self._in_turn(self._verify, password_hash or self._decoy, password)
        return right and password_hash is not None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _in_turn(self, function: Callable[..., T], *texts: str) -> T:
        if self._busy >= self._most:
            raise Unavailable("overloaded", "Too many sign-ins at once.", retry_after=1)
        self._busy += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(function, *texts)
        finally:
            self._busy -= 1
