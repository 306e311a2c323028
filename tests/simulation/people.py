"""Customers and experts: what they do, and what becomes of it on the way to the engine."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from typing import Any

from engine.clock import NS_PER_MS, NS_PER_S
from engine.errors import TalktimeError
from engine.media.interface import AcksWithheld, Delivery, FirstFrame, MediaEvent, MediaKind, Role
from engine.signaling.messages import CallInvite, MessageSend
from tests.simulation.node import Node
from tests.simulation.truth import Message, Order, Run, Talk
from tests.simulation.world import World

PATIENCE_NS = 15 * NS_PER_S


class Lost(Exception):
    """No answer: nobody knows whether the request arrived."""


class Couple:
    """A customer and an expert with an order between them, again and again."""

    def __init__(self, world: World, number: int, customer: str, experts: list[str]) -> None:
        self.world = world
        self.number = number
        """Two couples may share a customer, and never a device."""
        self.loop = world.loop
        self.dice = world.dice(f"couple {number}")
        self.network = world.dice(f"network {number}")
        self.customer = customer
        self.experts = experts
        self.order: Order | None = None
        self.calls = 0

    async def live(self) -> None:
        while not self.world.closing:
            await self.loop.sleep(self.dice.expovariate(1 / 8))
            nodes = self.world.serving()
            if self.order is None or self.dice.random() < 0.15:
                await self._new_order()
            if nodes and self.order is not None and not self.world.closing:
                await self._call(self.dice.choice(nodes), self.order)

    async def _new_order(self) -> None:
        if self.order is not None:
            action = self.dice.choice(["cancel", "close"])
            await self.world.finish(self.order, action)
        expert = self.dice.choice(self.experts)
        self.order = await self.world.order(self.customer, expert, self.dice)

    # The network ----------------------------------------------------------------------------------

    async def ask(
        self, node: Node, what: str, work: Callable[[], Awaitable[Any]], *, exact: bool = False
    ) -> Any:
        """Send a request to a node and wait for its answer. Raises `Lost` and what it answered."""
        has, dice = self.world.plan.has, self.network
        if not exact:
            await self.loop.sleep_ns(round(dice.expovariate(1 / (30 * NS_PER_MS))))
            if has("requests_late") and dice.random() < 0.1:
                await self.loop.sleep(dice.random() * 4)
            if has("requests_lost") and dice.random() < 0.03:
                await self.loop.sleep_ns(PATIENCE_NS)
                raise Lost
        answer: asyncio.Future[Any] = self.loop.create_future()
        node.when_awake(lambda: self._arrive(node, what, work, answer))
        if has("requests_twice") and dice.random() < 0.08:
            again: asyncio.Future[Any] = self.loop.create_future()
            again.add_done_callback(_seen)
            later_ns = self.loop.now_ns + round(dice.random() * 2 * NS_PER_S)
            self.loop.at(
                later_ns,
                lambda: node.when_awake(lambda: self._arrive(node, what, work, again)),
            )
        patience = self.loop.at(self.loop.now_ns + PATIENCE_NS, lambda: _give_up(answer))
        try:
            result = await answer
        finally:
            patience.cancel()
        if not exact and has("requests_lost") and dice.random() < 0.03:
            raise Lost
        return result

    def _arrive(
        self,
        node: Node,
        what: str,
        work: Callable[[], Awaitable[Any]],
        answer: asyncio.Future[Any],
    ) -> None:
        """The handler of one request; it runs to its end whoever still waits for the answer."""
        self.world.trace(node.name, f"<- {what}")

        async def handle() -> None:
            try:
                result = await work()
            except TalktimeError as refusal:
                self.world.trace(node.name, f"refuses {what}: {refusal.code}")
                if not answer.done():
                    answer.set_exception(refusal)
            else:
                if not answer.done():
                    answer.set_result(result)

        node.spawn(handle())

    async def _try(self, node: Node, what: str, work: Callable[[], Awaitable[Any]]) -> bool:
        """Up to three times; whether it was done in the end."""
        for _ in range(3):
            try:
                await self.ask(node, what, work)
            except Lost:
                continue
            except TalktimeError as refusal:
                if refusal.code != "store_unavailable":
                    return False
                await self.loop.sleep(1)
            else:
                return True
        return False

    # One call -------------------------------------------------------------------------------------

    async def _call(self, node: Node, order: Order) -> None:
        self.calls += 1
        found: list[Talk] = []
        device = f"{self.customer}:{self.number}.{self.calls}"

        async def invite() -> None:
            mode: Any = order.mode
            message = CallInvite(order.id, mode, "two_way")
            session_id, _, _ = await node.service.invite(self.customer, device, message)
            talk = Talk(session_id, order, self.loop.now_ns, [Run(node, self.loop.now_ns)])
            talk.run.come(Role.CUSTOMER, device, self.loop.now_ns)
            self.world.talks[session_id] = talk
            found.append(talk)

        await self._try(node, f"invite {order.id[-6:]}", invite)
        if not found:
            return
        talk = found[0]
        run = talk.run
        await self._join(talk, run, Role.CUSTOMER, device)
        await self.loop.sleep(self.dice.expovariate(1 / 3))
        draw = self.dice.random()
        if draw < 0.05:
            await self._try(node, "cancel", lambda: self._refusable(talk, node, "cancel"))
        elif draw < 0.1:
            await self._try(node, "decline", lambda: self._refusable(talk, node, "decline"))
        elif draw < 0.13:
            await self._hangup(talk, run, self.dice.choice(list(Role)))
        elif draw > 0.17:
            await self._answer(talk, run)

    async def _refusable(self, talk: Talk, node: Node, what: str) -> None:
        service, order = node.service, talk.order
        if what == "cancel":
            await service.cancel(order.customer, f"{order.customer}:1", talk.id)
        else:
            await service.decline(order.expert, f"{order.expert}:1", talk.id)

    async def _answer(self, talk: Talk, run: Run) -> None:
        device = f"{talk.order.expert}:{self.number}.{self.calls}"
        service, node = run.node.service, run.node

        async def accept() -> None:
            at_ns = self.loop.now_ns
            await service.accept(talk.order.expert, device, talk.id)
            if talk.answered_ns is None:
                talk.answered_ns = at_ns
                talk.transfers_before = self.world.watch.transfer
                run.devices[Role.EXPERT].clear()
                run.come(Role.EXPERT, device, at_ns)

        if self.dice.random() < 0.5:
            await self._try(
                node, "join", lambda: service.join(talk.order.expert, device, talk.id, 0)
            )
        await self._try(node, f"accept {talk.id[-6:]}", accept)
        following: Run | None = run if talk.answered_ns is not None else None
        while following is not None and not self.world.closing:
            await self._converse(talk, following)
            following = await self._come_back(talk, following)

    async def _converse(self, talk: Talk, run: Run) -> None:
        """Until somebody leaves or the node that ran it is gone."""
        doing = [self._talk_text(talk, run) if talk.text else self._talk_media(talk, run)]
        if self.world.plan.has("sockets_lost"):
            doing.append(self._lose_sockets(talk, run))
        if self.world.plan.has("staff") and self.dice.random() < 0.15:
            doing.append(self._staff(talk, run))
        tasks = [self.world.task("people", one) for one in doing]
        await self._leave(talk, run)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _come_back(self, talk: Talk, run: Run) -> Run | None:
        """After a crash both look for the node that goes on with their session; or do not."""
        if run.node.alive and run.lost_ns is None:
            return None
        for _ in range(25):
            await self.loop.sleep(1)
            if talk.run is not run or talk.id in self.world.watch.ended:
                break
        after = talk.run
        if after is run or talk.id in self.world.watch.ended:
            return None
        for role in Role:
            if self.dice.random() < 0.9:
                await self.loop.sleep(self.dice.choice([0.1, 1, 5, 14]))
                await self._join(talk, after, role, f"{role}:{talk.id}:{len(talk.runs)}")
        return after

    async def _join(self, talk: Talk, run: Run, role: Role, device: str) -> None:
        user = talk.order.customer if role is Role.CUSTOMER else talk.order.expert

        async def join() -> None:
            at_ns = self.loop.now_ns
            await run.node.service.join(user, device, talk.id, 0)
            if talk.answered_ns is not None or role is Role.CUSTOMER:
                # A node that takes a session over for a second time serves it in a new run.
                here = talk.run if talk.run.node is run.node else run
                here.come(role, device, at_ns)

        await self._try(run.node, "join", join)

    # Leaving --------------------------------------------------------------------------------------

    async def _leave(self, talk: Talk, run: Run) -> None:
        """Wait for a while that likes boundaries, then hang up, unless it ended by itself."""
        style = self.dice.random()
        exact = style < 0.4
        until_ns = await self._boundary(talk, run) if exact else self._whim()
        while not self._gone(talk, run) and self.loop.now_ns < until_ns and not self.world.closing:
            await self.loop.sleep_ns(min(5 * NS_PER_S, until_ns - self.loop.now_ns))
        if style > 0.85 or self._gone(talk, run):
            return  # closes the page without a word
        await self._hangup(talk, run, self.dice.choice(list(Role)), exact=exact)

    def _whim(self) -> int:
        return self.loop.now_ns + round(self.dice.expovariate(1 / 150) * NS_PER_S)

    async def _boundary(self, talk: Talk, run: Run) -> int:
        """The end of the grace or of a block, or a hair beside it."""
        tariff = talk.order.tariff
        while not run.frames and not self._gone(talk, run):
            await self.loop.sleep(1)
            if self.loop.now_ns - talk.rung_ns > 100 * NS_PER_S:
                break
        start_ns = run.frames[0][1] if run.frames else self.loop.now_ns
        blocks = self.dice.randrange(1, 1 + max(1, 300 // tariff.block_seconds))
        at_s = self.dice.choice([tariff.grace_seconds, blocks * tariff.block_seconds])
        slip_ns = self.dice.choice([-NS_PER_MS, -1, 0, 0, 1, NS_PER_MS, 10 * NS_PER_MS])
        return start_ns + at_s * NS_PER_S + slip_ns

    def _gone(self, talk: Talk, run: Run) -> bool:
        over = talk.over or talk.id in self.world.watch.ended
        return over or not run.node.alive or run.lost_ns is not None

    async def _hangup(self, talk: Talk, run: Run, role: Role, *, exact: bool = False) -> None:
        user = talk.order.customer if role is Role.CUSTOMER else talk.order.expert

        async def end() -> None:
            run.ends.append((self.loop.now_ns, role.value))
            await run.node.service.end(user, talk.id)
            talk.over = True

        if exact:
            try:
                await self.ask(run.node, f"end {talk.id[-6:]}", end, exact=True)
            except (Lost, TalktimeError):
                return
        else:
            await self._try(run.node, f"end {talk.id[-6:]}", end)

    async def _staff(self, talk: Talk, run: Run) -> None:
        await self.loop.sleep(self.dice.random() * 120)

        async def terminate() -> None:
            run.ends.append((self.loop.now_ns, "staff"))
            await run.node.service.terminate(talk.id, by="staff")

        await self._try(run.node, f"terminate {talk.id[-6:]}", terminate)

    async def _lose_sockets(self, talk: Talk, run: Run) -> None:
        while not self._gone(talk, run):
            await self.loop.sleep(self.dice.expovariate(1 / 40))
            role = self.dice.choice(list(Role))
            user = talk.order.customer if role is Role.CUSTOMER else talk.order.expert
            for device in sorted(run.devices[role]):
                run.node.when_awake(
                    functools.partial(self._drop, talk, run, role=role, user=user, device=device)
                )
            await self.loop.sleep(self.dice.choice([0.2, 2, 10, 29, 31]))
            device = f"{user}:{self.number}.{self.calls}:{self.dice.randrange(1000)}"
            await self._join(talk, run, role, device)

    def _drop(self, talk: Talk, run: Run, *, role: Role, user: str, device: str) -> None:
        self.world.trace(run.node.name, f"<- lost {role} of {talk.id[-6:]}")
        run.go(role, device, self.loop.now_ns)
        run.node.spawn(run.node.service.device_gone(user, device))

    # Text -----------------------------------------------------------------------------------------

    async def _talk_text(self, talk: Talk, run: Run) -> None:
        while not self._gone(talk, run):
            await self._think(talk)
            role = self.dice.choice(list(Role))
            say = functools.partial(self._say, talk, run, role, f"m{len(talk.messages)}")
            await self._try(run.node, f"say {talk.id[-6:]}", say)

    async def _think(self, talk: Talk) -> None:
        """Before the next message; many write one when the money has just run out."""
        left_ns = self.world.watch.left_ns(talk)
        if left_ns is None or left_ns > 30 * NS_PER_S or self.dice.random() < 0.1:
            await self.loop.sleep(self.dice.expovariate(1 / 12))
            return
        slip_ms = self.dice.choice([-80, -50, -30, 90, 120, 300])
        await self.loop.sleep_ns(max(0, left_ns) + slip_ms * NS_PER_MS)

    async def _say(self, talk: Talk, run: Run, role: Role, client_id: str) -> None:
        user = talk.order.customer if role is Role.CUSTOMER else talk.order.expert
        name = f"{talk.id[-8:]}{client_id}"
        if any(one.client_id == client_id for one in talk.messages):
            self.world.watch.repeated.add(name)
        message = Message(self.loop.now_ns, role, client_id, run)
        talk.messages.append(message)
        send = MessageSend(session_id=talk.id, client_msg_id=name, body="Hello")
        _, before = await run.node.chat.send(user, send)
        message.stored = not before

    # Media ----------------------------------------------------------------------------------------

    async def _talk_media(self, talk: Talk, run: Run) -> None:
        order, service = talk.order, run.node.service
        device = f"{order.expert}:{self.number}.{self.calls}"
        tracks = functools.partial(
            service.track_update, order.expert, device, talk.id, True, order.mode == "video"
        )
        await self._try(run.node, "tracks", tracks)
        await self._try(
            run.node, f"start {talk.id[-6:]}", lambda: service.begin(order.expert, talk.id)
        )
        await Stream(self.world, talk, run, self.dice).run_on()


class Stream:
    """The expert's media on their way to the customer, and the acknowledgements on theirs back."""

    def __init__(self, world: World, talk: Talk, run: Run, dice: random.Random) -> None:
        self.world = world
        self.loop = world.loop
        self.talk = talk
        self.run = run
        self.node: Node = run.node
        self.dice = dice
        self.deaf = world.plan.has("acks_lost") and dice.random() < 0.05
        self.first_ns = 0

    async def run_on(self) -> None:
        while self.node.alive and not self.world.healed:
            await self.loop.sleep(self._gap())
            call = self.node.media.calls.get(self.talk.id)
            if call is None:
                return
            now_ns = self.loop.now_ns
            cutoff_ns = None if call.cutoff_ns is None else self.node.loop_ns(call.cutoff_ns)
            published = any(call.publishing.get(Role.EXPERT, (False, False)))
            cut = cutoff_ns is not None and now_ns >= cutoff_ns
            if call.gate_open and published and not cut and not self.node.frozen:
                self._forward(now_ns)

    def _gap(self) -> float:
        if self.world.plan.has("media_gaps") and self.dice.random() < 0.015:
            return self.dice.choice([2.9, 2.999, 3.0, 3.1, 8, 29.9, 30.1, 40])
        return 0.5 + self.dice.random() * 0.9

    def _forward(self, sent_ns: int) -> None:
        self.first_ns = self.first_ns or sent_ns
        has, dice = self.world.plan.has, self.dice
        self.world.watch.forwarded(self.talk, self.run, sent_ns)
        if self.deaf or (has("acks_lost") and dice.random() < 0.05):
            if self.deaf and sent_ns - self.first_ns > 5 * NS_PER_S:
                self._hear(lambda: self._emit(AcksWithheld(self.talk.id)))
            return
        trips = [20 * NS_PER_MS + round(dice.expovariate(1 / (30 * NS_PER_MS)))]
        if has("acks_late") and dice.random() < 0.05:
            trips[0] += round(dice.random() * 5 * NS_PER_S)
        if has("acks_twice") and dice.random() < 0.05:
            trips.append(trips[0] + round(dice.random() * 3 * NS_PER_S))
        for trip_ns in trips:
            self.loop.at(self.loop.now_ns + trip_ns, lambda: self._hear(lambda: self._ack(sent_ns)))

    def _hear(self, callback: Callable[[], None]) -> None:
        self.node.when_awake(callback)

    def _ack(self, sent_ns: int) -> None:
        """The worker says once that media began to arrive, and then how far they did."""
        session_id, offset_ns = self.talk.id, self.node.clock.offset_ns
        if session_id not in self.node.media.calls:
            return
        now_ns = self.loop.now_ns
        first = not self.run.frames
        self.run.frames.append((now_ns, sent_ns))
        if first:
            kind = MediaKind.VIDEO if self.talk.order.mode == "video" else MediaKind.AUDIO
            self._emit(FirstFrame(session_id, kind, sent_ns + offset_ns, now_ns + offset_ns))
        else:
            self._emit(Delivery(session_id, sent_ns + offset_ns))

    def _emit(self, event: MediaEvent) -> None:
        self.node.media.emit(event)


def _give_up(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(Lost())


def _seen(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()
