"""Chat: stores a message, tells every member, tells the session service; each exactly once.

A message goes into a live session or into a conversation. In a session the session service gates
(`chat_gate`: who, whether, and the instant that counts for money) and counts (`message_stored`);
chat decides the order. Outside of one the members write, the marketplace says what the others may
see of it (`Correspondence`), and nothing is counted. Per conversation one message is stored,
delivered and reported before the next, so that all three happen in the order of `seq`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from engine.chat import records
from engine.chat.off_platform import hide_cards
from engine.chat.ports import After, Conversation, Correspondence, Plain
from engine.chat.records import Draft
from engine.chat.rules import (
    furthest_mark,
    normalise_body,
    one_place,
    other_party,
    require_member,
)
from engine.clock import Clock
from engine.errors import Conflict, TalktimeError, Unavailable
from engine.signaling.messages import (
    Message,
    MessageCreated,
    MessageReadMark,
    MessageSend,
    Typing,
    TypingNow,
)
from engine.signaling.ports import ChatSessions, Gate, Outbound
from engine.store.database import Store, Tx

_log = logging.getLogger(__name__)


_UNSURE_KEPT: Final = 1_000


class _AlreadyThere(Exception):
    """Leaves the transaction without a trace: this message is stored already."""

    def __init__(self, message: Message) -> None:
        self.message = message


class ChatService:
    """`connect` before use: chat and signalling know each other.

    `correspondence`: the marketplace's say in messages outside sessions; without one it has none.
    """

    def __init__(self, store: Store, clock: Clock, sessions: ChatSessions) -> None:
        self._store = store
        self._clock = clock
        self._sessions = sessions
        self._outbound: Outbound | None = None
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._unsure: deque[tuple[str, str]] = deque(maxlen=_UNSURE_KEPT)
        """Author and id of messages that failed, maybe after they were stored: then they were not
        told, or not counted, and whoever repeats them has that made up for."""
        self.correspondence: Correspondence = Plain()

    def connect(self, outbound: Outbound) -> None:
        self._outbound = outbound

    # Sending --------------------------------------------------------------------------------------

    async def send(
        self, user_id: str, msg: MessageSend, *, guest: bool = False
    ) -> tuple[Message, bool]:
        """Store and deliver a message: (as its author sees it, whether it was there before).

        `guest`: the caller has found that this user may write, although no member. Raises
        message_empty, message_too_long, client_msg_id_reused, file_not_usable; in a session what
        `chat_gate` raises, in a conversation conversation_not_found and what the marketplace
        forbids. A repetition in a session is answered even after its end.
        """
        one_place(msg.session_id, msg.conversation_id)
        # Numbers of cards are not even stored.
        screened = hide_cards(normalise_body(msg.body, empty=bool(msg.files)))
        if msg.session_id is not None:
            draft = _draft("", user_id, msg, screened.text, screened.kinds)
            return await self._send_live(draft, msg.session_id)
        draft = _draft(msg.conversation_id or "", user_id, msg, screened.text, screened.kinds)
        return await self._send_outside(draft, guest=guest)

    async def _send_live(self, draft: Draft, session_id: str) -> tuple[Message, bool]:
        user_id, client_msg_id = draft.author_id or "", draft.client_msg_id or ""
        try:
            gate: Gate = self._sessions.chat_gate(user_id, session_id)
        except TalktimeError as refusal:
            known = await self._sent_before(user_id, client_msg_id, session_id)
            if known is None or self._waits(refusal, user_id, client_msg_id):
                raise
            return _same(known, draft), True
        draft = _at(draft, gate.conversation_id, gate.at_ms, session_id)
        async with self._turn(gate.conversation_id):
            try:
                return await self._store_and_tell(draft, gate)
            except Unavailable:
                self._unsure.append((user_id, client_msg_id))
                raise

    def _waits(self, refusal: TalktimeError, user_id: str, client_msg_id: str) -> bool:
        """A stored message that was maybe not told: it is once the session goes on."""
        return refusal.code == "session_paused" and (user_id, client_msg_id) in self._unsure

    async def _store_and_tell(self, draft: Draft, gate: Gate) -> tuple[Message, bool]:
        sent = (draft.author_id or "", draft.client_msg_id or "")
        repeated = False
        try:
            async with self._store.transaction() as tx:
                message = await self._store_once(tx, draft)
                await self._sessions.require_open(tx, gate, sent[0])
        except _AlreadyThere as known_one:
            message, repeated = _same(known_one.message, draft), True
        if repeated and sent not in self._unsure:
            return message, True
        try:
            await self._deliver(gate, message)
        finally:  # what is stored counts, whoever could be told
            await self._sessions.message_stored(gate)
        while sent in self._unsure:
            self._unsure.remove(sent)
        return message, repeated

    async def _send_outside(self, draft: Draft, *, guest: bool) -> tuple[Message, bool]:
        author_id = draft.author_id or ""
        async with self._turn(draft.conversation_id):
            draft = _at(draft, draft.conversation_id, self._clock.wall_ms(), None)
            try:
                async with self._store.transaction() as tx:
                    where = await records.find(tx, draft.conversation_id)
                    if not guest:
                        require_member(author_id, where.members)
                    draft, message, after = await self._post(tx, where, draft, guest=guest)
            except _AlreadyThere as known_one:
                return _same(known_one.message, draft), True
            await self._tell(where, message, draft)
        await _run(after)
        return _as_author(message, draft), False

    async def _post(
        self, tx: Tx, where: Conversation, draft: Draft, *, guest: bool
    ) -> tuple[Draft, Message, Sequence[After]]:
        author_id = draft.author_id or ""
        known = await self._known(tx, draft)  # before anything that may forbid a new one
        if known is not None:
            raise _AlreadyThere(known)
        screen = await self.correspondence.admit(tx, where, author_id)
        if screen is not None and not guest:
            screened = screen(draft.body)
            if screened.kinds:
                draft = _screened(draft, screened.text, screened.kinds)
        message = await self._store_once(tx, draft)
        if not guest:  # who answers has read
            await records.advance_mark(tx, where.id, author_id, mark=message.seq, at_ms=draft.at_ms)
        after = await self.correspondence.stored(tx, where, message, draft.at_ms)
        return draft, message, after

    async def _store_once(self, tx: Tx, draft: Draft) -> Message:
        seq = await records.next_seq(tx, draft.conversation_id, draft.at_ms)
        known = await self._known(tx, draft)  # the row is locked: a repetition has waited here
        if known is not None:
            raise _AlreadyThere(known)
        if draft.files:
            await self.correspondence.attach(
                tx, draft.conversation_id, draft.author_id or "", draft.files
            )
        return await records.insert(tx, draft, seq)

    async def _known(self, tx: Tx, draft: Draft) -> Message | None:
        return await records.find_sent(
            tx,
            draft.author_id or "",
            draft.client_msg_id or "",
            conversation_id=draft.conversation_id,
        )

    async def _sent_before(
        self, user_id: str, client_msg_id: str, session_id: str
    ) -> Message | None:
        async with self._store.reading() as tx:
            return await records.find_sent(tx, user_id, client_msg_id, session_id=session_id)

    async def _deliver(self, gate: Gate, message: Message) -> None:
        told = msgspec.to_builtins(MessageCreated(gate.session_id, message, gate.order_id))
        for party in (gate.customer_id, gate.expert_id):
            await self._sessions.publish(gate.session_id, party, "message.created", dict(told))

    async def _tell(self, where: Conversation, message: Message, draft: Draft) -> None:
        for member in where.members:
            seen = _as_author(message, draft) if member == draft.author_id else message
            created = MessageCreated(None, seen, where.order_id)
            await self._out.to_user(member, "message.created", msgspec.to_builtins(created))

    # Around a message -----------------------------------------------------------------------------

    async def read(self, user_id: str, conversation_id: str, seq: int) -> None:
        """Mark everything up to `seq` as read. Raises conversation_not_found."""
        async with self._turn(conversation_id):
            async with self._store.transaction() as tx:
                where = await records.find(tx, conversation_id)
                require_member(user_id, where.members)
                mark = furthest_mark(seq, where.last_seq)
                moved = mark > 0 and await records.advance_mark(
                    tx, conversation_id, user_id, mark=mark, at_ms=self._clock.wall_ms()
                )
            if moved:
                told = msgspec.to_builtins(MessageReadMark(conversation_id, user_id, mark))
                await self._tell_all(where.members, "message.read", told)

    async def typing(self, user_id: str, msg: Typing) -> None:
        """Tell the others, and nobody else. Raises what `chat_gate` raises, or
        conversation_not_found."""
        one_place(msg.session_id, msg.conversation_id)
        if msg.session_id is not None:
            await self._typing_live(user_id, msg.session_id, msg.typing)
            return
        async with self._store.reading() as tx:
            where = await records.find(tx, msg.conversation_id or "")
        require_member(user_id, where.members)
        told = TypingNow(None, None, msg.typing, where.id, user_id, where.order_id)
        others = [member for member in where.members if member != user_id]
        await self._tell_all(others, "typing", msgspec.to_builtins(told))

    async def _typing_live(self, user_id: str, session_id: str, typing: bool) -> None:
        gate: Gate = self._sessions.chat_gate(user_id, session_id)
        told = TypingNow(
            session_id, gate.role, typing, gate.conversation_id, user_id, gate.order_id
        )
        other = other_party(user_id, gate.customer_id, gate.expert_id)
        await self._sessions.publish(session_id, other, "typing", msgspec.to_builtins(told))

    async def history(
        self,
        user_id: str,
        conversation_id: str,
        before_seq: int | None,
        limit: int,
        *,
        guest: bool = False,
    ) -> tuple[list[Message], bool]:
        """Messages before `before_seq`, oldest first, and whether there are older ones.

        `guest`: the caller has found that this user may read all of it, although no member. Raises
        conversation_not_found, also for strangers.
        """
        async with self._store.reading() as tx:
            where = await records.find(tx, conversation_id)
            if not guest:
                require_member(user_id, where.members)
            reader = records.AUTHORS if guest else user_id
            return await records.page(tx, conversation_id, before_seq, limit, reader_id=reader)

    async def post_system(
        self, tx: Tx, conversation_id: str, body: str, files: Sequence[str] = ()
    ) -> Message:
        """Add a message of the system to the caller's transaction; `announce` it after commit."""
        at_ms = self._clock.wall_ms()
        draft = Draft(conversation_id, "system", normalise_body(body), at_ms, files=tuple(files))
        return await records.append(tx, draft)

    async def announce(self, message: Message) -> None:
        """Tell the members of a message that belongs to no running session."""
        async with self._store.reading() as tx:
            where = await records.find(tx, message.conversation_id)
        created = MessageCreated(None, message, where.order_id)
        await self._tell_all(where.members, "message.created", msgspec.to_builtins(created))

    async def order_of_session(self, session_id: str) -> str | None:
        async with self._store.reading() as tx:
            return await records.order_of_session(tx, session_id)

    async def order_of_conversation(self, conversation_id: str) -> str | None:
        async with self._store.reading() as tx:
            return await records.order_of_conversation(tx, conversation_id)

    @property
    def _out(self) -> Outbound:
        if self._outbound is None:
            raise RuntimeError("connect() first")
        return self._outbound

    async def _tell_all(self, members: Iterable[str], event: str, told: dict[str, object]) -> None:
        for member in members:
            await self._out.to_user(member, event, told)

    @contextlib.asynccontextmanager
    async def _turn(self, conversation_id: str) -> AsyncIterator[None]:
        """One at a time per conversation; the lock exists only while somebody wants it."""
        lock, waiting = self._turns.get(conversation_id, (asyncio.Lock(), 0))
        self._turns[conversation_id] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns[conversation_id]
            if waiting == 1:
                del self._turns[conversation_id]
            else:
                self._turns[conversation_id] = (lock, waiting - 1)


def _draft(
    conversation_id: str, user_id: str, msg: MessageSend, body: str, masked: Sequence[str]
) -> Draft:
    return Draft(
        conversation_id,
        "text",
        body,
        0,
        author_id=user_id,
        client_msg_id=msg.client_msg_id,
        masked=masked,
        files=tuple(dict.fromkeys(msg.files)),
    )


def _at(draft: Draft, conversation_id: str, at_ms: int, session_id: str | None) -> Draft:
    return replace(draft, conversation_id=conversation_id, at_ms=at_ms, session_id=session_id)


def _screened(draft: Draft, body: str, kinds: Sequence[str]) -> Draft:
    masked = tuple(sorted({*draft.masked, *kinds}))
    return replace(draft, body=body, original_body=draft.body, masked=masked)


def _as_author(message: Message, draft: Draft) -> Message:
    if draft.original_body is None:
        return message
    return msgspec.structs.replace(message, body=draft.original_body)


def _same(known: Message, draft: Draft) -> Message:
    """Both as their author sees them."""
    body = draft.body if draft.original_body is None else draft.original_body
    if known.body != body:
        raise Conflict("client_msg_id_reused", "another message was sent under this client_msg_id")
    return known


async def _run(after: Sequence[After]) -> None:
    """What is stored stays so: a failure here hurts nobody else."""
    for work in after:
        try:
            await work()
        except Exception:
            _log.exception("after a message")
