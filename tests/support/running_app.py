"""The whole application, started in this process on free ports with demo data."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from engine.app import Application
from engine.config import load
from engine.ids import new_id
from engine.store.tables import listings, users
from tests.support.party import Party

CUSTOMER = "customer@demo.talktime.test"
EXPERT = "expert@demo.talktime.test"
STAFF = "staff@demo.talktime.test"
PASSWORD = "demo-talktime"


class RunningApp:
    """The application and the handles that tests of whole calls need."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.url = app.url

    async def user_id(self, email: str) -> str:
        async with self.app.store.reading() as tx:
            found = await tx.scalar(sa.select(users.c.id).where(users.c.email == email))
        assert isinstance(found, str), f"no user {email}"
        return found

    async def add_listing(self, expert: str = EXPERT, **tariff: Any) -> str:
        """A published consult listing of `expert` whose three modes share `tariff`; its id."""
        values = {
            "currency": "EUR",
            "price_minor": 1_200,
            "per_seconds": 900,
            "block_seconds": 900,
            "prepaid_seconds": 900,
            "grace_seconds": 60,
        } | tariff
        text = values | {"grace_seconds": 0}
        listing_id = new_id("lst")
        async with self.app.store.transaction() as tx:
            await tx.execute(
                sa.insert(listings).values(
                    id=listing_id,
                    expert_id=await self.user_id(expert),
                    kind="consult",
                    title=f"Test listing {listing_id[-4:]}",
                    description="For tests.",
                    category="tests",
                    state="published",
                    tariffs={"video": values, "audio": values, "text": text},
                    created_at_ms=0,
                )
            )
        return listing_id

    @contextlib.asynccontextmanager
    async def party(self, email: str, **options: Any) -> AsyncIterator[Party]:
        """A signed-in user with a socket; closed at the end of the block."""
        party = await Party.sign_in(self.url, email, PASSWORD, **options)
        try:
            yield party
        finally:
            await party.close()


@contextlib.asynccontextmanager
async def running_app(data_dir: Path, **settings: Any) -> AsyncIterator[RunningApp]:
    """Start with demo data in `data_dir`, and drain at the end of the block."""
    options: dict[str, Any] = {"port": 0, "demo": True, "data_dir": data_dir, "drain_s": 0.5}
    # Browsers begin with small pictures then: several encode at once on few processors.
    options["media_start_bitrate_kbps"] = 0
    app = Application(load(None, **(options | settings)))
    await app.start()
    try:
        yield RunningApp(app)
    finally:
        await app.stop()
