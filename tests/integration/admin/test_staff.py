"""The staff pages: who gets in, what they see, what they may do."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from admin import demo
from admin.staff.login import LIFE_MS
from engine.session.ports import LiveSessionView
from engine.store.database import Store
from engine.store.tables import (
    accounts,
    outbox,
    recordings,
    session_events,
    sessions,
    staff_sessions,
    users,
)
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, STAFF, World
from tests.unit.admin.test_receipt_lines import QUALITY

ORIGIN = {"Origin": "http://talktime.test"}


class Browser:
    """Follows redirects, keeps cookies, knows the CSRF token of the page it saw last."""

    def __init__(self, world: World) -> None:
        self.client = world.client
        self.csrf = ""

    async def get(self, path: str) -> tuple[int, str]:
        async with self.client.get(path) as answer:
            return answer.status, self._seen(await answer.text())

    async def post(
        self, path: str, headers: dict[str, str] | None = None, **fields: str
    ) -> tuple[int, str]:
        sent = {"csrf": self.csrf} | fields
        given = ORIGIN if headers is None else headers
        async with self.client.post(path, data=sent, headers=given) as answer:
            return answer.status, self._seen(await answer.text())

    async def sign_in(self, email: str = STAFF, password: str = demo.PASSWORD) -> tuple[int, str]:
        return await self.post("/admin/login", email=email, password=password)

    def _seen(self, text: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', text)
        self.csrf = found[1] if found else self.csrf
        return text


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world)


PAGES = ["/admin", "/admin/", "/admin/live", "/admin/sessions", "/admin/ledger"]


@pytest.mark.parametrize("path", [*PAGES, "/admin/sessions/ses_x", "/admin/sessions/x/terminate"])
async def test_pages_send_strangers_to_the_sign_in(browser: Browser, path: str) -> None:
    _, text = await browser.get(path)
    assert "Staff sign-in" in text


@pytest.mark.parametrize("path", PAGES)
async def test_staff_get_in(browser: Browser, path: str) -> None:
    status, text = await browser.sign_in()
    assert (status, "Sam Okoye" in text) == (200, True)
    status, text = await browser.get(path)
    assert status == 200
    assert "Staff sign-in" not in text


async def test_others_do_not_get_in(browser: Browser) -> None:
    status, text = await browser.sign_in(CUSTOMER)
    assert status == 403
    assert "not a member of staff" in text
    status, text = await browser.sign_in(password="guess")
    assert status == 401
    assert "wrong" in text
    _, text = await browser.get("/admin")
    assert "Staff sign-in" in text


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    world: World, store: Store
) -> None:
    fields = {"email": STAFF, "password": demo.PASSWORD}
    sent: dict[str, Any] = {"data": fields, "headers": ORIGIN, "allow_redirects": False}
    async with world.client.post("/admin/login", **sent) as answer:
        cookie = answer.cookies["talktime-staff"]
        assert (answer.status, answer.headers["Location"]) == (303, "/admin")
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", "")
    assert cookie["path"] == "/"
    async with world.store.reading() as tx:
        (row,) = (await tx.execute(sa.select(staff_sessions))).all()
    assert cookie.value not in tuple(row)

    secure = World(store, public_url="https://talktime.test")
    await secure.client.start_server()
    sent["headers"] = {"Origin": "https://talktime.test"}
    async with secure.client.post("/admin/login", **sent) as answer:
        cookie = answer.cookies["__Host-talktime-staff"]
    assert cookie["secure"] is True
    await secure.client.close()


async def test_signing_in_again_ends_the_old_session(world: World, browser: Browser) -> None:
    await browser.sign_in()
    await browser.sign_in()
    async with world.store.reading() as tx:
        assert await tx.scalar(sa.select(sa.func.count()).select_from(staff_sessions)) == 1


async def test_signing_out_ends_the_session_on_the_server(world: World, browser: Browser) -> None:
    await browser.sign_in()
    _, text = await browser.post("/admin/logout")
    assert "Staff sign-in" in text
    async with world.store.reading() as tx:
        assert (await tx.execute(sa.select(staff_sessions))).all() == []


@pytest.mark.parametrize("change", ["expired", "demoted", "suspended"])
async def test_a_session_that_lost_its_ground_is_over(
    world: World, browser: Browser, change: str
) -> None:
    await browser.sign_in()
    async with world.store.transaction() as tx:
        if change == "expired":
            past = sa.func.abs(staff_sessions.c.expires_at_ms) - LIFE_MS
            await tx.execute(sa.update(staff_sessions).values(expires_at_ms=past))
        else:
            values = {"roles": ["member"]} if change == "demoted" else {"state": "suspended"}
            await tx.execute(sa.update(users).where(users.c.email == STAFF).values(values))
    _, text = await browser.get("/admin")
    assert "Staff sign-in" in text


async def live_session(world: World) -> str:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(
        order["id"],
        state="in_progress",
        end_reason=None,
        ended_by=None,
        ended_at_ms=None,
        served_ns=61 * 10**9,
    )
    world.engine.live.append(
        LiveSessionView(
            session_id=session,
            order_id=order["id"],
            title=order["title"],
            customer_id=order["customer"]["id"],
            customer_name="",
            expert_id=order["expert"]["id"],
            expert_name="",
            mode="video",
            state="in_progress",
            since_ms=0,
            elapsed_ms=65_400,
            charged_minor=1_200,
            currency="EUR",
        )
    )
    return session


async def test_live_sessions_show_the_meter(world: World, browser: Browser) -> None:
    session = await live_session(world)
    await browser.sign_in()
    for path in ("/admin", "/admin/live"):
        _, text = await browser.get(path)
        assert "Mira Lind" in text
        assert "1:05" in text
        assert "12.00 EUR" in text
        assert f"/admin/sessions/{session}/terminate" in text
    world.engine.live.clear()  # as on another node: the checkpoint is what is known
    _, text = await browser.get("/admin/live")
    assert "1:01" in text


async def test_staff_end_a_session_after_confirming(world: World, browser: Browser) -> None:
    session = await live_session(world)
    await browser.sign_in()
    _, text = await browser.get(f"/admin/sessions/{session}/terminate")
    assert "End this session?" in text
    assert world.engine.terminated == []
    await browser.post(f"/admin/sessions/{session}/terminate")
    assert world.engine.terminated == [(session, await world.user_id(STAFF))]
    status, _ = await browser.post(f"/admin/sessions/{session}/terminate")
    assert status == 404


async def test_staff_see_what_is_in_quarantine_and_have_it_settled_again(
    world: World, browser: Browser
) -> None:
    session = await live_session(world)
    await browser.sign_in()
    _, text = await browser.get("/admin")
    assert "Needs attention" not in text
    async with world.store.transaction() as tx:
        mine = sa.update(sessions).where(sessions.c.id == session)
        await tx.execute(mine.values(quarantined_at_ms=0, trouble="ValueError: <odd>"))
    _, text = await browser.get("/admin")
    assert "Needs attention" in text
    assert "ValueError: &lt;odd&gt;" in text
    assert f"/admin/sessions/{session}/terminate" not in text
    await browser.post(f"/admin/sessions/{session}/retry", csrf="wrong")
    assert world.engine.retried == []
    await browser.post(f"/admin/sessions/{session}/retry")
    assert world.engine.retried == [(session, await world.user_id(STAFF))]
    async with world.store.transaction() as tx:  # as the engine would have settled it
        await tx.execute(mine.values(quarantined_at_ms=None, trouble=None))


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        (ORIGIN, "wrong"),
        (ORIGIN, ""),
        ({"Origin": "https://evil.test"}, None),
        ({"Origin": "null"}, None),
        ({"Sec-Fetch-Site": "cross-site"}, None),
    ],
)
async def test_a_forged_form_does_nothing(
    world: World, browser: Browser, headers: dict[str, str], csrf: str | None
) -> None:
    session = await live_session(world)
    await browser.sign_in()
    fields = {} if csrf is None else {"csrf": csrf}
    path = f"/admin/sessions/{session}/terminate"
    status, _ = await browser.post(path, headers=headers, **fields)
    assert status == 403
    assert world.engine.terminated == []


async def test_another_site_cannot_sign_a_browser_in(browser: Browser) -> None:
    status, _ = await browser.post(
        "/admin/login",
        headers={"Origin": "https://evil.test"},
        email=STAFF,
        password=demo.PASSWORD,
    )
    assert status == 403


async def test_ended_sessions_lead_to_their_receipts(world: World, browser: Browser) -> None:
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(order["id"], billed_seconds=900)
    await world.capture(session, 1_200)
    await world.happened(session, ("session.quality", QUALITY))
    _, receipt = await customer.get(f"/sessions/{session}/receipt")
    assert receipt["timeline"] == [], "figures of both networks are for staff"
    await browser.sign_in()
    _, text = await browser.get("/admin/sessions")
    assert f'href="/admin/sessions/{session}"' in text
    _, text = await browser.get(f"/admin/sessions/{session}")
    for part in (order["number"], "12.00 EUR", "2.40 EUR", "9.60 EUR", "completed, by customer"):
        assert part in text
    assert "Connection of Mira Lind over 12 min 30 s" in text
    status, _ = await browser.get("/admin/sessions/ses_none")
    assert status == 404


async def test_ended_sessions_come_in_pages(
    world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin.staff.views.RECENT_PAGE", 2)
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    made = {await world.session(order["id"]) for _ in range(5)}
    await browser.sign_in()
    path, seen = "/admin/sessions", []
    while path:
        _, text = await browser.get(path)
        seen += re.findall(r'href="/admin/sessions/(ses_\w+)"', text)
        older = re.search(r'href="(/admin/sessions\?cursor=[^"]+)"', text)
        path = older[1] if older else ""
    assert len(seen) == 5
    assert set(seen) == made
    status, _ = await browser.get("/admin/sessions?cursor=x")
    assert status == 422


async def test_the_ledger_page_says_whether_it_adds_up(world: World, browser: Browser) -> None:
    await browser.sign_in()
    _, text = await browser.get("/admin/ledger")
    assert "adds up" in text
    assert "200.00 EUR" in text
    async with world.store.transaction() as tx:
        wallet = accounts.c.kind == "wallet"
        statement = sa.update(accounts).where(wallet)
        await tx.execute(statement.values(balance_minor=accounts.c.balance_minor + 1))
    _, text = await browser.get("/admin/ledger")
    assert "does not add up" in text
    async with world.store.transaction() as tx:
        await tx.execute(statement.values(balance_minor=accounts.c.balance_minor - 1))


async def test_pages_allow_nothing_inline_and_no_frames(world: World, browser: Browser) -> None:
    await browser.sign_in()
    async with world.client.get("/admin") as answer:
        policy = answer.headers["Content-Security-Policy"]
        text = await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "<style" not in text
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"\son\w+=", text) == []
    for path in set(re.findall(r'(?:src|href)="(/admin/static/[^"]+)"', text)):
        async with world.client.get(path) as answer:
            assert answer.status == 200, path


async def test_a_form_of_any_size_or_shape_is_handled(world: World, browser: Browser) -> None:
    await browser.sign_in()
    for data in (b"x" * 10_000, b"&".join(b"a%d=1" % n for n in range(50)), b"\xff\xfe"):
        async with world.client.post("/admin/logout", data=data, headers=ORIGIN) as answer:
            assert answer.status in {403, 413, 422}


async def test_demo_data_is_loaded_once(world: World) -> None:
    before = await world.user_id(STAFF)
    await demo.load(world.store, world.ledger, world.clock)
    assert await world.user_id(STAFF) == before
    customer = await world.sign_in(CUSTOMER)
    assert await customer.wallet() == (20_000, 0)
    _, page = await world.stranger.get("/listings")
    blocks = {t["block_seconds"] for one in page["items"] for t in one["tariffs"]}
    assert blocks == {1, 60, 900}


# Recordings ---------------------------------------------------------------------------------------

CONTENT = b"what both agreed to"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
AGREED = (
    ("recording.requested", {"role": "customer", "reason": ""}),
    ("recording.off", {"role": "expert", "reason": "declined"}),
    ("recording.requested", {"role": "expert", "reason": ""}),
    ("recording.recording", {"role": "customer", "reason": ""}),
    ("recording.stopped", {"role": "customer", "reason": ""}),
    ("recording.requested", {"role": "customer", "reason": ""}),
)


async def recorded_session(world: World, folder: Path) -> str:
    """An ended session with a recording, whose file is on this node."""
    customer = await world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    session = await world.session(order["id"])
    await world.happened(session, *AGREED)
    path = folder / "rec_1-1.webm"
    path.write_bytes(CONTENT)
    file = {"name": path.name, "bytes": len(CONTENT), "sha256": DIGEST}
    async with world.store.transaction() as tx:
        began_ms = await tx.scalar(
            sa.select(session_events.c.at_ms).where(
                session_events.c.session_id == session,
                session_events.c.type == "recording.recording",
            )
        )
        row = {"id": "rec_1", "session_id": session, "started_at_ms": began_ms}
        ended = {
            "ended_at_ms": began_ms + 9,
            "end_reason": "disk_full",
            "files": json.dumps([file]),
        }
        await tx.execute(sa.insert(recordings).values(row | ended))
    world.engine.recorded[path.name] = path
    return session


async def outbox_rows(world: World) -> list[Any]:
    async with world.store.reading() as tx:
        return list(await tx.execute(sa.select(outbox).order_by(outbox.c.seq)))


async def taken(world: World) -> list[tuple[str, str, Any]]:
    rows = [row for row in await outbox_rows(world) if row.type == "recording.taken"]
    return [(row.subject_id, row.actor, row.data) for row in rows]


async def test_staff_see_a_recording_beside_the_consents_to_it(
    any_world: World, tmp_path: Path
) -> None:
    world, browser = any_world, Browser(any_world)
    session = await recorded_session(world, tmp_path)
    await browser.sign_in()
    _, text = await browser.get(f"/admin/sessions/{session}")
    section = text[text.index("<h2>Recordings") : text.index("<footer>")]
    assert DIGEST in section
    assert "disk full" in section
    told = re.findall(r"<span>(.*?)</span>", section)
    customer, expert = await world.user_id(CUSTOMER), await world.user_id(EXPERT)
    said = [
        (re.sub(r" <small.*", "", one), re.findall(r"<small[^>]*>([^<]*)</small>", one))
        for one in told
    ]
    assert [proof for _, proof in said] == [
        [expert, "evidence 3"],
        [customer, "evidence 4"],
        [customer, "evidence 5"],
    ]
    ends = ("asked to record the call.", "agreed: the recording began.", "ended the recording.")
    assert all(words.endswith(end) for (words, _), end in zip(said, ends, strict=True))


async def test_staff_take_a_recording_and_that_is_on_record(
    any_world: World, tmp_path: Path
) -> None:
    world, browser = any_world, Browser(any_world)
    session = await recorded_session(world, tmp_path)
    await browser.sign_in()
    path = f"/admin/sessions/{session}/recordings/rec_1-1.webm"
    async with world.client.get(path) as answer:
        assert (answer.status, await answer.read()) == (200, CONTENT)
        assert answer.headers["Content-Type"] == "video/webm"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["Cache-Control"] == "no-store"
    data = {"file": "rec_1-1.webm", "sha256": DIGEST}
    assert await taken(world) == [(session, await world.user_id(STAFF), data)]


async def test_a_recording_that_was_deleted_is_shown_as_such_and_not_handed_out(
    any_world: World, tmp_path: Path
) -> None:
    world, browser = any_world, Browser(any_world)
    session = await recorded_session(world, tmp_path)
    async with world.store.transaction() as tx:
        await tx.execute(sa.update(recordings).values(deleted_at_ms=1_767_225_600_000))
    await browser.sign_in()
    _, text = await browser.get(f"/admin/sessions/{session}")
    section = text[text.index("<h2>Recordings") : text.index("<footer>")]
    assert "Deleted 01 Jan 2026" in section
    assert DIGEST in section
    assert "/recordings/rec_1-1.webm" not in section
    status, _ = await browser.get(f"/admin/sessions/{session}/recordings/rec_1-1.webm")
    assert status == 404
    assert await taken(world) == []


@pytest.mark.parametrize("name", ["rec_1-2.webm", "..%2Fstore.db", "rec_2-1.webm"])
async def test_only_files_of_this_session_can_be_taken(
    world: World, browser: Browser, tmp_path: Path, name: str
) -> None:
    session = await recorded_session(world, tmp_path)
    other = tmp_path / "rec_2-1.webm"
    other.write_bytes(b"of another session")
    world.engine.recorded[other.name] = other
    await browser.sign_in()
    status, _ = await browser.get(f"/admin/sessions/{session}/recordings/{name}")
    assert status == 404
    assert await taken(world) == []


async def test_where_the_file_is_not_nothing_is_taken(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    session = await recorded_session(world, tmp_path)
    world.engine.recorded.clear()
    await browser.sign_in()
    status, _ = await browser.get(f"/admin/sessions/{session}/recordings/rec_1-1.webm")
    assert status == 404
    assert await taken(world) == []


async def test_staff_without_the_permission_get_no_recording_and_that_is_on_record(
    any_world: World, tmp_path: Path
) -> None:
    world, browser = any_world, Browser(any_world)
    session = await recorded_session(world, tmp_path)
    async with world.store.transaction() as tx:
        mine = sa.update(users).where(users.c.email == STAFF)
        await tx.execute(mine.values(roles=["member", "support", "finance"]))
    await browser.sign_in()
    path = f"/admin/sessions/{session}/recordings/rec_1-1.webm"
    _, text = await browser.get(f"/admin/sessions/{session}")
    assert DIGEST in text
    assert path not in text
    status, text = await browser.get(path)
    assert status == 403
    assert CONTENT.decode() not in text
    (row,) = [row for row in await outbox_rows(world) if row.type.startswith("recording.")]
    assert (row.type, row.subject_id, row.actor, row.data) == (
        "recording.refused",
        session,
        await world.user_id(STAFF),
        {"file": "rec_1-1.webm"},
    )


@pytest.mark.parametrize("who", ["stranger", "customer", "demoted"])
async def test_nobody_else_gets_a_recording_and_that_is_noted(
    world: World, browser: Browser, tmp_path: Path, who: str
) -> None:
    session = await recorded_session(world, tmp_path)
    if who == "customer":  # not even a party to it
        await browser.sign_in(CUSTOMER)
    if who == "demoted":
        await browser.sign_in()
        async with world.store.transaction() as tx:
            mine = sa.update(users).where(users.c.email == STAFF)
            await tx.execute(mine.values(roles=["member"]))
    with structlog.testing.capture_logs() as log:
        _, text = await browser.get(f"/admin/sessions/{session}/recordings/rec_1-1.webm")
    assert "Staff sign-in" in text
    assert CONTENT.decode() not in text
    refused = [entry for entry in log if entry["event"] == "staff.recording_refused"]
    assert [(entry["session"], entry["address"]) for entry in refused] == [(session, "127.0.0.1")]
    assert await taken(world) == []
