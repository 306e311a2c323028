/* The compiled packet plane: the twin of reference.py, path.py, outgoing.py, incoming.py and
 * feedback.py, which explain what is done and why. This side says how it is kept in memory.
 *
 * Everything in here runs under one lock, `plane_t.lock`, taken by whoever calls in: the packet
 * thread for a batch of datagrams, Python for one command. Nothing in here blocks or allocates for
 * an unauthenticated sender. A path belongs to its creator and is freed by it after `path_close`,
 * which removes every pointer to it; so there is nothing that could be used after it was freed.
 *
 * What leaves is collected in an outbox and sent after the lock is given back. An outbox entry
 * points into the buffer in which its packet arrived, or into the outbox's own arena. */
#ifndef TALKTIME_PLANE_H
#define TALKTIME_PLANE_H

#include <pthread.h>
#include <stdatomic.h>

#include "streams.h"

/* An address of a datagram's peer, and the one of ours that it sends to where the socket serves
 * all of them; all unused bytes are zero, so that memcmp compares. */
typedef struct {
    uint8_t ip[16], local[16];
    uint32_t scope; /* scope of an IPv6 address; number of a connection if `stream` */
    uint16_t port;
    uint8_t family; /* 4 or 6; 0 for no address */
    uint8_t stream; /* came over TCP: to be sent by Python */
} address_t;

/* libsrtp, by address, so that the library that pylibsrtp ships serves. All return 0 for success. */
typedef struct {
    int (*unprotect)(void *context, void *packet, int *length);
    int (*protect)(void *context, void *packet, int *length);
    int (*unprotect_rtcp)(void *context, void *packet, int *length);
    int (*protect_rtcp)(void *context, void *packet, int *length);
    int (*remove_stream)(void *context, unsigned int ssrc); /* in network byte order */
} srtp_t;

/* What a payload type of the offer means. */
typedef struct {
    codec_t codec;
    kind_t kind;
    bool repair;
    uint8_t other; /* the repair type of a main type and the other way round; 0: none */
} payload_t;

typedef struct {
    uint64_t bits[2];
} types_t;

static inline bool has_type(types_t types, int type) { return types.bits[type >> 6] >> (type & 63) & 1; }

typedef struct path path_t;
typedef struct plane plane_t;
typedef struct outgoing outgoing_t;

/* One incoming stream of one path. */
typedef struct {
    uint64_t serial; /* unique in the plane: a freed stream is never mistaken for a new one */
    uint32_t ssrc;
    kind_t kind;
    bool repair;
    path_t *path;
    outgoing_t *out; /* where its packets go now */
    reception_t reception;
} incoming_t;

#define ECHOES 8

typedef struct {
    uint32_t last_sr;
    int64_t sent_at_ns;
} echo_t;

/* One stream towards a viewer. */
struct outgoing {
    path_t *path;
    kind_t kind;
    bool offered, has_rtx, synced;
    uint32_t ssrc, rtx_ssrc;
    types_t payload_types, rtx_payload_types;
    incoming_t *source;
    int64_t limit_ns;
    int64_t packets, octets, reported_packets;
    uint16_t rtx_sequence;
    rewriter_t rewriter;
    keyframes_t keyframes;
    missing_t missing;
    ring_t *ring; /* NULL for audio */
    echo_t echoes[ECHOES];
    int echo_count;
    int64_t rtt_ns; /* -1: unknown */
    bool reported;
    report_block_t last_report;
    freezes_t freezes;
    struct {
        uint32_t repair, main;
    } rtx_pairs[MAX_SSRCS_PER_LEG];
    int rtx_pair_count;
};

typedef struct {
    int64_t packets_in, packets_out, bytes_in, bytes_out;
    int64_t expected_in, lost_in, expected_out, lost_out;
    int64_t bitrate_in_bps, bitrate_out_bps;
    double jitter_in_ms, jitter_out_ms; /* < 0: unknown */
    int64_t rtt_ns;                     /* -1: unknown */
    int64_t freezes, frozen_ns;
} path_stats_t;

struct path {
    plane_t *plane;
    uint64_t id;
    bool live, closed, tapped, permitted[KINDS];
    address_t address;
    int64_t limit_ns, next_report_ns;
    uint32_t report_ssrc;
    types_t offered;
    path_t *publisher, *viewer;
    outgoing_t out[KINDS];
    incoming_t *tracks[MAX_SSRCS_PER_LEG]; /* oldest first */
    int track_count;
    incoming_t *sources[KINDS];
    watch_t *watch;
    owed_t owed; /* once it is not watched any more */
    pace_t pace;
    withheld_t withheld;
    void *rx, *tx; /* libsrtp contexts */
    int64_t packets_in, packets_out, bytes_in, bytes_out;
    struct {
        int64_t at_ns, bytes_in, bytes_out, in_bps, out_bps;
    } rates;
    /* Events that Python has not been told; the path is in the plane's list then. */
    struct {
        bool queued, acks_withheld;
        found_t first_frame;
        int64_t first_acked_at_ns, resumed_ns, delivered_ns;
        path_t *next;
    } news;
};

#define COUNTERS(X)                                                                             \
    X(datagrams_in) X(datagrams_out) X(datagrams_oversize) X(datagrams_unknown_source)          \
    X(send_blocked) X(send_errors) X(stun_refused) X(signals_dropped) X(taps_dropped) X(srtp_auth_failed)       \
    X(srtcp_auth_failed) X(srtp_protect_failed) X(rtp_malformed) X(rtp_unknown_payload_type)    \
    X(rtp_not_forwarded) X(rtp_after_cutoff) X(rtp_duplicate) X(rtp_forwarded)                  \
    X(rtp_repairs_forwarded) X(rtcp_in) X(ssrc_evicted) X(nacks_sent) X(nacks_received)         \
    X(packets_resent) X(packets_resend_missed) X(keyframe_requests_sent) X(keyframes_seen)      \
    X(acks_withheld)

typedef struct {
#define X(name) uint64_t name;
    COUNTERS(X)
#undef X
} counters_t;

#define OUTBOX_PACKETS 256
#define ARENA_PACKETS 128

typedef struct {
    address_t to;
    uint8_t *data;
    int length;
} parcel_t;

typedef struct {
    parcel_t parcels[OUTBOX_PACKETS];
    int count, arena_used;
    uint8_t arena[ARENA_PACKETS][DATAGRAM_BUFFER_BYTES];
} outbox_t;

/* A datagram for Python: STUN or DTLS that came in, or anything that leaves over TCP. */
typedef struct {
    address_t address;
    bool outgoing;
    int length;
    uint8_t bytes[MAX_DATAGRAM_BYTES + 148];
} signal_t;

#define SIGNALS 512

/* A packet or sender report that a tapped path sent, for Python. */
typedef struct {
    uint64_t path;
    int64_t at_ns;
    kind_t kind;
    int length;
    uint8_t bytes[MAX_DATAGRAM_BYTES + 4];
} tapped_t;

#define TAPS 4096

#define UFRAG_BYTES 32

typedef struct {
    char text[UFRAG_BYTES]; /* zeros behind it; empty: a free place */
} ufrag_t;

typedef struct {
    address_t address;
    path_t *path; /* NULL: free */
} claim_t;

struct plane {
    pthread_mutex_t lock, turn; /* see plane_lock */
    srtp_t srtp;
    payload_t payloads[128];
    counters_t counters;
    _Atomic uint64_t sent, send_blocked, send_errors; /* counted without the lock */
    uint64_t next_serial;
    outbox_t *outbox; /* of whoever holds the lock */
    void (*flush)(plane_t *, outbox_t *);
    claim_t *claims; /* open addressing; a power of two, at most half full */
    int claim_capacity, claim_count;
    ufrag_t *ufrags; /* likewise */
    int ufrag_count, ufrag_capacity;
    path_t **paths; /* not closed */
    int path_count, path_capacity;
    path_t *news;
    signal_t *signals; /* a ring */
    tapped_t *taps; /* a ring; NULL until something is tapped */
    int tap_first, tap_count;
    int signal_first, signal_count;
    bool python_woken; /* and has not looked yet */
    bool segmented;    /* the socket takes several packets in a message */
    int fd;      /* of the packet thread's socket */
    void *owner; /* of the flush function */
};

/* --- the plane --- */

bool plane_init(plane_t *self, srtp_t srtp);
void plane_free(plane_t *self);
/* Fair: whoever waits is next, however busy the packet thread is. */
void plane_lock(plane_t *self, outbox_t *outbox);
bool plane_try_lock(plane_t *self, outbox_t *outbox);
void plane_unlock(plane_t *self);
/* A datagram in a buffer of DATAGRAM_BUFFER_BYTES, which stays as it is until the flush. */
void plane_feed(plane_t *self, uint8_t *data, int length, const address_t *from, int64_t now_ns);
void plane_tick(plane_t *self, int64_t now_ns);
bool plane_claim(plane_t *self, const address_t *address, path_t *path); /* false: no memory */
void plane_release(plane_t *self, const address_t *address);
bool plane_add_ufrag(plane_t *self, const char *ufrag);
void plane_remove_ufrag(plane_t *self, const char *ufrag);
bool plane_add_path(plane_t *self, path_t *path);
/* Forget a closed path: its addresses, its news. */
void plane_remove_path(plane_t *self, path_t *path);
/* A datagram for Python; dropped and counted if the ring is full. */
void plane_signal(plane_t *self, const uint8_t *data, int length, const address_t *address,
                  bool outgoing);
/* A copy of a packet or sender report that `path` sends. */
void plane_tap(plane_t *self, const path_t *path, kind_t kind, const uint8_t *data, int length,
               int64_t at_ns);
bool plane_has_news(const plane_t *self);
/* Queue `length` bytes at `data`, which stay there until the flush. */
void plane_post(plane_t *self, uint8_t *data, int length, const address_t *to);
/* A buffer of DATAGRAM_BUFFER_BYTES that stays until the flush. */
uint8_t *plane_scratch(plane_t *self);

/* --- paths --- */

typedef struct {
    bool offered;
    uint32_t ssrc;
    bool has_rtx;
    uint32_t rtx_ssrc;
    uint16_t first_sequence;
    uint32_t first_timestamp;
    uint16_t first_rtx_sequence;
} stream_spec_t;

path_t *path_new(plane_t *plane, uint64_t id, const stream_spec_t *streams, types_t offered);
void path_free(path_t *self); /* after path_close */
void path_close(path_t *self, int64_t now_ns);
void path_link(path_t *self, path_t *publisher, const bool *permitted, int64_t limit_ns,
               int64_t now_ns);
bool path_watch(path_t *self, int64_t ack_timeout_ns, int64_t pause_after_ns,
                bool seek_first_frame, const owed_t *owed);
owed_t path_owed(const path_t *self);
void path_be_patient(path_t *self, int64_t ack_timeout_ns, int64_t pause_after_ns,
                     int64_t now_ns);
void path_unwatch(path_t *self);
void path_on_rtp(path_t *self, uint8_t *data, int length, int64_t now_ns);
void path_on_rtcp(path_t *self, uint8_t *data, int length, int64_t now_ns);
void path_tick(path_t *self, int64_t now_ns);
path_stats_t path_stats(const path_t *self);
/* When the newest packet of the peer's present stream of this kind came, 0 for none. */
int64_t path_last_in_ns(const path_t *self, kind_t kind);
/* Protect and send the plain packet in `data`, which stays there until the flush. */
bool path_send_rtp(path_t *self, uint8_t *data, int length);
/* Protect and send a copy of an RTCP compound. */
void path_send_rtcp(path_t *self, const uint8_t *block, int length);
/* The packet in `data` is not forwarded, by a rule and not by loss. */
void path_note_withheld(path_t *self, const uint8_t *data, int length);
void path_route(path_t *self, int64_t now_ns);
outgoing_t *path_out_by_ssrc(path_t *self, uint32_t ssrc);

/* Feedback: what a decrypted compound of `path` leads to. */
void feedback_handle(path_t *self, const uint8_t *compound, int length, int64_t now_ns);

/* --- streams of a path --- */

bool outgoing_init(outgoing_t *self, path_t *path, kind_t kind, const stream_spec_t *spec);
void outgoing_free(outgoing_t *self);
void outgoing_set_source(outgoing_t *self, incoming_t *source, int64_t now_ns);
void outgoing_set_limit(outgoing_t *self, int64_t limit_ns, int64_t now_ns);
void outgoing_forward(outgoing_t *self, uint8_t *data, int length, int64_t now_ns);
void outgoing_forward_repair(outgoing_t *self, uint8_t *data, int length, int64_t now_ns);
void outgoing_resend(outgoing_t *self, const uint16_t *sequences, int count, int64_t now_ns);
void outgoing_request_keyframe(outgoing_t *self, int64_t now_ns);
/* The viewer's report; the instant at which the echoed sender report left, or 0. */
int64_t outgoing_report(outgoing_t *self, const report_block_t *block, int64_t now_ns);
void outgoing_relay_sender_report(outgoing_t *self, const sender_info_t *info, int64_t now_ns);
void outgoing_tick(outgoing_t *self, int64_t now_ns);

#endif
