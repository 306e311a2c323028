"""The machine of one session: who may do what when, what that means, and when it must end.

Pure like the meter it contains: ``handle(event, now_ns)`` returns effects or raises `Conflict` and
has changed nothing; ``next_deadline_ns()`` says when to call with `Tick`. Deadlines that passed
unnoticed come first, at their own instants: an answer stamped after the ring timeout finds the
session ended, whether or not a timer has fired. What is stamped exactly at a deadline is in time.

How it goes
    *ringing*: until the expert answers (the first device wins), declines, the customer cancels or
    stays away for the reconnect window, or the ring timeout.
    *connecting*: media sessions only. The expert's start button needs a published track.
    *in_progress*: media flow and the meter is armed, its first block set aside. The clock starts at
    the first frame that the customer acknowledged, or the customer's n-th message. Never any media
    within the connect timeout: `failed`. Acknowledgements withheld from the start: `failed`. Text:
    no message for long enough: `idle`.
    *ended*: for good. Either side may end at any moment.

Who is connected
    Before the clock runs, and all the time in a text session, what counts is sockets: a party that
    is away for longer than the reconnect window ends the session (`disconnected`), and in a text
    session the clock stands still from the loss on. Once a media clock runs it depends on
    acknowledged media alone: a lost socket costs nobody a call that still flows.

After a restart of the engine
    A session that a dead run left is taken up (`take_up`) with nobody there: *suspended*. Both
    parties have the reconnect window to come back; a media clock then runs on from the next
    acknowledged frame, a text clock at once. Whoever ends it before that, and if nobody comes: what
    the engine could not serve of a paid block is not charged (`server_restart`).

How it is called
    A session that ends within its grace ends as `void`, whoever or whatever ended it (C1).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from engine.clock import NS_PER_S
from engine.errors import Conflict
from engine.media.interface import Role
from engine.metering.meter import Meter
from engine.metering.policy import Policy
from engine.metering.signals import (
    NOTHING,
    Acked,
    Connection,
    Exhausted,
    MeterEffect,
    MeterEvent,
    Reattached,
    Resumed,
    Silent,
    Start,
    Tick,
)
from engine.metering.tariff import Tariff
from engine.recording.consent import Consent
from engine.session import inputs as i
from engine.session.effects import (
    Answered,
    Began,
    ClockStarted,
    Effect,
    Ended,
    PartyChanged,
    Rang,
    RecordingChanged,
    Stated,
    TrackChanged,
    Turned,
)
from engine.session.states import LIVE, TRANSITIONS, EndedBy, Reason, State, handled

STATEMENT_EVERY_NS: Final = 60 * NS_PER_S
"""How long a client's status line may run on by itself; every change is told at once. Thousands of
idle sessions cost what these statements cost: docs/money.md says why this is often enough."""

_PRESENCE_KEPT: Final = 32

_MESSAGES: Final = {
    "already_answered": "The call was answered already.",
    "session_ended": "The session has ended.",
    "wrong_state": "Not possible at this point of the session.",
    "track_not_published": "Switch on the microphone or the camera first.",
}


class SessionMachine:
    """One session from its first ring on. `text`: no media, clock by messages."""

    def __init__(
        self, tariff: Tariff, policy: Policy, *, mode: str, one_way: bool, now_ns: int
    ) -> None:
        self.tariff = tariff
        self.policy = policy
        self.mode = mode
        self.text = mode == "text"
        self.one_way = one_way
        self.state = State.RINGING
        self.answered_by: str | None = None
        self.meter: Meter | None = None
        self.ended: Ended | None = None
        self.recording = Consent()
        self.tracks = dict.fromkeys(Role, (False, False))
        self.connected = {Role.CUSTOMER: True, Role.EXPERT: False}
        self._away_since_ns: dict[Role, int] = {}
        self._presence: deque[tuple[int, bool]] = deque(maxlen=_PRESENCE_KEPT)
        """Since when both were there, or were not, lately: a message may start the clock late."""
        self._patience_ns: int | None = now_ns + _ns(policy.ring_timeout_s)
        self._last_message_ns = now_ns
        self._counted_messages = 0
        self._stated_ns = now_ns
        self.suspended = self._reattached = False

    @property
    def counts_messages(self) -> bool:
        """Whether the customer's messages are yet to start the clock."""
        return self.text and (self.meter is None or not self.meter.started)

    @property
    def text_stands_still(self) -> bool:
        """A text session whose clock has started and does not run: not both are there. Nobody may
        write, for a party has other sockets than those that were counted as being there.
        """
        return self.text and self.meter is not None and self.meter.started and self.meter.paused

    def open(self) -> list[Effect]:
        """The first effects of a new session."""
        return [Rang()]

    def take_up(
        self,
        state: State,
        meter: Meter,
        *,
        counted_messages: int,
        recorded: bool = False,
        now_ns: int,
    ) -> list[Effect]:
        """Go on with an answered session of a dead run, suspended until both parties are back.

        `recorded`: it was being recorded, which nobody has agreed to any more.
        """
        self.state, self.meter = state, meter
        self.connected = dict.fromkeys(Role, False)
        self._away_since_ns = dict.fromkeys(Role, now_ns)
        self._counted_messages = counted_messages
        self.suspended = True
        waits = not self.text and not meter.started
        self._patience_ns = now_ns + _ns(self.policy.connect_timeout_s) if waits else None
        effects: list[Effect] = []
        if recorded:
            self.recording.interrupted()
            effects.append(self._recording_changed())
        if meter.started:
            return effects + self._feed(Tick(), now_ns)
        return effects + (self._pass_on(meter.arm()) if state is State.IN_PROGRESS else [])

    @property
    def ring_expires_ns(self) -> int | None:
        return self._patience_ns if self.state is State.RINGING else None

    @property
    def metered(self) -> bool:
        return self.meter is not None and self.meter.started

    # Feed and drain -------------------------------------------------------------------------------

    def handle(self, event: i.Input, now_ns: int) -> list[Effect]:
        """Apply one event. Raises `Conflict`: already_answered, session_ended, wrong_state,
        track_not_published; what fell due before the event is lost to the caller then, so call
        `catch_up` first if an event may be refused.
        """
        effects = self.catch_up(now_ns)
        self._check(event)
        if handled(self.state, type(event)):
            before = self.state
            effects += self._apply(event, now_ns)
            assert self.state in TRANSITIONS[before, type(event)].to
        return effects

    def catch_up(self, now_ns: int) -> list[Effect]:
        """Whatever was due strictly before now, each at its own instant."""
        effects: list[Effect] = []
        due_ns = self.next_deadline_ns()
        while due_ns is not None and due_ns < now_ns:
            effects += self._expire(due_ns)
            following_ns = self.next_deadline_ns()
            assert following_ns is None or following_ns > due_ns, "a deadline did not move"
            due_ns = following_ns
        return effects

    def stood_still(self, since_ns: int, until_ns: int) -> list[Effect]:
        """The process did: it served nobody, and nobody could come back, write or answer."""
        effects = self.catch_up(since_ns)
        if self.state is State.ENDED:
            return effects
        for_ns = until_ns - since_ns
        self._last_message_ns += for_ns
        self._away_since_ns = {role: at + for_ns for role, at in self._away_since_ns.items()}
        if self._patience_ns is not None:
            self._patience_ns += for_ns
        effects += self._both_there(since_ns, running=False)
        return effects + self._both_there(until_ns)

    def next_deadline_ns(self) -> int | None:
        if self.state is State.ENDED:
            return None
        instants = [self._patience_ns, self._idle_at_ns(), self._away_at_ns()]
        if self.meter is not None:
            instants.append(self.meter.next_deadline_ns())
            instants.append(self._statement_at_ns(self.meter))
        return min((at_ns for at_ns in instants if at_ns is not None), default=None)

    # Events ---------------------------------------------------------------------------------------

    def _check(self, event: i.Input) -> None:
        refusal = TRANSITIONS[self.state, type(event)].refusal
        match event:
            case i.Accept(device=device) if self.state in LIVE and device != self.answered_by:
                refusal = "already_answered"
            case i.Begin() if self.state is State.CONNECTING:
                refusal = None if any(self.tracks[Role.EXPERT]) else "track_not_published"
        if refusal is not None:
            raise Conflict(refusal, _MESSAGES[refusal])

    def _apply(self, event: i.Input, now_ns: int) -> list[Effect]:
        match event:
            case i.Accept():
                return self._accept(event, now_ns) if self.state is State.RINGING else []
            case i.Begin():
                return self._begin(now_ns) if self.state is State.CONNECTING else []
            case i.SetTracks() | i.SetDirection():
                return self._set_media(event)
            case i.AskRecording() | i.AnswerRecording() | i.StopRecording() | i.RecorderEnded():
                return self._record(event)
            case i.Connected():
                return self._connected(event, now_ns)
            case i.MessageStored():
                return self._message(event, now_ns)
            case i.FirstFrame() if not self.metered:
                start = Start(event.sent_at_ns, pause_after_ns=event.pause_after_ns)
                return self._start_clock("first_frame", start, now_ns)
            case i.FirstFrame(sent_at_ns=sent_at_ns) | i.Delivered(last_acked_at_ns=sent_at_ns):
                return self._feed(Acked(sent_at_ns, event.pause_after_ns), now_ns)
            case i.HoldGranted() | i.HoldRefused() | i.Wallet():
                return self._on_money(event, now_ns)
            case Tick():
                return self._expire(now_ns)
            case _:
                return self._on_end(event, now_ns)

    def _on_end(self, event: i.Input, now_ns: int) -> list[Effect]:
        """The events that do nothing but end a session."""
        ringing = self.state is State.RINGING
        match event:
            case i.Decline():
                return self._end(Reason.DECLINED, EndedBy.EXPERT, now_ns)
            case i.Cancel():
                return self._end(Reason.CANCELED, EndedBy.CUSTOMER, now_ns)
            case i.Hangup(role=role):
                early = Reason.CANCELED if role is Role.CUSTOMER else Reason.DECLINED
                reason = early if ringing else Reason.COMPLETED
                return self._end(reason, EndedBy(role.value), now_ns)
            case i.Terminate():
                return self._end(Reason.TERMINATED, EndedBy.STAFF, now_ns)
            case i.Shutdown():
                reason = Reason.CANCELED if ringing else Reason.TERMINATED
                return self._end(reason, EndedBy.SYSTEM, now_ns, fault=True)
            case i.AcksWithheld() if self.metered:
                return []  # the clock stands still, and the reconnect window decides
            case _:
                return self._end(Reason.FAILED, EndedBy.SYSTEM, now_ns)

    def _accept(self, accept: i.Accept, now_ns: int) -> list[Effect]:
        self.answered_by = accept.device
        self.connected[Role.EXPERT] = True
        self._presence.append((now_ns, all(self.connected.values())))
        self.meter = Meter(
            self.tariff,
            self.policy,
            text=self.text,
            ordinal=accept.metered_sessions + 1,
            holds=accept.holds,
            wallet=accept.wallet,
        )
        self.state = State.CONNECTING
        self._last_message_ns = now_ns
        self._patience_ns = now_ns + _ns(self.policy.connect_timeout_s)
        effects: list[Effect] = [Answered(accept.device, accept.holds, accept.metered_sessions)]
        return effects + self._begin(now_ns) if self.text else effects

    def _begin(self, now_ns: int) -> list[Effect]:
        assert self.meter is not None
        self.state = State.IN_PROGRESS
        self._patience_ns = None if self.text else now_ns + _ns(self.policy.connect_timeout_s)
        return [Began(), *self._pass_on(self.meter.arm())]

    def _set_media(self, event: i.SetTracks | i.SetDirection) -> list[Effect]:
        if isinstance(event, i.SetTracks):
            return self._set_tracks(event)
        changed = event.one_way != self.one_way
        self.one_way = event.one_way
        return [Turned(event.one_way)] if changed else []

    def _set_tracks(self, event: i.SetTracks) -> list[Effect]:
        before = self.tracks[event.role]
        after = (event.audio, event.video)
        self.tracks[event.role] = after
        return [
            TrackChanged(event.role, kind, on)
            for kind, was_on, on in zip(("audio", "video"), before, after, strict=True)
            if was_on is not on
        ]

    def _record(
        self, event: i.AskRecording | i.AnswerRecording | i.StopRecording | i.RecorderEnded
    ) -> list[Effect]:
        recording = self.recording
        match event:
            case i.AskRecording(role=role):
                changed = recording.ask(role)
            case i.AnswerRecording(role=role, consent=consent):
                changed = recording.answer(role, consent=consent)
            case i.StopRecording(role=role):
                changed = recording.stop(role)
            case i.RecorderEnded(reason=reason):
                changed = recording.fail(reason)
        return [self._recording_changed()] if changed else []

    def _recording_changed(self) -> Effect:
        recording = self.recording
        by = recording.by.value if recording.by else ""
        return RecordingChanged(recording.state, by, recording.reason)

    def _connected(self, event: i.Connected, now_ns: int) -> list[Effect]:
        if self.connected[event.role] == event.up:
            return []
        self.connected[event.role] = event.up
        if event.up:
            self._away_since_ns.pop(event.role, None)
        else:
            self._away_since_ns[event.role] = now_ns
        effects: list[Effect] = [PartyChanged(event.role, event.up)]
        effects += self._both_there(now_ns)
        if self.suspended and all(self.connected.values()):
            effects += self._both_back(now_ns)
        return effects

    def _both_there(self, now_ns: int, *, running: bool = True) -> list[Effect]:
        """What makes the clock of a text session run: both parties, and an engine between them."""
        both = running and all(self.connected.values())
        self._presence.append((now_ns, both))
        return self._feed(Connection(both), now_ns) if self.text else []

    def _both_back(self, now_ns: int) -> list[Effect]:
        """Within the window after a restart."""
        if self.metered and not self.text:
            # Once: frames have to follow, however often sockets come and go.
            first, self._reattached = not self._reattached, True
            return self._feed(Reattached(), now_ns) if first else []
        self.suspended = False
        self._last_message_ns = now_ns
        if self.text and self._counted_messages >= self.tariff.clock_message:
            # The message that starts the clock was stored, but the start was not.
            return self._start_clock("second_message", Start(now_ns), now_ns)
        return []

    def _message(self, event: i.MessageStored, now_ns: int) -> list[Effect]:
        self._last_message_ns = max(self._last_message_ns, event.at_ns)
        if not self.text or event.role is not Role.CUSTOMER:
            return []
        self._counted_messages = max(self._counted_messages, event.from_customer)
        if self._counted_messages < self.tariff.clock_message:
            return []
        return self._start_clock("second_message", Start(event.at_ns), now_ns)

    def _start_clock(self, trigger: str, start: Start, now_ns: int) -> list[Effect]:
        if self.meter is None or self.meter.started:
            return []
        at_ns = min(start.at_ns, now_ns)
        self._patience_ns = None
        self._stated_ns = now_ns
        started = ClockStarted(trigger, at_ns, self.meter.ordinal)
        return [started, *self._feed_start(at_ns, start.pause_after_ns, now_ns)]

    def _feed_start(self, at_ns: int, pause_after_ns: int, now_ns: int) -> list[Effect]:
        """Start the clock at an instant that is past, and tell it who came and went since."""
        since = [change for change in self._presence if change[0] > at_ns]
        both = all(self.connected.values())
        if since:
            before = [up for changed_ns, up in self._presence if changed_ns <= at_ns]
            both = before[-1] if before else not since[0][1]
        start = Start(at_ns, both, pause_after_ns)
        effects = self._feed(start, since[0][0] if since else now_ns)
        if self.text:
            for changed_ns, up in since:
                effects += self._feed(Connection(up), changed_ns)
        return effects

    def _on_money(self, event: MeterEvent, now_ns: int) -> list[Effect]:
        """What is available, or how long it lasts, has changed: both parties see it."""
        effects = self._feed(event, now_ns)
        if self.state is State.IN_PROGRESS:
            self._stated_ns = now_ns
            effects.append(Stated())
        return effects

    def conclude(self, ended: Ended) -> None:
        """It was settled without this machine, which nobody may ask anything any more."""
        self.state = State.ENDED
        self.ended = ended

    # The meter ------------------------------------------------------------------------------------

    def _feed(self, event: MeterEvent, now_ns: int) -> list[Effect]:
        if self.meter is None:
            return []
        return self._pass_on(self.meter.handle(event, now_ns))

    def _pass_on(self, meter_effects: list[MeterEffect]) -> list[Effect]:
        effects: list[Effect] = []
        for effect in meter_effects:
            match effect:
                case Exhausted(at_ns=at_ns):
                    effects += self._end(Reason.INSUFFICIENT_FUNDS, EndedBy.SYSTEM, at_ns)
                case Silent(at_ns=at_ns):
                    effects += self._end(Reason.DISCONNECTED, EndedBy.SYSTEM, at_ns)
                case Resumed():
                    self.suspended = False
                    effects.append(effect)
                case _:
                    effects.append(effect)
        return effects

    # Deadlines ------------------------------------------------------------------------------------

    def _idle_at_ns(self) -> int | None:
        if not self.text or self.state is not State.IN_PROGRESS:
            return None
        return self._last_message_ns + _ns(self.policy.text_idle_end_s)

    def _away_at_ns(self) -> int | None:
        """When a party that is away will have been away for longer than the window."""
        if not self._away_since_ns or (self.metered and not self.text):
            return None
        roles = (Role.CUSTOMER,) if self.state is State.RINGING else tuple(Role)
        away = [self._away_since_ns[role] for role in roles if role in self._away_since_ns]
        return min(away) + self.policy.reconnect_window_ns + 1 if away else None

    def _statement_at_ns(self, meter: Meter) -> int | None:
        running = meter.started and not meter.paused
        return self._stated_ns + STATEMENT_EVERY_NS if running else None

    def _expire(self, now_ns: int) -> list[Effect]:
        """What is due now; the meter first, because what it ends ended at its own instant."""
        effects = self._feed(Tick(), now_ns)
        if self.state is State.ENDED:
            return effects
        if self._is_due(self._patience_ns, now_ns):
            ringing = self.state is State.RINGING
            reason = Reason.NO_ANSWER if ringing else Reason.FAILED
            return effects + self._end(reason, EndedBy.SYSTEM, now_ns)
        if self._is_due(self._away_at_ns(), now_ns):
            return effects + self._on_away(now_ns)
        if self._is_due(self._idle_at_ns(), now_ns):
            return effects + self._end(Reason.IDLE, EndedBy.SYSTEM, now_ns)
        if self.meter is not None and self._is_due(self._statement_at_ns(self.meter), now_ns):
            self._stated_ns = now_ns
            effects.append(Stated())
        return effects

    def _on_away(self, now_ns: int) -> list[Effect]:
        if self.state is State.RINGING:
            return self._end(Reason.CANCELED, EndedBy.CUSTOMER, now_ns)
        return self._end(Reason.DISCONNECTED, EndedBy.SYSTEM, now_ns)

    def _is_due(self, at_ns: int | None, now_ns: int) -> bool:
        return at_ns is not None and at_ns <= now_ns

    # The end --------------------------------------------------------------------------------------

    def _end(
        self, reason: Reason, ended_by: EndedBy, at_ns: int, *, fault: bool = False
    ) -> list[Effect]:
        if self.suspended:
            reason, fault = self._reason_after_restart(reason), True
        self.state = State.ENDED
        if self.meter is None:
            self.ended = Ended(reason, ended_by, at_ns, NOTHING)
            return [self.ended]
        effects: list[Effect] = [self._recording_changed()] if self.recording.end() else []
        effects += self.meter.finish(at_ns, fault=fault)
        settlement = self.meter.settlement or NOTHING
        reason = Reason.VOID if settlement.void else reason
        self.ended = Ended(reason, ended_by, at_ns, settlement)
        return [*effects, self.ended]

    def _reason_after_restart(self, reason: Reason) -> Reason:
        if reason is Reason.INSUFFICIENT_FUNDS:
            return reason
        if self.metered:
            return Reason.SERVER_RESTART
        if reason is not Reason.DISCONNECTED:
            return reason
        return Reason.FAILED if self.state is State.CONNECTING else Reason.SERVER_RESTART


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
