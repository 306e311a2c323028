/* A libFuzzer target: a script of datagrams, ticks and commands for a plane without keys.
 *
 * Each step is a byte that says what, a byte that says to whom, two bytes of length and the data.
 * Whatever the script is, nothing may be read or written where it should not be, and what is found
 * afterwards must be in order. */
#include <stdlib.h>
#include <string.h>

#include "plain_srtp.h"

enum { PATHS = 3 };

static plane_t plane;
static outbox_t outbox;
static path_t *paths[PATHS];
static uint64_t next_id = 1;
static int64_t now_ns;

static void discard(plane_t *self, outbox_t *sent) {
    (void)self;
    for (int i = 0; i < sent->count; i++)
        if (sent->parcels[i].length > DATAGRAM_BUFFER_BYTES) abort();
}

static address_t address_of(int number) {
    return (address_t){.ip = {127, 0, 0, 1}, .port = (uint16_t)(5000 + number), .family = 4};
}

static void open_path(int number) {
    address_t address = address_of(number);
    paths[number] = plain_path(&plane, next_id++);
    paths[number]->address = address;
    plane_add_path(&plane, paths[number]);
    plane_claim(&plane, &address, paths[number]);
}

static void close_path(int number) {
    path_close(paths[number], now_ns);
    plane_remove_path(&plane, paths[number]);
    path_free(paths[number]);
}

static void link(int viewer, int publisher, int bits) {
    bool permitted[KINDS] = {bits & 1, bits & 2};
    int64_t limit_ns = bits & 4 ? now_ns + NS_PER_S : NEVER_NS;
    path_link(paths[viewer], publisher == viewer ? NULL : paths[publisher], permitted, limit_ns,
              now_ns);
}

static void feed(int number, const uint8_t *data, int length) {
    uint8_t buffer[DATAGRAM_BUFFER_BYTES];
    address_t from = address_of(number); /* the last one is a stranger's */
    if (length > MAX_DATAGRAM_BYTES + 1) length = MAX_DATAGRAM_BYTES + 1;
    memcpy(buffer, data, (size_t)length);
    plane_feed(&plane, buffer, length, &from, now_ns);
    discard(&plane, &outbox);
    outbox.count = outbox.arena_used = 0;
}

static void step(int what, int whom, const uint8_t *data, int length) {
    int number = whom % PATHS, other = whom / PATHS % PATHS;
    now_ns += (int64_t)(what >> 4) * 9 * NS_PER_MS;
    switch (what & 7) {
        case 0: plane_tick(&plane, now_ns); break;
        case 1: link(number, other, whom >> 4); break;
        case 2: {
            owed_t owed = path_owed(paths[other]);
            path_watch(paths[number], 5 * NS_PER_S, 3 * NS_PER_S, whom & 128, &owed);
            path_be_patient(paths[other], 8 * NS_PER_S, 8 * NS_PER_S, now_ns);
            break;
        }
        case 3:
            if (whom & 64) {
                close_path(number);
                open_path(number);
            }
            break;
        default: feed(whom % (PATHS + 1), data, length); break;
    }
    outbox.count = outbox.arena_used = 0;
    plane.signal_count = 0;
}

/* Every pointer between streams is mutual, and every list as long as it says. */
static void check(void) {
    for (int number = 0; number < PATHS; number++) {
        path_t *path = paths[number];
        if (path->publisher && path->publisher->viewer != path) abort();
        if (path->viewer && path->viewer->publisher != path) abort();
        if (path->track_count < 0 || path->track_count > MAX_SSRCS_PER_LEG) abort();
        for (int i = 0; i < path->track_count; i++) {
            outgoing_t *out = path->tracks[i]->out;
            if (out && out->source != path->tracks[i]) abort();
        }
        for (int kind = 0; kind < KINDS; kind++)
            if (path->out[kind].missing.count > MAX_MISSING_PACKETS) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!plane_init(&plane, PLAIN_SRTP)) abort();
    plane.flush = discard;
    plain_payloads(&plane);
    plane_add_ufrag(&plane, "ufrag0");
    plane_lock(&plane, &outbox);
    now_ns = NS_PER_S;
    for (int number = 0; number < PATHS; number++) open_path(number);
    link(0, 1, 3);
    link(1, 0, 3);
    path_watch(paths[0], 5 * NS_PER_S, 3 * NS_PER_S, true, &(owed_t){0});
    for (size_t at = 0; at + 4 <= size;) {
        size_t length = read16(data + at + 2) & 0x7FF;
        if (at + 4 + length > size) length = size - at - 4;
        step(data[at], data[at + 1], data + at + 4, (int)length);
        at += 4 + length;
        check();
    }
    for (int number = 0; number < PATHS; number++) close_path(number);
    plane_unlock(&plane);
    plane_free(&plane);
    return 0;
}
