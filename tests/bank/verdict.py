"""What must be true when it is over, worked out from rows and evidence and not by the engine."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from engine.audit import audit
from engine.clock import NS_PER_MS, NS_PER_S, SystemClock
from engine.store import tables as t
from engine.store.database import Store, Tx
from tests.bank import evidence
from tests.bank.controller import Plan, Report
from tests.bank.evidence import Life, Stint, Witness
from tests.bank.world import CURRENCY, POLICY, TARIFFS, topup_of

_SLACK_NS = 5 * NS_PER_MS
"""Between the wall clock of the rows and the monotonic clock of the evidence."""
_EXPECTED_ERRORS = {"session.ownership_lost"}
_ERROR = re.compile(r"\[(?:error|critical) *\] ?(\S+)|(Traceback|Task exception was never)")


@dataclass
class Paid:
    """What the ledger moved for one session."""

    captured_minor: int = 0
    returned_minor: int = 0
    fee_minor: int = 0

    @property
    def net_minor(self) -> int:
        return self.captured_minor - self.returned_minor


async def judge(plan: Plan, report: Report) -> None:
    """Add to `report` what is not as it must be, and the figures."""
    store = Store(plan.url, SystemClock())
    try:
        found = await audit(store)
        for check in found.checks:
            report.check(check.count == 0, f"audit: {check.name} {check.differences[:3]}")
        report.figures["audits"] += 1
        async with store.reading() as tx:
            await _Verdict(tx, plan.directory, report).judge()
    finally:
        await store.close()
    _judge_logs(plan.directory, report)


def _judge_logs(directory: Path, report: Report) -> None:
    for path in sorted(directory.glob("log-*.txt")):
        text = path.read_text(errors="replace")
        for name, other in _ERROR.findall(re.sub(r"\x1b\[[0-9;]*m", "", text)):
            event = name or other
            report.figures[f"logged {event}"] += 1
            report.check(event in _EXPECTED_ERRORS, f"{path.name}: {event}")


class _Verdict:
    def __init__(self, tx: Tx, directory: Path, report: Report) -> None:
        self._tx = tx
        self._report = report
        self._check = report.check
        self._figures = report.figures
        self._witnesses = evidence.witnesses(directory)
        self._facts = evidence.by_kind(directory)
        self._paid: dict[str, Paid] = defaultdict(Paid)
        self._taken_over: dict[str, list[int]] = defaultdict(list)
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    async def judge(self) -> None:
        await self._read_transfers()
        await self._read_takeovers()
        sessions = await self._rows(sa.select(t.sessions))
        for row in sessions:
            self._judge_session(row)
        await self._judge_topups()
        await self._judge_balances(sessions)
        await self._judge_holds()
        await self._judge_records(sessions)
        await self._judge_orders()
        self._count(sessions)

    async def _rows(self, query: Any) -> list[Any]:
        return list((await self._tx.execute(query)).all())

    async def _read_transfers(self) -> None:
        rows = await self._rows(sa.select(t.transfers))
        keys = Counter(row.key for row in rows)
        self._check(max(keys.values(), default=1) == 1, "a transfer's key was used twice")
        for row in rows:
            if row.session_id is None:
                continue
            paid = self._paid[row.session_id]
            back = row.kind == "reverse"
            paid.captured_minor += 0 if back else row.amount_minor
            paid.returned_minor += row.amount_minor if back else 0
            paid.fee_minor += -row.fee_minor if back else row.fee_minor

    async def _read_takeovers(self) -> None:
        c = t.session_events.c
        query = sa.select(c.session_id, c.at_ms).where(c.type == "session.suspended")
        for row in await self._rows(query.order_by(c.session_id, c.seq)):
            self._taken_over[row.session_id].append(self._monotonic_ns(row.at_ms))
        self._figures["taken over"] = len(self._taken_over)
        self._figures["takeovers"] = sum(map(len, self._taken_over.values()))

    # Sessions -------------------------------------------------------------------------------------

    def _judge_session(self, row: Any) -> None:
        paid, name = self._paid[row.id], f"session {row.id} ({row.mode}, {row.end_reason})"
        self._check(row.state == "ended", f"{name} has not ended")
        self._check(paid.fee_minor == POLICY.fee_minor(paid.net_minor), f"{name}: fee of {paid}")
        if row.end_reason == "void":
            self._check(paid.captured_minor == 0, f"{name} moved money: {paid}")
        witness = self._witnesses.get(row.id)
        if witness is None:  # its process died before the invite was answered
            self._check(paid.captured_minor == 0, f"{name} was charged without any service")
            return
        self._figures["went on in another process"] += len(witness.stints) > 1
        self._judge_most(row, paid, witness, name)
        self._judge_least(row, paid, witness, name)
        self._judge_promises(row, paid, witness, name)

    def _judge_most(self, row: Any, paid: Paid, witness: Witness, name: str) -> None:
        """Nobody pays for more than was served; after a crash not even for begun blocks."""
        tariff, restarted = TARIFFS[row.mode], row.end_reason == "server_restart"
        served_ns = sum(self._served_ns(row, stint, witness) for stint in witness.stints)
        if restarted:
            most_minor = tariff.prorata_minor(served_ns)
            self._note_loss(row, paid, served_ns)
        else:
            most_minor = tariff.due_minor(tariff.blocks(served_ns))
        self._check(
            paid.net_minor <= most_minor,
            f"{name} paid {paid.net_minor} of at most {most_minor} for {served_ns} ns: {witness}",
        )

    def _served_ns(self, row: Any, stint: Stint, witness: Witness) -> int:
        """The most that one process can have served.

        Only where money ran out may a silence count that a later frame proves to have been a
        standstill: the end is then at `paid_until`, before that frame, and nothing else tells when.
        """
        media, end_ns = row.mode != "text", self._end_ns(row, stint, witness)
        if media and (stint is not witness.stints[-1] or row.end_reason == "server_restart"):
            # Without a regular end only what was acknowledged counts.
            frames = [fact["frame_ns"] for fact in stint.facts if fact["fact"] == "frame"]
            end_ns = max((at_ns for at_ns in frames if at_ns <= end_ns), default=1)
        spent = row.end_reason == "insufficient_funds"
        return stint.served_at_most_ns(end_ns, media=media, spent=spent)

    def _end_ns(self, row: Any, stint: Stint, witness: Witness) -> int:
        """The last instant at which this process can have served it as its owner."""
        life: Life = self._report.lives[stint.node, stint.run]
        began_ns = stint.facts[0]["at_ns"]
        taken = [at_ns for at_ns in self._taken_over[row.id] if at_ns > began_ns]
        if taken:
            return life.last_running_ns(taken[0] + _SLACK_NS)
        if row.end_reason == "server_restart":
            return life.last_running_ns(self._monotonic_ns(row.ended_at_ms) + _SLACK_NS)
        told_ns = witness.at("end_told")
        return life.last_running_ns(time.monotonic_ns() if told_ns is None else told_ns)

    def _monotonic_ns(self, wall_ms: int) -> int:
        return wall_ms * NS_PER_MS - self._offset_ns

    def _note_loss(self, row: Any, paid: Paid, served_ns: int) -> None:
        """What was served at most and not billed: the price of a crash."""
        if paid.net_minor:
            lost_ms = (served_ns - row.served_ns) // NS_PER_MS
            self._figures["unbilled after a crash, ms"] += lost_ms
            name = "most unbilled after a crash, ms"
            self._figures[name] = max(self._figures[name], lost_ms)

    def _judge_least(self, row: Any, paid: Paid, witness: Witness, name: str) -> None:
        """Who hung up after a while pays for that while, unless another process had taken over."""
        if row.end_reason not in {"completed", "void"} or not witness.noted("end_told"):
            return
        if witness.noted("counted") and not witness.noted("clock_told"):
            self._figures["answered messages that started no clock"] += 1
        tariff = TARIFFS[row.mode]
        served_ns = witness.served_at_least_ns(media=row.mode != "text")
        if row.end_reason == "void":
            kept = served_ns <= tariff.grace_seconds * NS_PER_S
            self._check(kept, f"{name} is void after {served_ns} ns")
            return
        least_minor = tariff.due_minor(tariff.blocks(served_ns))
        self._check(
            paid.net_minor >= least_minor,
            f"{name} paid {paid.net_minor} of at least {least_minor} for {served_ns} ns",
        )

    def _judge_promises(self, row: Any, paid: Paid, witness: Witness, name: str) -> None:
        """What a party was told of the end is what the ledger says, whatever happened later."""
        for fact in witness.facts:
            if fact["fact"] == "end_told":
                told = (fact["reason"], fact["total_minor"])
                self._check(
                    told == (row.end_reason, paid.net_minor),
                    f"{name} was said to cost {told} and cost {paid.net_minor}",
                )

    # Money ----------------------------------------------------------------------------------------

    async def _judge_topups(self) -> None:
        rows = await self._rows(sa.select(t.transfers).where(t.transfers.c.kind == "topup"))
        posted = {row.key: row.amount_minor for row in rows}
        asked = {fact["key"] for fact in self._facts["topup_asked"]}
        done = {fact["key"] for fact in self._facts["topup_done"]}
        self._check(posted.keys() <= asked, "a top-up that nobody asked for")
        self._check(done <= posted.keys(), "a top-up that was confirmed and is not there")
        for key, amount in posted.items():
            number = int(key.partition(":")[2])
            self._check(amount == topup_of(number)[2], f"{key} of {amount}")
        self._figures["top-ups"] = len(posted)
        self._figures["top-ups asked again"] = len(self._facts["topup_asked"]) - len(asked)

    async def _judge_balances(self, sessions: list[Any]) -> None:
        """Every account from the session's sums and the top-ups, not from its entries."""
        expected: Counter[tuple[str, str]] = Counter()
        for row in await self._rows(
            sa.select(t.transfers.c.key).where(t.transfers.c.kind == "topup")
        ):
            _, customer, amount = topup_of(int(row.key.partition(":")[2]))
            expected["wallet", customer] += amount
            expected["psp", "platform"] -= amount
        for row in sessions:
            paid = self._paid[row.id]
            expected["wallet", row.customer_id] -= paid.net_minor
            expected["earnings", row.expert_id] += paid.net_minor - paid.fee_minor
            expected["fees", "platform"] += paid.fee_minor
        entries = sa.func.coalesce(sa.func.sum(t.entries.c.amount_minor), 0)
        query = (
            sa.select(t.accounts, entries.label("entries"))
            .outerjoin(t.entries, t.entries.c.account_id == t.accounts.c.id)
            .group_by(t.accounts.c.id)
        )
        for row in await self._rows(query):
            found = row.entries if row.balance_minor is None else row.balance_minor
            account = (row.kind, row.owner_id)
            self._check(
                found == expected[account] and row.currency == CURRENCY,
                f"{account} has {found} and should have {expected[account]}",
            )
        self._check(sum(expected.values()) == 0, "the accounts do not sum to zero")
        self._figures["topped up, minor"] = -expected["psp", "platform"]
        self._figures["paid for sessions, minor"] = sum(
            paid.net_minor for paid in self._paid.values()
        )

    async def _judge_holds(self) -> None:
        """Only the prepayment of an open order is still on hold."""
        query = (
            sa.select(t.holds, t.orders.c.state.label("order_state"))
            .outerjoin(t.orders, t.orders.c.id == t.holds.c.order_id)
            .where(t.holds.c.state == "granted")
        )
        for row in await self._rows(query):
            prepaid = row.session_id is None and row.order_state == "open"
            self._check(prepaid, f"hold {row.key} is open, its order {row.order_state}")
        count = sa.select(sa.func.count()).select_from(t.holds)
        self._figures["holds"] = (await self._tx.execute(count)).scalar_one()

    # Records --------------------------------------------------------------------------------------

    async def _judge_records(self, sessions: list[Any]) -> None:
        """From ring to end, one end in evidence and outbox, and each block charged once."""
        events: dict[str, list[Any]] = defaultdict(list)
        order = (t.session_events.c.session_id, t.session_events.c.seq)
        for event in await self._rows(sa.select(t.session_events).order_by(*order)):
            events[event.session_id].append(event)
        ended = sa.select(t.outbox.c.subject_id).where(t.outbox.c.type == "session.ended")
        told = Counter(row.subject_id for row in await self._rows(ended))
        for row in sessions:
            its = events[row.id]
            kinds = [event.type for event in its]
            whole = (kinds[0], kinds[-1]) == ("session.ringing", "session.ended")
            self._check(whole, f"session {row.id}: {kinds}")
            ends = kinds.count("session.ended")
            self._check(ends == told[row.id] == 1, f"session {row.id} ended {ends} times")
            blocks = [e.data["block"] for e in its if e.type == "meter.charged"]
            self._check(blocks == sorted(set(blocks)), f"session {row.id}: blocks {blocks}")

    async def _judge_orders(self) -> None:
        rows = await self._rows(sa.select(t.orders.c.id, t.orders.c.state))
        states = {row.id: row.state for row in rows}
        for fact in self._facts["order_finished"]:
            self._check(states[fact["order"]] != "open", f"order {fact['order']} is open again")
        self._figures["orders"] = len(states)
        self._figures["orders finished"] = sum(state != "open" for state in states.values())

    def _count(self, sessions: list[Any]) -> None:
        self._figures["sessions"] = len(sessions)
        for row in sessions:
            self._figures[f"ended {row.end_reason}"] += 1
            self._figures["sessions that paid"] += self._paid[row.id].net_minor > 0
        self._figures["captures"] = len(
            [paid for paid in self._paid.values() if paid.captured_minor]
        )
        self._figures["sessions with money returned"] = sum(
            paid.returned_minor > 0 for paid in self._paid.values()
        )
