"""Server-rendered pages: one template environment, one look, one strict policy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jinja2
from aiohttp import web

from admin.http.security import PAGE_CSP
from admin.http.times import money_text

_HERE = Path(__file__).parent
STATIC = _HERE / "static"

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def duration_text(seconds: float) -> str:
    """``1:05:09`` or ``5:09``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def zone(name: str) -> ZoneInfo:
    """The IANA zone, UTC if this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def at_text(at: int | str | None, zone_name: str = "UTC", form: str = "%d %b %Y, %H:%M:%S") -> str:
    """UTC milliseconds or RFC 3339 as a wall time for people; an en dash for none."""
    if at is None:
        return "\N{EN DASH}"
    moment = datetime.fromisoformat(at) if isinstance(at, str) else _moment(at)
    return moment.astimezone(zone(zone_name)).strftime(form)


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


_environment.filters["money"] = lambda money: money_text(money.amount, money.currency)
_environment.filters["duration"] = duration_text
_environment.filters["at"] = at_text


def page(
    template: str, status: int = 200, *, referrer: str = "no-referrer", **values: Any
) -> web.Response:
    """Render a template; everything in it is escaped.

    `referrer`: under ``no-referrer`` browsers post forms with ``Origin: null``, so pages whose
    forms are checked for their origin need ``same-origin``.
    """
    return web.Response(
        status=status,
        text=_environment.get_template(template).render(values),
        content_type="text/html",
        headers={"Content-Security-Policy": PAGE_CSP, "Referrer-Policy": referrer},
    )
