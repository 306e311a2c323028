"""What may block for as long as a disk does, beside the event loop.

Not in the loop's pool of threads: there a disk that hangs would in the end hold up all who use it,
and the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def beside(work: Callable[[], T]) -> T:
    """The result of `work`, done in a daemon thread of its own. Whoever gives up waiting leaves it
    behind.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        outcome = _outcome_of(work, done)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(outcome)

    threading.Thread(target=run, name="disk", daemon=True).start()
    return await done


def _outcome_of(work: Callable[[], T], done: asyncio.Future[T]) -> Callable[[], None]:
    try:
        result = work()
    except Exception as error:
        failure = error
        return lambda: None if done.done() else done.set_exception(failure)
    return lambda: None if done.done() else done.set_result(result)
