"""Every bound of the media plane, with its unit and its reason.

Whatever a peer controls (how many, how large, how long) meets one of these before it costs memory.
"""

from __future__ import annotations

from typing import Final

from engine.clock import NS_PER_MS, NS_PER_S

# --- datagrams ---

# An Ethernet frame's worth; WebRTC senders stay near 1200 bytes, nothing larger is legitimate.
MAX_DATAGRAM_BYTES: Final = 1500
# The receive buffer: one byte more to notice oversize, and the room libsrtp may need for its
# trailer.
DATAGRAM_BUFFER_BYTES: Final = 2048
# Datagrams handled in one wake-up before the loop may run something else (about 3 ms of work).
MAX_DATAGRAMS_PER_WAKEUP: Final = 128
# Kernel buffers: a keyframe burst of many sessions at once must fit (the kernel may cap it).
SOCKET_BUFFER_BYTES: Final = 4 << 20

# --- sessions and legs ---

# Sessions per worker by default: the upper end of what one core relays (design/media.md).
MAX_SESSIONS: Final = 500
# Legs of one session: the customer, a customer reconnecting, and an expert's ringing devices.
MAX_LEGS_PER_SESSION: Final = 10
# Validated addresses per leg: one per network interface and address family, plus NAT rebindings,
# each of them to every address of ours.
MAX_ADDRESSES_PER_LEG: Final = 16
# An address whose owner has been silent for so long may be taken over by another leg (port reuse).
ADDRESS_STALE_NS: Final = 10 * NS_PER_S
# SSRCs that one leg may use at once: two media, their RTX, and a few changes of either.
MAX_SSRCS_PER_LEG: Final = 16

# --- STUN and ICE ------------------------------------------------------------------------------

# A binding request with every attribute in use stays well below this.
MAX_STUN_BYTES: Final = 576
# Header, and a USERNAME of at least one word.
MIN_STUN_REQUEST_BYTES: Final = 28
# USERNAME is at most 513 bytes (RFC 8489 section 14.3).
MAX_STUN_USERNAME_BYTES: Final = 513
# Attributes walked before authentication.
MAX_STUN_ATTRIBUTES: Final = 24
# Consent is lost after so long without an authenticated check (RFC 7675 section 5.1).
CONSENT_TIMEOUT_NS: Final = 30 * NS_PER_S

# --- DTLS --------------------------------------------------------------------------------------

# Handshakes at once, for the whole worker: each costs about 2 ms of CPU and 60 kB.
MAX_HANDSHAKES: Final = 64
# Handshakes at once from one address (an IPv6 /64): an office behind one NAT still gets through.
MAX_HANDSHAKES_PER_SOURCE: Final = 8
# A handshake not finished by then has failed; clients retransmit at 1, 2, 4, 8 s.
HANDSHAKE_TIMEOUT_S: Final = 20.0
# DTLS datagrams kept while aiortc has not read them; a whole flight is at most five or six.
MAX_DTLS_BACKLOG: Final = 16

# --- ICE over TCP ---

# Connections at once: two for each session of a full worker, and as many again for strangers and
# for browsers that connect from every interface.
MAX_STREAMS: Final = 2048
# Connections at once from one address (an IPv6 /64): a large office behind one NAT.
MAX_STREAMS_PER_SOURCE: Final = 128
# Connections without an authenticated request; past that a newcomer takes the oldest one's place.
MAX_STRANGER_STREAMS: Final = 256
# How long a connection may remain a stranger: browsers send their first check at once.
STREAM_PROOF_S: Final = 5.0
# What one read takes, of 2 to 1502 byte frames: the time that one connection may take at once.
STREAM_BUFFER_BYTES: Final = 8192
# Unsent bytes at which a peer is too slow: 2 s of a 2 Mbit/s stream, and the kernel's part of it
# (Linux doubles the latter).
MAX_STREAM_BACKLOG_BYTES: Final = 512 * 1024
STREAM_KERNEL_BUFFER_BYTES: Final = 128 * 1024
# A free port of UDP may be taken for TCP: how many are tried when none is configured.
MAX_PORT_ATTEMPTS: Final = 16

# --- SDP ---------------------------------------------------------------------------------------

# Browsers' answers are 3 to 8 kB.
MAX_SDP_BYTES: Final = 64 * 1024
MAX_SDP_LINES: Final = 2000
MAX_SDP_LINE_BYTES: Final = 2048
MAX_SDP_FINGERPRINTS: Final = 8

# --- relaying ---

# Packets kept per video stream for retransmission: 2.5 s at 2 Mbit/s.
RETRANSMIT_RING_PACKETS: Final = 512
# A larger jump in sequence numbers is a restart of the stream, not loss.
MAX_SEQUENCE_GAP: Final = 400
# Gaps remembered per stream; older ones are given up.
MAX_MISSING_PACKETS: Final = 400
# Requests for one missing packet, and how long they go on. The first are repeated fast: a picture
# that waits for 150 ms is frozen, and a publisher answers no more than one in a round trip. Every
# second one the wait doubles, so that the last ones find a publisher far away, too.
MAX_NACKS_PER_PACKET: Final = 8
NACK_RETRY_NS: Final = 20 * NS_PER_MS
NACK_GIVE_UP_NS: Final = 1_000 * NS_PER_MS
# Sequence numbers taken from or put into one RTCP packet.
MAX_NACK_SEQUENCES: Final = 256
# The same packet is not resent more often than that (de-duplication of NACKs).
RESEND_INTERVAL_NS: Final = 20 * NS_PER_MS
# Blocks looked at in one RTCP compound.
MAX_RTCP_BLOCKS: Final = 32
# RTCP that the engine passes on: leaves room for SRTCP's trailer within pylibsrtp's buffer.
MAX_RTCP_BYTES: Final = 1300
# Packets of one video frame tracked until the first acknowledgement: 700 kB, above any keyframe.
MAX_FRAME_PACKETS: Final = 512
# Candidates for the first frame tracked at once.
MAX_FRAME_CANDIDATES: Final = 4
# Audio packets remembered until the first acknowledgement: 10 s of Opus.
MAX_AUDIO_CANDIDATES: Final = 512
# Transport-wide numbers remembered for acknowledgements: 4 s at 500 packets/s.
ACK_WINDOW_PACKETS: Final = 2048

# --- timers ---

# A tick costs some microseconds per session, whether or not there is something to do.
TICK_S: Final = 0.04
# How often the consent of all legs is looked at.
CONSENT_CHECK_S: Final = 0.2
REPORT_INTERVAL_NS: Final = 1 * NS_PER_S
# One keyframe request per interval while a viewer keeps asking; then repeated, ever slower.
KEYFRAME_COALESCE_NS: Final = 300 * NS_PER_MS
KEYFRAME_REPEAT_NS: Final = 500 * NS_PER_MS
KEYFRAME_REPEAT_MAX_NS: Final = 4 * NS_PER_S
# A source that was silent for so long may be replaced by another SSRC of the same leg and kind.
SOURCE_IDLE_NS: Final = 500 * NS_PER_MS
DELIVERY_INTERVAL_NS: Final = 1 * NS_PER_S
# Media without one acknowledgement for so long stops (product/features.md, override 1).
ACK_TIMEOUT_NS: Final = 5 * NS_PER_S
# The same for a receiver of audio alone that has no transport-wide feedback for it: browsers then
# report every 2.5 to 7.5 s only.
ACK_TIMEOUT_REPORTS_ONLY_NS: Final = 8 * NS_PER_S

# A kind of media flows if something of it came within so long: longer than a bad network's gaps.
FLOWS_WITHIN_NS: Final = 2 * NS_PER_S

# Freezes by the definition of webrtc-stats; browsers too judge none before they saw a few frames.
FREEZE_WINDOW_FRAMES: Final = 30
FREEZE_MIN_FRAMES: Final = 5
FREEZE_MARGIN_NS: Final = 150 * NS_PER_MS

# Media that paused for so long (mute, DTX) does not count as flowing.
ACK_FLOW_PAUSE_NS: Final = 1 * NS_PER_S

# Media that flowed to a customer and were not billed, because acknowledgements came too seldom: up
# to here that is a bad network's doing. It is what one reconnect window (30 s) may cost, or six
# outages of `ACK_TIMEOUT_NS` with nothing billed between them. From here on forwarding stops before
# what flows without an acknowledgement could no longer be billed.
ACK_DEBT_NS: Final = 30 * NS_PER_S
# Here nothing is forwarded any more, and the session ends when its window is over: one more window,
# for what no rule can foresee, such as a customer who connects anew every few seconds.
ACK_DEBT_MOST_NS: Final = 60 * NS_PER_S
# How long before a gap becomes a pause it stops: some ticks, and late ones.
ACK_DEBT_MARGIN_NS: Final = 250 * NS_PER_MS
# So many seconds billed take one off the debt: an outage of `ACK_TIMEOUT_NS` every minute is
# forgiven for good, and whoever uses that up pays for ten parts in eleven of what it gets.
ACK_DEBT_BILLED_PER_REPAID: Final = 10

# A time that never comes, for comparisons without a special case.
NEVER_NS: Final = 1 << 63

assert RETRANSMIT_RING_PACKETS & (RETRANSMIT_RING_PACKETS - 1) == 0
assert ACK_WINDOW_PACKETS & (ACK_WINDOW_PACKETS - 1) == 0
assert MAX_SEQUENCE_GAP <= MAX_MISSING_PACKETS < RETRANSMIT_RING_PACKETS
assert DATAGRAM_BUFFER_BYTES >= MAX_DATAGRAM_BYTES + 1 + 148
