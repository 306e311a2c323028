"""Writes that hang on one key: all of them or none, the same on both stores."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from engine.store import tables as t
from engine.store.batch import Insert, Update, write_once
from engine.store.database import Store, Tx

_a = t.accounts.c
_ADD = (
    sa.update(t.accounts)
    .where(_a.id == sa.bindparam("account"))
    .values(balance_minor=_a.balance_minor + sa.bindparam("minor"))
)
_HOLD = (
    sa.update(t.accounts)
    .where(_a.id == sa.bindparam("holder"))
    .values(held_minor=sa.bindparam("part"))
)


def _account(name: str, balance: int = 100) -> dict[str, object]:
    ids = {"id": name, "owner_id": name, "kind": "wallet", "currency": "TRY"}
    return {**ids, "balance_minor": balance, "created_at_ms": 0}


async def _state(tx: Tx) -> dict[str, tuple[int, int]]:
    rows = await tx.execute(sa.select(_a.id, _a.balance_minor, _a.held_minor).order_by(_a.id))
    return {row.id: (row.balance_minor, row.held_minor) for row in rows}


@pytest.fixture
async def filled(any_store: Store) -> Store:
    async with any_store.transaction() as tx:
        for name in ("a", "b", "c"):
            assert await write_once(tx, t.accounts, _account(name))
    return any_store


async def test_a_new_key_takes_all_of_its_writes_with_it(filled: Store) -> None:
    async with filled.transaction() as tx:
        done = await write_once(
            tx,
            t.accounts,
            _account("new"),
            [
                Update(_ADD, {"account": "a", "minor": 5}),
                Update(_HOLD, {"holder": "b", "part": 7}),
                Update(_ADD, {"account": "c", "minor": -1}),
            ],
            [
                Insert(t.accounts, [_account("x", 1), _account("y", 2)]),
                Insert(t.accounts, [_account("z", 3)]),
            ],
        )
    assert done is True
    async with filled.reading() as tx:
        assert await _state(tx) == {
            "a": (105, 0),
            "b": (100, 7),
            "c": (99, 0),
            "new": (100, 0),
            "x": (1, 0),
            "y": (2, 0),
            "z": (3, 0),
        }


async def test_a_key_that_is_taken_changes_nothing(filled: Store) -> None:
    updates = [Update(_ADD, {"account": name, "minor": 5}) for name in ("b", "c")]
    added = [Insert(t.accounts, [_account("x"), _account("y")])]
    async with filled.transaction() as tx:
        before = await _state(tx)
        assert await write_once(tx, t.accounts, _account("a"), updates, added) is False
        assert await _state(tx) == before


async def test_a_broken_constraint_undoes_the_whole(filled: Store) -> None:
    async with filled.reading() as tx:
        before = await _state(tx)
    beyond = [Update(_ADD, {"account": "a", "minor": -101})]
    with pytest.raises(sa.exc.IntegrityError):
        async with filled.transaction() as tx:
            await write_once(tx, t.accounts, _account("new"), beyond)
    async with filled.reading() as tx:
        assert await _state(tx) == before
