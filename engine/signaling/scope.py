"""What a token for one order may touch and hear."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

import msgspec

from engine.errors import Forbidden, NotFound
from engine.signaling.connections import Connection
from engine.signaling.messages import Payload
from engine.signaling.tokens import Identity

_MAX_KNOWN = 20_000


class OrderLookup(Protocol):
    async def order_of_session(self, session_id: str) -> str | None: ...

    async def order_of_conversation(self, conversation_id: str) -> str | None: ...


class Scopes:
    """Which order a session or conversation belongs to; that never changes, so it is remembered."""

    def __init__(self, orders: OrderLookup) -> None:
        self._orders = orders
        self._known: OrderedDict[str, str] = OrderedDict()

    def learn(self, order_id: str, *ids: str) -> None:
        for known in ids:
            self._known[known] = order_id
            self._known.move_to_end(known)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    async def require(self, identity: Identity, subject: str, message: Payload) -> None:
        """Refuse what lies outside an engine token's order; access tokens pass.

        Raises `Forbidden` token_out_of_scope, `NotFound` session_not_found,
        conversation_not_found.
        """
        if identity.order_id is None or subject == "open":
            return
        fields = msgspec.structs.asdict(message)
        if subject == "place":
            subject = "conversation" if fields["session_id"] is None else "session"
        if subject == "session":
            found = await self._order_of(fields["session_id"], session=True)
            _require_same(found, identity.order_id, "session_not_found")
        elif subject == "conversation":
            found = await self._order_of(fields["conversation_id"], session=False)
            _require_same(found, identity.order_id, "conversation_not_found")
        elif subject == "account" or fields.get("order_id") != identity.order_id:
            raise Forbidden("token_out_of_scope", "this token is for another purpose")

    async def _order_of(self, subject_id: str | None, *, session: bool) -> str | None:
        if subject_id is None:
            return None
        if (known := self._known.get(subject_id)) is not None:
            return known
        lookup = self._orders.order_of_session if session else self._orders.order_of_conversation
        found = await lookup(subject_id)
        if found is not None:
            self.learn(found, subject_id)
        return found

    def hears(self, connection: Connection, payload: Mapping[str, object]) -> bool:
        """Whether an event may go to a device: engine tokens hear of their order only."""
        mine = connection.identity.order_id
        if mine is None:
            return True
        subjects = [payload.get("session_id"), payload.get("conversation_id")]
        message = payload.get("message")
        if isinstance(message, Mapping):
            subjects.append(message.get("conversation_id"))
        orders = [payload["order_id"]] if "order_id" in payload else []
        orders += [self._known.get(str(subject)) for subject in subjects if subject is not None]
        return not orders or mine in orders


def _require_same(found: str | None, mine: str, code: str) -> None:
    if found != mine:
        raise NotFound(code, "there is no such thing for this token")
