"""Bodies of a single order under ``/api/v1``; `admin.schemas.Order` is what lists show."""

from __future__ import annotations

from msgspec import Struct

from admin.files.schemas import File
from admin.orders.deliveries import Delivery
from admin.reviews.schemas import Review
from admin.schemas import Order


class OrderDetail(Order):
    """GET /orders/{id}."""

    deliveries: list[Delivery]
    """Of work, oldest first."""
    review: Review | None


class OrderFiles(Struct):
    """GET /orders/{id}/files: what the buyer of digital goods bought, as it was then."""

    files: list[File]
    """Each `url` opens it for some minutes; ask again for another."""
    links: list[str]


class StaffOutcome(Struct):
    """POST /admin/orders/{id}/…"""

    id: str
    number: str
    state: str
