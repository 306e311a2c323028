"""Who asked for a recording, and who agreed. Pure; a part of the session's machine.

    off, stopped, failed --ask--> requested --consent--> recording --stop--> stopped
                                  requested --decline, withdraw--> off       --fault--> failed

Both parties must have agreed, and either ends it at any time.
"""

from __future__ import annotations

import enum
from typing import Final

from engine.errors import Conflict
from engine.media.interface import Role

# A client can produce changes at will, and each is kept as evidence.
MAX_CHANGES: Final = 60
ENDED: Final = "ended"
INTERRUPTED: Final = "interrupted"


class Recorded(enum.StrEnum):
    OFF = "off"
    REQUESTED = "requested"
    RECORDING = "recording"
    STOPPED = "stopped"
    FAILED = "failed"


class Consent:
    """Each method is True if something changed. Raises `Conflict` wrong_state."""

    def __init__(self) -> None:
        self.state = Recorded.OFF
        self.by: Role | None = None
        self.reason = ""
        self._changes = 0

    def ask(self, role: Role) -> bool:
        """Asking for what the other party has asked for is consent."""
        if self.state is Recorded.REQUESTED:
            return self.by is not role and self._become(Recorded.RECORDING, role)
        if self.state is Recorded.RECORDING:
            return False
        return self._become(Recorded.REQUESTED, role)

    def answer(self, role: Role, *, consent: bool) -> bool:
        if self.state is not Recorded.REQUESTED or self.by is role:
            return False  # taken back in the meantime
        if consent:
            return self._become(Recorded.RECORDING, role)
        return self._become(Recorded.OFF, role, "declined")

    def stop(self, role: Role) -> bool:
        """Also takes back a request, or refuses one."""
        if self.state is Recorded.REQUESTED:
            reason = "withdrawn" if self.by is role else "declined"
            return self._become(Recorded.OFF, role, reason)
        return self.state is Recorded.RECORDING and self._become(Recorded.STOPPED, role)

    def fail(self, reason: str) -> bool:
        """The recorder gave up."""
        return self.state is Recorded.RECORDING and self._become(Recorded.FAILED, None, reason)

    def end(self) -> bool:
        """The session ends, and with it what is recorded of it."""
        return self.state is Recorded.RECORDING and self._become(Recorded.STOPPED, None, ENDED)

    def interrupted(self) -> None:
        """It was recorded when its engine died. Nobody has agreed to anything since."""
        self._become(Recorded.FAILED, None, INTERRUPTED)

    def _become(self, state: Recorded, by: Role | None, reason: str = "") -> bool:
        asks = state is Recorded.REQUESTED
        if asks and self._changes >= MAX_CHANGES:
            raise Conflict("wrong_state", "This was asked too often.")
        self._changes += 1
        self.state, self.by, self.reason = state, by, reason
        return True
