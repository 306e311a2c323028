"""Looks at the file after every commit, past SQLAlchemy and past the engine.

Each check costs a few microseconds: only what this commit added is looked at.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

from engine.clock import NS_PER_MS, NS_PER_S
from tests.simulation import naive
from tests.simulation.disk import Link
from tests.simulation.trace import Broken
from tests.simulation.truth import Run, Talk

if TYPE_CHECKING:
    from tests.simulation.world import World

LATE_NS = 100 * NS_PER_MS

_FINAL: Final = (
    *("state", "end_reason", "ended_by", "ordinal", "served_ns", "blocks"),
    *("captured_minor", "fee_minor", "billed_seconds", "owner", "epoch"),
)


class Watch:
    """What broke is told to the world, which stops."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._file: sqlite3.Connection | None = None
        self._entry = self.transfer = self._message = 0
        self.repeated: set[str] = set()
        """Messages that their author sent again, by his own name for them."""
        self._stored: dict[str, int] = {}
        self._rows: dict[str, tuple[Any, ...]] = {}
        self.ended: dict[str, tuple[int, bool]] = {}
        """When the end was committed, and whether by one that had not run the session."""
        self.available: dict[str, list[tuple[int, int]]] = {}
        self.commits = 0

    def open(self) -> None:
        self._file = sqlite3.connect(self._world.path, timeout=0, isolation_level=None)
        self._file.execute("CREATE TABLE undead (session_id TEXT, changed INTEGER)")
        same = " AND ".join(f"OLD.{name} IS NEW.{name}" for name in _FINAL)
        self._file.execute(
            "CREATE TRIGGER undead AFTER UPDATE ON sessions WHEN OLD.state = 'ended' "
            f"BEGIN INSERT INTO undead VALUES (OLD.id, NOT ({same})); END"
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        assert self._file is not None
        return self._file.execute(sql, parameters).fetchall()

    def execute(self, sql: str) -> None:
        assert self._file is not None
        self._file.execute(sql)

    def committed(self, link: Link) -> None:
        try:
            self.commits += 1
            self._wallets()
            self._entries()
            self._messages(link)
            self._sessions(link)
            self._transfers(link)
            if self.commits % 16 == 0:
                self.holds()
        except Broken as broken:
            self._world.fail(broken)

    # Money ----------------------------------------------------------------------------------------

    def _wallets(self) -> None:
        """Invariant 2."""
        wallets = "SELECT owner_id, balance_minor, held_minor FROM accounts WHERE kind = 'wallet'"
        for owner, balance, held in self.rows(wallets):
            if not 0 <= held <= balance:
                raise Broken("wallet_bounds", f"{held} held of {balance} in {owner}", owner)
            log = self.available.setdefault(owner, [(0, 0)])
            if log[-1][1] != balance - held:
                log.append((self._world.loop.now_ns, balance - held))

    def _entries(self) -> None:
        """Invariant 1: what was added sums to zero, transfer by transfer."""
        added = self.rows(
            "SELECT transfer_id, SUM(amount_minor), MAX(id) FROM entries WHERE id > ? "
            "GROUP BY transfer_id",
            self._entry,
        )
        for transfer, total, newest in added:
            self._entry = max(self._entry, newest)
            if total != 0:
                raise Broken("zero_sum", f"transfer {transfer} sums to {total}")

    def holds(self) -> None:
        """What accounts say is held is what open holds have left."""
        ((held,),) = self.rows("SELECT COALESCE(SUM(held_minor), 0) FROM accounts")
        ((left,),) = self.rows(
            "SELECT COALESCE(SUM(amount_minor - captured_minor - released_minor), 0) "
            "FROM holds WHERE state = 'granted'"
        )
        if held != left:
            raise Broken("held", f"{held} held, but open holds have {left}")

    # Sessions -------------------------------------------------------------------------------------

    def _sessions(self, link: Link) -> None:
        """Invariant 11: only a session's owner, under its epoch, changes it; what ended stays."""
        self._ended_now: set[str] = set()
        self._undead(link)
        known = ",".join("?" for _ in self._rows)
        found = self.rows(
            "SELECT id, owner, epoch, state, served_ns, captured_minor, checkpoint_at_ms, "
            f"end_reason, ordinal FROM sessions WHERE state <> 'ended' OR id IN ({known})",
            *self._rows,
        )
        owner = link.name.split("#")[0]
        for row in found:
            before = self._rows.get(row[0])
            if before == row:
                continue
            taken = before is not None and before[1:3] != row[1:3]
            if not taken:
                self._by_owner(row, link, owner)
            elif before is not None and (row[1] != owner or row[2] != before[2] + 1):
                raise Broken("one_owner", f"{link.name} turned {before} into {row}", row[0])
            else:
                self._taken_over(row, link)
            self._rows[row[0]] = row
            if row[3] == "ended":
                del self._rows[row[0]]
                self._ended_now.add(row[0])
                self.ended[row[0]] = (self._world.loop.now_ns, taken)
                self._world.trace(link.name, f"ends {row[0][-6:]}: {row[7]} {row[4]} {row[5]}")

    def _undead(self, link: Link) -> None:
        """What ended is final; its owner may still sign it for a moment, but nobody else."""
        written = self.rows("SELECT session_id, changed FROM undead")
        for session, changed in written:
            talk = self._world.talks.get(session)
            if changed or (talk is not None and talk.run.node.link is not link):
                text = f"{link.name} wrote to {session}, which has ended"
                raise Broken("stale_epoch", text, session)
        if written:
            self.execute("DELETE FROM undead")

    def _by_owner(self, row: tuple[Any, ...], link: Link, owner: str) -> None:
        if row[1] != owner:
            raise Broken("one_owner", f"{link.name} wrote {row}", row[0])
        talk = self._world.talks.get(row[0])
        if talk is None:
            return
        if talk.run.node.link is not link:
            text = f"{link.name} wrote to {talk.run.node.link.name}'s {row}"
            raise Broken("one_owner", text, row[0])
        talk.run.noted_ns = link.begun_ns

    def _taken_over(self, row: tuple[Any, ...], link: Link) -> None:
        self._world.trace(link.name, f"takes over {row[0][-6:]}")
        talk = self._world.talks.get(row[0])
        if talk is None:
            return
        now_ns = self._world.loop.now_ns
        self._not_stolen(talk, link, now_ns)
        talk.run.lost_ns = now_ns
        if row[3] != "ended":
            node = self._world.node_of(link)
            talk.runs.append(Run(node, now_ns, row[8] is not None, row[4], noted_ns=link.begun_ns))

    def _not_stolen(self, talk: Talk, link: Link, now_ns: int) -> None:
        """What a healthy node runs is left to it, unless another one starts under its name.

        Who claims has seen no new checkpoint for `stale_after_s` of its own clock. The owner's next
        one comes a beat after its store's last trouble, and timers are up to 1.5 s late.
        """
        node, plan = talk.run.node, self._world.plan
        patience_ns = round((plan.stale_after_s + plan.checkpoint_every_s + 2) * NS_PER_S)
        healthy = node.alive and node.link.troubled_ns < now_ns - patience_ns
        if healthy and node.name != link.name.split("#")[0]:
            raise Broken("stolen", f"{talk.id} from {node.link.name}", talk.id)

    def _transfers(self, link: Link) -> None:
        """Nothing moves for a session that ended in an earlier transaction, but what staff give
        back.
        """
        added = self.rows(
            "SELECT rowid, session_id, kind, key FROM transfers WHERE rowid > ?", self.transfer
        )
        for number, session, kind, key in added:
            self.transfer = max(self.transfer, number)
            late = session in self.ended and session not in self._ended_now
            if link.name == "office" and kind == "reverse":
                late = False
            if session is not None and late:
                raise Broken("after_the_end", f"{key} after the end of {session}", session)

    # Service --------------------------------------------------------------------------------------

    def funds(self, talk: Talk) -> int:
        """The money set aside for a session, as the file has it now."""
        ((own,),) = self.rows(
            "SELECT COALESCE(SUM(amount_minor), 0) FROM holds "
            "WHERE session_id = ? AND state <> 'refused'",
            talk.id,
        )
        ((prepaid,),) = self.rows(
            "SELECT COALESCE(SUM(amount_minor), 0) FROM holds "
            "WHERE order_id = ? AND session_id IS NULL AND state <> 'refused'",
            talk.order.id,
        )
        ((spent,),) = self.rows(
            "SELECT COALESCE(SUM(m.amount_minor), 0) FROM hold_moves m "
            "JOIN holds h ON h.id = m.hold_id JOIN transfers x ON x.id = m.transfer_id "
            "WHERE h.order_id = ? AND h.session_id IS NULL AND x.session_id <> ? AND x.rowid <= ?",
            talk.order.id,
            talk.id,
            talk.transfers_before,
        )
        money: int = own + prepaid - spent
        return money

    def untouched(self, talk: Talk) -> int:
        """The session's own holds of which nothing was taken."""
        ((amount,),) = self.rows(
            "SELECT COALESCE(SUM(amount_minor), 0) FROM holds "
            "WHERE session_id = ? AND state = 'resolved' AND released_minor = amount_minor",
            talk.id,
        )
        money: int = amount
        return money

    def funded_ns(self, talk: Talk, *, without_minor: int = 0) -> int:
        """How much service that money pays for, or would without some of it."""
        tariff = talk.order.tariff
        money = self.funds(talk) - without_minor
        blocks = naive.affordable(
            tariff.price_minor, tariff.per_seconds, tariff.block_seconds, money
        )
        return blocks * tariff.block_seconds * naive.SECOND

    def forwarded(self, talk: Talk, run: Run, at_ns: int) -> None:
        """Invariant 8: a frame reached the customer; it was paid for, or 100 ms late at most."""
        if talk.id in self.ended or run.lost_ns is not None or not (run.metered or run.frames):
            return
        start_ns = None if run.metered else run.frames[0][1]
        _, elapsed_ns, _ = run.service(False, start_ns, at_ns)
        self._paid(talk, elapsed_ns, self.funded_ns(talk), "media")

    def _messages(self, link: Link) -> None:
        """Invariant 8 for chat: what is stored now was written while it was paid for."""
        added = self.rows(
            "SELECT rowid, id, session_id FROM messages WHERE rowid > ?", self._message
        )
        for number, message, session in added:
            self._message = max(self._message, number)
            self._stored[message] = self._world.loop.now_ns
            talk = self._world.talks.get(session)
            if talk is not None:
                self._said(talk, link, link.inserted.pop(message))

    def _said(self, talk: Talk, link: Link, at_ns: int) -> None:
        if talk.id in self.ended:
            raise Broken("said_after_the_end", f"at {at_ns} in {talk.id}", talk.id)
        if talk.run.node.link is not link or talk.run.lost_ns is not None:
            raise Broken("said_to_nobody", f"{link.name} stored it for {talk.id}", talk.id)
        started = self.started(talk)
        if started is None:
            return
        run, start_ns = started
        _, elapsed_ns, _ = talk.run.service(True, start_ns if run is talk.run else None, at_ns)
        self._paid(talk, elapsed_ns, self.funded_ns(talk), "a message")

    def left_ns(self, talk: Talk) -> int | None:
        """For how much longer a chat is paid; None before its clock has started in this run."""
        started = self.started(talk)
        if started is None or started[0] is not talk.run:
            return None
        _, elapsed_ns, _ = talk.run.service(True, started[1], self._world.loop.now_ns)
        return self.funded_ns(talk) - elapsed_ns

    def told(self, message: str, client_id: str) -> None:
        """A message reached a party: it is stored, and has not waited for anything since, unless
        the answer to its commit was lost: it is told when its author repeats it.
        """
        stored_ns = self._stored.get(message)
        late = stored_ns is None or self._world.loop.now_ns > stored_ns + LATE_NS
        if late and (stored_ns is None or client_id not in self.repeated):
            self._world.fail(Broken("told_late", f"{message}, which was stored at {stored_ns}"))

    def _paid(self, talk: Talk, elapsed_ns: int, funded_ns: int, what: str) -> None:
        if elapsed_ns > funded_ns + LATE_NS:
            self._world.fail(
                Broken("served_unpaid", f"{what} at {elapsed_ns}, paid to {funded_ns}", talk.id)
            )

    def started(self, talk: Talk) -> tuple[Run, int] | None:
        """In which run the engine says that the clock started, and when."""
        found = self.rows(
            "SELECT seq, json_extract(data, '$.clock_at_ns') FROM session_events "
            "WHERE session_id = ? AND type = 'meter.started'",
            talk.id,
        )
        if not found:
            return None
        if len(found) > 1:
            raise Broken("start", f"{len(found)} starts", talk.id)
        ((before,),) = self.rows(
            "SELECT COUNT(*) FROM session_events "
            "WHERE session_id = ? AND type = 'session.suspended' AND seq < ?",
            talk.id,
            found[0][0],
        )
        run = talk.runs[before]
        return run, run.node.loop_ns(found[0][1])
