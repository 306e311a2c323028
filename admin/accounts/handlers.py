"""Signing in and out, registering, and what users do with their own account."""

from __future__ import annotations

from typing import Any

from admin.accounts import consents, profile, registration, schemas, signins, strength
from admin.accounts.export import export
from admin.accounts.machine import USER, user_of
from admin.accounts.people import find_active
from admin.accounts.registration import Registration
from admin.accounts.signin import SignIn
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.market.routes import carry_out, move_route, moving
from admin.market.transitions import Done
from engine.errors import Unauthorized
from engine.ratelimit import Limiter
from engine.store.database import Tx
from engine.store.tables import users

_TAG = "Account"
_OPEN = (401, 403, 429, 503)


def routes(sign_in: SignIn, register: Registration, exports: Limiter) -> tuple[Route, ...]:
    """`exports` limits how often users fetch their own data."""
    return (*_signing(sign_in), *_registering(register), *_own(sign_in, exports), *STAFF_ROUTES)


def _signing(sign_in: SignIn) -> tuple[Route, ...]:
    async def login(call: Call[schemas.Login, Nothing]) -> Answer:
        deps = call.deps
        viewer = await sign_in.check(call.request, call.body.email, call.body.password)
        async with deps.store.transaction() as tx:
            return Answer(200, await signins.begin(deps, tx, viewer))

    async def refresh(call: Call[schemas.Refresh, Nothing]) -> Answer:
        return Answer(200, await signins.refresh(call.deps, call.body.refresh_token))

    async def logout(call: Call[schemas.Logout, Nothing]) -> Answer:
        body = call.body
        await signins.end(call.deps, body.refresh_token, everywhere=body.everywhere)
        return Answer(200, schemas.Accepted())

    return (
        Route(
            method="POST",
            path="/auth/login",
            handler=login,
            summary="Sign in with e-mail and password",
            tag=_TAG,
            body=schemas.Login,
            answer=schemas.LoginAnswer,
            auth="none",
            refusals=_OPEN,
        ),
        Route(
            method="POST",
            path="/auth/refresh",
            handler=refresh,
            summary="The next pair of tokens; a refresh token works once",
            tag=_TAG,
            body=schemas.Refresh,
            answer=schemas.LoginAnswer,
            auth="none",
            refusals=(401,),
        ),
        Route(
            method="POST",
            path="/auth/logout",
            handler=logout,
            summary="End a sign-in, or all of the user's",
            tag=_TAG,
            body=schemas.Logout,
            answer=schemas.Accepted,
            auth="none",
        ),
    )


def _registering(register: Registration) -> tuple[Route, ...]:
    async def register_account(call: Call[schemas.Register, Nothing]) -> Answer:
        await register.register(call.request, call.body)
        return Answer(202, schemas.MailSent())

    async def verify_email(call: Call[schemas.TokenOnly, Nothing]) -> Answer:
        await register.confirm_email(call.body.token)
        return Answer(200, schemas.Accepted())

    async def resend_verification(call: Call[schemas.EmailOnly, Nothing]) -> Answer:
        register.mail_again(call.request, call.body.email)
        return Answer(202, schemas.MailSent())

    async def request_password_reset(call: Call[schemas.EmailOnly, Nothing]) -> Answer:
        register.request_reset(call.request, call.body.email)
        return Answer(202, schemas.MailSent())

    async def reset_password(call: Call[schemas.NewPassword, Nothing]) -> Answer:
        await register.reset_password(call.body.token, call.body.password)
        return Answer(200, schemas.Accepted())

    return (
        Route(
            method="GET",
            path="/auth/documents",
            handler=documents,
            summary="The texts to agree to when registering, in their present versions",
            tag=_TAG,
            answer=schemas.Documents,
            auth="none",
        ),
        Route(
            method="POST",
            path="/auth/register",
            handler=register_account,
            summary="Make an account; the rest is said by mail, also if the address has one",
            tag=_TAG,
            body=schemas.Register,
            answer=schemas.MailSent,
            status=202,
            auth="none",
        ),
        Route(
            method="POST",
            path="/auth/verify-email",
            handler=verify_email,
            summary="Confirm the address with what came by mail",
            tag=_TAG,
            body=schemas.TokenOnly,
            answer=schemas.Accepted,
            auth="none",
        ),
        Route(
            method="POST",
            path="/auth/verify-email/resend",
            handler=resend_verification,
            summary="Send the mail that confirms the address again",
            tag=_TAG,
            body=schemas.EmailOnly,
            answer=schemas.MailSent,
            status=202,
            auth="none",
        ),
        Route(
            method="POST",
            path="/auth/password-reset",
            handler=request_password_reset,
            summary="Send a link to set a new password",
            tag=_TAG,
            body=schemas.EmailOnly,
            answer=schemas.MailSent,
            status=202,
            auth="none",
        ),
        Route(
            method="POST",
            path="/auth/password-reset/confirm",
            handler=reset_password,
            summary="Set a new password with what came by mail; every sign-in ends",
            tag=_TAG,
            body=schemas.NewPassword,
            answer=schemas.Accepted,
            auth="none",
        ),
    )


def _own(sign_in: SignIn, exports: Limiter) -> tuple[Route, ...]:
    async def change_password(call: Call[schemas.ChangePassword, Nothing]) -> Answer:
        deps, user, body = call.deps, call.user, call.body
        strength.check(body.password, (user.email, user.display_name))
        await sign_in.confirm(user, body.current_password)
        password_hash = await sign_in.passwords.hash(body.password)
        async with deps.store.transaction() as tx:
            row = (await tx.execute(users.select().where(users.c.id == user.id))).one()
            await registration.set_password(deps, tx, row, password_hash)
            viewer = await find_active(tx, user.id)
            if viewer is None:
                raise Unauthorized("account_suspended", "This account is not active.")
            answer = Answer(200, await signins.begin(deps, tx, viewer))
        deps.sockets.dismiss_user(user.id, "token_revoked", "The password was changed.")
        deps.delivery.wake()
        return answer

    async def erase_me(call: Call[schemas.EraseUser, Nothing]) -> Answer:
        await sign_in.confirm(call.user, call.body.password)
        return await carry_out(call, moving(user_of(call.user.id), "erase"), _state)

    async def export_me(call: Call[Nothing, Nothing]) -> Answer:
        deps, user = call.deps, call.user
        exports.require(user.id, deps.clock.now_ns())
        async with deps.store.reading() as tx:
            found = await export(tx, user.id)
        name = f'attachment; filename="{deps.settings.preset.name}-{user.id}.json"'
        return Answer(200, found, {"Content-Disposition": name})

    return (
        Route(
            method="GET",
            path="/me",
            handler=me,
            summary="The signed-in user",
            tag=_TAG,
            answer=schemas.User,
        ),
        Route(
            method="PATCH",
            path="/me",
            handler=edit_me,
            summary="Change name, language, time zone, phone or photo",
            tag=_TAG,
            body=schemas.EditUser,
            answer=schemas.User,
        ),
        Route(
            method="DELETE",
            path="/me",
            handler=erase_me,
            summary="Erase the account: the person is forgotten, the ledger stays",
            tag=_TAG,
            body=schemas.EraseUser,
            answer=schemas.AccountState,
            refusals=(403, 409),
        ),
        Route(
            method="GET",
            path="/me/export",
            handler=export_me,
            summary="Everything that is stored about the user",
            tag=_TAG,
            answer=dict[str, list[dict[str, Any]]],
            refusals=(429,),
        ),
        Route(
            method="POST",
            path="/me/consents",
            handler=give_consents,
            summary="Agree to documents in their present versions",
            tag=_TAG,
            body=schemas.GiveConsents,
            answer=schemas.User,
        ),
        Route(
            method="POST",
            path="/me/password",
            handler=change_password,
            summary="Change the password; every other sign-in ends",
            tag=_TAG,
            body=schemas.ChangePassword,
            answer=schemas.LoginAnswer,
            refusals=(403,),
        ),
    )


async def documents(call: Call[Nothing, Nothing]) -> Answer:
    preset = call.deps.settings.preset
    return Answer(200, schemas.Documents(dict(preset.documents), list(preset.locales)))


async def me(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await signins.view(call.deps, tx, call.user))


async def edit_me(call: Call[schemas.EditUser, Nothing]) -> Answer:
    deps = call.deps
    async with deps.store.transaction() as tx:
        now = await profile.edit(deps, tx, call.user, call.body)
        return Answer(200, await signins.view(deps, tx, now))


async def give_consents(call: Call[schemas.GiveConsents, Nothing]) -> Answer:
    deps, user = call.deps, call.user
    given = consents.check(deps.settings.preset.documents, call.body.consents)
    async with deps.store.transaction() as tx:
        await consents.give(tx, user.id, given, deps.clock.wall_ms())
        return Answer(200, await signins.view(deps, tx, user))


# Staff --------------------------------------------------------------------------------------------


async def _state(_call: Call[Any, Nothing], _tx: Tx, done: Done) -> schemas.AccountState:
    return schemas.AccountState(done.row.id, done.row.state)


def _by_staff(action: str, summary: str) -> Route:
    return move_route(
        USER,
        action,
        f"/admin/users/{ID}/{action}",
        summary,
        tag="Staff",
        answer=schemas.AccountState,
        show=_state,
        idempotent=False,
        refusals=(403, 404, 409),
    )


STAFF_ROUTES = (
    _by_staff("suspend", "Shut a user out: sign-ins, connections and running sessions end"),
    _by_staff("reinstate", "Let a suspended user in again"),
)
