"""The media legs of sessions: which device carries which party, and its offers.

While a call rings each device of the expert gets a leg of its own, so that transport and keys are
ready before anyone answers. The device that answers keeps its leg; the others are closed. A device
that joins later (a reloaded page) gets a new leg, which takes over once it is connected: until then
the old one serves on. Legs never cost money: the session stays the same.
"""

from __future__ import annotations

from engine.errors import Conflict, NotFound
from engine.media.interface import LegConnected, LegLost, MediaWorker, Role
from engine.session.ports import IceServers
from engine.session.runtime import Leg, Runtime
from engine.session.states import State
from engine.signaling.messages import RtcOffer


class Legs:
    """All methods but `offer` and `answer` are immediate."""

    def __init__(self, worker: MediaWorker, ice_servers: IceServers) -> None:
        self._worker = worker
        self._ice_servers = ice_servers

    def add(self, rt: Runtime, role: Role, device: str) -> Leg:
        """The device's leg, a new one if it has none. Raises `Conflict` too_many_devices."""
        leg = rt.leg_of(device)
        if leg is not None:
            return leg
        try:
            leg_id = self._worker.add_leg(rt.id, role)
        except Conflict as refusal:
            raise Conflict("too_many_devices", "Too many devices in this call.") from refusal
        leg = rt.legs[leg_id] = Leg(leg_id, role, device)
        if role not in rt.selected and self._may_select(rt, leg):
            self._select(rt, leg)
        return leg

    def answered(self, rt: Runtime, device: str) -> None:
        """This device of the expert answered: only its leg, now or once it joins, stays."""
        leg = rt.leg_of(device)
        if leg is not None:
            self._select(rt, leg)
            return
        for other in [leg for leg in rt.legs.values() if leg.role is Role.EXPERT]:
            self._remove(rt, other)

    def connected(self, rt: Runtime, event: LegConnected) -> None:
        leg = rt.legs.get(event.leg_id)
        if leg is None:
            return
        leg.connected = True
        if self._may_select(rt, leg) and rt.selected.get(leg.role) != leg.id:
            self._select(rt, leg)

    def lost(self, rt: Runtime, event: LegLost) -> None:
        """A leg that lost consent may heal by an ICE restart; a closed one is gone."""
        leg = rt.legs.get(event.leg_id)
        if leg is None:
            return
        leg.connected = False
        if event.reason != "consent":
            self._remove(rt, leg)

    def device_gone(self, rt: Runtime, device: str) -> None:
        """Drop the leg of a lost socket unless it carries the call: media may well flow on."""
        leg = rt.leg_of(device)
        if leg is not None and rt.selected.get(leg.role) != leg.id:
            self._remove(rt, leg)

    async def offer(self, rt: Runtime, leg: Leg, *, ice_restart: bool = False) -> RtcOffer:
        """The engine's offer for a leg (the engine always offers)."""
        sdp = await self._worker.offer(leg.id, ice_restart=ice_restart)
        servers = self._ice_servers(rt.grant.user_of(leg.role))
        return RtcOffer(rt.id, leg.id, sdp, servers)

    async def answer(self, rt: Runtime, device: str, leg_id: str, sdp: str) -> None:
        """Raises `NotFound` leg_not_found, `BadInput` invalid_sdp."""
        leg = rt.legs.get(leg_id)
        if leg is None or leg.device != device:
            raise NotFound("leg_not_found", "No such media connection of this device.")
        await self._worker.answer(leg_id, sdp)

    def _may_select(self, rt: Runtime, leg: Leg) -> bool:
        if leg.role is Role.CUSTOMER:
            return True
        if rt.state is State.RINGING:
            return False
        # The first one after the answer is the answering device's; later ones are reloads of it.
        return leg.role in rt.selected or leg.device == rt.machine.answered_by or leg.connected

    def _select(self, rt: Runtime, leg: Leg) -> None:
        self._worker.select_leg(rt.id, leg.id)
        rt.selected[leg.role] = leg.id
        for other in [one for one in rt.legs.values() if one.role is leg.role and one is not leg]:
            del rt.legs[other.id]

    def _remove(self, rt: Runtime, leg: Leg) -> None:
        del rt.legs[leg.id]
        if rt.selected.get(leg.role) == leg.id:
            del rt.selected[leg.role]
        self._worker.remove_leg(leg.id)
