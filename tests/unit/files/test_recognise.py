"""Names, types and pictures of uploads: anything goes in, only what is harmless comes out."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from admin.files import recognise
from engine.errors import BadInput


def picture(kind: str = "JPEG", size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, kind, **options)
    return out.getvalue()


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    exif[0x0112] = 6  # turned by a quarter
    return picture(exif=exif)


@pytest.mark.parametrize(
    ("head", "type_"),
    [
        (picture(), "image/jpeg"),
        (picture("PNG"), "image/png"),
        (b"%PDF-1.7\n%", "application/pdf"),
        (b"PK\x03\x04rest", "application/zip"),
        ("Просто текст\n".encode(), "text/plain"),
        (bytes(range(128, 256)), "application/octet-stream"),
    ],
)
def test_a_type_is_told_by_the_content(head: bytes, type_: str) -> None:
    assert recognise.type_of(head) == type_


@pytest.mark.parametrize(
    "head", [b"<!DOCTYPE html><script>1</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>"]
)
def test_markup_is_never_served_as_what_it_is(head: bytes) -> None:
    assert recognise.served_type(recognise.type_of(head)) in (
        "application/octet-stream",
        "text/plain",
    )


@given(st.text(max_size=300))
def test_a_safe_name_is_one_short_printable_path_segment(name: str) -> None:
    safe = recognise.safe_name(name)
    assert 1 <= len(safe) <= recognise.MOST_NAME_CHARACTERS
    assert safe.isprintable()
    assert not set(safe) & set('/\\<>:"|?*')
    assert safe not in (".", "..")
    assert not safe.startswith(".")


def test_a_safe_name_keeps_what_people_recognise() -> None:
    assert recognise.safe_name("C:\\Users\\x\\Мой договор.pdf") == "Мой договор.pdf"
    assert recognise.safe_name("../../etc/passwd") == "passwd"
    assert recognise.safe_name("a" * 500 + ".pdf").endswith(".pdf")


@given(st.text(min_size=1, max_size=60))
def test_a_disposition_is_one_header_line(name: str) -> None:
    header = recognise.disposition(recognise.safe_name(name), inline=False)
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith("attachment; ")


def test_a_picture_loses_its_metadata_and_stands_upright() -> None:
    raw = with_exif()
    assert b"taken at home" in raw
    cleaned, type_ = recognise.clean_image(raw, longest_px=500)
    assert type_ == "image/jpeg"
    assert b"taken at home" not in cleaned
    with Image.open(io.BytesIO(cleaned)) as image:
        assert image.size == (48, 64)
        assert not image.getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_picture_is_made_to_fit(kind: str) -> None:
    cleaned, type_ = recognise.clean_image(picture(kind, (400, 100)), longest_px=200)
    assert type_ in recognise.IMAGE_TYPES
    with Image.open(io.BytesIO(cleaned)) as image:
        assert image.size == (200, 50)


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("run.sh", "echo")
    return out.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not a picture",
        b"MZ\x90\x00" + bytes(100),
        b"\x7fELF" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html><body>hello</body></html>",
        picture() + b"<script>alert(1)</script>",
        picture("GIF") + archive(),
        picture()[:200],
        b"%PDF-1.7 " + picture(),
    ],
)
def test_what_is_no_picture_or_more_than_one_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        recognise.clean_image(raw, longest_px=500)
    assert refused.value.code == "not_an_image"


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    bomb = picture("PNG", (8_000, 6_000))
    assert len(bomb) < 1_000_000
    with pytest.raises(BadInput) as refused:
        recognise.clean_image(bomb, longest_px=500)
    assert refused.value.code == "image_too_large"


@given(st.binary(max_size=400), st.integers(0, 800))
def test_spoilt_pictures_meet_a_refusal_or_become_pictures(junk: bytes, at: int) -> None:
    raw = picture()
    spoilt = raw[: at % len(raw)] + junk + raw[at % len(raw) + len(junk) :]
    try:
        cleaned, _ = recognise.clean_image(spoilt, longest_px=100)
    except BadInput:
        return
    with Image.open(io.BytesIO(cleaned)) as image:
        image.verify()
