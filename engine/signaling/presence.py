"""Who is here, and what a call to an expert would do (T12 to T16, T19, T47).

An expert chooses a status, which is stored; what others see is the effective one: without a socket
``undefined``, in a live session ``busy``, else the chosen one. A user stays online for a few
seconds after the last socket is gone, so that reloading a page does not flash offline.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

import msgspec
import sqlalchemy as sa

from engine.clock import NS_PER_S, Clock, TimerHandle
from engine.errors import Conflict, Forbidden
from engine.signaling.messages import PresenceUpdated
from engine.signaling.ports import PresenceSessions, Spawn
from engine.signaling.settings import SignalingSettings
from engine.store.database import Store, Tx
from engine.store.tables import experts, listings

UNDEFINED = "undefined"
_MAX_REMEMBERED = 20_000

Publish = Callable[[str, dict[str, object]], None]
"""publish(expert_id, payload of presence.updated) to watchers and the expert's own devices."""


def effective_status(*, online: bool, in_session: bool, chosen: str) -> str:
    """What others see of an expert."""
    if not online:
        return UNDEFINED
    return "busy" if in_session else chosen


def is_callable(status: str, presence_map: Mapping[str, str]) -> bool:
    """Whether a call would ring or light the badge; unknown statuses refuse."""
    return presence_map.get(status, "refuse") != "refuse"


class Presence:
    """Implements `PresenceView`. `connect` before use."""

    def __init__(self, store: Store, clock: Clock, settings: SignalingSettings) -> None:
        self._store = store
        self._clock = clock
        self._map = settings.presence_map
        self._linger_ns = int(settings.presence_linger_s * NS_PER_S)
        self._devices: dict[str, set[str]] = {}
        self._leaving: dict[str, TimerHandle] = {}
        self._chosen: OrderedDict[str, str] = OrderedDict()
        self._published: dict[str, PresenceUpdated] = {}
        self._sessions: PresenceSessions | None = None
        self._publish: Publish | None = None
        self._spawn: Spawn | None = None

    def connect(self, sessions: PresenceSessions, publish: Publish, spawn: Spawn) -> None:
        self._sessions, self._publish, self._spawn = sessions, publish, spawn

    def device_came(self, user_id: str, device: str) -> None:
        """A socket of the user was accepted."""
        timer = self._leaving.pop(user_id, None)
        if timer is not None:
            timer.cancel()
        devices = self._devices.setdefault(user_id, set())
        devices.add(device)
        if len(devices) == 1 and timer is None:
            self._refresh_soon(user_id)

    def device_left(self, user_id: str, device: str) -> None:
        """A socket is gone; without another one, the user goes offline after the linger."""
        devices = self._devices.get(user_id)
        if devices is None:
            return
        devices.discard(device)
        if devices:
            return
        del self._devices[user_id]
        at_ns = self._clock.now_ns() + self._linger_ns
        self._leaving[user_id] = self._clock.call_at(at_ns, lambda: self._gone(user_id))

    def is_online(self, user_id: str) -> bool:
        return user_id in self._devices or user_id in self._leaving

    def online_users(self) -> Collection[str]:
        """Everybody who is."""
        return self._devices.keys() | self._leaving.keys()

    async def chosen_status(self, expert_id: str) -> str:
        """What the expert chose; ``undefined`` for everybody who is not an active expert."""
        chosen = self._chosen.get(expert_id)
        if chosen is not None:
            return chosen
        async with self._store.reading() as tx:
            query = sa.select(experts.c.presence_status).where(
                experts.c.user_id == expert_id, experts.c.active
            )
            found = await tx.scalar(query)
        if found is None:
            return UNDEFINED
        return self._remember(expert_id, str(found), replace=False)

    async def set_status(self, user_id: str, status: str) -> PresenceUpdated:
        """Choose a status. Raises not_expert, no_consultation (T12)."""
        async with self._store.transaction() as tx:
            await _require_expert_with_listing(tx, user_id)
            await tx.execute(
                sa.update(experts)
                .where(experts.c.user_id == user_id)
                .values(presence_status=status)
            )
        self._remember(user_id, status, replace=True)
        await self.refresh(user_id)
        return self._view(user_id, status)

    async def view(self, expert_id: str) -> PresenceUpdated:
        """The expert as others see it now; strangers and customers look like an absent expert."""
        if not self.is_online(expert_id):
            return self._view(expert_id, UNDEFINED)
        chosen = await self.chosen_status(expert_id)
        if expert_id not in self._chosen:
            return PresenceUpdated(expert_id, online=False, status=UNDEFINED, callable=False)
        return self._view(expert_id, chosen)

    async def refresh(self, expert_id: str) -> None:
        """Something changed: tell watchers and the expert's devices, unless it looks the same."""
        view = await self.view(expert_id)
        absent = PresenceUpdated(expert_id, online=False, status=UNDEFINED, callable=False)
        if view == self._published.get(expert_id, absent) or self._publish is None:
            return
        if view == absent:
            self._published.pop(expert_id, None)
        else:
            self._published[expert_id] = view
        self._publish(expert_id, msgspec.to_builtins(view))

    def stop(self) -> None:
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()

    def _gone(self, user_id: str) -> None:
        self._leaving.pop(user_id, None)
        if user_id in self._published:  # nobody was told of the others
            self._refresh_soon(user_id)

    def _refresh_soon(self, user_id: str) -> None:
        if self._spawn is not None:
            self._spawn(self.refresh(user_id), f"presence of {user_id}")

    def _view(self, expert_id: str, chosen: str) -> PresenceUpdated:
        online = self.is_online(expert_id)
        live = self._sessions is not None and self._sessions.in_live_session(expert_id)
        status = effective_status(online=online, in_session=live, chosen=chosen)
        return PresenceUpdated(expert_id, online, status, is_callable(status, self._map))

    def _remember(self, expert_id: str, status: str, *, replace: bool) -> str:
        """A choice made while the store was being read is newer than what was read."""
        if replace or expert_id not in self._chosen:
            self._chosen[expert_id] = status
        self._chosen.move_to_end(expert_id)
        while len(self._chosen) > _MAX_REMEMBERED:
            self._chosen.popitem(last=False)
        return self._chosen[expert_id]


async def _require_expert_with_listing(tx: Tx, user_id: str) -> None:
    known = sa.select(experts.c.user_id).where(experts.c.user_id == user_id, experts.c.active)
    if await tx.scalar(known) is None:
        raise Forbidden("not_expert", "only an expert has a status")
    published = sa.select(listings.c.id).where(
        listings.c.expert_id == user_id,
        listings.c.kind == "consult",
        listings.c.state == "published",
    )
    if await tx.scalar(published.limit(1)) is None:
        raise Conflict("no_consultation", "publish a consultation before setting a status")
