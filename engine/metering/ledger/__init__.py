"""The ledger: double entry, holds, and results that a retry cannot change.

Accounts
    A *wallet* per customer and currency, *earnings* per expert and currency, and the platform's
    *fees* and *psp* (the world outside: what came in by top-ups is its negative balance). Money
    moves by *transfers* whose *entries* sum to zero, so that the sum over all accounts is zero at
    any time. Wallets and earnings keep their balance folded in the account's row. The platform's
    accounts are part of every transfer: their row is never locked or written, their balance is the
    sum of their entries.

Holds
    A hold promises a part of a wallet to one order or session without moving it: ``available =
    balance - held``. It is granted by one conditional statement (``held += amount where balance -
    held >= amount``), so two sessions or two nodes cannot both get the last block; the store's
    constraints ``balance >= 0`` and ``0 <= held <= balance`` have the last word. A refused hold is
    recorded too, and final for its key: a retry after a top-up takes a new key.

    Money leaves a hold in two ways, each in as many parts as needed, never more than was held:
    *capture* moves it from the wallet to the expert's earnings and the platform's fees; *release*
    makes it available again. A hold with nothing left is *resolved*. *Reverse* gives back what was
    captured; the expert's earnings may then become negative, the wallet never can.

    A block of 900.00 with 15 % commission, of which the engine fails to serve a third, and which is
    given back in the end; behind each call the balances after it::

                                                            wallet   held  earnings   fees
        await ledger.topup(tx, key="topup:pay_1", …)      # 1000.00      0         0      0
        hold = await ledger.hold(
            tx, key="order:o:prepay", user_id=customer,
            currency="TRY", amount_minor=90_000, …)       # 1000.00    900         0      0
        paid = await ledger.capture(
            tx, key="session:s:capture:1", fee_minor=9_000,
            parts=[HoldPart(hold.hold_id, 60_000)], …)    #  400.00    300       510     90
        await ledger.release(
            tx, key="session:s:settle",
            hold_id=hold.hold_id)                         #  400.00      0       510     90
        await ledger.reverse(
            tx, key="refund:r", transfer_id=paid.transfer_id,
            amount_minor=60_000, fee_minor=9_000, …)      # 1000.00      0         0      0

Calling it
    Every function takes the caller's transaction first and never commits, so that money moves
    together with the row that explains it. A key names one hold, one transfer, and one release
    of each hold (so one settlement may capture and release under one key). The same key with the
    same request answers the stored result (``replayed=True``) and changes nothing; with another
    request it raises ``Conflict("idempotency_key_reused")``. Outcomes of business (granted,
    refused) are a closed enum in the result; what a correct caller never asks for is an exception,
    which leaves nothing written, so that it cannot be overlooked:

        NotFound  hold_not_found, capture_not_found
        Conflict  idempotency_key_reused, hold_exhausted, holds_of_two_wallets,
                  reversal_exceeds_capture
        BadInput  bad_amount, bad_currency, bad_key, bad_reason

Locks (PostgreSQL, READ COMMITTED)
    Always the customer's wallet first, then its holds and the transfer's key, then the expert's
    earnings. Whoever changes a hold has locked its wallet, so reading a hold under the lock is
    final. A transaction should touch one wallet; one that touches two may be the victim of a
    deadlock, which the store reports as ``Unavailable("store_unavailable")``: repeat it with the
    same keys. SQLite has one writer anyway.

Speed
    The common case comes first and in as few statements as it can: a hold is granted and recorded
    before anyone asks whether its key is new (if not, the grant is taken back), and one look under
    the lock tells a capture its holds, accounts and whether it was posted. Statements are made
    once, with named parameters; on PostgreSQL those of a hold and of a capture go to the driver
    directly (`engine.store.prepared`). ``python -m loadtests.bench.money`` compares the ledger with
    the bare store.
"""

from engine.metering.ledger.model import (
    Account,
    AccountKind,
    HoldPart,
    HoldResult,
    HoldState,
    HoldStatus,
    HoldView,
    ReleaseResult,
    ReleaseStatus,
    SessionTotal,
    StatementLine,
    TransferKind,
    TransferResult,
    WalletView,
)
from engine.metering.ledger.service import Ledger

__all__ = [
    "Account",
    "AccountKind",
    "HoldPart",
    "HoldResult",
    "HoldState",
    "HoldStatus",
    "HoldView",
    "Ledger",
    "ReleaseResult",
    "ReleaseStatus",
    "SessionTotal",
    "StatementLine",
    "TransferKind",
    "TransferResult",
    "WalletView",
]
