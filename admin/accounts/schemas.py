"""Bodies and answers about accounts."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from admin.http.bodies import Body
from engine.signaling.messages import IdText

EmailText = Annotated[str, Meta(min_length=3, max_length=254)]
PasswordText = Annotated[str, Meta(min_length=1, max_length=256)]
NameText = Annotated[str, Meta(min_length=1, max_length=200)]
TokenText = Annotated[str, Meta(min_length=1, max_length=200)]
LocaleText = Annotated[str, Meta(min_length=2, max_length=35)]
ZoneText = Annotated[str, Meta(min_length=1, max_length=64)]
Consents = Annotated[
    dict[Annotated[str, Meta(max_length=32)], Annotated[str, Meta(max_length=32)]],
    Meta(max_length=20),
]
"""Document to the version that was shown."""
ReasonText = Annotated[str, Meta(min_length=1, max_length=2_000)]


class Login(Body):
    """POST /auth/login (no token)."""

    email: EmailText
    password: PasswordText


class User(Struct):
    """GET /me."""

    id: str
    email: str
    display_name: str
    roles: list[str]
    locale: str
    presence_status: str | None = None
    """Experts only: what they chose."""
    email_verified: bool = True
    timezone: str = "UTC"
    phone: str | None = None
    photo_file_id: str | None = None
    permissions: list[str] = []
    """Of staff."""
    consents_due: dict[str, str] = {}
    """Documents whose present version the user has not agreed to."""


class LoginAnswer(Struct):
    access_token: str
    token_type: str
    expires_in: int
    """Seconds."""
    user: User
    refresh_token: str = ""
    """For POST /auth/refresh, once."""


class Register(Body):
    """POST /auth/register (no token). `consents`: every document of GET /auth/documents."""

    email: EmailText
    password: PasswordText
    display_name: NameText
    consents: Consents
    locale: LocaleText | None = None
    timezone: ZoneText = "UTC"


class MailSent(Struct):
    """The same whether the address is known or not."""

    sent: bool = True


class Documents(Struct):
    """GET /auth/documents: what has to be agreed to, and the languages to choose from."""

    documents: dict[str, str]
    locales: list[str]


class EmailOnly(Body):
    """POST /auth/verify-email/resend, /auth/password-reset (no token)."""

    email: EmailText


class TokenOnly(Body):
    """POST /auth/verify-email (no token): what came by mail."""

    token: TokenText


class NewPassword(Body):
    """POST /auth/password-reset/confirm (no token): what came by mail, and the new password."""

    token: TokenText
    password: PasswordText


class ChangePassword(Body):
    """POST /me/password: every other sign-in ends."""

    current_password: PasswordText
    password: PasswordText


class Refresh(Body):
    """POST /auth/refresh (no token)."""

    refresh_token: TokenText


class Logout(Body):
    """POST /auth/logout (no token). `everywhere`: end every sign-in of the user at once."""

    refresh_token: TokenText
    everywhere: bool = False


class Accepted(Struct):
    ok: bool = True


class EditUser(Body):
    """PATCH /me: what is absent stays; null takes phone or photo away."""

    display_name: NameText | UnsetType = UNSET
    locale: LocaleText | UnsetType = UNSET
    timezone: ZoneText | UnsetType = UNSET
    phone: Annotated[str, Meta(max_length=40)] | UnsetType | None = UNSET
    photo_file_id: IdText | UnsetType | None = UNSET


class EraseUser(Body):
    """DELETE /me."""

    password: PasswordText


class GiveConsents(Body):
    """POST /me/consents."""

    consents: Consents


class StaffReason(Body):
    """Of what staff do to an account; kept in the log."""

    reason: ReasonText


class AccountState(Struct):
    """POST /admin/users/{id}/suspend, /reinstate."""

    id: str
    state: str
