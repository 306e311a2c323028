"""The task that sends what `notifications` has waiting, by e-mail, SMS and (reminders) socket.

A row is due while something of it is left to be sent. It is claimed by moving `due_at_ms` behind a
lease, sent outside any transaction, and its outcome written: a crash in between sends it once more
when the lease is over, so delivery is at least once. What fails for now comes back after a pause
that grows; after `MOST_ATTEMPTS` or a final refusal the channel is ``failed``. Several nodes may
run the task: a claim is one conditional update.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog

from admin import queries
from admin.notices import facts, preferences
from admin.notices.catalogue import CATALOGUE, EMAIL, INAPP, SMS
from admin.notices.mail import Mail, Mailer, Undeliverable
from admin.notices.service import pushed
from admin.notices.sms import SmsProvider
from admin.notices.words import Words
from admin.ports import OutboundPort
from admin.queries import Row
from engine.clock import NS_PER_S, Clock, TimerHandle
from engine.errors import Unavailable
from engine.store.database import Store, Tx
from engine.store.market_tables import notification_preferences, notifications
from engine.store.tables import users

BATCH = 8
LEASE_MS = 180_000
MOST_ATTEMPTS = 8
_FIRST_PAUSE_MS = 60_000
_LONGEST_PAUSE_MS = 6 * 3_600_000
_STOP_TIMEOUT_S = 5.0

_log = structlog.get_logger(__name__)
_N = notifications.c

Secrets = Mapping[str, Callable[[Tx, str], Awaitable[dict[str, str]]]]
"""By type: what only the mail itself may carry, made (for a user) when it is sent."""


def pause_ms(attempts: int) -> int:
    """How long after the n-th attempt the next is made: 1, 4, 16, 64 minutes, then 4 to 6 hours."""
    return min(_FIRST_PAUSE_MS << 2 * (attempts - 1), _LONGEST_PAUSE_MS)


@dataclass(frozen=True)
class _Letter:
    """A claimed row with its reader."""

    row: Row
    user: Row
    values: dict[str, Any]


class Delivery:
    """`start`, then `stop`. `poll_s`: how long what nobody announced waits at most."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        words: Words,
        mailer: Mailer,
        sms: SmsProvider,
        outbound: OutboundPort,
        secrets: Secrets,
        poll_s: float = 5.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._words = words
        self._mailer = mailer
        self._sms = sms
        self._outbound = outbound
        self._secrets = secrets
        self._poll_ns = round(poll_s * NS_PER_S)
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._stopped = True

    def start(self) -> None:
        self._stopped = False
        self.wake()

    def wake(self) -> None:
        """Something is due; before `start` and after `stop` it stays where it is."""
        if self._stopped:
            return
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Let what is being sent end, for a moment; what is cut off is sent again later."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_STOP_TIMEOUT_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            while self._again and not self._stopped:
                self._again = False
                if await self.send_due():
                    self._again = True
        except Unavailable:
            _log.warning("notices.store_unavailable")
        except Exception:
            _log.exception("notices.failed")
        if not self._stopped:
            self._timer = self._clock.call_at(self._clock.now_ns() + self._poll_ns, self.wake)

    async def send_due(self) -> int:
        """Send one batch of what is due now; how many rows it had.

        Raises `Unavailable`, and then what was claimed comes back by itself.
        """
        letters = await self._claim()
        sending = (self._send(letter) for letter in letters)
        for outcome in await asyncio.gather(*sending, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        return len(letters)

    async def _claim(self) -> list[_Letter]:
        now_ms = self._clock.wall_ms()
        due = _N.due_at_ms <= now_ms
        async with self._store.reading() as tx:
            ids = (
                await tx.scalars(sa.select(_N.id).where(due).order_by(_N.due_at_ms).limit(BATCH))
            ).all()
        if not ids:
            return []
        async with self._store.transaction() as tx:
            claimed = await tx.execute(
                sa.update(notifications)
                .where(_N.id.in_(ids), due)
                .values(due_at_ms=now_ms + LEASE_MS, attempts=_N.attempts + 1)
                .returning(*notifications.c)
            )
            return await self._letters(tx, claimed.all())

    async def _letters(self, tx: Tx, rows: Any) -> list[_Letter]:
        muted = notification_preferences.c.muted
        query = (
            sa.select(users, muted)
            .select_from(users.outerjoin(notification_preferences))
            .where(users.c.id.in_({row.user_id for row in rows}))
        )
        readers = {user.id: user for user in await queries.rows(tx, query)}
        known = await facts.of(tx, ((row.subject_type, row.subject_id) for row in rows))
        return [
            _Letter(
                row,
                readers[row.user_id],
                values(self._words, row, readers[row.user_id], known.get(row.subject_id, {})),
            )
            for row in rows
        ]

    async def _send(self, letter: _Letter) -> None:
        channels = dict(letter.row.channels)
        for channel, state in letter.row.channels.items():
            if state == "scheduled":
                channels[channel] = await self._outcome(letter, channel)
        await self._note(letter.row, channels)

    async def _outcome(self, letter: _Letter, channel: str) -> str:
        """The channel's new state."""
        if not _wants(letter, channel):
            return "skipped"
        try:
            await self._by[channel](self, letter)
        except Undeliverable as error:
            _log.warning("notice.refused", id=letter.row.id, channel=channel, reason=str(error))
            if error.bounced:
                await self._note_bounce(letter.user.id)
            return "failed"
        except Exception as error:
            final = letter.row.attempts >= MOST_ATTEMPTS
            _log.warning(
                "notice.given_up" if final else "notice.not_sent",
                id=letter.row.id,
                channel=channel,
                attempt=letter.row.attempts,
                error=f"{type(error).__name__}: {error}"[:200],
            )
            return "failed" if final else "scheduled"
        return "sent"

    async def _mail(self, letter: _Letter) -> None:
        row, locale = letter.row, letter.user.locale
        all_values = letter.values | await self._secret(row)
        await self._mailer.send(
            Mail(
                key=row.id,
                to=letter.user.email,
                subject=self._words.subject(row.type, locale, all_values),
                text=self._words.text(row.type, locale, all_values),
            )
        )

    async def _secret(self, row: Row) -> dict[str, str]:
        make = self._secrets.get(row.type)
        if make is None:
            return {}
        async with self._store.transaction() as tx:
            return await make(tx, row.user_id)

    async def _text_message(self, letter: _Letter) -> None:
        row = letter.row
        subject = self._words.subject(row.type, letter.user.locale, letter.values)
        await self._sms.send(letter.user.phone, f"{subject}\n{letter.values['link']}")

    async def _push(self, letter: _Letter) -> None:
        told = pushed(letter.row._mapping)
        await self._outbound.to_user(letter.user.id, "notification.created", told)

    _by: Mapping[str, Callable[[Delivery, _Letter], Awaitable[None]]] = {
        EMAIL: _mail,
        SMS: _text_message,
        INAPP: _push,
    }

    async def _note(self, row: Row, channels: Mapping[str, str]) -> None:
        left = "scheduled" in channels.values()
        due_at_ms = self._clock.wall_ms() + pause_ms(row.attempts) if left else None
        async with self._store.transaction() as tx:
            await tx.execute(
                sa.update(notifications)
                # Unless the lease was over and somebody else has it now.
                .where(_N.id == row.id, _N.attempts == row.attempts)
                .values(channels=channels, due_at_ms=due_at_ms)
            )

    async def _note_bounce(self, user_id: str) -> None:
        async with self._store.transaction() as tx:
            await tx.execute(
                sa.update(users)
                .where(users.c.id == user_id)
                .values(email_bounced_at_ms=self._clock.wall_ms())
            )


def values(words: Words, row: Row, reader: Row, known: facts.Facts) -> dict[str, Any]:
    """What a template may use, but for secrets."""
    return {
        **known,
        # Whoever registered an address chose the name: it is not for a stranger's mailbox.
        "name": reader.display_name if reader.email_verified_at_ms is not None else "",
        "reader_id": reader.id,
        "link": words.link(row.subject_type, row.subject_id),
        "data": row.data,
    }


def _wants(letter: _Letter, channel: str) -> bool:
    """Whether the reader can and will hear of it this way, now that it is sent."""
    user, type_ = letter.user, letter.row.type
    notice = CATALOGUE.get(type_)
    if user.state == "erased" or preferences.is_muted(user.muted or (), type_, channel):
        return False
    if channel == SMS and not user.phone:
        return False
    if notice is not None and notice.security:
        return True
    if channel == EMAIL and (user.email_verified_at_ms is None or user.email_bounced_at_ms):
        return False
    return bool(user.state == "active")
