/* libsrtp's functions without keys: what is protected is what was given. The contexts are never
 * looked at; any that is not NULL will do. */
#ifndef TALKTIME_PLAIN_SRTP_H
#define TALKTIME_PLAIN_SRTP_H

#include "plane.h"

static int plain(void *context, void *packet, int *length) {
    (void)context, (void)packet;
    return *length < 8;
}

static int plain_remove(void *context, unsigned int ssrc) {
    (void)context, (void)ssrc;
    return 0;
}

static const srtp_t PLAIN_SRTP = {plain, plain, plain, plain, plain_remove};

/* The payload types of engine/media/codecs.py. */
static void plain_payloads(plane_t *plane) {
    static const struct {
        int type, repair;
        codec_t codec;
    } rows[] = {{111, 0, CODEC_AUDIO}, {63, 0, CODEC_AUDIO}, {96, 97, CODEC_VP8},
                {102, 103, CODEC_H264}, {98, 99, CODEC_VP9}, {100, 101, CODEC_AV1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kind_t kind = rows[i].codec == CODEC_AUDIO ? AUDIO : VIDEO;
        plane->payloads[rows[i].type] =
            (payload_t){rows[i].codec, kind, false, (uint8_t)rows[i].repair};
        if (rows[i].repair)
            plane->payloads[rows[i].repair] =
                (payload_t){rows[i].codec, kind, true, (uint8_t)rows[i].type};
    }
}

static path_t *plain_path(plane_t *plane, uint64_t id) {
    static const types_t everything = {{~UINT64_C(0), ~UINT64_C(0)}};
    uint32_t ssrc = 1000 * (uint32_t)id;
    stream_spec_t streams[KINDS] = {{true, ssrc, false, 0, 7, 8, 9},
                                    {true, ssrc + 1, true, ssrc + 2, 7, 8, 9}};
    path_t *path = path_new(plane, id, streams, everything);
    for (int kind = 0; kind < KINDS; kind++)
        path->out[kind].payload_types = path->out[kind].rtx_payload_types = everything;
    path->rx = path->tx = path;
    path->live = true;
    return path;
}

#endif
