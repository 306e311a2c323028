"""One call from the invite to the end, played by both parties and noted as evidence."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from engine.errors import TalktimeError, Unavailable
from engine.ids import new_id
from engine.signaling import messages as wire

if TYPE_CHECKING:
    from tests.bank.engine_process import Engine


class Call:
    """One session, new or taken over, played by both parties."""

    def __init__(
        self, engine: Engine, customer_id: str, expert_id: str, mode: str, session_id: str = ""
    ) -> None:
        self._engine = engine
        self._customer, self._expert, self._mode = customer_id, expert_id, mode
        self._sessions = engine.sessions
        self._random = engine.random
        self._customer_device, self._expert_device = new_id("dev"), new_id("dev")
        self._id = session_id

    async def run(self, order_id: str) -> None:
        """From the invite to the end."""
        mode: Any = self._mode
        invite = wire.CallInvite(order_id, mode)
        self._id, _, _ = await self._sessions.invite(self._customer, self._customer_device, invite)
        self._engine.played.add(self._id)
        self._note("invited")
        if self._random.random() < 0.1:
            await self._not_answered()
            return
        try:
            await self._sessions.accept(self._expert, self._expert_device, self._id)
        except TalktimeError:
            await self._sessions.cancel(self._customer, self._customer_device, self._id)
            raise
        await self._sessions.join(self._expert, self._expert_device, self._id, 0)
        with contextlib.suppress(TalktimeError):  # it may end at any moment, by itself
            await (self._text() if self._mode == "text" else self._media())
        await self._end()

    async def go_on(self, *, connecting: bool) -> None:
        """Come back, both or only one of them, and talk on."""
        self._note("back")
        await self._sessions.join(self._customer, self._customer_device, self._id, 0)
        if self._random.random() < 0.1:
            return
        await self._sessions.join(self._expert, self._expert_device, self._id, 0)
        with contextlib.suppress(TalktimeError):
            if self._mode == "text":
                self._note("counting")
                await self._say(3)
                await self._wait()
            else:
                await self._media(begin=connecting)
        await self._end()

    def _note(self, fact: str, **members: object) -> None:
        self._engine.notebook.note(fact, session=self._id, **members)

    async def _not_answered(self) -> None:
        match self._random.randrange(3):
            case 0:
                await self._sessions.cancel(self._customer, self._customer_device, self._id)
            case 1:
                await self._sessions.decline(self._expert, self._expert_device, self._id)
            case _:
                pass  # until the ring timeout

    async def _text(self) -> None:
        """Two messages start the clock; sometimes the expert is away for a moment."""
        await self._say(1)
        self._note("counting")
        await self._say(2)
        self._note("counted")
        await self._wait()
        if self._random.random() < 0.3:
            expert = self._expert
            await self._sessions.device_gone(expert, self._expert_device)
            self._note("away")
            await asyncio.sleep(self._random.uniform(0, 1))
            self._note("back")
            await self._sessions.join(expert, self._expert_device, self._id, 0)
            await self._wait()

    async def _say(self, number: int) -> None:
        """As a client does: again under the same id until it is known to be stored."""
        msg = wire.MessageSend(
            session_id=self._id, client_msg_id=f"{self._id}:{self._engine.run}:{number}", body="so"
        )
        while True:
            try:
                await self._engine.chat.send(self._customer, msg)
            except Unavailable:
                await asyncio.sleep(0.2)
            else:
                return

    async def _media(self, *, begin: bool = True) -> None:
        """Frames are acknowledged four times a second, with a gap now and then."""
        session_id = self._id
        await self._sessions.track_update(
            self._expert, self._expert_device, session_id, True, self._mode == "video"
        )
        if begin:
            await self._sessions.begin(self._expert, session_id)
        media, clock = self._engine.media, self._engine.clock
        frame_ns = clock.now_ns()
        self._note("frame", frame_ns=frame_ns)
        media.first_frame(session_id, frame_ns)
        until_ns = frame_ns + round(self._life_s() * 1_000_000_000)
        while clock.now_ns() < until_ns and session_id in media.calls:
            gap = self._random.random() < 0.01
            await asyncio.sleep(3.3 if gap else self._random.uniform(0.1, 0.4))
            frame_ns = clock.now_ns()
            self._note("frame", frame_ns=frame_ns)
            media.deliver(session_id, frame_ns)

    def _life_s(self) -> float:
        return self._random.choice((0.1, 1, 3, 6)) * self._random.random() + 0.1

    async def _wait(self) -> None:
        await asyncio.sleep(self._life_s())

    async def _end(self) -> None:
        """Either party hangs up, staff do, or nobody does and the money or the silence ends it."""
        dice = self._random.random()
        if dice < 0.15:
            return
        self._note("ending")
        while True:
            try:
                if dice < 0.25:
                    summary = await self._sessions.terminate(self._id, by="bank")
                else:
                    party = self._customer if dice < 0.6 else self._expert
                    summary = await self._sessions.end(party, self._id)
            except Unavailable:
                await asyncio.sleep(0.2)
                continue
            break
        self._note("end_told", total_minor=summary.total_minor, reason=summary.reason)
