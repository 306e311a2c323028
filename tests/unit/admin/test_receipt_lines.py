"""Receipt lines and sentences: pure functions of what was posted and what happened."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.http.times import money_text, rfc3339
from admin.pages import at_text, duration_text
from admin.receipts.lines import Ending, Posting, account, rate_text, span_text
from admin.receipts.timeline import Happening, timeline
from engine.metering.tariff import Tariff
from engine.session.states import EndedBy, Reason

ENDING = Ending(at_ms=9, reason="completed", metered=True, billed_seconds=100)


def tariff(**values: Any) -> Tariff:
    quarter: dict[str, Any] = {
        "currency": "EUR",
        "price_minor": 1_200,
        "per_seconds": 900,
        "block_seconds": 900,
        "prepaid_seconds": 900,
        "grace_seconds": 60,
    }
    return Tariff(**(quarter | values))


def captures(*amounts: int) -> list[Posting]:
    return [Posting("capture", amount, amount // 5, at) for at, amount in enumerate(amounts)]


def test_long_blocks_get_a_line_each() -> None:
    found = account(tariff(), captures(1_200, 1_200, 2_400), ENDING)
    assert [line.text for line in found.lines] == [
        "0 to 15 minutes",
        "15 to 30 minutes",
        "30 to 60 minutes",
    ]


def test_a_partial_block_still_says_which_block_it_was() -> None:
    found = account(tariff(), captures(1_200, 1_199), ENDING)
    assert [line.text for line in found.lines] == ["0 to 15 minutes", "15 to 30 minutes"]


def test_short_blocks_are_one_line_with_time_and_rate() -> None:
    found = account(tariff(block_seconds=1), captures(40, 40, 53), ENDING)
    (line,) = found.lines
    assert (line.text, line.amount_minor) == ("1 min 40 s at 12.00 EUR per 15 min", 133)


@pytest.mark.parametrize(
    ("reason", "metered", "text"),
    [
        ("void", True, "Free of charge: ended within 1 min, in the order's first session"),
        ("no_answer", False, "The clock never started, so nothing was charged"),
        ("completed", True, "Nothing was charged"),
    ],
)
def test_a_session_that_cost_nothing_says_why(reason: str, metered: bool, text: str) -> None:
    found = account(tariff(), [], Ending(9, reason, metered, 0))
    assert [(line.text, line.amount_minor) for line in found.lines] == [(text, 0)]


@given(
    st.lists(
        st.builds(
            Posting,
            kind=st.sampled_from(["capture", "reverse"]),
            amount_minor=st.integers(0, 10**9),
            fee_minor=st.integers(0, 10**6),
            at_ms=st.integers(0, 10),
            reason=st.none() | st.just("why"),
        )
    ),
    st.sampled_from([1, 60, 299, 300, 900]),
)
def test_lines_always_add_up_to_the_total(postings: list[Posting], block_seconds: int) -> None:
    found = account(tariff(block_seconds=block_seconds), postings, ENDING)
    assert sum(line.amount_minor for line in found.lines) == found.total_minor
    assert found.earned_minor + found.fee_minor == found.total_minor
    assert found.lines


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45, "45 s"), (60, "1 min"), (758, "12 min 38 s"), (7_500, "2 h 5 min")],
)
def test_spans_read_naturally(seconds: int, text: str) -> None:
    assert span_text(seconds) == text


@pytest.mark.parametrize(
    ("per_seconds", "text"),
    [(1, "second"), (60, "minute"), (3_600, "hour"), (900, "15 min")],
)
def test_rates_read_naturally(per_seconds: int, text: str) -> None:
    assert rate_text(tariff(per_seconds=per_seconds)) == f"12.00 EUR per {text}"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (0, "EUR", "0.00 EUR"),
        (-5, "EUR", "\N{MINUS SIGN}0.05 EUR"),
        (1_234_567, "EUR", "12,345.67 EUR"),
        (500, "JPY", "500 JPY"),
        (1_500, "KWD", "1.500 KWD"),
    ],
)
def test_money_reads_naturally(amount: int, currency: str, text: str) -> None:
    assert money_text(amount, currency) == text


def test_times_are_rfc3339_and_shown_where_the_reader_is() -> None:
    assert rfc3339(1_767_225_600_007) == "2026-01-01T00:00:00.007Z"
    assert at_text(1_767_225_600_007, "Asia/Tokyo", "%H:%M") == "09:00"
    assert at_text("2026-01-01T00:00:00.007Z", "No/Such", "%H:%M") == "00:00"
    assert at_text(None) == "\N{EN DASH}"
    assert [duration_text(s) for s in (5, 65, 3_905)] == ["0:05", "1:05", "1:05:05"]


def told(
    *events: tuple[str, dict[str, Any]], for_expert: bool = False, for_staff: bool = False
) -> list[str]:
    happenings = [Happening(type_, at, data) for at, (type_, data) in enumerate(events)]
    names = {"customer": "Cleo", "expert": "Egon", "currency": "EUR"}
    entries = timeline(happenings, **names, for_expert=for_expert, for_staff=for_staff)
    return [text for _, _, text in entries]


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("by", EndedBy)
def test_every_way_to_end_has_a_sentence(reason: Reason, by: EndedBy) -> None:
    (text,) = told(("session.ended", {"reason": reason.value, "ended_by": by.value}))
    assert text.endswith(".")
    assert "{" not in text
    assert text != "The session ended."


def test_charges_in_a_row_are_one_sentence() -> None:
    charge = ("meter.charged", {"amount_minor": 50, "fee_minor": 10})
    pause = ("meter.paused", {"reason": "no_media"})
    assert told(charge, charge, charge, pause, charge) == [
        "1.50 EUR charged in 3 steps.",
        "The clock stood still: nothing of Egon arrived.",
        "0.50 EUR charged.",
    ]
    assert told(charge, for_expert=True) == ["0.50 EUR charged, 0.10 EUR of it commission."]


def test_minor_events_name_who_and_what() -> None:
    assert told(
        ("participant.left", {"role": "customer"}),
        ("participant.joined", {"role": "expert"}),
        ("track.published", {"role": "customer", "kind": "video"}),
        ("session.direction", {"direction": "one_way"}),
        ("meter.returned", {"amount_minor": 30, "fee_minor": 6}),
        ("meter.hold", {"block": 1}),
        ("something.new", {}),
    ) == [
        "Cleo lost the connection.",
        "Egon connected.",
        "Cleo switched the camera on.",
        "Cleo chose to be neither seen nor heard.",
        "0.30 EUR given back: the service failed to serve that part.",
    ]


QUALITY = {
    "customer": {
        "seconds": 750,
        "poor_seconds": 14,
        "up": {"bitrate_bps": {"mean": 0, "max": 0}, "loss": None, "jitter_ms": None},
        "down": {
            "bitrate_bps": {"mean": 1_240_000, "max": 2_100_000},
            "loss": {"mean": 0.013, "max": 0.41},
            "jitter_ms": {"mean": 4.2, "max": 31.0},
        },
        "rtt_ms": {"mean": 35.4, "max": 820.0},
        "freezes": 3,
        "frozen_ms": 4_260,
    },
    "expert": {
        "seconds": 40,
        "poor_seconds": 0,
        "up": {
            "bitrate_bps": {"mean": 48_000, "max": 64_000},
            "loss": {"mean": 0.0, "max": 0.0},
            "jitter_ms": None,
        },
        "down": {"bitrate_bps": {"mean": 0, "max": 0}, "loss": None, "jitter_ms": None},
        "rtt_ms": None,
        "freezes": 0,
        "frozen_ms": 0,
    },
}


def test_staff_read_what_both_connections_were_like() -> None:
    assert told(("session.quality", QUALITY), for_staff=True) == [
        "Connection of Cleo over 12 min 30 s: sent nothing; was sent 1.2 Mbit/s (at most"
        " 2.1 Mbit/s), 1.3 % (at most 41.0 %) lost, jitter 4 ms (at most 31 ms); round trip 35 ms"
        " (at most 820 ms); the picture froze 3 times, 4.3 s in all; poor for 14 s.",
        "Connection of Egon over 40 s: sent 48 kbit/s (at most 64 kbit/s), 0.0 % (at most 0.0 %)"
        " lost; was sent nothing.",
    ]
    assert told(("session.quality", {"customer": None, "expert": QUALITY["expert"]})) == []
    (one,) = told(("session.quality", QUALITY | {"customer": None}), for_staff=True)
    assert one.startswith("Connection of Egon")


def test_odd_data_never_breaks_the_story() -> None:
    for type_ in ("session.ended", "meter.started", "meter.paused", "participant.left"):
        assert len(told((type_, {}))) == 1


def test_the_story_says_why_a_recording_was_over() -> None:
    nobody = {"role": "", "reason": ""}
    assert told(
        ("recording.stopped", nobody | {"role": "expert"}),
        ("recording.stopped", nobody | {"reason": "ended"}),
        ("recording.failed", nobody | {"reason": "interrupted"}),
        ("recording.failed", nobody | {"reason": "disk_full"}),
        ("recording.failed", nobody | {"reason": "unavailable"}),
    ) == [
        "Egon ended the recording.",
        "The recording ended with the session.",
        "The recording was cut off when the service was interrupted.",
        "The recording ended by itself; the call went on.",
        "The recording could not begin; the call went on.",
    ]
