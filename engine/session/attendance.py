"""Which devices take part in a session: coming, going, and the media leg each gets."""

from __future__ import annotations

import structlog

from engine.clock import Clock
from engine.errors import Conflict, NotFound, TalktimeError
from engine.media.interface import Role
from engine.session import inputs as i
from engine.session.conductor import Conductor
from engine.session.legs import Legs
from engine.session.runtime import Leg, Runtime
from engine.session.states import State
from engine.session.telling import Teller

_log = structlog.get_logger(__name__)


class Attendance:
    """`come` and `go` run in the session's mailbox."""

    def __init__(
        self, *, clock: Clock, conductor: Conductor, legs: Legs, teller: Teller, most_devices: int
    ) -> None:
        self._clock = clock
        self._conductor = conductor
        self._legs = legs
        self._teller = teller
        self._most_devices = most_devices

    async def come(self, rt: Runtime, role: Role, device: str, now_ns: int) -> None:
        """A device joins; in a media session its offer follows. Raises too_many_devices."""
        if rt.state is State.ENDED or not self._conductor.serves(rt):
            return
        devices = rt.devices[role]
        if device not in devices and len(devices) >= self._most_devices:
            raise Conflict("too_many_devices", "Too many devices in this session.")
        leg = self._legs.add(rt, role, device) if rt.media else None
        devices.add(device)
        # While it rings, a device of the expert may listen, but the expert is not there yet.
        if rt.state is not State.RINGING or role is Role.CUSTOMER:
            await self._conductor.fact(rt, i.Connected(role, up=True), now_ns)
        if leg is not None:
            self._post_offer(rt, leg, ice_restart=False)

    async def go(self, rt: Runtime, device: str, now_ns: int) -> None:
        """A socket was lost at that instant."""
        for role, devices in rt.devices.items():
            if device not in devices:
                continue
            devices.discard(device)
            self._legs.device_gone(rt, device)
            ringing_expert = rt.state is State.RINGING and role is Role.EXPERT
            if not devices and not ringing_expert:
                await self._conductor.fact(rt, i.Connected(role, up=False), now_ns)

    def restart(self, rt: Runtime, device: str) -> None:
        """A fresh offer with new ICE credentials. Raises leg_not_found."""
        leg = rt.leg_of(device)
        if leg is None:
            raise NotFound("leg_not_found", "This device has no media connection.")
        self._post_offer(rt, leg, ice_restart=True)

    def _post_offer(self, rt: Runtime, leg: Leg, *, ice_restart: bool) -> None:
        now_ns = self._clock.now_ns()
        rt.mailbox.post(lambda: self._offer(rt, leg, ice_restart=ice_restart), now_ns)

    async def _offer(self, rt: Runtime, leg: Leg, *, ice_restart: bool) -> None:
        if rt.state is State.ENDED or leg.id not in rt.legs:
            return
        try:
            offer = await self._legs.offer(rt, leg, ice_restart=ice_restart)
        except TalktimeError as error:
            await self._teller.error(leg.device, rt.id, error.code, error.message)
            return
        except Exception:
            _log.exception("session.offer_failed", session=rt.id)
            await self._teller.error(leg.device, rt.id, "internal", "No offer could be made.")
            return
        await self._teller.offer(rt, leg.role, leg.device, offer)
