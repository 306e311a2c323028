#include "rtcp.h"

#include <string.h>

#include "rtp.h"

bool rtcp_next(const uint8_t *data, int length, int *at, rtcp_block_t *block) {
    if (*at + 4 > length || data[*at] >> 6 != 2) return false;
    int size = 4 * (1 + read16(data + *at + 2));
    if (*at + size > length) return false;
    *block = (rtcp_block_t){data[*at + 1], data[*at] & 0x1F, data + *at, size};
    *at += size;
    return true;
}

bool rtcp_sender_info(const rtcp_block_t *block, sender_info_t *info) {
    if (block->length < 28) return false;
    const uint8_t *at = block->bytes + 4;
    *info = (sender_info_t){
        read32(at),
        (uint64_t)read32(at + 4) << 32 | read32(at + 8),
        read32(at + 12),
    };
    return true;
}

static int reports_start(const rtcp_block_t *block) { return block->kind == RTCP_SR ? 28 : 8; }

int rtcp_report_count(const rtcp_block_t *block) {
    int fit = (block->length - reports_start(block)) / 24;
    if (block->length < reports_start(block)) fit = 0;
    return block->count < fit ? block->count : fit;
}

report_block_t rtcp_report(const rtcp_block_t *block, int index) {
    const uint8_t *at = block->bytes + reports_start(block) + 24 * index;
    uint32_t loss = read32(at + 4);
    int32_t lost = (int32_t)(loss & 0xFFFFFF);
    if (lost & 0x800000) lost -= 1 << 24; /* signed, 24 bits: duplicates make it negative */
    return (report_block_t){read32(at),      (int)(loss >> 24), lost,           read32(at + 8),
                            read32(at + 12), read32(at + 16),   read32(at + 20)};
}

uint32_t rtcp_media_ssrc(const rtcp_block_t *block) {
    return block->length >= 12 ? read32(block->bytes + 8) : 0;
}

int rtcp_fir_ssrcs(const rtcp_block_t *block, uint32_t *ssrcs) {
    int count = 0;
    for (int at = 12; at < block->length - 7 && count < MAX_RTCP_BLOCKS; at += 8)
        ssrcs[count++] = read32(block->bytes + at);
    return count;
}

int rtcp_nack_sequences(const rtcp_block_t *block, uint16_t *wanted) {
    int count = 0;
    for (int at = 12; at < block->length - 3; at += 4) {
        uint16_t first = read16(block->bytes + at), mask = read16(block->bytes + at + 2);
        for (int bit = -1; bit < 16; bit++) {
            if (bit >= 0 && !(mask >> bit & 1)) continue;
            if (count == MAX_NACK_SEQUENCES) return count;
            wanted[count++] = (uint16_t)(first + bit + 1);
        }
    }
    return count;
}

int rtcp_transport_received(const rtcp_block_t *block, uint16_t *numbers) {
    if (block->length < 20) return 0;
    uint16_t base = read16(block->bytes + 12);
    int count = read16(block->bytes + 14), index = 0, found = 0;
    if (count > ACK_WINDOW_PACKETS) count = ACK_WINDOW_PACKETS;
    for (int at = 20; index < count && at + 2 <= block->length; at += 2) {
        unsigned chunk = read16(block->bytes + at);
        if (!(chunk & 0x8000)) {
            int run = (int)(chunk & 0x1FFF), symbol = chunk >> 13 & 3;
            if (run > count - index) run = count - index;
            if (symbol == 1 || symbol == 2)
                for (int i = 0; i < run; i++) numbers[found++] = (uint16_t)(base + index + i);
            index += run;
            continue;
        }
        int bits = chunk & 0x4000 ? 2 : 1;
        unsigned mask = (1u << bits) - 1;
        for (int shift = 14 - bits; shift >= 0 && index < count; shift -= bits, index++) {
            unsigned symbol = chunk >> shift & mask;
            if (symbol == 1 || symbol == 2) numbers[found++] = (uint16_t)(base + index);
        }
    }
    return found;
}

static uint8_t *head(uint8_t *out, int count, int kind, int words, uint32_t sender) {
    out[0] = (uint8_t)(0x80 | count);
    out[1] = (uint8_t)kind;
    write16(out + 2, (unsigned)words);
    write32(out + 4, sender);
    return out + 8;
}

int rtcp_build_pli(uint8_t *out, uint32_t sender, uint32_t media) {
    write32(head(out, FMT_PLI, RTCP_PSFB, 2, sender), media);
    return 12;
}

int rtcp_build_nack(uint8_t *out, uint32_t sender, uint32_t media, const uint16_t *sequences,
                    int count) {
    int pairs = 0;
    uint16_t first = 0;
    for (int i = 0; i < count; i++) {
        uint16_t ahead = (uint16_t)(sequences[i] - first);
        uint8_t *mask = out + 12 + 4 * (pairs - 1) + 2;
        if (pairs && ahead >= 1 && ahead <= 16) {
            write16(mask, read16(mask) | 1u << (ahead - 1));
            continue;
        }
        first = sequences[i];
        write16(out + 12 + 4 * pairs, first);
        write16(out + 12 + 4 * pairs + 2, 0);
        pairs++;
    }
    write32(head(out, FMT_NACK, RTCP_RTPFB, 2 + pairs, sender), media);
    return 12 + 4 * pairs;
}

int rtcp_build_sr(uint8_t *out, const sender_info_t *info, uint32_t packets, uint32_t octets) {
    uint8_t *at = head(out, 0, RTCP_SR, 6, info->ssrc);
    write32(at, (uint32_t)(info->ntp >> 32));
    write32(at + 4, (uint32_t)info->ntp);
    write32(at + 8, info->rtp_timestamp);
    write32(at + 12, packets);
    write32(at + 16, octets);
    return 28;
}

int rtcp_build_rr(uint8_t *out, uint32_t sender, const report_block_t *reports, int count) {
    uint8_t *at = head(out, count, RTCP_RR, 1 + 6 * count, sender);
    for (int i = 0; i < count; i++, at += 24) {
        write32(at, reports[i].ssrc);
        write32(at + 4, (uint32_t)reports[i].fraction << 24 | ((uint32_t)reports[i].lost & 0xFFFFFF));
        write32(at + 8, reports[i].highest);
        write32(at + 12, reports[i].jitter);
        write32(at + 16, reports[i].last_sr);
        write32(at + 20, reports[i].delay);
    }
    return 8 + 24 * count;
}

int rtcp_build_sdes(uint8_t *out, uint32_t ssrc, const char *cname) {
    int name = (int)strlen(cname);
    int chunk = 4 + 2 + name;
    chunk += 4 - chunk % 4; /* at least one zero ends the list (RFC 3550 section 6.5) */
    memset(out, 0, (size_t)(4 + chunk));
    out[0] = 0x81;
    out[1] = 202;
    write16(out + 2, (unsigned)chunk / 4);
    write32(out + 4, ssrc);
    out[8] = 1;
    out[9] = (uint8_t)name;
    memcpy(out + 10, cname, (size_t)name);
    return 4 + chunk;
}
