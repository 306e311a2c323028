"""What a `SessionService` is made of, and which part is handed which.

    commands, facts ─> conductor ─> journal (store) ─> media, teller (parties)
                           └─> after each effect: recorder, surroundings

Beside it: attendance and legs (devices that come and go), the quality watch, and what keeps
sessions alive across nodes: heartbeat, takeover, recovery.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.media.interface import MediaWorker
from engine.metering.ledger import Ledger
from engine.recording.ports import RecordingPort
from engine.session import effects as e
from engine.session.abandoned import Abandoned
from engine.session.archive import Archive
from engine.session.attendance import Attendance
from engine.session.conductor import Conductor
from engine.session.grants import Grant, GrantProvider
from engine.session.heartbeat import Heartbeat
from engine.session.journal import Journal
from engine.session.legs import Legs
from engine.session.ports import IceServers, ReceiptUrl, SessionSettings
from engine.session.pulse import PulseClock
from engine.session.quality_watch import QualityWatch
from engine.session.recorder import Recorder
from engine.session.recovery import Recovery
from engine.session.registry import Registry
from engine.session.runtime import Runtime
from engine.session.surroundings import Surroundings
from engine.session.takeover import Takeover
from engine.session.telling import Teller
from engine.store.database import Store


@dataclass(frozen=True, kw_only=True)
class Parts:
    registry: Registry
    teller: Teller
    legs: Legs
    archive: Archive
    conductor: Conductor
    surroundings: Surroundings
    recorder: Recorder
    attendance: Attendance
    quality: QualityWatch
    takeover: Takeover
    heartbeat: Heartbeat


def build_parts(
    *,
    store: Store,
    ledger: Ledger,
    media: MediaWorker,
    clock: PulseClock,
    grants: GrantProvider,
    node_id: str,
    settings: SessionSettings,
    ice_servers: IceServers,
    receipt_url: ReceiptUrl,
    recordings: RecordingPort,
) -> Parts:
    """Nothing runs yet; see `SessionService.start`."""
    registry = Registry(settings.ended_kept)
    teller = Teller(clock, receipt_url)
    legs = Legs(media, ice_servers)
    recovery = Recovery(store, ledger, grants, clock, node_id)

    def sharers(grant: Grant) -> int:
        return registry.sharers(grant.customer_id, grant.tariff.currency)

    conductor = Conductor(
        clock=clock,
        media=media,
        recovery=recovery,
        journal=Journal(store, ledger, clock, node_id, sharers),
        teller=teller,
        registry=registry,
        settings=settings,
    )
    surroundings = Surroundings(
        store=store, ledger=ledger, registry=registry, teller=teller, post=conductor.post
    )
    recorder = Recorder(recordings, conductor.spawn, conductor.post)
    _follow(conductor, recorder, surroundings)
    abandoned = Abandoned(
        store,
        grants,
        clock,
        node_id,
        resume_within_s=settings.resume_within_s,
        stale_after_s=settings.stale_after_s,
    )
    takeover = Takeover(
        store=store,
        clock=clock,
        media=media,
        abandoned=abandoned,
        recovery=recovery,
        conductor=conductor,
        registry=registry,
        settings=settings,
    )
    return Parts(
        registry=registry,
        teller=teller,
        legs=legs,
        archive=Archive(store, ledger, grants, receipt_url),
        conductor=conductor,
        surroundings=surroundings,
        recorder=recorder,
        attendance=Attendance(
            clock=clock,
            conductor=conductor,
            legs=legs,
            teller=teller,
            most_devices=settings.devices_per_party,
        ),
        quality=QualityWatch(
            clock=clock,
            media=media,
            teller=teller,
            running=registry.running,
            spawn=conductor.spawn,
        ),
        takeover=takeover,
        heartbeat=Heartbeat(
            store=store,
            clock=clock,
            registry=registry,
            takeover=takeover,
            recovery=recovery,
            settings=settings,
            node_id=node_id,
            spawn=conductor.spawn,
            counters=conductor.counters,
            refresh=surroundings.taken_over,
            look_at_wallets=surroundings.look_at_wallets,
            on_lost=conductor.post_loss,
        ),
    )


def _follow(conductor: Conductor, recorder: Recorder, surroundings: Surroundings) -> None:
    """Let the parts that act on effects hear of them."""

    async def changed(rt: Runtime, effect: e.Effect) -> None:
        await recorder.changed(rt, effect)
        await surroundings.changed(rt, effect)

    conductor.on_change = changed
    conductor.on_cut = lambda rt, last: recorder.cut(rt, last=last)
