/* RTCP on the wire (RFC 3550 section 6, RFC 4585, transport-wide feedback): the twin of rtcp.py.
 * Builders return the number of bytes written. */
#ifndef TALKTIME_RTCP_H
#define TALKTIME_RTCP_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

enum { RTCP_SR = 200, RTCP_RR = 201, RTCP_RTPFB = 205, RTCP_PSFB = 206 };
enum { FMT_NACK = 1, FMT_TRANSPORT_CC = 15, FMT_PLI = 1, FMT_FIR = 4 };

/* RFC 3550 section 6.4.1. `last_sr` and `delay` in 1/65536 s; `lost` is cumulative. */
typedef struct {
    uint32_t ssrc;
    int fraction;
    int32_t lost;
    uint32_t highest, jitter, last_sr, delay;
} report_block_t;

typedef struct {
    uint32_t ssrc;
    uint64_t ntp;
    uint32_t rtp_timestamp;
} sender_info_t;

typedef struct {
    int kind, count; /* packet type; count or format */
    const uint8_t *bytes;
    int length;
} rtcp_block_t;

/* The next block of a compound from `*at`, false at the end or where it is malformed. */
bool rtcp_next(const uint8_t *data, int length, int *at, rtcp_block_t *block);
bool rtcp_sender_info(const rtcp_block_t *block, sender_info_t *info);
/* How many report blocks really are there, and one of them. */
int rtcp_report_count(const rtcp_block_t *block);
report_block_t rtcp_report(const rtcp_block_t *block, int index);
uint32_t rtcp_media_ssrc(const rtcp_block_t *block);
int rtcp_fir_ssrcs(const rtcp_block_t *block, uint32_t *ssrcs); /* at most MAX_RTCP_BLOCKS */
int rtcp_nack_sequences(const rtcp_block_t *block, uint16_t *wanted); /* <= MAX_NACK_SEQUENCES */
int rtcp_transport_received(const rtcp_block_t *block, uint16_t *numbers); /* <= ACK_WINDOW_PACKETS */

#define FILLED_FEEDBACK_BYTES (20 + 2 * ACK_WINDOW_PACKETS / 7 + 2 + 2 * ACK_WINDOW_PACKETS + 8)

int rtcp_build_pli(uint8_t *out, uint32_t sender, uint32_t media);
int rtcp_build_nack(uint8_t *out, uint32_t sender, uint32_t media, const uint16_t *sequences,
                    int count);
int rtcp_build_sr(uint8_t *out, const sender_info_t *info, uint32_t packets, uint32_t octets);
int rtcp_build_rr(uint8_t *out, uint32_t sender, const report_block_t *reports, int count);
int rtcp_build_sdes(uint8_t *out, uint32_t ssrc, const char *cname);

#endif
