"""Signing in, and who a token speaks for."""

from __future__ import annotations

import asyncio
import time

import pytest
import sqlalchemy as sa
from aiohttp.test_utils import make_mocked_request

from admin import demo
from admin.accounts.passwords import Passwords
from admin.accounts.signin import source_address
from admin.ports import AdminSettings, LoginLimits, PasswordCost
from engine.errors import Unavailable
from engine.metering.policy import Policy
from engine.ratelimit import Rate
from engine.signaling.tokens import TokenService
from engine.store.database import Store
from engine.store.tables import users
from tests.integration.admin.conftest import (
    CUSTOMER,
    EXPERT,
    PER_QUARTER,
    SECRET,
    Api,
    World,
)

RIGHT = {"email": CUSTOMER, "password": demo.PASSWORD}
WRONG = RIGHT | {"password": "guess"}


async def test_signing_in_gives_a_token_that_works(world: World) -> None:
    status, login = await world.stranger.post("/auth/login", RIGHT)
    assert status == 200
    assert (login["token_type"], login["expires_in"]) == ("Bearer", 3_600)
    status, me = await Api(world.client, login["access_token"]).get("/me")
    assert (status, me) == (200, login["user"])
    assert me["email"] == CUSTOMER
    assert me["presence_status"] is None


async def test_an_expert_is_told_the_chosen_status(world: World) -> None:
    _, me = await (await world.sign_in(EXPERT)).get("/me")
    assert (me["presence_status"], me["roles"]) == ("available", ["expert", "member"])


@pytest.mark.parametrize("email", [CUSTOMER.upper(), f"  {CUSTOMER} "])
async def test_case_and_spaces_of_an_address_do_not_matter(world: World, email: str) -> None:
    status, _ = await world.stranger.post("/auth/login", RIGHT | {"email": email})
    assert status == 200


@pytest.mark.parametrize("email", [CUSTOMER, "nobody@demo.talktime.test", "' OR 1=1"])
async def test_wrong_password_and_unknown_account_are_told_alike(
    any_world: World, email: str
) -> None:
    status, refusal = await any_world.stranger.post("/auth/login", WRONG | {"email": email})
    assert (status, refusal["code"]) == (401, "wrong_credentials")
    assert refusal["detail"].startswith("E-mail or password is wrong")


async def test_an_unknown_account_costs_the_same_hash() -> None:
    passwords = Passwords(PasswordCost(passes=2, memory_kib=8_192, lanes=1))
    stored = await passwords.hash("right")
    await passwords.matches(None, "warm up")

    async def spent_s(password_hash: str | None) -> float:
        begun = time.process_time()
        for _ in range(5):
            assert not await passwords.matches(password_hash, "wrong")
        return time.process_time() - begun

    known, unknown = await spent_s(stored), await spent_s(None)
    assert 0.5 < known / unknown < 2.0
    assert await passwords.matches(stored, "right")
    assert not await passwords.matches("not a hash", "right")


async def test_too_many_hashes_at_once_are_refused_at_once() -> None:
    cost = PasswordCost(passes=1, memory_kib=8_192, lanes=1, at_once=1, waiting=1)
    passwords = Passwords(cost)
    tasks = [asyncio.create_task(passwords.hash("x")) for _ in range(4)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert len(refused) == 2
    assert {error.code for error in refused} == {"overloaded"}
    assert await passwords.hash("x")


async def test_suspended_and_erased_accounts_cannot_act(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    for state, login in (("suspended", (403, "account_suspended")), ("erased", None)):
        async with world.store.transaction() as tx:
            await tx.execute(sa.update(users).where(users.c.email == CUSTOMER).values(state=state))
        status, refusal = await world.stranger.post("/auth/login", RIGHT)
        assert (status, refusal["code"]) == (login or (401, "wrong_credentials"))
        status, refusal = await customer.get("/me")
        assert (status, refusal["code"]) == (401, "account_suspended")


async def test_attempts_are_limited_per_account_and_success_forgives(store: Store) -> None:
    limits = LoginLimits(address=Rate(100, 100), account=Rate(0.001, 3))
    world = World(store, login_limits=limits)
    await world.start()
    for _ in range(2):
        assert (await world.stranger.post("/auth/login", WRONG))[0] == 401
    assert (await world.stranger.post("/auth/login", RIGHT))[0] == 200
    for _ in range(3):
        assert (await world.stranger.post("/auth/login", WRONG))[0] == 401
    async with world.client.post("/api/v1/auth/login", json=RIGHT) as answer:
        refusal = await answer.json()
        assert (answer.status, refusal["code"]) == (429, "rate_limited")
        assert int(answer.headers["Retry-After"]) >= refusal["retry_after"] - 1
    status, _ = await world.stranger.post("/auth/login", RIGHT | {"email": EXPERT})
    assert status == 200
    await world.stop()


async def test_attempts_are_limited_per_address(store: Store) -> None:
    limits = LoginLimits(address=Rate(0.001, 2), account=Rate(100, 100))
    world = World(store, login_limits=limits)
    await world.start()
    for email in ("a@x", "b@x"):
        status, _ = await world.stranger.post("/auth/login", RIGHT | {"email": email})
        assert status == 401
    status, refusal = await world.stranger.post("/auth/login", RIGHT)
    assert (status, refusal["code"]) == (429, "rate_limited")
    await world.stop()


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "9.9.9.9", "127.0.0.1"),
        (1, "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        (2, "6.6.6.6, 9.9.9.9, 10.0.0.1", "9.9.9.9"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (1, "::ffff:9.9.9.9", "9.9.9.9"),
        (1, "", "127.0.0.1"),
        (1, "rubbish" * 100, ("rubbish" * 100)[:64]),
    ],
)
async def test_the_address_that_counts(proxies: int, forwarded: str, expected: str) -> None:
    settings = AdminSettings(
        public_url="http://x",
        secret=SECRET,
        policy=Policy(commission_bps=0),
        trusted_proxies=proxies,
    )
    request = make_mocked_request("POST", "/", headers={"X-Forwarded-For": forwarded})
    request = request.clone(remote="127.0.0.1")
    assert source_address(request, settings) == expected


async def test_tokens_that_do_not_speak_for_a_user_are_refused(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    status, issued = await customer.post("/engine/tokens", {"order_id": order["id"]})
    assert (status, issued["expires_in"]) == (201, 3_600)
    identity = world.tokens.verify(issued["token"], kinds=("engine",))
    assert (identity.order_id, identity.order_role) == (order["id"], "customer")
    forger = TokenService(["f" * 32], world.clock)
    for token, code in (
        (issued["token"], "token_wrong_audience"),
        (forger.issue_access(customer.user_id, []), "token_invalid"),
        (world.tokens.issue_access(customer.user_id, [], ttl_s=-1), "token_expired"),
        (world.tokens.issue_access("usr_nobody", []), "account_suspended"),
        ("", "token_missing"),
        ("a b", "token_invalid"),
    ):
        status, refusal = await Api(world.client).get("/me", Authorization=f"Bearer {token}")
        assert (status, refusal["code"]) == (401, code)
    status, refusal = await Api(world.client).get("/me", Authorization="Basic eDp5")
    assert (status, refusal["code"]) == (401, "token_missing")


async def test_a_bad_token_is_refused_even_where_none_is_needed(world: World) -> None:
    status, refusal = await Api(world.client, "bad").get("/listings")
    assert (status, refusal["code"]) == (401, "token_invalid")
