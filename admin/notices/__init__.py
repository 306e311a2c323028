"""Telling people: who hears of which event, by which channel, in which words."""

from admin.notices.service import notify

__all__ = ["notify"]
