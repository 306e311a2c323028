"""Idempotency-Key: one effect and one answer per key, whatever races or breaks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from admin.http import idempotency
from admin.http.answers import Answer
from admin.http.idempotency import ABANDONED_MS, Claim, fingerprint, once
from engine.errors import BadInput, Conflict
from engine.store.database import Store
from engine.store.tables import idempotency_keys, orders
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, World

ORDER = {"listing_id": PER_QUARTER, "mode": "video", "confirm": True}


async def count_orders(world: World) -> int:
    async with world.store.reading() as tx:
        return int(await tx.scalar(sa.select(sa.func.count()).select_from(orders)) or 0)


async def test_the_same_key_and_body_get_the_same_answer_and_one_effect(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    first = await customer.post("/orders", ORDER, key="k-1")
    again = await customer.post("/orders", dict(reversed(ORDER.items())), key="k-1")
    assert first == again
    assert first[0] == 201
    assert await count_orders(any_world) == 1
    assert await customer.wallet() == (18_800, 1_200)


async def test_a_replayed_answer_says_so(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    headers = customer.headers | {"Idempotency-Key": "k-1"}
    replayed = []
    for _ in range(2):
        async with world.client.post("/api/v1/orders", json=ORDER, headers=headers) as answer:
            replayed.append(answer.headers.get("Idempotency-Replayed"))
    assert replayed == [None, "true"]


async def test_concurrent_requests_with_one_key_have_one_effect(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    answers = await asyncio.gather(*(customer.post("/orders", ORDER, key="k") for _ in range(6)))
    statuses = {status for status, _ in answers}
    assert 201 in statuses
    assert statuses <= {201, 409}
    assert {body["code"] for status, body in answers if status == 409} <= {
        "idempotency_key_running"
    }
    assert len({body["id"] for status, body in answers if status == 201}) == 1
    assert await count_orders(any_world) == 1
    assert await customer.wallet() == (18_800, 1_200)


async def test_another_body_or_path_under_the_same_key_is_refused(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    _, order = await customer.post("/orders", ORDER, key="k")
    for path, body in (
        ("/orders", ORDER | {"mode": "audio"}),
        (f"/orders/{order['id']}/cancel", None),
    ):
        status, refusal = await customer.post(path, body, key="k")
        assert (status, refusal["code"]) == (422, "idempotency_key_reused")
    assert await count_orders(world) == 1


async def test_keys_of_different_users_do_not_meet(world: World) -> None:
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    await customer.post("/wallet/top-ups", {"amount_minor": 500}, key="k")
    status, top_up = await expert.post("/wallet/top-ups", {"amount_minor": 700}, key="k")
    assert (status, top_up["amount"]["amount"]) == (201, 700)


@pytest.mark.parametrize("key", ["", "a b", "\u00e4", "x" * 129])
async def test_a_malformed_key_is_refused(world: World, key: str) -> None:
    customer = await world.sign_in(CUSTOMER)
    status, refusal = await customer.post("/orders", ORDER, **{"Idempotency-Key": key})
    assert (status, refusal["code"]) == (422, "invalid_idempotency_key")
    assert await count_orders(world) == 0


async def test_a_402_that_kept_an_order_is_stored_with_it(any_world: World) -> None:
    await any_world.set_balance(CUSTOMER, 100)
    customer = await any_world.sign_in(CUSTOMER)
    first = await customer.post("/orders", ORDER, key="k")
    again = await customer.post("/orders", ORDER, key="k")
    assert first[0] == 402
    assert first == again
    assert await count_orders(any_world) == 1


async def test_a_refusal_that_changed_nothing_gives_the_key_back(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    status, _ = await customer.post("/orders", ORDER | {"listing_id": "lst_none"}, key="k")
    assert status == 404
    status, _ = await customer.post("/orders", ORDER, key="k")
    assert status == 201


async def test_every_operation_that_moves_money_repeats_its_answer(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    ref = await customer.top_up(1_000)
    for path, body in (
        (f"/orders/{order['id']}/pay", None),
        (f"/orders/{order['id']}/cancel", None),
        ("/wallet/top-ups", {"amount_minor": 300}),
        (f"/test-payments/{ref}", {"outcome": "succeed"}),
    ):
        first = await customer.post(path, body, key=path)
        assert first[0] < 300, first
        assert await customer.post(path, body, key=path) == first
    assert await customer.wallet() == (21_000, 0)


# The mechanism itself ----------------------------------------------------------------------------

SAME = fingerprint("POST", "/x", {"a": 1})


class Effects:
    """Work whose effect is a row, in the transaction that settles the claim."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.runs = 0

    async def __call__(self, claim: Claim) -> Answer:
        self.runs += 1
        async with self.store.transaction() as tx:
            return await claim.settle(tx, Answer(200, {"run": self.runs}))


async def stored(store: Store) -> list[Any]:
    async with store.reading() as tx:
        return list((await tx.execute(sa.select(idempotency_keys))).all())


async def test_a_crash_while_running_does_not_lock_the_key_for_ever(any_store: Store) -> None:
    work = Effects(any_store)
    claimed = await idempotency._claim(any_store, "u", "k", SAME, any_store.clock)
    assert isinstance(claimed, Claim)  # and then the process died
    with pytest.raises(Conflict, match="still running"):
        await once(any_store, "u", "k", SAME, work)
    async with any_store.transaction() as tx:
        await tx.execute(
            sa.update(idempotency_keys).values(
                created_at_ms=any_store.clock.wall_ms() - ABANDONED_MS
            )
        )
    answer = await once(any_store, "u", "k", SAME, work)
    assert (answer.status, work.runs) == (200, 1)


async def test_a_slow_owner_whose_claim_was_taken_over_has_no_effect(any_store: Store) -> None:
    slow = await idempotency._claim(any_store, "u", "k", SAME, any_store.clock)
    assert isinstance(slow, Claim)
    async with any_store.transaction() as tx:
        await tx.execute(
            sa.update(idempotency_keys).values(
                created_at_ms=any_store.clock.wall_ms() - ABANDONED_MS - 5
            )
        )
    await once(any_store, "u", "k", SAME, Effects(any_store))
    with pytest.raises(Conflict, match="still running"):
        async with any_store.transaction() as tx:
            await slow.settle(tx, Answer(200, {"run": "slow"}))
    (row,) = await stored(any_store)
    assert row.answer == {"run": 1}


async def test_a_failure_whose_commit_got_through_keeps_the_answer(store: Store) -> None:
    effects = Effects(store)

    async def commit_then_fail(claim: Claim) -> Answer:
        await effects(claim)
        raise ConnectionError("the answer got lost")

    with pytest.raises(ConnectionError):
        await once(store, "u", "k", SAME, commit_then_fail)
    answer = await once(store, "u", "k", SAME, effects)
    assert answer.body == {"run": 1}
    assert effects.runs == 1


async def test_a_failure_before_the_commit_leaves_nothing(store: Store) -> None:
    async def fail(_claim: Claim) -> Answer:
        raise BadInput("nope", "no")

    with pytest.raises(BadInput):
        await once(store, "u", "k", SAME, fail)
    assert await stored(store) == []


async def test_answers_are_forgotten_after_a_day(store: Store) -> None:
    await once(store, "u", "old", SAME, Effects(store))
    async with store.transaction() as tx:
        long_ago = store.clock.wall_ms() - idempotency.KEPT_MS - 1
        await tx.execute(sa.update(idempotency_keys).values(created_at_ms=long_ago))
    await once(store, "u", "new", SAME, Effects(store))
    assert [row.key for row in await stored(store)] == ["new"]
