/* The ring of sent packets and the table of missing ones. */
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "streams.h"

_Static_assert(RING_PACKET_BYTES <= DATAGRAM_BUFFER_BYTES, "lines of a packet are in its buffer");

ring_t *ring_new(void) {
    ring_t *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->packets = aligned_alloc(64, sizeof *self->packets * RETRANSMIT_RING_PACKETS);
    for (int i = 0; i < RETRANSMIT_RING_PACKETS; i++) self->slots[i].sequence = -1;
    if (self->packets) return self;
    free(self);
    return NULL;
}

void ring_free(ring_t *self) {
    if (!self) return;
    free(self->packets);
    free(self);
}

static ring_slot_t *slot_of(ring_t *self, uint16_t sequence) {
    return &self->slots[sequence & (RETRANSMIT_RING_PACKETS - 1)];
}

/* Copy whole cache lines past the caches: the rings of a hundred calls are larger than those, and
 * hardly any packet is read again. Otherwise every packet would first be fetched from memory to be
 * overwritten, and drive out the keys of somebody else. */
static void copy_lines(uint8_t *to, const uint8_t *from, int length) {
#ifdef __SSE2__
    for (int at = 0; at < length; at += 64)
        for (int part = at; part < at + 64; part += 16)
            _mm_stream_si128((__m128i *)(to + part), _mm_loadu_si128((const __m128i *)(from + part)));
    _mm_sfence();
#else
    memcpy(to, from, (size_t)length);
#endif
}

void ring_put(ring_t *self, uint16_t sequence, const uint8_t *packet, int length) {
    ring_slot_t *slot = slot_of(self, sequence);
    copy_lines(self->packets[slot - self->slots], packet, length);
    *slot = (ring_slot_t){sequence, length, 0};
}

kept_t ring_take(ring_t *self, uint16_t sequence, int64_t now_ns) {
    ring_slot_t *slot = slot_of(self, sequence);
    if (slot->sequence != sequence) return (kept_t){NULL, 0};
    if (now_ns - slot->resent_at_ns < RESEND_INTERVAL_NS) return (kept_t){NULL, 0};
    slot->resent_at_ns = now_ns;
    return (kept_t){self->packets[slot - self->slots], slot->length};
}

void missing_init(missing_t *self) { *self = (missing_t){NULL, 0, NEVER_NS}; }

void missing_free(missing_t *self) {
    free(self->table);
    missing_init(self);
}

void missing_clear(missing_t *self) {
    if (self->count) memset(self->table->known, 0, sizeof self->table->known);
    self->count = 0;
    self->due_ns = NEVER_NS;
}

static bool is_known(const missing_t *self, uint16_t sequence) {
    return self->count && (self->table->known[sequence >> 5] >> (sequence & 31) & 1);
}

static int place_of(const missing_t *self, uint16_t sequence) {
    int at = 0;
    while (self->table->gaps[at].sequence != sequence) at++;
    return at;
}

static void forget(missing_t *self, int at, int count) {
    gap_t *gaps = self->table->gaps;
    for (int i = at; i < at + count; i++)
        self->table->known[gaps[i].sequence >> 5] &= ~(1u << (gaps[i].sequence & 31));
    self->count -= count;
    memmove(gaps + at, gaps + at + count, sizeof *gaps * (size_t)(self->count - at));
}

void missing_gap(missing_t *self, uint16_t first, uint16_t after, int64_t now_ns) {
    if (!self->table && !(self->table = calloc(1, sizeof *self->table))) return;
    int length = (uint16_t)(after - first);
    if (length > MAX_SEQUENCE_GAP) length = MAX_SEQUENCE_GAP;
    for (int offset = 0; offset < length; offset++) {
        uint16_t sequence = (uint16_t)(first + offset);
        int at = is_known(self, sequence) ? place_of(self, sequence) : self->count++;
        self->table->gaps[at] = (gap_t){sequence, 0, now_ns, now_ns};
        self->table->known[sequence >> 5] |= 1u << (sequence & 31);
    }
    if (self->count > MAX_MISSING_PACKETS) forget(self, 0, self->count - MAX_MISSING_PACKETS);
    self->due_ns = now_ns;
}

bool missing_arrived(missing_t *self, uint16_t sequence) {
    if (!is_known(self, sequence)) return false;
    forget(self, place_of(self, sequence), 1);
    return true;
}

/* Ascending, as seen from the last one; nearly sorted already. */
static void sort_sequences(uint16_t *wanted, int count) {
    uint16_t last = wanted[count - 1];
    for (int i = 1; i < count; i++) {
        uint16_t moved = wanted[i];
        int distance = sequence_distance(moved, last), at = i;
        for (; at > 0 && sequence_distance(wanted[at - 1], last) > distance; at--)
            wanted[at] = wanted[at - 1];
        wanted[at] = moved;
    }
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

int missing_due(missing_t *self, uint16_t *wanted, int64_t now_ns) {
    if (now_ns < self->due_ns) return 0;
    int found = 0;
    int64_t next_ns = NEVER_NS;
    for (int at = 0; at < self->count;) {
        gap_t *gap = &self->table->gaps[at];
        if (now_ns - gap->noticed_ns > NACK_GIVE_UP_NS) {
            /* Forgotten for good: a number that came round again must not pass for a late copy. */
            forget(self, at, 1);
            continue;
        }
        at++;
        if (gap->requests >= MAX_NACKS_PER_PACKET) {
            next_ns = earlier(next_ns, gap->noticed_ns + NACK_GIVE_UP_NS + 1);
            continue;
        }
        if (gap->next_ns <= now_ns && found < MAX_NACK_SEQUENCES) {
            gap->requests++;
            gap->next_ns = now_ns + (NACK_RETRY_NS << gap->requests / 2);
            wanted[found++] = gap->sequence;
        }
        next_ns = earlier(next_ns, gap->next_ns);
    }
    self->due_ns = next_ns;
    if (found) sort_sequences(wanted, found);
    return found;
}
