"""Demo accounts, listings and money, so that the first start shows a working marketplace.

Loading it again, or over another marketplace's demo, adds only what is missing. The passwords are
public: never where money is real.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import sqlalchemy as sa
from PIL import Image, ImageDraw

from admin import queries
from admin.accounts.passwords import Passwords
from admin.catalogue import categories, indexing
from admin.catalogue.content import Content, price_from_minor
from admin.demo import azmoudegan, infotwip
from admin.demo.people import CUSTOMER, DOMAIN, Offer, Person
from admin.files.storage import Storage
from admin.market.preset import Preset
from admin.payments.test_provider import TestProvider
from admin.ports import PasswordCost
from admin.presets import INFOTWIP
from engine.clock import Clock
from engine.metering.ledger import Ledger
from engine.metering.tariff import Tariff
from engine.store.database import Store, Tx
from engine.store.market_tables import categories as category_table
from engine.store.market_tables import expert_categories, file_uses, files, listing_revisions
from engine.store.tables import experts, listings, payments, users

PASSWORD = "demo-talktime"
CUSTOMER_EMAIL = f"customer@{DOMAIN}"
EXPERT_EMAIL = f"expert@{DOMAIN}"
STAFF_EMAIL = f"staff@{DOMAIN}"
CUSTOMER_TOP_UP_MINOR = 20_000

_PEOPLE = {"infotwip": infotwip.PEOPLE, "azmoudegan": azmoudegan.PEOPLE}
_PHOTO_PX = 256


async def load(
    store: Store,
    ledger: Ledger,
    clock: Clock,
    currency: str = "EUR",
    cost: PasswordCost | None = None,
    *,
    preset: Preset = INFOTWIP,
    storage: Storage | None = None,
) -> None:
    """Create what is missing, the customer's money by a test payment; all or nothing.

    Without a `storage` nobody has a photo and nothing has files.
    """
    people = _PEOPLE[preset.name]
    async with store.reading() as tx:
        known = set((await tx.scalars(sa.select(users.c.email))).all())
        there = set((await tx.scalars(sa.select(listings.c.id))).all())
    missing = [person for person in people if person.email not in known]
    offers = [(person, offer) for person in people for offer in person.offers]
    new_offers = [(p, offer) for p, offer in offers if _listing_id(offer) not in there]
    if not missing and not new_offers:
        return
    await categories.seed(store, preset)
    # One hash for all: the password is public, and a start should be quick.
    password_hash = await Passwords(cost or PasswordCost()).hash(PASSWORD)
    now_ms = clock.wall_ms()
    # Bytes first: a row never lacks them.
    stored = {} if storage is None else await _store_files(storage, missing, new_offers, now_ms)
    async with store.transaction() as tx:
        for person in missing:
            await _add_person(tx, person, password_hash, now_ms, photo=stored.get(person.id))
        for person, offer in new_offers:
            # Lists show the newest first: keep the order of the file.
            at_ms = now_ms - [one for _, one in offers].index(offer)
            await _add_offer(tx, person, offer, currency, stored, at_ms=at_ms)
        if CUSTOMER in missing:
            await _top_up(tx, ledger, CUSTOMER.id, currency, now_ms)
    await indexing.index_missing(store)


def _listing_id(offer: Offer) -> str:
    return f"lst_demo_{offer.key}"


async def _add_person(
    tx: Tx, person: Person, password_hash: str, now_ms: int, *, photo: dict[str, Any] | None
) -> None:
    account = {
        "id": person.id,
        "email": person.email,
        "display_name": person.name,
        "password_hash": password_hash,
        "roles": list(person.roles),
        "state": "active",
        "email_verified_at_ms": now_ms,
        "locale": "en",
        "timezone": person.timezone,
        "photo_file_id": None if photo is None else photo["id"],
        "created_at_ms": now_ms,
    }
    await tx.execute(sa.insert(users).values(account))
    if photo is not None:
        await _add_file(tx, photo, "user", person.id)
    if "expert" not in person.roles:
        return
    profile = {
        "user_id": person.id,
        "slug": person.key,
        "headline": person.headline,
        "about": person.about,
        "education": person.education,
        "experience": person.experience,
        "skills": list(person.skills),
        "languages": list(person.languages),
        "availability": person.grid,
        "active": True,
        "presence_status": person.status,
    }
    await tx.execute(sa.insert(experts).values(profile))
    c = category_table.c
    query = sa.select(c.slug, c.id).where(c.slug.in_(person.categories))
    for category_id in (await queries.pairs(tx, query)).values():
        serves = {"expert_id": person.id, "category_id": category_id}
        await tx.execute(sa.insert(expert_categories).values(serves))


async def _add_offer(
    tx: Tx,
    person: Person,
    offer: Offer,
    currency: str,
    stored: dict[str, dict[str, Any]],
    *,
    at_ms: int,
) -> None:
    goods = [stored[f"{offer.key}/{name}"] for name in offer.files if stored]
    content = Content(
        locales=list(offer.texts),
        title={locale: title for locale, (title, _) in offer.texts.items()},
        description={locale: text for locale, (_, text) in offer.texts.items()},
        category=offer.category,
        files=[file["id"] for file in goods],
        links=list(offer.links),
        requirements=offer.requirements,
    )
    tariffs = _tariffs(offer, currency)
    first = content.locales[0]
    row = {
        "id": _listing_id(offer),
        "expert_id": person.id,
        "kind": offer.kind,
        "title": content.title[first],
        "description": content.description[first],
        "category": offer.category,
        "locales": content.locales,
        "state": "published",
        "tariffs": {mode: msgspec.to_builtins(tariff) for mode, tariff in tariffs.items()},
        "price_minor": offer.price_minor,
        "price_from_minor": price_from_minor(tariffs.values(), offer.price_minor),
        "currency": currency,
        "delivery_days": offer.delivery_days,
        "published_revision": 1,
        "published_at_ms": at_ms,
        "created_at_ms": at_ms,
        "updated_at_ms": at_ms,
    }
    await tx.execute(sa.insert(listings).values(row))
    revision = {
        "listing_id": row["id"],
        "number": 1,
        "state": "published",
        "content": msgspec.to_builtins(content),
        "created_at_ms": at_ms,
        "decided_at_ms": at_ms,
    }
    await tx.execute(sa.insert(listing_revisions).values(revision))
    for file in goods:
        await _add_file(tx, file, "listing", str(row["id"]))


def _tariffs(offer: Offer, currency: str) -> dict[str, Tariff]:
    tariffs = {}
    for mode in offer.modes if offer.tariff else ():
        tariff = Tariff(currency=currency, **offer.tariff)
        if mode == "text":  # its free part is everything before the customer's second message
            tariff = msgspec.structs.replace(tariff, grace_seconds=0)
        tariffs[mode] = tariff
    return tariffs


# Files --------------------------------------------------------------------------------------------


async def _store_files(
    storage: Storage, people: list[Person], offers: list[tuple[Person, Offer]], now_ms: int
) -> dict[str, dict[str, Any]]:
    """Rows of stored files: photos by person's id, goods by offer and name."""
    rows = {}
    for person in people:
        if "expert" in person.roles:
            key, content = f"fil_demo_{person.key}", _photo(person)
            about = (f"{person.key}.png", "photo", "image/png")
            rows[person.id] = await _store(storage, key, person.id, about, content)
    for person, offer in offers:
        for number, (name, text) in enumerate(offer.files.items(), 1):
            key, about = f"fil_demo_{offer.key}_{number}", (name, "goods", "text/plain")
            made = await _store(storage, key, person.id, about, text.encode())
            rows[f"{offer.key}/{name}"] = made
    return {key: row | {"created_at_ms": now_ms} for key, row in rows.items()}


async def _store(
    storage: Storage, file_id: str, owner_id: str, about: tuple[str, str, str], content: bytes
) -> dict[str, Any]:
    async def whole() -> AsyncIterator[bytes]:
        yield content

    await storage.put(file_id, whole())
    name, purpose, type_ = about
    return {
        "id": file_id,
        "owner_id": owner_id,
        "purpose": purpose,
        "name": name,
        "type": type_,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "state": "ready",
    }


async def _add_file(tx: Tx, row: dict[str, Any], subject_type: str, subject_id: str) -> None:
    await tx.execute(sa.insert(files).values(row))
    use = {"file_id": row["id"], "subject_type": subject_type, "subject_id": subject_id}
    await tx.execute(sa.insert(file_uses).values(use))


def _photo(person: Person) -> bytes:
    """Initials on a colour of the person's own."""
    hue = int.from_bytes(hashlib.sha256(person.key.encode()).digest()[:2], "big") % 360
    image = Image.new("RGB", (_PHOTO_PX, _PHOTO_PX), f"hsl({hue}, 45%, 42%)")
    initials = "".join(part[0] for part in person.name.replace("Dr. ", "").split()[:2])
    middle = (_PHOTO_PX // 2, _PHOTO_PX // 2)
    ImageDraw.Draw(image).text(middle, initials, fill="white", anchor="mm", font_size=110)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


async def _top_up(tx: Tx, ledger: Ledger, user_id: str, currency: str, now_ms: int) -> None:
    payment_id = f"pay_{user_id}"
    await tx.execute(
        sa.insert(payments).values(
            id=payment_id,
            direction="in",
            user_id=user_id,
            order_id=None,
            currency=currency,
            amount_minor=CUSTOMER_TOP_UP_MINOR,
            provider=TestProvider.name,
            provider_ref=f"tp_{user_id}",
            state="succeeded",
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
    )
    await ledger.topup(
        tx,
        key=f"topup:{payment_id}",
        user_id=user_id,
        currency=currency,
        amount_minor=CUSTOMER_TOP_UP_MINOR,
        payment_id=payment_id,
    )
