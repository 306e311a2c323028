"""Uploads and who opens them."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image

from admin.files import service
from engine.errors import BadInput
from engine.ids import new_id
from engine.store.market_tables import listing_revisions
from engine.store.tables import conversations, orders
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, STAFF, Api, World

OTHER = "jonas@demo.talktime.test"


def picture(kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (60, 40), (10, 120, 200)).save(out, kind)
    return out.getvalue()


async def upload(api: Api, purpose: str, content: bytes, name: str = "a.bin") -> tuple[int, Any]:
    return await api.upload(purpose, content, name)


async def fetch(api: Api, path: str, **headers: str) -> tuple[int, bytes, Any]:
    async with api.client.get(path, headers=api.headers | headers) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_a_form_and_a_raw_body_are_stored_as_sent(any_world: World) -> None:
    expert = await any_world.sign_in(EXPERT)
    content = b"any bytes at all" * 10_000
    status, file = await upload(expert, "goods", content, "../Course 1.bin")
    assert status == 201, file
    assert file["name"] == "Course 1.bin"
    assert file["size"] == len(content)
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    async with expert.client.post(
        "/api/v1/files",
        params={"purpose": "attachment", "name": "note.txt"},
        data=b"hello",
        headers=expert.headers | {"Content-Type": "application/octet-stream"},
    ) as answer:
        raw = await answer.json()
        assert answer.status == 201, raw
    assert (raw["type"], raw["purpose"]) == ("text/plain", "attachment")
    status, body, headers = await fetch(expert, f"/api/v1/files/{file['id']}")
    assert (status, body) == (200, content)
    assert headers["Content-Disposition"].startswith('attachment; filename="Course 1.bin"')
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("purpose", "content", "status", "code"),
    [
        ("photo", b"", 422, "file_empty"),
        ("goods", b"", 422, "file_empty"),
        ("photo", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "not_an_image"),
        ("image", b"<html><script>alert(1)</script>", 422, "not_an_image"),
        ("image", b"MZ" + bytes(300), 422, "not_an_image"),
        ("image", b"GIF89a" + b"<script>1</script>", 422, "not_an_image"),
        ("poster", b"x", 422, "invalid_query"),
        ("photo", bytes(service.LIMIT_BYTES["photo"] + 1), 413, "file_too_large"),
    ],
    ids=["empty", "nothing", "svg", "html", "program", "polyglot", "purpose", "large"],
)
async def test_T76_P22_what_a_purpose_does_not_take_is_refused(
    world: World, purpose: str, content: bytes, status: int, code: str
) -> None:
    expert = await world.sign_in(EXPERT)
    got, problem = await upload(expert, purpose, content)
    assert (got, problem["code"]) == (status, code)


async def test_html_is_kept_as_an_attachment_but_never_served_as_a_page(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    _, file = await upload(customer, "attachment", b"<!doctype html><script>1</script>", "x.html")
    _, _, headers = await fetch(customer, file["url"])
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment")


async def test_P22_a_picture_is_encoded_anew_and_shown_inline(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    status, file = await upload(expert, "image", picture("PNG"), "work.png")
    assert (status, file["type"]) == (201, "image/png")
    url = service.public_url(world.deps, file["id"])
    assert url == service.public_url(world.deps, file["id"])
    status, body, headers = await fetch(world.stranger, str(url))
    assert status == 200
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Disposition"].startswith("inline")
    with Image.open(io.BytesIO(body)) as image:
        assert image.size == (60, 40)
    status, _, headers = await fetch(world.stranger, f"{url}&download=true")
    assert headers["Content-Disposition"].startswith("attachment")


async def test_without_a_link_files_are_their_owners(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    other = await world.sign_in(OTHER)
    for purpose, content in (("photo", picture()), ("goods", b"x"), ("attachment", b"x")):
        _, file = await upload(expert, purpose, content)
        path = f"/api/v1/files/{file['id']}"
        assert (await fetch(expert, path))[0] == 200
        assert (await fetch(other, path))[0] == 404
        assert (await fetch(world.stranger, path))[0] == 401
    # Nobody makes a public link of goods.
    url = world.deps.file_links.public_url(file["id"])
    assert (await fetch(world.stranger, url))[0] == 404


async def test_C28_links_expire_and_open_one_file_for_one_user(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    _, first = await upload(expert, "goods", b"first")
    _, second = await upload(expert, "goods", b"second")
    assert (await fetch(world.stranger, first["url"]))[:2] == (200, b"first")
    token = first["url"].partition("?")[2]
    assert (await fetch(world.stranger, f"/api/v1/files/{second['id']}?{token}"))[0] == 401
    path = f"/api/v1/files/{first['id']}"
    expired = world.deps.file_links.token(expert.user_id, path, -10)
    status, body, _ = await fetch(world.stranger, f"{path}?token={expired}")
    assert status == 401
    assert b"link_expired" in body
    other = await world.user_id(OTHER)
    # A link made for somebody who may not open the file opens nothing.
    assert (await fetch(world.stranger, service.link(world.deps, other, first["id"])))[0] == 404


async def test_ranges(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    content = bytes(range(256)) * 4_000
    _, file = await upload(expert, "goods", content)
    path = f"/api/v1/files/{file['id']}"
    for wanted, part in (
        ("bytes=0-9", content[:10]),
        ("bytes=1000000-", content[1_000_000:]),
        ("bytes=-5", content[-5:]),
        ("bytes=5-99999999", content[5:]),
    ):
        status, body, headers = await fetch(expert, path, Range=wanted)
        assert (status, body) == (206, part), wanted
        assert headers["Content-Range"].endswith(f"/{len(content)}")
    status, _, headers = await fetch(expert, path, Range="bytes=2000000-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    for ignored in ("lines=1-2", "bytes=9-1", "bytes=-", "bytes=0-1,5-6"):
        assert (await fetch(expert, path, Range=ignored))[:2] == (200, content)
    changed = await fetch(expert, path, **{"Range": "bytes=0-1", "If-Range": '"other"'})
    assert changed[:2] == (200, content)


async def test_the_quota_counts_all_files_of_a_user(store: Any) -> None:
    world = World(store, files_quota_bytes=1_000_000)
    await world.start()
    try:
        expert = await world.sign_in(EXPERT)
        assert (await upload(expert, "goods", b"x" * 950_000))[0] == 201
        status, problem = await upload(expert, "goods", b"x" * 60_000)
        assert (status, problem["code"]) == (409, "quota_exceeded")
        status, small = await upload(expert, "goods", b"x" * 30_000)
        assert status == 201
        other = await world.sign_in(OTHER)
        assert (await upload(other, "goods", b"x" * 950_000))[0] == 201
        # What is deleted makes room.
        async with expert.client.delete(
            f"/api/v1/files/{small['id']}", headers=expert.headers
        ) as answer:
            assert answer.status == 200
        assert (await fetch(expert, f"/api/v1/files/{small['id']}"))[0] == 404
        assert (await upload(expert, "goods", b"x" * 30_000))[0] == 201
    finally:
        await world.stop()


async def test_attachments_open_to_the_members_of_the_conversation(any_world: World) -> None:
    world = any_world
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    order = await customer.order(PER_QUARTER)
    _, file = await upload(customer, "attachment", b"my lease", "lease.txt")
    path = f"/api/v1/files/{file['id']}"
    assert (await fetch(expert, path))[0] == 404
    async with world.store.transaction() as tx:
        for _ in range(2):  # used twice is used
            await service.attach(
                tx, [file["id"]], customer.user_id, "conversation", order["conversation_id"]
            )
    assert (await fetch(expert, path))[:2] == (200, b"my lease")
    assert (await fetch(await world.sign_in(OTHER), path))[0] == 404
    async with customer.client.delete(path, headers=customer.headers) as answer:
        assert (await answer.json())["code"] == "file_in_use"


async def test_only_ones_own_files_of_the_purpose_can_be_used(world: World) -> None:
    expert, other = await world.sign_in(EXPERT), await world.sign_in(OTHER)
    _, file = await upload(expert, "attachment", b"x")
    async with world.store.reading() as tx:
        assert (await service.usable(tx, file["id"], expert.user_id, "attachment")).size_bytes == 1
        for owner, purpose in ((other.user_id, "attachment"), (expert.user_id, "goods")):
            with pytest.raises(BadInput, match="Upload this file"):
                await service.usable(tx, file["id"], owner, purpose)


async def test_T73_goods_open_to_buyers_of_that_revision(any_world: World) -> None:
    world = any_world
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    _, old = await upload(expert, "goods", b"first edition")
    _, new = await upload(expert, "goods", b"second edition")
    order = await customer.order(PER_QUARTER)
    async with world.store.transaction() as tx:
        for number, file in ((91, old), (92, new)):
            await tx.execute(
                sa.insert(listing_revisions).values(
                    listing_id=PER_QUARTER,
                    number=number,
                    state="published",
                    content={"files": [file["id"]]},
                    created_at_ms=0,
                )
            )
        bought = {"fulfilment": "files", "listing_revision": 91, "state": "pending_payment"}
        await tx.execute(sa.update(orders).where(orders.c.id == order["id"]).values(bought))
    path = f"/api/v1/files/{old['id']}"
    assert (await fetch(customer, path))[0] == 404
    async with world.store.transaction() as tx:
        paid = sa.update(orders).where(orders.c.id == order["id"]).values(state="completed")
        await tx.execute(paid)
    assert (await fetch(customer, path))[:2] == (200, b"first edition")
    assert (await fetch(customer, f"/api/v1/files/{new['id']}"))[0] == 404
    assert (await fetch(await world.sign_in(STAFF), path))[0] == 200
    # Back to what the conftest's audit knows.
    async with world.store.transaction() as tx:
        back = sa.update(orders).where(orders.c.id == order["id"])
        await tx.execute(back.values(fulfilment="live", state="open"))


async def test_a_conversation_of_a_case_opens_to_who_decides_it(world: World) -> None:
    customer, staff = await world.sign_in(CUSTOMER), await world.sign_in(STAFF)
    _, file = await upload(customer, "attachment", b"evidence")
    case_id = new_id("cas")
    async with world.store.transaction() as tx:
        conversation = {"id": new_id("con"), "kind": "case", "topic": case_id, "created_at_ms": 0}
        await tx.execute(sa.insert(conversations).values(conversation))
        await service.attach(tx, [file["id"]], customer.user_id, "conversation", conversation["id"])
    path = f"/api/v1/files/{file['id']}"
    assert (await fetch(staff, path))[0] == 404  # there is no such case
