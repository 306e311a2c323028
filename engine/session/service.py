"""`SessionService`: calls and chats of this node, from the first ring to the last cent.

The public face of the package. Commands come from sockets with a user id taken from the token;
facts come from the media worker, from timers and from the wallet. What a session is and when it
must end is decided by its machine (`engine.session.machine`); what that means for store, money,
media and parties is carried out by the conductor (`engine.session.conductor`).

Everything that happens to one session happens in its mailbox, one thing at a time, stamped when it
arrived: a hangup that came before a renewal is handled before it, however slow the store is.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Final

import structlog

from engine.clock import NS_PER_S, Clock
from engine.errors import Conflict, Forbidden, NotFound, Unavailable
from engine.ids import new_id
from engine.media.interface import (
    AcksWithheld,
    Delivery,
    FirstFrame,
    LegConnected,
    LegLost,
    MediaEvent,
    MediaWorker,
    Role,
)
from engine.metering import signals as s
from engine.metering.ledger import Ledger
from engine.ratelimit import Limiter, Rate
from engine.recording.ports import NoRecordings, RecordingPort
from engine.session import inputs as i
from engine.session import invites, views
from engine.session.abandoned import messages_of_customers
from engine.session.eventlog import PartyLog
from engine.session.grants import Grant, GrantProvider
from engine.session.journal import Outdated
from engine.session.machine import SessionMachine
from engine.session.measures import Measures
from engine.session.parts import build_parts
from engine.session.ports import (
    ChatGate,
    IceServers,
    LiveSessionView,
    Outbound,
    PresenceView,
    ReceiptUrl,
    SessionSettings,
)
from engine.session.pulse import PulseClock
from engine.session.runtime import Instants, Runtime
from engine.session.states import State
from engine.signaling.messages import CallInvite, SessionSummary, Snapshot
from engine.store.database import Store, Tx
from engine.store.marks import require_unblocked

_log = structlog.get_logger(__name__)

_READS_OF_AN_ORDER: Final = 3


def _plain_receipt_url(_user_id: str, session_id: str) -> str | None:
    return f"/api/v1/sessions/{session_id}/receipt"


class SessionService:
    """One per node. `connect`, then `start`; `drain` and `stop` at the end.

    Raises `TalktimeError` with the codes named at each method; `Unavailable` store_unavailable
    when the store cannot be reached, and then nothing has changed.
    """

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        media: MediaWorker,
        clock: Clock,
        grants: GrantProvider,
        node_id: str,
        settings: SessionSettings | None = None,
        ice_servers: IceServers | None = None,
        receipt_url: ReceiptUrl | None = None,
        recordings: RecordingPort | None = None,
    ) -> None:
        settings = settings or SessionSettings()
        receipt_url = receipt_url or _plain_receipt_url
        self._clock = PulseClock(clock)
        parts = build_parts(
            store=store,
            ledger=ledger,
            media=media,
            clock=self._clock,
            grants=grants,
            node_id=node_id,
            settings=settings,
            ice_servers=ice_servers or (lambda _user_id: []),
            receipt_url=receipt_url,
            recordings=recordings or NoRecordings(),
        )
        self._settings = settings
        self._receipt_url = receipt_url
        self._store = store
        self._ledger = ledger
        self._media = media
        self._grants = grants
        self._registry = parts.registry
        self._teller = parts.teller
        self._legs = parts.legs
        self._archive = parts.archive
        self._conductor = parts.conductor
        self._surroundings = parts.surroundings
        self._recorder = parts.recorder
        self._attendance = parts.attendance
        self._quality = parts.quality
        self._takeover = parts.takeover
        self._heartbeat = parts.heartbeat
        self._invites = Limiter(Rate(settings.invites_per_s, settings.invite_burst))
        self._draining = False

    # Life of the node -----------------------------------------------------------------------------

    def connect(self, outbound: Outbound, presence: PresenceView) -> None:
        """Called once by the composition root: signalling needs the service and the reverse."""
        self._teller.outbound = outbound
        self._surroundings.presence = presence

    async def start(self) -> None:
        """Take over what a dead run of this node left behind, then serve: answered sessions wait
        for both parties for their reconnect window, the others are settled. Raises
        store_unavailable.
        """
        self._media.subscribe(self._on_media)
        self._clock.start()
        await self._heartbeat.start()

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls and end the others, settled and told; wait at most `grace_s`, also for
        a store that is out of reach.
        """
        self._draining = self._heartbeat.leaving = True
        for rt in self._registry:
            self._conductor.post(rt, i.Shutdown())
        over = asyncio.Event()
        timer = self._clock.call_at(self._clock.now_ns() + round(grace_s * NS_PER_S), over.set)
        waits = [asyncio.ensure_future(wait) for wait in (self._all_ended(), over.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            for wait in waits:
                wait.cancel()
        if len(self._registry):
            _log.warning("session.drain_incomplete", sessions=len(self._registry))

    async def _all_ended(self) -> None:
        await self._registry.emptied()
        await self.settled()

    async def stop(self) -> None:
        """Stop serving at once. What was not settled is settled by the next run."""
        self._draining = True
        self._heartbeat.stop()
        self._clock.stop()
        self._conductor.deadlines.close()
        self._quality.close()
        # Before anything is waited for: a session whose tasks are cancelled no longer knows what
        # was delivered meanwhile, and must not go on with that.
        for rt in self._registry:
            self._conductor.drop(rt)
        tasks = list(self._conductor.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def draining(self) -> bool:
        """Whether new calls are refused because this node is going down."""
        return self._draining

    async def settled(self) -> None:
        """Wait until nothing is under way but what waits for time to pass."""
        while self._conductor.tasks:
            await asyncio.wait(list(self._conductor.tasks))

    # Calls ----------------------------------------------------------------------------------------

    async def invite(
        self, user_id: str, device: str, msg: CallInvite
    ) -> tuple[str, float, Snapshot]:
        """Ring at the expert (T18): session, ring timeout in seconds, snapshot.

        Raises in this order: draining, rate_limited, order_not_open, not_customer,
        mode_not_ordered, blocked, expert_offline, expert_busy, expert_undefined,
        expert_away_refused, customer_busy, order_unsettled, insufficient_funds (`shortfall`),
        overloaded.
        """
        if self._draining:
            raise Unavailable("draining", "This server is going down.")
        self._invites.require(user_id, self._clock.now_ns())
        async with self._store.reading() as tx:
            found = await self._grants.grant(tx, msg.order_id)
            grant = invites.require_caller(found, user_id, msg.mode)
            await require_unblocked(tx, grant.customer_id, grant.expert_id)
            funding = await invites.funding(tx, self._ledger, grant)
            unsettled = await invites.unsettled(tx, grant.order_id)
        presence = self._surroundings.presence
        assert presence is not None, "connect() first"
        action = await invites.require_expert(grant, presence, self._registry)
        # From here to the registry nothing waits: two invites at once cannot both pass.
        invites.require_free_customer(grant, self._registry)
        invites.require_settled(unsettled)
        invites.require_funds(grant.tariff, funding)
        rt = self._new_runtime(grant, msg, "sound" if action == "ring" else "silent")
        rt.devices[Role.CUSTOMER].add(device)
        return await self._ring(rt)

    def _new_runtime(self, grant: Grant, msg: CallInvite, alert: str) -> Runtime:
        session_id = new_id("ses")
        one_way = msg.direction == "one_way"
        if msg.mode != "text":
            self._media.add_session(session_id, one_way=one_way, video=msg.mode == "video")
        now_ns = self._clock.now_ns()
        rt = Runtime(
            id=session_id,
            grant=grant,
            machine=SessionMachine(
                grant.tariff, grant.policy, mode=msg.mode, one_way=one_way, now_ns=now_ns
            ),
            mailbox=self._conductor.mailbox(session_id),
            logs={role: PartyLog(self._settings.events_kept) for role in Role},
            instants=Instants(self._clock.wall_ms()),
            alert=alert,
        )
        self._registry.add(rt)
        return rt

    async def _ring(self, rt: Runtime) -> tuple[str, float, Snapshot]:
        try:
            now_ns = self._clock.now_ns()
            await rt.mailbox.call(lambda: self._conductor.open(rt, now_ns), now_ns)
        except BaseException:
            self._conductor.drop(rt)
            raise
        return rt.id, rt.grant.policy.ring_timeout_s, self._snapshot(rt, Role.CUSTOMER)

    async def accept(self, user_id: str, device: str, session_id: str) -> Snapshot:
        """Answer (T20); the first device wins.

        Raises not_expert, already_answered, expert_busy, order_not_open, order_unsettled,
        session_ended.
        """
        rt = self._party(user_id, session_id, Role.EXPERT, "not_expert")
        now_ns = self._clock.now_ns()
        await rt.mailbox.call(lambda: self._accept(rt, device, now_ns), now_ns)
        return self._snapshot(rt, Role.EXPERT)

    async def _accept(self, rt: Runtime, device: str, now_ns: int) -> None:
        for _ in range(_READS_OF_AN_ORDER):
            try:
                return await self._accept_as_read(rt, device, now_ns)
            except Outdated:
                _log.info("session.order_moved", session=rt.id)
        raise Unavailable("store_unavailable", "The order is busy; try again.")

    async def _accept_as_read(self, rt: Runtime, device: str, now_ns: int) -> None:
        if rt.state is State.RINGING and self._registry.live_of(rt.grant.expert_id):
            raise Conflict("expert_busy", "You are in another session.")
        async with self._store.reading() as tx:
            grant = await self._grants.grant(tx, rt.grant.order_id)
            if grant is None:
                raise Conflict("order_not_open", "The order is not open.")
            funding = await invites.funding(tx, self._ledger, grant)
        if rt.state is State.RINGING:
            invites.require_open(grant)
        sharers = self._registry.sharers(grant.customer_id, grant.tariff.currency) + 1
        wallet = s.Wallet(funding.available_minor, sharers)
        answer = i.Accept(device, funding.holds, wallet, grant.metered_sessions)
        await self._conductor.command(rt, answer, now_ns)
        if rt.media and rt.live:
            self._legs.answered(rt, device)

    async def decline(self, user_id: str, device: str, session_id: str) -> None:
        """Raises not_expert, already_answered, session_ended."""
        rt = self._party(user_id, session_id, Role.EXPERT, "not_expert")
        await self._command(rt, i.Decline())

    async def cancel(self, user_id: str, device: str, session_id: str) -> None:
        """Raises not_customer, already_answered, session_ended."""
        rt = self._party(user_id, session_id, Role.CUSTOMER, "not_customer")
        await self._command(rt, i.Cancel())

    async def begin(self, user_id: str, session_id: str) -> Snapshot:
        """The expert's start button (T21). Raises not_expert, wrong_state, track_not_published."""
        rt = self._party(user_id, session_id, Role.EXPERT, "not_expert")
        await self._command(rt, i.Begin())
        return self._snapshot(rt, Role.EXPERT)

    async def end(self, user_id: str, session_id: str) -> SessionSummary:
        """Either side, any moment (T33); the summary, also of a session that ended before.

        With the store out of reach it raises store_unavailable, but ended the session has: ask
        again for the summary.
        """
        rt = self._registry.find(session_id)
        if rt is None:
            return await self._archive.summary(user_id, session_id)
        role = self._role(rt, user_id)
        return await self._end(rt, i.Hangup(role), role)

    async def terminate(self, session_id: str, *, by: str) -> SessionSummary:
        """Staff end it; `by` is noted in the log. Raises session_not_found, store_unavailable."""
        _log.info("session.terminated", session=session_id, by=by)
        rt = self._registry.find(session_id)
        if rt is None:
            return await self._archive.summary(None, session_id)
        return await self._end(rt, i.Terminate(), Role.CUSTOMER)

    async def retry(self, session_id: str, *, by: str) -> None:
        """Staff have a quarantined session settled; `by` is noted in the log.

        Raises `Conflict` not_quarantined, still_quarantined; store_unavailable.
        """
        _log.info("session.quarantine_retried", session=session_id, by=by)
        settled = await self._takeover.retry(session_id)
        await self._surroundings.settled_for(settled.grant)
        self._heartbeat.quarantined = max(0, self._heartbeat.quarantined - 1)

    async def _end(self, rt: Runtime, event: i.Input, role: Role) -> SessionSummary:
        now_ns = self._clock.now_ns()
        await rt.mailbox.call(lambda: self._conductor.fact(rt, event, now_ns), now_ns)
        if not rt.released:
            raise Unavailable("store_unavailable", "The store cannot be reached; try again.")
        summary = views.summary(rt.id, rt.grant, rt.machine.ended, role, self._receipt_url)
        assert summary is not None
        return summary

    # In the session -------------------------------------------------------------------------------

    async def join(
        self, user_id: str, device: str, session_id: str, last_seq: int
    ) -> tuple[Snapshot, list[tuple[str, dict[str, object]]]]:
        """Come (back) to a session: snapshot and missed events. A device of a media session gets
        its `rtc.offer` right after.

        Raises session_not_found, not_party, too_many_devices.
        """
        rt = self._registry.find(session_id)
        if rt is None:
            return await self._archive.snapshot(user_id, session_id), []
        role = self._role(rt, user_id)
        if rt.state is not State.ENDED:
            now_ns = self._clock.now_ns()
            await rt.mailbox.call(lambda: self._attendance.come(rt, role, device, now_ns), now_ns)
        if self._registry.find(session_id) is None:  # lost to another node in the meantime
            return await self._archive.snapshot(user_id, session_id), []
        return self._snapshot(rt, role), rt.logs[role].after(last_seq)

    async def set_direction(self, user_id: str, session_id: str, direction: str) -> None:
        """One-way or two-way, at the customer's wish (T25). Raises not_customer, session_ended."""
        rt = self._party(user_id, session_id, Role.CUSTOMER, "not_customer")
        await self._command(rt, i.SetDirection(direction == "one_way"))

    async def rtc_answer(
        self, user_id: str, device: str, session_id: str, leg_id: str, sdp: str
    ) -> None:
        """Raises leg_not_found, invalid_sdp, session_ended."""
        rt = self._media_session(user_id, session_id)
        # Not in the mailbox: whatever a client's text does, it does not touch the session.
        await self._legs.answer(rt, device, leg_id, sdp)

    async def rtc_restart(self, user_id: str, device: str, session_id: str) -> None:
        """A fresh offer with new ICE credentials. Raises leg_not_found, session_ended."""
        rt = self._media_session(user_id, session_id)
        self._attendance.restart(rt, device)

    async def track_update(
        self, user_id: str, device: str, session_id: str, audio: bool, video: bool
    ) -> None:
        """Camera and microphone buttons (T50). Raises mode_not_ordered, session_ended."""
        rt = self._media_session(user_id, session_id)
        if video and rt.machine.mode != "video":
            raise Conflict("mode_not_ordered", "This is an audio session.")
        role = self._role(rt, user_id)
        await self._command(rt, i.SetTracks(role, audio, video))
        if rt.state is not State.ENDED:
            self._media.set_publishing(rt.id, role, audio=audio, video=video)

    async def recording_request(self, user_id: str, session_id: str) -> None:
        """Ask the other party for consent to record.

        Raises recording_disabled, recording_not_possible, wrong_state, session_ended.
        """
        rt = self._recordable(user_id, session_id)
        await self._command(rt, i.AskRecording(self._role(rt, user_id)))

    async def recording_consent(self, user_id: str, session_id: str, *, consent: bool) -> None:
        """Agree or decline. Raises as `recording_request`."""
        rt = self._recordable(user_id, session_id)
        await self._command(rt, i.AnswerRecording(self._role(rt, user_id), consent))

    async def recording_stop(self, user_id: str, session_id: str) -> None:
        """End it, or take a request back: at once, also while the store is out of reach.

        Raises as `recording_request`.
        """
        rt = self._recordable(user_id, session_id)
        now_ns, stop = self._clock.now_ns(), i.StopRecording(self._role(rt, user_id))
        await rt.mailbox.call(lambda: self._conductor.fact(rt, stop, now_ns), now_ns)

    def _recordable(self, user_id: str, session_id: str) -> Runtime:
        if not self._recorder.enabled:
            raise Conflict("recording_disabled", "Calls are not recorded here.")
        rt = self._registry.find(session_id)
        if rt is None:
            raise NotFound("session_not_found", "There is no such session.")
        self._role(rt, user_id)
        if not rt.media:
            raise Conflict("recording_not_possible", "A chat cannot be recorded.")
        return rt

    async def device_gone(self, user_id: str, device: str) -> None:
        """A socket was lost. Media that flow go on; see the machine for who counts as away."""
        now_ns = self._clock.now_ns()
        for rt in self._registry.of_user(user_id):
            rt.mailbox.post(functools.partial(self._attendance.go, rt, device, now_ns), now_ns)

    async def publish(
        self, session_id: str, user_id: str, event: str, payload: dict[str, object]
    ) -> None:
        """Send an event to every device of one party in the session's own sequence (replayable).

        Sessions that are no longer at hand are told nothing.
        """
        rt = self._registry.find(session_id)
        role = rt.grant.role_of(user_id) if rt is not None else None
        if rt is not None and role is not None:
            await self._teller.publish(rt, role, event, payload)

    # Chat -----------------------------------------------------------------------------------------

    def chat_gate(self, user_id: str, session_id: str) -> ChatGate:
        """Leave to post one message now.

        Raises session_not_found, not_party, wrong_state, session_paused while the clock of a text
        session stands still, and session_ended from the very instant at which the money is used up.
        """
        rt = self._registry.find(session_id)
        if rt is None:
            raise NotFound("session_not_found", "There is no such session.")
        role = self._role(rt, user_id)
        now_ns = self._clock.now_ns()
        if rt.state is State.ENDED or rt.cut_off(now_ns):
            raise Conflict("session_ended", "The session has ended.")
        if rt.state is State.RINGING:
            raise Conflict("wrong_state", "The session has not begun.")
        if rt.machine.text_stands_still:
            raise Conflict("session_paused", "Not everybody is here: the clock stands still.")
        return ChatGate(
            session_id=rt.id,
            order_id=rt.grant.order_id,
            conversation_id=rt.grant.conversation_id,
            role=role.value,
            customer_id=rt.grant.customer_id,
            expert_id=rt.grant.expert_id,
            mode=rt.machine.mode,
            at_ns=now_ns,
            at_ms=self._clock.wall_ms(),
        )

    async def require_open(self, tx: Tx, gate: ChatGate, user_id: str) -> None:
        """That a message which may have waited for the store may still be posted: what is paid is
        not over, and nobody else has taken the session over, who would not know of it. Raises what
        `chat_gate` raises.
        """
        self.chat_gate(user_id, gate.session_id)
        rt = self._registry.running(gate.session_id)
        if rt is None or not await self._conductor.owns(tx, rt):
            raise Conflict("session_ended", "The session has ended.")

    async def message_stored(self, gate: ChatGate) -> None:
        """Called for each stored message, again after a failure; the customer's n-th starts
        the clock (T35). Raises store_unavailable: then it is to be called again.
        """
        rt = self._registry.running(gate.session_id)
        if rt is not None:
            said = await self._said(rt) if rt.machine.counts_messages else 0
            stored = i.MessageStored(Role(gate.role), gate.at_ns, said)
            now_ns = self._clock.now_ns()
            await rt.mailbox.call(lambda: self._conductor.fact(rt, stored, now_ns), now_ns)

    async def _said(self, rt: Runtime) -> int:
        """The customer's messages in the store: the answer to one of them may have been lost."""
        async with self._store.reading() as tx:
            return (await messages_of_customers(tx, [rt.id])).get(rt.id, 0)

    # Money, presence and staff --------------------------------------------------------------------

    async def wallet_changed(self, user_id: str, currency: str) -> None:
        """Money came or went: tell the user, and let running sessions ask for their next block."""
        await self._surroundings.tell_wallets((user_id,), currency)
        await self._surroundings.wallet_news(user_id, currency)

    def in_live_session(self, user_id: str) -> bool:
        """Connecting or in progress."""
        return bool(self._registry.live_of(user_id))

    def ringing_for(self, expert_id: str) -> int:
        """How many calls ring at this expert now (T15)."""
        return len(self._registry.ringing_at(expert_id))

    def ringing_events(self, expert_id: str) -> list[tuple[str, dict[str, object]]]:
        """`call.incoming` of each call that rings at this expert, for a device that comes late."""
        now_ns = self._clock.now_ns()
        told = []
        for rt in self._registry.ringing_at(expert_id):
            for event, payload in rt.logs[Role.EXPERT].after(0):
                if event == "call.incoming":
                    told.append((event, payload | {"expires_in_ms": rt.ring_left_ms(now_ns)}))
        return told

    def live_sessions(self) -> list[LiveSessionView]:
        """Sessions that have not ended, oldest first."""
        now_ns = self._clock.now_ns()
        return [views.live_view(rt, now_ns) for rt in self._registry if rt.machine.ended is None]

    def metrics(self) -> dict[str, int]:
        """Counters since the start and, as `sessions_{state}`, gauges of now; names are stable."""
        figures = dict(self._conductor.counters)
        for state in State:
            if state is not State.ENDED:
                count = sum(rt.state is state for rt in self._registry)
                figures[f"sessions_{state.value}"] = count
        figures["sessions_quarantined"] = self._heartbeat.quarantined
        return figures

    def quality(self) -> Measures:
        """What the connections of all calls were like since the start."""
        return self._quality.measures

    # Events ---------------------------------------------------------------------------------------

    def _on_media(self, event: MediaEvent) -> None:
        rt = self._registry.running(event.session_id)
        if rt is None:
            return
        match event:
            case Delivery(last_acked_at_ns=at_ns, pause_after_ns=pause_after_ns):
                self._conductor.quick(rt, i.Delivered(at_ns, pause_after_ns))
            case FirstFrame(sent_at_ns=at_ns, pause_after_ns=pause_after_ns):
                self._conductor.post(rt, i.FirstFrame(at_ns, pause_after_ns))
            case AcksWithheld():
                self._conductor.post(rt, i.AcksWithheld())
            case LegConnected():
                self._legs.connected(rt, event)
                self._quality.begin(rt)
            case LegLost():
                self._legs.lost(rt, event)

    # Small things ---------------------------------------------------------------------------------

    async def _command(self, rt: Runtime, event: i.Input) -> None:
        now_ns = self._clock.now_ns()
        await rt.mailbox.call(lambda: self._conductor.command(rt, event, now_ns), now_ns)

    def _snapshot(self, rt: Runtime, role: Role) -> Snapshot:
        recordable = self._recorder.enabled and rt.media
        now_ns = self._clock.now_ns()
        return views.snapshot(rt, role, now_ns, self._receipt_url, recordable=recordable)

    def _role(self, rt: Runtime, user_id: str) -> Role:
        role = rt.grant.role_of(user_id)
        if role is None:
            raise Forbidden("not_party", "This is not your session.")
        return role

    def _party(self, user_id: str, session_id: str, role: Role, refusal: str) -> Runtime:
        """The session, if the user has this role in it."""
        rt = self._registry.find(session_id)
        if rt is None:
            raise NotFound("session_not_found", "There is no such session.")
        if self._role(rt, user_id) is not role:
            raise Forbidden(refusal, f"Only the {role.value} does this.")
        return rt

    def _media_session(self, user_id: str, session_id: str) -> Runtime:
        rt = self._registry.find(session_id)
        if rt is None:
            raise NotFound("session_not_found", "There is no such session.")
        self._role(rt, user_id)
        if rt.state is State.ENDED:
            raise Conflict("session_ended", "The session has ended.")
        if not rt.media:
            raise Conflict("wrong_state", "A text session has no media.")
        return rt
