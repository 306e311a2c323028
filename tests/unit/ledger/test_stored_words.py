"""What the store has of accounts, transfers and holds: other words would not find former rows."""

from __future__ import annotations

import sqlalchemy as sa

from engine.metering.ledger import AccountKind, HoldState
from engine.metering.ledger.keys import request_hash
from engine.metering.ledger.model import TransferKind
from engine.store import tables as t
from tests.unit.ledger.conftest import Till


def test_kinds_and_states_are_stored_under_these_words() -> None:
    assert [*AccountKind] == ["wallet", "earnings", "fees", "psp", "payouts"]
    assert [*TransferKind] == [
        *("topup", "capture", "reverse"),
        *("payout", "payout_paid", "payout_returned", "adjust"),
    ]
    assert [*HoldState] == ["granted", "refused", "resolved"]


async def test_a_request_is_recognised_by_a_later_version_too(till: Till) -> None:
    """A key is looked up long after it was used: what it stood for is told by these hashes."""
    await till.topup(1_000, key="in")
    hold = await till.hold("h", 300)
    taken = await till.capture("c", [(hold.hold_id, 300)], fee=30)
    await till.reverse("back", taken.transfer_id, 10, fee=1)
    async with till.store.transaction() as tx:
        about = {"user_id": "eva", "currency": "TRY"}
        await till.ledger.payout(tx, key="out", amount_minor=5, payment_id="p", **about)
        await till.ledger.end_payout(tx, key="end", payment_id="p", paid=True)
        await till.ledger.adjust(
            tx, key="by hand", kind=AccountKind.EARNINGS, amount_minor=5, reason="so", **about
        )
    parts = {hold.hold_id: 300}
    assert await _hashes(till) == {
        "in": request_hash("topup", "ann", "TRY", 1_000, None),
        "h": request_hash("hold", "ann", "TRY", 300, "ord_1", "ses_1"),
        "c": request_hash("capture", parts, "eva", 30, "ord_1", "ses_1"),
        "back": request_hash("reverse", taken.transfer_id, 10, 1, "not served", "ord_1", "ses_1"),
        "out": request_hash("payout", "eva", "TRY", 5, "p"),
        "end": request_hash("payout_paid", "p"),
        "by hand": request_hash("adjust", "earnings", "eva", "TRY", 5, "so"),
    }
    assert (hold.hold_id[:5], taken.transfer_id[:3]) == ("hold_", "tr_")


async def _hashes(till: Till) -> dict[str, str]:
    found: dict[str, str] = {}
    async with till.store.reading() as tx:
        for table in (t.transfers, t.holds):
            query = sa.select(table.c.key, table.c.request_hash)
            found |= {row.key: row.request_hash for row in await tx.execute(query)}
    return found
