#include "rtp.h"

#include <string.h>

#include "limits.h"

#define ONE_BYTE_PROFILE 0xBEDE
#define TWO_BYTE_PROFILE 0x100

static const span_t NOWHERE = {-1, -1};

span_t rtp_payload(const uint8_t *data, int length) {
    if (length < RTP_HEADER_BYTES || data[0] >> 6 != 2) return NOWHERE;
    int start = RTP_HEADER_BYTES + 4 * (data[0] & 0x0F);
    if (data[0] & 0x10) {
        if (start + 4 > length) return NOWHERE;
        start += 4 + 4 * read16(data + start + 2);
    }
    int end = length;
    if (data[0] & 0x20) {
        int padding = data[length - 1];
        if (padding == 0) return NOWHERE;
        end -= padding;
    }
    return start <= end ? (span_t){start, end} : NOWHERE;
}

static span_t find_one_byte(const uint8_t *data, int at, int end, int wanted) {
    while (at < end) {
        int head = data[at];
        if (head == 0) {
            at += 1;
            continue;
        }
        int identifier = head >> 4, size = (head & 0x0F) + 1;
        if (identifier == 15) return NOWHERE; /* RFC 8285 section 4.2: processing stops */
        if (identifier == wanted)
            return at + 1 + size <= end ? (span_t){at + 1, at + 1 + size} : NOWHERE;
        at += 1 + size;
    }
    return NOWHERE;
}

static span_t find_two_byte(const uint8_t *data, int at, int end, int wanted) {
    while (at + 1 < end) {
        int identifier = data[at];
        if (identifier == 0) {
            at += 1;
            continue;
        }
        int size = data[at + 1];
        if (identifier == wanted)
            return at + 2 + size <= end ? (span_t){at + 2, at + 2 + size} : NOWHERE;
        at += 2 + size;
    }
    return NOWHERE;
}

span_t rtp_extension(const uint8_t *data, int length, int wanted) {
    if (length < RTP_HEADER_BYTES || !(data[0] & 0x10)) return NOWHERE;
    int at = RTP_HEADER_BYTES + 4 * (data[0] & 0x0F);
    if (at + 4 > length) return NOWHERE;
    int profile = read16(data + at), end = at + 4 + 4 * read16(data + at + 2);
    at += 4;
    if (end > length) return NOWHERE;
    if (profile == ONE_BYTE_PROFILE) return find_one_byte(data, at, end, wanted);
    if (profile >> 4 == TWO_BYTE_PROFILE) return find_two_byte(data, at, end, wanted);
    return NOWHERE;
}

int rtp_transport_sequence(const uint8_t *data, int length) {
    span_t found = rtp_extension(data, length, TRANSPORT_CC_EXTENSION);
    return found.start >= 0 && found.end - found.start == 2 ? read16(data + found.start) : -1;
}

int rtp_build_rtx(uint8_t *out, const uint8_t *packet, int length, int payload_type, uint32_t ssrc,
                  uint16_t sequence) {
    span_t payload = rtp_payload(packet, length);
    if (payload.start < 0) return -1;
    out[0] = 0x80;
    out[1] = (uint8_t)((packet[1] & 0x80) | payload_type);
    write16(out + 2, sequence);
    memcpy(out + 4, packet + 4, 4);
    write32(out + 8, ssrc);
    memcpy(out + 12, packet + 2, 2); /* the original sequence number */
    memcpy(out + 14, packet + payload.start, (size_t)(payload.end - payload.start));
    return 14 + payload.end - payload.start;
}
