"""Which files of the folder belong to a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Final

COPY_PREFIX: Final = ".copy-"
"""Of what is copied into a whole file; `<recording's id>-<number>` begins every name but for it."""


def held(folder: Path) -> list[str]:
    """Ids of the recordings that have files there, whole or not. Raises `OSError`."""
    if not folder.is_dir():
        return []
    names = (path.name.removeprefix(COPY_PREFIX) for path in folder.iterdir())
    return sorted({name.partition("-")[0] for name in names if "-" in name})


def delete(folder: Path, recording_id: str) -> None:
    """All files of a recording; those that are gone already are fine. Raises `OSError`."""
    for path in [*folder.glob(f"{recording_id}-*"), *folder.glob(f"{COPY_PREFIX}{recording_id}-*")]:
        path.unlink(missing_ok=True)
