"""What an upload is, by its content; its name and the type that was claimed prove nothing."""

from __future__ import annotations

import io
import unicodedata
import zipfile
from urllib.parse import quote

import puremagic
from PIL import Image, ImageOps

from engine.errors import BadInput

HEAD_BYTES = 8_192
MOST_NAME_CHARACTERS = 120
MOST_PIXELS = 40_000_000
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
_ANYTHING = "application/octet-stream"
_SERVED_AS_IS = (*IMAGE_TYPES, "application/pdf", "application/zip", "text/plain")
_READ = ("JPEG", "PNG", "WEBP", "GIF")
_WRITTEN = {"JPEG": "JPEG", "WEBP": "WEBP", "PNG": "PNG", "GIF": "PNG"}
_FORBIDDEN = '<>:"/\\|?*'
_MARKUP = (b"<script", b"<!doctype", b"<?php")
_ZIP = b"PK\x03\x04"


def type_of(head: bytes) -> str:
    """Media type of a file that begins with `head`; ``application/octet-stream`` if unclear."""
    if head.startswith(_ZIP):  # documents and programs are archives too: which, is not our concern
        return "application/zip"
    try:
        guesses = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        guesses = []
    known = next((guess.mime_type for guess in guesses if guess.mime_type), None)
    if known is not None:
        return str(known)[:80]
    return "text/plain" if _is_text(head) else _ANYTHING


def _is_text(head: bytes) -> bool:
    try:
        # The head may end within a character.
        text = head.decode("utf-8") if len(head) < HEAD_BYTES else head[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(c) == "Cc" and c not in "\t\r\n\f" for c in text)


def served_type(type_: str) -> str:
    """What a browser is told: nothing that it would run or lay out as a page."""
    harmless = type_ in _SERVED_AS_IS or type_.startswith(("audio/", "video/"))
    return type_ if harmless else _ANYTHING


def safe_name(name: str) -> str:
    """The last part of a path, without characters that a file system or a header trips over."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in last if c.isprintable() and c not in _FORBIDDEN)
    kept = " ".join(kept.split()).strip(". ")
    if len(kept) > MOST_NAME_CHARACTERS:
        stem, dot, ending = kept.rpartition(".")
        ending = dot + ending if stem and len(ending) <= 12 else ""
        kept = kept[: MOST_NAME_CHARACTERS - len(ending)].rstrip(". ") + ending
    return kept or "file"


def disposition(name: str, *, inline: bool) -> str:
    """``Content-Disposition`` (RFC 6266) with the name in both spellings."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def clean_image(raw: bytes, *, longest_px: int) -> tuple[bytes, str]:
    """The picture alone, upright and not larger than `longest_px`: (bytes, media type).

    Decoded and encoded anew, so that no metadata (where it was taken) and no other content that
    the bytes also are comes along. Raises `BadInput`: `not_an_image`, `image_too_large`.
    """
    _refuse_polyglots(raw)
    try:
        with Image.open(io.BytesIO(raw), formats=_READ) as found:
            if found.width * found.height > MOST_PIXELS:
                raise BadInput("image_too_large", f"A picture has at most {MOST_PIXELS} pixels.")
            kind = _WRITTEN[found.format or ""]
            found.draft("RGB", (longest_px, longest_px))
            upright = ImageOps.exif_transpose(found)
            upright.thumbnail((longest_px, longest_px))
            return _encode(upright, kind)
    except Image.DecompressionBombError:
        raise BadInput("image_too_large", "This picture is too large.") from None
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, EOFError, MemoryError):
        raise BadInput("not_an_image", "This is no JPEG, PNG, WebP or GIF picture.") from None


def _refuse_polyglots(raw: bytes) -> None:
    lower = raw.lower()
    if (
        any(mark in lower for mark in _MARKUP)
        or b"%pdf-" in lower[:1_024]
        or zipfile.is_zipfile(io.BytesIO(raw))
    ):
        raise BadInput("not_an_image", "This file is more than a picture.")


def _encode(image: Image.Image, kind: str) -> tuple[bytes, str]:
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    pixels = image.convert("RGBA" if transparent and kind != "JPEG" else "RGB")
    pixels.info = {}
    out = io.BytesIO()
    options = {} if kind == "PNG" else {"quality": 85}
    pixels.save(out, kind, **options)
    return out.getvalue(), Image.MIME[kind]
