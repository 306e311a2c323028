"""Every operation of the REST surface, and who may use it: guest, member, party, staff.

`ACCESS` declares it, one line an operation. ``open``: everybody. ``member``: who is signed in, for
their own things. ``expert``: experts only. ``party KIND``: those whose thing of that kind it is; to
everybody else it does not exist. ``staff PERMISSION``: staff who hold it, and nobody else.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from msgspec import inspect as shapes

from admin.accounts.registration import Registration
from admin.accounts.signin import SignIn
from admin.app import api_routes
from admin.http.calls import API, Route
from admin.presets import AZMOUDEGAN
from engine.store.database import Store
from engine.store.tables import listings
from tests.integration.admin.conftest import Api, World
from tests.integration.admin.market.conftest import Market
from tests.support.virtual_clock import VirtualClock

ACCESS_TEXT = """
GET /auth/documents                          open
POST /auth/login                             open
POST /auth/logout                            open
POST /auth/password-reset                    open
POST /auth/password-reset/confirm            open
POST /auth/refresh                           open
POST /auth/register                          open
POST /auth/verify-email                      open
POST /auth/verify-email/resend               open
GET /categories                              open
GET /experts                                 open
GET /experts/{slug}                          open
GET /experts/{slug}/reviews                  open
GET /files/{id}                              party file
GET /listings                                open
GET /listings/{id}                           open
GET /listings/{id}/reviews                   open
GET /orders/{id}/receipt                     party order
GET /sessions/{id}/receipt                   party session
POST /payments/{provider}/webhook            open

GET /me                                      member
PATCH /me                                    member
DELETE /me                                   member
GET /me/export                               member
POST /me/password                            member
POST /me/consents                            member
GET /me/application                          member
GET /me/favourites                           member
PUT /me/favourites/{type}/{id}               member
DELETE /me/favourites/{type}/{id}            member
GET /me/blocks                               member
PUT /me/blocks/{id}                          member
DELETE /me/blocks/{id}                       member
GET /me/notification-preferences             member
PUT /me/notification-preferences             member
GET /me/listings                             member
GET /notifications                           member
POST /notifications/read                     member
GET /ice-servers                             member
GET /wallet                                  member
GET /wallet/transactions                     member
POST /wallet/top-ups                         member
GET /market                                  open
GET /payouts                                 member
GET /orders                                  member
POST /orders                                 member
GET /requests                                member
POST /requests                               member
GET /conversations                           member
POST /conversations                          member
GET /cases                                   member
POST /files                                  member
POST /applications                           member
POST /reports                                member

GET /me/availability                         expert
PUT /me/availability                         expert
GET /me/expert                               expert
PATCH /me/expert                             expert
GET /me/payout-details                       expert
PUT /me/payout-details                       expert
PUT /me/presence                             expert
GET /me/stats                                expert
POST /listings                               expert
POST /payouts                                expert

POST /engine/tokens                          party order
GET /orders/{id}                             party order
GET /orders/{id}/files                       party order
GET /orders/{id}/sessions                    party order
POST /orders/{id}/accept                     party order
POST /orders/{id}/agree-to-cancel            party order
POST /orders/{id}/cancel                     party order
POST /orders/{id}/close                      party order
POST /orders/{id}/deliver                    party order
POST /orders/{id}/deliveries                 party order
POST /orders/{id}/dispute                    party order
POST /orders/{id}/pay                        party order
POST /orders/{id}/refuse                     party order
PUT /orders/{id}/requirements                party order
POST /orders/{id}/return                     party order
POST /orders/{id}/review                     party order
PUT /orders/{id}/review                      party order
POST /orders/{id}/start                      party order
POST /orders/{id}/withdraw-dispute           party order
POST /reviews/{id}/reply                     party review
GET /sessions/{id}                           party session
GET /conversations/{id}                      party conversation
GET /conversations/{id}/messages             party conversation
POST /conversations/{id}/messages            party conversation
POST /conversations/{id}/read                party conversation
GET /requests/{id}                           party request
POST /requests/{id}/cancel                   party request
POST /requests/{id}/proposals                party request
POST /proposals/{id}/accept                  party proposal
POST /proposals/{id}/counter                 party proposal
POST /proposals/{id}/decline                 party proposal
POST /proposals/{id}/withdraw                party proposal
GET /cases/{id}                              party case
POST /cases/{id}/answer-info                 party case
POST /cases/{id}/withdraw                    party case
POST /applications/{id}/answer               party application
GET /me/listings/{id}                        party listing
PATCH /listings/{id}                         party listing
DELETE /listings/{id}                        party listing
POST /listings/{id}/submit                   party listing
POST /listings/{id}/pause                    party listing
POST /listings/{id}/resume                   party listing
PUT /listings/{id}/files/{n}                 party listing
DELETE /listings/{id}/files/{n}              party listing
DELETE /files/{id}                           party file
GET /wallet/top-ups/{id}                     party top_up
POST /test-payments/{ref}                    party test_payment
GET /payouts/{id}                            party payout
POST /payouts/{id}/cancel                    party payout

GET /admin/cases                             staff disputes.decide
POST /admin/cases/{id}/assign                staff disputes.decide
POST /admin/cases/{id}/request-info          staff disputes.decide
POST /admin/cases/{id}/decide                staff disputes.decide
POST /admin/orders/{id}/call-off             staff finance
POST /admin/orders/{id}/refund               staff finance
GET /admin/payouts                           staff finance
GET /admin/payouts.csv                       staff finance
POST /admin/payouts/{id}/approve             staff finance
POST /admin/payouts/{id}/confirm             staff finance
POST /admin/payouts/{id}/fail                staff finance
POST /admin/payouts/{id}/reject              staff finance
POST /admin/payouts/{id}/send                staff finance
POST /admin/reviews/{id}/hide                staff support
POST /admin/reviews/{id}/show                staff support
POST /admin/users/{id}/suspend               staff support
POST /admin/users/{id}/reinstate             staff support
POST /applications/{id}/decide               staff applications.review
POST /listings/{id}/review                   staff listings.moderate
"""
ACCESS = {
    " ".join(line.split()[:2]): " ".join(line.split()[2:])
    for line in ACCESS_TEXT.splitlines()
    if line
}
_SEGMENT = re.compile(r"\{(\w+)(?::(?:[^{}]|\{[^{}]*\})*)?\}")
REFUSED = {403, 404}
UNHARMED = {401, 403, 404, 409, 422, 429}
"""What a role that may not use an operation can be answered, never a success."""


def name_of(route: Route) -> str:
    path = _SEGMENT.sub(r"{\1}", route.path)
    return f"{route.method} {path}"


def valid(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The smallest body of this shape."""
    described = shapes.type_info(shape)
    assert isinstance(described, shapes.StructType)
    return {field.encode_name: _value(field.type) for field in described.fields if field.required}


def _value(of: shapes.Type) -> Any:
    match of:
        case shapes.StrType():
            text = "x" * (of.min_length or 1)
            if of.pattern and not re.search(of.pattern, text):
                text = next(t for t in _SAMPLES if re.search(of.pattern, t))
            return text
        case shapes.IntType():
            return of.ge if of.ge is not None else 1
        case shapes.FloatType():
            return of.ge if of.ge is not None else 1.0
        case shapes.BoolType():
            return True
        case shapes.LiteralType():
            return of.values[0]
        case shapes.ListType():
            return [_value(of.item_type)] * (of.min_length or 0)
        case shapes.DictType():
            return {}
        case shapes.UnionType():
            return _value(of.types[0])
        case shapes.StructType():
            return {f.encode_name: _value(f.type) for f in of.fields if f.required}
        case shapes.NoneType():
            return None
    raise AssertionError(f"no sample of {of}")


_SAMPLES = ("a@example.org", "1" * 168, "0" * 168, "en", "Europe/Berlin", "ord_1", "+4930123456")


_MORE: dict[str, dict[str, Any]] = {
    "NewMessage": {"body": "Hello"},
    "NewDelivery": {"text": "Done"},
}
"""What a body needs beyond its shape."""


@dataclass
class Scene:
    """A marketplace with one of everything, and people of every role."""

    market: Market
    routes: tuple[Route, ...]
    subjects: dict[str, str]
    parties: dict[str, Api]
    """Somebody whose thing of that kind it is."""

    async def ask(self, route: Route, who: Api | None) -> tuple[int, str]:
        """Status and code of the operation, with valid input."""
        access = ACCESS[name_of(route)]
        headers = {} if who is None else who.headers
        options: dict[str, Any] = {"json": None if route.body is None else self._body(route)}
        if route.raw_body:
            options = {"data": b"token=none"}
        async with self.market.world.client.request(
            route.method,
            API + self._path(route, access),
            headers=headers,
            allow_redirects=False,
            **options,
        ) as answer:
            text = await answer.text()
            code = ""
            if answer.content_type == "application/problem+json":
                code = msgspec.json.decode(text)["code"]
            return answer.status, code

    def _body(self, route: Route) -> dict[str, Any]:
        assert route.body is not None
        body = valid(route.body) | _MORE.get(route.body.__name__, {})
        for name, kind in (("order_id", "order"), ("listing_id", "listing")):
            if name in body:
                body[name] = self.subjects[kind]
        return body

    def _path(self, route: Route, access: str) -> str:
        values = {
            "slug": "elena",
            "provider": "test",
            "type": "listing",
            "n": "1",
            "ref": self.subjects["test_payment"],
            "id": self.subjects.get(access.partition(" ")[2], self._id_of(route)),
        }
        return _SEGMENT.sub(lambda found: values[found[1]], route.path)

    def _id_of(self, route: Route) -> str:
        for prefix, kind in (
            ("/admin/cases", "case"),
            ("/admin/orders", "order"),
            ("/admin/payouts", "payout"),
            ("/admin/reviews", "review"),
            ("/admin/users", "user"),
            ("/applications", "application"),
            ("/listings", "pending"),
            ("/me/favourites", "listing"),
            ("/me/blocks", "user"),
        ):
            if route.path.startswith(prefix):
                return self.subjects[kind]
        return "none"


@pytest.fixture
async def scene(sqlite_url: str) -> AsyncIterator[Scene]:
    clock = VirtualClock()
    store = Store(sqlite_url, clock)
    market = Market(World(store, preset=AZMOUDEGAN), clock)
    await market.start()
    subjects, parties = await _one_of_everything(market)
    sign_in = SignIn(market.world.deps)
    registration = Registration(market.world.deps, sign_in.passwords)
    routes = api_routes(market.world.deps, sign_in, registration)
    yield Scene(market, routes, subjects, parties)
    await market.world.stop()
    await store.close()


async def _one_of_everything(market: Market) -> tuple[dict[str, str], dict[str, Api]]:
    customer, expert = market.customer, market.expert
    order = await market.work()
    found: dict[str, str] = {"order": order, "user": customer.user_id}
    seen = await market.see(customer, order)
    found["conversation"] = seen["conversation_id"]
    found["listing"] = await market.offer()
    disputed = await market.work()
    found["case"] = await market.dispute(customer, disputed)
    reviewed = await market.delivered()
    await market.do(customer, reviewed, "accept")
    review = {"rating_service": 5, "rating_expert": 5, "text": ""}
    found["review"] = (await market.do(customer, reviewed, "review", review, status=201))["review"][
        "id"
    ]
    found["session"] = await market.world.session(await _consultation(market))
    ref = await market.customer.top_up(500)
    found["test_payment"] = ref
    _, statement = await customer.post("/wallet/top-ups", {"amount_minor": 700})
    found["top_up"] = statement["id"]
    found["file"] = await market.file(customer, "attachment")
    wish = {"title": "A wish", "body": "In detail.", "expert_ids": [expert.user_id]}
    status, request = await customer.post("/requests", wish)
    assert status == 201, request
    found["request"] = request["id"]
    offer = {"price_minor": 1_000, "delivery_days": 3}
    status, request = await expert.post(f"/requests/{request['id']}/proposals", offer)
    assert status == 201, request
    found["proposal"] = request["proposals"][0]["id"] if "proposals" in request else request["id"]
    iban = {"holder": "Elena Marin", "iban": "DE89370400440532013000"}
    assert (await expert.put("/me/payout-details", iban))[0] == 200
    status, payout = await expert.post("/payouts", {"amount_minor": 1_000})
    assert status == 201, payout
    found["payout"] = payout["id"]
    applicant = await market.member("applicant")
    status, application = await applicant.post("/applications", {"about": "I can do this."})
    assert status == 201, application
    found["application"] = application["id"]
    found["pending"] = await _pending_listing(market)
    parties = dict.fromkeys(found, customer) | dict.fromkeys(
        ("listing", "payout", "review"), expert
    )
    return found, parties | {"application": applicant}


async def _consultation(market: Market) -> str:
    """A paid order of one; its id."""
    tariff = {"currency": "EUR", "price_minor": 1_000, "per_seconds": 60, "block_seconds": 60}
    tariff |= {"prepaid_seconds": 60, "grace_seconds": 0}
    listing_id = await market.offer("consult")
    async with market.store.transaction() as tx:
        of_it = sa.update(listings).where(listings.c.id == listing_id)
        await tx.execute(of_it.values(tariffs={"video": tariff}))
    order = await market.order(listing_id, mode="video")
    return str(order["id"])


WORDS = {
    "locales": ["en"],
    "title": {"en": "A logo"},
    "description": {"en": "Drawn by hand, in three drafts."},
    "category": "design",
}


async def _pending_listing(market: Market) -> str:
    new = {
        **WORDS,
        "kind": "work",
        "price_minor": 9_000,
        "delivery_days": 5,
    }
    status, listing = await market.expert.post("/listings", new)
    assert status == 201, listing
    status, submitted = await market.expert.post(f"/listings/{listing['id']}/submit")
    assert status == 200, submitted
    return str(listing["id"])


async def test_every_operation_is_declared_and_nothing_else(scene: Scene) -> None:
    assert {name_of(route) for route in scene.routes} == set(ACCESS)


async def test_a_guest_gets_what_is_open_and_nothing_else(scene: Scene) -> None:
    for route in scene.routes:
        status, code = await scene.ask(route, None)
        name = name_of(route)
        if ACCESS[name] == "open":
            assert status != 403, (name, code)
            assert (status != 401) or code in _OWN_CREDENTIALS, (name, code)
        else:
            assert status in {401, 403, 404}, (name, status, code)
        assert status < 500, (name, status)


_OWN_CREDENTIALS = {"wrong_credentials", "token_invalid", "bad_signature", "token_expired"}
"""Operations that check something else than a bearer token."""


async def test_to_another_member_what_is_not_theirs_does_not_exist(scene: Scene) -> None:
    other = await scene.market.member("other")
    for route in scene.routes:
        name = name_of(route)
        if not ACCESS[name].startswith(("party", "staff", "expert")):
            continue
        status, code = await scene.ask(route, other)
        if ACCESS[name] == "expert":
            assert status in UNHARMED - {401}, (name, status, code)
        else:
            assert status in REFUSED, (name, status, code)


async def test_staff_do_only_what_they_are_permitted(scene: Scene) -> None:
    without = await scene.market.staff("requests.triage")
    for route in scene.routes:
        name = name_of(route)
        if ACCESS[name].startswith(("party", "staff")):
            status, code = await scene.ask(route, without)
            assert (status in REFUSED) or _empty_queue(name, status), (name, status, code)


def _empty_queue(name: str, status: int) -> bool:
    """The queue shows to everybody on the staff what they may decide: here nothing."""
    return (name, status) == ("GET /admin/cases", 200)


async def test_staff_who_are_permitted_may(scene: Scene) -> None:
    for route in scene.routes:
        name = name_of(route)
        access, _, permission = ACCESS[name].partition(" ")
        if access == "staff":
            status, code = await scene.ask(route, await scene.market.staff(permission))
            assert status not in {401, 403, 404} | {500}, (name, status, code)


async def test_members_and_parties_get_to_their_own(scene: Scene) -> None:
    for route in scene.routes:
        name = name_of(route)
        access, _, kind = ACCESS[name].partition(" ")
        if name in _ENDS_IT or access not in {"member", "expert", "party"}:
            continue
        who = {"member": scene.market.customer, "expert": scene.market.expert}.get(access)
        status, code = await scene.ask(route, who or scene.parties[kind])
        fine = status not in {401, 403} and (status != 404 or code not in _HIDDEN)
        assert fine or code in _OTHER_PARTY, (name, status, code)
        assert status < 500, (name, status)


_ENDS_IT = {"DELETE /me", "DELETE /listings/{id}", "DELETE /files/{id}"}
_HIDDEN = {f"{kind}_not_found" for kind in ("order", "listing", "case", "payout", "session")}
_OTHER_PARTY = {"not_expert", "not_customer", "not_author", "not_reviewable"}
"""The other party's move: known, but not theirs."""


def test_samples_are_what_the_shapes_ask_for(scene: Scene) -> None:
    for route in scene.routes:
        if route.body is not None:
            msgspec.convert(valid(route.body), route.body)
