"""The inbox and what is muted."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from admin.http.bodies import Body
from engine.signaling.messages import IdText


class Notification(Struct):
    """One line of the inbox. `title`: in the reader's language; `url`: page of the storefront."""

    id: str
    type: str
    subject_type: str
    subject_id: str
    title: str
    url: str
    data: dict[str, Any]
    read: bool
    at: str


class NotificationPage(Struct):
    """GET /notifications, newest first. `unread`: of all."""

    items: list[Notification]
    next_cursor: str | None
    unread: int


class MarkRead(Body):
    """POST /notifications/read: those, or all up to now without any."""

    ids: Annotated[list[IdText], Meta(max_length=200)] | None = None


class Unread(Struct):
    unread: int


class NoticeKind(Struct):
    type: str
    channels: list[str]
    """inapp, email, sms."""
    can_be_muted: bool


class NotificationPreferences(Struct):
    """GET /me/notification-preferences. `muted`: as "type:channel"."""

    muted: list[str]
    kinds: list[NoticeKind]


class SetNotificationPreferences(Body):
    """PUT /me/notification-preferences."""

    muted: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=500)]
