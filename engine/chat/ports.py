"""What the marketplace has to say about messages outside live sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.chat.off_platform import Screened
from engine.errors import BadInput
from engine.signaling.messages import Message
from engine.store.database import Tx

After = Callable[[], Awaitable[None]]
Screen = Callable[[str], Screened]


@dataclass(frozen=True, slots=True)
class Conversation:
    """`kind`: pair, request, order, case. `topic`: what one of another kind than order is about."""

    id: str
    kind: str
    order_id: str | None
    topic: str | None
    last_seq: int
    members: tuple[str, ...]


class Correspondence(Protocol):
    """The marketplace as chat sees it; every call is in the message's own transaction."""

    async def admit(self, tx: Tx, where: Conversation, author_id: str) -> Screen | None:
        """How to make of a text what the others may see of it; None: as it is.

        Raises `TalktimeError` where this author may not write now.
        """
        ...

    async def attach(
        self, tx: Tx, conversation_id: str, author_id: str, files: Sequence[str]
    ) -> None:
        """Let the members open these files. Raises `BadInput("file_not_usable")`."""
        ...

    async def stored(
        self, tx: Tx, where: Conversation, message: Message, at_ms: int
    ) -> Sequence[After]:
        """A message, as the others see it; what to do after the commit."""
        ...


class Plain:
    """Without a marketplace members write what they like, and there are no files."""

    async def admit(self, tx: Tx, where: Conversation, author_id: str) -> Screen | None:
        return None

    async def attach(
        self, tx: Tx, conversation_id: str, author_id: str, files: Sequence[str]
    ) -> None:
        raise BadInput("file_not_usable", "Files cannot be sent here.", path="$.files")

    async def stored(
        self, tx: Tx, where: Conversation, message: Message, at_ms: int
    ) -> Sequence[After]:
        return ()
