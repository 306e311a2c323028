"""The store refuses to change what was posted: a mistake is put right by another transfer."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.unit.ledger.conftest import Till


@pytest.mark.parametrize("table", ["transfers", "entries"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = id", "DELETE FROM {}"])
async def test_what_was_posted_is_never_changed(till: Till, table: str, change: str) -> None:
    await till.topup(1_000)
    with pytest.raises(sa.exc.DBAPIError, match=f"{table} are final"):
        async with till.store.transaction() as tx:
            await tx.execute(sa.text(change.format(table)))
    assert (await till.wallet()).balance_minor == 1_000
