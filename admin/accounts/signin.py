"""Signing in with e-mail and password, and telling who a bearer token speaks for."""

from __future__ import annotations

import hashlib
import ipaddress

import sqlalchemy as sa
from aiohttp import hdrs, web

from admin.accounts import inputs
from admin.accounts.passwords import Passwords
from admin.accounts.people import Viewer, find_active
from admin.ports import AdminDeps, AdminSettings
from engine.errors import Forbidden, Unauthorized
from engine.ratelimit import Limiter
from engine.signaling.standing import check_issued
from engine.store.tables import users

WRONG = "E-mail or password is wrong, or the address is not confirmed yet."


class SignIn:
    """Checks credentials, with limits per source address and per account."""

    def __init__(self, deps: AdminDeps) -> None:
        limits = deps.settings.login_limits
        self._deps = deps
        self.passwords = Passwords(deps.settings.password_cost)
        self._by_address = Limiter(limits.address)
        self._by_account = Limiter(limits.account)

    async def check(self, request: web.Request, email: str, password: str) -> Viewer:
        """The user who signed in.

        An account whose address is not confirmed is told as an unknown one is: registering an
        address and signing in with it must not show whether it had an account before.
        Raises `RateLimited`, `Unavailable("overloaded")`, `Unauthorized("wrong_credentials")` (the
        same for an unknown account) and `Forbidden("account_suspended")` (only to its owner).
        """
        email = inputs.known_email(email)
        account = hashed(email)
        now_ns = self._deps.clock.now_ns()
        self._by_address.require(source_address(request, self._deps.settings), now_ns)
        self._by_account.require(account, now_ns)
        user_id, password_hash, confirmed = await self._find(email)
        if not await self.passwords.matches(password_hash, password) or not confirmed:
            raise Unauthorized("wrong_credentials", WRONG)
        self._by_account.forget(account)
        async with self._deps.store.reading() as tx:
            viewer = await find_active(tx, user_id)
        if viewer is None:
            raise Forbidden("account_suspended", "This account is suspended.")
        return viewer

    async def confirm(self, viewer: Viewer, password: str) -> None:
        """That whoever holds the viewer's token knows the password too.

        Raises `RateLimited`, `Unavailable("overloaded")`, `Forbidden("wrong_password")`.
        """
        account = hashed(viewer.email)
        self._by_account.require(account, self._deps.clock.now_ns())
        _, password_hash, _ = await self._find(viewer.email)
        if not await self.passwords.matches(password_hash, password):
            raise Forbidden("wrong_password", "The password is wrong.")
        self._by_account.forget(account)

    async def _find(self, email: str) -> tuple[str, str | None, bool]:
        if "\x00" in email:  # PostgreSQL has no such text
            return "", None, False
        async with self._deps.store.reading() as tx:
            row = (
                await tx.execute(
                    sa.select(users.c.id, users.c.password_hash, users.c.email_verified_at_ms)
                    .where(users.c.email == email)
                    .where(users.c.state != "erased")
                )
            ).one_or_none()
        if row is None:
            return "", None, False
        return row.id, row.password_hash, row.email_verified_at_ms is not None


def hashed(email: str) -> str:
    """What limits count by: bounded, whatever was typed."""
    return hashlib.sha256(email.encode("utf-8", "replace")).hexdigest()


async def authenticate(deps: AdminDeps, request: web.Request) -> Viewer:
    """The user of the request's bearer token (RFC 6750).

    Raises `Unauthorized`: `token_missing`, `token_invalid`, `token_expired`,
    `token_wrong_audience` (a token for calls only), `token_revoked`, `account_suspended`.
    """
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("token_missing", "Sign in first.")
    identity = deps.tokens.verify(token.strip(), kinds=("access",))
    async with deps.store.reading() as tx:
        viewer = await find_active(tx, identity.user_id)
    if viewer is None:
        raise Unauthorized("account_suspended", "This account is not active.")
    check_issued(identity, viewer.tokens_valid_from_ms)
    return viewer


def source_address(request: web.Request, settings: AdminSettings) -> str:
    """The client's address as a limit counts it: an IPv6 client owns its whole /64."""
    address = request.remote or ""
    if settings.trusted_proxies:
        # Each proxy appends the address it saw, so the client's is that far from the right.
        hops = request.headers.get("X-Forwarded-For", "").split(",")
        address = hops[-settings.trusted_proxies :][0].strip() or address
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
