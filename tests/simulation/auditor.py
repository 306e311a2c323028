"""After the end: does what every session cost follow from what really happened?"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from engine.clock import NS_PER_MS, NS_PER_S
from tests.simulation import naive
from tests.simulation.node import TIMERS_LATE_MS
from tests.simulation.plan import NODE_FAULTS, STORE_FAULTS
from tests.simulation.trace import Broken
from tests.simulation.truth import Order, Run, Talk
from tests.simulation.world import World

WINDOW_NS = 30 * NS_PER_S
SLACK_NS = NS_PER_S
"""From a transaction's beginning to what it notes, and from a takeover's commit to its start."""
STORING_NS = 10 * NS_PER_S
"""How long a message may wait for the store before it counts."""
ASKING_NS = NS_PER_S
"""Money that comes later than this before the end may come too late for another hold."""
TROUBLE_NS = 12 * NS_PER_S
"""How long after its store's last trouble a node may still miss a checkpoint: a statement that was
under way then is waited for (10 s), and the next beat comes up to 2 s later."""


class Row(NamedTuple):
    """How the engine says that a session came out."""

    id: str
    state: str
    reason: str
    ended_by: str
    ordinal: int | None
    served_ns: int


class Auditor:
    """Raises `Broken` at the first session that does not add up."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.watch = world.watch
        self.checked = 0
        self.metered = 0
        self.served_ns = 0

    def audit(self) -> None:
        self.watch.holds()
        self._books()
        found = self.watch.rows(
            "SELECT id, state, end_reason, ended_by, ordinal, served_ns FROM sessions"
        )
        for row in found:
            self._session(Row(*row))
        self._ordinals()

    def _books(self) -> None:
        ((came,),) = self.watch.rows(
            "SELECT COALESCE(-SUM(e.amount_minor), 0) FROM entries e "
            "JOIN accounts a ON a.id = e.account_id WHERE a.kind = 'psp'"
        )
        if came != self.world.topped:
            raise Broken("external", f"{self.world.topped} topped up, the ledger has {came}")
        for order in self.world.orders:
            self._refunds(order)
        leaked = self.watch.rows(
            "SELECT h.key, s.id FROM holds h JOIN sessions s ON s.id = h.session_id "
            "WHERE h.state = 'granted' AND s.state = 'ended'"
        )
        if leaked:
            raise Broken("hold_leaked", f"{leaked[0][0]} is open", leaked[0][1])

    def _refunds(self, order: Order) -> None:
        ((back,),) = self.watch.rows(
            "SELECT COALESCE(SUM(amount_minor), 0) FROM transfers "
            "WHERE order_id = ? AND kind = 'reverse' AND key LIKE 'order:%'",
            order.id,
        )
        if back != order.refunded:
            raise Broken("refund", f"{back} of {order.id} instead of {order.refunded}")

    def _ordinals(self) -> None:
        """An order's metered sessions are numbered as their clocks started."""
        numbered = self.watch.rows(
            "SELECT order_id, ordinal, COUNT(*) FROM sessions WHERE ordinal IS NOT NULL "
            "GROUP BY order_id, ordinal HAVING COUNT(*) > 1"
        )
        if numbered:
            raise Broken("ordinal", f"twice in one order: {numbered[0]}")

    # One session ----------------------------------------------------------------------------------

    def _session(self, row: Row) -> None:
        self.checked += 1
        if row.state != "ended":
            raise Broken("never_ends", f"{row.id} is still {row.state}", row.id)
        total, fee = self._moved(row.id)
        talk = self.world.talks.get(row.id)
        if row.ordinal is None:
            if total != 0:
                raise Broken("unmetered_charge", f"{row.id} cost {total}", row.id)
            return
        if talk is None:
            raise Broken("unknown", f"{row.id} was metered, but nobody knows it", row.id)
        self.metered += 1
        self.served_ns += row.served_ns
        self._price(talk, row, total, fee)
        self._service(talk, row)

    def _moved(self, session_id: str) -> tuple[int, int]:
        """What the customer paid and what of it the platform kept, from the entries alone and
        before staff gave anything back.
        """
        sums = dict(
            self.watch.rows(
                "SELECT a.kind, SUM(e.amount_minor) FROM entries e "
                "JOIN accounts a ON a.id = e.account_id JOIN transfers x ON x.id = e.transfer_id "
                "WHERE x.session_id = ? AND x.key NOT LIKE 'order:%' GROUP BY a.kind",
                session_id,
            )
        )
        paid, fee = -sums.get("wallet", 0), sums.get("fees", 0)
        if paid != fee + sums.get("earnings", 0):
            raise Broken("split", f"{session_id}: {sums}", session_id)
        return paid, fee

    def _price(self, talk: Talk, row: Row, total: int, fee: int) -> None:
        """Invariants 3, 4, 9, 10: the price of this much service, and nothing for a void."""
        tariff, reason, served_ns = talk.order.tariff, row.reason, row.served_ns
        free = tariff.grace_seconds > 0 and (row.ordinal or 0) <= 1
        void = free and served_ns <= tariff.grace_seconds * naive.SECOND
        fault = reason in {"server_restart", "failed"} or (
            reason == "terminated" and row.ended_by == "system"
        )
        price, per_s, block_s = tariff.price_minor, tariff.per_seconds, tariff.block_seconds
        if void:
            expected = 0
        elif fault:
            expected = naive.prorata(price, per_s, served_ns)
        else:
            expected = naive.due(price, per_s, block_s, naive.blocks(served_ns, block_s))
        if (reason == "void") is not void:
            raise Broken("grace", f"{reason} after {served_ns}, session {row.ordinal}", talk.id)
        if total != expected:
            what = f"{reason} after {served_ns} cost {total} instead of {expected}"
            raise Broken("price", f"{what}: {talk.id}", talk.id)
        if fee != naive.fee(total, talk.order.policy.commission_bps):
            raise Broken("fee", f"{fee} of {total}", talk.id)

    def _service(self, talk: Talk, row: Row) -> None:
        """Invariants 3, 7, 8: as much as was served, or by a crash less by one checkpoint."""
        started = self._start(talk)
        funded_ns = self.watch.funded_ns(talk)
        if row.served_ns > funded_ns:
            raise Broken("beyond_funds", f"{row.served_ns} of {funded_ns}", talk.id)
        for run, following in itertools.pairwise(talk.runs):
            self._crashed(talk, run, started, following.base_ns)
        run = talk.run
        _, settled = self.watch.ended[talk.id]
        if settled:
            self._crashed(talk, run, started, row.served_ns)
            return
        end_ns = self._end_ns(talk)
        self._ended_in_time(talk, row, started, end_ns)
        proven, elapsed, _ = self._naive(talk, run, started, end_ns)
        if row.served_ns != max(elapsed, proven):
            raise Broken("service", f"{row.reason}: {row.served_ns}, really {elapsed}", talk.id)

    def _crashed(self, talk: Talk, run: Run, started: tuple[Run, int], kept_ns: int) -> None:
        """What was kept of a run that died or lost the session to another node."""
        assert run.lost_ns is not None
        death_ns = min(run.lost_ns, run.node.died_ns or run.lost_ns)
        # An end counts from its instant on, whether or not the store ever heard of it.
        stop_ns = min([death_ns, *(at_ns for at_ns, _ in self._wishes(run))])
        proven_ns, most_ns, last_ns = self._naive(talk, run, started, stop_ns)
        # Its money may have run out in the middle of what a later frame proved to be a standstill:
        # then it has ended exactly there.
        running_ns = proven_ns + min(stop_ns - last_ns, naive.STANDSTILL)
        funded_ns = self.watch.funded_ns(talk)
        if kept_ns > most_ns and not kept_ns == funded_ns <= running_ns:
            raise Broken("overcharged", f"{kept_ns} after a crash, really {most_ns}", talk.id)
        plan = self.world.plan
        every_ns = round(plan.checkpoint_every_s * NS_PER_S)
        if plan.has("late_timers"):  # the heartbeat's too
            every_ns += max(TIMERS_LATE_MS) * NS_PER_MS
        if run.node.link.troubled_ns >= death_ns - TROUBLE_NS:
            return
        if run.noted_ns in run.node.link.unheard:
            return  # it never heard that it had taken the session over
        if max(run.noted_ns, run.began_ns) < death_ns - every_ns - SLACK_NS:
            raise Broken("checkpoint", f"none for {death_ns - run.noted_ns}", talk.id)
        least_ns, _, _ = self._naive(talk, run, started, min(stop_ns, run.noted_ns - SLACK_NS))
        if kept_ns < least_ns:
            raise Broken("lost_too_much", f"{kept_ns} of {least_ns}", talk.id)

    def _wishes(self, run: Run) -> list[tuple[int, str]]:
        """When somebody wanted it to end, and who: parties, staff, or the node that stops."""
        drains = [(at_ns, "drain") for at_ns, node in self.world.drains if node is run.node]
        return sorted(run.ends) + drains

    def _naive(
        self, talk: Talk, run: Run, started: tuple[Run, int], until_ns: int
    ) -> tuple[int, int, int]:
        return run.service(talk.text, started[1] if started[0] is run else None, until_ns)

    def _start(self, talk: Talk) -> tuple[Run, int]:
        """The clock started where it should, and by what it should."""
        started = self.watch.started(talk)
        if started is None:
            raise Broken("start", "metered without a start", talk.id)
        run, start_ns = started
        if talk.text:
            counted = [one for one in talk.messages if one.role.value == "customer"]
            stamps = [one.at_ns for one in counted]
            if run is not talk.runs[0]:  # stored before the crash, started when both were back
                stamps += [at_ns for at_ns, _, _ in run.sockets]
            if start_ns not in stamps or len({one.client_id for one in counted}) < 2:
                raise Broken("start", f"at {start_ns}, messages at {stamps}", talk.id)
        elif start_ns != run.frames[0][1]:
            raise Broken("start", f"at {start_ns}, first frame {run.frames[0]}", talk.id)
        return started

    def _end_ns(self, talk: Talk) -> int:
        found = self.watch.rows(
            "SELECT json_extract(data, '$.end_at_ns') FROM session_events "
            "WHERE session_id = ? AND type = 'session.ended'",
            talk.id,
        )
        if len(found) != 1:
            raise Broken("end", f"{len(found)} ends", talk.id)
        end_ns: int = talk.run.node.loop_ns(found[0][0])
        return end_ns

    def _ended_in_time(self, talk: Talk, row: Row, started: tuple[Run, int], end_ns: int) -> None:
        """The end has a cause, and the first cause there was."""
        run = talk.run
        wishes = self._wishes(run)
        first_ns = min((at_ns for at_ns, _ in wishes), default=None)
        if first_ns is not None and end_ns > max(first_ns, run.began_ns):
            raise Broken("hangup_late", f"{end_ns} after the wish of {first_ns}", talk.id)
        if row.ended_by in {"customer", "expert", "staff"} or row.reason == "terminated":
            if end_ns != first_ns:
                raise Broken("end", f"{row.ended_by} at {end_ns}, wishes {wishes}", talk.id)
        elif end_ns != first_ns:
            self._by_system(talk, row.reason, started, end_ns)

    def _by_system(self, talk: Talk, reason: str, started: tuple[Run, int], end_ns: int) -> None:
        run = talk.run
        _, elapsed, last_ns = self._naive(talk, run, started, end_ns)
        block_ns = talk.order.tariff.block_seconds * NS_PER_S
        funded = {self.watch.funded_ns(talk)}
        if self.world.plan.has_any(STORE_FAULTS):  # the answer to a hold may come after the cutoff
            late_minor = self.watch.untouched(talk)
            funded.add(self.watch.funded_ns(talk, without_minor=late_minor))
        spent = elapsed % block_ns == 0 and elapsed in funded
        silent = not talk.text and end_ns == last_ns + WINDOW_NS + 1
        idle = talk.text and self._idle(talk, end_ns)
        away = talk.text and self._away(talk, run, end_ns)
        unresumed = run is not talk.runs[0] and self._unresumed(talk, run, end_ns)
        causes = {
            "insufficient_funds": spent,
            "disconnected": silent or away,
            "idle": idle,
            "server_restart": unresumed,
            "void": spent or silent or away or idle or unresumed,
        }
        if not causes.get(reason, False):
            raise Broken("end", f"{reason} at {end_ns} after {elapsed}", talk.id)
        if reason == "insufficient_funds":
            self._starved(talk, elapsed, end_ns)

    def _starved(self, talk: Talk, elapsed_ns: int, end_ns: int) -> None:
        """Invariant 12: on a calm day nobody is cut off who could have paid for a block."""
        if self.world.plan.has_any(STORE_FAULTS | NODE_FAULTS):
            return
        asking_ns = self._asking_ns()
        tariff = talk.order.tariff
        blocks = naive.blocks(elapsed_ns, tariff.block_seconds)
        price = naive.due(tariff.price_minor, tariff.per_seconds, tariff.block_seconds, blocks + 1)
        missing = price - self.watch.funds(talk)
        there, least = 0, None
        for at_ns, available in self.watch.available[talk.order.customer]:
            if at_ns > end_ns:
                break
            if at_ns >= end_ns - asking_ns:
                least = min(available, there, least if least is not None else there)
            there = available
        least = there if least is None else least
        if least >= missing:
            raise Broken("starved", f"{least} available, {missing} missing", talk.id)

    def _asking_ns(self) -> int:
        """Of money that another node took a node learns with its next heartbeat."""
        plan = self.world.plan
        if plan.nodes == 1:
            return ASKING_NS
        late_ns = max(TIMERS_LATE_MS) * NS_PER_MS if plan.has("late_timers") else 0
        return ASKING_NS + round(plan.checkpoint_every_s * NS_PER_S) + late_ns

    def _idle(self, talk: Talk, end_ns: int) -> bool:
        stamps = [one.at_ns for one in talk.messages] + [talk.answered_ns or talk.rung_ns]
        stamps += [at_ns for at_ns, _, _ in talk.run.sockets]
        stamps += [run.began_ns for run in talk.runs[1:]]  # a takeover gives the whole patience
        since_ns = self._back(talk, talk.run, end_ns, 120 * NS_PER_S)
        # One that is being stored when the patience ends comes too late, and the store may take
        # its time.
        heard = [one.at_ns for one in talk.messages if one.stored and one.run is talk.run]
        return since_ns in stamps and not any(
            since_ns < at_ns < end_ns - STORING_NS for at_ns in heard
        )

    def _away(self, talk: Talk, run: Run, end_ns: int) -> bool:
        """Whether a party that was here had then been away for the whole window."""
        left: dict[str, int] = {}
        for at_ns, role, up in run.sockets:
            if at_ns < end_ns:
                left.pop(role, None) if up else left.update({role: at_ns})
        return bool(left) and min(left.values()) == self._back(talk, run, end_ns, WINDOW_NS + 1)

    def _back(self, talk: Talk, run: Run, from_ns: int, by_ns: int) -> int:
        """The instant that long before, but for the time in which a chat's process stood still."""
        since_ns = from_ns - by_ns
        for still_ns, again_ns in reversed(run.node.standstills if talk.text else []):
            if again_ns <= from_ns and again_ns > since_ns:
                since_ns -= again_ns - still_ns
        return since_ns

    def _unresumed(self, talk: Talk, run: Run, end_ns: int) -> bool:
        """Whether nobody, or not both, came back within the window after a crash, or both did and
        no frame followed. A takeover is seen at its commit, and counts from a little later.
        """
        since_ns = self._back(talk, run, end_ns, WINDOW_NS + 1)
        if run.began_ns <= since_ns <= run.began_ns + SLACK_NS:
            return True
        here = {"customer": False, "expert": False}
        for at_ns, role, up in run.sockets:
            here[role] = up
            if not talk.text and all(here.values()):
                return since_ns == at_ns
        return False
