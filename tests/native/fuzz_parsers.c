/* A libFuzzer target: every reader of bytes from the network, alone. */
#include <stdlib.h>
#include <string.h>

#include "plane.h"

static void read_rtp(const uint8_t *data, int length) {
    span_t payload = rtp_payload(data, length);
    uint8_t repair[DATAGRAM_BUFFER_BYTES + 16];
    if (payload.start >= 0 && (payload.start > payload.end || payload.end > length)) abort();
    for (int wanted = 0; wanted < 16; wanted++) {
        span_t found = rtp_extension(data, length, wanted);
        if (found.start >= 0 && found.end > length) abort();
    }
    rtp_transport_sequence(data, length);
    if (length <= MAX_DATAGRAM_BYTES) rtp_build_rtx(repair, data, length, 97, 1, 2);
    for (codec_t codec = CODEC_NONE; codec <= CODEC_AV1; codec++) {
        frame_flags(codec, data, 0, length);
        if (payload.start >= 0) frame_flags(codec, data, payload.start, payload.end);
    }
}

static void read_block(const rtcp_block_t *block, const uint8_t *choice, int length) {
    static uint16_t numbers[ACK_WINDOW_PACKETS];
    static uint8_t filled[FILLED_FEEDBACK_BYTES];
    uint32_t ssrcs[MAX_RTCP_BLOCKS];
    sender_info_t info;
    withheld_t withheld;
    rtcp_sender_info(block, &info);
    for (int i = 0; i < rtcp_report_count(block); i++) rtcp_report(block, i);
    rtcp_fir_ssrcs(block, ssrcs);
    if (rtcp_nack_sequences(block, numbers) > MAX_NACK_SEQUENCES) abort();
    if (rtcp_transport_received(block, numbers) > ACK_WINDOW_PACKETS) abort();
    withheld_init(&withheld);
    for (int i = 0; i + 1 < length; i += 2) withheld_add(&withheld, read16(choice + i));
    int size = withheld_fill_in(&withheld, block->bytes, block->length, filled);
    if (size > FILLED_FEEDBACK_BYTES || size % 4) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > MAX_DATAGRAM_BYTES) return 0;
    int length = (int)size, at = 0;
    uint8_t *exact = malloc(size + 1); /* so that a read past the end is seen */
    memcpy(exact, data, size);
    rtcp_block_t block;
    read_rtp(exact, length);
    while (rtcp_next(exact, length, &at, &block)) read_block(&block, exact, length);
    free(exact);
    return 0;
}
