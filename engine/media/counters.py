"""The worker's counters: a fixed set of names, so that a dashboard never meets a new one by
chance.
"""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "datagrams_in",
    "datagrams_out",
    "datagrams_oversize",
    "datagrams_unknown_source",
    "signals_dropped",
    "taps_dropped",
    "send_blocked",
    "send_errors",
    "stun_requests",
    "stun_refused",
    "stun_address_conflicts",
    "tcp_opened",
    "tcp_refused",
    "tcp_dropped",
    "tcp_slow",
    "ice_nominations",
    "ice_consent_lost",
    "dtls_started",
    "dtls_connected",
    "dtls_failed",
    "dtls_refused_busy",
    "dtls_records_dropped",
    "srtp_auth_failed",
    "srtcp_auth_failed",
    "srtp_protect_failed",
    "rtp_malformed",
    "rtp_unknown_payload_type",
    "rtp_not_forwarded",
    "rtp_after_cutoff",
    "rtp_duplicate",
    "rtp_forwarded",
    "rtp_repairs_forwarded",
    "rtcp_in",
    "ssrc_evicted",
    "nacks_sent",
    "nacks_received",
    "packets_resent",
    "packets_resend_missed",
    "keyframe_requests_sent",
    "keyframes_seen",
    "first_frames",
    "acks_withheld",
    "sessions_refused",
    "internal_errors",
)


def new_counters() -> dict[str, int]:
    return dict.fromkeys(NAMES, 0)
