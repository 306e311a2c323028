#include "streams.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- reception --- */

void reception_init(reception_t *self) {
    memset(self, 0, sizeof *self);
    self->base = -1;
}

void reception_add(reception_t *self, kind_t kind, uint16_t sequence, uint32_t timestamp,
                   int64_t now_ns) {
    self->received++;
    self->last_at_ns = now_ns;
    double transit = (double)now_ns * clock_per_ns(kind) - timestamp;
    if (self->base < 0) {
        self->base = self->highest = sequence;
        self->transit = transit;
        return;
    }
    uint16_t ahead = (uint16_t)(sequence - self->highest);
    if (ahead > 0 && ahead < 0x8000) {
        if (sequence < self->highest) self->cycles += 0x10000;
        self->highest = sequence;
    }
    double change = fabs(transit - self->transit);
    self->transit = transit;
    /* A wrapped or restarted timestamp is no jitter. */
    if (change < 450000) self->jitter += (change - self->jitter) / 16;
}

void reception_sender_report(reception_t *self, uint64_t ntp, int64_t now_ns) {
    self->last_sr = (uint32_t)(ntp >> 16);
    self->last_sr_at_ns = now_ns;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

int64_t reception_expected(const reception_t *self) {
    return self->base < 0 ? 0 : self->cycles + self->highest - self->base + 1;
}

int64_t reception_lost(const reception_t *self) {
    int64_t lost = reception_expected(self) - self->received;
    return lost > 0 ? lost : 0;
}

report_block_t reception_report(reception_t *self, uint32_t ssrc, int64_t now_ns) {
    int64_t highest = self->cycles + self->highest;
    int64_t expected = reception_expected(self);
    int64_t lost = clamp(expected - self->received, -(1 << 23), (1 << 23) - 1);
    int64_t interval_expected = expected - self->expected_prior;
    int64_t interval_lost = interval_expected - (self->received - self->received_prior);
    self->expected_prior = expected;
    self->received_prior = self->received;
    int64_t fraction = 0;
    if (interval_expected > 0 && interval_lost > 0)
        fraction = clamp(interval_lost * 256 / interval_expected, 0, 255);
    double delay = 0;
    if (self->last_sr) delay = (double)(now_ns - self->last_sr_at_ns) / (1000000000.0 / 65536);
    return (report_block_t){
        .ssrc = ssrc,
        .fraction = (int)fraction,
        .lost = (int32_t)lost,
        .highest = (uint32_t)highest,
        .jitter = (uint32_t)clamp((int64_t)self->jitter, 0, 0xFFFFFFFF),
        .last_sr = self->last_sr,
        .delay = (uint32_t)clamp((int64_t)delay, 0, 0xFFFFFFFF),
    };
}

/* --- rewriting --- */

#define LONG_RUN 0x4000

void rewriter_init(rewriter_t *self, uint16_t first_sequence, uint32_t first_timestamp) {
    memset(self, 0, sizeof *self);
    self->last_at_ns = -1;
    self->last_timestamp = first_timestamp;
    self->highest_out = (uint16_t)(first_sequence - 1);
}

void rewriter_synchronise(rewriter_t *self, kind_t kind, uint64_t source, uint16_t sequence,
                          uint32_t timestamp, int64_t now_ns) {
    self->sequence_offset = (uint16_t)(self->highest_out + 1 - sequence);
    if (source != self->source) {
        int64_t elapsed = 0;
        if (self->last_at_ns >= 0) {
            elapsed = (int64_t)((double)(now_ns - self->last_at_ns) * clock_per_ns(kind));
            if (elapsed < 1) elapsed = 1;
        }
        self->timestamp_offset = self->last_timestamp + (uint32_t)elapsed - timestamp;
        self->source = source;
    }
    self->base = sequence;
    self->highest_in = (uint16_t)(sequence - 1);
}

void rewriter_advance(rewriter_t *self, uint16_t sequence, uint32_t timestamp, int64_t now_ns) {
    self->highest_in = sequence;
    if ((uint16_t)(sequence - self->base) > LONG_RUN)
        /* The beginning follows: half a circle behind, it would seem to lie ahead. */
        self->base = (uint16_t)(sequence - MAX_SEQUENCE_GAP);
    self->highest_out = (uint16_t)(sequence + self->sequence_offset);
    self->last_timestamp = timestamp + self->timestamp_offset;
    self->last_at_ns = now_ns;
}

late_t rewriter_late(const rewriter_t *self, uint16_t sequence) {
    uint16_t behind = (uint16_t)(self->highest_in - sequence);
    if (behind < MAX_SEQUENCE_GAP)
        return (uint16_t)(sequence - self->base) < 0x8000 ? LATE_FORWARD : LATE_DUPLICATE;
    return behind >= 0x8000 || behind > 4 * MAX_SEQUENCE_GAP ? LATE_RESTART : LATE_DUPLICATE;
}

/* --- keyframe requests --- */

void keyframes_init(keyframes_t *self) {
    *self = (keyframes_t){false, -NEVER_NS, NEVER_NS, KEYFRAME_REPEAT_NS};
}

void keyframes_request(keyframes_t *self, int64_t now_ns) {
    if (self->pending) return;
    self->pending = true;
    self->repeat_ns = KEYFRAME_REPEAT_NS;
    int64_t earliest = self->last_sent_ns + KEYFRAME_COALESCE_NS;
    self->next_ns = now_ns > earliest ? now_ns : earliest;
}

void keyframes_arrived(keyframes_t *self) {
    self->pending = false;
    self->next_ns = NEVER_NS;
}

bool keyframes_due(keyframes_t *self, int64_t now_ns) {
    if (now_ns < self->next_ns) return false;
    self->last_sent_ns = now_ns;
    self->next_ns = now_ns + self->repeat_ns;
    self->repeat_ns *= 2;
    if (self->repeat_ns > KEYFRAME_REPEAT_MAX_NS) self->repeat_ns = KEYFRAME_REPEAT_MAX_NS;
    return true;
}

/* --- freezes --- */

void freezes_init(freezes_t *self) {
    memset(self, 0, sizeof *self);
    self->last_ns = -1;
}

static int64_t longest_ns(const freezes_t *self) {
    int64_t mean_ns = self->sum_ns / self->filled;
    return 3 * mean_ns > mean_ns + FREEZE_MARGIN_NS ? 3 * mean_ns : mean_ns + FREEZE_MARGIN_NS;
}

void freezes_frame_end(freezes_t *self, int64_t now_ns) {
    int64_t last_ns = self->last_ns;
    self->last_ns = now_ns;
    if (last_ns < 0) return;
    int64_t gap_ns = now_ns - last_ns;
    if (self->filled >= FREEZE_MIN_FRAMES && gap_ns > longest_ns(self)) {
        self->count++;
        self->frozen_ns += gap_ns;
    }
    self->sum_ns += gap_ns - self->gaps_ns[self->next];
    self->gaps_ns[self->next] = gap_ns;
    self->next = (self->next + 1) % FREEZE_WINDOW_FRAMES;
    if (self->filled < FREEZE_WINDOW_FRAMES) self->filled++;
}

void freezes_reset(freezes_t *self) {
    if (self->last_ns < 0) return;
    int64_t count = self->count, frozen_ns = self->frozen_ns;
    freezes_init(self);
    self->count = count;
    self->frozen_ns = frozen_ns;
}

/* --- the pace of delivery events --- */

void pace_init(pace_t *self) { *self = (pace_t){-NEVER_NS, 0, 0}; }

void pace_acked(pace_t *self, int64_t sent_at_ns) {
    if (sent_at_ns > self->pending_ns) self->pending_ns = sent_at_ns;
}

void pace_again(pace_t *self) {
    if (!self->reported_ns) return;
    self->reported_ns--;
    self->last_at_ns = -NEVER_NS;
}

int64_t pace_due(pace_t *self, int64_t now_ns) {
    if (self->pending_ns <= self->reported_ns) return 0;
    if (now_ns - self->last_at_ns < DELIVERY_INTERVAL_NS) return 0;
    self->last_at_ns = now_ns;
    return self->reported_ns = self->pending_ns;
}
