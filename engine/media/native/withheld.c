/* Transport-wide feedback in which what the engine kept back does not count as lost.
 * Format: draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1. */
#include <string.h>

#include "streams.h"

#define SLOTS 1024
#define HEAD_BYTES 20
enum { LOST = 0, SMALL = 1, LARGE = 2 };
#define NO_DELTA INT32_MIN

void withheld_init(withheld_t *self) {
    self->any = false;
    memset(self->numbers, 0xFF, sizeof self->numbers); /* -1 */
}

void withheld_add(withheld_t *self, int number) {
    self->any = true;
    self->numbers[number % SLOTS] = number;
}

static bool take(withheld_t *self, uint16_t number) {
    int slot = number % SLOTS;
    if (self->numbers[slot] != number) return false;
    self->numbers[slot] = -1;
    return true;
}

/* The symbol of each packet; false if the block is malformed. */
static bool read_symbols(const uint8_t *block, int length, uint8_t *symbols, int count, int *at) {
    int found = 0;
    for (*at = HEAD_BYTES; found < count; *at += 2) {
        if (*at + 2 > length) return false;
        unsigned chunk = read16(block + *at);
        if (!(chunk & 0x8000)) {
            int run = (int)(chunk & 0x1FFF);
            for (int i = 0; i < run && found < count; i++)
                symbols[found++] = (uint8_t)(chunk >> 13 & 3);
            continue;
        }
        int bits = chunk & 0x4000 ? 2 : 1;
        unsigned mask = (1u << bits) - 1;
        for (int shift = 14 - bits; shift >= 0 && found < count; shift -= bits)
            symbols[found++] = (uint8_t)(chunk >> shift & mask);
    }
    return true;
}

/* Arrival deltas in 250 us, NO_DELTA for what was lost; the number of packets, -1 if malformed. */
static int parse(const uint8_t *block, int length, int32_t *deltas) {
    static const int LIMIT = ACK_WINDOW_PACKETS;
    uint8_t symbols[ACK_WINDOW_PACKETS];
    if (length < HEAD_BYTES) return -1;
    int count = read16(block + 14), at;
    if (count > LIMIT || !read_symbols(block, length, symbols, count, &at)) return -1;
    for (int i = 0; i < count; i++) {
        int size = symbols[i] == SMALL || symbols[i] == LARGE ? symbols[i] : 0;
        if (at + size > length) return -1;
        deltas[i] = size == SMALL   ? block[at]
                    : size == LARGE ? (int16_t)read16(block + at)
                                    : NO_DELTA;
        at += size;
    }
    return count;
}

static int32_t floor_div(int32_t value, int32_t by) {
    int32_t quotient = value / by;
    return value % by < 0 ? quotient - 1 : quotient;
}

/* Spread the delta at `index` evenly over the `waiting` packets before it and itself. */
static void spread(int32_t *deltas, const int *waiting, int count, int index) {
    int32_t share = floor_div(deltas[index], count + 1);
    deltas[index] -= share * count;
    for (int i = 0; i < count; i++) deltas[waiting[i]] = share;
}

static int symbol_of(int32_t delta) {
    if (delta == NO_DELTA) return LOST;
    return delta >= 0 && delta <= 255 ? SMALL : LARGE;
}

static int build(const uint8_t *block, const int32_t *deltas, int count, uint8_t *out) {
    int at = HEAD_BYTES;
    memcpy(out, block, HEAD_BYTES);
    for (int start = 0; start < count; start += 7, at += 2) {
        unsigned word = 0xC000;
        for (int place = 0; place < 7 && start + place < count; place++)
            word |= (unsigned)symbol_of(deltas[start + place]) << (12 - 2 * place);
        write16(out + at, word);
    }
    for (int i = 0; i < count; i++) {
        int symbol = symbol_of(deltas[i]);
        if (symbol == SMALL) out[at] = (uint8_t)deltas[i];
        if (symbol == LARGE) write16(out + at, (uint16_t)deltas[i]);
        at += symbol;
    }
    while (at % 4) out[at++] = 0;
    out[0] &= 0xDF; /* no padding bit: the zeros behind the deltas are simply not read */
    write16(out + 2, (unsigned)(at / 4 - 1));
    return at;
}

int withheld_fill_in(withheld_t *self, const uint8_t *block, int length, uint8_t *out) {
    int32_t deltas[ACK_WINDOW_PACKETS];
    int waiting[ACK_WINDOW_PACKETS], waiting_count = 0;
    bool changed = false;
    int count = parse(block, length, deltas);
    for (int index = 0; index < count; index++) {
        if (deltas[index] == NO_DELTA) {
            if (take(self, (uint16_t)(read16(block + 12) + index))) waiting[waiting_count++] = index;
        } else if (waiting_count) {
            spread(deltas, waiting, waiting_count, index);
            waiting_count = 0;
            changed = true;
        }
    }
    return changed ? build(block, deltas, count, out) : 0;
}
