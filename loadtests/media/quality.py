"""`make bench-quality`: what loss on either leg of a call does to the picture.

Two real Chromium pages, one publisher and one viewer, through the engine and through Janus
(VideoRoom) in the same run, with the same seeded loss on the publisher's leg, on the viewer's and
on both. Once the publisher aims at full quality the loss sets in, goes on for a while and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec
from playwright.async_api import Browser
from rich.console import Console, JustifyMethod
from rich.table import Table

from loadtests.media.child import NotHere
from loadtests.media.janus import janus
from loadtests.media.namespace import enter
from loadtests.media.quality_call import BOTH, PUBLISHER, VIEWER, Call, engine_call, janus_call
from tests.support import browser as real_browser
from tests.support.media_browser import chromium

LOSSES: Final = (0.02, 0.05, 0.10)
# The same state to begin from: the browser aims at 1.7 Mbit/s at most for this picture, and how
# soon it gets there is a matter of chance.
FULL_KBPS: Final = 1_600
_CLIMB_S: Final = 30.0
LOSS_S: Final = 12.0
_CONNECT_S: Final = 20.0
_POLL_S: Final = 0.25
# Healthy again: within one second the viewer decoded nearly all that was encoded.
_HEALTHY_SHARE: Final = 0.9
_RECOVERY_S: Final = 10.0

_PICTURE: Final = "document.getElementById('view').getVideoPlaybackQuality().totalVideoFrames > 9"

OpenCall = Callable[[Browser], AbstractAsyncContextManager[Call]]


class Scenario(msgspec.Struct, frozen=True):
    leg: str
    loss: float

    @property
    def name(self) -> str:
        return f"{self.leg} {self.loss:.0%}" if self.loss else "no loss"


SCENARIOS: Final = (
    Scenario(BOTH, 0.0),
    *(Scenario(leg, loss) for leg in (PUBLISHER, VIEWER, BOTH) for loss in LOSSES),
)


class Sample(msgspec.Struct, frozen=True):
    """`getStats` of both pages at one instant: frames and freezes so far, kbit/s aimed at."""

    at_s: float
    encoded: int
    decoded: int
    freezes: int
    frozen_s: float
    target_kbps: float


class Quality(msgspec.Struct, frozen=True):
    """What the viewer saw from the loss setting in until the picture was healthy again.

    While the loss lasted `dropped` datagrams went missing, `decoded` of `encoded` frames were
    shown, and `target_kbps` was what the publisher aimed at on average, `before_kbps` as it set in.
    `recovered_s` counts from its end, None if 10 s were not enough.
    """

    dropped: int
    freezes: int
    frozen_s: float
    encoded: int
    decoded: int
    before_kbps: int
    target_kbps: int
    recovered_s: float | None


def quality(during: list[Sample], after: list[Sample], dropped: int) -> Quality:
    """From samples while the loss lasted (the first: as it set in) and from its end on."""
    first, last = during[0], after[-1]
    return Quality(
        dropped=dropped,
        freezes=last.freezes - first.freezes,
        frozen_s=round(last.frozen_s - first.frozen_s, 2),
        encoded=during[-1].encoded - first.encoded,
        decoded=during[-1].decoded - first.decoded,
        before_kbps=round(first.target_kbps),
        target_kbps=round(sum(s.target_kbps for s in during) / len(during)),
        recovered_s=healthy_since_s(after),
    )


def healthy_since_s(after: list[Sample]) -> float | None:
    """When the first healthy second began, counted from the first sample; None if there is none."""
    for index, end in enumerate(after):
        earlier = [s for s in after[:index] if end.at_s - s.at_s >= 1.0]
        if not earlier:
            continue
        encoded, decoded = end.encoded - earlier[-1].encoded, end.decoded - earlier[-1].decoded
        if encoded and decoded >= _HEALTHY_SHARE * encoded:
            return round(earlier[-1].at_s - after[0].at_s, 2)
    return None


async def _sample(call: Call) -> Sample:
    sent, seen = await call.publisher.stats(), await call.viewer.stats()
    sender, receiver = sent["sender"].get("video", {}), seen["receiver"].get("video", {})
    return Sample(
        at_s=time.monotonic(),
        encoded=int(sender.get("framesEncoded", 0)),
        decoded=int(receiver.get("framesDecoded", 0)),
        freezes=int(receiver.get("freezeCount", 0)),
        frozen_s=float(receiver.get("totalFreezesDuration", 0.0)),
        target_kbps=float(sender.get("targetBitrate", 0.0)) / 1000,
    )


async def _sample_for(call: Call, seconds: float) -> list[Sample]:
    samples = [await _sample(call)]
    while samples[-1].at_s - samples[0].at_s < seconds:
        await asyncio.sleep(_POLL_S)
        samples.append(await _sample(call))
    return samples


async def _climb(call: Call) -> None:
    """Until the publisher aims at full quality; a while later if it never does."""
    first = sample = await _sample(call)
    while sample.target_kbps < FULL_KBPS and sample.at_s - first.at_s < _CLIMB_S:
        await asyncio.sleep(_POLL_S)
        sample = await _sample(call)


async def _recovery(call: Call) -> list[Sample]:
    samples = [await _sample(call)]
    while healthy_since_s(samples) is None and samples[-1].at_s - samples[0].at_s < _RECOVERY_S:
        await asyncio.sleep(_POLL_S)
        samples.append(await _sample(call))
    return samples


async def observe(call: Call, scenario: Scenario) -> Quality:
    """Let the call run through the scenario. Raises `TimeoutError` if no picture comes."""
    async with asyncio.timeout(_CONNECT_S):
        await call.viewer.page.wait_for_function(_PICTURE)
    await _climb(call)
    call.impair(scenario.leg, scenario.loss)
    during = await _sample_for(call, LOSS_S)
    dropped = call.heal()
    return quality(during, await _recovery(call), dropped)


@contextlib.asynccontextmanager
async def _callers(host: str) -> AsyncIterator[dict[str, OpenCall | str]]:
    """How to call through each server, or why it is not there."""
    async with contextlib.AsyncExitStack() as stack:
        callers: dict[str, OpenCall | str] = {"engine": lambda b: engine_call(b, host)}
        try:
            server = await stack.enter_async_context(janus(host))
        except NotHere as reason:
            callers["janus"] = str(reason)
        else:
            callers["janus"] = lambda b: janus_call(b, host, server)
        yield callers


async def measure(
    host: str, progress: Callable[[str], None], scenarios: tuple[Scenario, ...] = SCENARIOS
) -> dict[str, dict[str, Quality | None] | str]:
    """By server and scenario; for a server that is not there the reason."""
    async with _callers(host) as callers, chromium() as browser:
        found: dict[str, dict[str, Quality | None] | str] = {
            name: caller if isinstance(caller, str) else {} for name, caller in callers.items()
        }
        # In turn, so that whatever else the machine does meets both.
        for scenario in scenarios:
            for name, caller in callers.items():
                results = found[name]
                if isinstance(caller, str) or isinstance(results, str):
                    continue
                progress(f"{name}: {scenario.name}")
                results[scenario.name] = await _result(browser, caller, scenario)
        return found


async def _result(browser: Browser, caller: OpenCall, scenario: Scenario) -> Quality | None:
    async with caller(browser) as call:
        try:
            return await observe(call, scenario)
        except TimeoutError:
            return None


_HEADINGS: Final = ("dropped", "freezes", "frozen s", "decoded", "before", "kbit/s", "recovered s")


def show(console: Console, found: dict[str, dict[str, Quality | None] | str]) -> None:
    for name, results in found.items():
        if isinstance(results, str):
            console.print(f"{name}: not measured: {results}")
            continue
        table = Table(title=f"{name}: {LOSS_S:.0f} s of loss")
        for heading in ("loss", *_HEADINGS):
            justify: JustifyMethod = "left" if heading == "loss" else "right"
            table.add_column(heading, justify=justify, no_wrap=True)
        for scenario, result in results.items():
            table.add_row(scenario, *_cells(result))
        console.print(table)


def _cells(result: Quality | None) -> tuple[str, ...]:
    if result is None:
        return ("no picture",)
    return (
        str(result.dropped),
        str(result.freezes),
        f"{result.frozen_s:.1f}",
        f"{result.decoded}/{result.encoded}",
        str(result.before_kbps),
        str(result.target_kbps),
        "-" if result.recovered_s is None else f"{result.recovered_s:.1f}",
    )


def closing(found: dict[str, dict[str, Quality | None] | str]) -> str:
    """One line of JSON; null for a server that is not there."""
    return json.dumps(
        {
            name: None if isinstance(results, str) else msgspec.to_builtins(results)
            for name, results in found.items()
        }
    )


def main() -> int:
    if real_browser.chromium() is None:
        sys.stderr.write("bench-quality: Chromium is not installed\n")
        return 1
    host = enter("loadtests.media.quality")
    console = Console(width=None if sys.stdout.isatty() else 100)
    with console.status("") as status:
        found = asyncio.run(measure(host, status.update))
    show(console, found)
    sys.stdout.write(closing(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
