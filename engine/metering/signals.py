"""What goes into a meter and what comes out of it; see `engine.metering.meter` for the rules."""

from __future__ import annotations

from msgspec import Struct

from engine.metering.funds import Fund, Part
from engine.metering.policy import PAUSE_AFTER_NS

# In -----------------------------------------------------------------------------------------------


class Tick(Struct, frozen=True):
    """A deadline may have come."""


class Start(Struct, frozen=True):
    """The clock starts at `at_ns`; `connected`: both parties of a text session are there."""

    at_ns: int
    connected: bool = True
    pause_after_ns: int = PAUSE_AFTER_NS


class Acked(Struct, frozen=True):
    """Media: the newest frame that the customer acknowledged was sent at `sent_at_ns`; silence is a
    pause after `pause_after_ns` from now on.
    """

    sent_at_ns: int
    pause_after_ns: int = PAUSE_AFTER_NS


class Connection(Struct, frozen=True):
    """Text: both parties are connected, or no longer."""

    up: bool


class Reattached(Struct, frozen=True):
    """Both parties are back after a restart of the engine: media get their whole window anew."""


class Wallet(Struct, frozen=True):
    """What the wallet has available and how many live sessions, this one included, draw on it."""

    available_minor: int
    sharers: int = 1


class HoldGranted(Struct, frozen=True):
    """Money for the next blocks is set aside."""

    fund: Fund
    wallet: Wallet


class HoldRefused(Struct, frozen=True):
    """Final for its attempt."""

    wallet: Wallet


MeterEvent = Tick | Start | Acked | Connection | Reattached | Wallet | HoldGranted | HoldRefused

# Out ----------------------------------------------------------------------------------------------


class PlaceHold(Struct, frozen=True):
    """Set aside up to `blocks` blocks from block `block` on; `total_minor` is funded already."""

    block: int
    attempt: int
    blocks: int
    total_minor: int


class Capture(Struct, frozen=True):
    """Blocks up to and including `block` are due: pay this step from these parts."""

    block: int
    blocks: int
    amount_minor: int
    fee_minor: int
    parts: tuple[Part, ...]


class GiveBack(Struct, frozen=True):
    """The engine's fault: the unserved part of block `block`, captured already, is returned."""

    block: int
    amount_minor: int
    fee_minor: int


class Paused(Struct, frozen=True):
    since_ns: int


class Resumed(Struct, frozen=True):
    at_ns: int


class LowBalance(Struct, frozen=True):
    """Service ends in `left_ns` unless `shortfall_minor` comes, which buys the next block."""

    left_ns: int
    shortfall_minor: int


class CutoffMoved(Struct, frozen=True):
    """Nothing is served at or after this instant: what the watchdog is told."""

    at_ns: int


class Exhausted(Struct, frozen=True):
    """The money was used up at `at_ns`: the session ends there."""

    at_ns: int


class Silent(Struct, frozen=True):
    """Media: nothing was acknowledged for longer than the reconnect window."""

    at_ns: int


MeterEffect = (
    PlaceHold
    | Capture
    | GiveBack
    | Paused
    | Resumed
    | LowBalance
    | CutoffMoved
    | Exhausted
    | Silent
)


class Settlement(Struct, frozen=True):
    """How a meter came out. `billed_ns`: the time paid for; zero blocks if `void`."""

    elapsed_ns: int
    void: bool
    blocks: int
    billed_ns: int
    total_minor: int
    fee_minor: int


class Served(Struct, frozen=True):
    """What the store knows of a meter whose clock runs: proven time, and what was captured."""

    served_ns: int
    blocks: int
    captured_minor: int


NOTHING = Settlement(0, False, 0, 0, 0, 0)
"""The clock never started."""
