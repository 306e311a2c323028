"""Bodies and answers of the files area."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Purpose = Literal["photo", "image", "goods", "attachment"]
FileName = Annotated[str, Meta(min_length=1, max_length=400)]


class UploadQuery(Struct):
    """POST /files. A raw body needs both; a form may have them as fields before its file."""

    purpose: Purpose | None = None
    name: FileName | None = None


class OpenQuery(Struct):
    """GET /files/{id}. `token`: of a link that we made. `download`: save a picture too."""

    token: Annotated[str, Meta(max_length=200)] | None = None
    download: bool = False


class File(Struct):
    """`url`: path that opens it without a bearer token, for some minutes. `type`: by content."""

    id: str
    purpose: str
    name: str
    type: str
    size: int
    sha256: str
    url: str
    created_at: str
