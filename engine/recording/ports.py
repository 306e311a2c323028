"""What sessions need of recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class RecordingPort(Protocol):
    @property
    def enabled(self) -> bool: ...

    async def start(self, session_id: str, on_end: Callable[[str], None]) -> None:
        """Tap the session and write. `on_end(reason)` is called once on the loop if it ends by
        itself: disk_full, too_large, too_long, too_slow, failed. Returns or raises within seconds,
        whatever the disk does. Raises `Unavailable` recording_unavailable.
        """
        ...

    def cut(self, session_id: str) -> None:
        """Record nothing from this instant on, also of what is just about to start; the files
        are closed by `stop`. Unknown sessions are ignored.
        """
        ...

    async def stop(self, session_id: str) -> None:
        """As `cut`, and the files are closed beside; unknown sessions are ignored."""
        ...


class NoRecordings:
    """Recording is switched off: who asks `enabled` first never comes to `start`."""

    enabled = False

    async def start(self, session_id: str, on_end: Callable[[str], None]) -> None:
        raise RuntimeError("recording is switched off")

    def cut(self, session_id: str) -> None:
        pass

    async def stop(self, session_id: str) -> None:
        pass
