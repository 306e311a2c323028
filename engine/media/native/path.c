/* One leg's packets: streams that come in, streams that go out. The twin of path.py. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "plane.h"

/* --- life --- */

path_t *path_new(plane_t *plane, uint64_t id, const stream_spec_t *streams, types_t offered) {
    path_t *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->plane = plane;
    self->id = id;
    self->offered = offered;
    pace_init(&self->pace);
    withheld_init(&self->withheld);
    bool whole = true;
    for (int kind = 0; kind < KINDS; kind++)
        whole = outgoing_init(&self->out[kind], self, (kind_t)kind, &streams[kind]) && whole;
    self->report_ssrc = self->out[self->out[AUDIO].offered ? AUDIO : VIDEO].ssrc;
    if (whole) return self;
    path_free(self);
    return NULL;
}

void path_free(path_t *self) {
    for (int i = 0; i < self->track_count; i++) free(self->tracks[i]);
    for (int kind = 0; kind < KINDS; kind++) outgoing_free(&self->out[kind]);
    watch_free(self->watch);
    free(self);
}

static void set_publisher(path_t *self, path_t *publisher, int64_t now_ns) {
    if (publisher == self->publisher) return;
    if (self->publisher) self->publisher->viewer = NULL;
    if (publisher && publisher->viewer) {
        path_t *former = publisher->viewer;
        publisher->viewer = NULL;
        former->publisher = NULL;
        path_route(former, now_ns);
    }
    self->publisher = publisher;
    if (publisher) publisher->viewer = self;
}

static void apply_limit(path_t *self, int64_t now_ns) {
    bool stopped = self->watch && self->watch->acks.stopped;
    for (int kind = 0; kind < KINDS; kind++)
        if (self->out[kind].offered)
            outgoing_set_limit(&self->out[kind], stopped ? 0 : self->limit_ns, now_ns);
}

void path_link(path_t *self, path_t *publisher, const bool *permitted, int64_t limit_ns,
               int64_t now_ns) {
    self->limit_ns = limit_ns;
    memcpy(self->permitted, permitted, sizeof self->permitted);
    set_publisher(self, publisher, now_ns);
    apply_limit(self, now_ns);
    path_route(self, now_ns);
}

void path_route(path_t *self, int64_t now_ns) {
    for (int kind = 0; kind < KINDS; kind++) {
        if (!self->out[kind].offered) continue;
        bool flows = self->publisher && self->permitted[kind];
        if (!flows) freezes_reset(&self->out[kind].freezes);
        outgoing_set_source(&self->out[kind], flows ? self->publisher->sources[kind] : NULL, now_ns);
    }
}

void path_close(path_t *self, int64_t now_ns) {
    static const bool nothing[KINDS] = {false};
    self->closed = true;
    self->live = false;
    path_link(self, NULL, nothing, 0, now_ns);
    if (self->viewer) {
        path_t *former = self->viewer;
        self->viewer = NULL;
        former->publisher = NULL;
        path_route(former, now_ns);
    }
    path_unwatch(self);
    self->tapped = false;
    self->rx = self->tx = NULL;
}

bool path_watch(path_t *self, int64_t ack_timeout_ns, int64_t pause_after_ns,
                bool seek_first_frame, const owed_t *owed) {
    path_unwatch(self);
    self->watch = watch_new(ack_timeout_ns, pause_after_ns, seek_first_frame, owed);
    return self->watch != NULL;
}

owed_t path_owed(const path_t *self) {
    return self->watch ? self->watch->acks.debt.owed : self->owed;
}

void path_be_patient(path_t *self, int64_t ack_timeout_ns, int64_t pause_after_ns,
                     int64_t now_ns) {
    if (self->watch && watch_be_patient(self->watch, ack_timeout_ns, pause_after_ns, now_ns))
        pace_again(&self->pace);
}

void path_unwatch(path_t *self) {
    self->owed = path_owed(self);
    watch_free(self->watch);
    self->watch = NULL;
}

/* --- packets of the peer --- */

void path_note_withheld(path_t *self, const uint8_t *data, int length) {
    self->plane->counters.rtp_not_forwarded++;
    int number = rtp_transport_sequence(data, length);
    if (number >= 0) withheld_add(&self->withheld, number);
}

static void use(path_t *self, incoming_t *track, int64_t now_ns) {
    self->sources[track->kind] = track;
    if (self->viewer) path_route(self->viewer, now_ns);
}

static bool is_source(const path_t *self, const incoming_t *track) {
    return self->sources[track->kind] == track;
}

static void make_room(path_t *self) {
    if (self->track_count < MAX_SSRCS_PER_LEG) return;
    int oldest = -1;
    for (int i = 0; i < self->track_count; i++) {
        if (is_source(self, self->tracks[i])) continue;
        int64_t at_ns = self->tracks[i]->reception.last_at_ns;
        if (oldest < 0 || at_ns < self->tracks[oldest]->reception.last_at_ns) oldest = i;
    }
    incoming_t *gone = self->tracks[oldest];
    self->track_count--;
    memmove(self->tracks + oldest, self->tracks + oldest + 1,
            sizeof *self->tracks * (size_t)(self->track_count - oldest));
    if (self->rx) self->plane->srtp.remove_stream(self->rx, htonl(gone->ssrc));
    self->plane->counters.ssrc_evicted++;
    free(gone);
}

static bool mid_agrees(kind_t kind, const uint8_t *data, int length) {
    span_t found = rtp_extension(data, length, MID_EXTENSION);
    return found.start < 0 || (found.end - found.start == 1 && data[found.start] == '0' + kind);
}

static incoming_t *learn(path_t *self, const uint8_t *data, int length, int64_t now_ns) {
    int type = data[1] & 0x7F;
    const payload_t *payload = &self->plane->payloads[type];
    if (payload->codec == CODEC_NONE || !has_type(self->offered, type) ||
        !self->out[payload->kind].offered || !mid_agrees(payload->kind, data, length)) {
        self->plane->counters.rtp_unknown_payload_type++;
        return NULL;
    }
    incoming_t *track = calloc(1, sizeof *track);
    if (!track) return NULL;
    make_room(self);
    track->serial = ++self->plane->next_serial;
    track->ssrc = read32(data + 8);
    track->kind = payload->kind;
    track->repair = payload->repair;
    track->path = self;
    reception_init(&track->reception);
    self->tracks[self->track_count++] = track;
    /* A new SSRC takes over at once: a sender that restarts its encoder does not go back. */
    if (!track->repair) use(self, track, now_ns);
    return track;
}

static incoming_t *find_track(path_t *self, uint32_t ssrc) {
    for (int i = 0; i < self->track_count; i++)
        if (self->tracks[i]->ssrc == ssrc) return self->tracks[i];
    return NULL;
}

/* Whether the repair stream `ssrc` may mend `source`: it was announced for it, or for nothing. */
static bool repairs(const path_t *self, uint32_t ssrc, const incoming_t *source) {
    const outgoing_t *own = &self->out[source->kind];
    for (int i = 0; i < own->rtx_pair_count; i++)
        if (own->rtx_pairs[i].repair == ssrc) return own->rtx_pairs[i].main == source->ssrc;
    return true;
}

static void unrouted(path_t *self, incoming_t *track, uint8_t *data, int length, int64_t now_ns) {
    incoming_t *source = self->sources[track->kind];
    if (track->repair) {
        if (source && source->out && repairs(self, track->ssrc, source)) {
            outgoing_forward_repair(source->out, data, length, now_ns);
            return;
        }
    } else if (source != track &&
               (!source || now_ns - source->reception.last_at_ns > SOURCE_IDLE_NS)) {
        use(self, track, now_ns);
    }
    path_note_withheld(self, data, length);
}

void path_on_rtp(path_t *self, uint8_t *data, int length, int64_t now_ns) {
    if (!self->rx) return;
    if (self->plane->srtp.unprotect(self->rx, data, &length)) {
        self->plane->counters.srtp_auth_failed++;
        return;
    }
    if (length < RTP_HEADER_BYTES) {
        self->plane->counters.rtp_malformed++;
        return;
    }
    incoming_t *track = find_track(self, read32(data + 8));
    if (!track && !(track = learn(self, data, length, now_ns))) return;
    reception_add(&track->reception, track->kind, read16(data + 2), read32(data + 4), now_ns);
    self->packets_in++;
    self->bytes_in += length;
    if (track->out)
        outgoing_forward(track->out, data, length, now_ns);
    else
        unrouted(self, track, data, length, now_ns);
}

void path_on_rtcp(path_t *self, uint8_t *data, int length, int64_t now_ns) {
    if (!self->rx) return;
    if (self->plane->srtp.unprotect_rtcp(self->rx, data, &length)) {
        self->plane->counters.srtcp_auth_failed++;
        return;
    }
    self->plane->counters.rtcp_in++;
    feedback_handle(self, data, length, now_ns);
}

/* --- packets to the peer --- */

bool path_send_rtp(path_t *self, uint8_t *data, int length) {
    if (!self->tx || !self->address.family) return false;
    if (self->plane->srtp.protect(self->tx, data, &length)) {
        self->plane->counters.srtp_protect_failed++;
        return false;
    }
    self->packets_out++;
    self->bytes_out += length;
    plane_post(self->plane, data, length, &self->address);
    return true;
}

void path_send_rtcp(path_t *self, const uint8_t *block, int length) {
    if (!self->tx || !self->address.family || !self->live || length > MAX_RTCP_BYTES) return;
    uint8_t *copy = plane_scratch(self->plane);
    memcpy(copy, block, (size_t)length);
    if (self->plane->srtp.protect_rtcp(self->tx, copy, &length)) return;
    plane_post(self->plane, copy, length, &self->address);
}

outgoing_t *path_out_by_ssrc(path_t *self, uint32_t ssrc) {
    for (int kind = 0; kind < KINDS; kind++)
        if (self->out[kind].offered && self->out[kind].ssrc == ssrc) return &self->out[kind];
    return NULL;
}

/* --- news for Python --- */

static void tell(path_t *self) {
    if (self->news.queued) return;
    self->news.queued = true;
    self->news.next = self->plane->news;
    self->plane->news = self;
}

static void report_delivery(path_t *self, int64_t now_ns) {
    int64_t acked_ns = pace_due(&self->pace, now_ns);
    if (!acked_ns) return;
    int64_t resumed_ns = watch_take_resumed(self->watch, acked_ns);
    if (resumed_ns) {
        watch_reported(self->watch, resumed_ns);
        self->news.resumed_ns = resumed_ns;
    }
    watch_reported(self->watch, acked_ns);
    self->news.delivered_ns = acked_ns;
    tell(self);
}

static void acked(path_t *self, int64_t now_ns) {
    watch_t *watch = self->watch;
    if (watch->found.sent_at_ns) {
        self->news.first_frame = watch->found;
        self->news.first_acked_at_ns = now_ns;
        watch->found.sent_at_ns = 0;
        tell(self);
    }
    pace_acked(&self->pace, watch->acks.last_acked_sent_ns);
    report_delivery(self, now_ns);
}

/* --- feedback: the twin of feedback.py --- */

static bool is_sent_something(const path_t *self) {
    return self->out[AUDIO].source || self->out[VIDEO].source;
}

static void pass_transport_feedback(path_t *self, path_t *publisher, const rtcp_block_t *block) {
    uint8_t passed[FILLED_FEEDBACK_BYTES], filled[FILLED_FEEDBACK_BYTES];
    outgoing_t *out = path_out_by_ssrc(self, rtcp_media_ssrc(block));
    kind_t kind = out ? out->kind : self->out[AUDIO].offered ? AUDIO : VIDEO;
    incoming_t *source = publisher->sources[kind];
    if (!source) source = publisher->sources[publisher->sources[AUDIO] ? AUDIO : VIDEO];
    if (!source || block->length < 12 || block->length > MAX_RTCP_BYTES) return;
    memcpy(passed, block->bytes, (size_t)block->length);
    write32(passed + 4, publisher->report_ssrc);
    write32(passed + 8, source->ssrc);
    int length = 0;
    if (publisher->withheld.any)
        length = withheld_fill_in(&publisher->withheld, passed, block->length, filled);
    if (length)
        path_send_rtcp(publisher, filled, length);
    else
        path_send_rtcp(publisher, passed, block->length);
}

static void on_transport_feedback(path_t *self, const rtcp_block_t *block, int64_t now_ns) {
    if (self->publisher && is_sent_something(self))
        pass_transport_feedback(self, self->publisher, block);
    if (!self->watch) return;
    uint16_t numbers[ACK_WINDOW_PACKETS];
    int count = rtcp_transport_received(block, numbers);
    if (watch_transport_acked(self->watch, numbers, count)) acked(self, now_ns);
}

static void on_receiver_report(path_t *self, const report_block_t *report, int64_t now_ns) {
    outgoing_t *out = path_out_by_ssrc(self, report->ssrc);
    if (!out) return;
    int64_t echoed_at_ns = outgoing_report(out, report, now_ns);
    watch_t *watch = self->watch;
    if (!watch) return;
    uint16_t highest_sent = out->rewriter.highest_out;
    if (watch_report_acked(watch, out->kind, (uint16_t)report->highest, report->lost, highest_sent))
        acked(self, now_ns);
    if (acks_report_echoed(&watch->acks, echoed_at_ns, now_ns)) apply_limit(self, now_ns);
}

static void on_sender_report(path_t *self, const rtcp_block_t *block, int64_t now_ns) {
    sender_info_t info;
    if (!rtcp_sender_info(block, &info)) return;
    incoming_t *track = find_track(self, info.ssrc);
    if (!track) return;
    reception_sender_report(&track->reception, info.ntp, now_ns);
    if (track->out && self->viewer) outgoing_relay_sender_report(track->out, &info, now_ns);
}

static void on_nack(path_t *self, const rtcp_block_t *block, int64_t now_ns) {
    outgoing_t *out = path_out_by_ssrc(self, rtcp_media_ssrc(block));
    if (!out) return;
    uint16_t wanted[MAX_NACK_SEQUENCES];
    self->plane->counters.nacks_received++;
    outgoing_resend(out, wanted, rtcp_nack_sequences(block, wanted), now_ns);
}

static void on_keyframe_request(path_t *self, const rtcp_block_t *block, int64_t now_ns) {
    uint32_t ssrcs[MAX_RTCP_BLOCKS] = {rtcp_media_ssrc(block)};
    int count = block->count == FMT_FIR ? rtcp_fir_ssrcs(block, ssrcs) : 1;
    for (int i = 0; i < count; i++) {
        outgoing_t *out = path_out_by_ssrc(self, ssrcs[i]);
        if (!out || out->kind != VIDEO || !out->source) continue;
        outgoing_request_keyframe(out, now_ns);
        return;
    }
}

static void on_block(path_t *self, const rtcp_block_t *block, int64_t now_ns) {
    if (block->kind == RTCP_SR || block->kind == RTCP_RR) {
        if (block->kind == RTCP_SR) on_sender_report(self, block, now_ns);
        for (int i = 0; i < rtcp_report_count(block); i++) {
            report_block_t report = rtcp_report(block, i);
            on_receiver_report(self, &report, now_ns);
        }
    } else if (block->kind == RTCP_RTPFB && block->count == FMT_TRANSPORT_CC) {
        on_transport_feedback(self, block, now_ns);
    } else if (block->kind == RTCP_RTPFB && block->count == FMT_NACK) {
        on_nack(self, block, now_ns);
    } else if (block->kind == RTCP_PSFB && (block->count == FMT_PLI || block->count == FMT_FIR)) {
        on_keyframe_request(self, block, now_ns);
    }
}

void feedback_handle(path_t *self, const uint8_t *compound, int length, int64_t now_ns) {
    rtcp_block_t block;
    int at = 0;
    for (int i = 0; i < MAX_RTCP_BLOCKS && rtcp_next(compound, length, &at, &block); i++)
        on_block(self, &block, now_ns);
}

/* --- timers --- */

static void roll_rates(path_t *self, int64_t now_ns) {
    int64_t elapsed_ns = now_ns - self->rates.at_ns;
    if (self->rates.at_ns && elapsed_ns > 0) {
        double per_bit = 8e9 / (double)elapsed_ns;
        self->rates.in_bps = (int64_t)((double)(self->bytes_in - self->rates.bytes_in) * per_bit);
        self->rates.out_bps = (int64_t)((double)(self->bytes_out - self->rates.bytes_out) * per_bit);
    }
    self->rates.at_ns = now_ns;
    self->rates.bytes_in = self->bytes_in;
    self->rates.bytes_out = self->bytes_out;
}

static void send_reports(path_t *self, int64_t now_ns) {
    report_block_t reports[MAX_SSRCS_PER_LEG];
    uint8_t compound[8 + 24 * MAX_SSRCS_PER_LEG];
    int count = 0;
    for (int i = 0; i < self->track_count; i++) {
        incoming_t *track = self->tracks[i];
        if (track->repair || track->reception.last_at_ns < now_ns - 2 * REPORT_INTERVAL_NS) continue;
        reports[count++] = reception_report(&track->reception, track->ssrc, now_ns);
    }
    if (count)
        path_send_rtcp(self, compound, rtcp_build_rr(compound, self->report_ssrc, reports, count));
}

void path_tick(path_t *self, int64_t now_ns) {
    for (int kind = 0; kind < KINDS; kind++) outgoing_tick(&self->out[kind], now_ns);
    if (now_ns >= self->next_report_ns) {
        self->next_report_ns = now_ns + REPORT_INTERVAL_NS;
        roll_rates(self, now_ns);
        send_reports(self, now_ns);
    }
    if (!self->watch) return;
    if (acks_withheld(&self->watch->acks, now_ns)) {
        self->plane->counters.acks_withheld++;
        apply_limit(self, now_ns);
        self->news.acks_withheld = true;
        tell(self);
    }
    report_delivery(self, now_ns);
}

static void add_outgoing(path_stats_t *stats, const outgoing_t *out) {
    stats->freezes += out->freezes.count;
    stats->frozen_ns += out->freezes.frozen_ns;
    if (out->rtt_ns >= 0 && (stats->rtt_ns < 0 || out->rtt_ns < stats->rtt_ns))
        stats->rtt_ns = out->rtt_ns;
    if (!out->reported) return;
    int64_t lost = out->last_report.lost > 0 ? out->last_report.lost : 0;
    stats->expected_out += out->reported_packets;
    stats->lost_out += lost < out->reported_packets ? lost : out->reported_packets;
    double jitter_ms = (double)out->last_report.jitter * 1000 / clock_rate_hz(out->kind);
    if (jitter_ms > stats->jitter_out_ms) stats->jitter_out_ms = jitter_ms;
}

int64_t path_last_in_ns(const path_t *self, kind_t kind) {
    return self->sources[kind] ? self->sources[kind]->reception.last_at_ns : 0;
}

path_stats_t path_stats(const path_t *self) {
    path_stats_t stats = {
        .packets_in = self->packets_in,
        .packets_out = self->packets_out,
        .bytes_in = self->bytes_in,
        .bytes_out = self->bytes_out,
        .bitrate_in_bps = self->rates.in_bps,
        .bitrate_out_bps = self->rates.out_bps,
        .jitter_in_ms = -1,
        .jitter_out_ms = -1,
        .rtt_ns = -1,
    };
    for (int i = 0; i < self->track_count; i++) {
        if (self->tracks[i]->repair) continue;
        stats.expected_in += reception_expected(&self->tracks[i]->reception);
        stats.lost_in += reception_lost(&self->tracks[i]->reception);
    }
    for (int kind = 0; kind < KINDS; kind++) {
        if (self->out[kind].offered) add_outgoing(&stats, &self->out[kind]);
        if (!self->sources[kind]) continue;
        double jitter_ms = self->sources[kind]->reception.jitter / clock_per_ns((kind_t)kind) / 1e6;
        if (jitter_ms > stats.jitter_in_ms) stats.jitter_in_ms = jitter_ms;
    }
    return stats;
}
