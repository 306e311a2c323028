"""Sending text messages: one interface, and a provider that writes them to the log."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)

_KEPT = 100


class SmsProvider(Protocol):
    async def send(self, phone: str, text: str) -> None:
        """`phone` in E.164. Raises as `admin.notices.mail.Mailer` does."""
        ...


class LogSms:
    """Keeps the last messages, as (phone, text)."""

    def __init__(self) -> None:
        self.sent: deque[tuple[str, str]] = deque(maxlen=_KEPT)

    async def send(self, phone: str, text: str) -> None:
        self.sent.append((phone, text))
        _log.info("sms", to=phone, text=text)
