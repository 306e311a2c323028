"""What an operator decides about the marketplace: one object, snapshotted into every order."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from engine.metering import money

HOUR_S = 3_600
DAY_S = 24 * HOUR_S


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times in seconds, None switches a rule off. Raises `ValueError` naming the field.

    `pay_within_s`: an unpaid order is then cancelled. `auto_accept_after_s`: silence accepts
    delivered work. `rework_limit`: how often a delivery may be returned. `dispute_window_s`: after
    an order's end. `refusal_weight`: a refusal counts as so many one-star reviews. `max_files`,
    `max_links`: of a listing of digital goods. `random_invites`: experts that are asked when a
    request names none. `*_sla_s`: when a case in the staff's queue is due and when overdue.
    """

    commission_bps: int = 2_000
    pay_within_s: int | None = 7 * DAY_S
    auto_accept_after_s: int | None = None
    rework_limit: int | None = None
    dispute_window_s: int = 14 * DAY_S
    dispute_sla_s: tuple[int, int] = (48 * HOUR_S, 72 * HOUR_S)
    order_idle_close_s: int | None = 90 * DAY_S
    review: Literal["optional", "required"] = "optional"
    review_edit_s: int = 14 * DAY_S
    refusal_weight: int = 1
    listing_moderation: bool = True
    listing_sla_s: tuple[int, int] = (24 * HOUR_S, 48 * HOUR_S)
    expert_applications: bool = False
    """Whether becoming an expert is decided by staff; else it is immediate."""
    max_files: int = 3
    max_links: int = 3
    request_deadline_s: int = 7 * DAY_S
    random_invites: int = 3
    off_platform_filter: bool = True
    contact_reveal: Literal["never", "on_paid"] = "never"
    payout_minimum_minor: int = 1_000

    def __post_init__(self) -> None:
        _check("commission_bps", self.commission_bps, 0, money.BASIS_POINTS)
        for name in ("pay_within_s", "auto_accept_after_s", "order_idle_close_s"):
            value = getattr(self, name)
            if value is not None:
                _check(name, value, 60, 3_650 * DAY_S)
        _check("dispute_window_s", self.dispute_window_s, 0, 3_650 * DAY_S)
        _check("rework_limit", self.rework_limit or 0, 0, 100)
        _check("refusal_weight", self.refusal_weight, 0, 10)
        _check("max_files", self.max_files, 0, 20)
        _check("max_links", self.max_links, 0, 20)
        _check("request_deadline_s", self.request_deadline_s, HOUR_S, 365 * DAY_S)
        _check("random_invites", self.random_invites, 1, 50)
        _check("payout_minimum_minor", self.payout_minimum_minor, 1, money.MAX_AMOUNT_MINOR)

    def fee_minor(self, amount_minor: int) -> int:
        """The platform's part of a whole price, rounded down like every fee."""
        return money.fee_minor(amount_minor, self.commission_bps)


def of_order(stored: dict[str, object]) -> Terms:
    """An order's snapshot. Orders of before there were terms have none: the defaults."""
    return msgspec.convert(stored, Terms)


def _check(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{field} must be {least} to {most}")
