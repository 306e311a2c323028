"""Requests generated from the OpenAPI document, and spoilt ones: never a 5xx, always a problem.

The application runs in a thread of its own on both stores, as a client would meet it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.clock import SystemClock
from engine.store.database import Store
from tests.integration.admin.conftest import CUSTOMER, PER_QUARTER, World

EXAMPLES = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.generate],  # a failure is told as it was found: shrinking takes minutes
    database=None,
)


class Server:
    """The application behind a socket, and a signed-in customer with an order."""

    def __init__(self, store_url: str) -> None:
        self._store_url = store_url
        self._ready = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.url = ""
        self.headers: dict[str, str] = {}
        self.order: dict[str, Any] = {}

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        self._done.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        world = World(Store(self._store_url, SystemClock()))
        await world.start()
        try:
            customer = await world.sign_in(CUSTOMER)
            self.order = await customer.order(PER_QUARTER)
            self.headers = customer.headers
            self.url = str(world.client.make_url("")).rstrip("/")
            self._ready.set()
            await asyncio.to_thread(self._done.wait)
        finally:
            await world.stop()
            await world.store.close()


@pytest.fixture
def server(any_store_url: str) -> Iterator[Server]:
    made = Server(any_store_url)
    made.start()
    yield made
    made.stop()


def check(response: Any) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        page = response.text.startswith("<!doctype html>")
        assert page or {"code", "status", "detail"} <= response.json().keys()


PARTS = 12
"""The document has far more operations than one test has time for."""


@pytest.mark.parametrize("part", range(PARTS))
def test_requests_made_from_the_document_never_meet_a_5xx(server: Server, part: int) -> None:
    document = requests.get(f"{server.url}/openapi.json", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 100
    for operation in operations[part::PARTS]:

        @settings(EXAMPLES, max_examples=5)
        @given(case=operation.as_strategy())
        def probe(case: Any) -> None:
            check(case.call(base_url=server.url, headers=server.headers, timeout=10))

        probe()


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
_MEMBERS = (
    "email",
    "password",
    "display_name",
    "consents",
    "token",
    "refresh_token",
    "listing_id",
    "mode",
    "confirm",
    "amount_minor",
    "order_id",
)
_BODIES = st.dictionaries(
    st.sampled_from(_MEMBERS) | st.text(max_size=5),
    _JUNK | st.sampled_from([PER_QUARTER, "video", True, 500]),
    max_size=5,
)
_POSTS = st.sampled_from(
    [
        "/api/v1/auth/login",
        "/api/v1/auth/register",
        "/api/v1/auth/verify-email",
        "/api/v1/auth/password-reset",
        "/api/v1/auth/password-reset/confirm",
        "/api/v1/auth/refresh",
        "/api/v1/me/consents",
        "/api/v1/notifications/read",
        "/api/v1/orders",
        "/api/v1/orders/{order}/pay",
        "/api/v1/orders/{order}/cancel",
        "/api/v1/orders/{order}/close",
        "/api/v1/conversations",
        "/api/v1/conversations/con_x/messages",
        "/api/v1/requests",
        "/api/v1/wallet/top-ups",
        "/api/v1/engine/tokens",
        "/api/v1/payments/test/webhook",
        "/api/v1/test-payments/tp_x",
    ]
)


def test_spoilt_bodies_never_meet_a_5xx(server: Server) -> None:
    @settings(EXAMPLES, max_examples=60)
    @given(path=_POSTS, body=_BODIES | _JUNK)
    def probe(path: str, body: Any) -> None:
        url = server.url + path.replace("{order}", server.order["id"])
        check(requests.post(url, json=body, headers=server.headers, timeout=10))

    probe()


def test_spoilt_bytes_and_queries_never_meet_a_5xx(server: Server) -> None:
    @settings(EXAMPLES, max_examples=60)
    @given(
        path=_POSTS,
        raw=st.binary(max_size=60),
        query=st.text(max_size=30),
        key=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=10),
    )
    def probe(path: str, raw: bytes, query: str, key: str) -> None:
        headers = server.headers | {"Content-Type": "application/json"}
        keyed = headers | {"Idempotency-Key": key.encode("latin-1").strip()}
        url = server.url + path.replace("{order}", server.order["id"])
        check(requests.post(url, data=raw, headers=keyed, timeout=10))
        parameters = {"q": query, "cursor": query, "role": query, "format": query, "token": query}
        for read in ("listings", "orders", "wallet/transactions", "sessions/ses_x/receipt"):
            url = f"{server.url}/api/v1/{read}"
            check(requests.get(url, params=parameters, headers=server.headers, timeout=10))

    probe()
