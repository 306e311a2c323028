"""What the store has of accounts, transfers and holds: other words would not find former rows."""

from __future__ import annotations

from engine.metering.ledger.model import AccountKind, HoldState, TransferKind


def test_kinds_and_states_are_stored_under_these_words() -> None:
    assert [*AccountKind] == ["wallet", "earnings", "fees", "psp", "payouts"]
    assert [*TransferKind] == [
        *("topup", "capture", "reverse"),
        *("payout", "payout_paid", "payout_returned", "adjust"),
    ]
    assert [*HoldState] == ["granted", "refused", "resolved"]
