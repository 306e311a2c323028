"""The lines of a receipt: pure, from what the ledger posted for a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from admin.http.times import money_text
from engine.metering.tariff import Tariff

ITEMISED_BLOCK_SECONDS = 300
"""Blocks at least this long get a line each; shorter ones are one line with the time."""


@dataclass(frozen=True)
class Posting:
    """One transfer of the session."""

    kind: str
    """capture or reverse."""
    amount_minor: int
    fee_minor: int
    at_ms: int
    reason: str | None = None

    @property
    def signed_minor(self) -> int:
        """What it cost the customer."""
        return -self.amount_minor if self.kind == "reverse" else self.amount_minor

    @property
    def signed_fee_minor(self) -> int:
        return -self.fee_minor if self.kind == "reverse" else self.fee_minor


@dataclass(frozen=True)
class Line:
    at_ms: int
    text: str
    amount_minor: int


@dataclass(frozen=True)
class Account:
    """The whole of a receipt's money; the lines add up to the total."""

    lines: tuple[Line, ...]
    total_minor: int
    fee_minor: int

    @property
    def earned_minor(self) -> int:
        return self.total_minor - self.fee_minor


@dataclass(frozen=True)
class Ending:
    """What a receipt says of a session that cost nothing."""

    at_ms: int
    reason: str | None
    metered: bool
    billed_seconds: int


def account(tariff: Tariff, postings: Sequence[Posting], ending: Ending) -> Account:
    """`postings` in the order in which they were made."""
    captures = [p for p in postings if p.kind == "capture" and p.amount_minor]
    returned = [p for p in postings if p.kind == "reverse" and p.amount_minor]
    lines = _charges(tariff, captures, ending)
    lines += [Line(p.at_ms, f"Given back: {_reason(p)}", p.signed_minor) for p in returned]
    if not lines:
        lines = [Line(ending.at_ms, _free(tariff, ending), 0)]
    return Account(
        tuple(lines),
        sum(p.signed_minor for p in postings),
        sum(p.signed_fee_minor for p in postings),
    )


def order_account(
    price_minor: int, postings: Sequence[Posting], *, ended_ms: int | None
) -> Account:
    """What an order cost outside its sessions: of work and files, everything.

    `price_minor`: what was agreed; `ended_ms`: when it ended, if it did.
    """
    lines = [
        Line(
            p.at_ms,
            "The price" if p.amount_minor == price_minor else "A part of the price",
            p.amount_minor,
        )
        for p in postings
        if p.kind == "capture" and p.amount_minor
    ]
    lines += [
        Line(p.at_ms, f"Given back: {_reason(p)}", p.signed_minor)
        for p in postings
        if p.kind == "reverse" and p.amount_minor
    ]
    if not lines and ended_ms is not None:
        lines = [Line(ended_ms, "Nothing was charged", 0)]
    return Account(
        tuple(lines),
        sum(p.signed_minor for p in postings),
        sum(p.signed_fee_minor for p in postings),
    )


def _charges(tariff: Tariff, captures: Sequence[Posting], ending: Ending) -> list[Line]:
    if not captures:
        return []
    if tariff.block_seconds >= ITEMISED_BLOCK_SECONDS:
        return _block_lines(tariff, captures)
    seconds = ending.billed_seconds
    amount = sum(p.amount_minor for p in captures)
    text = f"{span_text(seconds)} at {rate_text(tariff)}"
    return [Line(captures[0].at_ms, text, amount)]


def _block_lines(tariff: Tariff, captures: Sequence[Posting]) -> list[Line]:
    lines, paid_minor = [], 0
    for capture in captures:
        first = tariff.affordable_blocks(paid_minor)
        paid_minor += capture.amount_minor
        last = max(first + 1, tariff.affordable_blocks(paid_minor))
        text = f"{_minutes(first, tariff)} to {_minutes(last, tariff)} minutes"
        lines.append(Line(capture.at_ms, text, capture.amount_minor))
    return lines


def _minutes(blocks: int, tariff: Tariff) -> str:
    minutes, seconds = divmod(blocks * tariff.block_seconds, 60)
    return f"{minutes}:{seconds:02}" if seconds else str(minutes)


def _reason(posting: Posting) -> str:
    return posting.reason or "part of a charge"


def _free(tariff: Tariff, ending: Ending) -> str:
    if not ending.metered:
        return "The clock never started, so nothing was charged"
    if ending.reason == "void":
        free = span_text(tariff.grace_seconds)
        return f"Free of charge: ended within {free}, in the order's first session"
    return "Nothing was charged"


def span_text(seconds: int) -> str:
    """``2 h 5 min``, ``12 min 38 s``, ``45 s``."""
    hours, rest = divmod(seconds, 3_600)
    minutes, rest = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


_PERIODS = {1: "second", 60: "minute", 3_600: "hour"}


def rate_text(tariff: Tariff) -> str:
    """``1.20 EUR per minute``."""
    period = _PERIODS.get(tariff.per_seconds) or span_text(tariff.per_seconds)
    return f"{money_text(tariff.price_minor, tariff.currency)} per {period}"
