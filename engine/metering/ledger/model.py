"""What the ledger takes and answers. Amounts are integer minor units of the account's currency."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

PLATFORM: Final = "platform"
"""Owner of the fees, psp and payouts accounts."""


class AccountKind(enum.StrEnum):
    WALLET = "wallet"
    EARNINGS = "earnings"
    FEES = "fees"
    PSP = "psp"
    PAYOUTS = "payouts"
    """Earnings on their way to experts' banks."""

    @property
    def folded(self) -> bool:
        """Whether the balance is kept in the account's row; else it is summed from its entries."""
        return self in {AccountKind.WALLET, AccountKind.EARNINGS}


class TransferKind(enum.StrEnum):
    TOPUP = "topup"
    CAPTURE = "capture"
    REVERSE = "reverse"
    PAYOUT = "payout"
    PAYOUT_PAID = "payout_paid"
    PAYOUT_RETURNED = "payout_returned"
    ADJUST = "adjust"


class HoldState(enum.StrEnum):
    GRANTED = "granted"
    REFUSED = "refused"
    RESOLVED = "resolved"


class HoldStatus(enum.StrEnum):
    """How a hold was answered; final for its key."""

    GRANTED = "granted"
    REFUSED = "refused"


class ReleaseStatus(enum.StrEnum):
    RELEASED = "released"
    ALREADY_RESOLVED = "already_resolved"


@dataclass(frozen=True, slots=True)
class Account:
    """One account; `balance_minor` is None for the platform's, which are not folded."""

    id: str
    kind: AccountKind
    owner_id: str
    currency: str
    balance_minor: int | None
    held_minor: int

    @property
    def available_minor(self) -> int:
        return (self.balance_minor or 0) - self.held_minor


@dataclass(frozen=True, slots=True)
class WalletView:
    balance_minor: int
    held_minor: int

    @property
    def available_minor(self) -> int:
        return self.balance_minor - self.held_minor


@dataclass(frozen=True, slots=True)
class TransferResult:
    """A posted transfer: `amount_minor` is what the customer's wallet moved by, the fee is part of
    it.
    """

    transfer_id: str
    kind: TransferKind
    amount_minor: int
    fee_minor: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class HoldResult:
    """`shortfall_minor` is what was missing at that moment; 0 if granted."""

    status: HoldStatus
    hold_id: str
    amount_minor: int
    shortfall_minor: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class HoldPart:
    """How much of which hold to capture."""

    hold_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    status: ReleaseStatus
    amount_minor: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class HoldView:
    id: str
    key: str
    account_id: str
    state: HoldState
    amount_minor: int
    captured_minor: int
    released_minor: int
    order_id: str | None
    session_id: str | None

    @property
    def remaining_minor(self) -> int:
        """What can still be captured or released; 0 for a refused hold."""
        if self.state is HoldState.REFUSED:
            return 0
        return self.amount_minor - self.captured_minor - self.released_minor


@dataclass(frozen=True, slots=True)
class SessionTotal:
    """What a session's transfers add up to; the fees are part of the amounts."""

    captured_minor: int
    fee_minor: int
    reversed_minor: int
    reversed_fee_minor: int


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One movement of a wallet; `cursor` is what `transactions(before=…)` takes to go on."""

    cursor: int
    transfer_id: str
    kind: TransferKind
    amount_minor: int  # signed: what the balance changed by
    order_id: str | None
    session_id: str | None
    reason: str | None
    at_ms: int
