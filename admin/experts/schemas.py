"""Bodies and answers of the expert's desk, of profiles, marks, reports and applications."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from admin.http.bodies import Body
from admin.schemas import ExpertCard, Listing, Money
from engine.signaling.messages import IdText, PresenceStatus

Words = Annotated[str, Meta(max_length=4_000)]
Skill = Annotated[str, Meta(min_length=1, max_length=60)]
Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}$")]
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9-]*$", max_length=80)]
Grid = Annotated[str, Meta(pattern=r"^[01]{168}$")]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]
Files = Annotated[list[IdText], Meta(max_length=10)]


class EditExpert(Body, kw_only=True):
    """PATCH /me/expert: what is absent stays."""

    headline: Annotated[str, Meta(max_length=160)] | UnsetType = UNSET
    about: Words | UnsetType = UNSET
    education: Words | UnsetType = UNSET
    experience: Words | UnsetType = UNSET
    skills: Annotated[list[Skill], Meta(max_length=30)] | UnsetType = UNSET
    languages: Annotated[list[Language], Meta(max_length=12)] | UnsetType = UNSET
    categories: Annotated[list[Slug], Meta(max_length=12)] | UnsetType = UNSET
    photo_file_id: IdText | UnsetType | None = UNSET
    active: bool | UnsetType = UNSET


class MyExpert(Struct):
    """GET /me/expert."""

    id: str
    slug: str
    headline: str
    about: str
    education: str
    experience: str
    skills: list[str]
    languages: list[str]
    categories: list[str]
    photo_file_id: str | None
    photo_url: str | None
    active: bool
    presence_status: str


class Availability(Struct):
    """`grid`: 168 cells of an hour, Monday 0:00 of `timezone` first; "1": possible."""

    grid: str
    timezone: str


class SetAvailability(Body):
    """PUT /me/availability."""

    grid: Grid
    timezone: Zone


class SetPresence(Body):
    """PUT /me/presence."""

    status: PresenceStatus


class Presence(Struct):
    """`effective`: what others see of it."""

    status: str
    effective: str


class Stats(Struct):
    """GET /me/stats. `answer_rate`: answered of all calls that rang, 0 to 1."""

    calls: int
    answered: int
    answer_rate: float | None
    response_s: int | None
    completed_orders: int
    refusals: int
    rating: float | None
    review_count: int
    earned: Money


class ReviewSummary(Struct):
    """`stars`: how many reviews gave the expert one, two, ... five stars."""

    rating: float | None
    count: int
    refusals: int
    stars: list[int]


class Expert(Struct):
    """GET /experts/{slug}. `availability`: in the zone that was asked for, for the week ahead."""

    id: str
    slug: str
    display_name: str
    card: ExpertCard
    about: str
    education: str
    experience: str
    skills: list[str]
    languages: list[str]
    categories: list[str]
    availability: Availability
    expert_timezone: str
    reviews: ReviewSummary
    listings: list[Listing]
    is_favourite: bool


class ExpertPage(Struct):
    items: list[ExpertCard]
    next_cursor: str | None


class Mark(Struct):
    """A favourite: `expert` or `listing`, as far as it is shown now."""

    type: str
    id: str
    at: str
    expert: ExpertCard | None = None
    listing: Listing | None = None


class Marks(Struct):
    items: list[Mark]
    next_cursor: str | None = None


class Block(Struct):
    """Somebody whom the user has blocked."""

    id: str
    display_name: str
    at: str


class Blocks(Struct):
    items: list[Block]
    next_cursor: str | None = None


class Done(Struct):
    """It is so now, whether it was before or not."""


class NewReport(Body, kw_only=True):
    """POST /reports: a complaint about something that the user can see."""

    subject_type: Literal["listing", "expert", "order", "review"]
    subject_id: IdText
    reason: Annotated[str, Meta(min_length=1, max_length=4_000)]
    files: Files = field(default_factory=list)


class Apply(Body, kw_only=True):
    """POST /applications: to become an expert where staff decide it."""

    about: Annotated[str, Meta(min_length=1, max_length=4_000)]
    education: Words = ""
    experience: Words = ""
    categories: Annotated[list[Slug], Meta(max_length=12)] = field(default_factory=list)
    files: Files = field(default_factory=list)


class Decide(Body):
    """POST /applications/{id}/decide, by staff."""

    decision: Literal["approve", "request_info", "reject"]
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]


class CaseRef(Struct):
    """A case as its opener sees it."""

    id: str
    number: str
    kind: str
    state: str
    decision: str | None
    reason: str | None
    created_at: str
