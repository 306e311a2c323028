"""The composition root: builds every part from the settings, starts and stops them in order.

    store -> ledger -> media worker -> sessions -> chat, presence, signalling -> REST and pages

Nothing opens at import and no part looks another one up: whoever needs something is given it here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import structlog
from aiohttp import web

from admin import demo
from admin.accounts.links import secret_links
from admin.app import build_api
from admin.catalogue import categories, indexing
from admin.due import DUE, PAYMENTS, PAYMENTS_EVERY_S, RETENTION, RETENTION_EVERY_S
from admin.files.s3 import Bucket, S3Storage
from admin.files.storage import LocalFolder, Storage
from admin.live.ice import IceServers
from admin.market.preset import Preset
from admin.market.timers import Timers
from admin.notices.delivery import Delivery
from admin.notices.mail import LogMailer, Mailer, SmtpMailer, SmtpSettings
from admin.notices.sms import LogSms
from admin.notices.words import Words
from admin.payments.iyzico_provider import IyzicoProvider
from admin.payments.provider import PaymentProvider
from admin.payments.stripe_provider import StripeProvider
from admin.payments.test_provider import TestProvider
from admin.ports import AdminDeps, AdminSettings
from admin.presets import PRESETS
from admin.receipts.links import ReceiptLinks
from engine.audit import AUDIT_PATIENCE_S
from engine.auditing import Auditing
from engine.chat.service import ChatService
from engine.clock import Clock, SystemClock
from engine.collector import Collector
from engine.config import Settings
from engine.errors import TalktimeError
from engine.ids import new_id
from engine.media.interface import MediaWorker
from engine.media.pool import WorkerPool
from engine.media.worker import Worker, WorkerConfig, new_worker
from engine.metering.ledger import Ledger
from engine.metering.policy import Policy
from engine.pages import add_client_pages
from engine.recording.service import Recordings, RecordingSettings
from engine.session.grants import StoreGrants
from engine.session.service import SessionService
from engine.signaling.presence import Presence
from engine.signaling.schema import events_document
from engine.signaling.server import build_signaling
from engine.signaling.settings import SignalingSettings
from engine.signaling.standing import Standing
from engine.signaling.tokens import TokenService
from engine.store.database import Store

logger = structlog.stdlib.get_logger(__name__)


class Application:
    """One engine process. `start` it, `stop` it; a stopped one is not started again."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.store = Store(settings.store, self.clock)
        self.ledger = Ledger(self.clock)
        self.files = _storage(settings)
        self._workers = _workers(settings)
        self.media: MediaWorker = _together(self._workers)
        self._audit_store = Store(settings.store, self.clock, patience_s=AUDIT_PATIENCE_S)
        self.auditing = Auditing(self._audit_store, self.clock, settings.audit_every_s)
        self.preset = _preset(settings)
        self.policy = Policy(commission_bps=self.preset.terms.commission_bps)
        self._keys = _secrets(settings)
        self.recordings = Recordings(
            self.store, self.clock, self.media, _recording_settings(settings)
        )
        self.sessions = SessionService(
            store=self.store,
            ledger=self.ledger,
            media=self.media,
            clock=self.clock,
            grants=StoreGrants(),
            node_id=_kept(settings.data_dir / "node", lambda: new_id("node")),
            recordings=self.recordings,
            receipt_url=ReceiptLinks(self._keys[0], self.clock).session_url,
            ice_servers=IceServers(
                settings.turn_urls, settings.turn_secret.get_secret_value(), self.clock
            ),
        )
        signaling_settings = SignalingSettings(cors_origins=tuple(settings.cors_origins))
        self.chat = ChatService(self.store, self.clock, self.sessions)
        self.presence = Presence(self.store, self.clock, signaling_settings)
        self.tokens = TokenService(self._keys, self.clock)
        self.signaling = build_signaling(
            sessions=self.sessions,
            chat=self.chat,
            presence=self.presence,
            tokens=self.tokens,
            standing=Standing(self.store),
            settings=signaling_settings,
            clock=self.clock,
        )
        self.sessions.connect(self.signaling.outbound, self.presence)
        self.providers: dict[str, PaymentProvider] = {}
        self.mailer: Mailer = _mailer(settings, self.clock)
        self._delivery: Delivery | None = None
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._timers: list[Timers] = []

    async def start(self) -> None:
        """Migrate, recover what an earlier run left, and serve."""
        listener = _listen(self.settings)
        try:
            self.url = self.settings.public_url or _url(listener)
            await self.store.migrate()
            await categories.seed(self.store, self.preset)
            if self.settings.demo:
                await demo.load(
                    self.store,
                    self.ledger,
                    self.clock,
                    self.settings.currency,
                    preset=self.preset,
                    storage=self.files,
                )
            await indexing.index_missing(self.store)
            await self.recordings.open()
            await self.media.start()
            await self.sessions.start()
            await self.signaling.start()
            words = Words(self.preset, self.url)
            self._delivery = self._make_delivery(words)
            deps = self._admin_deps(words, self._delivery)
            self._timers = [
                Timers(deps, DUE),
                Timers(deps, RETENTION, every_s=RETENTION_EVERY_S),
                Timers(deps, PAYMENTS, every_s=PAYMENTS_EVERY_S),
            ]
            self._runner = web.AppRunner(self._web_app(deps), access_log=None, shutdown_timeout=2)
            await self._runner.setup()
            await web.SockSite(self._runner, listener).start()
            self.auditing.start()
            self._delivery.start()
            for timers in self._timers:
                timers.start()
        except BaseException:
            listener.close()
            await self.stop()
            raise
        ports = [worker.port for worker in self._workers]
        logger.info("serving", url=self.url, media=self.media.media, media_ports=ports)

    async def stop(self) -> None:
        """Drain: no new calls, running ones are told and settled; then close in reverse order."""
        for timers in self._timers:
            await timers.stop()
        await self.sessions.drain(self.settings.drain_s)
        await self.signaling.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._delivery is not None:
            await self._delivery.stop()
        for provider in self.providers.values():
            await provider.close()
        await self.sessions.stop()
        await self.recordings.close()
        await self.auditing.stop()
        await self.media.stop()
        await self.files.close()
        await self._audit_store.close()
        await self.store.close()

    def _web_app(self, deps: AdminDeps) -> web.Application:
        app = build_api(deps)
        self.signaling.attach(app)
        add_client_pages(app)
        return app

    def _make_delivery(self, words: Words) -> Delivery:
        return Delivery(
            self.store,
            self.clock,
            words=words,
            mailer=self.mailer,
            sms=LogSms(),
            outbound=self.signaling.outbound,
            secrets=secret_links(words, self.clock),
        )

    def _admin_deps(self, words: Words, delivery: Delivery) -> AdminDeps:
        self.providers = self._make_providers()
        return AdminDeps(
            store=self.store,
            clock=self.clock,
            ledger=self.ledger,
            auditing=self.auditing,
            tokens=self.tokens,
            sessions=self.sessions,
            presence=self.presence,
            chat=self.chat,
            media=self.media,
            recordings=self.recordings,
            outbound=self.signaling.outbound,
            sockets=self.signaling,
            delivery=delivery,
            words=words,
            files=self.files,
            settings=self._admin_settings(),
            providers=self.providers,
            events_document=events_document(),
        )

    def _admin_settings(self) -> AdminSettings:
        return AdminSettings(
            public_url=self.url,
            secret=self._keys[0],
            policy=self.policy,
            preset=self.preset,
            currency=self.settings.currency,
            cors_origins=tuple(self.settings.cors_origins),
            turn_urls=tuple(self.settings.turn_urls),
            turn_secret=self.settings.turn_secret.get_secret_value(),
            files_quota_bytes=self.settings.files_quota_mb * 1_000_000,
            recording_kept_days=self.settings.recording_kept_days,
            notifications_kept_days=self.settings.notifications_kept_days,
        )

    def _make_providers(self) -> dict[str, PaymentProvider]:
        """Those that have keys, and without any the test provider of the demo."""
        found: list[PaymentProvider] = []
        settings = self.settings
        if settings.stripe_secret_key.get_secret_value():
            found.append(
                StripeProvider(
                    secret_key=settings.stripe_secret_key.get_secret_value(),
                    webhook_secret=settings.stripe_webhook_secret.get_secret_value(),
                )
            )
        if settings.iyzico_api_key.get_secret_value():
            found.append(
                IyzicoProvider(
                    api_key=settings.iyzico_api_key.get_secret_value(),
                    secret_key=settings.iyzico_secret_key.get_secret_value(),
                    public_url=self.url,
                    host=settings.iyzico_host,
                )
            )
        if settings.demo and not found:
            secret = self._keys[0]
            found.append(TestProvider(secret=secret, public_url=self.url, clock=self.clock))
        return {provider.name: provider for provider in found}


async def serve(settings: Settings) -> int:
    """Run until SIGINT or SIGTERM, then drain; the process's exit status."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, _on_signal, stopping)
    try:
        app = Application(settings)
        await app.start()
    except (OSError, TalktimeError) as error:
        click.echo(f"cannot start: {error}", err=True)
        return 1
    _print_links(app)
    collector = Collector(app.clock)
    collector.start()
    try:
        await stopping.wait()
        click.echo("\nstopping: running sessions are told and settled (again: at once)")
    finally:
        collector.stop()
        await app.stop()
    click.echo("stopped clean")
    return 0


def _on_signal(stopping: asyncio.Event) -> None:
    if stopping.is_set():  # asked twice: what is live settles at the next start
        os._exit(130)
    stopping.set()


def _print_links(app: Application) -> None:
    click.echo(f"\nTalktime listens on {app.url}\n")
    if app.settings.demo:
        click.echo(f"  store     {app.url}/store?demo")
        click.echo(f"  customer  {app.url}/?demo=customer")
        click.echo(f"  expert    {app.url}/?demo=expert")
        click.echo(f"  staff     {app.url}/admin  ({demo.STAFF_EMAIL}, {demo.PASSWORD})\n")
    click.echo("Ctrl-C stops it.")


def _mailer(settings: Settings, clock: Clock) -> Mailer:
    if not settings.smtp_host:
        return LogMailer()
    smtp = SmtpSettings(
        host=settings.smtp_host,
        port=settings.smtp_port,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value(),
        security=settings.smtp_security,
        sender=settings.mail_sender,
    )
    return SmtpMailer(smtp, clock)


def _recording_settings(settings: Settings) -> RecordingSettings:
    return RecordingSettings(
        enabled=settings.recordings,
        folder=settings.data_dir / "recordings",
        max_minutes=settings.recording_max_minutes,
        max_mb=settings.recording_max_mb,
        min_free_mb=settings.recording_min_free_mb,
    )


def _storage(settings: Settings) -> Storage:
    if not settings.files_bucket:
        return LocalFolder(settings.data_dir / "files")
    bucket = Bucket(
        name=settings.files_bucket,
        region=settings.files_region,
        endpoint=settings.files_endpoint,
        access_key_id=settings.files_access_key_id,
        secret_access_key=settings.files_secret_access_key.get_secret_value(),
    )
    return S3Storage(bucket)


def _preset(settings: Settings) -> Preset:
    """The marketplace that was asked for, with the operator's own commission if there is one."""
    preset = PRESETS[settings.preset]
    if settings.commission_bps is None:
        return preset
    terms = msgspec.structs.replace(preset.terms, commission_bps=settings.commission_bps)
    return dataclasses.replace(preset, terms=terms)


def _workers(settings: Settings) -> list[Worker]:
    return [
        new_worker(_worker_config(settings, number), settings.media)
        for number in range(settings.media_workers)
    ]


def _together(workers: list[Worker]) -> MediaWorker:
    return workers[0] if len(workers) == 1 else WorkerPool(workers)


def _worker_config(settings: Settings, number: int) -> WorkerConfig:
    return WorkerConfig(
        host=settings.media_host,
        port=settings.media_port and settings.media_port + number,
        advertised=tuple(settings.media_addresses),
        advertised_port=settings.media_advertised_port and settings.media_advertised_port + number,
        tcp=settings.media_tcp,
        codecs=("opus", "red", *settings.media_codecs),
        start_bitrate_kbps=settings.media_start_bitrate_kbps or None,
    )


def _listen(settings: Settings) -> socket.socket:
    """The HTTP socket, bound first so that its port is known to whatever needs the URL."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OSError(f"port {settings.port} of {settings.host}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _secrets(settings: Settings) -> list[str]:
    """The signing keys; without any configured, one is made once and kept beside the store."""
    if settings.secrets:
        return [secret.get_secret_value() for secret in settings.secrets]
    return [_kept(settings.data_dir / "secret", lambda: secrets.token_urlsafe(48))]


def _kept(path: Path, make: Callable[[], str]) -> str:
    """A value made at the first start and kept from then on, readable by its owner only.

    The node's name is one: after a crash the same node settles at once what it left behind.
    """
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
    return path.read_text().strip()
