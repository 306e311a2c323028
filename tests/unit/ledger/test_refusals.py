"""What the ledger refuses before it looks at any account: a stable code, and nothing moved."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import BadInput
from engine.metering.ledger import AccountKind
from tests.unit.ledger.conftest import Till

_REVERSAL: dict[str, Any] = {
    "key": "back",
    "transfer_id": "trf_1",
    "amount_minor": 5,
    "fee_minor": 1,
    "reason": "",
    "order_id": None,
    "session_id": None,
}
_ADJUSTMENT = {
    "key": "by hand",
    "kind": AccountKind.EARNINGS,
    "user_id": "eva",
    "currency": "TRY",
    "amount_minor": 5,
    "reason": "because",
}
_PAYOUT = {
    "key": "out",
    "user_id": "eva",
    "currency": "TRY",
    "amount_minor": 5,
    "payment_id": "pay_1",
}
_TOPUP = {"key": "in", "user_id": "ann", "currency": "TRY", "amount_minor": 5, "payment_id": None}
_RELEASE = {"key": "free", "hold_id": "hold_1"}
_ACCOUNT = {"kind": AccountKind.FEES, "owner_id": "platform", "currency": "TRY"}


@pytest.mark.parametrize(
    ("what", "asked", "wrong", "code"),
    [
        ("account", _ACCOUNT, {"currency": "XYZ"}, "bad_currency"),
        ("topup", _TOPUP, {"currency": "XYZ"}, "bad_currency"),
        ("payout", _PAYOUT, {"currency": "XYZ"}, "bad_currency"),
        ("release", _RELEASE, {"amount_minor": 0}, "bad_amount"),
        ("reverse", _REVERSAL, {"fee_minor": 6}, "bad_amount"),
        ("reverse", _REVERSAL, {"reason": "x" * 201}, "bad_reason"),
        ("adjust", _ADJUSTMENT, {"currency": "XYZ"}, "bad_currency"),
        ("adjust", _ADJUSTMENT, {"amount_minor": 0}, "bad_amount"),
        ("adjust", _ADJUSTMENT, {"kind": AccountKind.FEES}, "bad_account"),
        ("adjust", _ADJUSTMENT, {"reason": "x" * 201}, "bad_reason"),
    ],
)
async def test_a_wrong_request_moves_nothing(
    till: Till, what: str, asked: dict[str, Any], wrong: dict[str, Any], code: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        async with till.store.transaction() as tx:
            await getattr(till.ledger, what)(tx, **(asked | wrong))
    assert refusal.value.code == code


async def test_the_longest_reason_is_allowed(till: Till) -> None:
    async with till.store.transaction() as tx:
        done = await till.ledger.adjust(tx, **(_ADJUSTMENT | {"reason": "x" * 200}))
        assert not done.replayed
        await till.ledger.topup(tx, **_TOPUP)
        held = await till.hold_in(tx, "h", 5)
        taken = await till.capture_in(tx, "c", [(held.hold_id, 5)], fee=1)
        asked = {"transfer_id": taken.transfer_id, "reason": "x" * 200}
        back = await till.ledger.reverse(tx, **(_REVERSAL | asked))
    assert not back.replayed


async def test_a_statement_has_fifty_lines_unless_asked_for_more(till: Till) -> None:
    for n in range(51):
        await till.topup(1, key=f"t{n}")
    async with till.store.reading() as tx:
        assert len(await till.ledger.transactions(tx, "ann", "TRY")) == 50
        assert len(await till.ledger.transactions(tx, "ann", "TRY", limit=60)) == 51
