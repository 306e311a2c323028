"""Links that open one file for a while."""

from __future__ import annotations

from admin.http.links import SignedLinks
from engine.clock import Clock

LIFE_S = 900
PUBLIC_LIFE_S = 3_600
API = "/api/v1"


class FileLinks(SignedLinks):
    """`secret` is the operator's."""

    def __init__(self, secret: str, clock: Clock) -> None:
        super().__init__(secret, "file-links", clock)

    def url(self, user_id: str, file_id: str) -> str:
        """For this user only: whether they may still open it is asked again when they do."""
        path = f"{API}/files/{file_id}"
        return f"{path}?token={self.token(user_id, path, LIFE_S)}"

    def public_url(self, file_id: str) -> str:
        """For everybody who is shown it: a photo, a picture of a listing. Stable for an hour, so
        that it is fetched once."""
        path = f"{API}/files/{file_id}"
        token = self.token("", path, PUBLIC_LIFE_S, even_s=PUBLIC_LIFE_S)
        return f"{path}?token={token}"
