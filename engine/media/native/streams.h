/* What one stream remembers: the pure parts of the plane. Twins of reception.py, rewrite.py,
 * retransmit.py, keyframes.py, debt.py, acks.py, first_frame.py, delivery.py and
 * transport_feedback.py; the reasoning is there. No I/O, no keys; time is an argument. */
#ifndef TALKTIME_STREAMS_H
#define TALKTIME_STREAMS_H

#include "limits.h"
#include "rtcp.h"
#include "rtp.h"

typedef enum { AUDIO, VIDEO, KINDS } kind_t;

static inline int clock_rate_hz(kind_t kind) { return kind == AUDIO ? 48000 : 90000; }
static inline double clock_per_ns(kind_t kind) { return clock_rate_hz(kind) / 1e9; }

/* --- what came in: reception.py --- */

typedef struct {
    int64_t received, last_at_ns;
    int64_t base, highest, cycles;
    int64_t expected_prior, received_prior;
    double jitter, transit;
    uint32_t last_sr;
    int64_t last_sr_at_ns;
} reception_t;

void reception_init(reception_t *self);
void reception_add(reception_t *self, kind_t kind, uint16_t sequence, uint32_t timestamp, int64_t now_ns);
void reception_sender_report(reception_t *self, uint64_t ntp, int64_t now_ns);
/* Packets from the first to the newest, whether they came or not. */
int64_t reception_expected(const reception_t *self);
int64_t reception_lost(const reception_t *self);
report_block_t reception_report(reception_t *self, uint32_t ssrc, int64_t now_ns);

/* --- numbers towards the viewer: rewrite.py --- */

typedef enum { LATE_FORWARD, LATE_DUPLICATE, LATE_RESTART } late_t;

typedef struct {
    uint64_t source; /* serial of the incoming stream, 0 for none yet */
    uint16_t base, highest_in, highest_out, sequence_offset;
    uint32_t timestamp_offset, last_timestamp;
    int64_t last_at_ns; /* -1 before the first packet */
} rewriter_t;

void rewriter_init(rewriter_t *self, uint16_t first_sequence, uint32_t first_timestamp);
void rewriter_synchronise(rewriter_t *self, kind_t kind, uint64_t source, uint16_t sequence,
                          uint32_t timestamp, int64_t now_ns);
void rewriter_advance(rewriter_t *self, uint16_t sequence, uint32_t timestamp, int64_t now_ns);
late_t rewriter_late(const rewriter_t *self, uint16_t sequence);

/* --- loss repair: retransmit.py --- */

typedef struct {
    int32_t sequence; /* -1: empty */
    int32_t length;
    int64_t resent_at_ns;
} ring_slot_t;

/* Whole cache lines. */
#define RING_PACKET_BYTES ((MAX_DATAGRAM_BYTES + 63) / 64 * 64)

typedef struct {
    uint8_t (*packets)[RING_PACKET_BYTES]; /* of each slot; memory only once it was used */
    ring_slot_t slots[RETRANSMIT_RING_PACKETS];
} ring_t;

typedef struct {
    const uint8_t *bytes; /* NULL: none */
    int length;
} kept_t;

ring_t *ring_new(void);
void ring_free(ring_t *self);
/* `packet` is in a buffer of DATAGRAM_BUFFER_BYTES. */
void ring_put(ring_t *self, uint16_t sequence, const uint8_t *packet, int length);
/* The packet to resend now; none if it is gone or was resent a moment ago. */
kept_t ring_take(ring_t *self, uint16_t sequence, int64_t now_ns);

typedef struct {
    uint16_t sequence, requests;
    int64_t noticed_ns, next_ns;
} gap_t;

typedef struct {
    uint32_t known[2048]; /* a bit per sequence number */
    gap_t gaps[MAX_MISSING_PACKETS + MAX_SEQUENCE_GAP];
} gaps_t;

typedef struct {
    gaps_t *table; /* NULL until something is missed */
    int count;
    int64_t due_ns;
} missing_t;

void missing_init(missing_t *self);
void missing_free(missing_t *self);
void missing_clear(missing_t *self);
void missing_gap(missing_t *self, uint16_t first, uint16_t after, int64_t now_ns);
bool missing_arrived(missing_t *self, uint16_t sequence);
/* Sequence numbers to request now, in order; at most MAX_NACK_SEQUENCES. */
int missing_due(missing_t *self, uint16_t *wanted, int64_t now_ns);

/* --- keyframe requests: keyframes.py --- */

typedef struct {
    bool pending;
    int64_t last_sent_ns, next_ns, repeat_ns;
} keyframes_t;

void keyframes_init(keyframes_t *self);
void keyframes_request(keyframes_t *self, int64_t now_ns);
void keyframes_arrived(keyframes_t *self);
bool keyframes_due(keyframes_t *self, int64_t now_ns);

/* --- freezes of a picture: freezes.py --- */

typedef struct {
    int64_t count, frozen_ns;
    int64_t last_ns; /* -1: the next frame is a beginning */
    int64_t gaps_ns[FREEZE_WINDOW_FRAMES], sum_ns;
    int filled, next;
} freezes_t;

void freezes_init(freezes_t *self);
void freezes_frame_end(freezes_t *self, int64_t now_ns);
void freezes_reset(freezes_t *self);

/* --- acknowledgements: debt.py, acks.py, first_frame.py, delivery.py --- */

typedef struct {
    int64_t debt_ns, flowed_ns, mark_ns, last_sent_ns;
    int64_t pause_after_ns; /* by which the gap that is open is judged */
} owed_t;

typedef struct {
    owed_t owed;
    int64_t pause_after_ns;
} debt_t;

typedef struct {
    int32_t numbers[ACK_WINDOW_PACKETS];
    int64_t sent_ns[ACK_WINDOW_PACKETS];
    int64_t last_acked_sent_ns, timeout_ns;
    int64_t unacked_since_ns, last_sent_ns, flowing_since_ns, stopped_at_ns;
    debt_t debt;
    int trials;
    bool stopped;
} acks_t;

typedef struct {
    uint32_t timestamp;
    uint16_t first;
    int32_t last; /* -1: the marker has not left */
    bool keyed, complete;
    int64_t sent_at_ns;
    int packets, unacked;
    uint32_t seen[MAX_FRAME_PACKETS / 32];
    int32_t transports[MAX_FRAME_PACKETS]; /* not acknowledged yet; -1: a packet without one */
} frame_t;

typedef struct {
    uint16_t sequence;
    int32_t transport;
    int64_t sent_ns;
} audio_candidate_t;

typedef struct {
    frame_t frames[MAX_FRAME_CANDIDATES];
    int frame_count;
    audio_candidate_t audio[MAX_AUDIO_CANDIDATES]; /* a ring, oldest at audio_first */
    int audio_first, audio_count;
    uint32_t acked[2048]; /* a bit per transport-wide number, for one feedback at a time */
} first_frame_t;

typedef struct {
    kind_t kind;
    int64_t sent_at_ns; /* 0: nothing found */
} found_t;

typedef struct {
    acks_t acks;
    first_frame_t *first_frame; /* NULL once found, or where none is sought */
    found_t found;
    int64_t run_began_ns, first_of_run_ns[KINDS], resumed_ns;
    int32_t lost[KINDS];
    int64_t sent_ns[KINDS][1024];
} watch_t;

watch_t *watch_new(int64_t ack_timeout_ns, int64_t pause_after_ns, bool seek_first_frame,
                   const owed_t *owed);
void watch_free(watch_t *self);
void watch_sent(watch_t *self, kind_t kind, const uint8_t *data, int length, uint16_t sequence,
                uint32_t timestamp, int flags, int64_t now_ns);
/* Both: true if something new is acknowledged. */
bool watch_transport_acked(watch_t *self, const uint16_t *numbers, int count);
bool watch_report_acked(watch_t *self, kind_t kind, uint16_t highest, int32_t lost,
                        uint16_t highest_sent);
int64_t watch_take_resumed(watch_t *self, int64_t acked_ns);
void watch_reported(watch_t *self, int64_t at_ns);
/* True if the last delivery has to be reported again. */
bool watch_be_patient(watch_t *self, int64_t ack_timeout_ns, int64_t pause_after_ns,
                      int64_t now_ns);
void acks_sent(acks_t *self, int transport, int64_t now_ns);
bool acks_withheld(acks_t *self, int64_t now_ns);
bool acks_report_echoed(acks_t *self, int64_t report_sent_at_ns, int64_t now_ns);

typedef struct {
    int64_t last_at_ns, pending_ns, reported_ns;
} pace_t;

void pace_init(pace_t *self);
void pace_acked(pace_t *self, int64_t sent_at_ns);
void pace_again(pace_t *self);
int64_t pace_due(pace_t *self, int64_t now_ns);

/* --- what the router withheld: transport_feedback.py --- */

typedef struct {
    bool any;
    int32_t numbers[1024];
} withheld_t;

void withheld_init(withheld_t *self);
void withheld_add(withheld_t *self, int number);
/* `block` with the withheld numbers entered as received, into `out` (FILLED_FEEDBACK_BYTES); the
 * length, or 0 when the block stays as it is. */
int withheld_fill_in(withheld_t *self, const uint8_t *block, int length, uint8_t *out);

#endif
