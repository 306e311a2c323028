"""Who trades with whom in the bank test: few wallets, many sessions, short blocks."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from admin.market.terms import Terms
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from engine.session.ports import SessionSettings
from engine.store import tables as t
from engine.store.database import Tx

CURRENCY: Final = "TRY"
CUSTOMERS: Final = tuple(f"usr_customer{n}" for n in range(5))
EXPERTS: Final = tuple(f"usr_expert{n:02}" for n in range(60))
TARIFFS: Final = {
    # Batches of one-second blocks; 16.66… a second.
    "text": Tariff(
        currency=CURRENCY,
        price_minor=1_000,
        per_seconds=60,
        block_seconds=1,
        prepaid_seconds=2,
        grace_seconds=0,
    ),
    # Longer blocks, and a grace that makes short sessions void.
    "audio": Tariff(
        currency=CURRENCY,
        price_minor=333,
        per_seconds=7,
        block_seconds=2,
        prepaid_seconds=2,
        grace_seconds=1,
        grace_sessions=2,
    ),
    # Nothing prepaid: everything comes from the wallet that others draw on too.
    "video": Tariff(
        currency=CURRENCY,
        price_minor=777,
        per_seconds=10,
        block_seconds=1,
        prepaid_seconds=0,
        grace_seconds=0,
    ),
}

POLICY: Final = Policy(
    commission_bps=1_500,
    ring_timeout_s=2,
    connect_timeout_s=3,
    reconnect_window_s=4,
    low_balance_s=(3, 1),
    text_idle_end_s=6,
    customer_live_sessions=100,
    hold_slice_seconds=3,
)

TERMS: Final = Terms(commission_bps=POLICY.commission_bps)

SETTINGS: Final = SessionSettings(
    invites_per_s=1_000,
    invite_burst=1_000,
    checkpoint_every_s=0.2,
    stale_after_s=1.0,
    resume_within_s=3,
    retry_after_s=0.2,
)


def topup_of(number: int) -> tuple[str, str, int]:
    """Key, customer and amount of a top-up: whoever repeats a number asks for the same."""
    digest = hashlib.sha256(f"topup {number}".encode()).digest()
    customer = CUSTOMERS[digest[0] % len(CUSTOMERS)]
    return f"topup:{number}", customer, 20 + int.from_bytes(digest[1:3], "big") % 150


async def populate(tx: Tx) -> None:
    """People and listings. Orders are the scripts' business."""
    people = [(user, ["member"]) for user in CUSTOMERS]
    people += [(user, ["member", "expert"]) for user in EXPERTS]
    await tx.execute(sa.insert(t.users), [_user(user, roles) for user, roles in people])
    experts = [{"user_id": user, "slug": user, "languages": ["en"]} for user in EXPERTS]
    await tx.execute(sa.insert(t.experts), experts)
    await tx.execute(sa.insert(t.listings), [_listing(user) for user in EXPERTS])


def listing_of(expert: str) -> str:
    return f"lst_{expert}"


def _user(user_id: str, roles: list[str]) -> dict[str, Any]:
    return {
        "id": user_id,
        "email": f"{user_id}@example.com",
        "display_name": user_id,
        "password_hash": "-",
        "email_verified_at_ms": 1,
        "roles": roles,
        "created_at_ms": 0,
    }


def _listing(expert: str) -> dict[str, Any]:
    return {
        "id": listing_of(expert),
        "expert_id": expert,
        "kind": "consult",
        "title": "Advice",
        "description": "",
        "state": "published",
        "tariffs": {mode: msgspec.to_builtins(tariff) for mode, tariff in TARIFFS.items()},
        "created_at_ms": 0,
    }
