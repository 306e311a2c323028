from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.store.database import Store
from tests.support.signaling import Site, running_site


@pytest.fixture
async def site(store: Store) -> AsyncIterator[Site]:
    async with running_site(store) as running:
        yield running
