"""What becomes of an account: suspended and reinstated by staff, erased by its owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from admin.accounts.people import PERMISSIONS
from admin.accounts.registration import end_sign_ins
from admin.accounts.schemas import StaffReason
from admin.market.transitions import Actor, Machine, Move, Situation, Step, Subject
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import Conflict, Forbidden, TalktimeError
from engine.store.database import Tx
from engine.store.market_tables import (
    cases,
    files,
    marks,
    notification_preferences,
    requests,
)
from engine.store.tables import accounts, experts, orders, payments, users

OPEN_ORDER = ("pending_payment", "open", "delivered", "disputed")
_OPEN_REQUEST = ("untriaged", "open")
_MONEY_UNDER_WAY = ("pending", "requested", "approved", "sent")
ERASED_NAME = "(erased)"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Facts:
    """What keeps an account from being erased."""

    money: bool
    payments: bool
    orders: bool
    requests: bool
    live: bool


# Guards -------------------------------------------------------------------------------------------


def _not_oneself(situation: Situation) -> TalktimeError | None:
    if "self" in situation.parties:
        return Conflict("own_account", "Not your own account.")
    return None


def _staff_by_admins(situation: Situation) -> TalktimeError | None:
    if PERMISSIONS & {*situation.row.roles} and "admin" not in situation.parties:
        return Forbidden("not_permitted", "Only administrators decide about staff.")
    return None


def _nothing_left(situation: Situation) -> TalktimeError | None:
    facts: Facts = situation.facts
    if facts.live:
        return Conflict("session_running", "End the running session first.")
    if facts.orders:
        return Conflict("orders_open", "Some of your orders or sales are still open.")
    if facts.requests:
        return Conflict("requests_open", "Cancel your open requests first.")
    if facts.payments:
        return Conflict("payments_pending", "A payment of yours is still under way.")
    if facts.money:
        return Conflict("balance_left", "There is still money in your account.")
    return None


# Effects ------------------------------------------------------------------------------------------


async def _lock_out(step: Step) -> None:
    """Void everything that the user is signed in with; what runs is ended after the commit."""
    step.values["tokens_valid_from_ms"] = step.now_ms
    step.data["reason"] = step.body.reason
    await end_sign_ins(step.tx, step.row.id)
    deps, user_id, by = step.deps, step.row.id, step.actor.id
    step.after.append(lambda: disconnect(deps, user_id, by=by))


async def _note_reason(step: Step) -> None:
    step.data["reason"] = step.body.reason


async def _pseudonymise(step: Step) -> None:
    """Nothing of the person is left but an id, which the ledger and the other parties' orders
    need."""
    tx, user_id = step.tx, step.row.id
    step.values |= {
        "email": f"{user_id}@erased.invalid",  # RFC 2606: nobody has such an address
        "display_name": ERASED_NAME,
        "password_hash": "-",
        "roles": [],
        "phone": None,
        "photo_file_id": None,
        "email_verified_at_ms": None,
        "email_bounced_at_ms": None,
        "locale": "en",
        "timezone": "UTC",
        "tokens_valid_from_ms": step.now_ms,
    }
    await end_sign_ins(tx, user_id)
    await tx.execute(
        sa.update(experts)
        .where(experts.c.user_id == user_id)
        .values(
            slug=user_id.replace("_", "-"),
            headline="",
            about="",
            education="",
            experience="",
            skills=[],
            languages=[],
            active=False,
            presence_status="undefined",
            availability="0" * 168,
            payout_details=None,
        )
    )
    for table in (marks, notification_preferences):
        await tx.execute(sa.delete(table).where(table.c.user_id == user_id))
    await tx.execute(
        sa.update(files)
        .where(files.c.owner_id == user_id, files.c.purpose == "photo")
        .values(state="deleted")
    )
    await tx.execute(
        sa.update(cases)
        .where(cases.c.opened_by == user_id, cases.c.kind == "application")
        .values(title=ERASED_NAME, body="", data={}, files=[], updated_at_ms=step.now_ms)
    )
    await tx.execute(
        sa.update(cases)
        .where(cases.c.opened_by == user_id, cases.c.kind == "application")
        .where(cases.c.state.in_(("open", "in_progress", "info_requested")))
        .values(state="withdrawn")
    )
    deps = step.deps
    step.after.append(lambda: disconnect(deps, user_id, by=user_id))


async def disconnect(deps: AdminDeps, user_id: str, *, by: str) -> None:
    """End every connection and running session of a user who may not act any more."""
    deps.sockets.dismiss_user(user_id, "account_suspended", "This account is not active.")
    for view in list(deps.sessions.live_sessions()):
        if user_id in (view.customer_id, view.expert_id):
            try:
                await deps.sessions.terminate(view.session_id, by=by)
            except TalktimeError as error:
                _log.warning("session_not_ended", session=view.session_id, code=error.code)


# The table ----------------------------------------------------------------------------------------

MOVES = (
    Move(
        action="suspend",
        frm=("active",),
        to="suspended",
        permission="support",
        guards=(_not_oneself, _staff_by_admins),
        effects=(_lock_out,),
        event="user.suspended",
        body=StaffReason,
    ),
    Move(
        action="reinstate",
        frm=("suspended",),
        to="active",
        permission="support",
        guards=(_staff_by_admins,),
        effects=(_note_reason,),
        event="user.reinstated",
        body=StaffReason,
    ),
    Move(
        action="erase",
        frm=("active",),
        to="erased",
        by=("self",),
        guards=(_nothing_left,),
        effects=(_pseudonymise,),
        event="user.erased",
    ),
)


def _parties(row: Row, actor: Actor) -> frozenset[str]:
    parties = {"self"} if row.id == actor.id else set()
    return frozenset(parties | ({"admin"} if "admin" in actor.permissions else set()))


async def _facts(deps: AdminDeps, tx: Tx, rows: Sequence[Row]) -> Mapping[str, Facts]:
    return {row.id: await _facts_of(deps, tx, row.id) for row in rows}


async def _facts_of(deps: AdminDeps, tx: Tx, user_id: str) -> Facts:
    async def any_of(table: sa.Table, *where: sa.ColumnElement[bool]) -> bool:
        return bool(await tx.scalar(sa.select(sa.exists().where(*where).select_from(table))))

    orders_of = sa.or_(orders.c.customer_id == user_id, orders.c.expert_id == user_id)
    balance = sa.or_(sa.func.coalesce(accounts.c.balance_minor, 0) != 0, accounts.c.held_minor != 0)
    return Facts(
        money=await any_of(accounts, accounts.c.owner_id == user_id, balance),
        payments=await any_of(
            payments,
            payments.c.user_id == user_id,
            payments.c.state.in_(_MONEY_UNDER_WAY),  # each ends: `admin.payments.pending`
        ),
        orders=await any_of(orders, orders_of, orders.c.state.in_(OPEN_ORDER)),
        requests=await any_of(
            requests, requests.c.customer_id == user_id, requests.c.state.in_(_OPEN_REQUEST)
        ),
        live=deps.sessions.in_live_session(user_id),
    )


_REFUSALS: Mapping[str, tuple[str, str]] = {
    "active": ("account_active", "This account is active."),
    "suspended": ("account_suspended", "This account is suspended."),
    "erased": ("account_erased", "This account was erased."),
}


def _wrong_state(row: Row, _action: str) -> TalktimeError:
    return Conflict(*_REFUSALS[row.state])


USER = Machine(
    name="user",
    table=users,
    moves=MOVES,
    parties=_parties,
    facts=_facts,
    wrong_state=_wrong_state,
)


def user_of(user_id: str) -> Subject:
    return Subject(USER, user_id)
