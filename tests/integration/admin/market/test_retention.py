"""What is deleted once it was kept for as long as the operator has set, on virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from admin.due import RETENTION, RETENTION_EVERY_S
from admin.market.timers import Timers
from admin.ports import AdminDeps, RecordingsPort
from admin.queries import Row
from admin.retention import OldNotifications, OldRecordings
from engine.ids import new_id
from engine.recording.service import Recordings, RecordingSettings
from engine.store.market_tables import cases, notifications
from engine.store.tables import outbox, recordings
from tests.integration.admin.market.conftest import DAY, Market
from tests.support.fake_media import FakeMediaWorker

KEPT_DAYS, NOTICES_DAYS = 90, 180


class Node:
    """A node with a disk of its own, its timers, and settings."""

    def __init__(self, market: Market, folder: Path, **settings: int) -> None:
        self.market, self.folder = market, folder
        folder.mkdir(exist_ok=True)
        self.recordings: RecordingsPort = Recordings(
            market.store, market.clock, FakeMediaWorker(), RecordingSettings(folder=folder)
        )
        self._settings = settings

    @property
    def deps(self) -> AdminDeps:
        deps = self.market.world.deps
        settings = dataclasses.replace(deps.settings, **self._settings)
        return dataclasses.replace(deps, recordings=self.recordings, settings=settings)

    async def look(self) -> int:
        """How many recordings are deleted now."""
        return await OldRecordings().work_off(self.deps)

    async def look_at_notifications(self) -> int:
        """How many notifications are."""
        return await OldNotifications().work_off(self.deps)

    async def record(self, *, running: bool = False) -> Recorded:
        """A recording that ends now, on this node's disk."""
        order = await self.market.customer.order("lst_demo_lease")
        session = await self.market.world.session(order["id"])
        made = Recorded(new_id("rec"), session, order["id"])
        self.path(made).write_bytes(b"sound")
        now_ms = self.market.clock.wall_ms()
        file = {"name": self.path(made).name, "bytes": 5, "sha256": "ab" * 32}
        row = {
            "id": made.id,
            "session_id": session,
            "started_at_ms": now_ms - 60_000,
            "ended_at_ms": None if running else now_ms,
            "end_reason": None if running else "stopped",
            "files": json.dumps([] if running else [file]),
        }
        async with self.market.store.transaction() as tx:
            await tx.execute(sa.insert(recordings).values(row))
        return made

    def path(self, recorded: Recorded) -> Path:
        return self.folder / f"{recorded.id}-1.webm"

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@dataclasses.dataclass(frozen=True)
class Recorded:
    id: str
    session_id: str
    order_id: str


@pytest.fixture
def node(market: Market, tmp_path: Path) -> Node:
    return Node(market, tmp_path / "recordings")


async def rows(market: Market, query: sa.Select[Any]) -> Sequence[Row]:
    async with market.store.reading() as tx:
        return (await tx.execute(query)).all()


async def deleted_at_ms(market: Market, recorded: Recorded) -> int | None:
    query = sa.select(recordings.c.deleted_at_ms).where(recordings.c.id == recorded.id)
    ((found,),) = await rows(market, query)
    return None if found is None else int(found)


async def deletions(market: Market) -> list[tuple[str, str, Any]]:
    query = sa.select(outbox).where(outbox.c.type == "recording.deleted")
    return [(row.subject_id, row.actor, row.data) for row in await rows(market, query)]


# Recordings ---------------------------------------------------------------------------------------


async def test_a_recording_is_deleted_on_time_and_that_is_on_record(
    market: Market, node: Node
) -> None:
    old = await node.record()
    market.clock.advance(1)
    young = await node.record()
    market.clock.advance(KEPT_DAYS * DAY - 1.001)
    assert await node.look() == 0
    market.clock.advance(0.001)
    assert await node.look() == 1
    assert node.files() == [node.path(young).name]
    assert await deleted_at_ms(market, old) == market.clock.wall_ms()
    assert await deleted_at_ms(market, young) is None
    file = {"file": f"{old.id}-1.webm", "sha256": "ab" * 32}
    told = (old.session_id, "system", {"recording": old.id, "files": [file]})
    assert await deletions(market) == [told]
    assert await node.look() == 0
    assert await deletions(market) == [told], "once"


async def test_a_recording_that_has_not_ended_is_left_alone(market: Market, node: Node) -> None:
    running = await node.record(running=True)
    market.clock.advance(10 * KEPT_DAYS * DAY)
    assert await node.look() == 0
    assert node.path(running).exists()


async def test_zero_days_keep_recordings_for_ever(market: Market, tmp_path: Path) -> None:
    node = Node(market, tmp_path / "recordings", recording_kept_days=0)
    kept = await node.record()
    market.clock.advance(10_000 * DAY)
    assert await node.look() == 0
    assert node.path(kept).exists()


async def test_a_dispute_keeps_the_recordings_of_its_order_until_it_is_over(
    market: Market, node: Node
) -> None:
    recorded, other = await node.record(), await node.record()
    case_id = await market.dispute(market.customer, recorded.order_id)
    market.clock.advance(2 * KEPT_DAYS * DAY)
    assert await node.look() == 1
    assert node.files() == [node.path(recorded).name]
    await market.do(market.customer, recorded.order_id, "withdraw-dispute")
    assert (await rows(market, sa.select(cases.c.state).where(cases.c.id == case_id)))[0][0] == (
        "withdrawn"
    )
    assert await node.look() == 1
    assert node.files() == []
    assert [told[0] for told in await deletions(market)] == [other.session_id, recorded.session_id]


@pytest.mark.parametrize("state", ["open", "in_progress", "info_requested", "decided"])
async def test_any_case_about_the_order_keeps_them_while_it_is_undecided(
    market: Market, node: Node, state: str
) -> None:
    recorded = await node.record()
    await market.complaint(market.customer, "order", recorded.order_id)
    await market.complaint(market.customer, "user", market.expert.user_id)
    async with market.store.transaction() as tx:
        about = cases.c.subject_id == recorded.order_id
        await tx.execute(sa.update(cases).where(about).values(state=state))
    market.clock.advance(KEPT_DAYS * DAY)
    assert await node.look() == (1 if state == "decided" else 0)
    assert node.path(recorded).exists() is (state != "decided")


async def test_a_file_that_is_gone_already_is_fine(market: Market, node: Node) -> None:
    recorded = await node.record()
    node.path(recorded).unlink()
    market.clock.advance(KEPT_DAYS * DAY)
    assert await node.look() == 1
    assert await deleted_at_ms(market, recorded) is not None


async def test_whatever_is_left_of_a_recording_goes_with_it(market: Market, node: Node) -> None:
    recorded = await node.record()
    (node.folder / f"{recorded.id}-2.mkv.part").write_bytes(b"")
    (node.folder / f".copy-{recorded.id}-2.mkv").write_bytes(b"")
    (node.folder / "notes.txt").write_text("of somebody else")
    market.clock.advance(KEPT_DAYS * DAY)
    assert await node.look() == 1
    assert node.files() == ["notes.txt"]


class _Dying:
    """Recordings of a process that is killed before it deletes a file."""

    def __init__(self, real: RecordingsPort) -> None:
        self._real = real

    def file(self, name: str) -> Path | None:
        return self._real.file(name)

    async def held(self) -> Sequence[str]:
        return await self._real.held()

    async def delete(self, _recording_id: str) -> None:
        raise asyncio.CancelledError


async def test_files_that_a_crash_left_behind_are_deleted_by_the_next_run(
    market: Market, node: Node
) -> None:
    recorded = await node.record()
    market.clock.advance(KEPT_DAYS * DAY)
    real, node.recordings = node.recordings, _Dying(node.recordings)
    with pytest.raises(asyncio.CancelledError):
        await node.look()
    assert await deleted_at_ms(market, recorded) is not None
    assert node.path(recorded).exists()
    node.recordings = real
    assert await node.look() == 0, "nothing is due any more"
    assert node.files() == []
    assert len(await deletions(market)) == 1


async def test_files_are_deleted_by_the_node_that_has_them(
    market: Market, node: Node, tmp_path: Path
) -> None:
    """Also after the operator has said that recordings are kept for ever from now on."""
    recorded = await node.record()
    market.clock.advance(KEPT_DAYS * DAY)
    assert await Node(market, tmp_path / "other").look() == 1
    assert node.path(recorded).exists()
    later = Node(market, node.folder, recording_kept_days=0)
    assert await later.look() == 0
    assert node.files() == []


async def test_a_file_that_cannot_be_deleted_stops_no_other(
    market: Market, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, fine = await node.record(), await node.record()
    market.clock.advance(KEPT_DAYS * DAY)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == node.path(stuck):
            raise PermissionError(path)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", refuse)
        assert await node.look() == 2
    assert node.files() == [node.path(stuck).name]
    assert not node.path(fine).exists()
    assert await node.look() == 0
    assert node.files() == []


async def test_two_nodes_at_once_put_it_on_record_once(
    market: Market, node: Node, tmp_path: Path
) -> None:
    await node.record()
    market.clock.advance(KEPT_DAYS * DAY)
    other = Node(market, tmp_path / "other")
    assert sum(await asyncio.gather(node.look(), other.look())) == 1
    assert len(await deletions(market)) == 1


async def test_more_than_a_batch_is_deleted_in_one_round(
    market: Market, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin.retention._BATCH", 2)
    for _ in range(5):
        await node.record()
    market.clock.advance(KEPT_DAYS * DAY)
    assert await node.look() == 5
    assert node.files() == []


async def test_the_task_looks_again_by_itself(market: Market, node: Node) -> None:
    recorded = await node.record()
    timers = Timers(node.deps, RETENTION, every_s=RETENTION_EVERY_S)
    armed = market.clock.armed
    timers.start()
    await _until(lambda: market.clock.armed > armed)
    market.clock.advance(KEPT_DAYS * DAY)
    await _until(lambda: not node.path(recorded).exists())
    await timers.stop()


async def _until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in another task
            await asyncio.sleep(0.01)


# Notifications ------------------------------------------------------------------------------------


async def notify(market: Market, *, send_in_s: float = 0, due_in_s: float | None = None) -> str:
    """A notification that is sent (or is to be) so far from now; its id."""
    now_ms = market.clock.wall_ms()
    values = {
        "id": new_id("ntf"),
        "user_id": market.customer.user_id,
        "type": "order.completed",
        "subject_type": "order",
        "subject_id": "ord_1",
        "data": {},
        "channels": {"inapp": "sent"},
        "send_at_ms": now_ms + round(send_in_s * 1_000),
        "due_at_ms": None if due_in_s is None else now_ms + round(due_in_s * 1_000),
        "created_at_ms": now_ms,
    }
    async with market.store.transaction() as tx:
        await tx.execute(sa.insert(notifications).values(values))
    return str(values["id"])


async def stored(market: Market) -> set[str]:
    return {row.id for row in await rows(market, sa.select(notifications.c.id))}


async def test_a_notification_is_deleted_on_time(market: Market, node: Node) -> None:
    old = await notify(market)
    market.clock.advance(1)
    young = await notify(market)
    market.clock.advance(NOTICES_DAYS * DAY - 1.001)
    assert await node.look_at_notifications() == 0
    assert await stored(market) == {old, young}
    market.clock.advance(0.001)
    assert await node.look_at_notifications() == 1
    assert await stored(market) == {young}


async def test_a_notification_counts_from_when_it_is_sent_and_waits_for_it(
    market: Market, node: Node
) -> None:
    reminder = await notify(market, send_in_s=30 * DAY)
    undelivered = await notify(market, due_in_s=0)
    market.clock.advance(NOTICES_DAYS * DAY)
    assert await node.look_at_notifications() == 0
    market.clock.advance(30 * DAY)
    assert await node.look_at_notifications() == 1
    assert reminder not in await stored(market)
    assert await stored(market) == {undelivered}


async def test_zero_days_keep_notifications_for_ever(market: Market, tmp_path: Path) -> None:
    node = Node(market, tmp_path / "recordings", notifications_kept_days=0)
    kept = await notify(market)
    market.clock.advance(10_000 * DAY)
    assert await node.look_at_notifications() == 0
    assert await stored(market) == {kept}


async def test_more_notifications_than_a_batch_are_deleted_in_one_round(
    market: Market, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin.retention._BATCH", 2)
    for _ in range(5):
        await notify(market)
    market.clock.advance(NOTICES_DAYS * DAY)
    assert await node.look_at_notifications() == 5
