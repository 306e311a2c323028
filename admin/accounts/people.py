"""Who is asking, and the few facts about people that other parts show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from admin.market.actors import Actor
from admin.queries import Row
from engine.errors import Forbidden
from engine.store.database import Tx
from engine.store.tables import users

PERMISSIONS = frozenset(
    {
        "listings.moderate",
        "applications.review",
        "requests.triage",
        "support",
        "disputes.decide",
        "finance",
        "admin",
    }
)
"""What staff may be allowed; `admin` includes the others."""

DESKS: Mapping[str, str] = {
    "listing": "listings.moderate",
    "application": "applications.review",
    "triage": "requests.triage",
    "dispute": "disputes.decide",
    "report": "support",
    "support": "support",
    "payout": "finance",
    "payment": "finance",
}
"""By kind of case: whose desk it is on, and so who reads what belongs to it."""


@dataclass(frozen=True)
class Viewer:
    """A signed-in, active user."""

    id: str
    email: str
    display_name: str
    roles: frozenset[str]
    locale: str
    timezone: str = "UTC"
    email_verified: bool = True
    tokens_valid_from_ms: int = 0

    @property
    def permissions(self) -> frozenset[str]:
        return PERMISSIONS if "admin" in self.roles else self.roles & PERMISSIONS

    @property
    def is_staff(self) -> bool:
        return bool(self.permissions)

    def require(self, permission: str) -> None:
        """Raises `Forbidden("not_permitted")`."""
        if permission not in self.permissions:
            raise Forbidden("not_permitted", f"This needs the permission {permission}.")

    def require_verified_email(self) -> None:
        """For ordering, requests and becoming an expert (model O1).

        Raises `Forbidden("email_not_verified")`.
        """
        if not self.email_verified:
            raise Forbidden("email_not_verified", "Confirm your e-mail address first.")

    @property
    def actor(self) -> Actor:
        """The user as `admin.market.transitions` knows who acts."""
        return Actor(self.id, self.permissions)


async def find_active(tx: Tx, user_id: str) -> Viewer | None:
    """The user, unless unknown, suspended or erased."""
    query = sa.select(users).where(users.c.id == user_id, users.c.state == "active")
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else viewer_of(row)


async def is_erased(tx: Tx, user_id: str) -> bool:
    """Whether nobody is left whom money could belong to.

    The row is locked against an erasure until the transaction ends: else money could come between
    its look at the account and its commit.
    """
    query = sa.select(users.c.state).where(users.c.id == user_id).with_for_update(read=True)
    return await tx.scalar(query) == "erased"


def viewer_of(row: Row) -> Viewer:
    return Viewer(
        id=row.id,
        email=row.email,
        display_name=row.display_name,
        roles=frozenset(row.roles),
        locale=row.locale,
        timezone=row.timezone,
        email_verified=row.email_verified_at_ms is not None,
        tokens_valid_from_ms=row.tokens_valid_from_ms,
    )
