"""Bodies and answers of the catalogue and of the expert's own listings."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from admin.http.bodies import Body
from admin.schemas import Money, TariffView
from engine.metering.money import MAX_AMOUNT_MINOR
from engine.signaling.messages import IdText, Mode

Locale = Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$", max_length=16)]
Title = Annotated[str, Meta(max_length=120)]
Description = Annotated[str, Meta(max_length=8_000)]
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9-]*$", max_length=80)]
Link = Annotated[str, Meta(pattern=r"^https?://[^\s<>\"\x00-\x20]+$", max_length=1_000)]
PriceMinor = Annotated[int, Meta(ge=1, le=MAX_AMOUNT_MINOR)]
Days = Annotated[int, Meta(ge=1, le=365)]
Kind = Literal["consult", "work", "files"]
Images = Annotated[list[IdText], Meta(max_length=8)]
Links = Annotated[list[Link], Meta(max_length=20)]
Requirements = Annotated[str, Meta(max_length=1_000)]
Filter = Annotated[str, Meta(max_length=120)]


class LocaleQuery(Struct):
    locale: Locale | None = None


class Category(Struct):
    """`name`: in the locale asked for; `names`: in every one."""

    id: str
    slug: str
    name: str
    names: dict[str, str]
    featured: bool
    children: list[Category]


class Categories(Struct):
    items: list[Category]


class CreateListing(Body, kw_only=True):
    """POST /listings. `tariffs`: of consultations, the price of a period of the marketplace's
    tariff by mode; `price_minor`: of work and files. Files are added once this is saved (T75)."""

    kind: Kind
    locales: Annotated[list[Locale], Meta(min_length=1, max_length=2)]
    title: dict[Locale, Title]
    description: dict[Locale, Description]
    category: Slug = ""
    images: Images = field(default_factory=list)
    links: Links = field(default_factory=list)
    files: Annotated[list[IdText], Meta(max_length=20)] = field(default_factory=list)
    requirements: Requirements = ""
    tariffs: dict[Mode, PriceMinor] = field(default_factory=dict)
    price_minor: PriceMinor | None = None
    delivery_days: Days | None = None


class EditListing(Body, kw_only=True):
    """PATCH /listings/{id}: what is absent stays. Prices and delivery time hold at once, texts,
    pictures, links and category once they are reviewed."""

    locales: Annotated[list[Locale], Meta(min_length=1, max_length=2)] | UnsetType = UNSET
    title: dict[Locale, Title] | UnsetType = UNSET
    description: dict[Locale, Description] | UnsetType = UNSET
    category: Slug | UnsetType = UNSET
    images: Images | UnsetType = UNSET
    links: Links | UnsetType = UNSET
    requirements: Requirements | UnsetType = UNSET
    tariffs: dict[Mode, PriceMinor] | UnsetType = UNSET
    price_minor: PriceMinor | UnsetType = UNSET
    delivery_days: Days | UnsetType | None = UNSET


class ListingFile(Body):
    """PUT /listings/{id}/files/{n}: an upload of purpose goods."""

    file_id: IdText


class ReviewListing(Body):
    """POST /listings/{id}/review, by staff. `revision`: the one that was read; another one has
    come meanwhile: 409."""

    decision: Literal["approve", "request_changes", "reject", "take_down", "restore"]
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]
    revision: Annotated[int, Meta(ge=1)] | None = None


class FileRef(Struct):
    id: str
    name: str
    type: str
    size: int
    url: str


class Revision(Struct):
    """What the expert wrote, and what became of it."""

    number: int
    state: str
    locales: list[str]
    title: dict[str, str]
    description: dict[str, str]
    category: str
    image_ids: list[str]
    images: list[str]
    files: list[FileRef]
    links: list[str]
    requirements: str


class MyListing(Struct):
    """GET /me/listings. `revision`: the newest; customers see number `published_revision` (0:
    none). `reason`: staff's, of the last decision. `actions`: what may be done now."""

    id: str
    kind: str
    state: str
    published_revision: int
    revision: Revision
    tariffs: list[TariffView]
    price: Money | None
    delivery_days: int | None
    reason: str | None
    order_count: int
    rating: float | None
    actions: list[str]
    created_at: str
    updated_at: str


class MyListingPage(Struct):
    items: list[MyListing]
    next_cursor: str | None
