/* Where a frame begins that can be decoded alone, from payload descriptors. VP8: RFC 7741. H.264:
 * RFC 6184. VP9: RFC 9628. AV1: the AOMedia RTP payload specification. */
#include "rtp.h"

enum { NAL_IDR = 5, NAL_SPS = 7, NAL_STAP_A = 24, NAL_FU_A = 28 };

static int vp8(const uint8_t *data, int at, int end) {
    if (at >= end) return 0;
    int descriptor = data[at];
    if (!(descriptor & 0x10) || descriptor & 0x07) return 0; /* S set, partition 0 */
    at += 1;
    if (descriptor & 0x80) {
        if (at >= end) return 0;
        int extended = data[at++];
        if (extended & 0x80) { /* picture id, one or two bytes */
            if (at >= end) return 0;
            at += data[at] & 0x80 ? 2 : 1;
        }
        at += extended & 0x40 ? 1 : 0; /* TL0PICIDX */
        at += extended & 0x30 ? 1 : 0; /* TID or KEYIDX */
    }
    /* The P bit of the frame header: 0 for a key frame (RFC 6386 section 9.1). */
    return at < end && !(data[at] & 0x01) ? FRAME_START | FRAME_KEY : 0;
}

static int h264_unit(int kind) {
    if (kind == NAL_IDR) return FRAME_START | FRAME_KEY;
    return kind == NAL_SPS ? FRAME_START : 0;
}

static int h264_aggregate(const uint8_t *data, int at, int end) {
    int flags = 0;
    while (at + 2 < end) {
        int size = read16(data + at);
        if (size == 0 || at + 2 + size > end) return 0;
        flags |= h264_unit(data[at + 2] & 0x1F);
        at += 2 + size;
    }
    return flags;
}

static int h264(const uint8_t *data, int at, int end) {
    if (at >= end) return 0;
    int kind = data[at] & 0x1F;
    if (kind == NAL_STAP_A) return h264_aggregate(data, at + 1, end);
    if (kind == NAL_FU_A) {
        if (at + 1 >= end || (data[at + 1] & 0x1F) != NAL_IDR) return 0;
        return data[at + 1] & 0x80 ? FRAME_START | FRAME_KEY : FRAME_KEY;
    }
    return h264_unit(kind);
}

static int vp9(const uint8_t *data, int at, int end) {
    if (at + 1 >= end) return 0;
    int descriptor = data[at];
    if (descriptor & 0x40 || !(descriptor & 0x08)) return 0; /* inter-predicted, or no begin */
    if (descriptor & 0x20) {                                 /* layered */
        at += 1;
        if (descriptor & 0x80) at += data[at] & 0x80 ? 2 : 1;
        if (at >= end || (data[at] >> 1 & 0x07)) return 0; /* a higher spatial layer is no start */
    }
    return FRAME_START | FRAME_KEY;
}

static int av1(const uint8_t *data, int at, int end) {
    /* Aggregation header Z Y W W N: N marks the first packet of a coded video sequence. */
    return at + 1 < end && (data[at] & 0x88) == 0x08 ? FRAME_START | FRAME_KEY : 0;
}

int frame_flags(codec_t codec, const uint8_t *data, int start, int end) {
    switch (codec) {
        case CODEC_VP8: return vp8(data, start, end);
        case CODEC_H264: return h264(data, start, end);
        case CODEC_VP9: return vp9(data, start, end);
        case CODEC_AV1: return av1(data, start, end);
        default: return 0;
    }
}
