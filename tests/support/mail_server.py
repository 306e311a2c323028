"""A real SMTP server on this machine that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class MailServer:
    """`answer`: of the next RCPT or DATA, by command; ``hang up`` cuts the connection, ``wait``
    says nothing until `release` is set."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.answers: dict[str, list[str]] = {"RCPT": [], "DATA": []}
        self.asked: list[str] = []
        self.release = asyncio.Event()
        self.waiting = asyncio.Event()
        self.port = 0
        self._transports: list[Any] = []

    async def handle_RCPT(
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        answer = await self._answer("RCPT", server)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        answer = await self._answer("DATA", server)
        if answer.startswith("250"):
            self.envelopes.append(envelope)
            self.taken.append(message_from_bytes(content, policy=policy.default))  # type: ignore[arg-type]
        return answer

    async def _answer(self, command: str, server: SMTP) -> str:
        self.asked.append(command)
        queue = self.answers[command]
        answer = queue.pop(0) if queue else "250 OK"
        if answer == "hang up":
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]
            return "421 gone"
        if answer == "wait":
            self.waiting.set()
            await self.release.wait()
            return "250 OK"
        return answer

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[MailServer]:
        loop = asyncio.get_running_loop()

        def protocol() -> SMTP:
            made = SMTP(self, hostname="mail.test", loop=loop)
            self._transports.append(made)
            return made

        server = await loop.create_server(protocol, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.release.set()
            server.close()
            for made in self._transports:
                if made.transport is not None:
                    made.transport.abort()
            await asyncio.sleep(0)
