"""The meter of one session: served time against money set aside.

Pure: no clock, no I/O. ``handle(event, now_ns)`` returns effects; call it with `Tick` once
``next_deadline_ns()`` has come, late if it must be: whatever was due in between happens first, at
the instants at which it was due, and in that order. Events stamped exactly at a deadline go before
it, so a hangup at a boundary beats the renewal there, and money that arrives there is in time.

Time
    `elapsed` is served time: since the clock started, less the pauses. With media a pause begins in
    the past, at the last frame that the customer acknowledged, so the last seconds of `elapsed` may
    yet be taken back; `confirmed` is the part that cannot. Text time confirms itself.

Money
    Block k (from 1) covers elapsed time from ``(k-1) * block`` and is due once elapsed time is
    *beyond* that boundary. Three things happen to it, in this order:

    * it is *funded*: the order's prepaid hold or a hold of the session covers ``due(k)``. Holds are
      placed ahead of the boundary: one block at a time if blocks are long, a slice of several if
      they are short;
    * it *begins*: its boundary is passed;
    * it is *captured*: confirmed time is beyond its boundary. Short blocks are captured in batches,
      at the latest when the next slice is placed and at the end.

    ``paid_until = funded blocks * block``. When elapsed time gets there and no further hold was
    granted, the session has ended at that very instant, however late it is noticed. A hold that is
    still under way then comes too late, since the media worker has cut already. So a silent ledger
    ends a session by itself, and nothing is ever captured that was not held.

    A refused hold is final for its attempt. News of the wallet with enough for a block starts the
    next attempt at once.

Grace
    If the session is among the order's first `grace_sessions`, nothing is captured while confirmed
    time is within the grace; beyond it every block begun so far is. Ended within it, the session is
    void and moves nothing.

Fault
    When the engine itself is why the session ends, the unserved rest of its last block is not
    charged, or given back if it was captured.

Restart
    `take_up` continues a meter of a run that died, from what the store knows: it stands still at
    the last evidence of service until service runs again. What the dead run may have served after
    that is nobody's debt.
"""

from __future__ import annotations

from typing import Final

from engine.clock import NS_PER_S
from engine.metering.funds import Fund, Funds
from engine.metering.policy import Policy
from engine.metering.signals import (
    NOTHING,
    Acked,
    Capture,
    Connection,
    CutoffMoved,
    Exhausted,
    GiveBack,
    HoldGranted,
    HoldRefused,
    LowBalance,
    MeterEffect,
    MeterEvent,
    Paused,
    PlaceHold,
    Reattached,
    Resumed,
    Served,
    Settlement,
    Silent,
    Start,
    Wallet,
)
from engine.metering.stopwatch import MediaWatch, TextWatch
from engine.metering.tariff import Tariff

HOLD_LEAD_NS: Final = 10 * NS_PER_S
"""How long before its boundary a long block is set aside."""

MAX_FUNDED_SECONDS: Final = 30 * 86_400
"""Bounds what money can buy at once, for tariffs that are nearly free."""


class Meter:
    """`holds`: what is left of the order's prepaid holds. Ask for `arm` once, before service.

    `attempts_before`: attempts at holds that earlier runs may have made; theirs are not repeated.
    """

    def __init__(
        self,
        tariff: Tariff,
        policy: Policy,
        *,
        text: bool,
        ordinal: int,
        holds: tuple[Fund, ...],
        wallet: Wallet,
        attempts_before: int = 0,
    ) -> None:
        self.tariff = tariff
        self.ordinal = ordinal
        self.wallet = wallet
        self.captured_blocks = 0
        self.settlement: Settlement | None = None
        self._policy = policy
        self._text = text
        self._funds = Funds(holds)
        self._watch: MediaWatch | TextWatch | None = None
        self._batch_blocks = max(1, policy.hold_slice_seconds // tariff.block_seconds)
        # Wider than a slice, so that as a rule one transaction captures and places the next hold.
        self._overdue_blocks = self._batch_blocks + self._batch_blocks // 2
        self._lead_ns = self._lead(tariff.block_ns)
        self._warnings_ns = tuple(round(warn_s * NS_PER_S) for warn_s in policy.low_balance_s)
        self._attempts_before = attempts_before
        self._asked_block = self._attempt = 0
        self._asking = self._refused = self._paused = self._over = False
        self._warned: set[int] = set()
        self._cutoff_ns: int | None = None
        self._deadline_ns: int | None = None
        self._deadline_known = False
        """Asked for several times after each event, and found once."""
        self._reckon()

    def _reckon(self) -> None:
        """What funds and wallet buy. A capture does not change that; all else that moves them calls
        this, because acknowledgements and checkpoints ask far more often than it changes.
        """
        total_minor = self._funds.total_minor
        self.funded_blocks = self._affordable_blocks(total_minor)
        self.paid_ns = self.funded_blocks * self.tariff.block_ns
        """Elapsed time up to which service is funded."""
        self._reach_blocks = self._affordable_blocks(total_minor + self._share_minor())
        """Blocks in reach: what is held and a fair share of the wallet."""

    def _affordable_blocks(self, funds_minor: int) -> int:
        most = MAX_FUNDED_SECONDS // self.tariff.block_seconds + 1
        return min(most, self.tariff.affordable_blocks(funds_minor))

    def _lead(self, block_ns: int) -> int:
        if self._batch_blocks == 1:
            return min(HOLD_LEAD_NS, block_ns // 2)
        return self._batch_blocks * block_ns // 2

    # What it shows --------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        return self._watch is not None

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def captured_minor(self) -> int:
        return self._funds.captured_minor

    @property
    def captured_fee_minor(self) -> int:
        return self._policy.fee_minor(self._funds.captured_minor)

    @property
    def short(self) -> bool:
        """Money is running out, as far as it knows: news of the wallet may change that."""
        return (self._refused or bool(self._warned)) and not self._over

    def elapsed_ns(self, now_ns: int) -> int:
        """Served time if it ended now, never beyond what is funded."""
        if self.settlement is not None:
            return self.settlement.elapsed_ns
        return 0 if self._watch is None else min(self.paid_ns, self._watch.elapsed_ns(now_ns))

    def confirmed_ns(self, now_ns: int) -> int:
        """Served time that is proven: what a crash right now would settle."""
        if self.settlement is not None:
            return self.settlement.elapsed_ns
        return 0 if self._watch is None else min(self.paid_ns, self._watch.confirmed_ns(now_ns))

    def in_grace(self, now_ns: int) -> bool:
        return self.tariff.in_grace(self.ordinal, self.elapsed_ns(now_ns))

    def due_minor(self, now_ns: int) -> int:
        """What the session would cost if it ended now."""
        if self.settlement is not None:
            return self.settlement.total_minor
        elapsed_ns = self.elapsed_ns(now_ns)
        if self.tariff.in_grace(self.ordinal, elapsed_ns):
            return 0
        return max(self.captured_minor, self.tariff.due_minor(self.tariff.blocks(elapsed_ns)))

    def left_ns(self, now_ns: int) -> int:
        """How long the money lasts from now on: what is held and a fair share of the wallet."""
        return max(0, self._reach_blocks * self.tariff.block_ns - self.elapsed_ns(now_ns))

    # Feed and drain -------------------------------------------------------------------------------

    def arm(self) -> list[MeterEffect]:
        """Set the first blocks aside if no prepaid hold covers one, before anything is served."""
        return self._ask(self._batch_blocks) if self.funded_blocks == 0 else []

    def take_up(self, served: Served, at_ns: int) -> None:
        """Continue a meter whose clock ran when its engine died; call it on a fresh meter."""
        self._deadline_known = False
        self._funds.captured_minor = served.captured_minor
        self.captured_blocks = served.blocks
        self._reckon()
        base_ns = min(served.served_ns, self.paid_ns)
        if self._text:
            self._watch = TextWatch(at_ns, running=False, base_ns=base_ns)
        else:
            self._watch = MediaWatch(at_ns, base_ns=base_ns, standing=True)
        self._paused = True

    def handle(self, event: MeterEvent, now_ns: int) -> list[MeterEffect]:
        """Apply one event at `now_ns`, which never decreases from call to call."""
        effects = self._catch_up(now_ns)
        if self._over:
            return effects
        effects += self._apply(event, now_ns)
        effects += self._advance(now_ns)
        return effects

    def next_deadline_ns(self) -> int | None:
        """When `Tick` is due next; None while only an event can change anything."""
        if not self._deadline_known:
            self._deadline_ns, self._deadline_known = self._find_deadline_ns(), True
        return self._deadline_ns

    def _find_deadline_ns(self) -> int | None:
        if self._watch is None or self._over:
            return None
        if self._paused:
            return self._silent_at_ns()  # what else is due is due when the clock runs again
        milestone_at_ns = self._watch.instant_of(self._milestone_ns())
        pause_at_ns = self._watch.pause_at_ns()
        if milestone_at_ns is None or pause_at_ns is None:
            return milestone_at_ns
        return min(milestone_at_ns, pause_at_ns)

    def finish(self, at_ns: int, *, fault: bool = False) -> list[MeterEffect]:
        """End at `at_ns`: capture what is due and settle. `fault`: the engine is why it ends."""
        self._deadline_known = False
        self._over = True
        if self._watch is None:
            self.settlement = NOTHING
            return []
        elapsed_ns = min(self.paid_ns, self._watch.elapsed_ns(at_ns))
        # What was captured was confirmed: a stamp that comes late cannot take it back.
        elapsed_ns = max(elapsed_ns, min(self.paid_ns, self._watch.confirmed_ns(at_ns)))
        if self.tariff.in_grace(self.ordinal, elapsed_ns):
            self.settlement = Settlement(elapsed_ns, True, 0, 0, 0, 0)
            return []
        effects = self._final_capture(elapsed_ns, fault=fault)
        blocks = self.tariff.blocks(elapsed_ns)
        self.settlement = Settlement(
            elapsed_ns=elapsed_ns,
            void=False,
            blocks=blocks,
            billed_ns=elapsed_ns if fault else blocks * self.tariff.block_ns,
            total_minor=self._total_minor(elapsed_ns, fault=fault),
            fee_minor=self._policy.fee_minor(self._total_minor(elapsed_ns, fault=fault)),
        )
        return effects

    # Events ---------------------------------------------------------------------------------------

    def _catch_up(self, now_ns: int) -> list[MeterEffect]:
        """Whatever was due strictly before now, at the instants at which it was due."""
        effects: list[MeterEffect] = []
        due_ns = self.next_deadline_ns()
        while due_ns is not None and due_ns < now_ns:
            effects += self._advance(due_ns)
            following_ns = self.next_deadline_ns()
            assert following_ns is None or following_ns > due_ns, "a deadline did not move"
            due_ns = following_ns
        return effects

    def _apply(self, event: MeterEvent, now_ns: int) -> list[MeterEffect]:
        watch = self._watch
        match event:
            case Start() if watch is None:
                self._watch = self._new_watch(event)
            case Acked() if isinstance(watch, MediaWatch):
                watch.acked(min(event.sent_at_ns, now_ns), event.pause_after_ns)
            case Connection(up=up) if isinstance(watch, TextWatch):
                (watch.run if up else watch.stop)(now_ns)
            case Reattached() if isinstance(watch, MediaWatch):
                watch.wait_anew(now_ns)
            case Wallet():
                self._learn(event, now_ns)
                self._refused = self._refused and not self._can_buy_block()
            case HoldGranted(fund=fund, wallet=wallet):
                self._asking = False
                self._funds.add(fund)
                self._learn(wallet, now_ns)
            case HoldRefused(wallet=wallet):
                return self._on_refused(wallet, now_ns)
            case _:
                pass
        return []

    def _new_watch(self, start: Start) -> MediaWatch | TextWatch:
        if self._text:
            return TextWatch(start.at_ns, running=start.connected)
        return MediaWatch(start.at_ns, pause_after_ns=start.pause_after_ns)

    def _on_refused(self, wallet: Wallet, now_ns: int) -> list[MeterEffect]:
        self._asking, self._refused = False, True
        self._learn(wallet, now_ns)
        if self._watch is None and self.funded_blocks == 0:
            self._over = True
            return [Exhausted(now_ns)]
        return []

    def _learn(self, wallet: Wallet, now_ns: int) -> None:
        self.wallet = wallet
        self._reckon()
        # More money arms the warnings again.
        left_ns = self.left_ns(now_ns)
        self._warned = {warn_ns for warn_ns in self._warned if left_ns <= warn_ns}

    def _can_buy_block(self) -> bool:
        total_minor = self._funds.total_minor + self.wallet.available_minor
        return self.tariff.affordable_blocks(total_minor) > self.funded_blocks

    def _share_minor(self) -> int:
        return self.wallet.available_minor // max(1, self.wallet.sharers)

    # What is due ----------------------------------------------------------------------------------

    def _advance(self, now_ns: int) -> list[MeterEffect]:
        """Everything that is due at this instant."""
        self._deadline_known = False
        watch = self._watch
        if watch is None:
            return []
        effects = self._check_pause(watch, now_ns)
        ended = self._check_end(watch, now_ns)
        if ended is not None:
            self._over = True
            return [*effects, ended]
        renewing = not self._paused and watch.elapsed_ns(now_ns) >= self._renew_at_ns()
        effects += self._captures(watch.confirmed_ns(now_ns), all_due=renewing)
        if renewing and not self._asking and not self._refused:
            effects += self._ask(self._batch_blocks)
        effects += self._warnings(now_ns)
        effects += self._cutoff(watch)
        return effects

    def _check_pause(self, watch: MediaWatch | TextWatch, now_ns: int) -> list[MeterEffect]:
        paused = watch.paused(now_ns)
        if paused == self._paused:
            return []
        self._paused = paused
        since_ns = watch.last_service_ns(now_ns)
        return [Paused(since_ns) if paused else Resumed(since_ns)]

    def _check_end(self, watch: MediaWatch | TextWatch, now_ns: int) -> MeterEffect | None:
        if watch.elapsed_ns(now_ns) >= self.paid_ns:
            at_ns = watch.instant_of(self.paid_ns)
            return Exhausted(now_ns if at_ns is None else at_ns)
        silent_at_ns = self._silent_at_ns()
        if self._paused and silent_at_ns is not None and now_ns >= silent_at_ns:
            return Silent(now_ns)
        return None

    def _silent_at_ns(self) -> int | None:
        if self._text or self._watch is None:
            return None  # a text session's connections are the session machine's to watch
        return self._watch.last_service_ns(0) + self._policy.reconnect_window_ns + 1

    def _captures(self, confirmed_ns: int, *, all_due: bool) -> list[MeterEffect]:
        if self.tariff.in_grace(self.ordinal, confirmed_ns):
            return []
        blocks = min(self.funded_blocks, self.tariff.blocks(confirmed_ns))
        step = blocks - self.captured_blocks
        if step == 0 or (step < self._overdue_blocks and not all_due):
            return []
        return [self._capture(blocks, self.tariff.due_minor(blocks))]

    def _capture(self, block: int, due_minor: int) -> Capture:
        amount_minor = due_minor - self._funds.captured_minor
        fee_before = self.captured_fee_minor
        parts = self._funds.take(amount_minor)
        blocks = block - self.captured_blocks
        self.captured_blocks = block
        return Capture(block, blocks, amount_minor, self.captured_fee_minor - fee_before, parts)

    def _final_capture(self, elapsed_ns: int, *, fault: bool) -> list[MeterEffect]:
        blocks = self.tariff.blocks(elapsed_ns)
        total_minor = self._total_minor(elapsed_ns, fault=fault)
        surplus_minor = self._funds.captured_minor - total_minor
        if surplus_minor > 0:
            fee_minor = self.captured_fee_minor - self._policy.fee_minor(total_minor)
            return [GiveBack(self.captured_blocks, surplus_minor, fee_minor)]
        if blocks > self.captured_blocks:
            return [self._capture(blocks, total_minor)]
        return []

    def _total_minor(self, elapsed_ns: int, *, fault: bool) -> int:
        if fault:
            return self.tariff.prorata_minor(elapsed_ns)
        return self.tariff.due_minor(self.tariff.blocks(elapsed_ns))

    def _ask(self, blocks: int) -> list[MeterEffect]:
        self._asking, self._refused = True, False
        block = self.funded_blocks + 1
        if block != self._asked_block:
            self._attempt = self._attempts_before
        self._attempt += 1
        self._asked_block = block
        return [PlaceHold(block, self._attempt, blocks, self._funds.total_minor)]

    def _warnings(self, now_ns: int) -> list[MeterEffect]:
        if self._paused:
            return []
        left_ns = self.left_ns(now_ns)
        crossed = {warn_ns for warn_ns in self._warnings_ns if left_ns <= warn_ns}
        if crossed <= self._warned:
            return []
        self._warned |= crossed
        funds_minor = self._funds.total_minor + self._share_minor()
        missing_minor = self.tariff.due_minor(self._reach_blocks + 1) - funds_minor
        return [LowBalance(left_ns, max(0, missing_minor))]

    def _cutoff(self, watch: MediaWatch | TextWatch) -> list[MeterEffect]:
        cutoff_ns = watch.instant_of(self.paid_ns)
        if self._paused:
            # The clock may run again until the window is over, and then as long as money lasts.
            left_ns = self.paid_ns - watch.confirmed_ns(0)
            since_ns = watch.last_service_ns(0)
            cutoff_ns = since_ns + self._policy.reconnect_window_ns + left_ns
        if cutoff_ns is None or cutoff_ns == self._cutoff_ns:
            return []
        self._cutoff_ns = cutoff_ns
        return [CutoffMoved(cutoff_ns)]

    # Deadlines ------------------------------------------------------------------------------------

    def _renew_at_ns(self) -> int:
        return max(0, self.paid_ns - self._lead_ns)

    def _milestone_ns(self) -> int:
        """The elapsed time at which something is due next."""
        next_ns = self.paid_ns
        if not self._asking and not self._refused:
            next_ns = self._renew_at_ns()
        reach_ns = self._reach_blocks * self.tariff.block_ns
        for warn_ns in self._warnings_ns:
            if warn_ns not in self._warned:
                next_ns = min(next_ns, reach_ns - warn_ns)
        if self._watch is not None and self._watch.confirms_itself():
            next_ns = min(next_ns, self._capture_due_ns())
        return next_ns

    def _capture_due_ns(self) -> int:
        boundary_ns = (self.captured_blocks + self._overdue_blocks - 1) * self.tariff.block_ns
        if self.captured_blocks == 0 and self.tariff.in_grace(self.ordinal, 0):
            boundary_ns = max(boundary_ns, self.tariff.grace_ns)
        return boundary_ns + 1
