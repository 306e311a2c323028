"""Making an account, confirming its address, and getting a lost password replaced.

Nothing here tells whether an address has an account: the answers, the limits and the work done
before answering are the same. Whoever reads the mailbox is told by mail.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from aiohttp import web

from admin import events
from admin.accounts import consents, inputs, strength, tokens
from admin.accounts.passwords import Passwords
from admin.accounts.schemas import Register
from admin.accounts.signin import hashed, source_address
from admin.notices import notify
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import BadInput
from engine.ids import new_id
from engine.ratelimit import Limiter
from engine.signaling.background import Background
from engine.store.database import Tx, insert_once
from engine.store.tables import staff_sessions, users

CONFIRM, TAKEN, RESET, CHANGED = (
    "account.confirm_email",
    "account.already_registered",
    "account.reset_password",
    "account.password_changed",
)


class Registration:
    """The operations on accounts that nobody is signed in for."""

    def __init__(self, deps: AdminDeps, passwords: Passwords) -> None:
        limits = deps.settings.account_limits
        self._deps = deps
        self._passwords = passwords
        self._by_source = Limiter(limits.registrations)
        self._by_address = Limiter(limits.mails)
        self.background = Background()

    async def register(self, request: web.Request, body: Register) -> None:
        """Make the account, or tell the owner of the address by mail that there is one.

        Raises `BadInput` (`admin.accounts.inputs`, `.strength`, `consent_missing`), `RateLimited`,
        `Unavailable("overloaded")`.
        """
        preset = self._deps.settings.preset
        email = inputs.email(body.email)
        name = inputs.display_name(body.display_name)
        account = {
            "id": new_id("usr"),
            "email": email,
            "display_name": name,
            "roles": ["member"],
            "state": "active",
            "locale": inputs.locale(body.locale or preset.locales[0], preset.locales),
            "timezone": inputs.timezone(body.timezone),
        }
        agreed = consents.check_all(preset.documents, body.consents)
        strength.check(body.password, (email, name))
        self._count(request, email)
        password_hash = await self._passwords.hash(body.password)
        await self._store(account | {"password_hash": password_hash}, agreed)

    async def _store(self, account: Mapping[str, object], agreed: Mapping[str, str]) -> None:
        deps, email = self._deps, account["email"]
        now_ms = deps.clock.wall_ms()
        async with deps.store.transaction() as tx:
            made = await insert_once(tx, users, {**account, "created_at_ms": now_ms})
            row = await _by_email(tx, str(email))
            if made and row is not None:
                await consents.give(tx, row.id, agreed, now_ms)
                await events.publish(
                    tx, "user.registered", row.id, actor=row.id, at_ms=now_ms, data={}
                )
                await self._mail(tx, CONFIRM, row)
            elif row is not None and row.state == "active":
                await self._mail(tx, TAKEN, row)
        deps.delivery.wake()

    async def confirm_email(self, token: str) -> None:
        """Raises `BadInput`: `token_invalid`, `token_expired`."""
        deps = self._deps
        async with deps.store.transaction() as tx:
            used = await tokens.use(tx, deps.clock, token, "verify_email")
            await _confirmed(deps, tx, used.user_id)

    def mail_again(self, request: web.Request, email: str) -> None:
        """Send another link to confirm the address, if an account waits for it.

        Raises `BadInput("invalid_email")`, `RateLimited`.
        """
        self._later(request, email, CONFIRM)

    def request_reset(self, request: web.Request, email: str) -> None:
        """Send a link to set a new password. Raises as `mail_again`."""
        self._later(request, email, RESET)

    async def reset_password(self, token: str, password: str) -> None:
        """A new password; whoever was signed in is no more. The mailbox is confirmed by it too.

        Raises `BadInput`: `token_invalid`, `token_expired` and as `strength.check`, which leaves
        the token as it was; `Unavailable("overloaded")`.
        """
        deps = self._deps
        async with deps.store.reading() as tx:
            known = await tokens.look(tx, deps.clock, token, "reset_password")
            row = await _by_id(tx, known.user_id)
        if row is None or row.state != "active":
            raise BadInput("token_invalid", "This link is of no use any more.", path="$.token")
        strength.check(password, (row.email, row.display_name))
        password_hash = await self._passwords.hash(password)
        async with deps.store.transaction() as tx:
            await tokens.use(tx, deps.clock, token, "reset_password")
            await set_password(deps, tx, row, password_hash)
            await _confirmed(deps, tx, row.id)
        deps.sockets.dismiss_user(row.id, "token_revoked", "The password was changed.")
        deps.delivery.wake()

    def _later(self, request: web.Request, email: str, event: str) -> None:
        """Look and write once this is answered: how long that takes would tell."""
        email = inputs.email(email)
        self._count(request, email)
        self.background.spawn(self._mail_to(email, event), event)

    async def _mail_to(self, email: str, event: str) -> None:
        async with self._deps.store.reading() as tx:
            row = await _by_email(tx, email)
        if row is None or row.state != "active":
            return
        if event == CONFIRM and row.email_verified_at_ms is not None:
            return
        async with self._deps.store.transaction() as tx:
            await self._mail(tx, event, row)
        self._deps.delivery.wake()

    async def _mail(self, tx: Tx, event: str, row: Row) -> None:
        await notify(self._deps, tx, event, row, actor_id="system", data={})

    def _count(self, request: web.Request, email: str) -> None:
        now_ns = self._deps.clock.now_ns()
        self._by_source.require(source_address(request, self._deps.settings), now_ns)
        self._by_address.require(hashed(email), now_ns)


async def set_password(deps: AdminDeps, tx: Tx, row: Row, password_hash: str) -> None:
    """Replace the password, end every sign-in and tell the owner."""
    now_ms = deps.clock.wall_ms()
    await tx.execute(
        sa.update(users)
        .where(users.c.id == row.id)
        .values(password_hash=password_hash, tokens_valid_from_ms=now_ms, updated_at_ms=now_ms)
    )
    await end_sign_ins(tx, row.id)
    await events.publish(tx, "user.password_changed", row.id, actor=row.id, at_ms=now_ms, data={})
    await notify(deps, tx, CHANGED, row, actor_id="system", data={})


async def end_sign_ins(tx: Tx, user_id: str) -> None:
    """Everything that a sign-in left in the store; `users.tokens_valid_from_ms` ends the rest."""
    await tokens.end_all(tx, user_id)
    await tx.execute(sa.delete(staff_sessions).where(staff_sessions.c.user_id == user_id))


async def _confirmed(deps: AdminDeps, tx: Tx, user_id: str) -> None:
    now_ms = deps.clock.wall_ms()
    first = await tx.execute(
        sa.update(users)
        .where(users.c.id == user_id, users.c.email_verified_at_ms.is_(None))
        .values(email_verified_at_ms=now_ms, updated_at_ms=now_ms)
    )
    await tx.execute(sa.update(users).where(users.c.id == user_id).values(email_bounced_at_ms=None))
    await tokens.end_all(tx, user_id, "verify_email")
    if first.rowcount:
        await events.publish(tx, "user.verified", user_id, actor=user_id, at_ms=now_ms, data={})


async def _by_email(tx: Tx, email: str) -> Row | None:
    return (await tx.execute(sa.select(users).where(users.c.email == email))).one_or_none()


async def _by_id(tx: Tx, user_id: str) -> Row | None:
    return (await tx.execute(sa.select(users).where(users.c.id == user_id))).one_or_none()
