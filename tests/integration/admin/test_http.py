"""What holds for every operation: problems, limits, headers, CORS, health, metrics, documents."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web

from engine.errors import Unavailable
from engine.media.interface import Role
from engine.ratelimit import Rate
from engine.session.quality import Figures, Hop
from engine.store.database import Store
from engine.store.tables import accounts
from tests.integration.admin.conftest import CUSTOMER, PER_QUARTER, World

LOGIN = "/api/v1/auth/login"
JSON = {"Content-Type": "application/json"}


async def refused(world: World, method: str, path: str, **sent: Any) -> tuple[int, str]:
    async with world.client.request(method, path, **sent) as answer:
        assert answer.content_type == "application/problem+json"
        body = await answer.json()
        assert body["status"] == answer.status
        assert {"type", "title", "detail", "code"} <= body.keys()
        return answer.status, body["code"]


@pytest.mark.parametrize(
    ("method", "path", "sent", "expected"),
    [
        ("GET", "/api/v1/nothing", {}, (404, "not_found")),
        ("GET", "/nothing", {}, (404, "not_found")),
        ("DELETE", "/api/v1/orders", {}, (405, "method_not_allowed")),
        ("GET", LOGIN, {}, (405, "method_not_allowed")),
        ("POST", LOGIN, {"data": b"{}"}, (415, "unsupported_media_type")),
        ("POST", LOGIN, {"data": b"", "headers": JSON}, (400, "malformed_json")),
        ("POST", LOGIN, {"data": b"{", "headers": JSON}, (400, "malformed_json")),
        ("POST", LOGIN, {"data": b'{"email":"abc\xff"}', "headers": JSON}, (400, "malformed_json")),
        ("POST", LOGIN, {"data": b"[" * 5_000, "headers": JSON}, (422, "invalid_body")),
        ("POST", LOGIN, {"data": b"x" * 70_000, "headers": JSON}, (413, "body_too_large")),
        ("POST", LOGIN, {"json": []}, (422, "invalid_body")),
    ],
)
async def test_whatever_is_wrong_is_a_problem_with_a_code(
    world: World, method: str, path: str, sent: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert await refused(world, method, path, **sent) == expected


@pytest.mark.parametrize(
    ("body", "path", "what"),
    [
        ({"email": "abc", "password": "x", "extra": 1}, "$", "unknown field `extra`"),
        ({"email": "abc"}, "$", "missing required field `password`"),
        ({"email": 5, "password": "x"}, "$.email", "Expected `str`"),
        ({"email": "a", "password": "x"}, "$.email", "length >= 3"),
    ],
)
async def test_a_wrong_body_is_refused_with_its_place(
    world: World, body: dict[str, Any], path: str, what: str
) -> None:
    status, refusal = await world.stranger.post("/auth/login", body)
    assert (status, refusal["code"], refusal["path"]) == (422, "invalid_body", path)
    assert what in refusal["detail"]


async def test_a_body_where_none_is_expected_must_be_empty(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER, confirm=False)
    status, refusal = await customer.post(f"/orders/{order['id']}/cancel", {"force": True})
    assert (status, refusal["code"]) == (422, "invalid_body")
    status, _ = await customer.post(f"/orders/{order['id']}/cancel", {})
    assert status == 200


async def test_a_body_without_a_length_is_bounded_too(world: World) -> None:
    async def endless() -> Any:
        for _ in range(20):
            yield b"x" * 16_384

    answer = await refused(world, "POST", LOGIN, data=endless(), headers=JSON)
    assert answer == (413, "body_too_large")


async def test_a_defect_is_a_500_that_tells_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("admin.catalogue.search.page", broken)
    async with world.client.get("/api/v1/listings") as answer:
        body = await answer.json()
    assert (body["status"], body["code"]) == (500, "internal")
    assert "secret" not in json.dumps(body)


async def test_posts_of_one_user_are_limited(store: Store) -> None:
    world = World(store, writes=Rate(0.001, 3))
    await world.start()
    customer = await world.sign_in(CUSTOMER)
    statuses = [
        (await customer.post("/wallet/top-ups", {"amount_minor": 100}))[0] for _ in range(4)
    ]
    assert statuses == [201, 201, 201, 429]
    assert (await customer.get("/wallet"))[0] == 200
    await world.stop()


async def test_answers_carry_the_headers_of_safety(world: World) -> None:
    async with world.client.get("/api/v1/listings") as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Strict-Transport-Security" not in headers
    assert "Access-Control-Allow-Origin" not in headers


async def test_over_https_transport_security_is_demanded(store: Store) -> None:
    world = World(store, public_url="https://talktime.test")
    await world.start()
    async with world.client.get("/api/v1/listings") as answer:
        assert "max-age" in answer.headers["Strict-Transport-Security"]
    await world.stop()


async def test_configured_origins_may_call_and_others_may_not(store: Store) -> None:
    world = World(store, cors_origins=("https://shop.test",))
    await world.start()
    for origin, allowed in (("https://shop.test", True), ("https://evil.test", False)):
        async with world.client.get("/api/v1/listings", headers={"Origin": origin}) as answer:
            given = answer.headers.get("Access-Control-Allow-Origin")
            assert given == (origin if allowed else None)
            assert answer.headers["Vary"] == "Origin"
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with world.client.options("/api/v1/orders", headers=headers) as answer:
            assert answer.status == (204 if allowed else 405)
            listed = answer.headers.get("Access-Control-Allow-Headers", "")
            assert ("Idempotency-Key" in listed) is allowed
            assert "Access-Control-Allow-Credentials" not in answer.headers
    await world.stop()


async def test_healthy_and_ready(world: World) -> None:
    async with world.client.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    async with world.client.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["checks"]) == (
            200,
            {"store": True, "media": True, "calls": True},
        )


async def test_a_draining_node_is_not_ready(world: World) -> None:
    world.engine.draining = True
    async with world.client.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["checks"]["calls"]) == (503, False)


async def test_not_ready_without_media_or_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.engine.running = False
    async with world.client.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["checks"]["media"]) == (503, False)

    def gone() -> None:
        raise Unavailable("store_unavailable", "gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "reading", gone)
        async with world.client.get("/readyz") as answer:
            assert (answer.status, (await answer.json())["checks"]["store"]) == (503, False)
        assert (await world.stranger.get("/listings"))[0] == 503


async def test_metrics_tell_what_the_store_and_the_worker_know(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await any_world.session(order["id"], served_ns=90 * 10**9)
    await any_world.capture(session, 1_200)
    await any_world.session(order["id"], state="ringing", end_reason=None)
    await any_world.client.get("/api/v1/listings/lst_none")
    await any_world.client.get("/no-such-thing")
    up, down = Hop(1_000_000, 2, 100, 4.0), Hop(0, 0, 0, None)
    any_world.engine.measures.add(Role.EXPERT, Figures(2, up, down, 40, 1, 1_500))
    async with any_world.client.get("/metrics") as answer:
        text = await answer.text()
    for line in (
        'talktime_sessions{state="ended"} 1.0',
        'talktime_sessions{state="ringing"} 1.0',
        'talktime_orders{state="open"} 1.0',
        "talktime_served_minutes_total 1.5",
        'talktime_captured_minor_total{currency="EUR"} 1200.0',
        'talktime_fees_minor_total{currency="EUR"} 240.0',
        'talktime_ledger_sum_minor{currency="EUR"} 0.0',
        'talktime_media_total{counter="packets_in"} 7.0',
        'talktime_media_kind{kind="native"} 1.0',
        'talktime_engine_total{counter="checkpoints"} 3.0',
        'talktime_node_sessions{state="ringing"} 0.0',
        'talktime_leg_bitrate_bps_bucket{hop="up",le="512000.0",role="expert"} 0.0',
        'talktime_leg_bitrate_bps_bucket{hop="up",le="1000000.0",role="expert"} 1.0',
        'talktime_leg_bitrate_bps_bucket{hop="up",le="+Inf",role="expert"} 1.0',
        'talktime_leg_loss_ratio_sum{hop="up",role="expert"} 0.02',
        'talktime_leg_jitter_seconds_sum{hop="up",role="expert"} 0.004',
        'talktime_leg_rtt_seconds_count{hop="both",role="expert"} 1.0',
        'talktime_leg_freezes_total{role="expert"} 1.0',
        'talktime_leg_frozen_seconds_total{role="expert"} 1.5',
    ):
        assert line in text, line
    assert re.search(r'seconds_count\{method="GET",route="/api/v1/listings/\{id\}",stat', text)
    assert 'route="unmatched"' in text
    assert "no-such-thing" not in text


async def test_metrics_tell_what_the_audit_found_again_and_again(world: World) -> None:
    auditing, clock = world.deps.auditing, world.audit_clock

    async def audited() -> str:
        assert auditing._task is not None
        await auditing._task
        async with world.client.get("/metrics") as answer:
            return await answer.text()

    async with world.client.get("/metrics") as answer:
        assert "talktime_audit_differences" not in await answer.text()
    auditing.start()
    text = await audited()
    assert 'talktime_audit_differences{check="balances_follow_entries"} 0.0' in text
    assert re.search(r'audit_examined\{check="balances_follow_entries"\} [1-9]', text)
    assert auditing.last is not None
    told = re.search(r"^talktime_audit_timestamp_seconds (\S+)$", text, re.MULTILINE)
    assert told is not None
    assert float(told[1]) == auditing.last.at_ms / 1_000
    wallets = sa.update(accounts).where(accounts.c.kind == "wallet")
    async with world.store.transaction() as tx:
        await tx.execute(wallets.values(balance_minor=accounts.c.balance_minor + 1))
    clock.advance(59)
    assert 'talktime_audit_differences{check="balances_follow_entries"} 0.0' in await audited()
    clock.advance(1)
    text = await audited()
    assert re.search(r'audit_differences\{check="balances_follow_entries"\} [1-9]', text)
    assert 'talktime_audit_differences{check="accounts_sum_to_zero"} 1.0' in text
    async with world.store.transaction() as tx:
        await tx.execute(wallets.values(balance_minor=accounts.c.balance_minor - 1))
    await auditing.stop()
    assert clock.armed == 0


async def test_an_audit_that_the_store_does_not_answer_is_counted_and_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditing = world.deps.auditing

    def gone() -> None:
        raise Unavailable("store_unavailable", "gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "reading", gone)
        await auditing._run()
    assert (auditing.failures, auditing.last) == (1, None)
    world.audit_clock.advance(60)
    assert auditing._task is not None
    await auditing._task
    assert auditing.last is not None
    await auditing.stop()


async def test_an_audit_that_meets_what_it_cannot_read_is_counted_and_repeated(
    world: World,
) -> None:
    """Money on an account of a kind that nobody knows must not end the watching."""
    auditing, odd = world.deps.auditing, {"kind": "suspense", "owner_id": "platform"}
    values = {"id": "acc_odd", "currency": "EUR", "balance_minor": 0, "created_at_ms": 0}
    async with world.store.transaction() as tx:
        await tx.execute(sa.insert(accounts).values(values | odd))
    auditing.start()
    await auditing.done()
    assert (auditing.failures, auditing.last) == (1, None)
    async with world.client.get("/metrics") as answer:
        assert "talktime_audit_failures_total 1.0" in await answer.text()
    async with world.store.transaction() as tx:
        await tx.execute(sa.delete(accounts).where(accounts.c.id == "acc_odd"))
    world.audit_clock.advance(60)
    await auditing.done()
    assert auditing.last is not None
    await auditing.stop()
    assert world.audit_clock.armed == 0


async def test_metrics_may_ask_for_a_token(store: Store) -> None:
    world = World(store, metrics_token="let-me-see")
    await world.start()
    assert await refused(world, "GET", "/metrics") == (401, "token_invalid")
    headers = {"Authorization": "Bearer let-me-see"}
    async with world.client.get("/metrics", headers=headers) as answer:
        assert answer.status == 200
    await world.stop()


async def test_the_openapi_document_names_every_operation(world: World) -> None:
    async with world.client.get("/openapi.json") as answer:
        document = await answer.json()
    assert document["openapi"] == "3.1.0"
    served = {
        (route.method, re.sub(r"\{(\w+)[^}]*\}+\]?\}?", r"{\1}", route.resource.canonical))
        for route in world.client.app.router.routes()  # type: ignore[union-attr]
        if route.resource is not None and route.resource.canonical.startswith("/api/v1")
    }
    served = {(method, path) for method, path in served if method != "HEAD"}
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert described == served
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))
    text = json.dumps(document)
    for reference in set(re.findall(r'"#/components/schemas/(\w+)"', text)):
        assert reference in document["components"]["schemas"]


async def test_the_events_document_is_served(world: World) -> None:
    async with world.client.get("/events.json") as answer:
        assert answer.status == 200
        assert "call.invite" in await answer.text()


async def test_ice_servers_carry_credentials_that_a_turn_server_can_check(store: Store) -> None:
    urls = ("stun:stun.test:3478", "turn:turn.test:3478?transport=udp")
    world = World(store, turn_urls=urls, turn_secret="shared")
    await world.start()
    customer = await world.sign_in(CUSTOMER)
    _, answer = await customer.get("/ice-servers")
    stun, turn = answer["ice_servers"]
    assert stun == {"urls": ["stun:stun.test:3478"]}
    expiry, _, user = turn["username"].partition(":")
    assert user == customer.user_id
    assert 3_500 < int(expiry) - world.clock.wall_ms() // 1_000 <= 3_600
    import base64
    import hashlib
    import hmac

    digest = hmac.new(b"shared", turn["username"].encode(), hashlib.sha1).digest()
    assert turn["credential"] == base64.b64encode(digest).decode()
    await world.stop()


async def test_without_servers_there_are_none(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    assert await customer.get("/ice-servers") == (200, {"ice_servers": []})


async def test_the_application_takes_further_routes(world: World) -> None:
    # Socket.IO and the client's pages are attached to the same application.
    from admin.app import build_api

    app = build_api(world.deps)

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app.router.add_get("/", page)
    assert "/" in {resource.canonical for resource in app.router.resources()}
