"""Sending e-mail: over SMTP (RFC 5321), or into the log where there is no server."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Literal, Protocol

import aiosmtplib
import structlog

from engine.clock import Clock

_log = structlog.get_logger(__name__)

_KEPT = 100
_MOST_SUBJECT_CHARACTERS = 200


class Undeliverable(Exception):
    """The mail will never be taken; `bounced`: because of its recipient's address."""

    def __init__(self, reason: str, *, bounced: bool = False) -> None:
        super().__init__(reason)
        self.bounced = bounced


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail in plain text; `key` is the same whenever the same mail is tried again."""

    key: str
    to: str
    subject: str
    text: str = field(repr=False)


class Mailer(Protocol):
    async def send(self, mail: Mail) -> None:
        """Returns once a server has taken the mail over.

        Raises `Undeliverable` if it never will; whatever else it raises may be tried again.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SmtpSettings:
    """`security`: ``starttls`` (demanded, not offered), ``tls`` from the first byte, ``none``.

    `timeout_s` is for the whole of one delivery.
    """

    host: str
    port: int
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    security: Literal["starttls", "tls", "none"] = "starttls"
    timeout_s: float = 30.0


class SmtpMailer:
    """A connection for each mail: a server that hangs or hangs up costs that one only."""

    def __init__(self, settings: SmtpSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def send(self, mail: Mail) -> None:
        settings = self._settings
        message = compose(mail, settings.sender, self._clock.wall_ms())
        try:
            async with asyncio.timeout(settings.timeout_s):
                await aiosmtplib.send(
                    message,
                    sender=parseaddr(settings.sender)[1],
                    recipients=[mail.to],
                    hostname=settings.host,
                    port=settings.port,
                    username=settings.user or None,
                    password=settings.password or None,
                    use_tls=settings.security == "tls",
                    start_tls=settings.security == "starttls",
                    timeout=settings.timeout_s,
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            if all(_is_permanent(code) for code in codes):
                raise Undeliverable(f"refused: {codes}", bounced=True) from error
            raise
        except aiosmtplib.SMTPDataError as error:
            if _is_permanent(error.code):
                raise Undeliverable(f"refused: {error.code}") from error
            raise


def _is_permanent(code: int) -> bool:
    return 500 <= code < 600  # RFC 5321 section 4.2.1


class LogMailer:
    """Writes mails to the log and keeps the last ones: for demonstrations and development."""

    def __init__(self) -> None:
        self.sent: deque[Mail] = deque(maxlen=_KEPT)

    async def send(self, mail: Mail) -> None:
        self.sent.append(mail)
        _log.info("mail", to=mail.to, subject=one_line(mail.subject), text=mail.text)


def compose(mail: Mail, sender: str, wall_ms: int) -> EmailMessage:
    """The message (RFC 5322). A second delivery of it has the same Message-ID.

    Raises `Undeliverable` for an address that no header can hold.
    """
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = sender
        message["To"] = mail.to
    except (ValueError, IndexError) as error:
        raise Undeliverable("not an address", bounced=True) from error
    message["Subject"] = one_line(mail.subject)
    message["Date"] = format_datetime(datetime.fromtimestamp(wall_ms // 1000, UTC))
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    message["Message-ID"] = f"<{mail.key}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
    message.set_content(mail.text)
    return message


def one_line(text: str) -> str:
    """Without anything that could end a header line or hide in one."""
    printable = "".join(c if c.isprintable() or c == "\u200c" else " " for c in text)
    return " ".join(printable.split())[:_MOST_SUBJECT_CHARACTERS]
