"""The life of a listing: the table of its moves, for its expert and for staff.

    draft ─submit─> pending_review ─approve─> published <─pause, resume─> paused
      ^                 │  └─reject─> rejected        └──archive, take_down──> ...
      └ changes_requested <┘

A text of a published listing is edited beside what customers see: the new revision is reviewed
while the old one stays. Prices, delivery time and pauses need no review.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from msgspec import Meta

from admin.catalogue import content as texts
from admin.catalogue import revisions
from admin.catalogue.schemas import EditListing
from admin.http.bodies import Body
from admin.market.transitions import Actor, Machine, Move, Situation, Subject
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import Conflict, TalktimeError
from engine.store.database import Tx
from engine.store.market_tables import categories
from engine.store.tables import listings


class Decision(Body):
    """Why, and of which revision."""

    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]
    revision: int | None = None


@dataclass(frozen=True)
class Facts:
    latest: Row | None
    """The newest revision."""
    category_known: bool = False


def complete(situation: Situation) -> TalktimeError | None:
    row, latest = situation.row, situation.facts.latest
    return texts.incomplete(
        texts.read(latest.content),
        row.kind,
        priced=bool(row.tariffs) or row.price_minor is not None,
        category_known=situation.facts.category_known,
    )


def under_review(situation: Situation) -> TalktimeError | None:
    latest = situation.facts.latest
    if latest is None or latest.state != "pending_review":
        return Conflict("nothing_to_review", "Nothing of this listing waits for a review.")
    return None


def sells_files(situation: Situation) -> TalktimeError | None:
    if situation.row.kind != "files":
        return Conflict("not_a_files_listing", "Only listings of files have files.")
    return None


_EDITABLE = ("draft", "pending_review", "changes_requested", "published", "paused")
_SHOWN = ("published", "paused")
_MODERATE = "listings.moderate"


def _decisions() -> list[Move]:
    """Of a first revision they decide the listing, of a later one the revision alone."""
    found = []
    for action, first, event, effect in (
        ("approve", "published", "listing.published", revisions.approve),
        ("request_changes", "changes_requested", "listing.changes_requested", revisions.turn_down),
        ("reject", "rejected", "listing.rejected", revisions.turn_down),
    ):
        for frm, to in ((("pending_review",), first), (_SHOWN, None)):
            found.append(
                Move(
                    action=action,
                    frm=frm,
                    to=to,
                    permission=_MODERATE,
                    guards=(under_review,),
                    effects=(effect,),
                    event=event,
                    body=Decision,
                )
            )
    return found


MOVES = (
    Move(
        action="edit",
        frm=_EDITABLE,
        by=("expert",),
        effects=(revisions.edit,),
        event="listing.edited",
        body=EditListing,
    ),
    Move(
        action="put_files",
        frm=_EDITABLE,
        by=("expert",),
        guards=(sells_files,),
        effects=(revisions.change_files,),
        event="listing.edited",
        body=revisions.Files,
    ),
    Move(
        action="submit",
        frm=("draft", "changes_requested"),
        to="pending_review",
        by=("expert",),
        guards=(complete,),
        effects=(revisions.submit,),
        event="listing.submitted",
    ),
    Move(action="pause", frm=("published",), to="paused", by=("expert",), event="listing.paused"),
    Move(action="resume", frm=("paused",), to="published", by=("expert",), event="listing.resumed"),
    Move(
        action="archive",
        frm=(*_EDITABLE, "rejected"),
        to="archived",
        by=("expert",),
        effects=(revisions.withdraw,),
        event="listing.archived",
    ),
    *_decisions(),
    Move(
        action="take_down",
        frm=(*_SHOWN, "pending_review"),
        to="taken_down",
        permission=_MODERATE,
        effects=(revisions.withdraw, revisions.explain),
        event="listing.taken_down",
        body=Decision,
    ),
    Move(
        action="restore",
        frm=("taken_down",),
        to="paused",
        permission=_MODERATE,
        effects=(revisions.was_published, revisions.explain),
        event="listing.restored",
        body=Decision,
    ),
)


def _wrong_state(row: Row, action: str) -> TalktimeError:
    code = "already_published" if (action, row.state) == ("resume", "published") else None
    return Conflict(code or f"listing_{row.state}", f"This listing is {row.state}.")


def parties(row: Row, actor: Actor) -> frozenset[str]:
    return frozenset({"expert"}) if row.expert_id == actor.id else frozenset()


async def facts(_deps: AdminDeps, tx: Tx, rows: Sequence[Row]) -> Mapping[str, Any]:
    """By listing id."""
    latest = await revisions.latest(tx, [row.id for row in rows])
    wanted = {found.content.get("category", "") for found in latest.values()}
    slugs = set(
        (await tx.scalars(sa.select(categories.c.slug).where(categories.c.slug.in_(wanted)))).all()
    )
    return {
        row.id: Facts(
            latest.get(row.id),
            row.id in latest and latest[row.id].content.get("category") in slugs,
        )
        for row in rows
    }


LISTING = Machine(
    name="listing",
    table=listings,
    moves=MOVES,
    parties=parties,
    facts=facts,
    wrong_state=_wrong_state,
)


def listing_of(listing_id: str) -> Subject:
    return Subject(LISTING, listing_id)
