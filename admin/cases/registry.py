"""The kinds of case that are decided here, each from the area whose things it is about."""

from __future__ import annotations

from collections.abc import Mapping

from admin.cases.kinds import CaseKind, nothing
from admin.orders.arbitration import DISPUTE

REPORT = CaseKind(
    name="report", decisions=("upheld", "dismissed"), decide=nothing, withdraw=nothing
)
SUPPORT = CaseKind(name="support", decisions=("solved",), decide=nothing, withdraw=nothing)
PAYMENT = CaseKind(name="payment", decisions=("solved",), decide=nothing)

KINDS: Mapping[str, CaseKind] = {kind.name: kind for kind in (DISPUTE, REPORT, SUPPORT, PAYMENT)}
"""By name. A kind without an entry is seen in the queue and decided elsewhere."""
