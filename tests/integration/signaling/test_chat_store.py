"""Two services on one store, as two processes would be: the store alone keeps the order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import sqlalchemy as sa

from engine.chat.service import ChatService
from engine.signaling.messages import MessageSend
from engine.store.database import Store
from engine.store.tables import conversations, messages, sessions
from tests.support.fake_sessions import FakeSession
from tests.support.signaling import Site, generous


async def prepared(store: Store) -> tuple[Site, str]:
    """People, an order, its conversation and a running session, without a server."""
    site = Site(store, generous())
    await site._seed()
    session = FakeSession(
        "ses_1", site.order_id, site.conversation_id, site.customer, site.expert, "text", "two_way"
    )
    session.state = "in_progress"
    await site.sessions._insert(session)
    site.sessions.live[session.id] = session
    return site, session.id


async def test_numbers_have_no_gap_and_no_repetition_whoever_stores(
    any_store: Store, open_store: Callable[[], Store]
) -> None:
    site, session_id = await prepared(any_store)
    second = open_store()
    services = [ChatService(store, site.clock, site.sessions) for store in (any_store, second)]
    for service in services:
        service.connect(site.signaling.outbound)
    sent = [
        services[turn % 2].send(
            author,
            MessageSend(session_id=session_id, client_msg_id=f"m{number}", body=f"text {number}"),
        )
        for number in range(8)
        for author in (site.customer, site.expert)
        for turn in range(3)  # each message three times, through both services
    ]
    answers = await asyncio.gather(*sent)
    await second.close()
    fresh = [message for message, duplicate in answers if not duplicate]
    assert sorted(message.seq for message in fresh) == list(range(1, 17))
    assert len({message.id for message, _ in answers}) == 16
    assert len(site.sessions.stored) == 16
    async with any_store.reading() as tx:
        assert await tx.scalar(sa.select(sa.func.count()).select_from(messages)) == 16
        assert await tx.scalar(sa.select(conversations.c.last_seq)) == 16
        assert await tx.scalar(sa.select(sessions.c.id)) == session_id


async def test_read_marks_set_at_once_end_at_the_furthest(
    any_store: Store, open_store: Callable[[], Store]
) -> None:
    site, session_id = await prepared(any_store)
    second = open_store()
    services = [ChatService(store, site.clock, site.sessions) for store in (any_store, second)]
    for service in services:
        service.connect(site.signaling.outbound)
    for number in range(10):
        await services[0].send(
            site.expert, MessageSend(session_id=session_id, client_msg_id=f"m{number}", body="text")
        )
    marks = [
        services[seq % 2].read(site.customer, site.conversation_id, seq) for seq in range(1, 11)
    ]
    await asyncio.gather(*marks)
    await second.close()
    async with any_store.reading() as tx:
        query = sa.text("SELECT seq FROM read_marks")
        assert (await tx.execute(query)).scalars().all() == [10]
