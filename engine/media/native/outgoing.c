/* One stream towards one viewer: what leaves, under which numbers, and how its losses are mended.
 * The twin of outgoing.py. */
#include <string.h>

#include "plane.h"

#define CNAME "talktime"

bool outgoing_init(outgoing_t *self, path_t *path, kind_t kind, const stream_spec_t *spec) {
    memset(self, 0, sizeof *self);
    self->path = path;
    self->kind = kind;
    self->offered = spec->offered;
    self->ssrc = spec->ssrc;
    self->has_rtx = spec->has_rtx;
    self->rtx_ssrc = spec->rtx_ssrc;
    self->rtx_sequence = (uint16_t)(spec->first_rtx_sequence - 1);
    self->rtt_ns = -1;
    freezes_init(&self->freezes);
    rewriter_init(&self->rewriter, spec->first_sequence, spec->first_timestamp);
    keyframes_init(&self->keyframes);
    missing_init(&self->missing);
    if (kind != VIDEO || !spec->offered) return true;
    return (self->ring = ring_new()) != NULL;
}

void outgoing_free(outgoing_t *self) {
    missing_free(&self->missing);
    ring_free(self->ring);
    self->ring = NULL;
}

static counters_t *counters(outgoing_t *self) { return &self->path->plane->counters; }

static const payload_t *payload_of(outgoing_t *self, int type) {
    return &self->path->plane->payloads[type & 0x7F];
}

/* --- where its packets come from --- */

static void ask_for_keyframe(outgoing_t *self, int64_t now_ns) {
    incoming_t *source = self->source;
    if (!source || !keyframes_due(&self->keyframes, now_ns)) return;
    uint8_t block[12];
    source->path->plane->counters.keyframe_requests_sent++;
    path_send_rtcp(source->path, block,
                   rtcp_build_pli(block, source->path->report_ssrc, source->ssrc));
}

void outgoing_request_keyframe(outgoing_t *self, int64_t now_ns) {
    keyframes_request(&self->keyframes, now_ns);
    ask_for_keyframe(self, now_ns);
}

void outgoing_set_source(outgoing_t *self, incoming_t *source, int64_t now_ns) {
    if (source == self->source) return;
    /* Another path may have taken the source over already: what goes there stays. */
    if (self->source && self->source->out == self) self->source->out = NULL;
    self->source = source;
    self->synced = false;
    if (!source) {
        keyframes_arrived(&self->keyframes);
        return;
    }
    source->out = self;
    if (self->kind == VIDEO) outgoing_request_keyframe(self, now_ns);
}

void outgoing_set_limit(outgoing_t *self, int64_t limit_ns, int64_t now_ns) {
    bool resumed = self->limit_ns <= now_ns && now_ns < limit_ns;
    self->limit_ns = limit_ns;
    if (resumed) freezes_reset(&self->freezes);
    if (resumed && self->kind == VIDEO && self->source) {
        self->synced = false;
        outgoing_request_keyframe(self, now_ns);
    }
}

/* --- the hot path --- */

static void withhold(outgoing_t *self, const uint8_t *data, int length) {
    if (self->source) path_note_withheld(self->source->path, data, length);
}

static int flags_of(outgoing_t *self, const uint8_t *data, int length) {
    if (self->kind != VIDEO) return 0;
    span_t payload = rtp_payload(data, length);
    if (payload.start < 0) return 0;
    return frame_flags(payload_of(self, data[1])->codec, data, payload.start, payload.end);
}

static void request_missing(outgoing_t *self, int64_t now_ns) {
    uint16_t wanted[MAX_NACK_SEQUENCES];
    int count = missing_due(&self->missing, wanted, now_ns);
    incoming_t *source = self->source;
    if (!count || self->kind != VIDEO || !source) return;
    uint8_t block[12 + 4 * MAX_NACK_SEQUENCES];
    source->path->plane->counters.nacks_sent++;
    int length = rtcp_build_nack(block, source->path->report_ssrc, source->ssrc, wanted, count);
    path_send_rtcp(source->path, block, length);
}

static void synchronise(outgoing_t *self, uint16_t sequence, uint32_t timestamp, int64_t now_ns) {
    uint64_t serial = self->source ? self->source->serial : 0;
    rewriter_synchronise(&self->rewriter, self->kind, serial, sequence, timestamp, now_ns);
    missing_clear(&self->missing);
}

/* A packet that is not the next one; true if it is the newest, with the gap noted. */
static bool irregular(outgoing_t *self, uint16_t sequence, uint32_t timestamp, int64_t now_ns) {
    uint16_t ahead = (uint16_t)(sequence - self->rewriter.highest_in);
    if (ahead > 1 && ahead <= MAX_SEQUENCE_GAP) {
        missing_gap(&self->missing, (uint16_t)(self->rewriter.highest_in + 1), sequence, now_ns);
        request_missing(self, now_ns);
        return true;
    }
    if (rewriter_late(&self->rewriter, sequence) != LATE_RESTART) return false;
    synchronise(self, sequence, timestamp, now_ns);
    if (self->kind == VIDEO) outgoing_request_keyframe(self, now_ns);
    return true;
}

static void renumber(outgoing_t *self, uint8_t *data, uint16_t sequence, uint32_t timestamp) {
    write16(data + 2, sequence);
    write32(data + 4, timestamp);
    write32(data + 8, self->ssrc);
}

/* Frame flags are needed only while a keyframe or the first frame is waited for. */
static int watch_for_keyframe(outgoing_t *self, const uint8_t *data, int length, int flags) {
    watch_t *watch = self->path->watch;
    if (self->kind != VIDEO) return flags;
    if (!self->keyframes.pending && !(watch && watch->first_frame)) return flags;
    if (flags < 0) flags = flags_of(self, data, length);
    if (flags & FRAME_START && self->keyframes.pending) {
        keyframes_arrived(&self->keyframes);
        counters(self)->keyframes_seen++;
    }
    return flags;
}

/* Send a packet of the stream itself and count it; without header and padding (RFC 3550 section
 * 6.4.1). */
static bool send_counted(outgoing_t *self, uint8_t *data, int length) {
    span_t payload = rtp_payload(data, length);
    if (!path_send_rtp(self->path, data, length)) return false;
    self->packets++;
    self->octets += payload.end - payload.start;
    return true;
}

static void send_forwarded(outgoing_t *self, uint8_t *data, int length, int64_t now_ns) {
    bool frame_ends = self->kind == VIDEO && data[1] & 0x80;
    if (!send_counted(self, data, length)) return;
    counters(self)->rtp_forwarded++;
    if (frame_ends) freezes_frame_end(&self->freezes, now_ns);
}

void outgoing_forward(outgoing_t *self, uint8_t *data, int length, int64_t now_ns) {
    uint16_t sequence = read16(data + 2);
    uint32_t timestamp = read32(data + 4);
    int flags = -1;
    if (!has_type(self->payload_types, data[1] & 0x7F)) {
        counters(self)->rtp_unknown_payload_type++;
        withhold(self, data, length);
        return;
    }
    if (now_ns >= self->limit_ns) {
        self->synced = false;
        counters(self)->rtp_after_cutoff++;
        return;
    }
    if (!self->synced) {
        flags = flags_of(self, data, length);
        if (self->kind == VIDEO && !(flags & FRAME_START)) {
            withhold(self, data, length);
            return;
        }
        synchronise(self, sequence, timestamp, now_ns);
        self->synced = true;
    }
    rewriter_t *rewriter = &self->rewriter;
    uint16_t ahead = (uint16_t)(sequence - rewriter->highest_in);
    if (ahead == 1 || irregular(self, sequence, timestamp, now_ns)) {
        rewriter_advance(rewriter, sequence, timestamp, now_ns);
    } else if (!missing_arrived(&self->missing, sequence)) {
        counters(self)->rtp_duplicate++;
        return;
    }
    uint16_t out_sequence = (uint16_t)(sequence + rewriter->sequence_offset);
    uint32_t out_timestamp = timestamp + rewriter->timestamp_offset;
    renumber(self, data, out_sequence, out_timestamp);
    flags = watch_for_keyframe(self, data, length, flags);
    if (self->ring) ring_put(self->ring, out_sequence, data, length);
    if (self->path->tapped)
        plane_tap(self->path->plane, self->path, self->kind, data, length, now_ns);
    if (self->path->watch)
        watch_sent(self->path->watch, self->kind, data, length, out_sequence, out_timestamp,
                   flags < 0 ? 0 : flags, now_ns);
    send_forwarded(self, data, length, now_ns);
}

/* --- repairs from the publisher --- */

static void send_repair(outgoing_t *self, uint8_t *data, int length, uint32_t timestamp,
                        int64_t now_ns) {
    if (!has_type(self->rtx_payload_types, data[1] & 0x7F) || !self->has_rtx) return;
    if (self->path->watch)
        acks_sent(&self->path->watch->acks, rtp_transport_sequence(data, length), now_ns);
    self->rtx_sequence++;
    write16(data + 2, self->rtx_sequence);
    write32(data + 4, timestamp + self->rewriter.timestamp_offset);
    write32(data + 8, self->rtx_ssrc);
    if (path_send_rtp(self->path, data, length)) counters(self)->rtp_repairs_forwarded++;
}

/* The original packet inside the RTX packet, under the viewer's numbers; its length. */
static int unwrap(outgoing_t *self, uint8_t *plain, const uint8_t *data, span_t payload,
                  int payload_type, uint16_t sequence, uint32_t timestamp) {
    int body = payload.end - payload.start - 2;
    memcpy(plain, data, (size_t)payload.start);
    memcpy(plain + payload.start, data + payload.start + 2, (size_t)body);
    plain[0] &= 0xDF; /* padding stays behind */
    plain[1] = (uint8_t)((data[1] & 0x80) | payload_type);
    renumber(self, plain, sequence, timestamp + self->rewriter.timestamp_offset);
    return payload.start + body;
}

static void keep_mended(outgoing_t *self, const uint8_t *plain, int length, int64_t now_ns) {
    uint16_t sequence = read16(plain + 2);
    if (self->ring) ring_put(self->ring, sequence, plain, length);
    if (self->path->tapped)
        plane_tap(self->path->plane, self->path, self->kind, plain, length, now_ns);
    if (self->path->watch)
        watch_sent(self->path->watch, self->kind, plain, length, sequence, read32(plain + 4),
                   flags_of(self, plain, length), now_ns);
}

void outgoing_forward_repair(outgoing_t *self, uint8_t *data, int length, int64_t now_ns) {
    int type = data[1] & 0x7F;
    const payload_t *payload_type = payload_of(self, type);
    uint32_t timestamp = read32(data + 4);
    if (!payload_type->repair || !has_type(self->payload_types, payload_type->other)) {
        counters(self)->rtp_unknown_payload_type++;
        return;
    }
    span_t payload = rtp_payload(data, length);
    if (!self->synced || now_ns >= self->limit_ns || payload.start < 0) {
        withhold(self, data, length);
        return;
    }
    if (payload.end - payload.start < 2) {
        send_repair(self, data, length, timestamp, now_ns);
        return;
    }
    uint16_t original = read16(data + payload.start);
    if (rewriter_late(&self->rewriter, original) != LATE_FORWARD) {
        withhold(self, data, length);
        return;
    }
    uint16_t out_sequence = (uint16_t)(original + self->rewriter.sequence_offset);
    uint8_t *mended = NULL;
    int mended_length = 0;
    if (missing_arrived(&self->missing, original)) {
        mended = plane_scratch(self->path->plane);
        mended_length = unwrap(self, mended, data, payload, payload_type->other, out_sequence,
                               timestamp);
        keep_mended(self, mended, mended_length, now_ns);
    }
    if (has_type(self->rtx_payload_types, type)) {
        write16(data + payload.start, out_sequence);
        send_repair(self, data, length, timestamp, now_ns);
    } else if (mended && send_counted(self, mended, mended_length)) {
        counters(self)->rtp_repairs_forwarded++;
    }
}

/* --- feedback from the viewer --- */

/* As RTX; without RTX the very same bytes, for a number may protect one packet only. */
static int wrap(outgoing_t *self, uint8_t *out, kept_t packet) {
    const payload_t *payload = payload_of(self, packet.bytes[1]);
    if (payload->other == 0 || !has_type(self->rtx_payload_types, payload->other) || !self->has_rtx) {
        memcpy(out, packet.bytes, (size_t)packet.length);
        return packet.length;
    }
    self->rtx_sequence++;
    return rtp_build_rtx(out, packet.bytes, packet.length, payload->other, self->rtx_ssrc,
                         self->rtx_sequence);
}

void outgoing_resend(outgoing_t *self, const uint16_t *sequences, int count, int64_t now_ns) {
    if (!self->ring || !self->source || now_ns >= self->limit_ns) return;
    for (int i = 0; i < count; i++) {
        kept_t packet = ring_take(self->ring, sequences[i], now_ns);
        if (!packet.bytes) {
            counters(self)->packets_resend_missed++;
            continue;
        }
        uint8_t *copy = plane_scratch(self->path->plane);
        int length = wrap(self, copy, packet);
        if (length >= 0 && path_send_rtp(self->path, copy, length)) counters(self)->packets_resent++;
    }
}

int64_t outgoing_report(outgoing_t *self, const report_block_t *block, int64_t now_ns) {
    int64_t sent_at_ns = 0;
    self->reported = true;
    self->last_report = *block;
    self->reported_packets = self->packets;
    for (int i = 0; i < self->echo_count; i++)
        if (self->echoes[i].last_sr == block->last_sr) sent_at_ns = self->echoes[i].sent_at_ns;
    if (sent_at_ns) {
        self->rtt_ns = now_ns - sent_at_ns - (int64_t)block->delay * NS_PER_S / 65536;
        if (self->rtt_ns < 0) self->rtt_ns = 0;
    }
    return sent_at_ns;
}

/* --- reports and timers --- */

static void remember_echo(outgoing_t *self, uint32_t last_sr, int64_t now_ns) {
    if (self->echo_count >= ECHOES) {
        self->echo_count--;
        memmove(self->echoes, self->echoes + 1, sizeof(echo_t) * (ECHOES - 1));
    }
    int at = 0;
    while (at < self->echo_count && self->echoes[at].last_sr != last_sr) at++;
    if (at == self->echo_count) self->echo_count++;
    self->echoes[at] = (echo_t){last_sr, now_ns};
}

void outgoing_relay_sender_report(outgoing_t *self, const sender_info_t *info, int64_t now_ns) {
    /* Before the source's first packet nobody can say what its timestamps will be here. */
    if (!self->source || self->rewriter.source != self->source->serial) return;
    if (!self->packets || now_ns >= self->path->limit_ns) return;
    remember_echo(self, (uint32_t)(info->ntp >> 16), now_ns);
    uint8_t compound[64];
    sender_info_t own = {self->ssrc, info->ntp, info->rtp_timestamp + self->rewriter.timestamp_offset};
    int length = rtcp_build_sr(compound, &own, (uint32_t)self->packets, (uint32_t)self->octets);
    if (self->path->tapped)
        plane_tap(self->path->plane, self->path, self->kind, compound, length, now_ns);
    length += rtcp_build_sdes(compound + length, self->ssrc, CNAME);
    path_send_rtcp(self->path, compound, length);
}

void outgoing_tick(outgoing_t *self, int64_t now_ns) {
    if (!self->source) return;
    request_missing(self, now_ns);
    ask_for_keyframe(self, now_ns);
}
