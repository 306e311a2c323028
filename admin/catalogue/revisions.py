"""Revisions of a listing: writing, submitting, publishing and turning them down.

These are the effects of `admin.catalogue.machine`. A revision under review is never changed: an
edit replaces it by a newer one, and staff decide about the number that they read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from admin import queries
from admin.cases import records
from admin.catalogue import content as texts
from admin.catalogue import indexing
from admin.catalogue.content import Content
from admin.catalogue.schemas import CreateListing, EditListing
from admin.files import service as uploads
from admin.http.bodies import Body
from admin.market import settings
from admin.market.transitions import Step
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import BadInput, Conflict
from engine.ids import new_id
from engine.store.database import Tx
from engine.store.market_tables import cases, listing_revisions
from engine.store.tables import listings

_TEXTS = ("locales", "title", "description", "category", "images", "links", "requirements")
_IN_PLACE = ("draft", "changes_requested")


class Files(Body):
    """Number `n`, from 1, becomes this file, or goes."""

    n: int
    file_id: str | None = None


async def latest(tx: Tx, listing_ids: Sequence[str]) -> Mapping[str, Row]:
    """The newest revision of each."""
    r = listing_revisions.c
    newest = (
        sa.select(r.listing_id, sa.func.max(r.number).label("number"))
        .where(r.listing_id.in_(listing_ids))
        .group_by(r.listing_id)
        .subquery()
    )
    query = sa.select(listing_revisions).join(
        newest,
        sa.and_(r.listing_id == newest.c.listing_id, r.number == newest.c.number),
    )
    return {row.listing_id: row for row in await queries.rows(tx, query)}


async def create(deps: AdminDeps, tx: Tx, expert_id: str, body: CreateListing) -> str:
    """A draft with its first revision; the listing's id. Raises `BadInput`, `Conflict`."""
    preset = deps.settings.preset
    if body.kind not in preset.kinds:
        raise BadInput("kind_not_offered", "There are no such listings here.", path="$.kind")
    if body.files:
        raise Conflict("listing_not_saved", "Save the listing first, then add its files.")
    content = Content(**{name: getattr(body, name) for name in _TEXTS})
    listing_id, now_ms = new_id("lst"), deps.clock.wall_ms()
    await _check(deps, tx, content, before=None, expert_id=expert_id, kind=body.kind)
    row = {
        "id": listing_id,
        "expert_id": expert_id,
        "kind": body.kind,
        "state": "draft",
        "tariffs": {},
        "currency": deps.settings.currency,
        "delivery_days": body.delivery_days,
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
        **_shown(content),
        **_prices(deps, body.kind, body.tariffs, body.price_minor),
    }
    await tx.execute(sa.insert(listings).values(row))
    await _insert(tx, listing_id, 1, content, state="draft", now_ms=now_ms)
    return listing_id


def _prices(
    deps: AdminDeps, kind: str, prices: Mapping[Any, int], price_minor: int | None
) -> dict[str, Any]:
    if kind == "consult":
        if price_minor is not None:
            raise BadInput(
                "price_not_fixed", "A consultation has a price per mode.", path="$.price_minor"
            )
        made = texts.tariffs(prices, deps.settings.preset, deps.settings.currency)
        stored = {mode: msgspec.to_builtins(tariff) for mode, tariff in made.items()}
        return {"tariffs": stored, "price_from_minor": texts.price_from_minor(made.values(), None)}
    if prices:
        raise BadInput("price_fixed", "Only consultations have modes.", path="$.tariffs")
    return {"price_minor": price_minor, "price_from_minor": price_minor or 0}


def _shown(content: Content) -> dict[str, Any]:
    """What the listing's own row says of it."""
    first = content.locales[0]
    return {
        "title": content.title[first],
        "description": content.description[first],
        "category": content.category,
        "locales": content.locales,
    }


async def _check(
    deps: AdminDeps, tx: Tx, content: Content, *, before: Content | None, expert_id: str, kind: str
) -> None:
    texts.check(content, deps.settings.preset)
    terms = await settings.current(deps, tx)
    texts.check_links(content.links, terms)
    if content.links and kind != "files":
        raise BadInput("not_a_files_listing", "Only files are sold as links.", path="$.links")
    for image in content.images:
        if before is None or image not in before.images:
            await uploads.usable(tx, image, expert_id, "image", path="$.images")


async def _insert(
    tx: Tx, listing_id: str, number: int, content: Content, *, state: str, now_ms: int
) -> None:
    await tx.execute(
        sa.insert(listing_revisions).values(
            listing_id=listing_id,
            number=number,
            state=state,
            content=msgspec.to_builtins(content),
            created_at_ms=now_ms,
        )
    )
    used = [*content.images, *content.files]
    await uploads.mark_used(tx, used, "listing", listing_id)


# Effects ------------------------------------------------------------------------------------------


async def edit(step: Step) -> None:
    """Prices at once; texts as the newest revision, reviewed if customers see the listing."""
    body: EditListing = step.body
    _edit_prices(step, body)
    given = {name: getattr(body, name) for name in _TEXTS if getattr(body, name) is not UNSET}
    if given:
        before = texts.read(step.situation.facts.latest.content)
        after = msgspec.structs.replace(before, **given)
        who = {"expert_id": step.row.expert_id, "kind": step.row.kind}
        await _check(step.deps, step.tx, after, before=before, **who)
        if after != before:
            await _revise(step, after)
    await _reindex_after(step)


def _edit_prices(step: Step, body: EditListing) -> None:
    row = step.row
    if body.delivery_days is not UNSET:
        step.values["delivery_days"] = body.delivery_days
    if body.tariffs is UNSET and body.price_minor is UNSET:
        return
    prices = {} if body.tariffs is UNSET else body.tariffs
    price_minor = None if body.price_minor is UNSET else body.price_minor
    if not prices and row.kind == "consult" and row.state in ("published", "paused"):
        raise BadInput("price_missing", "A published listing has a price.", path="$.tariffs")
    step.values |= _prices(step.deps, row.kind, prices, price_minor)
    step.data["price_from_minor"] = step.values["price_from_minor"]


async def change_files(step: Step) -> None:
    """Put or remove a file (T75, T76). Buyers keep what they bought: it is a new revision."""
    body: Files = step.body
    before = texts.read(step.situation.facts.latest.content)
    files = list(before.files)
    if body.file_id is None:
        if not 1 <= body.n <= len(files):
            raise BadInput("file_missing", "There is no file of that number.", path="$.n")
        del files[body.n - 1]
    else:
        terms = await settings.current(step.deps, step.tx)
        texts.check_slot(body.n, len(files), terms.max_files)
        if body.file_id in files:
            raise Conflict("file_there", "The listing has this file already.")
        await uploads.usable(step.tx, body.file_id, step.row.expert_id, "goods", path="$.file_id")
        files[body.n - 1 : body.n] = [body.file_id]
    if not files and not before.links and step.row.published_revision:
        raise Conflict("last_file", "A published listing keeps at least a file or a link.")
    await _revise(step, msgspec.structs.replace(before, files=files))


async def _revise(step: Step, content: Content) -> None:
    """Write the newest revision: in place while nobody reads it, else as a new one."""
    row, newest = step.row, step.situation.facts.latest
    shown = row.state in ("published", "paused")
    if not row.published_revision:
        step.values |= _shown(content)
    if newest.state in _IN_PLACE and not shown:
        await _update(step, newest.number, content=msgspec.to_builtins(content))
        used = [*content.images, *content.files]
        await uploads.mark_used(step.tx, used, "listing", row.id)
        return
    number = newest.number + 1
    step.data["revision"] = number
    if newest.state == "pending_review":
        await _update(step, newest.number, state="superseded")
    await _insert(step.tx, row.id, number, content, state="pending_review", now_ms=step.now_ms)
    terms = await settings.current(step.deps, step.tx)
    if shown and not terms.listing_moderation:
        await _publish(step, number, content)
        return
    await _ask(step, number, terms.listing_sla_s)


async def submit(step: Step) -> None:
    """To the moderators, or straight to the customers where nothing is moderated."""
    newest = step.situation.facts.latest
    content = texts.read(newest.content)
    terms = await settings.current(step.deps, step.tx)
    step.data["revision"] = newest.number
    if terms.listing_moderation:
        await _update(step, newest.number, state="pending_review")
        await _ask(step, newest.number, terms.listing_sla_s)
        return
    step.to = "published"
    await _publish(step, newest.number, content)


async def _ask(step: Step, number: int, sla_s: tuple[int, int]) -> None:
    """One open case per listing, about its newest revision."""
    changed = await step.tx.execute(
        sa.update(cases)
        .where(_open_case(step.row.id))
        .values(data={"revision": number}, updated_at_ms=step.now_ms)
    )
    if changed.rowcount:
        return
    new = records.NewCase(
        kind="listing",
        subject_type="listing",
        subject_id=step.row.id,
        opened_by=step.row.expert_id,
        title=step.row.title,
        sla_s=sla_s,
        data={"revision": number},
    )
    step.data["case_id"] = await records.create(
        step.deps, step.tx, new, members=[step.row.expert_id]
    )


def _open_case(listing_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        cases.c.subject_id == listing_id,
        cases.c.kind == "listing",
        cases.c.state.in_(records.UNDECIDED),
    )


async def approve(step: Step) -> None:
    newest = _as_read(step)
    await _publish(step, newest.number, texts.read(newest.content))
    await _decided(step, "approve")


async def turn_down(step: Step) -> None:
    """The revision goes back to its author, or is rejected for good; an older one stays shown."""
    newest = _as_read(step)
    decision = "rejected" if step.to == "rejected" else "changes_requested"
    await _update(step, newest.number, state=decision, decided_at_ms=step.now_ms)
    await _decided(step, decision)


def _as_read(step: Step) -> Any:
    newest = step.situation.facts.latest
    if step.body.revision not in (None, newest.number):
        raise Conflict("changed_meanwhile", "There is a newer revision: read it first.")
    step.data["revision"] = newest.number
    return newest


async def _publish(step: Step, number: int, content: Content) -> None:
    before = step.row.published_revision
    if before and before != number:
        await _update(step, before, state="superseded")
    await _update(step, number, state="published", decided_at_ms=step.now_ms)
    step.values |= _shown(content) | {"published_revision": number}
    if step.row.published_at_ms is None:
        step.values["published_at_ms"] = step.now_ms
    await _reindex_after(step, content)


async def _reindex_after(step: Step, content: Content | None = None) -> None:
    """The words that the listing is found by, as it is after this step."""
    if content is None:
        if not step.row.published_revision or "search_text" in step.values:
            return
        stored = await revision(step.tx, step.row.id, step.row.published_revision)
        content = texts.read(stored.content)
    tariffs = step.values.get("tariffs", step.row.tariffs)
    step.values["search_text"] = await indexing.text_of(
        step.tx, step.row.expert_id, content, tariffs
    )


async def revision(tx: Tx, listing_id: str, number: int) -> Row:
    r = listing_revisions.c
    query = sa.select(listing_revisions).where(r.listing_id == listing_id, r.number == number)
    return (await queries.rows(tx, query))[0]


async def withdraw(step: Step) -> None:
    """What waits for a review waits no longer."""
    newest = step.situation.facts.latest
    if newest is not None and newest.state == "pending_review":
        await _update(step, newest.number, state="superseded")
    await step.tx.execute(
        sa.update(cases)
        .where(_open_case(step.row.id))
        .values(state="withdrawn", updated_at_ms=step.now_ms)
    )


async def explain(step: Step) -> None:
    step.data["reason"] = step.body.reason


async def was_published(step: Step) -> None:
    """What never was seen goes back to its author."""
    if not step.row.published_revision:
        newest = step.situation.facts.latest
        await _update(step, newest.number, state="draft")
        step.to = "draft"


async def _decided(step: Step, decision: str) -> None:
    step.data["reason"] = step.body.reason
    await step.tx.execute(
        sa.update(cases)
        .where(_open_case(step.row.id))
        .values(
            state="decided",
            decision=decision,
            reason=step.body.reason,
            decided_by=step.actor.id,
            decided_at_ms=step.now_ms,
            updated_at_ms=step.now_ms,
        )
    )


async def _update(step: Step, number: int, **values: Any) -> None:
    r = listing_revisions.c
    await step.tx.execute(
        sa.update(listing_revisions)
        .where(r.listing_id == step.row.id, r.number == number)
        .values(**values)
    )
