/* RTP on the wire (RFC 3550 section 5, RFC 8285, RFC 4588): the twin of engine/media/rtp.py.
 *
 * Every function reads within `length` bytes and answers a malformed packet with a value that says
 * so. */
#ifndef TALKTIME_RTP_H
#define TALKTIME_RTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_HEADER_BYTES 12

typedef struct {
    int start, end;  /* start < 0: malformed */
} span_t;

static inline uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static inline uint32_t read32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}
static inline void write16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static inline void write32(uint8_t *at, uint32_t value) {
    write16(at, value >> 16);
    write16(at + 2, value & 0xFFFF);
}

/* How far `newer` is ahead of `older`, in [-32768, 32767]. */
static inline int sequence_distance(uint16_t newer, uint16_t older) {
    return (int)(uint16_t)(newer - older + 0x8000) - 0x8000;
}

/* The payload without padding. */
span_t rtp_payload(const uint8_t *data, int length);
/* A header extension: start and end of its data; start < 0 when absent or malformed. */
span_t rtp_extension(const uint8_t *data, int length, int wanted);
/* The transport-wide sequence number, -1 when there is none. */
int rtp_transport_sequence(const uint8_t *data, int length);
/* `packet` as a retransmission (RFC 4588 section 4) into `out`, which has room for `length` + 2
 * bytes; its length, or -1 when the packet is malformed. */
int rtp_build_rtx(uint8_t *out, const uint8_t *packet, int length, int payload_type, uint32_t ssrc,
                  uint16_t sequence);

/* Flags of a video payload: a frame that can be decoded without any other begins here; data of such
 * a frame is in it. */
#define FRAME_START 1
#define FRAME_KEY 2

typedef enum { CODEC_NONE, CODEC_AUDIO, CODEC_VP8, CODEC_H264, CODEC_VP9, CODEC_AV1 } codec_t;

/* The twin of engine/media/frames.py. */
int frame_flags(codec_t codec, const uint8_t *data, int start, int end);

#endif
