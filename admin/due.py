"""Everything that happens by itself when its time has come, for `admin.market.timers`."""

from __future__ import annotations

from typing import Final

from admin.market.timers import Chore
from admin.orders.timers import ORDERS
from admin.payments.pending import PendingPayments
from admin.requests.service import REQUESTS
from admin.retention import OldNotifications, OldRecordings

DUE: tuple[Chore, ...] = (ORDERS, REQUESTS)

RETENTION: tuple[Chore, ...] = (OldNotifications(), OldRecordings())
"""Apart from the others, which must not wait for a disk, and seldom: days are what counts here."""
RETENTION_EVERY_S: Final = 3_600.0

PAYMENTS: tuple[Chore, ...] = (PendingPayments(),)
"""Apart again: providers may take long to answer."""
PAYMENTS_EVERY_S: Final = 3_600.0
