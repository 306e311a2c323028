"""Links that open a receipt in a browser tab: one receipt, one user, a quarter of an hour."""

from __future__ import annotations

from admin.http.links import SignedLinks
from engine.clock import Clock

LIFE_S = 900
API = "/api/v1"


class ReceiptLinks(SignedLinks):
    """Makes and checks links; `secret` is the operator's."""

    def __init__(self, secret: str, clock: Clock) -> None:
        super().__init__(secret, "receipt-links", clock)

    def session_url(self, user_id: str, session_id: str) -> str:
        """Path and query of the printable receipt, for this user, for a while."""
        return self._url(user_id, f"{API}/sessions/{session_id}/receipt")

    def order_url(self, user_id: str, order_id: str) -> str:
        """Path and query of the printable receipt of a whole order."""
        return self._url(user_id, f"{API}/orders/{order_id}/receipt")

    def _url(self, user_id: str, path: str) -> str:
        return f"{path}?format=html&token={self.token(user_id, path, LIFE_S)}"
