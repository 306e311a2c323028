"""`Ledger`: the ledger's public face. The package's docstring tells how it works."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from engine.clock import Clock
from engine.errors import BadInput
from engine.metering.ledger import accounts, holds, payouts, transfers, views
from engine.metering.ledger.keys import check_key
from engine.metering.ledger.model import (
    Account,
    AccountKind,
    HoldPart,
    HoldResult,
    HoldView,
    ReleaseResult,
    SessionTotal,
    StatementLine,
    TransferResult,
    WalletView,
)
from engine.metering.money import check_amount, check_currency
from engine.store.database import Tx

MAX_REASON_LENGTH = 200


class Ledger:
    """All movements of money. Stateless: any number may work on one store.

    Every method takes the caller's transaction and never commits; reads also take
    `Store.reading()`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def account(self, tx: Tx, kind: AccountKind, owner_id: str, currency: str) -> Account:
        """The account, created if need be. The platform's are owned by ``"platform"``."""
        check_currency(currency)
        return await accounts.ensure(tx, kind, owner_id, currency, self._clock.wall_ms())

    async def wallet(
        self, tx: Tx, user_id: str, currency: str, *, lock: bool = False
    ) -> WalletView:
        """A customer's money in this currency; zeros if there never was any. With `lock` nobody
        changes it until the transaction, which must be a writing one, ends.
        """
        return await views.wallet(tx, user_id, currency, lock=lock)

    async def balance(self, tx: Tx, kind: AccountKind, owner_id: str, currency: str) -> int:
        """An account's balance in minor units; earnings may be negative, psp is as a rule."""
        return await views.balance(tx, kind, owner_id, currency)

    async def money_of(
        self, tx: Tx, user_ids: Collection[str], currency: str
    ) -> dict[str, tuple[WalletView, int]]:
        """What each of these users has: the wallet, and the balance of earnings in minor units."""
        return await views.money_of(tx, user_ids, currency)

    async def topup(
        self,
        tx: Tx,
        *,
        key: str,
        user_id: str,
        currency: str,
        amount_minor: int,
        payment_id: str | None,
    ) -> TransferResult:
        """Money from outside into a wallet."""
        check_currency(currency)
        return await transfers.topup(
            tx,
            key=check_key(key),
            user_id=user_id,
            currency=currency,
            amount_minor=check_amount(amount_minor),
            payment_id=payment_id,
            at_ms=self._clock.wall_ms(),
        )

    async def hold(
        self,
        tx: Tx,
        *,
        key: str,
        user_id: str,
        currency: str,
        amount_minor: int,
        order_id: str | None,
        session_id: str | None = None,
    ) -> HoldResult:
        """Set an available amount of a wallet aside, or record that it was not there.

        A refusal is final for its key and tells the shortfall; ask again under a new key.
        """
        check_currency(currency)
        return await holds.hold(
            tx,
            key=check_key(key),
            user_id=user_id,
            currency=currency,
            amount_minor=check_amount(amount_minor),
            order_id=order_id,
            session_id=session_id,
            at_ms=self._clock.wall_ms(),
        )

    async def capture(
        self,
        tx: Tx,
        *,
        key: str,
        parts: Sequence[HoldPart],
        expert_id: str,
        fee_minor: int,
        order_id: str | None,
        session_id: str | None,
    ) -> TransferResult:
        """Pay from holds: the sum of the parts, less the fee, to the expert, the fee to the
        platform.

        The holds belong to one wallet; a part may be 0. All or nothing: raises
        `NotFound("hold_not_found")`, `Conflict("hold_exhausted")`,
        `Conflict("holds_of_two_wallets")`.
        """
        return await transfers.capture(
            tx,
            key=check_key(key),
            parts=parts,
            expert_id=expert_id,
            fee_minor=fee_minor,
            order_id=order_id,
            session_id=session_id,
            at_ms=self._clock.wall_ms(),
        )

    async def release(
        self, tx: Tx, *, key: str, hold_id: str, amount_minor: int | None = None
    ) -> ReleaseResult:
        """Make a part of a hold (None: all that is left) available again.

        A resolved or refused hold answers `already_resolved` and nothing changes. Raises
        `NotFound("hold_not_found")`, `Conflict("hold_exhausted")`.
        """
        if amount_minor is not None:
            check_amount(amount_minor)
        return await holds.release(
            tx,
            key=check_key(key),
            hold_id=hold_id,
            amount_minor=amount_minor,
            at_ms=self._clock.wall_ms(),
        )

    async def reverse(
        self,
        tx: Tx,
        *,
        key: str,
        transfer_id: str,
        amount_minor: int,
        fee_minor: int,
        reason: str,
        order_id: str | None,
        session_id: str | None,
    ) -> TransferResult:
        """Give back a capture, wholly or in part: `fee_minor` from the platform, the rest of
        `amount_minor` from the expert, whose earnings may become negative.

        Raises `NotFound("capture_not_found")`, and `Conflict("reversal_exceeds_capture")` when all
        reversals of that capture would exceed what expert or platform got.
        """
        check_amount(amount_minor)
        transfers.check_fee(fee_minor, amount_minor)
        if len(reason) > MAX_REASON_LENGTH:
            raise BadInput("bad_reason", f"A reason has at most {MAX_REASON_LENGTH} characters.")
        return await transfers.reverse(
            tx,
            key=check_key(key),
            transfer_id=transfer_id,
            amount_minor=amount_minor,
            fee_minor=fee_minor,
            reason=reason,
            order_id=order_id,
            session_id=session_id,
            at_ms=self._clock.wall_ms(),
        )

    async def holds_of_order(self, tx: Tx, order_id: str) -> list[HoldView]:
        """Every hold granted for the order, resolved ones included, oldest first."""
        return await views.holds_of_order(tx, order_id)

    async def payout(
        self,
        tx: Tx,
        *,
        key: str,
        user_id: str,
        currency: str,
        amount_minor: int,
        payment_id: str,
    ) -> TransferResult:
        """Send earnings on their way to the expert's bank; `end_payout` tells how it went.

        Raises `Conflict("insufficient_earnings")`.
        """
        check_currency(currency)
        return await payouts.payout(
            tx,
            key=check_key(key),
            user_id=user_id,
            currency=currency,
            amount_minor=check_amount(amount_minor),
            payment_id=payment_id,
            at_ms=self._clock.wall_ms(),
        )

    async def end_payout(self, tx: Tx, *, key: str, payment_id: str, paid: bool) -> TransferResult:
        """The payout reached the bank, or returns to the earnings.

        Raises `NotFound("payout_not_found")`, `Conflict("payout_ended")`.
        """
        at_ms = self._clock.wall_ms()
        return await payouts.end(
            tx, key=check_key(key), payment_id=payment_id, paid=paid, at_ms=at_ms
        )

    async def adjust(
        self,
        tx: Tx,
        *,
        key: str,
        kind: AccountKind,
        user_id: str,
        currency: str,
        amount_minor: int,
        reason: str,
    ) -> TransferResult:
        """Set a wallet or earnings right by hand: from the platform's fees, or to them if
        `amount_minor` is negative. Earnings may become negative, a wallet cannot.

        Raises `BadInput("bad_reason")` without a reason, `Conflict("insufficient_funds")`.
        """
        check_currency(currency)
        check_amount(abs(amount_minor))
        if kind not in {AccountKind.WALLET, AccountKind.EARNINGS}:
            raise BadInput("bad_account", "Only wallets and earnings are adjusted.")
        if not reason.strip() or len(reason) > MAX_REASON_LENGTH:
            raise BadInput("bad_reason", f"A reason has 1 to {MAX_REASON_LENGTH} characters.")
        return await payouts.adjust(
            tx,
            key=check_key(key),
            kind=kind,
            user_id=user_id,
            currency=currency,
            amount_minor=amount_minor,
            reason=reason,
            at_ms=self._clock.wall_ms(),
        )

    async def open_holds(
        self, tx: Tx, *, order_id: str | None = None, session_id: str | None = None
    ) -> list[HoldView]:
        """Unresolved holds, oldest first, of this order and this session if given."""
        return await views.open_holds(tx, order_id=order_id, session_id=session_id)

    async def session_total(self, tx: Tx, session_id: str) -> SessionTotal:
        """What the session's transfers add up to."""
        return await views.session_total(tx, session_id)

    async def transactions(
        self, tx: Tx, user_id: str, currency: str, *, limit: int = 50, before: int | None = None
    ) -> list[StatementLine]:
        """The wallet's movements, newest first, at most 200; `before` is a line's cursor."""
        return await views.transactions(tx, user_id, currency, limit=limit, before=before)
