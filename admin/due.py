"""Everything that happens by itself when its time has come, for `admin.market.timers`."""

from __future__ import annotations

from admin.market.timers import Due
from admin.orders.timers import ORDERS
from admin.requests.service import REQUESTS

DUE: tuple[Due, ...] = (ORDERS, REQUESTS)
