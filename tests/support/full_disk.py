"""A disk without space."""

from __future__ import annotations

import shutil

import pytest


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the disk says that nothing is free."""
    usage = shutil.disk_usage("/")
    full = usage._replace(used=usage.total, free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
