"""What setting up a call costs the engine: invite, two handshakes, answer, first frame.

Whole calls by aiortc peers against an engine in a process of its own; the CPU time is the engine's.
Run `python -m loadtests.bench.call_setup`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from loadtests.bench.engine_process import EngineProcess, engine_process, listing_id
from tests.support.party import Party

CALLS = 24
AT_ONCE = 3


async def measure(calls: int = CALLS) -> dict[str, object]:
    """One call for each pair of users; orders are made before the clock runs."""
    with tempfile.TemporaryDirectory() as folder:
        async with engine_process(Path(folder), pairs=calls) as engine:
            pairs = [await _pair(engine, number) for number in range(calls)]
            before_s = engine.cpu_s()
            turn = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(_call(turn, *pair) for pair in pairs))
            spent_s = engine.cpu_s() - before_s
            for customer, expert, _ in pairs:
                await asyncio.gather(customer.close(), expert.close())
    return {
        "bench": "call_setup",
        "calls": calls,
        "cpu_ms_per_setup": round(spent_s / calls * 1_000, 1),
        "setups_per_cpu_s": round(calls / spent_s, 1),
    }


async def _pair(engine: EngineProcess, number: int) -> tuple[Party, Party, str]:
    customer, expert = [
        await Party.with_token(engine.url, user_id, engine.token(user_id))
        for user_id in (f"cust_{number}", f"exp_{number}")
    ]
    order = await customer.order(listing_id(number), "video")
    return customer, expert, str(order["id"])


async def _call(turn: asyncio.Semaphore, customer: Party, expert: Party, order_id: str) -> None:
    async with turn:
        invited = await customer.command("call.invite", order_id=order_id, mode="video")
        session_id = str(invited["session_id"])
        await expert.wait_for("call.incoming")
        for party in (customer, expert):
            await party.command("session.join", session_id=session_id)
        await asyncio.gather(customer.connected(), expert.connected())
        await expert.command("call.accept", session_id=session_id)
        await expert.publish(session_id, "audio")
        await expert.command("session.start", session_id=session_id)
        await customer.wait_for("meter.started")
        await customer.command("session.end", session_id=session_id)


def run() -> dict[str, object]:
    return asyncio.run(measure())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run()) + "\n")
