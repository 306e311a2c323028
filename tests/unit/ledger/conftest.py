"""Ledger tests run on both stores; `Till` makes their calls short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from engine.clock import SystemClock
from engine.metering.ledger import HoldPart, HoldResult, Ledger, TransferResult, WalletView
from engine.store.database import Store, Tx


@dataclass(frozen=True)
class Till:
    """A ledger on a store, with the arguments that most tests do not care about filled in.

    Without `tx` every call is a transaction of its own.
    """

    store: Store
    ledger: Ledger

    async def topup(
        self, amount: int, *, user: str = "ann", key: str = "", currency: str = "TRY"
    ) -> TransferResult:
        async with self.store.transaction() as tx:
            return await self.ledger.topup(
                tx,
                key=key or f"topup:{user}:{amount}",
                user_id=user,
                currency=currency,
                amount_minor=amount,
                payment_id=None,
            )

    async def hold(
        self, key: str, amount: int, *, user: str = "ann", currency: str = "TRY"
    ) -> HoldResult:
        async with self.store.transaction() as tx:
            return await self.hold_in(tx, key, amount, user=user, currency=currency)

    async def hold_in(
        self, tx: Tx, key: str, amount: int, *, user: str = "ann", currency: str = "TRY"
    ) -> HoldResult:
        return await self.ledger.hold(
            tx,
            key=key,
            user_id=user,
            currency=currency,
            amount_minor=amount,
            order_id="ord_1",
            session_id="ses_1",
        )

    async def capture(
        self, key: str, parts: Sequence[tuple[str, int]], *, fee: int = 0, expert: str = "eva"
    ) -> TransferResult:
        async with self.store.transaction() as tx:
            return await self.capture_in(tx, key, parts, fee=fee, expert=expert)

    async def capture_in(
        self,
        tx: Tx,
        key: str,
        parts: Sequence[tuple[str, int]],
        *,
        fee: int = 0,
        expert: str = "eva",
    ) -> TransferResult:
        return await self.ledger.capture(
            tx,
            key=key,
            parts=[HoldPart(hold_id, amount) for hold_id, amount in parts],
            expert_id=expert,
            fee_minor=fee,
            order_id="ord_1",
            session_id="ses_1",
        )

    async def reverse(
        self, key: str, transfer_id: str, amount: int, *, fee: int = 0
    ) -> TransferResult:
        async with self.store.transaction() as tx:
            return await self.ledger.reverse(
                tx,
                key=key,
                transfer_id=transfer_id,
                amount_minor=amount,
                fee_minor=fee,
                reason="not served",
                order_id="ord_1",
                session_id="ses_1",
            )

    async def wallet(self, user: str = "ann", currency: str = "TRY") -> WalletView:
        async with self.store.reading() as tx:
            return await self.ledger.wallet(tx, user, currency)


@pytest.fixture
def till(any_store: Store) -> Till:
    return Till(any_store, Ledger(SystemClock()))
