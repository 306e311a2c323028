"""What kinds of case there are, and what deciding one does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from admin.accounts.people import DESKS
from admin.http.bodies import Body
from admin.market.transitions import Step
from engine.errors import BadInput


class Decision(Body):
    """POST /admin/cases/{id}/decide. `decision` is a word of the case's kind; `refund_minor` is of
    a dispute that is split: what goes back to the customer.
    """

    decision: Annotated[str, Meta(min_length=1, max_length=32)]
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]
    refund_minor: Annotated[int, Meta(ge=0, le=10**12)] = 0


Follow = Callable[[Step], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class CaseKind:
    """`decisions`: the words that may be decided. `decide` has the subject follow, in the step of
    the case's own machine, whose body is a `Decision`; for one that does not end the case yet it
    sets ``step.to``. `withdraw` likewise, None: nobody withdraws one of these.
    """

    name: str
    decisions: tuple[str, ...]
    decide: Follow
    withdraw: Follow | None = None

    @property
    def permission(self) -> str:
        return DESKS[self.name]


async def nothing(_step: Step) -> None:
    """Of a kind whose decision changes nothing but the case."""


def check_word(kind: CaseKind, decision: str) -> None:
    """Raises `BadInput("unknown_decision")`."""
    if decision not in kind.decisions:
        text = f"Decide one of: {', '.join(kind.decisions)}."
        raise BadInput("unknown_decision", text, path="$.decision")
