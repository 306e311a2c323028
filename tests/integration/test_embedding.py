"""What a page of another site may load and call (docs/embedding.md)."""

from __future__ import annotations

import re
import textwrap
import time
from pathlib import Path

import aiohttp
import jwt
import pytest

from engine.config import Settings, env_name
from engine.signaling.messages import CLIENT_EVENTS, SERVER_EVENTS
from tests.support.browser import CLIENT_BUILT
from tests.support.running_app import CUSTOMER, running_app

SHOP = "https://shop.example"


@pytest.mark.skipif(not CLIENT_BUILT, reason="the browser client is not built")
async def test_a_configured_site_may_import_the_client_and_no_other(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path, cors_origins=[SHOP]) as app,
        aiohttp.ClientSession(base_url=app.url) as http,
    ):
        for origin, allowed in ((SHOP, SHOP), ("https://elsewhere.example", None)):
            headers = {"Origin": origin}
            async with http.get("/static/client/talktime.js", headers=headers) as answer:
                assert answer.status == 200
                assert answer.content_type in ("text/javascript", "application/javascript")
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "Origin" in answer.headers.getall("Vary", [])


async def test_the_staff_pages_are_open_to_no_other_site(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path, cors_origins=[SHOP]) as app,
        aiohttp.ClientSession(base_url=app.url) as http,
        http.get("/admin/login", headers={"Origin": SHOP}) as answer,
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers


GUIDE = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()


async def test_the_guide_names_only_what_exists(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path) as app,
        aiohttp.ClientSession(base_url=app.url) as http,
        http.get("/openapi.json") as answer,
    ):
        paths = (await answer.json())["paths"]
    operations = {f"{verb.upper()} {path}" for path, verbs in paths.items() for verb in verbs}
    named = set(re.findall(r"`((?:GET|POST) /api/v1/[^`]+)`", GUIDE))
    assert len(named) > 10
    assert named <= operations
    groups = "call|session|rtc|track|message|meter|wallet|presence"
    events = set(re.findall(rf"`((?:{groups})\.\w+)`", GUIDE))
    assert len(events) > 20
    assert events <= CLIENT_EVENTS.keys() | SERVER_EVENTS.keys()
    settings = set(re.findall(r"`(TALKTIME_\w+)`", GUIDE))
    assert settings <= {env_name(name) for name in Settings.model_fields}


async def test_a_server_signs_its_own_users_in_as_the_guide_says(tmp_path: Path) -> None:
    secret = "a-secret-shared-with-the-marketplace-server"
    start = GUIDE.index("  now = int(")
    source = textwrap.dedent(GUIDE[start : GUIDE.index("  ```", start)])
    async with (
        running_app(tmp_path, secrets=[secret]) as app,
        aiohttp.ClientSession(base_url=app.url) as http,
    ):
        names = {"time": time, "jwt": jwt, "secret": secret, "user_id": await app.user_id(CUSTOMER)}
        exec(source, names)
        headers = {"Authorization": f"Bearer {names['token']}"}
        async with http.get("/api/v1/me", headers=headers) as answer:
            assert (await answer.json())["email"] == CUSTOMER
