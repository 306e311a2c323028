"""Defects planted in the meter, each of which the random histories of the sessions must find.

Without this nobody would notice if the histories no longer came where it matters: a machine whose
sessions all end before anything happens to them is green too.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test

from engine.metering.funds import Funds
from engine.metering.meter import Meter
from engine.metering.stopwatch import MediaWatch, TextWatch
from engine.metering.tariff import Tariff
from tests.support import shared_wallet
from tests.unit.metering.test_sessions_machine import SETTINGS, SessionsMachine

# Where, what it says there, and what it will say.
PLANTED: list[tuple[Any, str, str, str]] = [
    (Tariff, "blocks", "-(-elapsed_ns // self.block_ns)", "elapsed_ns // self.block_ns + 1"),
    (MediaWatch, "acked", "gap_ns < self._pause_after_ns", "gap_ns <= self._pause_after_ns"),
    (MediaWatch, "wait_anew", "max(now_ns, self._mark_ns)", "self._mark_ns"),
    (TextWatch, "stop", "self._base_ns += max(0, now_ns - self._mark_ns)", "pass"),
    (Funds, "take", "del self._left[hold_id]", "pass"),
    (Meter, "take_up", "self._funds.captured_minor = served.captured_minor", "pass"),
    (Meter, "take_up", "standing=True", "standing=False"),
    (Meter, "_ask", "self._attempt = self._attempts_before", "self._attempt = 0"),
    (Meter, "_final_capture", "surplus_minor > 0", "surplus_minor > 10**9"),
    (Meter, "_captures", "self.tariff.in_grace(self.ordinal, confirmed_ns)", "False"),
    (Meter, "_advance", "watch.confirmed_ns(now_ns)", "watch.elapsed_ns(now_ns)"),
    (Meter, "_check_end", ">= self.paid_ns", "> self.paid_ns"),
    (Meter, "_silent_at_ns", "reconnect_window_ns + 1", "reconnect_window_ns"),
    (Meter, "_capture", "self.captured_fee_minor - fee_before", "0"),
    (Meter, "_cutoff", "cutoff_ns == self._cutoff_ns", "self._cutoff_ns is not None"),
    (Meter, "_apply", "self._refused and not self._can_buy_block()", "self._refused"),
    (shared_wallet, "next_slice", "max(1, min(wanted_blocks, affordable))", "wanted_blocks"),
]


@pytest.mark.parametrize(
    ("owner", "name", "text", "wrong"),
    PLANTED,
    ids=[f"{owner.__name__.split('.')[-1]}.{name}: {wrong}" for owner, name, _, wrong in PLANTED],
)
def test_it_finds_what_was_planted(
    owner: Any, name: str, text: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, _broken(getattr(owner, name), text, wrong))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            SessionsMachine,
            # The first history that fails is enough, and nobody reads it.
            settings=settings(SETTINGS, phases=[Phase.generate], verbosity=Verbosity.quiet),
        )


def _broken(function: Callable[..., object], text: str, wrong: str) -> object:
    """The function with a part of its text replaced."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(text) == 1
    names = dict(vars(sys.modules[function.__module__]))
    exec("from __future__ import annotations\n" + source.replace(text, wrong), names)
    return names[function.__name__]
