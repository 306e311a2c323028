"""GET /metrics in the Prometheus text format.

Latency is counted as requests pass; the rest is read when somebody asks: money and minutes from the
store, so that they are right after a restart too, and counters of media from the worker.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import prometheus_client as prometheus
import sqlalchemy as sa
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from admin.http.problems import Handler
from admin.operations.quality import quality_families
from admin.ports import AdminDeps, MediaPort
from admin.queries import pairs, total
from engine.auditing import Auditing
from engine.clock import NS_PER_S
from engine.errors import Unauthorized
from engine.session.measures import Measures
from engine.store.database import Tx
from engine.store.tables import accounts, entries, orders, sessions, transfers

_HERE = "sessions_"
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass
class _Figures:
    """One look at the store."""

    sessions: dict[str, int] = field(default_factory=dict)
    served_minutes: float = 0.0
    captured: dict[str, int] = field(default_factory=dict)
    fees: dict[str, int] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)
    ledger_sum: dict[str, int] = field(default_factory=dict)


class _Snapshot(Collector):
    """What the last look found, as metric families."""

    def __init__(
        self,
        figures: _Figures,
        auditing: Auditing,
        engine: Mapping[str, int],
        media: MediaPort,
        quality: Measures,
    ) -> None:
        self._figures = figures
        self._auditing = auditing
        self._engine = engine
        self._media, self._kind = media.counters(), media.media
        self._quality = quality

    def collect(self) -> Iterator[Metric]:
        f = self._figures
        yield _gauge("talktime_sessions", "Sessions by state.", "state", f.sessions)
        yield _gauge("talktime_orders", "Orders by state.", "state", f.orders)
        served = CounterMetricFamily("talktime_served_minutes", "Minutes of metered service.")
        served.add_metric([], f.served_minutes)
        yield served
        yield _counter("talktime_captured_minor", "Paid by customers.", "currency", f.captured)
        yield _counter("talktime_fees_minor", "Kept by the platform.", "currency", f.fees)
        text = "Sum over all accounts; anything but 0 is a defect."
        yield _gauge("talktime_ledger_sum_minor", text, "currency", f.ledger_sum)
        yield from _audited(self._auditing)
        here = {k.removeprefix(_HERE): n for k, n in self._engine.items() if k.startswith(_HERE)}
        yield _gauge("talktime_node_sessions", "Sessions of this node by state.", "state", here)
        counters = {k: n for k, n in self._engine.items() if not k.startswith(_HERE)}
        yield _counter("talktime_engine", "Counters of the session service.", "counter", counters)
        text = "Counters of the media worker."
        yield _counter("talktime_media", text, "counter", self._media)
        yield _gauge("talktime_media_kind", "What moves the packets.", "kind", {self._kind: 1})
        yield from quality_families(self._quality)


def _audited(auditing: Auditing) -> Iterator[Metric]:
    """What the last audit of this process found; only its failures before there was one."""
    failures = CounterMetricFamily("talktime_audit_failures", "Audits that came to no end.")
    failures.add_metric([], auditing.failures)
    yield failures
    report = auditing.last
    if report is None:
        return
    differences = {check.name: check.count for check in report.checks}
    text = "Broken promises by check; anything but 0 is a defect."
    yield _gauge("talktime_audit_differences", text, "check", differences)
    examined = {check.name: check.examined for check in report.checks}
    yield _gauge("talktime_audit_examined", "Rows that a check looked at.", "check", examined)
    text = "When the last audit ended, in seconds since 1970."
    yield GaugeMetricFamily("talktime_audit_timestamp_seconds", text, report.at_ms / 1_000)
    took_s = auditing.took_ns / NS_PER_S
    yield GaugeMetricFamily("talktime_audit_seconds", "How long it took.", took_s)


def _gauge(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family


class Metrics:
    """The metrics of one application."""

    def __init__(self, deps: AdminDeps) -> None:
        self._deps = deps
        self._registry = prometheus.CollectorRegistry()
        self._latency = prometheus.Histogram(
            "talktime_http_request_seconds",
            "Time to answer HTTP requests.",
            ["method", "route", "status"],
            buckets=_BUCKETS_S,
            registry=self._registry,
        )

    def middleware(self) -> Middleware:
        @web.middleware
        async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
            begun = time.perf_counter()
            status = "500"
            try:
                response = await handler(request)
                status = str(response.status)
            except web.HTTPException as redirect:
                status = str(redirect.status)
                raise
            finally:
                elapsed_s = time.perf_counter() - begun
                labels = (_method(request), _route(request), status)
                self._latency.labels(*labels).observe(elapsed_s)
            return response

        return measure

    async def page(self, request: web.Request) -> web.Response:
        """The exposition. Raises `Unauthorized("token_invalid")` if a token is configured."""
        self._check_token(request)
        async with self._deps.store.reading() as tx:
            figures = await _figures(tx)
        deps = self._deps
        sessions = deps.sessions
        snapshot = _Snapshot(
            figures, deps.auditing, sessions.metrics(), deps.media, sessions.quality()
        )
        registry = prometheus.CollectorRegistry()
        registry.register(snapshot)
        text = prometheus.generate_latest(self._registry) + prometheus.generate_latest(registry)
        return web.Response(body=text, headers={hdrs.CONTENT_TYPE: prometheus.CONTENT_TYPE_LATEST})

    def _check_token(self, request: web.Request) -> None:
        wanted = self._deps.settings.metrics_token
        given = request.headers.get(hdrs.AUTHORIZATION, "").removeprefix("Bearer ")
        if wanted and not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
            raise Unauthorized("token_invalid", "The metrics ask for their own token.")


def _method(request: web.Request) -> str:
    """Known methods only: a label must not grow with what clients make up."""
    return request.method if request.method in hdrs.METH_ALL else "other"


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


async def _figures(tx: Tx) -> _Figures:
    s, t = sessions.c, transfers.c
    given_back = sa.case((t.kind == "reverse", -1), else_=1)
    paid = t.kind.in_(("capture", "reverse"))
    served = await tx.scalar(sa.select(total(s.served_ns)))
    return _Figures(
        sessions=await pairs(tx, sa.select(s.state, sa.func.count()).group_by(s.state)),
        served_minutes=(served or 0) / 60e9,
        captured=await pairs(
            tx,
            sa.select(t.currency, total(given_back * t.amount_minor))
            .where(paid)
            .group_by(t.currency),
        ),
        fees=await pairs(
            tx,
            sa.select(t.currency, total(given_back * t.fee_minor)).where(paid).group_by(t.currency),
        ),
        orders=await pairs(tx, sa.select(orders.c.state, sa.func.count()).group_by(orders.c.state)),
        ledger_sum=await pairs(
            tx,
            sa.select(accounts.c.currency, total(entries.c.amount_minor))
            .join_from(entries, accounts, accounts.c.id == entries.c.account_id)
            .group_by(accounts.c.currency),
        ),
    )
