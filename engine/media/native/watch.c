/* From acknowledgements to events: first frame, delivery, withheld acknowledgements. */
#include <stdlib.h>
#include <string.h>

#include "streams.h"

#define SENT_RING 1024

static int64_t least(int64_t one, int64_t other) { return one < other ? one : other; }

/* --- debt.py --- */

static void debt_init(debt_t *self, int64_t pause_after_ns, const owed_t *owed) {
    *self = (debt_t){*owed, pause_after_ns};
    if (!owed->pause_after_ns) self->owed.pause_after_ns = pause_after_ns;
}

static int64_t debt_total_ns(const debt_t *self) {
    return self->owed.debt_ns + self->owed.flowed_ns;
}

static bool debt_deep(const debt_t *self) { return debt_total_ns(self) >= ACK_DEBT_NS; }
static bool debt_exhausted(const debt_t *self) { return debt_total_ns(self) >= ACK_DEBT_MOST_NS; }

static void debt_sent(debt_t *self, int64_t now_ns) {
    int64_t interval_ns = now_ns - self->owed.last_sent_ns;
    if (interval_ns <= ACK_FLOW_PAUSE_NS) self->owed.flowed_ns += interval_ns;
    self->owed.last_sent_ns = now_ns;
}

static int64_t debt_mark(debt_t *self, int64_t at_ns) {
    int64_t before_ns = self->owed.flowed_ns, after_ns = self->owed.last_sent_ns - at_ns;
    self->owed.flowed_ns = least(before_ns, after_ns > 0 ? after_ns : 0);
    self->owed.mark_ns = at_ns;
    return before_ns - self->owed.flowed_ns;
}

static void debt_began(debt_t *self, int64_t at_ns) {
    if (at_ns > self->owed.mark_ns) debt_mark(self, at_ns);
}

static void debt_reported(debt_t *self, int64_t at_ns) {
    int64_t gap_ns = at_ns - self->owed.mark_ns;
    if (gap_ns < 0) return;
    int64_t flowed_ns = debt_mark(self, at_ns);
    if (gap_ns < self->owed.pause_after_ns)
        self->owed.debt_ns -= least(self->owed.debt_ns, gap_ns / ACK_DEBT_BILLED_PER_REPAID);
    else
        self->owed.debt_ns += flowed_ns;
    self->owed.pause_after_ns = self->pause_after_ns;
}

static bool debt_be_patient(debt_t *self, int64_t pause_after_ns, int64_t now_ns) {
    self->pause_after_ns = pause_after_ns;
    int64_t left_ns = self->owed.mark_ns + self->owed.pause_after_ns - now_ns;
    return pause_after_ns > self->owed.pause_after_ns && left_ns > ACK_DEBT_MARGIN_NS;
}

static bool debt_overdue(const debt_t *self, int64_t since_ns) {
    int64_t flowed_ns = least(self->owed.flowed_ns, self->owed.last_sent_ns - since_ns);
    return flowed_ns >= self->owed.pause_after_ns - ACK_DEBT_MARGIN_NS;
}

/* --- acks.py --- */

static void acks_init(acks_t *self, int64_t timeout_ns) {
    memset(self->numbers, 0xFF, sizeof self->numbers); /* -1 */
    self->timeout_ns = timeout_ns;
    self->stopped = debt_exhausted(&self->debt);
}

void acks_sent(acks_t *self, int transport, int64_t now_ns) {
    if (transport >= 0) {
        int slot = transport & (ACK_WINDOW_PACKETS - 1);
        self->numbers[slot] = transport;
        self->sent_ns[slot] = now_ns;
    }
    if (!self->unacked_since_ns || now_ns - self->last_sent_ns > ACK_FLOW_PAUSE_NS)
        self->unacked_since_ns = now_ns;
    if (!self->flowing_since_ns) self->flowing_since_ns = now_ns;
    self->last_sent_ns = now_ns;
    debt_sent(&self->debt, now_ns);
}

static bool packet_acked(acks_t *self, int64_t sent_at_ns) {
    if (sent_at_ns <= self->last_acked_sent_ns) return false;
    self->last_acked_sent_ns = sent_at_ns;
    self->unacked_since_ns = 0;
    if (!debt_deep(&self->debt)) self->trials = 0;
    return true;
}

static bool transport_acked(acks_t *self, const uint16_t *numbers, int count) {
    int64_t newest = 0;
    for (int i = 0; i < count; i++) {
        int slot = numbers[i] & (ACK_WINDOW_PACKETS - 1);
        if (self->numbers[slot] == numbers[i] && self->sent_ns[slot] > newest)
            newest = self->sent_ns[slot];
    }
    return packet_acked(self, newest);
}

static int64_t earliest_acked(const acks_t *self, const uint16_t *numbers, int count,
                              int64_t since_ns) {
    int64_t earliest = 0;
    for (int i = 0; i < count; i++) {
        int slot = numbers[i] & (ACK_WINDOW_PACKETS - 1);
        int64_t at_ns = self->sent_ns[slot];
        if (self->numbers[slot] == numbers[i] && at_ns >= since_ns &&
            (!earliest || at_ns < earliest))
            earliest = at_ns;
    }
    return earliest;
}

static bool overdue(const acks_t *self, int64_t now_ns) {
    int64_t since = self->unacked_since_ns;
    if (since && now_ns - since >= self->timeout_ns) return true;
    if (debt_exhausted(&self->debt)) return true;
    return debt_deep(&self->debt) && debt_overdue(&self->debt, self->flowing_since_ns);
}

bool acks_withheld(acks_t *self, int64_t now_ns) {
    if (self->stopped || now_ns - self->last_sent_ns > ACK_FLOW_PAUSE_NS) return false;
    if (!overdue(self, now_ns)) return false;
    self->stopped = true;
    self->stopped_at_ns = now_ns;
    return true;
}

static int64_t resume_wait_ns(const acks_t *self) {
    if (self->trials == 0) return 0;
    return self->timeout_ns << (self->trials < 10 ? self->trials : 10);
}

bool acks_report_echoed(acks_t *self, int64_t report_sent_at_ns, int64_t now_ns) {
    if (!self->stopped || report_sent_at_ns <= self->stopped_at_ns) return false;
    if (debt_exhausted(&self->debt)) return false;
    if (now_ns - self->stopped_at_ns < resume_wait_ns(self)) return false;
    self->stopped = false;
    self->trials++;
    self->unacked_since_ns = 0;
    self->flowing_since_ns = 0;
    return true;
}

/* --- first_frame.py --- */

static void audio_sent(first_frame_t *self, uint16_t sequence, int transport, int64_t now_ns) {
    if (self->audio_count == MAX_AUDIO_CANDIDATES) {
        self->audio_first = (self->audio_first + 1) % MAX_AUDIO_CANDIDATES;
        self->audio_count--;
    }
    int at = (self->audio_first + self->audio_count++) % MAX_AUDIO_CANDIDATES;
    self->audio[at] = (audio_candidate_t){sequence, transport, now_ns};
}

static void frame_drop(first_frame_t *self, int at) {
    self->frame_count--;
    memmove(self->frames + at, self->frames + at + 1,
            sizeof *self->frames * (size_t)(self->frame_count - at));
}

static void frames_make_room(first_frame_t *self) {
    while (self->frame_count >= MAX_FRAME_CANDIDATES) {
        /* The oldest complete frame is the one most likely to be acknowledged yet. */
        int at = 0;
        while (at < self->frame_count && self->frames[at].complete) at++;
        frame_drop(self, at < self->frame_count ? at : 0);
    }
}

static void frame_add(frame_t *self, uint16_t sequence, bool marker, int flags, int transport,
                      int64_t now_ns) {
    uint16_t offset = (uint16_t)(sequence - self->first);
    uint32_t bit = 1u << (offset & 31);
    if (!(self->seen[offset >> 5] & bit)) {
        self->seen[offset >> 5] |= bit;
        self->transports[self->packets++] = transport;
        self->unacked++;
    }
    if (flags & FRAME_KEY) self->keyed = true;
    if (now_ns > self->sent_at_ns) self->sent_at_ns = now_ns;
    if (marker) self->last = sequence;
    if (self->last >= 0)
        self->complete = self->packets == (uint16_t)(self->last - self->first) + 1;
}

static void video_sent(first_frame_t *self, uint16_t sequence, uint32_t timestamp, bool marker,
                       int flags, int transport, int64_t now_ns) {
    int at = 0;
    while (at < self->frame_count && self->frames[at].timestamp != timestamp) at++;
    if (at == self->frame_count) {
        if (!(flags & FRAME_START)) return;
        frames_make_room(self);
        at = self->frame_count++;
        self->frames[at] = (frame_t){.timestamp = timestamp, .first = sequence, .last = -1};
    }
    frame_t *frame = &self->frames[at];
    if ((uint16_t)(sequence - frame->first) >= MAX_FRAME_PACKETS || frame->complete) return;
    frame_add(frame, sequence, marker, flags, transport, now_ns);
    if (frame->complete && !frame->keyed) frame_drop(self, at); /* parameter sets only */
}

static void consider(found_t *best, kind_t kind, int64_t sent_at_ns) {
    if (!best->sent_at_ns || sent_at_ns < best->sent_at_ns) *best = (found_t){kind, sent_at_ns};
}

static bool is_acked(const first_frame_t *self, int32_t transport) {
    return transport >= 0 && (self->acked[transport >> 5] >> (transport & 31) & 1);
}

static void mark_acked(first_frame_t *self, const uint16_t *numbers, int count, bool set) {
    for (int i = 0; i < count; i++) {
        uint32_t bit = 1u << (numbers[i] & 31);
        if (set)
            self->acked[numbers[i] >> 5] |= bit;
        else
            self->acked[numbers[i] >> 5] &= ~bit;
    }
}

static void frame_take_acked(first_frame_t *self, frame_t *frame) {
    for (int i = 0; i < frame->packets; i++) {
        if (frame->transports[i] == -2 || !is_acked(self, frame->transports[i])) continue;
        frame->transports[i] = -2; /* done with */
        frame->unacked--;
    }
}

static found_t first_transport_acked(first_frame_t *self, const uint16_t *numbers, int count) {
    found_t best = {0};
    mark_acked(self, numbers, count, true);
    for (int i = 0; i < self->audio_count; i++) {
        audio_candidate_t *audio = &self->audio[(self->audio_first + i) % MAX_AUDIO_CANDIDATES];
        if (!is_acked(self, audio->transport)) continue;
        consider(&best, AUDIO, audio->sent_ns);
        break;
    }
    for (int i = 0; i < self->frame_count; i++) {
        frame_t *frame = &self->frames[i];
        frame_take_acked(self, frame);
        if (frame->complete && !frame->unacked) consider(&best, VIDEO, frame->sent_at_ns);
    }
    mark_acked(self, numbers, count, false);
    return best;
}

/* Without loss the first frame arrived; with loss only the highest is certain. */
static found_t audio_reported(const first_frame_t *self, uint16_t highest, int32_t lost) {
    for (int i = 0; i < self->audio_count; i++) {
        const audio_candidate_t *audio =
            &self->audio[(self->audio_first + i) % MAX_AUDIO_CANDIDATES];
        int ahead = sequence_distance(highest, audio->sequence);
        if (ahead == 0 || (ahead > 0 && lost <= 0)) return (found_t){AUDIO, audio->sent_ns};
    }
    return (found_t){0};
}

static found_t first_reported(const first_frame_t *self, kind_t kind, uint16_t highest,
                              int32_t lost) {
    if (kind == AUDIO) return audio_reported(self, highest, lost);
    found_t best = {0};
    for (int i = 0; i < self->frame_count; i++) {
        const frame_t *frame = &self->frames[i];
        if (frame->complete && sequence_distance(highest, (uint16_t)frame->last) >= 0)
            consider(&best, VIDEO, frame->sent_at_ns);
    }
    return best;
}

/* --- delivery.py --- */

watch_t *watch_new(int64_t ack_timeout_ns, int64_t pause_after_ns, bool seek_first_frame,
                   const owed_t *owed) {
    watch_t *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    debt_init(&self->acks.debt, pause_after_ns, owed);
    acks_init(&self->acks, ack_timeout_ns);
    if (seek_first_frame && !(self->first_frame = calloc(1, sizeof *self->first_frame))) {
        free(self);
        return NULL;
    }
    return self;
}

void watch_free(watch_t *self) {
    if (!self) return;
    free(self->first_frame);
    free(self);
}

void watch_sent(watch_t *self, kind_t kind, const uint8_t *data, int length, uint16_t sequence,
                uint32_t timestamp, int flags, int64_t now_ns) {
    int transport = rtp_transport_sequence(data, length);
    if (now_ns - self->acks.last_sent_ns > ACK_FLOW_PAUSE_NS) {
        self->run_began_ns = now_ns;
        memset(self->first_of_run_ns, 0, sizeof self->first_of_run_ns);
    }
    if (!self->first_of_run_ns[kind]) self->first_of_run_ns[kind] = now_ns;
    acks_sent(&self->acks, transport, now_ns);
    self->sent_ns[kind][sequence & (SENT_RING - 1)] = now_ns;
    if (!self->first_frame) return;
    if (kind == VIDEO) {
        video_sent(self->first_frame, sequence, timestamp, data[1] & 0x80, flags, transport, now_ns);
        return;
    }
    span_t payload = rtp_payload(data, length);
    if (payload.start < payload.end) audio_sent(self->first_frame, sequence, transport, now_ns);
}

static void settle(watch_t *self, found_t found) {
    if (!found.sent_at_ns) return;
    self->found = found;
    debt_began(&self->acks.debt, found.sent_at_ns);
    free(self->first_frame);
    self->first_frame = NULL;
}

static bool run_acked(const watch_t *self) {
    return self->run_began_ns && self->run_began_ns <= self->acks.last_acked_sent_ns;
}

bool watch_transport_acked(watch_t *self, const uint16_t *numbers, int count) {
    if (!transport_acked(&self->acks, numbers, count)) return false;
    if (run_acked(self)) {
        self->resumed_ns = earliest_acked(&self->acks, numbers, count, self->run_began_ns);
        self->run_began_ns = 0;
    }
    if (self->first_frame) settle(self, first_transport_acked(self->first_frame, numbers, count));
    return true;
}

bool watch_report_acked(watch_t *self, kind_t kind, uint16_t highest, int32_t lost,
                        uint16_t highest_sent) {
    int behind = sequence_distance(highest_sent, highest);
    if (behind < 0 || behind >= SENT_RING) return false;
    bool whole = lost <= self->lost[kind];
    self->lost[kind] = lost;
    if (!packet_acked(&self->acks, self->sent_ns[kind][highest & (SENT_RING - 1)])) return false;
    if (run_acked(self)) {
        if (whole) self->resumed_ns = self->first_of_run_ns[kind];
        self->run_began_ns = 0;
    }
    if (self->first_frame) settle(self, first_reported(self->first_frame, kind, highest, lost));
    return true;
}

int64_t watch_take_resumed(watch_t *self, int64_t acked_ns) {
    int64_t resumed_ns = self->resumed_ns;
    self->resumed_ns = 0;
    return resumed_ns < acked_ns ? resumed_ns : 0;
}

void watch_reported(watch_t *self, int64_t at_ns) {
    if (!self->first_frame) debt_reported(&self->acks.debt, at_ns);
}

bool watch_be_patient(watch_t *self, int64_t ack_timeout_ns, int64_t pause_after_ns,
                      int64_t now_ns) {
    acks_t *acks = &self->acks;
    if (acks->unacked_since_ns && ack_timeout_ns < acks->timeout_ns) acks->unacked_since_ns = now_ns;
    acks->timeout_ns = ack_timeout_ns;
    return debt_be_patient(&acks->debt, pause_after_ns, now_ns);
}
