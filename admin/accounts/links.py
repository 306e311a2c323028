"""The links that only a mail carries, made at the moment it is sent: the store never has them."""

from __future__ import annotations

from admin.accounts import tokens
from admin.accounts.registration import CONFIRM, RESET, TAKEN
from admin.notices.delivery import Secrets
from admin.notices.words import Words
from engine.clock import Clock
from engine.store.database import Tx


def secret_links(words: Words, clock: Clock) -> Secrets:
    """By notice. A mail that is tried again carries a new link, and those of before stay good."""

    async def confirm(tx: Tx, user_id: str) -> dict[str, str]:
        token = await tokens.issue(tx, clock, user_id, "verify_email")
        return {"link": words.page("/verify-email", token=token)}

    async def reset(tx: Tx, user_id: str) -> dict[str, str]:
        token = await tokens.issue(tx, clock, user_id, "reset_password")
        return {"link": words.page("/reset-password", token=token)}

    return {CONFIRM: confirm, TAKEN: reset, RESET: reset}
