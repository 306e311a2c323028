"""What a session changes around it: badge, presence, wallets, and others who draw on the same
money.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection

from engine.errors import Unavailable
from engine.metering import signals as s
from engine.metering.ledger import Ledger
from engine.metering.meter import Meter
from engine.session import effects as e
from engine.session.grants import Grant
from engine.session.ports import PresenceView
from engine.session.registry import Registry
from engine.session.runtime import Runtime
from engine.session.telling import Teller, members
from engine.signaling.messages import CallPending, WalletUpdated
from engine.store.database import Store


class Surroundings:
    """`post` hands a session a fact."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        registry: Registry,
        teller: Teller,
        post: Callable[[Runtime, s.Wallet], None],
    ) -> None:
        self.presence: PresenceView | None = None
        self._store = store
        self._ledger = ledger
        self._registry = registry
        self._teller = teller
        self._post = post
        self._short: set[str] = set()
        """Sessions whose money ran out when that was last looked at."""

    async def changed(self, rt: Runtime, effect: e.Effect) -> None:
        """An effect of this session is in the store and its parties were told."""
        grant = rt.grant
        if isinstance(effect, e.Rang | e.Answered | e.Ended):
            told = members(CallPending(len(self._registry.ringing_at(grant.expert_id))))
            await self._teller.to_user(grant.expert_id, "call.pending", told)
        if isinstance(effect, e.Answered | e.Ended) and self.presence is not None:
            await self.presence.refresh(grant.expert_id)
        meter = rt.machine.meter
        if isinstance(effect, s.PlaceHold | s.LowBalance) and meter is not None and meter.short:
            self._short.add(rt.id)
        if isinstance(effect, s.PlaceHold | e.Ended) and meter is not None:
            await self._money_moved(rt, ended=isinstance(effect, e.Ended))

    async def _money_moved(self, rt: Runtime, *, ended: bool) -> None:
        currency = rt.grant.tariff.currency
        try:
            if ended:
                await self.tell_wallets((rt.grant.customer_id, rt.grant.expert_id), currency)
            await self.wallet_news(rt.grant.customer_id, currency, but=rt)
        except Unavailable:
            pass  # a statement nobody gets now; the next change brings a fresh one

    async def taken_over(self, rt: Runtime) -> None:
        """Another node's session goes on here: its expert is busy here now."""
        if self.presence is not None:
            await self.presence.refresh(rt.grant.expert_id)

    async def settled_for(self, grant: Grant) -> None:
        """Money of this order came free without a session that runs here."""
        await self.tell_wallets((grant.customer_id, grant.expert_id), grant.tariff.currency)

    async def tell_wallets(self, user_ids: Collection[str], currency: str) -> None:
        """`wallet.updated` to every device of these users."""
        async with self._store.reading() as tx:
            money = await self._ledger.money_of(tx, user_ids, currency)
        for user_id, (wallet, earned_minor) in money.items():
            told = WalletUpdated(currency, wallet.available_minor, wallet.held_minor, earned_minor)
            await self._teller.to_user(user_id, "wallet.updated", members(told))

    async def wallet_news(self, user_id: str, currency: str, but: Runtime | None = None) -> None:
        """What the wallet has now, to every live session that draws on it."""
        drawing = [
            rt
            for rt in self._registry.live_of(user_id)
            if rt is not but
            and rt.grant.customer_id == user_id
            and rt.grant.tariff.currency == currency
        ]
        if not drawing:
            return
        async with self._store.reading() as tx:
            wallet = await self._ledger.wallet(tx, user_id, currency)
        sharers = self._registry.sharers(user_id, currency)
        for rt in drawing:
            self._post(rt, s.Wallet(wallet.available_minor, sharers))

    async def look_at_wallets(self) -> None:
        """For sessions whose money runs out: what other processes did to their wallets, which
        nobody tells this one.
        """
        short: dict[str, list[tuple[Runtime, Meter]]] = defaultdict(list)
        for session_id in list(self._short):
            rt = self._registry.running(session_id)
            meter = None if rt is None else rt.machine.meter
            if rt is not None and meter is not None and meter.short and rt.live:
                short[rt.grant.tariff.currency].append((rt, meter))
            else:
                self._short.discard(session_id)
        if not short:
            return
        async with self._store.reading() as tx:
            for currency, those in short.items():
                owners = {rt.grant.customer_id for rt, _ in those}
                money = await self._ledger.money_of(tx, owners, currency)
                for rt, meter in those:
                    wallet, _ = money[rt.grant.customer_id]
                    if wallet.available_minor != meter.wallet.available_minor:
                        sharers = self._registry.sharers(rt.grant.customer_id, currency)
                        self._post(rt, s.Wallet(wallet.available_minor, sharers))
