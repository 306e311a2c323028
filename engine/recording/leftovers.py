"""Files that a killed process did not get to close."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from pathlib import Path
from typing import Final

import structlog

from engine.recording import remux
from engine.recording.container import PART_SUFFIX
from engine.recording.disk import beside
from engine.recording.kept import COPY_PREFIX

_log = structlog.get_logger(__name__)

# Copying some gigabytes takes minutes; what takes longer than this does not come to an end.
_PATIENCE_S: Final = 1200.0


async def close_off(folder: Path, recording_id: str, *, min_free_bytes: int) -> list[Path]:
    """All files of a recording under their own names: copied into whole ones as far as they can be
    read, and as they are where nothing can, or where there is no room for a copy.

    Raises `OSError`.
    """
    left = await beside(lambda: sorted(folder.glob(f"{recording_id}-*")))
    return [
        await _close_off(path, min_free_bytes) if path.suffix == PART_SUFFIX else path
        for path in left
    ]


async def _close_off(part: Path, min_free_bytes: int) -> Path:
    final = part.with_suffix("")
    # Not found by the pattern above, should this be cut off as well.
    copy = part.with_name(COPY_PREFIX + final.name)
    copied = await beside(lambda: _has_room(part, min_free_bytes)) and await _remuxed(part, copy)
    _log.warning("recording.closed_off", file=final.name, copied=copied)

    def settle() -> Path:
        if copied:
            copy.chmod(0o600)
            copy.replace(final)
            part.unlink()
        else:
            copy.unlink(missing_ok=True)
            part.rename(final)
        return final

    return await beside(settle)


def _has_room(part: Path, min_free_bytes: int) -> bool:
    return shutil.disk_usage(part.parent).free - part.stat().st_size > min_free_bytes


async def _remuxed(part: Path, copy: Path) -> bool:
    program = Path(remux.__file__)
    child = await asyncio.create_subprocess_exec(
        # Nothing beside the program may stand for a module of the same name.
        *(sys.executable, "-P", str(program), str(part), str(copy)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        return await asyncio.wait_for(child.wait(), _PATIENCE_S) == 0
    except TimeoutError:
        return False
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
