"""Who is told of what: an event's type to its notice (model: notification catalogue)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

INAPP, EMAIL, SMS = "inapp", "email", "sms"


@dataclass(frozen=True)
class Notice:
    """`to`: ``customer``, ``expert``, ``counterparty`` (whichever of the two did not act),
    ``members`` and ``opener`` (of a case), ``user``, ``owner`` or ``self`` (the row is the person),
    resolved on the row that the event is about; nobody is told of their own act. `security`: about
    the account itself, so it cannot be muted and also reaches addresses that are not confirmed and
    accounts that are suspended.
    """

    to: Sequence[str]
    channels: Sequence[str] = (INAPP, EMAIL)
    security: bool = False


def _account(*channels: str) -> Notice:
    return Notice(("self",), channels or (INAPP, EMAIL), security=True)


CATALOGUE: dict[str, Notice] = {
    "account.confirm_email": _account(EMAIL),
    "account.already_registered": _account(EMAIL),
    "account.reset_password": _account(EMAIL),
    "account.password_changed": _account(),
    "user.suspended": _account(EMAIL),
    "user.reinstated": _account(),
    "message.received": Notice(("user",)),
    "request.received": Notice(("expert",), (INAPP, EMAIL, SMS)),
    "request.expired": Notice(("customer",)),
    "proposal.created": Notice(("counterparty",)),
    "proposal.accepted": Notice(("counterparty",)),
    "proposal.declined": Notice(("counterparty",)),
    "proposal.withdrawn": Notice(("counterparty",)),
    "proposal.lost": Notice(("expert",)),
    "proposal.dropped": Notice(("expert",)),
    "proposal.expired": Notice(("expert",), (INAPP,)),
    "order.paid": Notice(("expert",)),
    "order.started": Notice(("customer",)),
    "order.delivered": Notice(("customer",)),
    "order.returned": Notice(("expert",)),
    "order.completed": Notice(("counterparty",)),
    "order.refused": Notice(("customer",)),
    "order.cancelled": Notice(("counterparty",)),
    "order.cancel_agreed": Notice(("customer",)),
    "order.disputed": Notice(("counterparty",)),
    "order.dispute_withdrawn": Notice(("counterparty",)),
    "payout.approved": Notice(("user",), (INAPP,)),
    "payout.sent": Notice(("user",)),
    "payout.paid": Notice(("user",)),
    "payout.failed": Notice(("user",)),
    "order.requirements_changed": Notice(("expert",), (INAPP,)),
    "order.delivery_added": Notice(("customer",), (INAPP,)),
    "order.refunded": Notice(("customer", "expert")),
    "wallet.negative": Notice(("expert",), (INAPP, EMAIL)),
    "case.info_requested": Notice(("members",)),
    "case.decided": Notice(("members",)),
    "review.created": Notice(("expert",)),
    "review.replied": Notice(("customer",)),
    "listing.published": Notice(("expert",)),
    "listing.changes_requested": Notice(("expert",)),
    "listing.rejected": Notice(("expert",)),
    "listing.taken_down": Notice(("expert",)),
    "listing.restored": Notice(("expert",)),
    "application.approved": Notice(("opener",)),
    "application.rejected": Notice(("opener",)),
    "application.info_requested": Notice(("opener",)),
}

COLUMNS = {"self": "id", "opener": "opened_by"}
"""Where a row has the recipient, unless in `<to>_id`."""


def channels_of(type_: str) -> Sequence[str]:
    """Those that the type uses; none of a type that is not in the catalogue."""
    notice = CATALOGUE.get(type_)
    return () if notice is None else notice.channels
